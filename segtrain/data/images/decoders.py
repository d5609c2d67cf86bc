"""Bytes to arrays: OpenCV decodes PNG, JPEG and WebP, where speed counts; Pillow the other kinds.

H height, W width, C channels. tests/data/test_encodings.py compares each encoding with Pillow or with what was written:
equal, but CMYK and YCCK, which are within one step of 256. Gamma and color profiles are not applied.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from segtrain.data.images.completeness import (
    require_end_of_jpeg,
    require_end_of_webp,
    require_intact_png,
    require_read,
    undecodable,
)
from segtrain.data.images.headers import Header
from segtrain.data.images.image_range import Range, to_bytes
from segtrain.data.images.png import pixels_only, png_chunks
from segtrain.errors import DataError

# tf.data calls from its own threads; OpenCV's pool on top of them only adds switching.
cv2.setNumThreads(0)
# OpenCV logs what it cannot decode; segtrain raises a one-line error instead.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

# Pillow warns of damaged TIFF tags; what matters of it is an error here.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")

# Only the gray IMREAD_REDUCED_* flags combine with IMREAD_COLOR_RGB: their bits set the scale only, the others BGR too.
_SCALES = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
# A decoder must not apply the EXIF orientation: whether to apply it is the dataset's choice.
_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_VALUES = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
# What Pillow's plugins raise on damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
)
_TIFF_BITS = 258
_MODES = {"L": "gray", "1": "gray", "P": "palette", "LA": "gray+alpha"}
_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def decode_rgb(
    data: bytes, header: Header, path: Path, reduction: int = 1, image_range: Range | None = None
) -> np.ndarray:
    """Decode an image as it is stored, ignoring its orientation.

    Bytes in the middle of a JPEG may be damaged and the file still decode: libjpeg continues with wrong colors and at
    best prints "Corrupt JPEG data" on stderr; only a checksum of the file detects all damage. `jpeg_damage` returns
    libjpeg's warning.

    Args:
        data: The file.
        header: The result of `parse_header`.
        path: For messages.
        reduction: 1, 2, 4 or 8; see `files.read_image`.
        image_range: The values of 16-bit images that become 0 and 255.

    Returns:
        (H, W, 3) uint8 RGB. Alpha is dropped, not blended; of 16 bits the upper eight are kept where `image_range` is
        None.

    Raises:
        DataError: The file is cut short or damaged.
    """
    require_read(header, path)
    if image_range is not None and header.is_deep:
        return to_bytes(decode_deep(data, header, path), image_range)
    if header.kind == "JPEG":
        require_end_of_jpeg(data, path)
        image = _opencv(data, _RGB | _SCALES[reduction])
    elif header.kind == "PNG":
        image = _opencv(require_intact_png(data, path), _RGB)
    elif header.kind == "WebP":
        require_end_of_webp(data, path)
        image = _opencv(data, _RGB)
    else:
        image = _in_bands(_pillow(data, header, path), _rgb_of)
    if image is None or (image.shape[:2] != header.size and reduction == 1):
        raise DataError(undecodable(data, header, path))
    return image


def decode_values(data: bytes, header: Header, path: Path) -> tuple[np.ndarray, str]:
    """Decode the stored numbers of a PNG, BMP or TIFF: indices of palettes, grays as they are.

    Returns:
        (H, W) or (H, W, C) array of the stored type, and what it holds: "gray", "palette", "gray+alpha", "RGB", "RGBA",
        or Pillow's name for anything else.

    Raises:
        DataError: The file is cut short or damaged.
    """
    if header.tiff and header.tiff.bits == 32:  # Pillow reads these of one byte order only
        stored_values = _opencv(data, _VALUES)
        if stored_values is None or stored_values.shape != header.size:
            raise DataError(undecodable(data, header, path))
        return stored_values, "gray"
    if header.kind != "PNG":
        pillow_image = _pillow(data, header, path)
        stored = _in_bands(pillow_image, np.asarray)
        if stored is None:
            raise DataError(undecodable(data, header, path))
        if pillow_image.mode == "L" and (bits := getattr(pillow_image, "tag_v2", {}).get(_TIFF_BITS, (8,))[0]) < 8:
            stored //= 255 // (2**bits - 1)
        return stored, _MODES.get(pillow_image.mode, pillow_image.mode)
    data = require_intact_png(data, path)
    if header.mode not in ("gray", "palette"):
        # As they are stored: of 16 bits the upper eight alone would be other ids. OpenCV gives gray with alpha as four
        # channels, the first three alike, and colors as BGR.
        image = _opencv(data, _VALUES)
        if image is None or image.ndim != 3:
            raise DataError(undecodable(data, header, path))
        if header.mode != "gray+alpha":
            image[..., [0, 2]] = image[..., [2, 0]]
        return image, header.mode
    values = _plain_rows(data, header)
    if values is None:
        values = _opencv(pixels_only(data, b"IHDR" + data[16:25] + b"\0" + data[26:29]), _VALUES)
    if values is None or values.shape != header.size:
        raise DataError(undecodable(data, header, path))
    if header.bits < 8:
        # Gray values of few bits are stretched to 255.
        values //= 255 // (2**header.bits - 1)
    return values, header.mode


def decode_deep(data: bytes, header: Header, path: Path) -> np.ndarray:
    """Decode the stored values of a 16-bit PNG or TIFF, (H, W, 3) uint16 RGB; alpha is dropped.

    Raises:
        DataError: The file is cut short or damaged.
    """
    if header.kind == "PNG":
        data = require_intact_png(data, path)
    values = _opencv(data, _VALUES)
    if values is None or values.shape[:2] != header.size or values.dtype != np.uint16:
        raise DataError(undecodable(data, header, path))
    if values.ndim == 2:
        return np.repeat(values[..., None], 3, axis=-1)
    return np.ascontiguousarray(values[..., 2::-1])


def turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """Do what an orientation of EXIF asks for; the result is contiguous."""
    if orientation == 1:
        return image
    if orientation >= 5:
        image = np.swapaxes(image, 0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _opencv(data: bytes, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def _plain_rows(data: bytes, header: Header) -> np.ndarray | None:
    """Inflate a PNG of one byte a pixel whose rows are stored as they are, which the standard advises for palettes.

    Two thirds of the time that libpng takes.

    Returns:
        (H, W) uint8; None where the rows are filtered or interlaced, or anything is wrong with them.
    """
    row = header.width + 1  # it begins with the number of its filter
    # Compression and filter methods that the standard does not define, or interlaced rows.
    if header.bits != 8 or any(data[26:29]):
        return None
    inflater = zlib.decompressobj()
    packed = b"".join([data[start:end] for name, start, end in png_chunks(data) if name == b"IDAT"])
    try:
        first = inflater.decompress(packed, row)
        if len(first) < row or first[0]:
            return None
        rest = inflater.decompress(inflater.unconsumed_tail, row * header.height)
    except zlib.error:
        return None
    if len(rest) != row * (header.height - 1) or not inflater.eof:
        return None
    rows = np.frombuffer(rest, np.uint8).reshape(-1, row)
    if rows[:, 0].any():
        return None
    values = np.empty(header.size, np.uint8)
    values[0], values[1:] = np.frombuffer(first, np.uint8)[1:], rows[:, 1:]
    return values


def _pillow(data: bytes, header: Header, path: Path) -> Image.Image:
    """Open and decode with Pillow."""
    try:
        pillow_image: Image.Image = Image.open(io.BytesIO(data), formats=(header.kind,))
        pillow_image.load()
    except _DAMAGE as error:
        raise DataError(undecodable(data, header, path)) from error
    if header.kind == "TIFF" and header.orientation != 1:
        # Pillow applies the orientation of TIFFs, and of TIFFs only: undo it.
        pillow_image = pillow_image.transpose(_BACK[header.orientation])
    if header.kind == "BMP" and header.bits == 4 and pillow_image.mode == "L":
        # Pillow takes two pixels for one where the palette is the grays 0 to 15; OpenCV does not.
        image = _opencv(data, _RGB)
        pillow_image = pillow_image if image is None else Image.fromarray(image[..., 0])
    if (pillow_image.height, pillow_image.width) != header.size:
        raise DataError(undecodable(data, header, path))
    return pillow_image


def _in_bands(pillow_image: Image.Image, convert: Callable[[Image.Image], np.ndarray | None]) -> np.ndarray | None:
    """Convert an image to an array some rows at a time: Pillow needs three times the memory for all at once."""
    rows, found = max(1, (1 << 22) // pillow_image.width), None
    for top in range(0, pillow_image.height, rows):
        part = (
            pillow_image
            if rows >= pillow_image.height
            else pillow_image.crop((0, top, pillow_image.width, min(pillow_image.height, top + rows)))
        )
        band = convert(part)
        if band is None:
            return None
        if found is None:
            found = np.empty((pillow_image.height, *band.shape[1:]), band.dtype)
        found[top : top + len(band)] = band
    return found


def _rgb_of(pillow_image: Image.Image) -> np.ndarray | None:
    """Convert what Pillow decoded to RGB; None if its numbers are not colors."""
    if pillow_image.mode in ("I", "F"):
        return None
    if pillow_image.mode.startswith("I;16"):
        gray = (np.asarray(pillow_image) >> 8).astype(np.uint8)
    elif pillow_image.mode == "LA":
        gray = np.asarray(pillow_image)[..., 0]
    elif pillow_image.mode in ("RGBA", "RGBX"):
        return np.ascontiguousarray(np.asarray(pillow_image)[..., :3])
    else:
        return np.array(pillow_image.convert("RGB"))
    return np.repeat(gray[..., None], 3, axis=-1)
