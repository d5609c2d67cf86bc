"""Thousands of damaged and forged files through the readers: an array or a DataError, quickly, in little memory.

The files are read in a child process, so that a crash is a failure and memory can be told. 10,000 take ten seconds;
SEGTRAIN_SOAK=1 reads 200,000. `python tests/data/test_readers_fuzz.py COUNT SEED` reads others.
"""

import collections
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # when run as a program

from pictures import GRAY, GRAY_ALPHA, PALETTE, RGB, RGBA, chunk, jpeg_with, png, saved, smooth, with_exif
from segtrain.data.images.files import read_image, read_labels, read_size
from segtrain.data.images.matfile import MatReader
from segtrain.data.images.png import png_chunks
from segtrain.errors import DataError

COUNT = 200_000 if os.environ.get("SEGTRAIN_SOAK") else 10_000
SEED = 20_261_121


def test_no_damaged_file_crashes_hangs_or_lies(tmp_path):
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", __file__, str(COUNT), str(SEED)],
        capture_output=True,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, f"the file is in {tmp_path}: {done.stderr[-2000:]}"
    found = json.loads(done.stdout)
    assert sum(found["read"].values()) == COUNT
    assert min(found["read"].values()) > COUNT / 10
    # Neither all nor nothing passes: the damage reaches the decoders, and the comparison below is of something.
    for kind in ("image", "labels", "mat"):
        assert COUNT / 100 < found["accepted"][kind] < found["read"][kind] * 0.9
    assert found["errors"] == []
    assert found["lies"] == []
    assert found["slowest"] < 2
    assert found["kilobytes"] < 400_000


def peak_kilobytes() -> int:
    """The most memory of this process. Not ru_maxrss: a process inherits that of whoever started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def images() -> list[bytes]:
    """Images, one of each encoding."""
    image, small = smooth((30, 41)), smooth((7, 9))
    values = np.random.default_rng(0).integers(0, 65536, (7, 9, 4))
    return [
        saved(image, "JPEG"),
        saved(image, "JPEG", progressive=True),
        saved(image, "JPEG", subsampling=0, restart_marker_blocks=1),
        saved(Image.fromarray(image).convert("L"), "JPEG"),
        saved(Image.fromarray(image).convert("CMYK"), "JPEG"),
        jpeg_with(saved(small, "JPEG"), 0xE1, b"Exif\0\0" + with_exif(6, thumbnail=saved(small, "JPEG"))),
        png(values[..., :3] & 255, 8, RGB),
        png(values[..., :3], 16, RGB, interlaced=True),
        png(values & 255, 8, RGBA, chunks=[(b"eXIf", with_exif(3))]),
        png(values[..., 0] & 3, 2, PALETTE, bytes(range(12)), [(b"tRNS", b"\0\1\2\3")]),
        png(values[..., :2] & 255, 8, GRAY_ALPHA, chunks=[(b"gAMA", b"\0\0\xb1\x8f")]),
        saved(image, "WEBP"),
        saved(small, "WEBP", lossless=True),
        saved(np.dstack([small, small[..., 0]]), "WEBP", exif=b"Exif\0\0" + with_exif(8)),
        saved(small, "BMP"),
        saved(small, "TIFF"),
        saved(small, "TIFF", compression="tiff_lzw"),
        saved(image, "TIFF", compression="jpeg"),
        saved(values[..., 0].astype(np.uint16), "TIFF"),
    ]


def labels() -> list[bytes]:
    """Label files, one of each encoding."""
    ids = np.random.default_rng(1).integers(0, 256, (9, 11))
    palette = bytes(range(256)) * 3
    picture = Image.fromarray((ids // 100).astype(np.uint8))
    indexed = picture.copy()
    indexed.putpalette(palette)
    return [
        *[png(ids & (2**depth - 1), depth, GRAY) for depth in (1, 2, 4, 8, 16)],
        *[png(ids & (2**depth - 1), depth, PALETTE, palette[: 3 * 2**depth]) for depth in (1, 2, 4, 8)],
        png(ids, 8, PALETTE, palette, [(b"tRNS", bytes(256))], interlaced=True),
        png(ids & 15, 4, GRAY, interlaced=True),
        *[saved(each, kind) for each in (picture, indexed) for kind in ("PNG", "BMP", "TIFF")],
        saved(picture, "TIFF", compression="tiff_lzw"),
        saved(picture, "TIFF", compression="packbits"),
        saved(Image.fromarray(ids > 128), "TIFF", compression="group4"),
        saved(Image.fromarray(ids > 128), "BMP"),
        saved(ids.astype(np.uint16), "TIFF"),
        saved(smooth((9, 11)), "PNG"),
    ]


def mats() -> list[bytes]:
    """Label files of SBD and a color table, compressed and not."""
    found = []
    ids = np.random.default_rng(2).integers(0, 21, (9, 11), np.uint8)
    for compressed in (False, True):
        for content in ({"GTcls": {"Segmentation": ids, "CategoriesPresent": np.unique(ids)}}, {"colormap": ids / 21}):
            file = io.BytesIO()
            savemat(file, content, do_compression=compressed)
            found.append(file.getvalue())
    return found


def mutant(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file in one of the ways that files get damaged, or forged."""
    changed = bytearray(data)
    way = rng.integers(6)
    if way == 0:  # cut short
        return data[: rng.integers(len(data))]
    if way == 1:  # the head of one file and the tail of another
        position = int(rng.integers(min(len(data), len(other))))
        return data[:position] + other[position:]
    if way == 2:  # sides, counts and offsets stand in the first bytes
        position = int(rng.integers(min(len(data), 200)))
        size = int(rng.choice([1, 2, 4]))
        changed[position : position + size] = int(rng.choice([0, 1, 255, 2**15, 2**31 - 1, 2**32 - 1])).to_bytes(
            8, "big"
        )[-size:]
    elif way == 3:  # a piece twice, or gone
        start, end = sorted(rng.integers(0, len(data), 2))
        changed[start:end] = changed[start:end] * int(rng.integers(3))
    else:
        for position in rng.integers(0, len(data), rng.integers(1, 5)):
            changed[position] = rng.integers(256)
    # Wrong checksums are found at once: with right ones the damage gets to the decoders.
    return with_right_checksums(bytes(changed)) if rng.random() < 0.7 else bytes(changed)


def with_right_checksums(data: bytes) -> bytes:
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    return data[:8] + b"".join(chunk(name, data[start:end]) for name, start, end in png_chunks(data))


def indices(data: bytes) -> np.ndarray:
    """What Pillow says is stored in a label file; it takes any file that it can."""
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        values = np.asarray(picture).astype(np.int64)
        if picture.mode == "L" and picture.format in ("PNG", "TIFF"):
            bits = data[24] if picture.format == "PNG" else picture.tag_v2.get(258, (1,))[0]
            values = values // {1: 255, 2: 85, 4: 17}.get(bits, 1)
        return values


def main(count: int, seed: int) -> None:
    """Read `count` files and print what came of it."""
    seeds = {"image": images(), "labels": labels(), "mat": mats()}
    kinds = ["image"] * 2 + ["labels"] * 2 + ["mat"]
    read, accepted = collections.Counter(), collections.Counter()
    errors, lies, slowest = [], [], 0.0
    path = Path(tempfile.gettempdir()) / "mutant"
    with MatReader() as reader:
        path.write_bytes(seeds["mat"][0])
        reader.read(path, "GTcls.Segmentation")  # the time of the import is not the first mutant's
        for number in range(count):
            rng = np.random.default_rng([seed, number])
            kind = kinds[number % len(kinds)]
            data, other = (seeds[kind][int(rng.integers(len(seeds[kind])))] for _ in range(2))
            data = mutant(data, other, rng)
            path.write_bytes(data)
            read[kind] += 1
            began = time.perf_counter()
            try:
                if kind == "image":
                    image = read_image(path, exif="apply", reduction=int(rng.choice([1, 1, 2, 8])))
                    sound = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
                    sound = sound and len(read_size(path, "apply")) == 2
                elif kind == "labels":
                    found = read_labels(path)
                    sound = found.dtype == np.uint8
                else:
                    name = "GTcls.Segmentation" if b"GTcls" in data or rng.random() < 0.5 else "colormap"
                    sound = reader.read(path, name).dtype.kind in "uifb"
                accepted[kind] += 1
                if not sound:
                    lies.append(number)
            except DataError as error:
                if "\n" in str(error) or str(path) not in str(error) or "Fix: " not in str(error):
                    errors.append([number, str(error)])
                continue
            except Exception as error:
                errors.append([number, repr(error)])
                continue
            finally:
                slowest = max(slowest, time.perf_counter() - began)
            if kind == "labels":
                try:
                    if not np.array_equal(found, indices(data)):
                        lies.append(number)
                except Exception as error:
                    lies.append([number, repr(error)])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "read": read,
                "accepted": accepted,
                "errors": errors,
                "lies": lies,
                "slowest": slowest,
                "kilobytes": peak_kilobytes(),
                "seconds": usage.ru_utime + usage.ru_stime,
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
