"""What TensorBoard reads of a run: scalars of both splits, pictures of the validation, each epoch once."""

import errno
import io
import json
import math
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segtrain.data.datasets.dataset import Dataset
from segtrain.data.images.sample import Sample
from segtrain.errors import ResourceError
from segtrain.evaluation.scoring import Prediction
from segtrain.losses import CrossEntropy
from segtrain.training.reports import MetricsLog
from segtrain.training.tensorboard import TensorBoardImages, TensorBoardScalars, writing_events
from segtrain.training.trainer import Trainer

pytestmark = pytest.mark.tensorflow


@pytest.fixture
def trainer():
    pixels = keras.Input((None, None, 3))
    model = keras.Model(pixels, keras.layers.Conv2D(2, 1)(pixels))
    return Trainer(model, keras.optimizers.SGD(0.01), CrossEntropy(255, 2), 2, 255)


def _run(trainer, callbacks, *, epochs=2, validate=dict):
    batch = tf.ones((2, 4, 4, 3)), tf.ones((2, 4, 4), tf.uint8)
    trainer.run(
        [batch] * (epochs - trainer.step),
        steps_per_epoch=1,
        epochs=epochs,
        validate=validate,
        validate_every=1,
        callbacks=callbacks,
    )


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def _read(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }


def test_scalars_of_both_splits_can_be_read_by_epoch(trainer, tmp_path):
    losses = iter([0.5, 0.25])
    logged = MetricsLog(tmp_path / "metrics.jsonl", trainer)
    validate = lambda: {"val_loss": next(losses), "val_mean_iou": math.nan}  # noqa: E731
    _run(trainer, [TensorBoardScalars(tmp_path / "tensorboard", trainer), logged], validate=validate)
    read = {}
    for split in ("train", "val"):
        for tag, events in _read(tmp_path / "tensorboard" / split).items():
            read[split, tag] = [(step, float(value)) for step, value in events]
    assert read["val", "loss"] == [(1, 0.5), (2, 0.25)]
    assert [step for step, value in read["val", "mean_iou"] if math.isnan(value)] == [1, 2]
    expected = [(line["epoch"], pytest.approx(line["loss"])) for line in _lines(tmp_path / "metrics.jsonl")]
    assert read["train", "loss"] == expected
    assert {tag for split, tag in read if split == "train"} == {
        *("loss", "pixel_accuracy", "mean_iou", "learning_rate")
    }


class Colored(Dataset):
    """Two classes, red and blue."""

    def __init__(self):
        super().__init__(["road", "sky"], np.array([(255, 0, 0), (0, 0, 255)], np.uint8))

    def samples(self, split):
        return []


def _prediction(name, size=(64, 96), seen=0):
    """A gray image whose left half is of class 0 and which is predicted to be all of class `seen`."""
    labels = np.zeros(size, np.uint8)
    labels[:, size[1] // 2 :] = 1
    image = np.full((*size, 3), 128, np.uint8)
    return Prediction(Sample(name, None, None), image, labels, np.full(size, seen, np.uint8), 0.0, np.zeros((0, 0)))


def _shows(images, *names, **options):
    """A validation that looks at images of these names."""

    def validate():
        for name in names:
            images.draw(_prediction(name, **options))
        return {"val_loss": 0.5}

    return validate


def test_chosen_photographs_are_shown_with_truth_and_prediction_at_every_validation(trainer, tmp_path):
    images = TensorBoardImages(tmp_path, trainer, Colored(), {"first", "city/second"})
    _run(trainer, [images], validate=_shows(images, "first", "another", "city/second", size=(64, 96)))
    read = _read(tmp_path / "images")
    assert read.keys() == {"first", "city/second"}
    assert [step for step, _ in read["first"]] == [1, 2]
    width, height, png = read["first"][0][1]
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG" and picture.size == (int(width), int(height))
    # 64 x 96 is drawn three times as large, three times side by side, with a gap of 8 around; half-way down it.
    red, blue = (211, 45, 45), (45, 45, 211)  # 0.35 of gray 128 and 0.65 of 255 or 0
    row = np.asarray(picture)[100]
    middles = [8 + panel * (288 + 8) + part for panel in range(3) for part in (72, 216)]
    assert [tuple(row[at]) for at in middles] == [(128,) * 3, (128,) * 3, red, blue, red, red]


def test_large_photographs_are_shown_small(trainer, tmp_path):
    images = TensorBoardImages(tmp_path, trainer, Colored(), {"large"})
    _run(trainer, [images], epochs=1, validate=_shows(images, "large", size=(1000, 1600)))
    width, height, _ = _read(tmp_path / "images")["large"][0][1]
    assert (int(width), int(height) < 320) == (3 * 320 + 4 * 8, True)


def test_a_resumed_run_shows_each_epoch_once(trainer, tmp_path):
    images = TensorBoardImages(tmp_path, trainer, Colored(), {"first"})
    _run(trainer, [images], epochs=3, validate=_shows(images, "first", seen=0))
    # Back to the checkpoint of the first epoch.
    trainer.progress.step, trainer.progress.epochs_done = 1, 1
    del trainer.progress.history[1:]
    again = TensorBoardImages(tmp_path, trainer, Colored(), {"first"})
    scalars = TensorBoardScalars(tmp_path, trainer)
    _run(trainer, [scalars, again], epochs=3, validate=_shows(again, "first", seen=1))
    found = _read(tmp_path / "images")["first"]
    assert sorted(step for step, _ in found) == [1, 2, 3]
    pictures = {step: bytes(value[2]) for step, value in found}
    assert pictures[1] != pictures[2] == pictures[3]


def test_nothing_is_written_where_none_is_chosen(trainer, tmp_path):
    images = TensorBoardImages(tmp_path, trainer, Colored(), set())
    _run(trainer, [images], validate=_shows(images, "first"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EIO])
def test_an_error_of_the_disk_is_one_line_that_names_the_folder(tmp_path, code):
    text = f"{tmp_path}/events.out.tfevents.1.v2; {os.strerror(code)}\n\tFailed to flush 1 events"
    with pytest.raises(ResourceError) as caught, writing_events(tmp_path):
        raise tf.errors.ResourceExhaustedError(None, None, text)
    line = str(caught.value)
    assert str(tmp_path) in line and os.strerror(code) in line and "Fix: " in line and "\n" not in line
