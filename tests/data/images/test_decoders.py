"""Images in every encoding: RGB as Pillow has it, or as it was written."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from pictures import GRAY, GRAY_ALPHA, PALETTE, RGB, RGBA, jpeg_with, png, saved, smooth
from segtrain.data.images.files import read_image
from segtrain.errors import DataError


def read(tmp_path, data, **options):
    (tmp_path / "image").write_bytes(data)
    return read_image(tmp_path / "image", **options)


def pillow(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def random_values(depth, *channels):
    return np.random.default_rng(depth).integers(0, 2**depth, (9, 14, *channels))


# PNG ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("kind", "depth"),
    [
        *[(GRAY, depth) for depth in (1, 2, 4, 8, 16)],
        *[(kind, depth) for kind in (RGB, GRAY_ALPHA, RGBA) for depth in (8, 16)],
    ],
)
def test_png_is_expanded_to_rgb(tmp_path, kind, depth, interlaced):
    channels = {GRAY: (), RGB: (3,), GRAY_ALPHA: (2,), RGBA: (4,)}[kind]
    values = random_values(depth, *channels)
    # Few bits are stretched to 0..255, of sixteen the upper eight are kept; alpha is dropped, not blended.
    eight = values >> 8 if depth == 16 else values * (255 // (2**depth - 1))
    expected = eight[..., :3] if kind in (RGB, RGBA) else np.repeat(eight.reshape(9, 14, -1)[..., :1], 3, axis=-1)
    image = read(tmp_path, png(values, depth, kind, interlaced=interlaced))
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("transparency", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palettes_become_their_colours(tmp_path, depth, transparency):
    values = random_values(depth)
    colors = np.random.default_rng(0).integers(0, 256, (2**depth, 3), np.uint8)
    chunks = [(b"tRNS", bytes(2**depth))] if transparency else []
    image = read(tmp_path, png(values, depth, PALETTE, colors.tobytes(), chunks))
    np.testing.assert_array_equal(image, colors[values])


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"gAMA", struct.pack(">I", 45_455))],
        [(b"gAMA", struct.pack(">I", 220_000))],
        [(b"sRGB", b"\0")],
        [(b"iCCP", b"x\0\0" + zlib.compress(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()))],
        [(b"tRNS", bytes(6))],
        [(b"bKGD", bytes(6))],
    ],
    ids=["gamma 1/2.2", "gamma 2.2", "sRGB", "ICC", "transparent color", "background"],
)
def test_what_a_png_says_about_its_colours_is_not_applied(tmp_path, chunks):
    values = random_values(8, 3)
    np.testing.assert_array_equal(read(tmp_path, png(values, 8, RGB, chunks=chunks)), values)


# JPEG ---------------------------------------------------------------------------------------------------------

JPEGS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "stored as RGB": {"keep_rgb": True},
    "restart markers": {"restart_marker_blocks": 2},
}


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_jpeg_equals_pillow(tmp_path, options):
    data = saved(smooth(), "JPEG", quality=90, **options)
    # Two builds of libjpeg may round apart by a step or two, never more.
    assert np.abs(read(tmp_path, data) - pillow(data)).max() <= 2


def test_grey_jpeg_equals_pillow(tmp_path):
    data = saved(Image.fromarray(smooth()).convert("L"), "JPEG")
    assert np.abs(read(tmp_path, data) - pillow(data)).max() <= 2


def test_icc_profile_of_a_jpeg_is_not_applied(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = saved(smooth(), "JPEG", icc_profile=profile)
    assert np.abs(read(tmp_path, data) - pillow(data)).max() <= 2


@pytest.mark.parametrize("transform", [None, 0, 2], ids=["no Adobe mark", "CMYK", "YCCK"])
def test_four_inks_equal_pillow_within_one_step(tmp_path, transform):
    data = saved(Image.fromarray(smooth()).convert("CMYK"), "JPEG", quality=90)
    start = data.index(b"\xff\xee")
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    # The mark's last byte tells whether the inks are stored as luminance and color differences.
    data = data[:start] + data[end:] if transform is None else data[: end - 1] + bytes([transform]) + data[end:]
    assert np.abs(read(tmp_path, data) - pillow(data)).max() <= 1


def test_real_jpegs_equal_pillow(test_data):
    for path in sorted((test_data / "voc2012_subset/VOCdevkit/VOC2012/JPEGImages").glob("*.jpg"))[:5]:
        assert np.abs(read_image(path) - pillow(path.read_bytes())).max() <= 2


def test_jpeg_with_bytes_after_its_end_is_read(tmp_path):
    data = saved(smooth(), "JPEG")
    np.testing.assert_array_equal(read(tmp_path, data + b"\0" * 100), read(tmp_path, data))


def test_a_thumbnail_in_the_exif_is_not_the_photograph(tmp_path):
    data, thumbnail = saved(smooth(), "JPEG"), saved(smooth((8, 8)), "JPEG")
    with_thumbnail = jpeg_with(data, 0xE1, b"Exif\0\0II*\0" + struct.pack("<IHI", 8, 0, 0) + thumbnail)
    np.testing.assert_array_equal(read(tmp_path, with_thumbnail), read(tmp_path, data))
    for length in (len(with_thumbnail) - 2, len(with_thumbnail) - 300, len(thumbnail) + 40):
        with pytest.raises(DataError):
            read(tmp_path, with_thumbnail[:length])


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (16, 8), (33, 17), (121, 163)])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_decoded_smaller_has_the_sides_rounded_up(tmp_path, reduction, size, progressive):
    data = saved(smooth(size), "JPEG", quality=95, progressive=progressive)
    image = read(tmp_path, data, reduction=reduction)
    assert image.shape == (-(-size[0] // reduction), -(-size[1] // reduction), 3)


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_jpeg_decoded_smaller_is_the_mean_of_its_pixels(tmp_path, reduction):
    image = smooth((64, 96))
    found = read(tmp_path, saved(image, "JPEG", quality=95, subsampling=0), reduction=reduction)
    means = cv2.resize(image, (96 // reduction, 64 // reduction), interpolation=cv2.INTER_AREA)
    assert np.abs(found.astype(int) - means).mean() < 2  # red and blue changed over would differ by fifty


def test_pngs_are_decoded_whole_whatever_the_reduction(tmp_path):
    values = random_values(8, 3)
    np.testing.assert_array_equal(read(tmp_path, png(values, 8, RGB), reduction=4), values)


# Other kinds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *[("BMP", mode) for mode in ("RGB", "L", "P", "1", "RGBA")],
        *[("TIFF", mode) for mode in ("RGB", "L", "P", "1", "RGBA", "LA", "CMYK")],
        *[("WEBP", mode) for mode in ("RGB", "RGBA")],
    ],
)
def test_bmp_tiff_and_webp_are_what_was_written(tmp_path, kind, mode):
    picture = Image.fromarray(smooth()).convert(mode)
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(read(tmp_path, saved(picture, kind, **options)), np.asarray(picture.convert("RGB")))


def test_transparent_webp_keeps_its_colours(tmp_path):
    image = np.dstack([smooth(), np.zeros((41, 59), np.uint8)])
    found = read(tmp_path, saved(image, "WEBP", lossless=True, exact=True))
    np.testing.assert_array_equal(found, image[..., :3])


def test_lossy_webp_equals_pillow(tmp_path):
    data = saved(smooth(), "WEBP", quality=80)
    np.testing.assert_array_equal(read(tmp_path, data), pillow(data))


def test_sixteen_bit_tiff_keeps_its_upper_half(tmp_path):
    values = random_values(16).astype(np.uint16)
    np.testing.assert_array_equal(read(tmp_path, saved(values, "TIFF"))[..., 1], values >> 8)


def test_a_jpeg_of_twelve_bits_is_named(tmp_path):
    data = bytearray(saved(smooth(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 4] = 12
    with pytest.raises(DataError, match=r"a JPEG of 12 bits a channel, expected 8\. Fix: "):
        read(tmp_path, bytes(data))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_tiff_of_other_numbers_is_refused(tmp_path, dtype):
    with pytest.raises(DataError, match=r"image: .* Fix: "):
        read(tmp_path, saved(np.ones((3, 4), dtype), "TIFF"))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_several_pictures_in_one_file_are_refused(tmp_path, kind):
    picture = Image.fromarray(smooth())
    data = saved(picture, kind, save_all=True, append_images=[picture.transpose(Image.Transpose.ROTATE_180)])
    with pytest.raises(DataError, match=r"several images \((animation|pages)\), expected one.* Fix: "):
        read(tmp_path, data)


# Damage -------------------------------------------------------------------------------------------------------

WHOLE = {
    "JPEG": saved(smooth((24, 24)), "JPEG", quality=60),
    "progressive JPEG": saved(smooth((24, 24)), "JPEG", quality=60, progressive=True),
    "PNG": png(random_values(8, 3), 8, RGB),
    "interlaced PNG": png(random_values(4), 4, GRAY, interlaced=True),
    "WebP": saved(smooth((24, 24)), "WEBP", quality=60),
    "lossless WebP": saved(smooth((8, 8)), "WEBP", lossless=True),
}


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_a_photograph_cut_at_any_byte_is_refused(tmp_path, data, capfd):
    assert read(tmp_path, data).ndim == 3
    for length in range(len(data)):
        with pytest.raises(DataError, match=r"image: .*Fix: "):
            read(tmp_path, data[:length])
    assert capfd.readouterr().err == ""  # libjpeg and libpng would have told their own


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_truncated_image_is_called_truncated(tmp_path, kind):
    data = WHOLE[kind]
    with pytest.raises(DataError, match=f"truncated {kind} file, {len(data) - 30} bytes.* Fix: "):
        read(tmp_path, data[:-30])


def test_a_flipped_bit_of_a_png_is_an_error_without_libpngs_words(tmp_path, capfd):
    data = WHOLE["PNG"]
    for position in range(data.index(b"IDAT"), len(data) - 12, 7):
        with pytest.raises(DataError, match="a damaged PNG file|truncated PNG file"):
            read(tmp_path, data[:position] + bytes([data[position] ^ 16]) + data[position + 1 :])
    assert capfd.readouterr().err == ""
