"""Image and label files, good and bad. PNGs of odd bit depths are written here byte by byte, without Pillow."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtrain.data import files
from segtrain.errors import DataError

GREY, RGB, PALETTE, GREY_ALPHA = 0, 2, 3, 4
IDS = np.array([[0, 1, 1], [1, 0, 0]])


def write_png(path: Path, values: np.ndarray, depth: int, kind: int, palette: bytes = b"") -> Path:
    """Write a PNG of `depth` bits a value; `values` is (H, W) or (H, W, C)."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width = values.shape[:2]
    rows = b""
    for row in values.reshape(height, -1):
        bits = "".join(f"{value:0{depth}b}" for value in row)
        bits += "0" * (-len(bits) % 8)
        rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))]
    if palette:
        parts.append(chunk(b"PLTE", palette))
    parts += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def random_ids(limit: int, size: tuple[int, int] = (5, 7)) -> np.ndarray:
    ids = np.random.default_rng(limit).integers(0, limit, size)
    ids[0, 0] = limit - 1
    return ids


def refused(path: Path, *words: str) -> None:
    """Assert that these labels are refused in a message with the file's name, `words` and a remedy."""
    with pytest.raises(DataError) as caught:
        files.read_labels(path)
    for word in (str(path), "Fix: ", *words):
        assert word in str(caught.value)


# Labels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_labels_are_their_indices(tmp_path, depth):
    ids = random_ids(2**depth)
    colors = np.random.default_rng(0).integers(0, 256, (2**depth, 3), np.uint8)
    found = files.read_labels(write_png(tmp_path / "ids.png", ids, depth, PALETTE, colors.tobytes()))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, ids)


def test_palette_labels_of_one_colour_stay_apart(tmp_path):
    # Ids 1 and 2 are both red: by colour or by luminance they would be one class.
    path = write_png(tmp_path / "ids.png", np.array([[0, 1, 2]]), 8, PALETTE, bytes([0] * 3 + [255, 0, 0] * 2))
    assert files.read_labels(path).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_grey_labels_are_the_stored_numbers_at_every_bit_depth(tmp_path, depth):
    # Readers stretch 2 bits by 85 and 4 bits by 17 to reach 255.
    ids = random_ids(2**depth)
    found = files.read_labels(write_png(tmp_path / "ids.png", ids, depth, GREY))
    np.testing.assert_array_equal(found, ids)
    assert found.dtype == np.uint8


def test_sixteen_bit_labels_that_fit_a_byte_are_read(tmp_path):
    ids = np.array([[0, 19, 255]])
    found = files.read_labels(write_png(tmp_path / "ids.png", ids, 16, GREY))
    assert found.dtype == np.uint8 and found.tolist() == ids.tolist()


def test_sixteen_bit_labels_beyond_a_byte_are_refused_not_wrapped(tmp_path):
    # 256 would wrap to 0, background.
    refused(write_png(tmp_path / "ids.png", np.array([[0, 256]]), 16, GREY), "0..256", "0..255")


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".tiff"])
def test_bmp_and_tiff_labels_are_read(tmp_path, suffix):
    Image.fromarray(IDS.astype(np.uint8)).save(tmp_path / f"ids{suffix}")
    np.testing.assert_array_equal(files.read_labels(tmp_path / f"ids{suffix}"), IDS)


def test_one_bit_tiff_labels_are_zero_and_one(tmp_path):
    Image.fromarray(IDS.astype(bool)).save(tmp_path / "ids.tif")
    np.testing.assert_array_equal(files.read_labels(tmp_path / "ids.tif"), IDS)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_labels_in_colours_are_refused(tmp_path, mode):
    Image.fromarray(IDS.astype(np.uint8)).convert(mode).save(tmp_path / "colours.png")
    refused(tmp_path / "colours.png", f"mode {mode}", "convert the colours to ids")


@pytest.mark.parametrize("name", ["mask.jpg", "mask.png"])
def test_jpeg_labels_are_refused_whatever_their_name(tmp_path, name):
    Image.fromarray(IDS.astype(np.uint8)).save(tmp_path / name, "JPEG")
    refused(tmp_path / name, "JPEG", "PNG")


def test_labels_that_are_no_picture_are_refused(tmp_path):
    (tmp_path / "ids.png").write_text("not a picture at all")
    refused(tmp_path / "ids.png", "not a pi", "20 bytes")


def test_empty_label_file_is_refused(tmp_path):
    (tmp_path / "ids.png").touch()
    refused(tmp_path / "ids.png", "empty")


def test_missing_label_file_is_refused(tmp_path):
    refused(tmp_path / "ids.png", "No such file")


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_truncated_labels_are_refused_wherever_they_end(tmp_path, share):
    data = write_png(tmp_path / "whole.png", random_ids(256, (40, 50)), 8, GREY).read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: int(len(data) * share)])
    refused(tmp_path / "cut.png", "cut.png")


def test_labels_cut_at_any_byte_are_refused_or_whole(tmp_path):
    # Only the last bytes (checksums, end marker) may lack without a pixel being lost.
    ids = random_ids(256, (6, 7))
    data = write_png(tmp_path / "ids.png", ids, 8, GREY).read_bytes()
    accepted = []
    for length in range(len(data)):
        (tmp_path / "ids.png").write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(files.read_labels(tmp_path / "ids.png"), ids)
            accepted.append(length)
        except DataError as error:
            assert str(tmp_path / "ids.png") in str(error)
    assert all(length >= len(data) - 12 - 8 for length in accepted)  # IEND is 12 bytes, two checksums 8


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.*", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_damaged_labels_never_raise_anything_but_a_data_error(tmp_path, suffix):
    path = tmp_path / f"ids{suffix}"
    Image.fromarray(random_ids(20, (9, 11)).astype(np.uint8)).save(path)
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data[: rng.integers(1, len(data) + 1)])
        for place in rng.integers(0, len(damaged), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert files.read_labels(path).ndim == 2
        except DataError as error:
            assert str(path) in str(error)


# Photographs --------------------------------------------------------------------------------------------------


def test_images_are_rgb(tmp_path):
    Image.new("RGB", (3, 2), (250, 100, 10)).save(tmp_path / "orange.png")
    image = files.read_image(tmp_path / "orange.png")
    assert image.shape == (2, 3, 3) and image.dtype == np.uint8
    assert image[0, 0].tolist() == [250, 100, 10]


def test_jpeg_images_are_rgb_with_rows_first(tmp_path):
    Image.new("RGB", (32, 16), (250, 100, 10)).save(tmp_path / "orange.jpg", quality=95)
    image = files.read_image(tmp_path / "orange.jpg")
    assert image.shape == (16, 32, 3)
    np.testing.assert_allclose(image.mean((0, 1)), (250, 100, 10), atol=4)


def test_real_jpeg_equals_pillow(test_data):
    path = next((test_data / "voc2012_subset/VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))
    pillow = np.asarray(Image.open(path)).astype(int)
    # Two builds of libjpeg may round apart by a step or two, never more.
    assert np.abs(files.read_image(path) - pillow).max() <= 3


def test_grey_images_are_expanded(tmp_path):
    write_png(tmp_path / "grey.png", np.array([[0, 7, 200]]), 8, GREY)
    assert files.read_image(tmp_path / "grey.png").tolist() == [[[0] * 3, [7] * 3, [200] * 3]]


def test_palette_images_become_their_colours(tmp_path):
    write_png(tmp_path / "palette.png", np.array([[1, 0]]), 8, PALETTE, bytes([1, 2, 3, 200, 150, 100]))
    assert files.read_image(tmp_path / "palette.png").tolist() == [[[200, 150, 100], [1, 2, 3]]]


def test_alpha_is_dropped_not_blended(tmp_path):
    Image.fromarray(np.array([[[200, 100, 50, 0]]], np.uint8)).save(tmp_path / "clear.png")
    assert files.read_image(tmp_path / "clear.png").tolist() == [[[200, 100, 50]]]


def test_grey_with_alpha_is_expanded(tmp_path):
    write_png(tmp_path / "la.png", np.array([[[90, 0], [91, 255]]]), 8, GREY_ALPHA)
    assert files.read_image(tmp_path / "la.png").tolist() == [[[90] * 3, [91] * 3]]


def test_exif_orientation_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by a quarter"
    Image.new("RGB", (32, 16)).save(tmp_path / "turned.jpg", exif=exif)
    assert files.read_image(tmp_path / "turned.jpg", exif="ignore").shape == (16, 32, 3)
    assert files.read_size(tmp_path / "turned.jpg", "ignore") == (16, 32)


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_jpeg_cut_at_any_byte_is_refused(tmp_path, options):
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.jpg", quality=90, **options)
    data = (tmp_path / "cut.jpg").read_bytes()
    for length in (*range(0, len(data), 17), len(data) - 2, len(data) - 1):
        (tmp_path / "cut.jpg").write_bytes(data[:length])
        with pytest.raises(DataError, match=r"cut\.jpg"):
            files.read_image(tmp_path / "cut.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_truncated_image_is_called_truncated(tmp_path, kind):
    Image.new("RGB", (64, 64), (9, 99, 199)).save(tmp_path / "cut.jpg", kind)
    data = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[:-30])
    with pytest.raises(DataError, match=f"truncated {kind} file, {len(data) - 30} bytes.* Fix: "):
        files.read_image(tmp_path / "cut.jpg")


def test_jpeg_with_bytes_after_its_end_is_read(tmp_path):
    Image.new("RGB", (8, 8), (9, 99, 199)).save(tmp_path / "tail.jpg")
    with (tmp_path / "tail.jpg").open("ab") as file:
        file.write(b"\0" * 100)
    assert files.read_image(tmp_path / "tail.jpg").shape == (8, 8, 3)


def test_png_image_cut_at_any_byte_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    data = write_png(tmp_path / "cut.png", noise, 8, RGB).read_bytes()
    for length in range(len(data) - 8):  # the end marker's name begins 8 bytes before the end
        (tmp_path / "cut.png").write_bytes(data[:length])
        with pytest.raises(DataError, match=r"cut\.png"):
            files.read_image(tmp_path / "cut.png")


def test_image_that_is_no_picture_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    with pytest.raises(DataError, match=r"a\.jpg: 16 bytes beginning b'<html>40', expected a JPEG.* Fix: "):
        files.read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("read", [files.read_image, files.read_labels, files.read_size])
def test_missing_file_is_named(tmp_path, read):
    with pytest.raises(DataError, match=r"cannot read .*gone\.png: No such file.* Fix: "):
        read(tmp_path / "gone.png")


@pytest.mark.parametrize("read", [files.read_image, files.read_labels, files.read_size])
def test_empty_file_is_named(tmp_path, read):
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"empty\.png: the file is empty"):
        read(tmp_path / "empty.png")


@pytest.mark.parametrize("read", [files.read_image, files.read_labels])
def test_header_that_claims_a_giant_picture_is_refused(tmp_path, read):
    # 40 000 x 40 000 pixels are 1.6 GB: more than Pillow's and OpenCV's limits, from a file of 70 bytes.
    data = bytearray(write_png(tmp_path / "giant.png", IDS, 8, GREY).read_bytes())
    data[16:24] = struct.pack(">II", 40_000, 40_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    (tmp_path / "giant.png").write_bytes(data)
    with pytest.raises(DataError, match=r"giant\.png"):
        read(tmp_path / "giant.png")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".jpg", ".webp"])
def test_damaged_image_never_raises_anything_but_a_data_error(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)).save(path)
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(data[: rng.integers(1, len(data) + 1)])
        for place in rng.integers(0, min(len(damaged), 60), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert files.read_image(path).shape[2] == 3
        except DataError as error:
            assert str(path) in str(error)


def test_size_is_height_then_width(tmp_path):
    Image.new("L", (7, 3)).save(tmp_path / "a.png")
    assert files.read_size(tmp_path / "a.png") == (3, 7)


def test_size_of_no_picture_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("no header")
    with pytest.raises(DataError, match=r"cannot read the header of .*a\.png"):
        files.read_size(tmp_path / "a.png")


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


def test_two_files_of_one_stem_are_refused(tmp_path):
    touch(tmp_path, "a.jpg", "a.png")
    with pytest.raises(DataError, match=r"two files for 'a' in .*: a\.jpg and a\.png, expected one\. Fix: "):
        files.files_by_stem(tmp_path, files.IMAGE_SUFFIXES)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no folder .*/gone"):
        files.files_by_stem(tmp_path / "gone", files.IMAGE_SUFFIXES)


def test_list_file_with_mark_windows_lines_and_blanks_is_read(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbfa\r\n\r\n  b.c  \r\nd.jpg")
    assert files.read_names(tmp_path / "train.txt") == ["a", "b.c", "d.jpg"]


def test_list_file_keeps_its_order(tmp_path):
    (tmp_path / "train.txt").write_text("9\n10\n1\n")
    assert files.read_names(tmp_path / "train.txt") == ["9", "10", "1"]


def test_list_file_that_names_twice_is_refused(tmp_path):
    (tmp_path / "train.txt").write_text("a\nb\na\n")
    with pytest.raises(DataError, match=r"train\.txt: 'a' stands twice.* Fix: "):
        files.read_names(tmp_path / "train.txt")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "~/a", "a/../../b"])
def test_list_file_that_leaves_the_dataset_is_refused(tmp_path, name):
    (tmp_path / "train.txt").write_text(f"a\n{name}\n")
    with pytest.raises(DataError, match=f"train.txt: '{name}' leaves the dataset"):
        files.read_names(tmp_path / "train.txt")


def test_missing_list_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read the list .*train\.txt.* Fix: "):
        files.read_names(tmp_path / "train.txt")


def test_list_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "train.txt").write_bytes("a\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"cannot read the list .*train\.txt"):
        files.read_names(tmp_path / "train.txt")
