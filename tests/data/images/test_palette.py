"""Palettes of label files: which differ where it matters."""

import numpy as np
import pytest
from PIL import Image

from pictures import GRAY, PALETTE, RGB, png
from segtrain.data.images.palette import describe_differences, read_palette, sampled_differences, used_colors

BLACK, RED, GREEN, BLUE = (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)


def write(folder, name, colors, ids=((0, 1, 2),), depth=8):
    path = folder / f"{name}.png"
    path.write_bytes(png(np.array(ids), depth, PALETTE, bytes(value for color in colors for value in color)))
    return path


def test_the_same_colors_at_other_indices_are_named_with_their_files(tmp_path):
    paths = [write(tmp_path, f"a{n}", [BLACK, RED, GREEN]) for n in range(3)]
    paths += [write(tmp_path, f"b{n}", [BLACK, GREEN, RED]) for n in range(2)]
    expected = "index 1 is #ff0000 in 3 files, #00ff00 in 2; index 2 is #00ff00 in 3 files, #ff0000 in 2"
    assert sampled_differences(paths) == expected
    assert describe_differences(used_colors(path, read_palette(path)) for path in paths) == expected


@pytest.mark.parametrize(
    "other",
    [
        [BLACK, RED, GREEN, BLUE],  # longer
        [BLACK, RED, GREEN, *[BLACK] * 253],  # filled up
        [BLACK, RED],  # shorter than its indices
    ],
)
def test_palettes_that_are_longer_or_shorter_do_not_differ(tmp_path, other):
    assert sampled_differences([write(tmp_path, "a", [BLACK, RED, GREEN]), write(tmp_path, "b", other)]) == ""


def test_entries_that_do_not_occur_do_not_differ(tmp_path):
    one = write(tmp_path, "a", [BLACK, RED, GREEN], ids=((0, 1),))
    assert sampled_differences([one, write(tmp_path, "b", [BLACK, RED, BLUE], ids=((0, 1),))]) == ""
    differing = sampled_differences([one, write(tmp_path, "c", [RED, RED, BLUE], ids=((0, 1),))])
    assert differing == "index 0 is #000000 in 1 file, #ff0000 in 1"


def test_greys_for_each_index_and_other_kinds_have_no_palette(tmp_path):
    assert read_palette(write(tmp_path, "ramp", [(n, n, n) for n in range(256)])) == b""
    for name, kind, shape in (("gray", GRAY, (2, 3)), ("rgb", RGB, (2, 3, 3))):
        path = tmp_path / f"{name}.png"
        path.write_bytes(png(np.zeros(shape, int), 8, kind, chunks=[(b"PLTE", bytes([9] * 6))] if kind == RGB else ()))
        assert read_palette(path) == b""


@pytest.mark.parametrize("kind", ["bmp", "tif"])
def test_palettes_of_bmp_and_tiff_are_compared_too(tmp_path, kind):
    for name, colors in (("a", [BLACK, RED, GREEN]), ("b", [BLACK, GREEN, RED])):
        image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
        image.putpalette([value for color in colors for value in color])
        image.save(tmp_path / f"{name}.{kind}")
    found = sampled_differences([tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"])
    assert "index 1 is #ff0000 in 1 file, #00ff00 in 1" in found


def test_files_that_cannot_be_read_are_left_out(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"")
    assert sampled_differences([tmp_path / "broken.png", tmp_path / "none.png"]) == ""


def test_many_indices_are_counted():
    found = describe_differences([dict.fromkeys(range(5), "#000000"), dict.fromkeys(range(5), "#ffffff")])
    assert found.endswith("; and 2 more indices") and found.count("index ") == 3
