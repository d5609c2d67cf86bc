"""Convert files of kinds that are not read to PNG, next to them: `python -m segtrain.data.convert labels FOLDER .gif`.

Label files are written with the numbers they hold, or not at all: grays stay grays, palettes become their colors, and
what may have blurred them is refused.

H height, W width.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segtrain.data.images.contents import read_bytes, shown
from segtrain.data.images.files import MAX_PIXELS
from segtrain.data.images.limits import most_bytes
from segtrain.errors import ConfigError, DataError, SegtrainError
from segtrain.storage import write_png

_FORMATS = {
    ".gif": "GIF",
    **dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpx", ".jpf"), "JPEG2000"),
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".tga": "TGA",
    ".pcx": "PCX",
    ".ico": "ICO",
    ".dib": "DIB",
    ".ppm": "PPM",
}
_NETPBM = re.compile(rb"P([25])(?:\s+|#[^\n]*\n)+(\d+)(?:\s+|#[^\n]*\n)+(\d+)(?:\s+|#[^\n]*\n)+(\d+)\s")


def convert(what: str, folder: Path, suffix: str) -> int:
    """Write a PNG next to each file of one suffix in a folder and the folders below.

    Args:
        what: "labels", which must stay exact, or "images".
        folder: Where they are.
        suffix: Of the files, ".gif".

    Returns:
        How many files were converted; those with a PNG of their name already are left alone.

    Raises:
        DataError: A file cannot be converted exactly; those before it have been converted.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() == suffix and path.is_file())
    if not paths:
        raise DataError(f"no files *{suffix} in {shown(folder)}, expected at least one. Fix: name another folder")
    waiting = [path for path in paths if not path.with_suffix(".png").exists()]
    for path in waiting:
        pixels = read_pixels(path, exact=what == "labels")
        write_png(path.with_suffix(".png"), Image.fromarray(pixels))
    return len(waiting)


def read_pixels(path: Path, *, exact: bool) -> np.ndarray:
    """Read one file as the array of a PNG.

    Args:
        path: The file.
        exact: Refuse compressions that change values.

    Returns:
        (H, W) uint8 or uint16, or (H, W, 3) uint8 RGB.

    Raises:
        DataError: The file is damaged, or cannot be read exactly.
    """
    suffix = path.suffix.lower()
    data = read_bytes(path, most=most_bytes(MAX_PIXELS))
    if suffix == ".npy":
        return _integers(_numpy(path), path)
    if suffix == ".pgm":
        return _integers(_netpbm(data, path), path)
    if suffix not in _FORMATS:
        raise ConfigError(f"{suffix}: expected one of .npy, .pgm, {', '.join(_FORMATS)}. Fix: name one of them")
    if exact:
        _require_lossless(data, suffix, path)
    try:
        with Image.open(path, formats=(_FORMATS[suffix],)) as image:
            if image.width * image.height > MAX_PIXELS or getattr(image, "is_animated", False):
                raise DataError(f"cannot convert {shown(path)}: several frames or too many pixels. Fix: save one frame")
            if image.mode.startswith("I"):
                return _integers(np.array(image), path)
            pixels = np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot convert {shown(path)}: damaged ({error}). Fix: copy the file again") from error
    return pixels[..., 0] if (pixels == pixels[..., :1]).all() else pixels


def _integers(array: np.ndarray, path: Path) -> np.ndarray:
    """(H, W) uint8 where all values fit, else uint16."""
    if array.ndim != 2 or array.dtype.kind not in "bui" or array.size == 0 or array.min() < 0 or array.max() > 65535:
        seen = f"{array.dtype} {array.shape}"
        if array.ndim == 2 and array.dtype.kind in "bui" and array.size:
            seen += f", values {array.min()}..{array.max()}"
        raise DataError(
            f"cannot convert {shown(path)}: {seen}, expected integers 0..65535 of shape (H, W). Fix: export the "
            f"class ids as a PNG"
        )
    return array.astype(np.uint8 if array.max() <= 255 else np.uint16)


def _numpy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot convert {shown(path)}: {error}. Fix: save it with numpy.save") from error
    if array.size > MAX_PIXELS:
        raise DataError(f"cannot convert {shown(path)}: {array.shape}, too many values. Fix: split the image")
    return np.array(array)


def _netpbm(data: bytes, path: Path) -> np.ndarray:
    """The numbers of a PGM; Pillow would stretch those of a file whose greatest is not 255."""
    header = _NETPBM.match(data)
    width, height, greatest = (int(header[group]) for group in (2, 3, 4)) if header else (0, 0, 0)
    if header is None or not 0 < width * height <= MAX_PIXELS or not 0 < greatest < 65536:
        raise DataError(
            f"cannot convert {shown(path)}: no header of a PGM of at most {MAX_PIXELS} pixels. Fix: replace it"
        )
    if header[1] == b"2":
        values = np.array([int(each) for each in re.sub(rb"#[^\n]*", b"", data[header.end() :]).split()], np.int64)
    else:
        values = np.frombuffer(data, np.uint8 if greatest < 256 else ">u2", offset=header.end())
    if values.size < width * height:
        raise DataError(f"cannot convert {shown(path)}: a truncated PGM. Fix: copy the file again")
    return values[: width * height].reshape(height, width)


def _require_lossless(data: bytes, suffix: str, path: Path) -> None:
    kind = ""
    if suffix == ".webp" and b"VP8L" not in data[:4096]:
        kind = "a lossy WebP"
    elif suffix == ".avif":
        kind = "an AVIF"
    elif _FORMATS[suffix] == "JPEG2000":
        # Also with the wavelet that can be undone: writers cut the file at a size, and do not record that they did.
        kind = "a JPEG 2000"
    if kind:
        raise DataError(
            f"cannot convert {shown(path)}: {kind}, which may have blurred class ids. Fix: export the labels again "
            f"from their source as PNG"
        )


def main(words: Sequence[str]) -> int:
    """Run the command line; returns its exit code."""
    try:
        if len(words) != 3 or words[0] not in ("labels", "images"):
            raise ConfigError("expected three words. Fix: python -m segtrain.data.convert labels FOLDER .gif")
        print(f"{convert(words[0], Path(words[1]).expanduser(), words[2].lower())} files converted to PNG")
    except SegtrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
