"""Label files in every encoding: the stored numbers, or a refusal with its fix."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import GRAY, GRAY_ALPHA, PALETTE, RGB, RGBA, chunk, png, saved, smooth, with_exif
from segtrain.data.images.labels import read_labels, read_labels_size
from segtrain.errors import DataError

IDS = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
COLORS = {(0, 0, 0): 0, (128, 0, 0): 1, (0, 0, 255): 7}


def random_ids(limit: int, size: tuple[int, int] = (11, 13)) -> np.ndarray:
    ids = np.random.default_rng(limit).integers(0, limit, size)
    ids[0, 0], ids[-1, -1] = limit - 1, 0
    return ids


def write(tmp_path: Path, data: bytes, name: str = "ids.png") -> Path:
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


def refused(path: Path, *words: str, **options: object) -> None:
    """Assert that these labels are refused in one line with the file's name, `words` and a fix."""
    with pytest.raises(DataError) as caught:
        read_labels(path, **options)
    for word in (str(path), "Fix: ", *words):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


# Numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_labels_are_their_indices(tmp_path, depth, interlaced):
    ids = random_ids(2**depth)
    colors = np.random.default_rng(0).integers(0, 256, (2**depth, 3), np.uint8)
    found = read_labels(write(tmp_path, png(ids, depth, PALETTE, colors.tobytes(), interlaced=interlaced)))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, ids)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_transparency_of_a_palette_changes_no_index(tmp_path, depth):
    ids = random_ids(2**depth)
    alphas = bytes(np.random.default_rng(1).integers(0, 256, 2**depth, np.uint8))
    data = png(ids, depth, PALETTE, bytes(3 * 2**depth), [(b"tRNS", alphas)])
    np.testing.assert_array_equal(read_labels(write(tmp_path, data)), ids)


def test_labels_of_one_colour_stay_apart(tmp_path):
    # Ids 1 and 2 are both red: by color or by luminance they would be one class.
    path = write(tmp_path, png(np.array([[0, 1, 2]]), 8, PALETTE, bytes([0] * 3 + [255, 0, 0] * 2)))
    assert read_labels(path).tolist() == [[0, 1, 2]]


def test_an_index_beyond_the_palette_is_the_number_that_is_stored(tmp_path):
    assert read_labels(write(tmp_path, png(np.array([[0, 1, 255]]), 8, PALETTE, bytes(6)))).tolist() == [[0, 1, 255]]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_grey_labels_are_the_stored_numbers_at_every_bit_depth(tmp_path, depth, interlaced):
    # Readers stretch 1 bit by 255, 2 bits by 85 and 4 bits by 17 to reach white.
    ids = random_ids(2**depth)
    found = read_labels(write(tmp_path, png(ids, depth, GRAY, interlaced=interlaced)))
    np.testing.assert_array_equal(found, ids)
    assert found.dtype == np.uint8


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"gAMA", struct.pack(">I", 220_000))],
        [(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45_455))],
        [(b"sBIT", b"\3")],
        [(b"tRNS", b"\0\7")],
        [(b"bKGD", b"\0\7")],
        [(b"tEXt", b"Comment\0tags IDAT and IEND in a text")],
    ],
    ids=lambda chunks: chunks[-1][0].decode(),
)
def test_what_a_png_says_about_its_colours_changes_no_number(tmp_path, chunks):
    ids = random_ids(256)
    np.testing.assert_array_equal(read_labels(write(tmp_path, png(ids, 8, GRAY, chunks=chunks))), ids)


@pytest.mark.parametrize("ids", [random_ids(256), np.full((3, 300), 9), random_ids(3, (300, 1)), np.array([[5]])])
@pytest.mark.parametrize("palette", [False, True])
def test_labels_that_pillow_wrote_are_read(tmp_path, ids, palette):
    # Pillow chooses row filters that the writer of these tests does not.
    picture = Image.fromarray(ids.astype(np.uint8))
    if palette:
        picture.putpalette(bytes(768))
    np.testing.assert_array_equal(read_labels(write(tmp_path, saved(picture, "PNG"))), ids)


def test_rows_are_unfiltered_one_by_one(tmp_path):
    # Filter 0 is the row itself, filter 2 what is added to the row above: 7 8 9, then 1 0 250 more, modulo 256.
    rows = bytes([0, 7, 8, 9]) + bytes([2, 1, 0, 250]) + bytes([0, 5, 5, 5])
    data = png(np.zeros((3, 3), np.uint8), 8, GRAY)
    position = data.index(b"IDAT")
    whole = data[: position - 4] + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert read_labels(write(tmp_path, whole)).tolist() == [[7, 8, 9], [8, 8, 3], [5, 5, 5]]


@pytest.mark.parametrize("position", [26, 27])  # how it is compressed, how it is filtered
def test_ways_to_store_pixels_that_the_standard_does_not_know_are_refused(tmp_path, position):
    data = bytearray(png(np.ones((3, 3), np.uint8), 8, GRAY))
    data[position] = 1
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    refused(write(tmp_path, bytes(data)), "damaged PNG data")


@pytest.mark.parametrize("rows", [2, 4])
def test_more_or_fewer_rows_than_the_header_says_are_not_made_up(tmp_path, rows):
    data = png(np.ones((rows, 3), np.uint8), 8, GRAY)
    claimed = data.replace(data[8:33], chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 3, 8, 0, 0, 0, 0)))
    try:
        found = read_labels(write(tmp_path, claimed))
    except DataError:
        return
    # What is too much is left out, as Pillow does; what is missing is an error.
    assert rows == 4 and found.tolist() == [[1, 1, 1]] * 3 == np.asarray(Image.open(io.BytesIO(claimed))).tolist()


def test_real_label_files_are_pillows_indices(test_data):
    for pattern in ("voc2012_subset/*/*/SegmentationClass/*.png", "camvid/CamVid/valannot/*.png"):
        for path in sorted(test_data.glob(pattern))[:5]:
            np.testing.assert_array_equal(read_labels(path), np.asarray(Image.open(path)))


def test_sixteen_bit_labels_that_fit_a_byte_are_read(tmp_path):
    ids = np.array([[0, 19, 255]])
    found = read_labels(write(tmp_path, png(ids, 16, GRAY)))
    assert found.dtype == np.uint8 and found.tolist() == ids.tolist()


@pytest.mark.parametrize("value", [256, 300, 65535])
def test_sixteen_bit_labels_beyond_a_byte_are_refused_not_wrapped(tmp_path, value):
    # 256 would wrap to 0, background; 300 to 44, or by its upper half to 1.
    path = write(tmp_path, png(np.array([[0, 7], [1, value]]), 16, GRAY))
    refused(path, f"0..{value}", f"{value} first at row 1, column 1", "0..255")


def test_sixteen_bit_tiff_labels_are_held_to_a_byte_too(tmp_path):
    ids = np.array([[0, 19, 255]], np.uint16)
    assert read_labels(write(tmp_path, saved(ids, "TIFF"), "a.tif")).tolist() == ids.tolist()
    refused(write(tmp_path, saved(ids + np.uint16(1), "TIFF"), "b.tif"), "1..256", "0..255")


def test_negative_labels_are_refused_not_wrapped(tmp_path):
    # -1 is 255 in a byte, which is void.
    refused(
        write(tmp_path, saved(np.array([[3, -1]], np.int32), "TIFF"), "a.tif"), "-1..3", "-1 first at row 0, column 1"
    )


def test_fractions_are_refused(tmp_path):
    refused(write(tmp_path, saved(np.array([[0.0, 1.0]], np.float32), "TIFF"), "a.tif"), "32-bit floats")


@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_bmp_and_tiff_labels_are_read(tmp_path, kind, mode):
    picture = Image.fromarray(IDS.astype(bool) if mode == "1" else IDS)
    if mode == "P":
        picture.putpalette(bytes([9, 9, 9] * 256))
    found = read_labels(write(tmp_path, saved(picture, kind)))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, IDS)


def test_four_bit_bmp_labels_are_their_indices(tmp_path):
    # A palette of sixteen grays that are their own indices is one that Pillow takes for no palette at all.
    palette = b"".join(bytes([grey, grey, grey, 0]) for grey in range(16))
    pixels = bytes([0x1F, 0x20, 0, 0])  # one row of 1 15 2, padded to four bytes
    head = struct.pack("<IiiHHIIiiII", 40, 3, 1, 1, 4, 0, len(pixels), 0, 0, 16, 0)
    offset = 14 + len(head) + len(palette)
    data = b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + head + palette + pixels
    assert read_labels(write(tmp_path, data, "a.bmp")).tolist() == [[1, 15, 2]]


def tiff(pixels: bytes, size: tuple[int, int], **tags: int) -> bytes:
    """Write a gray TIFF of one strip; `tags` change those that it has."""
    numbers = {"width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262, "position": 273}
    numbers |= {"orientation": 274, "samples": 277, "rows": 278, "length": 279}
    values = {"width": size[1], "height": size[0], "bits": 8, "compression": 1, "photometric": 1, "orientation": 1}
    values |= {"samples": 1, "rows": size[0], "length": len(pixels)} | tags
    values["position"] = 8 + 2 + 12 * len(numbers) + 4
    entries = b"".join(struct.pack("<HHII", number, 4, 1, values[name]) for name, number in numbers.items())
    return b"II*\0" + struct.pack("<IH", 8, len(numbers)) + entries + struct.pack("<I", 0) + pixels


@pytest.mark.parametrize(("bits", "pixels"), [(1, b"\xa0"), (2, b"\x1b"), (4, b"\x1f\x20")])
def test_grey_tiff_labels_of_few_bits_are_not_stretched(tmp_path, bits, pixels):
    expected = {1: [1, 0, 1], 2: [0, 1, 2, 3], 4: [1, 15, 2]}[bits]
    path = write(tmp_path, tiff(pixels, (1, len(expected)), bits=bits), "a.tif")
    assert read_labels(path).tolist() == [expected]


def test_a_tiff_whose_zero_is_white_is_refused(tmp_path):
    refused(write(tmp_path, tiff(IDS.tobytes(), IDS.shape, photometric=0), "a.tif"), "0 is white")


def test_a_tiff_of_two_pages_is_refused(tmp_path):
    data = saved(IDS, "TIFF", save_all=True, append_images=[Image.fromarray(IDS)])
    refused(write(tmp_path, data, "a.tif"), "several images (pages)")


# Colors and transparency -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_labels_in_colours_are_refused_with_their_first_colours(tmp_path, kind):
    image = np.array([[(9, 8, 7), (9, 8, 7), (1, 2, 3), (0, 0, 255), (4, 4, 5)]], np.uint8)
    refused(
        write(tmp_path, saved(image, kind)),
        "mode RGB, colors [9, 8, 7], [1, 2, 3], [0, 0, 255], ...",
        "label_values=colors",
        "convert the colors to ids",
    )


@pytest.mark.parametrize(
    ("kind", "mode"),
    [*[(kind, mode) for kind in ("PNG", "BMP", "TIFF") for mode in ("RGB", "RGBA")], ("PNG", "LA"), ("TIFF", "LA")],
)
def test_ids_in_channels_that_are_all_equal_are_read(tmp_path, kind, mode):
    channels = 3 if mode != "LA" else 1
    image = np.dstack([random_ids(256)] * channels + ([np.full((11, 13), 255)] if mode != "RGB" else [])).astype(
        np.uint8
    )
    found = read_labels(write(tmp_path, saved(Image.fromarray(image, mode), kind)))
    np.testing.assert_array_equal(found, image[..., 0])
    assert found.dtype == np.uint8 and found.flags.c_contiguous


@pytest.mark.parametrize(("depth", "kind"), [(16, RGB), (16, RGBA), (16, GRAY_ALPHA), (8, RGBA)])
def test_equal_channels_of_a_png_are_held_to_a_byte(tmp_path, depth, kind):
    opaque = [] if kind == RGB else [2**depth - 1]
    values = np.array(
        [[[7] * (1 if kind == GRAY_ALPHA else 3) + opaque, [255] * (1 if kind == GRAY_ALPHA else 3) + opaque]]
    )
    assert read_labels(write(tmp_path, png(values, depth, kind))).tolist() == [[7, 255]]
    if depth == 16:
        values[0, 0, : 1 if kind == GRAY_ALPHA else 3] = 256
        refused(write(tmp_path, png(values, depth, kind)), "255..256", "0..255")


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_channel_that_differs_in_one_pixel_makes_colours(tmp_path, channel):
    image = np.repeat(IDS[..., None], 3, axis=-1)
    image[-1, -1, channel] += 1
    refused(write(tmp_path, saved(image, "PNG")), "mode RGB", "label_values=colors")


@pytest.mark.parametrize("alpha", [0, 128, 254])
def test_equal_channels_with_a_transparent_pixel_are_refused(tmp_path, alpha):
    image = np.dstack([IDS, IDS, IDS, np.full(IDS.shape, 255, np.uint8)])
    image[0, 0, 3] = alpha
    path = write(tmp_path, saved(image, "PNG"))
    refused(path, "mode RGBA with transparent pixels", "alpha=drop")
    np.testing.assert_array_equal(read_labels(path, alpha="drop"), IDS)


def test_colours_of_a_table_become_its_values(tmp_path):
    image = np.array([[(0, 0, 0), (128, 0, 0)], [(0, 0, 255), (0, 0, 0)]], np.uint8)
    for kind in ("PNG", "BMP", "TIFF"):
        found = read_labels(write(tmp_path, saved(image, kind)), colors=COLORS)
        assert found.dtype == np.uint8 and found.tolist() == [[0, 1], [7, 0]]


def test_colours_of_a_palette_are_colours_too(tmp_path):
    palette = bytes([0, 0, 255, 128, 0, 0, 0, 0, 0])
    path = write(tmp_path, png(np.array([[0, 1, 2]]), 8, PALETTE, palette))
    assert read_labels(path, colors=COLORS).tolist() == [[7, 1, 0]]


def test_a_table_of_256_values_keeps_them_all(tmp_path):
    table = {(value, 255 - value, value // 2): value for value in range(256)}
    image = np.array([list(table)], np.uint8)
    assert read_labels(write(tmp_path, saved(image, "PNG")), colors=table).tolist() == [[*range(256)]]


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("step", [-1, 1])
def test_a_colour_one_step_off_is_no_colour_of_the_table(tmp_path, channel, step):
    image = np.full((4, 5, 3), (128, 100, 50), np.uint8)
    for position in ((2, 3), (3, 1)):
        image[*position, channel] = int(image[*position, channel]) + step
    refused(
        write(tmp_path, saved(image, "PNG")),
        f"2 pixels of colors without a class, the first at row 2, column 3 is {image[2, 3].tolist()}",
        "ignore_colors",
        colors={(128, 100, 50): 0},
    )


@pytest.mark.parametrize("kind", [GRAY_ALPHA, RGBA])
def test_transparency_is_refused_unless_it_is_to_be_dropped(tmp_path, kind):
    image = np.array([[(0, 0, 0, 0), (128, 0, 0, 255)]])
    image = image[..., [0, 3]] if kind == GRAY_ALPHA else image
    path = write(tmp_path, png(image, 8, kind))
    colors = COLORS if kind == RGBA else None
    refused(path, "mode gray+alpha" if kind == GRAY_ALPHA else "mode RGBA", "alpha=drop", colors=colors)
    assert read_labels(path, colors=colors, alpha="drop").tolist() == [[0, 128 if kind == GRAY_ALPHA else 1]]


def test_ids_under_full_transparency_are_kept(tmp_path):
    ids = random_ids(256)
    path = write(tmp_path, png(np.stack([ids, ids % 2], axis=-1), 8, GRAY_ALPHA))
    np.testing.assert_array_equal(read_labels(path, alpha="drop"), ids)


def test_sixteen_bit_greys_with_transparency_are_held_to_a_byte(tmp_path):
    ids = np.array([[(7, 9), (255, 0)]])
    assert read_labels(write(tmp_path, png(ids, 16, GRAY_ALPHA)), alpha="drop").tolist() == [[7, 255]]
    refused(write(tmp_path, png(ids + 1, 16, GRAY_ALPHA)), "8..256", alpha="drop")


def test_colours_without_a_table_are_refused_whatever_their_transparency(tmp_path):
    path = write(tmp_path, png(np.array([[(1, 2, 3, 255)]]), 8, RGBA))
    refused(path, "mode RGBA, colors [1, 2, 3]")
    refused(path, "mode RGBA, colors [1, 2, 3]", alpha="drop")


def test_colours_of_sixteen_bits_are_refused(tmp_path):
    # The upper halves alone would be another table's colors.
    refused(write(tmp_path, png(np.array([[(0, 1, 2)]]), 16, RGB)), "16 bits", colors=COLORS)


# Other files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mask.jpg", "mask.png"])
@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_labels_are_refused_whatever_their_name(tmp_path, name, kind):
    path = write(tmp_path, saved(smooth(), kind), name)
    refused(path, {"WEBP": "WebP"}.get(kind, kind), "expected PNG", "as PNG")
    with pytest.raises(DataError, match="expected PNG"):
        read_labels_size(path)


def test_a_tiff_packed_as_jpeg_is_refused(tmp_path):
    refused(write(tmp_path, saved(smooth(), "TIFF", compression="jpeg"), "a.tif"), "JPEG blurs class ids")


@pytest.mark.parametrize("frames", [1, 2])
def test_gif_labels_are_refused_by_name(tmp_path, frames):
    picture = Image.fromarray(IDS)
    data = saved(picture, "GIF", save_all=True, append_images=[Image.fromarray(1 - IDS)] * (frames - 1))
    refused(write(tmp_path, data), "a GIF image", "expected a PNG, BMP or TIFF")


def test_an_animated_png_is_refused(tmp_path):
    data = saved(Image.fromarray(IDS), "PNG", save_all=True, append_images=[Image.fromarray(1 - IDS)])
    refused(write(tmp_path, data), "several images (animation)")


@pytest.mark.parametrize("orientation", range(2, 9))
def test_turned_labels_are_refused(tmp_path, orientation):
    path = write(tmp_path, png(IDS, 8, GRAY, chunks=[(b"eXIf", with_exif(orientation))]))
    refused(path, f"EXIF orientation {orientation}", "upright")
    with pytest.raises(DataError, match=f"EXIF orientation {orientation}"):
        read_labels_size(path)
    refused(write(tmp_path, tiff(IDS.tobytes(), IDS.shape, orientation=orientation), "a.tif"), "EXIF orientation")


def test_labels_with_exif_that_asks_for_no_turn_are_read(tmp_path):
    path = write(tmp_path, png(IDS, 8, GRAY, chunks=[(b"eXIf", with_exif(1))]))
    np.testing.assert_array_equal(read_labels(path), IDS)
    assert read_labels_size(path) == (2, 3)


@pytest.mark.parametrize(
    "options", [{"depth": 8, "kind": GRAY}, {"depth": 4, "kind": GRAY}, {"depth": 16, "kind": GRAY}]
)
def test_labels_cut_at_any_byte_are_refused(tmp_path, options):
    data = png(random_ids(16, (6, 7)), **options)
    for length in range(len(data)):
        refused(write(tmp_path, data[:length]))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
@pytest.mark.parametrize("kind", ["BMP", "TIFF"])
def test_bmp_and_tiff_labels_cut_at_any_byte_are_refused_or_whole(tmp_path, kind):
    ids = random_ids(256, (5, 6)).astype(np.uint8)
    data = saved(ids, kind)
    accepted = []
    for length in range(len(data)):
        try:
            np.testing.assert_array_equal(read_labels(write(tmp_path, data[:length])), ids)
            accepted.append(length)
        except DataError as error:
            assert str(tmp_path) in str(error) and "Fix: " in str(error)
    # BMP pads its last row by two bytes, and so may lack them.
    assert all(length >= len(data) - 2 for length in accepted)


def test_every_flipped_bit_of_a_png_is_noticed_or_harmless(tmp_path):
    ids = random_ids(256, (6, 7))
    data = png(ids, 8, PALETTE, bytes(768))
    noticed = 0
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        try:
            np.testing.assert_array_equal(read_labels(write(tmp_path, bytes(flipped))), ids)
        except DataError:
            noticed += 1
    assert noticed == len(data)


def test_a_checksum_that_is_wrong_is_named_by_its_place(tmp_path):
    data = bytearray(png(IDS, 8, GRAY))
    data[data.index(b"IDAT") + 6] ^= 4
    refused(write(tmp_path, bytes(data)), "the checksum of IDAT at byte 33 is wrong")


def test_pixels_that_are_fewer_than_the_header_says_are_refused(tmp_path, capfd):
    # A header of 9 x 3 over the pixels of 2 x 3, with right checksums.
    data = png(IDS, 8, GRAY)
    tall = png(np.zeros((9, 3), int), 8, GRAY)
    refused(write(tmp_path, tall[:33] + data[33:]), "9x3 pixels")
