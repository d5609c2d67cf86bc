"""`segtrain train` on toys: the files and the numbers it leaves."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import yaml
from PIL import Image

import toys
from commands.conftest import TINY, only_run

pytestmark = pytest.mark.tensorflow


def lines_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def steps_of(run: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (run / "checkpoints").iterdir())


def test_a_training_leaves_a_whole_run_folder(segtrain, workplace, cihp_root):
    result = segtrain("train", "+experiment=cihp", f"dataset.root={cihp_root}", *TINY, "epochs=3", "validate_every=2")
    assert result.code == 0, result.err
    run = only_run(workplace)
    assert f"run folder: runs/train/{run.name}" in result.out
    records = lines_of(run)
    # 4 images in batches of 2 are 2 steps an epoch.
    assert [(record["epoch"], record["step"]) for record in records] == [(1, 2), (2, 4), (3, 6)]
    # Every second epoch is validated, and the last one always.
    assert [("val_mean_iou" in record) for record in records] == [False, True, True]
    assert all(math.isfinite(record["loss"]) for record in records)
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["batch_size"] == 2 and config["dataset"]["root"] == str(cihp_root)
    assert json.loads((run / "classes.json").read_text())["flip_pairs"] == [[14, 15], [16, 17], [18, 19]]
    for name in ("loss", "pixel_accuracy", "mean_iou"):
        assert Image.open(run / "plots" / f"{name}.png").width > 300
    assert list((run / "tensorboard" / "train").iterdir()) and list((run / "tensorboard" / "val").iterdir())
    assert "epoch 3/3" in (run / "train.log").read_text()
    best = max((record for record in records if "val_mean_iou" in record), key=lambda record: record["val_mean_iou"])
    assert f"best val_mean_iou: {best['val_mean_iou']:.4f}" in result.out
    assert set(steps_of(run)) == {best["step"], 4, 6}  # and the last two


def test_weights_that_cannot_be_fetched_end_a_run_before_people_are_drawn(segtrain, workplace, monkeypatch):
    def fail(*_, **__):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(workplace / "keras"))
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", fail)
    result = segtrain("train")
    assert result.code == 4 and "Fix: backbone.weights=null " in result.err
    assert not (workplace / "data").exists()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers(segtrain, workplace, binary_root):
    for name in ("first", "second"):
        words = ("+experiment=binary", f"dataset.root={binary_root}", *TINY, f"name={name}", "augment.scale=[0.5,2.0]")
        assert segtrain("train", *words).code == 0
    first, second = sorted((workplace / "runs" / "train").iterdir(), key=lambda run: run.name.split("_")[-1])
    assert lines_of(first) == lines_of(second)


def test_a_resumed_run_goes_on_in_its_own_folder(segtrain, workplace, cihp_root):
    words = ("train", "+experiment=cihp", f"dataset.root={cihp_root}", *TINY, "validate_every=1")
    assert segtrain(*words).code == 0
    run = only_run(workplace)
    before = lines_of(run)
    result = segtrain("train", f"resume={run}", "epochs=4")
    assert result.code == 0, result.err
    assert "resumes at step 4" in result.err
    assert "resuming; not bit-exact because: epochs 2 -> 4" in result.err
    assert only_run(workplace) == run
    assert [record["epoch"] for record in lines_of(run)] == [1, 2, 3, 4]
    assert lines_of(run)[:2] == before
    assert steps_of(run)[-1] == 8


def test_a_resumed_run_keeps_its_parts(segtrain, workplace, cihp_root):
    assert segtrain("train", "+experiment=cihp", f"dataset.root={cihp_root}", *TINY).code == 0
    result = segtrain("train", f"resume={only_run(workplace)}", "optimizer=adam")
    assert result.code == 2
    assert "optimizer=adam: a resumed run keeps its own parts" in result.err


def test_early_stopping_ends_a_run_that_no_longer_improves(segtrain, workplace, binary_root):
    words = ("+experiment=binary", f"dataset.root={binary_root}", *TINY, "epochs=9", "validate_every=1")
    stopping = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1")
    # No score of 0 to 1 rises by more than 1.
    assert segtrain("train", *words, *stopping, "callbacks.early_stopping.min_delta=1").code == 0
    # The first validation is the best by definition, the second is no better: 2 of 9 epochs.
    assert len(lines_of(only_run(workplace))) == 2


def test_a_callback_of_the_users_own_is_called(segtrain, workplace, binary_root):
    (workplace / "my_callbacks.py").write_text(
        "import keras, pathlib\n"
        "class Count(keras.callbacks.Callback):\n"
        "    def on_epoch_end(self, epoch, logs=None):\n"
        "        pathlib.Path(f'epoch-{epoch}').write_text(str(logs['loss']))\n"
    )
    words = ("+experiment=binary", f"dataset.root={binary_root}", *TINY, "trusted_modules=[my_callbacks]")
    result = segtrain("train", *words, "+callbacks.count={_target_: my_callbacks.Count}")
    assert result.code == 0, result.err
    assert (workplace / "epoch-0").exists() and (workplace / "epoch-1").exists()


@pytest.mark.slow
def test_a_sweep_trains_one_run_each(segtrain, workplace, binary_root):
    words = ("+experiment=binary", f"dataset.root={binary_root}", *TINY, "epochs=1", "seed=1,2", "-m")
    assert segtrain("train", *words).code == 0
    seeds = [
        yaml.safe_load((run / "config.yaml").read_text())["seed"] for run in (workplace / "runs" / "train").iterdir()
    ]
    assert sorted(seeds) == [1, 2]
    assert [path.name for path in workplace.iterdir()] == ["runs"]


def test_slow_batch_norm_statistics_are_warned_of(segtrain, binary_root):
    words = ("+experiment=binary", f"dataset.root={binary_root}", *TINY, "norm.momentum=0.999")
    result = segtrain("train", *words)
    # 4 steps: 0.999 ** 4 = 0.996
    assert "still hold 100 % of their first values (momentum 0.999)" in result.err


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
@pytest.mark.parametrize(
    "experiment",
    ["binary", *(pytest.param(each, marks=pytest.mark.slow) for each in ("cihp", "voc", "camvid", "keras_io_2021"))],
)
def test_every_experiment_trains_as_it_is_written(segtrain, workplace, tmp_path, eager, experiment):
    draw = {"voc": toys.draw_voc, "binary": toys.draw_binary, "camvid": toys.draw_folder}.get(
        experiment, toys.draw_cihp
    )
    root = draw(tmp_path, num_train=3, num_val=1)
    # Only sizes and counts change, and weights that would have to be fetched.
    small = ["crop_size=[33,33]", "batch_size=2", "epochs=1", "backbone.weights=null"]
    if experiment == "keras_io_2021":
        small += ["resize=[64,64]", "dataset.num_train_images=2", "dataset.num_val_images=2"]
    result = segtrain("train", f"+experiment={experiment}", f"dataset.root={root}", *small)
    assert result.code == 0, result.err
    assert math.isfinite(lines_of(only_run(workplace))[0]["val_loss"])


@pytest.mark.slow
def test_class_weights_reach_the_loss(segtrain, workplace, binary_root):
    words = ("+experiment=binary", f"dataset.root={binary_root}", *TINY, "epochs=1")
    assert segtrain("train", *words, "name=plain").code == 0
    assert segtrain("train", *words, "name=weighted", "loss.class_weights=[1,5]").code == 0
    runs = {run.name.split("_")[-1]: lines_of(run)[0]["loss"] for run in (workplace / "runs" / "train").iterdir()}
    assert runs["plain"] != pytest.approx(runs["weighted"], rel=1e-3)


def _weights(run: Path) -> dict[str, np.ndarray]:
    """Those of a run's last checkpoint, by path."""
    arrays = safetensors.numpy.load_file(run / "checkpoints" / f"step-{steps_of(run)[-1]:08d}" / "state.safetensors")
    return {name.removeprefix("model/"): array for name, array in arrays.items() if name.startswith("model/")}


def test_training_starts_from_the_weights_of_a_run(segtrain, workplace, binary_root, cihp_root):
    words = (*TINY, "epochs=1")
    assert segtrain("train", "+experiment=binary", f"dataset.root={binary_root}", *words, "name=first").code == 0
    first = only_run(workplace)
    # At a rate of 0 all that is trained stays where it started.
    still = ("optimizer.learning_rate=0", "optimizer.weight_decay=0")
    same = ("+experiment=binary", f"dataset.root={binary_root}", f"weights={first}")
    assert segtrain("train", *same, *words, *still, "name=same").code == 0
    other = ("+experiment=cihp", f"dataset.root={cihp_root}", f"weights={first}", "reset_classifier=true")
    assert segtrain("train", *other, *words, *still, "name=other").code == 0
    runs = {run.name.rpartition("_")[2]: _weights(run) for run in (workplace / "runs" / "train").iterdir()}
    trained = [name for name in runs["first"] if name.endswith(("kernel", "bias", "gamma", "beta"))]
    assert len(trained) > 50
    for name in trained:
        np.testing.assert_array_equal(runs["same"][name], runs["first"][name], err_msg=name)
        if not name.startswith("classifier/"):
            np.testing.assert_array_equal(runs["other"][name], runs["first"][name], err_msg=name)
    # Twenty classes where there were two.
    assert runs["other"]["classifier/kernel"].shape == (1, 1, 16, 20)


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_goes_on(workplace, cihp_root):
    words = ["train", "+experiment=cihp", f"dataset.root={cihp_root}", *TINY, "epochs=100000", "name=long"]
    command = [sys.executable, "-m", "segtrain", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        deadline = time.monotonic() + 120
        while not list(workplace.glob("runs/train/*/checkpoints/step-*")) and time.monotonic() < deadline:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    run = only_run(workplace)
    assert f"segtrain train resume=runs/train/{run.name}" in err
    stopped_at = steps_of(run)[-1]
    done = stopped_at // 2 + 1
    resumed = [*command[:3], "train", f"resume={run}", f"epochs={done + 1}"]
    again = subprocess.run(resumed, capture_output=True, text=True, env=environment, check=False)
    assert again.returncode == 0, again.stderr
    assert f"resumes at step {stopped_at}" in again.stderr
    assert [record["epoch"] for record in lines_of(run)] == list(range(1, done + 2))


def test_a_tracker_that_is_not_installed_is_told_before_a_run_is_begun(segtrain, workplace, binary_root, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    result = segtrain("train", "+experiment=binary", f"dataset.root={binary_root}", *TINY, "callbacks=wandb")
    assert result.code == 2
    assert "WandbLogger needs the package wandb, which is not installed. Fix: pip install" in result.err
    assert not (workplace / "runs").exists()


def test_a_training_image_in_the_test_split_is_refused_before_a_run_is_kept(segtrain, workplace, binary_root):
    (binary_root / "test.txt").write_text("cell_train_2\n")
    words = ("train", "+experiment=binary", f"dataset.root={binary_root}", *TINY)
    result = segtrain(*words)  # dataset=binary names test.txt, which need not be there
    assert result.code == 3 and "1 images are in both splits, train and test: cell_train_2" in result.err
    result = segtrain(*words, "validation_split=night")
    assert result.code == 3
    assert "no split 'night': this dataset has train, val, test. Fix: validation_split=val" in result.err
    assert not (workplace / "runs").exists()


@pytest.mark.slow
def test_any_split_can_validate(segtrain, workplace, binary_root):
    (binary_root / "night.txt").write_text("cell_val_1\n")
    named = "dataset.splits={night: {list: night.txt}}"
    words = ("train", "+experiment=binary", f"dataset.root={binary_root}", *TINY, "epochs=1")
    result = segtrain(*words, named, "validation_split=night")
    assert result.code == 0, result.err
    assert "4 training and 1 validation images" in result.err
    trained = lines_of(only_run(workplace))[-1]
    assert segtrain("eval", "split=night", "overlays=0", "checkpoint=last").code == 0
    assert json.loads((only_run(workplace, "eval") / "scores.json").read_text())["mean_iou"] == trained["val_mean_iou"]
