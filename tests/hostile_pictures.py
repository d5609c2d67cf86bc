"""Small pictures that take long or much memory to decode, each by another way: byte by byte, within their formats."""

import io
import struct
import zlib

from PIL import Image

from pictures import chunk, saved

SIDE = 8192  # SIDE * SIDE pixels are the most that readers take: dataset.max_pixels
_BLOCK = 1 << 20


def zeros(count: int) -> bytes:
    """Deflate `count` zeros, a gigabyte as fast as a megabyte: the same block again and again."""
    blocks, rest = divmod(count, _BLOCK)
    deflate = zlib.compressobj(9, wbits=-15)
    last = deflate.compress(bytes(rest)) + deflate.flush()
    block = zlib.compressobj(9, wbits=-15)
    repeated = block.compress(bytes(_BLOCK)) + block.flush(zlib.Z_FULL_FLUSH)
    # Adler-32 of zeros: one sum stays 1, the other counts them.
    return b"\x78\xda" + repeated * blocks + last + struct.pack(">HH", count % 65521, 1)


def with_tail(pixels: bytes, count: int) -> bytes:
    """Deflate pixels and zeros behind them; the checksum at the end is wrong, and nobody gets that far."""
    deflate = zlib.compressobj(6)
    return deflate.compress(pixels) + deflate.flush(zlib.Z_FULL_FLUSH) + zeros(count)[2:]


def png_of(
    width: int,
    height: int,
    depth: int = 8,
    kind: int = 2,
    *,
    interlaced: int = 0,
    before: bytes = b"",
    between: bytes = b"",
    after: bytes = b"",
    tail: int = 0,
    body: bytes | None = None,
) -> bytes:
    """Write a PNG of zeros with anything between its chunks; `body` are its packed pixels."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced))
    palette = chunk(b"PLTE", bytes(range(48))) if kind == 3 else b""
    pixels = zeros(height * (1 + (width * channels * depth + 7) // 8) + tail) if body is None else body
    parts = [head, before, palette, chunk(b"IDAT", pixels), between, chunk(b"IEND", b""), after]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def text_bomb(name: bytes, megabytes: int = 400) -> bytes:
    """A chunk of compressed text or of a color profile that inflates to many megabytes."""
    begin = {
        b"zTXt": b"Comment\0\0",
        b"iTXt": b"Comment\0\1\0\0\0",
        b"iCCP": b"profile\0\0",
    }[name]
    return chunk(name, begin + zeros(megabytes << 20))


def jpeg_scans(size: tuple[int, int], scans: int, progressive: bool = True) -> bytes:
    """Repeat scans of a progressive JPEG, each of which costs a pass over all blocks."""
    file = io.BytesIO()
    Image.new("RGB", size[::-1], (90, 120, 40)).save(file, "JPEG", progressive=progressive, quality=30)
    data = file.getvalue()
    last = data.rfind(b"\xff\xda")
    return data[:-2] + data[last:-2] * (scans - data.count(b"\xff\xda")) + b"\xff\xd9"


def sequential_scans(size: tuple[int, int], scans: int) -> bytes:
    """Repeat the scan of one component of a sequential JPEG: libjpeg then keeps all coefficients and passes."""
    file = io.BytesIO()
    Image.new("RGB", size[::-1], (90, 120, 40)).save(file, "JPEG", quality=30, subsampling=0)
    data = file.getvalue()
    start = data.rfind(b"\xff\xda")
    height, width = (-(-side // 8) for side in size)
    # One block without coefficients: DC difference 0 and end of block, two codes a block in Pillow's standard tables.
    bits = "00" + "1010"  # luma's DC 0 and end of block
    text = bits * (height * width)
    text += "1" * (-len(text) % 8)
    entropy = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    scan = b"\xff\xda\0\x08\x01\x01\x00\x00\x3f\x00" + entropy
    return data[:start] + scan * scans + b"\xff\xd9"


def webp_of(size: tuple[int, int], alpha: bool = False, lossless: bool = True) -> bytes:
    """A WebP of one color."""
    file = io.BytesIO()
    mode, color = ("RGBA", (1, 2, 3, 4)) if alpha else ("RGB", (1, 2, 3))
    Image.new(mode, size[::-1], color).save(file, "WEBP", lossless=lossless, quality=1, method=0)
    return file.getvalue()


def webp_forged(canvas: tuple[int, int], size: tuple[int, int]) -> bytes:
    """A WebP whose extended header claims another canvas than that of its pixels."""
    inner = webp_of(size)[12:]
    height, width = (side - 1 for side in canvas)
    head = b"VP8X" + struct.pack("<I", 10) + bytes(4) + width.to_bytes(3, "little") + height.to_bytes(3, "little")
    body = b"WEBP" + head + inner
    return b"RIFF" + struct.pack("<I", len(body)) + body


Entry = tuple[int, int, int, int]  # tag, type, count, value


def tiff_of(entries: list[Entry], following: int = 0, rest: bytes = b"") -> bytes:
    """Write a TIFF of one directory and what lies behind it."""
    body = struct.pack("<H", len(entries))
    for tag, kind, count, value in sorted(entries):
        body += struct.pack("<HHII", tag, kind, count, value)
    return b"II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", following) + rest


def tiff_tags_of(width: int, height: int, compression: int, offset: int, count: int) -> list[Entry]:
    """The tags of a gray TIFF of one strip."""
    return [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1),
        (273, 4, 1, offset), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, count),
    ]  # fmt: skip


def tiff_packed(width: int, height: int, tail: int = 0) -> bytes:
    """A gray TIFF in deflate, with a tail behind its pixels."""
    body = zeros(width * height + tail)
    return tiff_of(tiff_tags_of(width, height, 8, 8 + 2 + 9 * 12 + 4, len(body)), rest=body)


def bmp_of(width: int, height: int, bits: int = 24, rest: bytes = b"", compression: int = 0, colors: int = 0) -> bytes:
    """A BMP with `rest` behind its header."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, colors, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rest), 0, 0, 54 + 4 * min(colors, 256)) + head + rest


def saved_large(mode: str, kind: str, **options: object) -> bytes:
    """An image of one color, of the most pixels that readers take, written by Pillow."""
    return saved(Image.new(mode, (SIDE, SIDE)), kind, **options)
