"""Run folders as a stranger could make them: each changes a copy of a real run; `outside` is the user's own."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from segtrain.runs.manifest import read_manifest, sealed

Change = Callable[[Path, Path], None]
CORPUS: dict[str, Change] = {}


def config(name: str, key: str, make: Callable[[Path], Any] | Any) -> None:
    """Add a run whose config has another value at a dotted key; of a function, what it makes of `outside`."""

    def change(run: Path, outside: Path) -> None:
        tree = yaml.safe_load((run / "config.yaml").read_text())
        *parents, last = key.split(".")
        node = tree
        for each in parents:
            node = node[each] if isinstance(node.get(each), dict) else node.setdefault(each, {})
        node[last] = make(outside) if callable(make) else make
        (run / "config.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))

    CORPUS[f"config: {name}"] = change


def place(where: str, kind: str) -> None:
    """Add a run with something else in the place of a file or folder."""

    def change(run: Path, outside: Path) -> None:
        path = next(iter(sorted(run.glob(where))), run / where)
        if path.is_dir() and not path.is_symlink():
            path.rename(run.parent.parent / "moved")
        path.unlink(missing_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            before = os.getcwd()
            os.chdir(path.parent)
            socket.socket(socket.AF_UNIX).bind(path.name)
            os.chdir(before)
        elif kind == "hard link":
            os.link(outside / "secret.txt", path)
        elif kind == "hole":
            with path.open("wb") as file:
                file.truncate(1 << 40)
        elif kind.startswith("bytes "):
            path.write_bytes(eval(kind[6:]))
        else:
            path.symlink_to(kind if kind.startswith("/") else outside / kind)

    CORPUS[f"{where}: {kind}"] = change


def manifest(name: str, edit: Callable[[dict[str, Any], Path], None]) -> None:
    """Add a run whose manifests are others, each with the right SHA-256 of itself."""

    def change(run: Path, outside: Path) -> None:
        for folder in run.glob("checkpoints/step-*"):
            found = read_manifest(folder)
            del found["sha256_of_manifest"], found["format"]
            edit(found, outside)
            (folder / "manifest.json").write_bytes(sealed(found))

    CORPUS[f"manifest: {name}"] = change


def call(target: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": target, **arguments}


K, S = "keras.callbacks", "segtrain.training"
config("BackupAndRestore", "callbacks.x", lambda out: call(f"{K}.BackupAndRestore", backup_dir=str(out / "folder")))
config("CSVLogger", "callbacks.x", lambda out: call(f"{K}.CSVLogger", filename=str(out / "secret.txt")))
config("ModelCheckpoint", "callbacks.x", lambda out: call(f"{K}.ModelCheckpoint", filepath=str(out / "new.keras")))
config("TensorBoard", "callbacks.x", lambda out: call(f"{K}.TensorBoard", log_dir=str(out / "new")))
config("RemoteMonitor", "callbacks.x", call(f"{K}.RemoteMonitor", root="http://127.0.0.1:9"))
config("LambdaCallback", "callbacks.x", call(f"{K}.LambdaCallback", on_train_begin="os.abort"))
config("W&B online", "callbacks.x", call(f"{S}.WandbLogger", mode="online"))
config("MLflow elsewhere", "callbacks.x", call(f"{S}.MlflowLogger", tracking_uri="http://127.0.0.1:9"))
config("Profile", "callbacks.x", call(f"{S}.Profile", first_step=1, last_step=1))
config("callbacks as a list", "callbacks", [call("os.system", command="touch x")])
config("callbacks as text", "callbacks", "os.system")
for key, node in {
    "loss": call("os.system", command="touch ../../../outside/x"),
    "model": call("keras.saving.load_model", filepath="/x"),
    "backbone": call("keras.utils.get_file", fname="x", origin="http://127.0.0.1:9/x"),
    "optimizer": call("keras.callbacks.CSVLogger", filename="x", learning_rate=0.1),
    "schedule": call("builtins.exec"),
    "norm": call("segtrain.runs.folder.discard", folder="../../../outside"),
    "dataset": call("shutil.rmtree", path="../../../outside"),
    "augment.steps": {"x": call("subprocess.run", args=["touch", "x"])},
    "heads": {"x": {"head": call("keras.layers.TFSMLayer", filepath="x"), "loss": None, "weight": 1}},
    "loss.dtype": {"module": "os", "class_name": "system", "config": {"command": "touch x"}},
    "optimizer.weight_decay": call("tensorflow.io.gfile.rmtree", path="../../../outside"),
    "dataset.classes": call("segtrain.data.people.dataset.write_people", root="../../../outside/new"),
    "loss._partial_": True,
    "loss._args_": ["x"],
}.items():
    config(f"{key} calls something else", key, node)
config(
    "keras builds a mapping",
    "loss",
    call("keras.losses.MeanSquaredError", dtype={"module": "os", "class_name": "system"}),
)
config("trusts modules itself", "trusted_modules", ["evil"])
config("a module of the working folder", "loss", call("evil.Loss"))
for text in ("${oc.env:HOME}", "${oc.create:{a: 1}}", "${optimizer}", "${hydra:runtime.cwd}", "${now:%Y}"):
    config(f"interpolation {text}", "dataset.root", text)
config("a cache elsewhere", "cache", lambda out: str(out / "new"))
config("a relative cache", "cache", "../outside/new")
people = "segtrain.data.People"
config("draws elsewhere", "dataset", lambda out: call(people, root=str(out / "new")))
config("draws through a link", "dataset", lambda out: call(people, root=str(out / "dangling")))
config("draws relatively", "dataset", call(people, root="../outside/new"))
config(
    "draws within another",
    "dataset",
    lambda out: call("segtrain.data.Concat", datasets={"a": call(people, root=str(out / "new"))}),
)
config("draws over a folder", "dataset", lambda out: call(people, root=str(out / "folder")))
config(
    "names samples ..",
    "dataset",
    lambda out: call("segtrain.data.Concat", datasets={"..": call(people, root=str(out / "folder"))}),
)
for key in ("dataset.train_list", "dataset.val_list", "dataset.train_images", "dataset.root"):
    config(f"{key} is a device", key, "/dev/zero")
    config(f"{key} is a pipe", key, lambda out: str(out / "pipe"))
for value in ("imagenet", "/dev/zero", "http://127.0.0.1:9/x.h5"):
    config(f"weights of the backbone: {value}", "backbone.weights", value)
    config(f"weights: {value}", "weights", value)
config("a name of slashes", "name", "../../../outside/new")
config("resumes another", "resume", "/tmp")
config("a million workers", "workers", 10**6)
config("many processes", "strategy", "multiworker")
config("control characters", "lo\x1b]0;ss", call("os\x1b[2J.system"))
for where in ("lock", "train.log", "config.yaml", "classes.json", "metrics.jsonl", "metrics.csv", "plots/loss.png"):
    place(where, "secret.txt")
    place(where, "pipe")
    place(where, "/dev/zero")
for where in ("lock", "train.log"):
    place(where, "hard link")
    place(where, "socket")
    place(where, "dangling")
for where in ("plots", "tensorboard", "tensorboard/train", "checkpoints", "checkpoints/step-*"):
    place(where, "folder")
for where in ("checkpoints/.tmp-step-00000009", "checkpoints/.trash-step-00000001", "checkpoints/step-00000000"):
    place(where, "folder")
for where in (".metrics.jsonl.part", ".config.yaml.part", ".classes.json.part", "plots/.loss.png.part"):
    place(where, "secret.txt")
for where in ("checkpoints/step-*/state.safetensors", "checkpoints/step-*/manifest.json"):
    for kind in ("pipe", "/dev/zero", "secret.txt", "hole", "bytes b'[' * 20_000"):
        place(where, kind)
for where in ("config.yaml", "classes.json", "metrics.jsonl"):
    for kind in ("hole", "bytes b'[' * 20_000", "bytes b'\\xff'", "bytes b''", "bytes b'[]'"):
        place(where, kind)
LEVELS = range(98, 110)
place(
    "config.yaml",
    "bytes b'a: &a [x,x,x,x,x,x,x,x,x]\\n' + "
    "b''.join(b'%c: &%c [%s]\\n' % (i, i, b','.join([b'*%c' % (i-1)] * 9)) for i in LEVELS)",
)
manifest("config with interpolations", lambda found, out: found["facts"].update(config="dataset: ${oc.env:HOME}"))
manifest("config that calls", lambda found, out: found["facts"].update(config="loss: {_target_: os.system}"))
manifest("config that is a list", lambda found, out: found["facts"].update(config=["x"]))
manifest("config too deep", lambda found, out: found["facts"].update(config="[" * 20_000))
manifest("history that is none", lambda found, out: found["facts"].update(progress={"epochs_done": "x"}))
manifest("no facts", lambda found, out: found.update(facts={}))
manifest("a step beyond", lambda found, out: found.update(step=10**30))
manifest("files that are none", lambda found, out: found["facts"].update(files=[1]))


def write_outside(outside: Path) -> None:
    """The user's own files, none of which may change."""
    (outside / "folder").mkdir(parents=True)
    for name in ("secret.txt", "folder/state.safetensors", "folder/events.out.tfevents.1", "folder/loss.png"):
        (outside / name).write_text("the user's own")
    (outside / "dangling").symlink_to(outside / "nothing")
    os.mkfifo(outside / "pipe")
    (outside / "folder" / "people.json").write_text(json.dumps({"drawing_version": 0}))
