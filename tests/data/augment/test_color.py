"""Steps that change colors: by their formulas, in one rounding, and never the labels."""

import numpy as np
import pytest

from data.augment.painting import Highest, Lowest, keyed
from segtrain.data import Blur, ColorJitter, Noise
from segtrain.errors import ConfigError

LABELS = np.arange(12, dtype=np.uint8).reshape(3, 4)
STEPS = [ColorJitter(0.5, 0.5, 0.5, 0.5), Blur((0.5, 2), 1), Noise((5, 20), 1)]
LUMA = (0.299, 0.587, 0.114)


def pixels(*size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def jitter(image, rng, **options):
    changes = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0} | options
    return ColorJitter(**changes)(image, LABELS, rng)[0]


# Colors --------------------------------------------------------------------------------------------------------


def test_no_change_is_no_change():
    image = pixels(9, 7)
    np.testing.assert_array_equal(jitter(image, keyed(0)), image)


def test_brightness_multiplies():
    # Times 1.5, up to 255: 0, 15, 150, 255. Times 0.5: 0, 5, 50, 100.
    image = np.repeat(np.array([[0, 10, 100, 200]], np.uint8)[..., None], 3, 2)
    assert jitter(image, Highest(), brightness=0.5)[0, :, 0].tolist() == [0, 15, 150, 255]
    assert jitter(image, Lowest(), brightness=0.5)[0, :, 0].tolist() == [0, 5, 50, 100]


def test_contrast_spreads_levels_around_mid_grey():
    # 128 + 1.5 (x - 128): 28 -> -22 -> 0, 100 -> 86, 128, 140 -> 146, 228 -> 278 -> 255.
    image = np.repeat(np.array([[28, 100, 128, 140, 228]], np.uint8)[..., None], 3, 2)
    assert jitter(image, Highest(), contrast=0.5)[0, :, 0].tolist() == [0, 86, 128, 146, 255]


def test_no_saturation_is_the_grey_of_the_luma():
    image = pixels(9, 7)
    found = jitter(image, Lowest(), saturation=1)
    np.testing.assert_allclose(found, np.repeat((image @ np.array(LUMA))[..., None], 3, 2), atol=1)


def test_more_saturation_goes_away_from_grey():
    # Luma of (100, 120, 140) is 116.3; half as far again: (91.9, 121.9, 151.9).
    found = jitter(np.full((1, 1, 3), (100, 120, 140), np.uint8), Highest(), saturation=0.5)
    np.testing.assert_allclose(found[0, 0], (91.9, 121.9, 151.9), atol=1)


@pytest.mark.parametrize("hue", [0.1, 0.5])
def test_hue_keeps_luma_and_grey(hue):
    image = (100 + pixels(9, 7) // 6).astype(np.uint8)  # far from what would be clipped
    found = jitter(image, Highest(), hue=hue)
    np.testing.assert_allclose(found @ np.array(LUMA), image @ np.array(LUMA), atol=1)
    assert np.abs(found.astype(int) - image).max() > 5
    grey = np.repeat(pixels(9, 7)[..., :1], 3, 2)
    np.testing.assert_allclose(jitter(grey, Highest(), hue=hue), grey, atol=1)


def test_half_a_turn_is_the_opposite_colour():
    # Luma 121.4 stays, the distance from it turns over: (140, 120, 80) -> (102.8, 122.8, 162.8).
    found = jitter(np.full((1, 1, 3), (140, 120, 80), np.uint8), Highest(), hue=0.5)
    np.testing.assert_allclose(found[0, 0], 2 * 121.42 - np.array([140, 120, 80]), atol=1)


# Blur -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.5, 1, 2])
def test_blur_spreads_a_point_by_sigma(sigma):
    image = np.zeros((41, 41, 3), np.uint8)
    image[20, 20] = 255
    found = Blur((sigma, sigma), 1)(image, LABELS, keyed(0))[0][..., 0].sum(0).astype(float)
    variance = (found * (np.arange(41) - 20) ** 2).sum() / found.sum()
    assert variance == pytest.approx(sigma**2, rel=0.25)  # cut at two deviations, in whole levels


def test_blur_keeps_what_is_even():
    image = np.full((9, 9, 3), (10, 90, 250), np.uint8)
    np.testing.assert_array_equal(Blur((2, 2), 1)(image, LABELS, keyed(0))[0], image)


# Noise ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.5, 4, 20])
def test_noise_has_its_deviation_and_no_bias(sigma):
    # 30,000 values: the mean's own deviation is sigma / 173.
    found = Noise((sigma, sigma), 1)(np.full((100, 100, 3), 128, np.uint8), LABELS, keyed(0))[0].astype(float) - 128
    assert abs(found.mean()) < sigma / 60
    assert found.std() == pytest.approx(np.sqrt(sigma**2 + 1 / 12), rel=0.05)  # 1 / 12: rounded to levels


def test_noise_is_of_its_own_on_each_pixel_and_channel():
    found = Noise((10, 10), 1)(np.full((64, 64, 3), 128, np.uint8), LABELS, keyed(0))[0].astype(float) - 128
    for one, other in ((found[:-1], found[1:]), (found[:, :-1], found[:, 1:]), (found[..., :-1], found[..., 1:])):
        assert abs((one * other).mean()) < 5  # of 100


@pytest.mark.parametrize("level", [0, 255])
def test_noise_does_not_wrap(level):
    found = Noise((20, 20), 1)(np.full((50, 50, 3), level, np.uint8), LABELS, keyed(0))[0]
    assert np.abs(found.astype(int) - level).max() < 80


def test_no_noise_is_no_change():
    image = pixels(9, 7)
    np.testing.assert_array_equal(Noise((0, 0), 1)(image, LABELS, keyed(0))[0], image)


# All ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_colours_change_and_labels_do_not(step):
    for size in ((1, 1), (1, 9), (13, 5), (40, 40)):
        image = pixels(*size)
        copy = image.copy()
        out, labels = step(image, LABELS, keyed(1))
        assert labels is LABELS
        assert out.shape == image.shape and out.dtype == np.uint8
        np.testing.assert_array_equal(image, copy)
        np.testing.assert_array_equal(out, step(image, LABELS, keyed(1))[0])
    assert (out != image).mean() > 0.5
    assert len({step(image, LABELS, keyed(key))[0].tobytes() for key in range(10)}) == 10


@pytest.mark.parametrize("make", [Blur, Noise])
def test_a_step_happens_with_its_probability(make):
    # Of 300 with probability 0.3: 90, deviation 8.
    image = pixels(5, 5)
    changed = sum((make(probability=0.3)(image, LABELS, keyed(key))[0] is not image) for key in range(300))
    assert 55 < changed < 125


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ColorJitter(brightness=-0.1),
            r"brightness=-0\.1: expected",
        ),
        (lambda: ColorJitter(contrast=2), r"contrast=2: expected"),
        (lambda: ColorJitter(saturation=float("nan")), r"saturation=nan"),
        (lambda: ColorJitter(hue=0.6), r"hue=0\.6: expected"),
        (lambda: Blur(sigma=(2, 1)), r"sigma=\[2, 1\]: expected the smallest and the largest"),
        (lambda: Blur(sigma=(0, 1)), r"sigma=\(0, 1\)"),
        (lambda: Noise(sigma=(1,)), r"sigma=\[1\]: .*as \[1, 8\]"),
        (lambda: Noise(probability=1.5), r"probability=1\.5: expected"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
