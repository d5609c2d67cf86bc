"""What holds for every pair of label and prediction maps, not for chosen ones.

K classes.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segtrain.evaluation import Boundary, Calibration, confusion_matrix, scores

K, IGNORED = 4, 255
SHAPES = st.tuples(st.integers(1, 24), st.integers(1, 24))
CLASSES = st.sampled_from([*range(K), IGNORED])
NAMES = tuple("abcd")


@st.composite
def pairs(draw):
    """Labels with ignored pixels, and predictions of the same shape without."""
    shape = draw(SHAPES)
    labels = draw(arrays(np.uint8, shape, elements=CLASSES))
    return labels, draw(arrays(np.uint8, shape, elements=st.integers(0, K - 1)))


@given(pairs())
def test_every_pixel_is_counted_once_or_ignored(pair):
    labels, predicted = pair
    matrix = confusion_matrix(labels, predicted, K, IGNORED)
    assert matrix.sum() + (labels == IGNORED).sum() == labels.size
    for index in range(K):
        assert matrix[index].sum() == (labels == index).sum()
        assert matrix[:, index].sum() == ((predicted == index) & (labels != IGNORED)).sum()


@given(pairs(), st.permutations(range(K)))
def test_renaming_the_classes_renames_their_scores(pair, order):
    labels, predicted = pair
    table = np.full(256, IGNORED, np.uint8)
    table[:K] = order
    one = scores(confusion_matrix(labels, predicted, K, IGNORED))
    other = scores(confusion_matrix(table[labels], table[predicted], K, IGNORED))
    np.testing.assert_array_equal(other.iou[list(order)], one.iou)
    assert other.pixel_accuracy == one.pixel_accuracy or np.isnan(one.pixel_accuracy)


@given(pairs())
def test_scores_lie_between_0_and_1_and_iou_is_the_lowest(pair):
    found = scores(confusion_matrix(*pair, K, IGNORED))
    for values in (found.iou, found.accuracy):
        assert ((np.isnan(values)) | ((values >= 0) & (values <= 1))).all()
    both = np.isfinite(found.iou) & np.isfinite(found.accuracy)
    assert (found.iou[both] <= found.accuracy[both]).all()


@given(pairs())
def test_boundary_iou_is_symmetric_and_1_for_equal_maps(pair):
    labels, predicted = pair

    def result(one, other):
        metric = Boundary(NAMES, IGNORED)
        metric.update(one, other, np.zeros(0))
        return metric.result()

    if (labels != IGNORED).all():
        assert (
            result(labels, predicted) == result(predicted, labels)
            or np.isnan(list(result(labels, predicted).values())).any()
        )
    perfect = np.where(labels == IGNORED, 0, labels).astype(np.uint8)
    found = result(labels, perfect)
    assert all(np.isnan(value) or value == 1 for value in found.values())


@given(pairs(), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_calibration_of_two_halves_adds_up_to_that_of_both(pair, bins, seed):
    labels, predicted = pair
    logits = np.random.default_rng(seed).normal(scale=4, size=(*labels.shape, K)).astype(np.float32)
    metric, first, second = (Calibration(NAMES, IGNORED, bins=bins) for _ in range(3))
    metric.update(labels, predicted, logits)
    middle = labels.shape[0] // 2
    first.update(labels[:middle], predicted[:middle], logits[:middle])
    second.update(labels[middle:], predicted[middle:], logits[middle:])
    others = iter([second.sums[name] for name in sorted(second.sums)])
    first.merge(lambda array: array + next(others))
    np.testing.assert_allclose(list(first.result().values()), list(metric.result().values()), rtol=1e-12)
    assert np.isnan(metric.result()["ece"]) or 0 <= metric.result()["ece"] <= 1
