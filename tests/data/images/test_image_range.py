"""16-bit images: what the network sees of them, and which of them nobody meant to be that dark."""

import numpy as np
import pytest

from pictures import GRAY, GRAY_ALPHA, RGB, RGBA, png, saved
from segtrain.data.images.files import read_image, read_stored_range
from segtrain.data.images.image_range import checked_range, judge
from segtrain.errors import ConfigError, located


def write(folder, data, name="a.png"):
    path = folder / name
    path.write_bytes(data)
    return path


def deep(channels, high=4095):
    shape = (6, 5) if channels == 1 else (6, 5, channels)
    return np.random.default_rng(channels).integers(0, high, shape, endpoint=True)


@pytest.mark.parametrize(("kind", "channels"), [(GRAY, 1), (RGB, 3), (GRAY_ALPHA, 2), (RGBA, 4)])
@pytest.mark.parametrize("given", [(0, 4095), (100, 1023), (0, 65535), (7, 8)])
def test_a_range_becomes_0_to_255_exactly(tmp_path, kind, channels, given):
    values = deep(channels)
    low, high = given
    color = values[..., :3] if channels > 2 else np.repeat(values.reshape(6, 5, -1)[..., :1], 3, axis=-1)
    expected = np.clip(np.round((color - low) * 255 / (high - low)), 0, 255)
    found = read_image(write(tmp_path, png(values, 16, kind)), image_range=given)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


def test_a_tiff_is_scaled_alike(tmp_path):
    values = deep(1)
    path = write(tmp_path, saved(values.astype(np.uint16), "TIFF"), "a.tif")
    expected = np.round(values * 255 / 4095)
    np.testing.assert_array_equal(read_image(path, image_range=(0, 4095))[..., 2], expected)
    assert read_stored_range(path) == (values.min(), values.max())


def test_eight_bits_stay_as_they_are(tmp_path):
    values = deep(3, 255)
    path = write(tmp_path, png(values, 8, RGB))
    np.testing.assert_array_equal(read_image(path, image_range=(0, 4095)), values)
    assert read_stored_range(path) is None


@pytest.mark.parametrize("bits", range(6, 17))
def test_images_that_are_all_of_few_bits_are_told_by_their_values(bits):
    found = judge([(3, 2**bits - 1), (0, 2 ** (bits - 1))])
    if bits > 14:
        assert found is None
        return
    assert found.severity == ("error" if bits <= 12 else "warning")
    assert f"2 of 2 16-bit images hold values 0..{2**bits - 1} of 0..65535" in found.text
    top = 2 ** max(8, bits) - 1
    assert located(found.fix, "").startswith(f"'image_range=[0,{top}]', or 'image_range=[0,65535]'")


def test_a_dark_frame_among_bright_ones_is_right():
    bright = [(0, 60000)] * 9
    assert judge([*bright, (0, 900)]) is None
    assert judge([]) is None
    found = judge([*bright, (0, 900), (5, 1000), (0, 20), (0, 1)])
    assert found.severity == "warning" and found.text.startswith("4 of 13 16-bit images hold values 0..1000")


@pytest.mark.parametrize(
    "given", [[0], [0, 1, 2], [5, 5], [9, 3], [-1, 9], [0, 65536], [0.0, 1.0], [True, 2], ["0", "9"]]
)
def test_a_range_that_is_none_is_refused(given):
    with pytest.raises(ConfigError, match=r"image_range=.*0\.\.65535\. Fix: 'image_range=\[0,4095\]'"):
        checked_range(given)
