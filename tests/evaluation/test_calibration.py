"""Expected calibration error by hand."""

import numpy as np
import pytest

from segtrain.errors import ConfigError
from segtrain.evaluation import Calibration

IGNORED = 255


def logits_of(*confidences):
    """Two logits a pixel whose higher softmax probability is given, for class 0."""
    return np.float32([[[np.log(each / (1 - each)), 0] for each in confidences]])


def test_ece_by_hand():
    # Bins of 0.1: (0.62, right), (0.68, wrong) share one: |1 - 1.30|; (0.95, right): |1 - 0.95|. Of 3 pixels.
    metric = Calibration(("a", "b"), IGNORED, bins=10)
    metric.update(np.uint8([[0, 1, 0]]), np.uint8([[0, 0, 0]]), logits_of(0.62, 0.68, 0.95))
    assert metric.result()["ece"] == pytest.approx((abs(1 - 1.30) + 0.05) / 3, abs=1e-6)
    assert metric.result()["confidence"] == pytest.approx((0.62 + 0.68 + 0.95) / 3, abs=1e-6)


def test_ignored_pixels_do_not_count_and_no_pixel_has_no_score():
    metric = Calibration(("a", "b"), IGNORED)
    metric.update(np.uint8([[IGNORED]]), np.uint8([[0]]), logits_of(0.9))
    assert np.isnan(metric.result()["ece"])


def test_lower_errors_are_better():
    metric = Calibration(("a", "b"), IGNORED)
    assert (metric.direction("ece"), metric.direction("confidence")) == ("min", "max")


def test_huge_logits_are_certain():
    metric = Calibration(("a", "b"), IGNORED)
    metric.update(np.uint8([[0, 1]]), np.uint8([[0, 1]]), np.float32([[[1e5, 0], [-1e5, 1e5]]]))
    assert metric.result() == {"ece": 0.0, "confidence": 1.0}


@pytest.mark.parametrize("bins", [0, 1, 1001])
def test_numbers_of_bins_are_limited(bins):
    with pytest.raises(ConfigError, match="bins"):
        Calibration(("a", "b"), IGNORED, bins=bins)
