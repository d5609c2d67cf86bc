"""What a config in a run folder may name, and what is left out of it. No TensorFlow here."""

import importlib
import re
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from segtrain.config import config_dir, read_stored, recorded_config, stored, stored_config, validate_stored
from segtrain.errors import CheckpointError, ConfigError, DataError

LOSS = {"_target_": "segtrain.losses.CrossEntropy"}


@pytest.fixture
def run(tmp_path):
    """A run folder; its config is written by `write`."""
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def write(run, **values):
    (run / "config.yaml").write_text(yaml.safe_dump({"epochs": 1, "loss": LOSS, **values}))
    return run


REFUSED = [
    *("os.system", "builtins.eval", "subprocess.run", "pathlib.Path", "shutil.rmtree", "pickle.loads", "exec", ""),
    *("keras.utils.get_file", "keras.utils.image_dataset_from_directory", "keras.saving.load_model"),
    *("keras.models.load_model", "keras.layers.Lambda", "keras.layers.TFSMLayer", "keras.losses.Loss"),
    *("keras.losses.CTC", "keras.losses.losses.LossFunctionWrapper", "keras.optimizers.Optimizer"),
    *("keras.callbacks.BackupAndRestore", "keras.callbacks.CSVLogger", "keras.callbacks.RemoteMonitor"),
    *("keras.callbacks.TensorBoard", "keras.callbacks.ModelCheckpoint", "keras.callbacks.LambdaCallback"),
    *("keras.src.utils.file_utils.get_file", "tensorflow.io.gfile.rmtree", "tensorflow.saved_model.load"),
    *("segtrain.data.Dataset", "segtrain.data.Sample", "segtrain.data.sbd.record.write_atomically"),
    "segtrain.cli.main.main",
    *("segtrain.data.people.dataset.write_people", "segtrain.download.fetch.fetch", "segtrain.runs.folder.discard"),
    *("segtrain.training.WandbLogger", "segtrain.training.MlflowLogger", "segtrain.training.Profile"),
    *("segtrain.runs.checkpoint.remove_stale", "segtrain.runs.disk.remove_files", "segtrain.models.Backbone"),
    *("segtrain.losses.cross_entropy.CrossEntropy", "segtrain.losses.CrossEntropy.__call__", "hydra.utils.call"),
]


@pytest.mark.parametrize("target", REFUSED)
@pytest.mark.parametrize("where", ["loss", "dataset.datasets.one", "augment.steps.mine", "heads.edges.loss"])
def test_a_stored_target_off_the_list_is_refused_at_any_depth(run, target, where):
    cfg = OmegaConf.create({})
    OmegaConf.update(cfg, where, {"_target_": target})
    with pytest.raises(ConfigError, match="refused for safety") as caught:
        stored_config(write(run, **OmegaConf.to_container(cfg)))
    assert f"{where}._target_" in str(caught.value) and str(run / "config.yaml") in str(caught.value)


@pytest.mark.parametrize("target", [5, None, ["segtrain.losses.Dice"], {"a": "segtrain.losses.Dice"}, True])
def test_a_stored_target_that_is_no_text_is_refused(run, target):
    with pytest.raises(ConfigError, match="refused for safety"):
        stored_config(write(run, loss={"_target_": target}))


def test_every_part_of_segtrains_own_configs_may_be_stored():
    acting = {"segtrain.training.WandbLogger", "segtrain.training.MlflowLogger", "segtrain.training.Profile"}
    texts = [path.read_text() for path in Path(config_dir()).rglob("*.yaml") if "hydra" not in path.parts]
    lines = [line for text in texts for line in text.splitlines() if not line.lstrip().startswith("#")]
    named = set(re.findall(r"_target_: ([\w.]+)", "\n".join(lines)))
    assert len(named) > 40
    assert named - acting <= stored.PARTS | stored.CALLBACKS


@pytest.mark.tensorflow
def test_every_name_of_the_list_is_a_part():
    for target in stored.PARTS | stored.CALLBACKS:
        module, _, name = target.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name)), target


def test_a_part_of_segtrain_that_is_not_listed_is_answered_with_the_file_of_the_list(run):
    with pytest.raises(ConfigError, match="list NotListed in segtrain/config/stored.py"):
        stored_config(write(run, loss={"_target_": "segtrain.losses.NotListed"}))


INTERPOLATIONS = ["${oc.env:HOME}", "${oc.create:{a: 1}}", "${hydra:runtime.cwd}", "${optimizer}", "a ${epochs} b"]


@pytest.mark.parametrize("value", [*INTERPOLATIONS, "\\${x}"])
def test_an_interpolation_is_refused_by_its_key(run, value):
    with pytest.raises(ConfigError, match=r"dataset\.root=.*interpolation"):
        stored_config(write(run, dataset={"root": value}))
    with pytest.raises(ConfigError, match=r"dataset\.root=.*interpolation"):
        recorded_config(yaml.safe_dump({"dataset": {"root": value}}), run / "manifest.json")


@pytest.mark.parametrize(
    "value",
    [
        {"module": "builtins", "class_name": "eval", "config": {}},
        {"class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None},
        [[{"module": "os", "class_name": "system"}]],
    ],
)
def test_what_keras_would_build_from_a_mapping_is_refused(run, value):
    node = {"_target_": "keras.losses.MeanSquaredError", "dtype": value}
    with pytest.raises(ConfigError, match=r"loss\.dtype: refused"):
        stored_config(write(run, loss=node))


def test_callbacks_are_left_out_but_for_those_that_read_the_history(run):
    early = {"_target_": "segtrain.training.EarlyStopping", "monitor": "loss", "patience": 3}
    nodes = {
        "early": early,
        "wandb": {"_target_": "segtrain.training.WandbLogger", "mode": "online"},
        "csv": {"_target_": "keras.callbacks.CSVLogger", "filename": "/x"},
        "mine": {"_target_": "my_module.Mine"},
        "text": "os.system",
    }
    cfg, taken = read_stored(write(run, callbacks=nodes), trusted=["my_module"])
    assert OmegaConf.to_container(cfg.callbacks) == {"early": early}
    assert sorted(taken) == ["callbacks.csv", "callbacks.mine", "callbacks.text", "callbacks.wandb"]
    assert taken["callbacks.wandb"].endswith("Fix: give it again, callbacks=wandb")


@pytest.mark.parametrize("callbacks", [["os.system"], "os.system", 5, [{"_target_": "keras.callbacks.CSVLogger"}]])
def test_callbacks_that_are_no_mapping_are_left_out(run, callbacks):
    cfg, taken = read_stored(write(run, callbacks=callbacks))
    assert OmegaConf.to_container(cfg.callbacks) == {} and len(taken) == 1


@pytest.mark.parametrize(
    ("cache", "kept"), [(None, None), ("memory", "memory"), ("/tmp/x", None), ("../x", None), (5, None), (["/x"], None)]
)
def test_a_cache_on_the_disk_is_left_out(run, cache, kept):
    cfg, taken = read_stored(write(run, cache=cache))
    assert cfg.cache == kept and bool(taken) == (cache not in (None, "memory"))


def test_modules_are_trusted_by_the_command_line_alone(run):
    write(run, loss={"_target_": "my_losses.Mine"}, trusted_modules=["my_losses", "os"])
    with pytest.raises(ConfigError, match="refused for safety"):
        stored_config(run)
    cfg = stored_config(run, ["my_losses"])
    assert cfg.loss._target_ == "my_losses.Mine" and cfg.trusted_modules == ["my_losses"]


@pytest.mark.parametrize("where", ["", "datasets.one.", "datasets.one.datasets.two."])
def test_sample_data_is_not_drawn_where_only_the_run_says_so(tmp_path, where):
    cfg = OmegaConf.create({})
    OmegaConf.update(cfg, f"dataset.{where}root", str(tmp_path / "new folder"))
    OmegaConf.update(cfg, f"dataset.{where}_target_", "segtrain.data.People")
    tree = OmegaConf.to_container(cfg)
    key = f"dataset.{where}root"
    with pytest.raises(DataError, match=rf"{key}=.*no such folder.*Fix: '{key}=\"{tmp_path}/new folder\"'"):
        stored.require_drawn(tree, ())
    stored.require_drawn(tree, {key})
    (tmp_path / "new folder").mkdir()
    stored.require_drawn(tree, ())


@pytest.mark.parametrize("content", [b"[1]", b"a: [", b"\xff\xfe", b"[" * 5000, b"a: !!python/object:os.system {}"])
def test_a_config_that_is_none_is_one_line(run, content):
    (run / "config.yaml").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cannot read .*config\.yaml") as caught:
        stored_config(run)
    assert str(caught.value).isprintable()


def test_control_characters_of_a_config_are_escaped(run):
    with pytest.raises(ConfigError) as caught:
        stored_config(write(run, **{"lo\x1b]0;ss": {"_target_": "os\x1b[2J.system"}}))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"loss": None}, "loss=null"),
        ({"loss": 5}, "loss=5"),
        ({"epochs": "many"}, "epochs='many'"),
        ({"epochs": -1}, "epochs=-1"),
        ({}, "dataset is missing"),
    ],
)
def test_a_stored_config_that_lacks_a_key_or_has_another_type_names_it(run, values, said):
    keys = {"dataset", "loss", "epochs"} if not values else set(values)
    with pytest.raises((ConfigError, CheckpointError)) as caught:
        validate_stored(stored_config(write(run, **values)), run, keys)
    assert said in str(caught.value) and str(run / "config.yaml") in str(caught.value)
