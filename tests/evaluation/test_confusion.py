"""Scores from one confusion matrix, by hand and against Keras.

K classes.
"""

import numpy as np
import pytest

from segtrain.evaluation import confusion_matrix, scores

VOID = 255


def count(labels, predicted, num_classes=3, ignore_class=VOID):
    return confusion_matrix(np.uint8(labels), np.uint8(predicted), num_classes, ignore_class)


# Counting -----------------------------------------------------------------------------------------------------


def test_rows_are_the_truth_and_columns_what_was_said():
    # Two pixels of class 0 were called 1; one of class 2 was called 0.
    matrix = count([0, 0, 0, 1, 2, 2], [0, 1, 1, 1, 2, 0])
    assert matrix.dtype == np.int64
    assert matrix.tolist() == [[1, 2, 0], [0, 1, 0], [1, 0, 1]]


def test_ignored_pixels_are_not_counted_whatever_was_said_there():
    assert count([0, VOID, 1, VOID], [0, 1, 1, 77]).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_any_id_may_be_the_ignored_one():
    # CamVid's 11 classes with 11 unlabeled: the id right behind the last class.
    assert count([10, 11], [10, 3], num_classes=11, ignore_class=11).sum() == 1


def test_shape_does_not_matter_and_matrices_add_up():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 3, (2, 4, 5, 6), np.uint8)
    whole = count(labels, predicted)
    parts = sum(count(*pair) for pair in zip(labels, predicted, strict=True))
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_array_equal(whole, count(labels.ravel(), predicted.ravel()))
    assert whole.sum() == 4 * 5 * 6


def test_every_cell_equals_a_plain_loop():
    rng = np.random.default_rng(1)
    labels, predicted = rng.choice([0, 1, 2, 3, VOID], 500), rng.integers(0, 4, 500)
    expected = np.zeros((4, 4), int)
    for truth, said in zip(labels, predicted, strict=True):
        if truth != VOID:
            expected[truth, said] += 1
    np.testing.assert_array_equal(count(labels, predicted, num_classes=4), expected)


def test_255_classes_do_not_overflow():
    # Codes go up to 254 * 255 + 254 = 65 024, more than a byte and than a signed short.
    matrix = count([254, 254, 0], [254, 0, 254], num_classes=255)
    assert matrix[254, 254] == matrix[254, 0] == matrix[0, 254] == 1 and matrix.sum() == 3


def test_void_alone_counts_nothing():
    matrix = count([VOID, VOID], [0, 1])
    assert matrix.shape == (3, 3) and matrix.sum() == 0 and matrix.dtype == np.int64


@pytest.mark.parametrize(("labels", "predicted"), [([0, 3], [0, 0]), ([0, 1], [0, 3]), ([254], [0])])
def test_ids_outside_the_classes_are_an_error(labels, predicted):
    with pytest.raises(ValueError, match="class ids up to (3|254), expected below 3"):
        count(labels, predicted)


# Scores -------------------------------------------------------------------------------------------------------


def test_scores_by_hand():
    # truth 0: 3 right, 1 called 1; truth 1: 2 right, 2 called 0, 2 called 2; truth 2: 0 right, 2 called 0
    found = scores(np.array([[3, 1, 0], [2, 2, 2], [2, 0, 0]]))
    # IoU: 3 / (4 + 7 - 3), 2 / (6 + 3 - 2), 0 / (2 + 2 - 0)
    np.testing.assert_allclose(found.iou, [3 / 8, 2 / 7, 0])
    np.testing.assert_allclose(found.accuracy, [3 / 4, 2 / 6, 0 / 2])
    assert found.mean_iou == pytest.approx((3 / 8 + 2 / 7 + 0) / 3)
    assert found.mean_accuracy == pytest.approx((3 / 4 + 2 / 6 + 0) / 3)
    assert found.pixel_accuracy == pytest.approx(5 / 12)
    assert found.frequency_weighted_iou == pytest.approx(4 / 12 * 3 / 8 + 6 / 12 * 2 / 7 + 2 / 12 * 0)
    assert found.pixels.tolist() == [4, 6, 2]


def test_iou_of_two_classes():
    # truth 0 0 1 1, said 0 1 1 1  ->  class 0: 1/2, class 1: 2/3
    found = scores(count([0, 0, 1, 1], [0, 1, 1, 1], num_classes=2))
    assert found.mean_iou == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_absent_class_has_no_score_and_is_left_out_of_the_means():
    found = scores(count([0, 0, 1, 1], [0, 1, 1, 1]))  # nobody ever mentions class 2
    assert np.isnan(found.iou[2]) and np.isnan(found.accuracy[2]) and found.pixels[2] == 0
    assert found.mean_iou == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found.mean_accuracy == pytest.approx((1 / 2 + 2 / 2) / 2)


def test_class_that_is_only_predicted_scores_zero():
    found = scores(count([0, 0, 1, 1], [0, 0, 1, 2]))
    assert found.iou[2] == 0 and np.isnan(found.accuracy[2])
    assert found.mean_iou == pytest.approx((2 / 2 + 1 / 2 + 0) / 3)
    assert found.mean_accuracy == pytest.approx((2 / 2 + 1 / 2) / 2)
    assert found.frequency_weighted_iou == pytest.approx(2 / 4 * 1 + 2 / 4 * 1 / 2)


def test_class_that_is_never_found_scores_zero():
    found = scores(count([0, 2], [0, 0]))
    assert found.iou[2] == 0 and found.accuracy[2] == 0


def test_perfect_is_exactly_one():
    labels = np.random.default_rng(0).choice([0, 1, 2, VOID], 1000)
    found = scores(count(labels, np.where(labels == VOID, 0, labels)))
    assert found.pixel_accuracy == found.mean_accuracy == found.mean_iou == found.frequency_weighted_iou == 1
    assert found.iou.tolist() == [1, 1, 1]


def test_nothing_counted_gives_no_scores_rather_than_zero():
    found = scores(np.zeros((2, 2), np.int64))
    means = [found.pixel_accuracy, found.mean_accuracy, found.mean_iou, found.frequency_weighted_iou]
    assert np.isnan([*means, *found.iou, *found.accuracy]).all()
    assert found.pixels.tolist() == [0, 0]


def test_scores_raise_no_warnings(recwarn):
    scores(count([0, 0], [0, 1]))
    scores(np.zeros((3, 3), np.int64))
    assert not recwarn.list


def test_renumbered_classes_have_renumbered_scores():
    rng = np.random.default_rng(3)
    labels, predicted = rng.integers(0, 5, (2, 300))
    new_id = rng.permutation(5)
    before = scores(count(labels, predicted, num_classes=5))
    after = scores(count(new_id[labels], new_id[predicted], num_classes=5))
    np.testing.assert_allclose(after.iou[new_id], before.iou)
    assert after.mean_iou == pytest.approx(before.mean_iou)


def test_iou_is_symmetric_in_truth_and_prediction_but_accuracy_is_not():
    rng = np.random.default_rng(4)
    labels, predicted = rng.integers(0, 3, 200), np.minimum(rng.integers(0, 5, 200), 2)
    one, other = scores(count(labels, predicted)), scores(count(predicted, labels))
    np.testing.assert_allclose(one.iou, other.iou)
    assert np.abs(one.accuracy - other.accuracy).max() > 0.05


@pytest.mark.tensorflow
@pytest.mark.parametrize("present", [5, 3], ids=["all present", "two absent"])
def test_mean_iou_is_keras_mean_iou(present):
    import keras

    rng = np.random.default_rng(present)
    labels = rng.choice([*range(present), VOID], (4, 9, 7)).astype(np.uint8)
    predicted = rng.integers(0, present, (4, 9, 7), np.uint8)
    oracle = keras.metrics.MeanIoU(5, ignore_class=VOID)
    oracle.update_state(labels, predicted)
    found = scores(count(labels, predicted, num_classes=5))
    assert found.mean_iou == pytest.approx(float(oracle.result()), abs=1e-6)
