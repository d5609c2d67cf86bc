"""Images scored against their labels: size, order, ties, and logits that are not finite.

B batch, H height, W width, K classes. Images are coded: a pixel's red is 10 times its class.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from segtrain.data import Folder, Sample
from segtrain.errors import NumericError
from segtrain.evaluation import Metric
from segtrain.evaluation.scoring import Scorer, SplitScores, directions_of, samples_of_process
from segtrain.inference import predictor
from segtrain.inference.predictor import Predictor
from segtrain.losses import CrossEntropy, EdgeCrossEntropy, HeadLoss, scored

pytestmark = pytest.mark.tensorflow

CLASSES, VOID = 4, 255
SIZES = [(7, 5), (1, 1), (33, 18), (20, 64), (3, 129)]


class Coded(keras.Model):
    """Read the class out of a pixel's red, as one-hot logits."""

    def call(self, pixels, training=False):
        return tf.one_hot(tf.cast(tf.round(pixels[..., 0] / 10), tf.int32), CLASSES)


class Equal(keras.Model):
    """Logits that leave the choice between classes 1 and 3."""

    def call(self, pixels, training=False):
        return tf.zeros(tf.shape(pixels)[:3])[..., None] + tf.constant([0.0, 2.0, 1.0, 2.0])


class Sized(keras.Model):
    """Class 1 everywhere if the network sees 16 x 24 pixels, else class 0."""

    def call(self, pixels, training=False):
        is_wanted = tf.reduce_all(tf.shape(pixels)[1:3] == [16, 24])
        return tf.zeros(tf.shape(pixels)[:3])[..., None] + tf.where(
            is_wanted, [0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]
        )


class Linear(keras.Model):
    """Class 1 gains over class 0 with the red, from -0.2 at 0 to 0.8 at 100."""

    def call(self, pixels, training=False):
        gain = pixels[..., 0] / 100 - 0.2
        return tf.stack([tf.zeros_like(gain), gain, gain - 9, gain - 9], axis=-1)


class Poisoned(keras.Model):
    """NaN where a pixel's green is 255."""

    def call(self, pixels, training=False):
        return tf.where(pixels[..., 1:2] == 255, np.nan, tf.zeros(tf.shape(pixels)[:3])[..., None] + tf.zeros(CLASSES))


def _write(folder, name, image, labels):
    for kind, array in (("images", image), ("labels", labels)):
        (folder / kind).mkdir(exist_ok=True)
        Image.fromarray(array.astype(np.uint8)).save(folder / kind / f"{name}.png")
    return Sample(name, folder / "images" / f"{name}.png", folder / "labels" / f"{name}.png")


@pytest.fixture
def dataset(tmp_path):
    classes = ["a", "b", "c", "d"]
    return Folder(tmp_path, classes, "images", "labels", "val_images", "val_labels", ignore_class=VOID)


@pytest.fixture
def samples(tmp_path):
    """Coded images of several sizes; a tenth of their labels are void."""
    written = []
    for number, size in enumerate(SIZES):
        rng = np.random.default_rng(number)
        classes = rng.integers(0, CLASSES, size)
        image = np.stack([10 * classes, rng.integers(0, 255, size), rng.integers(0, 255, size)], axis=-1)
        labels = np.where(rng.random(size) < 0.1, VOID, classes)
        written.append(_write(tmp_path, f"photo_{number}", image, labels))
    return written


def _scorer(model, dataset, resize=None, heads=None, metrics=None):
    heads = heads or {}
    predictor = Predictor(model, resize=resize, heads=list(scored(heads)))
    return Scorer(predictor, CrossEntropy(VOID, CLASSES), dataset, heads=heads, metrics=metrics or {})


def _predict(model, dataset, samples, workers=2, **options):
    scorer = _scorer(model, dataset, **options)
    return list(scorer.score(samples, scorer.start(), workers))


def test_coded_classes_come_back_at_every_size(dataset, samples):
    for prediction, size in zip(_predict(Coded(), dataset, samples), SIZES, strict=True):
        assert prediction.predicted.shape == prediction.labels.shape == size
        assert prediction.predicted.dtype == prediction.labels.dtype == np.uint8
        np.testing.assert_array_equal(prediction.predicted, prediction.image[..., 0] // 10)
        counted = prediction.labels != VOID
        np.testing.assert_array_equal(prediction.predicted[counted], prediction.labels[counted])


@pytest.mark.parametrize("workers", [1, 3])
def test_predictions_come_in_the_order_that_is_asked_for(dataset, samples, workers):
    order = [samples[index] for index in (3, 0, 4, 1, 0, 2)]
    predictions = _predict(Coded(), dataset, order, workers=workers)
    assert [prediction.sample for prediction in predictions] == order
    for prediction in predictions:
        np.testing.assert_array_equal(prediction.image, np.asarray(Image.open(prediction.sample.image)))
        np.testing.assert_array_equal(prediction.labels, np.asarray(Image.open(prediction.sample.labels)))


@pytest.mark.parametrize("resize, expected", [(None, 0), ((16, 24), 1)])
def test_the_network_sees_what_resize_says_and_predictions_keep_the_labels_size(dataset, samples, resize, expected):
    for prediction, size in zip(_predict(Sized(), dataset, samples, resize=resize), SIZES, strict=True):
        assert prediction.predicted.shape == size
        assert (prediction.predicted == expected).all()


def test_the_logits_not_the_labels_are_brought_back_to_size(dataset, tmp_path):
    # Red 0 0 100 100, seen as 0 100, gains -0.2 0.8; between the centers -0.2 0.05 0.55 0.8. Labels would be 0 0 1 1.
    image = np.zeros((1, 4, 3))
    image[0, 2:, 0] = 100
    [prediction] = _predict(Linear(), dataset, [_write(tmp_path, "ramp", image, np.zeros((1, 4)))], resize=(1, 2))
    assert prediction.predicted.tolist() == [[0, 1, 1, 1]]


def test_a_tie_goes_to_the_lower_class(dataset, samples):
    for prediction in _predict(Equal(), dataset, samples):
        assert (prediction.predicted == 1).all()


def test_the_loss_is_the_mean_over_pixels_that_are_not_ignored(dataset, samples):
    for prediction in _predict(Equal(), dataset, samples):
        truth = prediction.labels[prediction.labels != VOID]
        logits = np.array([0.0, 2.0, 1.0, 2.0])
        expected = np.log(np.exp(logits).sum()) - logits[truth]
        assert prediction.loss == pytest.approx(expected.mean() if truth.size else 0, rel=1e-5)


def test_logits_that_are_not_finite_name_their_image(dataset, samples, tmp_path):
    image = np.zeros((9, 9, 3))
    image[4, 4, 1] = 255
    bad = _write(tmp_path, "bad", image, np.zeros((9, 9)))
    scorer = _scorer(Poisoned(), dataset)
    predictions = scorer.score([samples[0], bad, samples[1]], scorer.start())
    assert next(predictions).sample == samples[0]
    with pytest.raises(NumericError, match=rf"logits for {bad.image}: NaN or infinite.*Fix: "):
        next(predictions)


def test_a_network_in_training_is_asked_outside_of_training(dataset, samples):
    # Dropout of nearly everything would be seen.
    pixels = keras.Input((None, None, 3))
    ones = keras.layers.Conv2D(CLASSES, 1, kernel_initializer="zeros", bias_initializer="ones")(pixels)
    weighted = keras.layers.Rescaling([0.0, 0.0, 0.0, 1.0])(keras.layers.Dropout(0.99)(ones))
    for prediction in _predict(keras.Model(pixels, weighted), dataset, samples):
        assert (prediction.predicted == 3).all()


class Watched(keras.layers.Layer):
    """Hand on what comes in, and count how often it is asked."""

    asked = 0

    def call(self, x):
        Watched.asked += 1
        return x


def test_a_frozen_graph_answers_alike_and_sees_weights_that_were_trained_since(dataset, samples, monkeypatch):
    pixels = keras.Input((None, None, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(6, 3, padding="same")(pixels))
    model = keras.Model(pixels, keras.layers.Conv2D(CLASSES, 1)(x))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=weight.shape) ** 2 / 10 for weight in model.get_weights()])
    scorer = _scorer(model, dataset)
    for _ in range(2):
        live = list(scorer.score(samples, scorer.start()))
        with monkeypatch.context() as patch:
            patch.setattr(predictor, "FREEZE_FROM", len(samples))
            frozen = list(scorer.score(samples, scorer.start()))
        for one, other in zip(live, frozen, strict=True):
            assert other.loss == pytest.approx(one.loss, rel=1e-5)
            # Two logits may lie within a rounding of each other.
            assert np.mean(one.predicted == other.predicted) > 0.999
        model.set_weights([2 * weight for weight in model.get_weights()])


def _two_headed():
    """Logits from the red as `Linear` has them, one edge logit from the green, and another head that is watched."""
    pixels = keras.Input((None, None, 3))
    gain = keras.layers.Rescaling([1 / 100, 0, 0], [-0.2, 0, 0])(pixels)
    kernel = np.zeros((1, 1, 3, CLASSES), np.float32)
    kernel[0, 0, 0, 1] = 1
    logits = keras.layers.Conv2D(CLASSES, 1, use_bias=False, kernel_initializer=lambda *_, **__: kernel)(gain)
    edges = keras.layers.Rescaling(1 / 100, -0.5)(pixels[..., 1:2])
    return keras.Model(pixels, {"logits": logits, "edges": edges, "auxiliary": Watched()(logits)})


def _heads():
    losses = {"edges": EdgeCrossEntropy(VOID, CLASSES), "auxiliary": CrossEntropy(VOID, CLASSES)}
    return {name: HeadLoss(loss, 1.0) for name, loss in losses.items()}


def test_a_scored_head_is_counted_at_the_labels_size(dataset, tmp_path):
    # A border between the columns 1 and 2: both are edges. Green above 50 predicts an edge in columns 0 and 1.
    image, labels = np.zeros((3, 4, 3)), np.zeros((3, 4))
    image[:, :2, 1], labels[:, 2:] = 100, 1
    labels[0, 1] = VOID
    sample = _write(tmp_path, "border", image, labels)
    # Row 0: the ignored pixel does not count and makes no edge, so 0 hits, 1 predicted, 1 edge: (0, 2) next to (1, 1).
    # Rows 1 and 2: 1 hit, 2 predicted, 2 edges each; (1, 0) sees only 0 and ignored pixels. 2 hits of 5 and 5.
    expected = {"edges": {"precision": 2 / 5, "recall": 2 / 5, "f1": 4 / 10}}
    for resize in (None, (6, 8)):  # seen at twice the size and brought back, the same pixels
        scorer = _scorer(_two_headed(), dataset, heads=_heads(), resize=resize)
        totals = scorer.start()
        list(scorer.score([sample], totals))
        assert totals.heads == expected


def test_heads_change_nothing_about_the_answer(dataset, samples):
    model = _two_headed()
    alone = keras.Model(model.input, model.output["logits"])
    for ours, plain in zip(
        _predict(model, dataset, samples, heads=_heads()), _predict(alone, dataset, samples), strict=True
    ):
        np.testing.assert_array_equal(ours.predicted, plain.predicted)
        assert ours.loss == plain.loss


def test_a_head_that_is_not_scored_is_not_computed(dataset, samples):
    model = _two_headed()
    before = Watched.asked
    _predict(model, dataset, samples[:1], heads=_heads())
    assert Watched.asked == before
    model(np.zeros((1, 2, 2, 3), np.float32))
    assert Watched.asked == before + 1


class Counted(Metric):
    """The number of images, and the mean of the highest logit."""

    def update(self, labels, predicted, logits):
        self.add(images=1, highest=logits.max())

    def result(self):
        images = float(self.sums.get("images", 0))
        return {"images": images, "highest/a": float(self.sums.get("highest", 0)) / max(1, images)}

    def direction(self, name):
        return "min" if name == "images" else "max"


def test_what_a_metric_returns_is_reported_under_its_name(dataset, samples):
    metric = Counted(dataset.class_names, VOID)
    scorer = _scorer(Coded(), dataset, metrics={"mine": metric})
    for _ in range(2):  # each validation starts from no image
        totals = scorer.start()
        list(scorer.score(samples, totals))
        reported = totals.reported()
        assert reported["mine_images"] == len(samples) and reported["mine_highest/a"] == 1
    assert metric.sums == {}


def test_every_reported_score_has_a_direction(dataset, samples):
    metrics = {"mine": Counted(dataset.class_names, VOID)}
    scorer = _scorer(_two_headed(), dataset, heads=_heads(), metrics=metrics)
    totals = scorer.start()
    list(scorer.score(samples, totals))
    directions = directions_of(dataset, _heads(), metrics)
    assert directions.keys() == totals.reported().keys()
    assert {name for name, each in directions.items() if each == "min"} == {"loss", "mine_images"}


def test_scores_of_two_processes_merge_into_those_of_one(dataset, samples):
    def total_of(*parts):
        """Add up by position, as an all-reduce does."""
        queues = [[] for _ in parts]
        for queue, part in zip(queues, parts, strict=True):
            part.merge(lambda array, queue=queue: queue.append(array) or array)
        return [sum(arrays) for arrays in zip(*queues, strict=True)]

    scorer = _scorer(_two_headed(), dataset, heads=_heads(), metrics={"mine": Counted(dataset.class_names, VOID)})
    totals = [scorer.start() for _ in range(3)]
    list(scorer.score(samples, totals[0]))
    for process in (0, 1):
        list(scorer.score(samples_of_process(samples, process, 2), totals[1 + process]))
    sums = iter(total_of(*totals[1:]))
    totals[1].merge(lambda array: next(sums))
    assert totals[1].reported() == pytest.approx(totals[0].reported(), nan_ok=True)
    assert isinstance(totals[1], SplitScores)


@pytest.mark.parametrize(
    ("process", "num_processes", "expected"), [(0, 1, [0, 1, 2]), (1, 2, [1]), (0, 2, [0, 2]), (3, 4, [0, 1, 2])]
)
def test_processes_share_a_split_unless_it_is_smaller_than_they_are_many(process, num_processes, expected):
    assert samples_of_process([0, 1, 2], process, num_processes) == expected
