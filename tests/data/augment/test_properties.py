"""What holds for crops of every size, scale and turn."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data.augment.painting import keyed, painted
from segtrain.data import Resize, ScaleCropFlip

IGNORED = 11
SIDES = st.integers(1, 80)
CROPS = st.tuples(st.integers(1, 48), st.integers(1, 48))


@given(SIDES, SIDES, CROPS, st.integers(0, 1000), st.floats(0, 1), st.floats(0, 1))
def test_without_scaling_each_pixel_of_the_crop_is_one_of_the_image_with_its_label(
    height, width, crop, key, flip, vertical
):
    image, labels = painted(height, width)
    augment = ScaleCropFlip(crop, IGNORED, (), scale=(1, 1), flip=flip, vertical_flip=vertical)
    out, ids = augment(image, labels, keyed(key))
    assert out.shape == (*crop, 3) and ids.shape == crop and out.dtype == ids.dtype == np.uint8
    inside = ids != IGNORED
    rows, columns = out[inside][:, 0], out[inside][:, 1]
    np.testing.assert_array_equal(labels[rows, columns], ids[inside])
    # As much of the image as fits, each pixel once.
    assert inside.sum() == min(height, crop[0]) * min(width, crop[1]) == len({*zip(rows, columns, strict=True)})


@given(SIDES, SIDES, CROPS, st.integers(0, 1000), st.floats(0.05, 8), st.floats(0, 180))
def test_labels_are_never_interpolated(height, width, crop, key, scale, turn):
    _, labels = painted(height, width)
    image = np.zeros((height, width, 3), np.uint8)
    # Ids far apart: a mean of two would be a third.
    table = np.arange(0, 256, 20, dtype=np.uint8)
    ids = table[labels % len(table)]
    augment = ScaleCropFlip(crop, 255, (), scale=(scale, scale), rotate=turn)
    _, found = augment(image, ids, keyed(key))
    assert {*np.unique(found)} <= {*np.unique(ids), 255}


@given(SIDES, SIDES, CROPS, st.integers(0, 1000))
def test_a_resized_map_holds_no_new_ids(height, width, crop, key):
    image, labels = painted(height, width)
    _, found = Resize(crop)(image, labels, keyed(key))
    assert found.shape == crop and {*np.unique(found)} <= {*np.unique(labels)}
