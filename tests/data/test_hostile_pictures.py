"""Images and label files forged to take long or much memory end in an array or one line, within 2 s and 500 MB.

Each is written here, and read in a child process whose memory is limited and measured. `python
tests/data/test_hostile_pictures.py` prints the seconds and megabytes of each.
"""

import json
import os
import resource
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # when run as a program

from hostile_pictures import (
    SIDE,
    bmp_of,
    jpeg_scans,
    png_of,
    saved_large,
    sequential_scans,
    text_bomb,
    tiff_of,
    tiff_packed,
    tiff_tags_of,
    webp_forged,
    webp_of,
    with_tail,
)
from pictures import PALETTE, RGB, RGBA, chunk, png, saved, smooth
from segtrain.data.audit.record import examine
from segtrain.data.datasets.folder import Folder
from segtrain.data.images.damage import jpeg_damage
from segtrain.data.images.files import read_image, read_labels, read_size
from segtrain.data.images.png import inspect_png, repeats_itself
from segtrain.data.images.sample import Sample
from segtrain.errors import DataError

PAGE = Image.new("L", (8, 8))
NOISE = np.random.default_rng(0).integers(0, 256, (1024, 3073), np.uint8)
NOISE[:, 0] = 0  # no filter
HEAD = b"\0\0\x1f\x40\0\0\x1f\x40\x08\x02\0\0\0"  # of 8000 x 8000
ANIMATION = chunk(b"acTL", b"\0\0\x03\xe8\0\0\0\0")
SCANS = saved(smooth(), "JPEG").partition(b"\xff\xda")
HUGE = 2**31 - 1
# Those that are refused, and a part of the reason; those that are read although something in them is forged.
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "306 scans": (lambda: jpeg_scans((4000, 4000), 306), "306 scans"),
    "306 scans of few pixels": (lambda: jpeg_scans((64, 64), 306), "306 scans"),
    "60 scans of many pixels": (lambda: jpeg_scans((6000, 6000), 60), "60 scans"),
    "300 sequential scans": (lambda: sequential_scans((1024, 1024), 300), "300 scans"),
    "progressive without subsampling": (
        lambda: saved_large("RGB", "JPEG", progressive=True, quality=10, subsampling=0),
        "MB of memory",
    ),
    "JPEG segments": (lambda: SCANS[0] + b"\xff\xfe\0\2" * 200_000 + b"".join(SCANS[1:]), "segments"),
    "2 GB tail": (lambda: png_of(64, 64, tail=2 << 30), "compressed pixels"),
    "2 GB tail of grays": (lambda: png_of(64, 64, 1, 0, tail=2 << 30), "compressed pixels"),
    "2 GB tail of a palette": (lambda: png_of(64, 64, 8, 3, tail=2 << 30), "compressed pixels"),
    "2 GB tail, interlaced": (lambda: png_of(64, 64, 8, 0, interlaced=1, tail=2 << 30), "compressed pixels"),
    "2 GB tail behind noise": (lambda: png_of(1024, 1024, body=with_tail(NOISE.tobytes(), 2 << 30)), "inflate to"),
    "empty texts": (lambda: png_of(64, 64, before=chunk(b"tEXt", b"") * 400_000), "chunks"),
    "empty pixels": (lambda: png_of(64, 64, between=chunk(b"IDAT", b"") * 400_000), "chunks"),
    "empty private chunks": (lambda: png_of(64, 64, 8, 0, between=chunk(b"prIv", b"") * 400_000), "chunks"),
    "two IHDR": (lambda: png_of(64, 64, before=chunk(b"IHDR", HEAD)), "second IHDR"),
    "two IHDR, grays": (lambda: png_of(64, 64, 8, 0, before=chunk(b"IHDR", HEAD)), "second IHDR"),
    "IHDR at the end": (lambda: png_of(64, 64, 8, 0, between=chunk(b"IHDR", HEAD)), "second IHDR"),
    "pixels at two offsets": (
        lambda: png_of(64, 64, 8, 0, between=chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", b"a")),
        "two offsets",
    ),
    "APNG": (lambda: png_of(64, 64, before=ANIMATION), "animation"),
    "APNG of grays, late": (lambda: png_of(64, 64, 8, 0, between=ANIMATION), "animation"),
    "gray and alpha of 16 bits": (lambda: png_of(SIDE, SIDE, 16, 4), "MB of memory"),
    "WebP of 40 bytes": (lambda: webp_of((SIDE, SIDE)), "more than its"),
    "WebP of another size": (lambda: webp_forged((64, 64), (4000, 4000)), "damaged WebP"),
    "WebP of a larger canvas": (lambda: webp_forged((8192, 8192), (64, 64)), "WebP"),
    "TIFF of many pixels": (lambda: tiff_packed(SIDE, SIDE), "MB of memory"),
    "TIFF of more pixels": (lambda: tiff_of(tiff_tags_of(HUGE, HUGE, 1, 122, 4096), rest=bytes(4096)), "by its header"),
    "TIFF without end": (lambda: tiff_of(tiff_tags_of(64, 64, 1, 122, 4096), 8, bytes(4096)), "pages"),
    "TIFF of many pages": (lambda: saved(PAGE, "TIFF", save_all=True, append_images=[PAGE] * 2000), "pages"),
    "TIFF of many strips": (
        lambda: tiff_of([*tiff_tags_of(64, 64, 1, 8, 8)[:5], (273, 4, 2**28, 8), (279, 4, 2**28, 8)], rest=bytes(64)),
        "strips",
    ),
    "TIFF of a huge tile": (
        lambda: tiff_of([*tiff_tags_of(64, 64, 8, 8, 8)[:5], (322, 4, 1, 30_000), (323, 4, 1, 30_000)], rest=bytes(64)),
        "tiles of 30000x30000",
    ),
    "TIFF of many tags": (
        lambda: tiff_of(
            [*tiff_tags_of(64, 64, 1, 8, 8), *[(tag, 1, 100_000, 8) for tag in range(999, 3000)]], rest=bytes(10**6)
        ),
        "its tags claim",
    ),
    "BMP of many pixels": (lambda: bmp_of(HUGE, -HUGE), "by its header"),
    "BMP without pixels": (lambda: bmp_of(8192, 8192), "BMP"),
    "BMP of run lengths": (lambda: bmp_of(1024, 1024, 8, bytes(1024) + b"\1\7" * 2**20, 1, 256), "run lengths"),
}
READ: dict[str, Callable[[], bytes]] = {
    "texts": lambda: png_of(64, 64, before=text_bomb(b"zTXt", 7) * 300),
    "international texts": lambda: png_of(64, 64, before=text_bomb(b"iTXt", 7) * 300),
    "profiles": lambda: png_of(64, 64, between=text_bomb(b"iCCP")),
    "TIFF tail": lambda: tiff_packed(64, 64, 2 << 30),
    "fill bytes": lambda: saved(smooth(), "JPEG")[:2] + b"\xff" * 20_000_000 + saved(smooth(), "JPEG")[2:],
}
LABELS: dict[str, tuple[Callable[[], bytes], str]] = {
    "RGBA of 16 bits": (lambda: png_of(SIDE, SIDE, 16, 6), "MB of memory"),
    "RGBA": (lambda: png_of(SIDE, SIDE, 8, 6), "MB of memory"),
    "fewer RGBA of 16 bits": (lambda: png_of(2048, 2048, 16, 6), "transparent"),
    "gray and alpha": (lambda: png_of(2048, 2048, 16, 4), "transparent"),
    "grays of 16 bits": (lambda: png(np.full((4, 4), 300), 16, 0), "300 first at row 0, column 0"),
}


def test_forged_images_are_refused_in_one_line_or_read_within_limits(tmp_path):
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 100
    for name, reader, seconds, megabytes, text, reason in found:
        assert seconds < 2 and megabytes < 500, (name, reader, seconds, megabytes)
        assert "\n" not in text, (name, reader)
        if reason:
            assert reason in text and "Fix: " in text, (name, reader, text)


@pytest.mark.parametrize("kind", [RGB, RGBA, PALETTE])
def test_ordinary_images_are_inflated_once(kind):
    rng = np.random.default_rng(kind)
    values = rng.integers(0, 256, {RGB: (512, 512, 3), RGBA: (512, 512, 4), PALETTE: (512, 512)}[kind])
    data = png(values, 8, kind, bytes(768))
    assert not repeats_itself(data, inspect_png(data))


def test_a_large_image_that_repeats_itself_is_read(tmp_path):
    tile = np.random.default_rng(0).integers(0, 256, (8, 3073), np.uint8)
    tile[:, 0] = 0
    rows = np.tile(tile, (1024, 1))
    data = png_of(1024, 8192, body=zlib.compress(rows.tobytes(), 1))
    assert repeats_itself(data, inspect_png(data))
    (tmp_path / "a.png").write_bytes(data)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), rows[:, 1:].reshape(8192, 1024, 3))


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) // 1024


def _measure(name: str, data: bytes, reader: Callable[[Path], object], path: Path, reason: str) -> None:
    path.write_bytes(data)
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    began = time.process_time()
    text = ""
    try:
        reader(path)
    except DataError as error:
        text = str(error)
    seconds = time.process_time() - began
    print(json.dumps([name, reader.__name__, seconds, _memory("VmHWM") - before, text, reason]))


def main(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    path = folder / "image"
    for name, (make, reason) in REFUSED.items():
        data = make()
        _measure(name, data, read_image, path, reason)
        _measure(name, data, read_labels, path, "" if data[:2] in (b"\xff\xd8", b"RI") else reason)
        _measure(name, data, read_size, path, "")
        if data.startswith(b"\xff\xd8"):
            _measure(name, data, jpeg_damage, path, reason if "scans" in reason else "")
    for name, forge in READ.items():
        for reader in (read_image, read_labels, read_size):
            _measure(name, forge(), reader, path, "")
    dataset = Folder(str(folder), ["sky", "car"], train_images="a", train_labels="b", val_fraction=0.5)
    (folder / "small.png").write_bytes(png_of(8, 8))

    def examined(path: Path) -> None:
        raise DataError(examine(dataset, Sample("a", folder / "small.png", path)).problems[0].text)

    for name, (make, reason) in LABELS.items():
        data = make()
        _measure(name, data, read_labels, path, reason)
        _measure(name, data, examined, path, reason)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
