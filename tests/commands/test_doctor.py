"""`segtrain doctor`: what it says of runs that are healthy, finished, held, killed, damaged, or without their data."""

import fcntl
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import toys
from commands.conftest import TINY, only_run
from segtrain.data import Folder
from segtrain.runs.checkpoint import find_checkpoints, save_checkpoint
from segtrain.runs.environment import installed


@pytest.fixture
def run(workplace, binary_root):
    """A run of 3 epochs of 2 steps, stopped after step 5; its best epoch is the first."""
    run = workplace / "runs" / "train" / "2026-11-21_12-00-00_toy"
    run.mkdir(parents=True)
    node = {"_target_": "segtrain.data.Folder", "root": str(binary_root), **toys.BINARY}
    (run / "config.yaml").write_text(yaml.safe_dump({"dataset": node, "epochs": 3}))
    (run / "classes.json").write_text(json.dumps({"class_names": ["background", "foreground"]}))
    known = installed(Folder(binary_root, **toys.BINARY).samples("train"))
    history = [{"epoch": 1, "step": 2, "val_mean_iou": 0.5}, {"epoch": 2, "step": 4, "val_mean_iou": 0.25}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in history))
    for step, done in ((2, 1), (4, 2), (5, 2)):
        metadata = {
            "config": yaml.safe_dump({"dataset": node, "epochs": 3}),
            "fingerprint": known,
            "exact_until": None,
            "monitor": "val_mean_iou",
            "best": 0.5,
            "progress": {"epochs_done": done, "num_steps": 0, "sums": {}, "history": history[:done]},
        }
        arrays = {"weight": np.arange(1000, dtype=np.float32)}
        save_checkpoint(run / "checkpoints", step, arrays, is_best=step == 2, metadata=metadata, keep_last=9)
    return run.relative_to(workplace)


@pytest.fixture
def doctor(segtrain, monkeypatch):
    """Call it on a terminal wide enough for a row a line."""
    monkeypatch.setenv("COLUMNS", "300")
    return lambda *words: segtrain("doctor", *words)


def row(result, name):
    (line,) = [line for line in result.out.splitlines() if f" {name} " in line]
    verdict, _, found = (cell.strip() for cell in line.strip("│").split("│"))
    return verdict, found


def change_config(run, **values):
    path = run / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}))


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_stopped_run_goes_on_after_its_last_step(run, doctor):
    result = doctor()  # the newest run
    assert result.code == 0, result.err
    # 4,000 bytes of one array, and about as much around it.
    assert row(result, "step-00000002")[0] == "ok"
    assert "step 2, 1 epoch done, 0.0 MB, the best: val_mean_iou 0.5000; every byte" in row(result, "step-00000002")[1]
    assert "best" not in row(result, "step-00000004")[1]
    assert row(result, "config.yaml") == ("ok", "can be read, 3 epochs; its SHA-256 is not recorded")
    assert row(result, "classes.json") == ("ok", "can be read, 2 classes; its SHA-256 is not recorded")
    assert row(result, "lock") == ("ok", "no process holds the run")
    assert row(result, "metrics.jsonl") == ("ok", "2 epochs, as in the newest intact checkpoint")
    assert row(result, "exactness")[1].startswith("bit-exact, unless threads or devices differ")
    closing = f"resumes after step 5, in epoch 3 of 3, from step-00000005: segtrain train resume={run}"
    assert result.out.splitlines()[-1] == closing


def test_a_finished_run_says_so_without_its_data(run, doctor, binary_root):
    change_config(run, epochs=2)
    (binary_root / "train.txt").unlink()
    result = doctor(f"run={run}")
    assert result.code == 0, result.err
    assert result.out.splitlines()[-1] == f"finished: 2 of 2 epochs done; score it with: segtrain eval run={run}"


@pytest.mark.parametrize(
    ("file", "place", "said"),
    [
        ("state.safetensors", 2000, "step 5, 2 epochs done, 0.0 MB; checkpoint"),
        ("state.safetensors", 3, "damaged, SHA-256"),
        ("manifest.json", 20, "manifest.json: damaged"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(run, doctor, file, place, said):
    flip(run / "checkpoints" / "step-00000005" / file, place)
    result = doctor()
    assert result.code == 0
    verdict, found = row(result, "step-00000005")
    assert verdict == "note" and said in found and "Fix" not in found
    assert "resumes after step 4, in epoch 3 of 3, from step-00000004" in result.out


def test_a_run_with_no_whole_checkpoint_cannot_go_on(run, doctor):
    for path in (run / "checkpoints").iterdir():
        (path / "state.safetensors").unlink()
    result = doctor()
    assert result.code == 4
    assert result.out.count("cannot read") == 3
    assert result.err == f"error: {run} cannot resume: checkpoints: none is intact. Fix: start a new run\n"


def test_what_a_killed_process_has_left_is_told_and_left(run, doctor):
    leavings = [run / "checkpoints" / name for name in (".tmp-step-00000006", ".trash-step-00000001")]
    for path in leavings:
        path.mkdir()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "st')
    result = doctor()
    assert result.code == 0
    for path in leavings:
        assert row(result, path.name) == ("note", "left by a killed process, removed at resume")
        assert path.exists()
    verdict, found = row(result, "metrics.jsonl")
    assert (verdict, found) == ("note", "1 line past the newest intact checkpoint, cut off at resume")


def test_a_log_of_other_numbers_is_told(run, doctor):
    (run / "metrics.jsonl").write_text('{"epoch": 1, "step": 2, "val_mean_iou": 0.75}\n')
    assert "not the history of the newest intact checkpoint (2 lines)" in row(doctor(), "metrics.jsonl")[1]


def test_a_run_in_use_is_left_to_its_process(run, doctor):
    with (run / "lock").open("w") as file:
        file.write("process 7 on elsewhere since 2026-11-21 12:00:00\n")
        file.flush()
        assert doctor().code == 0  # a name in the file is no lock
        fcntl.flock(file, fcntl.LOCK_EX)
        result = doctor()
        assert result.code == 4
        assert "in use by process 7 on elsewhere" in row(result, "lock")[1]
        assert result.err.endswith("Fix: wait for it, or stop it first\n")
    fcntl.flock((run / "lock").open(), fcntl.LOCK_EX | fcntl.LOCK_NB)  # nor does it hold it afterwards


def test_a_config_that_cannot_be_read_ends_it(run, doctor):
    for text in ("dataset: [", "- no mapping", "epochs: many\ndataset: {}", ""):
        (run / "config.yaml").write_text(text)
        result = doctor(f"run={run}")
        assert result.code == 4, text
        assert row(result, "config.yaml")[0] == "bad"
        assert "cannot resume: config.yaml: " in result.err and result.err.count("\n") == 1


def test_a_lost_table_of_classes_is_no_obstacle(run, doctor):
    (run / "classes.json").write_text("{")
    result = doctor()
    assert result.code == 0
    assert row(result, "classes.json")[0] == "note" and "written anew at resume" in row(result, "classes.json")[1]


def test_a_missing_table_of_classes_is_one_as_for_resume(run, doctor):
    (run / "classes.json").unlink()
    result = doctor(f"run={run}")
    assert result.code == 4
    assert f"Fix: touch {run}/classes.json: resume writes it" in result.err


def test_other_data_are_refused_as_resume_does(run, doctor, binary_root):
    (binary_root / "train.txt").write_text("".join((binary_root / "train.txt").read_text().splitlines(True)[1:]))
    result = doctor()
    assert result.code == 4
    assert "trained on 4 samples, " in result.err and ", now 3 samples, " in result.err
    change_config(run, limit_samples=2)
    assert ", now 2 samples, " in doctor().err
    (binary_root / "train.txt").unlink()
    result = doctor()
    assert result.code == 4
    assert "train.txt" in row(result, "data")[1]
    assert "dataset.root=DIR" in result.err


def test_other_versions_make_it_compatible(run, doctor, monkeypatch):
    monkeypatch.setattr("segtrain.runs.environment.__version__", "99.0")
    result = doctor()
    assert result.code == 0
    verdict, found = row(result, "exactness")
    assert verdict == "note" and found.startswith("not bit-exact because: segtrain ")
    assert found.endswith(" -> 99.0")


def test_a_full_disk_is_told_before_a_training_finds_it(run, doctor, monkeypatch):
    usage = type("Usage", (), {"free": 10_000_000})
    monkeypatch.setattr("segtrain.commands.doctor.shutil.disk_usage", lambda path: usage)
    result = doctor()
    assert result.code == 4
    # 16 MiB for logs and 10 kB for a checkpoint, less 10 MB.
    assert "10 MB free" in row(result, "disk")[1] and "Fix: free 7 MB on the disk of" in result.err


def test_what_is_no_run_is_refused(workplace, doctor):
    (workplace / "empty").mkdir()
    assert "not a training run: empty: missing" in doctor("run=empty").err
    assert doctor("run=nowhere").code == 4
    assert "no training run with a checkpoint" in doctor().err


def test_it_starts_no_tensorflow(run):
    program = (
        "import sys; from segtrain.cli.main import main; main(['doctor']); "
        "print({'keras', 'tensorflow'} & {*sys.modules})"
    )
    repository = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(repository)}
    )
    assert done.stdout.endswith("set()\n") and "resumes after step 5" in done.stdout


@pytest.mark.tensorflow
def test_what_it_says_of_a_real_run_is_what_resume_does(segtrain, workplace, binary_root):
    words = ("+experiment=binary", f"dataset.root={binary_root}", *TINY)
    assert segtrain("train", *words, "epochs=1").code == 0
    run = only_run(workplace)
    change_config(run, epochs=2)
    said = segtrain("doctor").out
    assert "resumes after step 2, in epoch 2 of 2" in said.replace("\n", " ")
    # The schedule of the first epoch was another: both compare with the config that the checkpoint was made with.
    assert "not bit-exact because: epochs 1 -> 2" in " ".join(said.split())
    done = segtrain("train", f"resume={run}")
    assert "resumes at step 2" in done.err
    assert "resuming; not bit-exact because: epochs 1 -> 2" in done.err


def record_files(run):
    """Rewrite the newest checkpoint as one that records the files of the run."""
    (newest,) = [each for each in find_checkpoints(run / "checkpoints") if each.step == 5]
    files = {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in ("config.yaml", "classes.json")}
    metadata = {**newest.metadata, "files": files}
    save_checkpoint(run / "checkpoints", 5, newest.arrays(), is_best=False, metadata=metadata, keep_last=9)


def test_each_file_of_a_run_is_compared_with_the_manifest(run, doctor):
    (run / "metrics.csv").write_text("epoch,step,val_mean_iou\n1,2,0.5\n2,4,0.25\n")
    record_files(run)
    result = doctor()
    for name in ("config.yaml", "classes.json"):
        assert row(result, name)[0] == "ok" and row(result, name)[1].endswith("every byte as written")
    assert row(result, "metrics.csv") == ("ok", "2 epochs, as in the newest intact checkpoint")


@pytest.mark.parametrize(
    ("name", "old", "new", "found"),
    [
        ("config.yaml", "epochs: 3", "epochs: 4", "differs from step-00000005: epochs 3 -> 4"),
        ("config.yaml", "epochs: 3", "epochs:  3", "differs from step-00000005: its bytes differ, its values do not"),
        ("classes.json", "foreground", "background2", "differs from step-00000005"),
        ("metrics.jsonl", "0.25", "0.99", "not the history of the newest intact checkpoint"),
        ("metrics.csv", "0.25", "0.99", "not the history of the newest intact checkpoint"),
    ],
)
def test_the_file_that_differs_is_named(run, doctor, name, old, new, found):
    (run / "metrics.csv").write_text("epoch,step,val_mean_iou\n1,2,0.5\n2,4,0.25\n")
    record_files(run)
    text = (run / name).read_text()
    assert old in text
    (run / name).write_text(text.replace(old, new))
    result = doctor()
    verdict, seen = row(result, name)
    assert verdict == "note" and found in seen
    others = {"config.yaml", "classes.json", "metrics.jsonl", "metrics.csv"} - {name}
    assert {row(result, other)[0] for other in others} == {"ok"}


def test_what_resume_would_write_through_is_told(run, doctor, tmp_path):
    (run / "train.log").symlink_to(tmp_path / "elsewhere")
    result = doctor()
    assert result.code == 4
    assert row(result, "train.log")[0] == "bad" and f"Fix: rm {run / 'train.log'}" in result.err
