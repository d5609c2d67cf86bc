"""Tiles: they cover an image, and blend to the scores of the complete image where a score depends on its own pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtrain.inference.tiles import ALIGNMENT, blend, spans


@given(st.integers(1, 3000), st.integers(2, 20), st.integers(1, 10))
def test_spans_cover_a_side_overlap_and_begin_at_multiples(length, tile, overlap):
    tile, overlap = ALIGNMENT * tile, ALIGNMENT * min(overlap, tile - 1)
    found = spans(length, tile, overlap)
    assert found[0][0] == 0 and found[-1][1] == length
    for (start, end), (following, _) in zip(found, found[1:], strict=False):
        assert start < following <= end - overlap  # neighbors share `overlap` pixels or more
    assert all(start % ALIGNMENT == 0 for start, _ in found)
    assert all(end - start <= tile + ALIGNMENT for start, end in found)


@pytest.mark.parametrize("cell", [1, 4])
@pytest.mark.parametrize("size", [(64, 64), (97, 161), (300, 130), (33, 400)])
def test_scores_of_single_pixels_are_those_of_the_complete_image(size, cell):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)

    def scores(part):
        return part[::cell, ::cell].astype(np.float32)

    blocks = list(blend(image, scores, tile=64, overlap=32, cell=cell))
    np.testing.assert_allclose(np.concatenate(blocks), scores(image), rtol=1e-6)
    if size[0] > 100:
        assert len(blocks) > 2  # not the complete image at once


def test_the_weight_of_a_tile_falls_linearly_where_another_overlaps():
    # Two tiles of 64 that share 32 columns: the left one scores 0, the right one 1.
    image = np.zeros((1, 96, 3), np.uint8)
    values = iter([0.0, 1.0])
    (found,) = blend(image, lambda part: np.full((*part.shape[:2], 1), next(values), np.float32), 64, 32)
    expected = [0.0] * 32 + [(column + 0.5) / 32 for column in range(32)] + [1.0] * 32
    np.testing.assert_allclose(found[0, :, 0], expected, atol=1e-6)
