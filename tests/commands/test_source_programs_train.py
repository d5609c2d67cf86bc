"""The experiments of the five programs: each trains, full-sized but for its ASPP and its images."""

import json
import math

import numpy as np
import pytest
import safetensors.numpy

import toys

# keras_io_2021 trains in test_train.py, berrios_v3_mobile in a test of its own.
PROGRAMS = (
    "idiotdeveloper_v3plus",
    "idiotdeveloper_v3plus_softmax",
    "stackabuse_block",
    "keras_io_2024",
    "thalles_v3",
    "thalles_v3_code",
    "berrios_v3",
)

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore:Even though the `tf.config")]


def small(experiment, tmp_path):
    """What turns an experiment into one step on two small images: sizes and counts, and no weights to fetch."""
    words = ["crop_size=[33,33]", "batch_size=2", "epochs=1", "backbone.weights=null", "model.aspp_channels=8"]
    if experiment == "idiotdeveloper_v3plus":
        return [*words, "resize=[33,33]", f"dataset.root={toys.draw_binary(tmp_path, num_train=2, num_val=1)}"]
    if experiment.startswith("keras_io"):
        limits = ["dataset.num_train_images=2", "dataset.num_val_images=1", "resize=[33,33]"]
        return [*words, *limits, f"dataset.root={toys.draw_cihp(tmp_path, num_train=3, num_val=1)}"]
    if experiment.startswith("thalles"):
        words += ["dataset.labels=SegmentationClass", "dataset.train_list=train"]
    if experiment.startswith("idiotdeveloper"):
        words += ["resize=[33,33]"]
    return [*words, f"dataset.root={toys.draw_voc(tmp_path, num_train=2, num_val=1)}"]


@pytest.mark.parametrize(
    "experiment",
    [pytest.param(each, marks=() if each == "stackabuse_block" else pytest.mark.slow) for each in PROGRAMS],
)
def test_an_experiment_trains(experiment, segtrain, workplace, tmp_path, eager):
    result = segtrain("train", f"+experiment={experiment}", *small(experiment, tmp_path))
    assert result.code == 0, result.err
    (line,) = (workplace / "runs" / "train").glob("*/metrics.jsonl")
    record = json.loads(line.read_text())
    assert math.isfinite(record["loss"]) and math.isfinite(record["val_loss"])


@pytest.mark.slow
def test_berrios_head_is_replaced_for_another_number_of_classes(segtrain, workplace, tmp_path, eager):
    """All of the first run comes along but the classifier, from 21 to 11 classes; a rate of 0 keeps it as it came."""
    words = ["+experiment=berrios_v3_mobile", *small("berrios_v3_mobile", tmp_path)]
    first = segtrain("train", *words, "name=first")
    assert first.code == 0, first.err
    (run,) = (workplace / "runs" / "train").glob("*_first")
    root = toys.draw_folder(tmp_path, num_train=2, num_val=1)
    still = ["optimizer.learning_rate=0", "optimizer.weight_decay=0"]
    other = ["dataset=camvid", f"dataset.root={root}", f"weights={run}", "reset_classifier=true", "name=second", *still]
    second = segtrain("train", *words[:-1], *other)
    assert second.code == 0, second.err
    before, after = (
        safetensors.numpy.load_file(
            next((workplace / "runs" / "train").glob(f"*_{name}/checkpoints/*/state.safetensors"))
        )
        for name in ("first", "second")
    )
    assert before["model/classifier/kernel"].shape == (1, 1, 8, 21)
    assert after["model/classifier/kernel"].shape == (1, 1, 8, 11)
    kept = [name for name in before if name.startswith("model/") and name.endswith(("kernel", "gamma", "beta"))]
    changed = [name for name in kept if not np.array_equal(before[name], after[name])]
    assert len(kept) > 100 and changed == ["model/classifier/kernel"]
