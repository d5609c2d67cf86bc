"""Images by policy, headers, files that are no files, and folders."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from pictures import GRAY, RGB, chunk, jpeg_with, png, saved, smooth, with_exif
from segtrain.data.images import files
from segtrain.errors import DataError

READERS = [files.read_image, files.read_labels, files.read_size]


def write(tmp_path: Path, data: bytes, name: str = "image.png") -> Path:
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


def refused(read, path: Path, *words: str, **options: object) -> None:
    """Assert that a file is refused in one line with `words` and a fix."""
    with pytest.raises(DataError) as caught:
        read(path, **options)
    for word in ("Fix: ", *words):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


# Orientation --------------------------------------------------------------------------------------------------


def turned(kind: str, orientation: int, order: str = "<") -> bytes:
    """A picture, 6 x 10 pixels as stored, whose EXIF asks for a turn."""
    image = smooth((6, 10))
    exif = with_exif(orientation, order)
    if kind == "PNG":
        return png(image, 8, RGB, chunks=[(b"eXIf", exif)])
    if kind == "JPEG":
        return jpeg_with(saved(image, "JPEG", quality=95), 0xE1, b"Exif\0\0" + exif)
    if kind == "WEBP":
        return saved(image, "WEBP", lossless=True, exif=b"Exif\0\0" + exif)
    return saved(image, "TIFF", tiffinfo={274: orientation})


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turn_is_applied_as_pillow_does_or_ignored(tmp_path, kind, orientation):
    path = write(tmp_path, turned(kind, orientation))
    stored = files.read_image(path, exif="ignore")
    assert stored.shape == (6, 10, 3)
    if kind in ("PNG", "WEBP"):
        np.testing.assert_array_equal(stored, smooth((6, 10)))
    upright = files.read_image(path, exif="apply")
    with Image.open(path) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    assert upright.shape == expected.shape and upright.flags.c_contiguous
    assert np.abs(upright.astype(int) - expected).max() <= (2 if kind == "JPEG" else 0)
    assert files.read_size(path, "ignore") == (6, 10)
    assert files.read_size(path, "apply") == upright.shape[:2] == ((6, 10) if orientation < 5 else (10, 6))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_photograph_is_refused_by_default(tmp_path, orientation, order):
    path = write(tmp_path, turned("JPEG", orientation, order))
    for read in (files.read_image, files.read_size):
        refused(read, path, f"EXIF orientation {orientation} (", str(path), "exif=apply", "exif=ignore")


@pytest.mark.parametrize("orientation", [0, 1, 9, 65535])
def test_orientations_that_ask_for_no_turn_are_upright(tmp_path, orientation):
    path = write(tmp_path, turned("JPEG", orientation))
    assert files.read_image(path).shape == files.read_image(path, exif="apply").shape == (6, 10, 3)


@pytest.mark.parametrize("length", [0, 3, 9, 20])
def test_damaged_exif_asks_for_no_turn(tmp_path, length):
    data = jpeg_with(saved(smooth((6, 10)), "JPEG"), 0xE1, b"Exif\0\0" + with_exif(6)[:length])
    assert files.read_image(write(tmp_path, data)).shape == (6, 10, 3)


def test_a_tag_that_points_beyond_the_end_hides_no_turn(tmp_path):
    exif = with_exif(6)
    beyond = struct.pack("<HHII", 0x111, 3, 900, 60_000)
    exif = exif[:8] + struct.pack("<H", 9) + beyond + exif[10:22]  # nine tags are told, two are there
    data = jpeg_with(saved(smooth((6, 10)), "JPEG"), 0xE1, b"Exif\0\0" + exif)
    assert files.read_size(write(tmp_path, data), "apply") == (10, 6)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_a_photograph_decoded_smaller_is_turned_too(tmp_path, orientation, reduction):
    data = jpeg_with(saved(smooth((33, 70)), "JPEG"), 0xE1, b"Exif\0\0" + with_exif(orientation))
    image, header = files.read_image_and_header(write(tmp_path, data), exif="apply", reduction=reduction)
    assert header.upright_size == ((33, 70) if orientation == 1 else (70, 33))
    assert image.shape[:2] == tuple(-(-side // reduction) for side in header.upright_size)


# Headers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_size_is_height_then_width_whatever_the_name_says(tmp_path, kind):
    assert files.read_size(write(tmp_path, saved(smooth((3, 7)), kind), "a.jpg")) == (3, 7)


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 50}, {"exact": True, "lossless": True}])
def test_every_kind_of_webp_tells_its_size(tmp_path, options):
    rgba = np.dstack([smooth((3, 7)), np.full((3, 7), 9, np.uint8)])
    assert files.read_size(write(tmp_path, saved(rgba, "WEBP", **options))) == (3, 7)


def test_a_bmp_stored_from_the_top_has_a_positive_height(tmp_path):
    data = bytearray(saved(smooth((3, 7)), "BMP"))
    data[22:26] = struct.pack("<i", -3)
    path = write(tmp_path, bytes(data))
    assert files.read_size(path) == files.read_image(path).shape[:2] == (3, 7)


def test_a_size_behind_a_long_thumbnail_is_found(tmp_path):
    data = saved(smooth((3, 7)), "JPEG")
    for _ in range(3):
        data = jpeg_with(data, 0xE2, bytes(60_000))
    assert files.read_size(write(tmp_path, data)) == (3, 7)


def test_headers_are_read_without_the_pixels(tmp_path):
    assert files.read_size(write(tmp_path, png(smooth((3, 7)), 8, RGB)[:41])) == (3, 7)


def forged(kind: str, height: int, width: int) -> bytes:
    """A small picture whose header claims other sides."""
    if kind == "PNG":
        head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + png(np.zeros((2, 3), int), 8, GRAY)[33:]
    data = bytearray(saved(smooth((2, 3)), kind))
    if kind == "JPEG":
        position = data.index(b"\xff\xc0") + 5
        data[position : position + 4] = struct.pack(">HH", height, width)
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", width, height)
    else:
        for tag, side in ((256, width), (257, height)):
            position = data.index(
                struct.pack("<HHI", tag, 4, 1)
                if struct.pack("<HHI", tag, 4, 1) in data
                else struct.pack("<HHI", tag, 3, 1)
            )
            data[position : position + 12] = struct.pack("<HHII", tag, 4, 1, side)
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
@pytest.mark.parametrize("size", [(60_000, 60_000), (65_000, 1_100)])
def test_a_header_that_claims_a_giant_picture_is_refused_by_its_size(tmp_path, kind, size):
    path = write(tmp_path, forged(kind, *size))
    refused(files.read_image, path, str(path), f"{size[0]}x{size[1]} pixels", "at most 67108864 pixels", "max_pixels")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_header_that_claims_more_than_its_bytes_can_hold_is_refused(tmp_path, kind):
    path = write(tmp_path, forged(kind, 6_000, 8_000))
    refused(files.read_image, path, "6000x8000 pixels", f"more than its {path.stat().st_size} bytes can hold")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
def test_a_header_of_no_pixels_is_refused(tmp_path, kind):
    for read in (files.read_image, files.read_size):
        refused(read, write(tmp_path, forged(kind, 0, 3)), "image.png")


def test_the_limit_is_the_callers(tmp_path):
    path = write(tmp_path, png(np.zeros((5, 7), int), 8, GRAY))
    for read in (files.read_image, files.read_labels):
        assert read(path, max_pixels=35).shape[:2] == (5, 7)
        refused(read, path, "5x7 pixels", "at most 34 pixels", max_pixels=34)


def test_a_side_beyond_every_camera_is_refused(tmp_path):
    data = png(np.zeros((1, 70_000), int), 8, GRAY)
    refused(files.read_image, write(tmp_path, data), "1x70000 pixels", "65536 a side")


def test_a_bomb_costs_neither_memory_nor_time(tmp_path):
    # 20,000 x 20,000 gray pixels in 389 kB, well-formed: TensorFlow and OpenCV would take 1.2 GB for it.
    packed = zlib.compressobj(9)
    pixels = b"".join(packed.compress(bytes(20_001 * 100)) for _ in range(200)) + packed.flush()
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    path = write(tmp_path, data)
    assert 380_000 < len(data) < 400_000
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from segtrain.data.images import files\n"
        "before = resource.getrusage(resource.RUSAGE_SELF)\n"
        "for read in (files.read_image, files.read_labels):\n"
        "    try:\n"
        "        read(Path(sys.argv[1]))\n"
        "    except files.DataError as error:\n"
        "        assert '20000x20000' in str(error)\n"
        "        continue\n"
        "    raise SystemExit('read')\n"
        "after = resource.getrusage(resource.RUSAGE_SELF)\n"
        # Not ru_maxrss: a process inherits that of whoever started it.
        "peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(peak, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    kilobytes, seconds = map(float, done.stdout.split())
    assert kilobytes < 300_000 and seconds < 1


# Files that are no pictures -----------------------------------------------------------------------------------

OTHERS = {
    "GIF": (saved(smooth(), "GIF"), "a GIF image"),
    "HTML": (b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>", "an HTML page"),
    "HTML after a blank": (b"\n  <HTML><head></head></HTML>", "an HTML page"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git-LFS"),
    "AppleDouble": (b"\0\5\x16\7\0\2\0\0Mac OS X", "AppleDouble"),
    ".DS_Store": (b"\0\0\0\1Bud1\0\0\x10\0", ".DS_Store"),
    "Thumbs.db": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Thumbs.db"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image"),
    "AVIF": (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "an AVIF image"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
    "JPEG XL": (b"\xff\x0a\xfa\x1f", "a JPEG XL image"),
    "PDF": (b"%PDF-1.7", "a PDF"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG"),
    "NumPy": (b"\x93NUMPY\1\0", "a NumPy array"),
    "zip": (b"PK\3\4\x14\0", "a zip archive"),
    "text mode": (b"\x89PNG\n\x1a\n\0\0\0\rIHDR\0\0", "a transfer in text mode"),
    "zeros": (bytes(5000), "5000 zero bytes"),
    "text": (b"not a picture at all", "20 bytes beginning b'not a pi'"),
    "sound": (b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0", "beginning b'RIFF"),
    "empty": (b"", "the file is empty"),
}


@pytest.mark.parametrize(("data", "name"), OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("read", READERS)
def test_what_is_no_picture_is_named(tmp_path, read, data, name):
    path = write(tmp_path, data, "a.jpg")
    refused(read, path, str(path), name)


@pytest.mark.parametrize("read", READERS)
def test_missing_file_is_named(tmp_path, read):
    with pytest.raises(DataError, match=r"cannot read .*gone\.png: No such file.* Fix: "):
        read(tmp_path / "gone.png")


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_file_is_refused_without_waiting_on_it(tmp_path, read):
    path = tmp_path / "x.png"
    os.mkfifo(path)  # opening a pipe nobody writes to waits for ever
    refused(read, path, "a pipe, expected a file")
    refused(read, Path("/dev/zero"), "a device, expected a file")
    (tmp_path / "y.png").mkdir()
    refused(read, tmp_path / "y.png", "a folder, expected a file")


@pytest.mark.parametrize("read", READERS)
def test_links_are_followed_and_those_that_lead_nowhere_named(tmp_path, read):
    path = write(tmp_path, png(np.zeros((2, 3), int), 8, GRAY))
    (tmp_path / "link.png").symlink_to(path)
    read(tmp_path / "link.png")
    (tmp_path / "dangling.png").symlink_to("gone.png")
    refused(read, tmp_path / "dangling.png", "dangling.png: No such file")
    (tmp_path / "loop.png").symlink_to("loop.png")
    refused(read, tmp_path / "loop.png", "loop.png: Too many levels of symbolic links")


ODD_NAMES = [
    "[v1]*?",
    "two words",
    "new\nline",
    "\u732b\U0001f408",
    "#hash",
    "it's",
    '"quoted"',
    "-rf",
    "~",
    "%s{}",
    "tab\t",
    "$HOME",
    "a;b&c|d",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_read_and_shown_in_one_line(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    path = write(folder, png(np.zeros((2, 3), int), 8, GRAY), f"{name}.png")
    assert files.files_by_stem(folder, files.LABEL_SUFFIXES) == {name: path}
    for read in READERS:
        read(path)
    path.write_bytes(b"")
    for read in READERS:
        refused(read, path, "the file is empty")


def test_names_of_255_bytes_are_read(tmp_path):
    path = write(tmp_path, png(np.zeros((2, 3), int), 8, GRAY), "x" * 251 + ".png")
    assert files.read_image(path).shape == (2, 3, 3)


def test_names_that_are_no_utf8_are_read_and_escaped(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    path.write_bytes(png(np.zeros((2, 3), int), 8, GRAY))
    assert list(files.files_by_stem(tmp_path, files.LABEL_SUFFIXES).values()) == [path]
    for read in READERS:
        read(path)
    path.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        files.read_image(path)
    assert r"caf\udce9.png" in str(caught.value).encode("utf-8").decode()  # encodes: no stray surrogate


# Listings -----------------------------------------------------------------------------------------------------


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_files_are_listed_sorted_by_name_without_suffix(tmp_path):
    touch(tmp_path, "b.jpg", "a.JPG", "c.v1.png", "notes.txt", ".a.jpg", "._b.jpg")
    found = files.files_by_stem(tmp_path, files.IMAGE_SUFFIXES)
    assert list(found) == ["a", "b", "c.v1"]
    assert found["c.v1"] == tmp_path / "c.v1.png"


def test_folder_with_glob_characters_is_listed(tmp_path):
    folder = touch(tmp_path / "[v1]*?", "a.png")
    assert list(files.files_by_stem(folder, files.LABEL_SUFFIXES)) == ["a"]


def test_folders_named_like_pictures_are_not_listed(tmp_path):
    (tmp_path / "a.png").mkdir()
    assert files.files_by_stem(tmp_path, files.LABEL_SUFFIXES) == {}


@pytest.mark.parametrize("target", ["gone.png", "a.png"], ids=["nowhere", "itself"])
def test_a_link_that_leads_nowhere_is_no_sample_lost_in_silence(tmp_path, target):
    (tmp_path / "a.png").symlink_to(target)
    assert files.files_by_stem(tmp_path, files.LABEL_SUFFIXES) == {"a": tmp_path / "a.png"}


def test_two_files_of_one_stem_are_refused(tmp_path):
    touch(tmp_path, "a.jpg", "a.png")
    with pytest.raises(DataError, match=r"two files for 'a' in .*: a\.jpg and a\.png, expected one"):
        files.files_by_stem(tmp_path, files.IMAGE_SUFFIXES)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no folder .*/gone"):
        files.files_by_stem(tmp_path / "gone", files.IMAGE_SUFFIXES)
