"""TIFFs of every kind are read exactly, or named for what they are; never with bands dropped or moved."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from segtrain.data.images.files import read_image, read_size
from segtrain.data.images.labels import read_labels, read_labels_size
from segtrain.errors import DataError

GRAY, RGB, CMYK, LAB = 1, 2, 5, 8
UNKNOWN, ASSOCIATED, UNASSOCIATED = 0, 1, 2  # extra bands
FORMATS = {"u": 1, "i": 2, "f": 3, "c": 6}


def tiff(
    values: np.ndarray, photometric: int, *, extra: tuple[int, ...] = (), planar: bool = False, order: str = "<"
) -> bytes:
    """Write a TIFF byte by byte, uncompressed, one strip or one a band; `values` is (H, W) or (H, W, bands)."""
    values = values.reshape(*values.shape[:2], -1).astype(values.dtype.newbyteorder(order))
    height, width, bands = values.shape
    planes = [np.ascontiguousarray(values[..., band]) for band in range(bands)] if planar else [values]
    strips = [plane.tobytes() for plane in planes]
    starts = [8 + sum(map(len, strips[:number])) for number in range(len(strips))]
    tags = {256: [width], 257: [height], 258: [values.dtype.itemsize * 8] * bands, 259: [1], 262: [photometric]}
    tags |= {273: starts, 277: [bands], 278: [height], 279: list(map(len, strips)), 284: [2 if planar else 1]}
    tags |= {338: list(extra)} if extra else {}
    tags |= {339: [FORMATS[values.dtype.kind]] * bands}
    directory = 8 + sum(map(len, strips))
    entries, beyond = b"", b""
    for tag, numbers in sorted(tags.items()):
        kind, letter = (4, "I") if tag in (273, 279) else (3, "H")
        packed = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        if len(packed) > 4:
            position = directory + 2 + 12 * len(tags) + 4 + len(beyond)
            beyond += packed
            packed = struct.pack(f"{order}I", position)
        entries += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", directory)
    count, end = struct.pack(f"{order}H", len(tags)), struct.pack(f"{order}I", 0)
    return head + b"".join(strips) + count + entries + end + beyond


def random_bands(dtype: str, bands: int) -> np.ndarray:
    rng = np.random.default_rng(bands)
    if np.dtype(dtype).kind in "fc":
        return rng.random((5, 7, bands)).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, (5, 7, bands), dtype, endpoint=True)


def write(folder: Path, data: bytes) -> Path:
    (folder / "my images").mkdir()
    path = folder / "my images" / "a.tif"
    path.write_bytes(data)
    return path


READ = [("u1", 1, GRAY, ()), ("u2", 1, GRAY, ()), ("u1", 3, RGB, ()), ("u2", 3, RGB, ())]
READ += [("u1", 4, RGB, (UNASSOCIATED,)), ("u2", 4, RGB, (UNASSOCIATED,)), ("u1", 2, GRAY, (UNASSOCIATED,))]
PLANAR = [("u1", 3, RGB, ()), ("u1", 4, RGB, (UNASSOCIATED,))]


@pytest.mark.parametrize(
    ("dtype", "bands", "photometric", "extra", "planar"),
    [*((*each, False) for each in READ), *((*each, True) for each in PLANAR)],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_grey_and_rgb_with_or_without_alpha_are_what_was_written(
    tmp_path, dtype, bands, photometric, extra, planar, order
):
    values = random_bands(dtype, bands)
    path = write(tmp_path, tiff(values, photometric, extra=extra, planar=planar, order=order))
    upper = (values >> 8).astype(np.uint8) if dtype == "u2" else values
    expected = upper[..., :3] if bands > 2 else np.repeat(upper[..., :1], 3, axis=-1)
    np.testing.assert_array_equal(read_image(path), expected)


OTHERS = {
    "four bands": ("u1", 4, RGB, (UNKNOWN,), False, "4 bands (RGB and 1 more, not marked as transparency), 8-bit"),
    "four gray bands": ("u2", 4, GRAY, (UNKNOWN,) * 3, False, "4 bands (gray and 3 more), 16-bit unsigned"),
    "two bands": ("u1", 2, GRAY, (UNKNOWN,), False, "2 bands (gray and 1 more, not marked as transparency)"),
    "five bands": ("u1", 5, RGB, (UNKNOWN,) * 2, False, "5 bands (RGB and 2 more)"),
    "alpha and more": ("u1", 5, RGB, (UNASSOCIATED, UNKNOWN), False, "5 bands (RGB and 2 more)"),
    "eight bands": ("u2", 8, GRAY, (UNKNOWN,) * 7, False, "8 bands (gray and 7 more), 16-bit"),
    "three gray bands": ("u1", 3, GRAY, (UNKNOWN,) * 2, False, "3 bands (gray and 2 more)"),
    "planes of 16 bits": ("u2", 3, RGB, (), True, "3 bands (RGB), 16-bit unsigned integers, each band apart (planar)"),
    "gray planes": ("u1", 3, GRAY, (UNKNOWN,) * 2, True, "each band apart (planar)"),
    "floats": ("f4", 1, GRAY, (), False, "1 band (gray), 32-bit floats"),
    "doubles": ("f8", 3, RGB, (), False, "3 bands (RGB), 64-bit floats"),
    "halves": ("f2", 1, GRAY, (), False, "16-bit floats"),
    "complex": ("c8", 1, GRAY, (), False, "64-bit complex floats"),
    "signed bytes": ("i1", 1, GRAY, (), False, "8-bit signed integers"),
    "signed": ("i2", 1, GRAY, (), False, "16-bit signed integers"),
    "integers": ("i4", 1, GRAY, (), False, "32-bit signed integers"),
    "unsigned": ("u4", 1, GRAY, (), False, "32-bit unsigned integers"),
    "long": ("u8", 1, GRAY, (), False, "64-bit unsigned integers"),
    "CIELAB": ("u1", 3, LAB, (), False, "3 bands (CIELAB), 8-bit"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_other_bands_and_numbers_are_named_before_anything_is_decoded(tmp_path, name, order):
    dtype, bands, photometric, extra, planar, seen = OTHERS[name]
    path = write(tmp_path, tiff(random_bands(dtype, bands), photometric, extra=extra, planar=planar, order=order))
    for read in (read_image, read_size):
        with pytest.raises(DataError) as caught:
            read(path)
        assert all(word in str(caught.value) for word in (str(path), seen, "expected gray or RGB", "Fix: mkdir -p "))
        assert "damaged" not in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["four bands", "two bands", "floats", "signed", "unsigned"])
def test_the_printed_command_converts_the_file(tmp_path, name):
    dtype, bands, photometric, extra, planar, _ = OTHERS[name]
    values = random_bands(dtype, bands)
    path = write(tmp_path, tiff(values, photometric, extra=extra, planar=planar))
    with pytest.raises(DataError) as caught:
        read_image(path)
    fix = str(caught.value).partition("Fix: ")[2].replace("python -c", f"{sys.executable} -c")
    subprocess.run(["bash", "-c", fix], check=True, capture_output=True)
    high = {"floats": 1, "signed": 65535, "unsigned": 65535}.get(name)
    kept = values[..., :3] if bands > 2 else np.repeat(values[..., :1], 3, axis=-1)
    expected = kept if high is None else (kept * (255 / high)).clip(0, 255).round()
    np.testing.assert_array_equal(read_image(tmp_path / "my images_8bit" / "a.png"), expected)


def test_a_bigtiff_is_named(tmp_path):
    path = write(tmp_path, b"II+\0" + bytes(40))
    with pytest.raises(DataError, match=r"a BigTIFF image, expected .*Fix: mkdir -p .* python -c"):
        read_image(path)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "i4"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_ids_in_one_band_of_integers_are_labels(tmp_path, dtype, order):
    ids = np.array([[0, 1, 255], [7, 100, 127]]).astype(dtype)
    assert read_labels(write(tmp_path, tiff(ids, GRAY, order=order))).tolist() == ids.tolist()


@pytest.mark.parametrize("name", [name for name in OTHERS if name not in ("signed", "integers", "unsigned")])
def test_other_bands_and_numbers_are_no_labels(tmp_path, name):
    dtype, bands, photometric, extra, planar, seen = OTHERS[name]
    path = write(tmp_path, tiff(random_bands(dtype, bands), photometric, extra=extra, planar=planar))
    for read in (read_labels, read_labels_size):
        with pytest.raises(DataError) as caught:
            read(path)
        assert seen in str(caught.value) and "expected class ids in one band of integers" in str(caught.value)
