"""Pixel format of a TIFF, from its tags, and which formats segtrain reads: TIFFs hold almost anything.

A file of another kind is named and refused. Decoders would drop bands, swap planes or take it for damaged.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from segtrain.shell import quote

_BITS, _COMPRESSION, _PHOTOMETRIC, _BANDS, _PLANES, _EXTRA, _NUMBERS = 258, 259, 262, 277, 284, 338, 339
_COLORS = {  # photometric interpretation: name and number of bands without extra ones
    0: ("gray", 1),
    1: ("gray", 1),
    2: ("RGB", 3),
    3: ("palette", 1),
    4: ("mask", 1),
    5: ("CMYK", 4),
    6: ("YCbCr", 3),
    8: ("CIELAB", 3),
    9: ("ICCLAB", 3),
    10: ("ITULAB", 3),
    32803: ("color filter array", 1),
    32844: ("LogL", 1),
    32845: ("LogLuv", 3),
    34892: ("linear raw", 1),
    51177: ("depth", 1),
}
_NUMBER_NAMES = {1: "unsigned integers", 2: "signed integers", 3: "floats", 5: "complex integers", 6: "complex floats"}
_COMPRESSIONS = {  # those of which Pillow's wheels read none
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}


class Tiff(NamedTuple):
    """Pixel format of a TIFF's first page, from its tags.

    Attributes:
        bits: Of a band.
        numbers: "unsigned integers", "signed integers", "floats", ...
        color: "gray", "RGB", "palette", "CMYK", ...
        bands: How many, extra ones among them.
        extra: Bands beyond those of `color`.
        alpha: Whether the first extra band is marked as transparency.
        planar: Whether each band is stored apart from the others.
        compression: Its name where segtrain does not read it, else "".
    """

    bits: int
    numbers: str
    color: str
    bands: int
    extra: int
    alpha: bool
    planar: bool
    compression: str

    @property
    def described(self) -> str:
        """For messages: "a TIFF of 4 bands (RGB and 1 more), 16-bit unsigned integers"."""
        bands = f"{self.bands} band{'s' * (self.bands > 1)}"
        more = f" and {self.extra} more, not marked as transparency" if self.extra and not self.alpha else ""
        more = f" and {self.extra} more" if self.extra > 1 else more or (" and alpha" if self.extra else "")
        planes = ", each band apart (planar)" if self.planar and self.bands > 1 else ""
        packed = f", {self.compression} compression" if self.compression else ""
        return f"a TIFF of {bands} ({self.color}{more}), {self.bits}-bit {self.numbers}{planes}{packed}"


def describe(tags: Mapping[int, int]) -> Tiff:
    """Read a TIFF's kind from its tags, as `exif.tiff_tags` gives them."""
    photometric, bands = tags.get(_PHOTOMETRIC, 1), tags.get(_BANDS, 1)
    color, plain = _COLORS.get(photometric, (f"photometric {photometric}", bands))
    numbers = tags.get(_NUMBERS, 1)
    return Tiff(
        bits=tags.get(_BITS, 1),
        # 4 means undefined; writers that leave it so write integers.
        numbers=_NUMBER_NAMES.get(1 if numbers == 4 else numbers, f"numbers of format {numbers}"),
        color=color,
        bands=bands,
        extra=max(0, bands - plain),
        alpha=bands == plain + 1 and tags.get(_EXTRA, 0) in (1, 2),
        planar=tags.get(_PLANES, 1) == 2 and bands > 1,
        compression=_COMPRESSIONS.get(tags.get(_COMPRESSION, 1), ""),
    )


def unread_image(tiff: Tiff, path: Path) -> str:
    """Return why segtrain does not read a TIFF as an image and how to convert it; "" if it reads it."""
    unsigned, byte = tiff.numbers == "unsigned integers", tiff.bits == 8
    if unsigned and not tiff.compression:
        if tiff.color in ("gray", "palette") and not tiff.extra:
            if tiff.bits in (1, 2, 4, 8, 16) and tiff.bands == 1:
                return ""
        elif tiff.color == "gray":
            if byte and tiff.alpha and not tiff.planar:
                return ""
        elif tiff.color == "RGB" and (tiff.alpha or not tiff.extra):
            if byte or (tiff.bits == 16 and not tiff.planar):
                return ""
        elif tiff.color in ("CMYK", "YCbCr") and byte and not tiff.extra and not tiff.planar:
            return ""
    command, advice = _conversion(tiff, path)
    expected = "expected gray or RGB, with alpha or without, 8- or 16-bit unsigned integers"
    return f"{tiff.described}, {expected}. The next command {advice}. Fix: {command}"


def unread_labels(tiff: Tiff) -> str:
    """Return why a TIFF cannot hold class ids that segtrain reads; "" if it may."""
    integers = tiff.numbers == "unsigned integers" or (tiff.numbers == "signed integers" and tiff.bits in (16, 32))
    if integers and tiff.bits <= 32 and not tiff.compression:
        if tiff.bands == 1 and tiff.color in ("gray", "palette"):
            return ""
        if (
            tiff.bits == 8
            and tiff.color in ("gray", "RGB")
            and (tiff.alpha or (tiff.color == "RGB" and not tiff.extra))
        ):
            return "" if tiff.color == "RGB" or not tiff.planar else tiff.described
    return tiff.described


def classic_tiff(path: Path) -> str:
    """A command that writes a BigTIFF as PNG, into a folder next to that of the others."""
    source, target, start = _paths(path)
    return (
        f'{start}python -c "import cv2, sys; cv2.imwrite(sys.argv[2], cv2.imread(sys.argv[1], -1))" {source} {target}'
    )


def _conversion(tiff: Tiff, path: Path) -> tuple[str, str]:
    """A command that converts one file into a folder next to that of the others, and what it does."""
    source, target, start = _paths(path)
    if tiff.color not in ("gray", "RGB", "palette"):
        return f"{start}magick {source} -colorspace sRGB {target}", "converts one image to RGB"
    floats, byte = tiff.numbers == "floats", tiff.bits == 8 and tiff.numbers == "unsigned integers"
    high = 1 if floats else 2 ** min(tiff.bits, 16) - 1
    kept = "" if tiff.bands == 1 else f"keeps {'the first band' if tiff.bands == 2 else 'the first 3 bands'}"
    scaled = "" if byte else f"makes 0..{high} 0..255 (change {high} to the highest value of all images)"
    advice = " and ".join(filter(None, (kept, scaled))) or "converts one image"
    unknown = tiff.planar or tiff.compression or tiff.bands > 4 or tiff.color == "palette"  # to OpenCV
    if unknown or "complex" in tiff.numbers or (floats and tiff.bits < 32):
        bands = " -b 1 -b 2 -b 3" if tiff.bands > 2 else " -b 1"
        scale = "" if byte else f" -ot Byte -scale 0 {high} 0 255"
        return f"{start}gdal_translate{bands}{scale} {source} {target}", advice
    first = {1: "", 2: ".reshape(*a.shape[:2], -1)[..., 0]"}.get(tiff.bands, "[..., :3]")
    code = "a = cv2.imread(sys.argv[1], -1)" + (f"; a = a{first}" if first else "")
    if not byte:
        code += f"; a = (a * (255 / {high})).clip(0, 255).round().astype('uint8')"
    return f'{start}python -c "import cv2, sys; {code}; cv2.imwrite(sys.argv[2], a)" {source} {target}', advice


def _paths(path: Path) -> tuple[str, str, str]:
    """A file, what it is converted to, and the command that makes the latter's folder, for a shell."""
    folder = path.absolute().parent
    folder = folder.with_name(f"{folder.name}_8bit")
    return quote(str(path)), quote(str(folder / f"{path.stem}.png")), f"mkdir -p {quote(str(folder))} && "
