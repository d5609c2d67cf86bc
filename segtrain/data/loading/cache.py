"""Caches of decoded samples, in memory or in one packed file: decoding is half of a loader's work.

Both are called like `Dataset.read` and return the same pixels: an image decoded smaller is kept in addition to
the full-size one. When space runs low they stop adding samples, with one line in the log.
"""

import errno
import hashlib
import logging
import math
import os
import struct
import threading
import zlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, final

import numpy as np

from segtrain.data.images.sample import Sample
from segtrain.data.loading.crops import Read
from segtrain.errors import ResourceError
from segtrain.storage import lock

logger = logging.getLogger(__name__)

Pair = tuple[np.ndarray, np.ndarray]


@final
class MemoryCache:
    """Keep samples in memory.

    Args:
        read: Reads samples that are not cached.
        max_bytes: Maximum size of the cache in bytes; None for half of the free memory.
    """

    def __init__(self, read: Read, max_bytes: int | None = None) -> None:
        self._read = read
        self._room = available_memory() // 2 if max_bytes is None else max_bytes
        self._is_full = False
        self._kept: dict[tuple[Sample, int], Pair] = {}

    def __call__(self, sample: Sample, reduction: int = 1) -> Pair:
        if (kept := self._kept.get((sample, reduction))) is not None:
            return kept
        image, labels = self._read(sample, reduction)
        if self._room >= image.nbytes + labels.nbytes:
            for array in (image, labels):
                array.setflags(write=False)
            self._room -= image.nbytes + labels.nbytes
            self._kept[sample, reduction] = image, labels
        elif not self._is_full:
            self._is_full = True
            logger.warning("cache=memory is full with %d samples; the others are decoded each time", len(self._kept))
        return image, labels


class _Record(NamedTuple):
    """Offsets of one sample's pixels in the packed file: the image's, then the labels'."""

    offset: int
    image_size: tuple[int, int]
    labels_size: tuple[int, int]
    checksum: int

    @property
    def num_bytes(self) -> int:
        return 3 * math.prod(self.image_size) + math.prod(self.labels_size)


# Magic, key, height and width of image and labels, checksum of the pixels; then a checksum of these.
_HEADER = struct.Struct("<8s16sIIIII")
_HEADER_SIZE = _HEADER.size + 4
_MAGIC = b"segpair1"
_SPARE_BYTES = 1 << 30  # left free on the disk


@final
class DiskCache:
    """Keep samples in `FOLDER/pairs.pack`, which later runs reuse.

    The file only grows, by one complete record at a time. A record that a kill truncated is removed at the next
    start; one whose pixels do not match their checksum is decoded again. A sample whose files have another size or
    modification time, or that is read by other rules, is another sample. One process writes; others only read.

    Args:
        read: Reads samples that are not cached.
        folder: Folder of the cache, created if missing; on a fast disk, with 4 bytes free per pixel.
        rules: Everything that decides how samples are read, such as the dataset's configuration; part of the key.

    Raises:
        ResourceError: The file cannot be opened.
    """

    def __init__(self, read: Read, folder: Path, rules: str) -> None:
        self._read = read
        self._rules = rules
        self._path = folder / "pairs.pack"
        self._lock = threading.Lock()
        self._checked: set[bytes] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ResourceError(
                f"cache={folder}: {error.strerror}, expected a folder to write to. Fix: cache=memory, or another folder"
            ) from error
        self._writes = False
        with suppress(OSError):  # a disk without locks
            self._writes = lock(self._file)
        self._records, self._end = _scan(self._file)
        if self._writes:
            os.ftruncate(self._file, self._end)
        logger.info("cache %s holds %d samples, %.1f GB", self._path, len(self._records), self._end / 1e9)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def __call__(self, sample: Sample, reduction: int = 1) -> Pair:
        key = self._key(sample, reduction)
        record = self._records.get(key)
        if record is not None and (kept := self._load(key, record)) is not None:
            return kept
        image, labels = self._read(sample, reduction)
        if self._writes:
            self._append(key, image, labels)
        return image, labels

    def _key(self, sample: Sample, reduction: int) -> bytes:
        """Name a sample by its files as they are now, and by how they are read."""
        known_by = [self._rules, str(reduction)]
        for path in (sample.image, sample.labels):
            try:
                found = os.stat(path)
            except OSError:  # reading it reports the error
                return b""
            known_by.append(f"{os.path.abspath(path)} {found.st_size} {found.st_mtime_ns}")
        return hashlib.blake2b("\n".join(known_by).encode(errors="surrogateescape"), digest_size=16).digest()

    def _load(self, key: bytes, record: _Record) -> Pair | None:
        """Read a record; None where its pixels are not those that were written."""
        pixels = np.empty(record.num_bytes, np.uint8)
        num_read = os.preadv(self._file, [pixels.data], record.offset)
        if key not in self._checked:
            if num_read != pixels.nbytes or zlib.crc32(pixels.data) != record.checksum:
                self._records.pop(key, None)
                return None
            self._checked.add(key)
        first_label = 3 * math.prod(record.image_size)
        return pixels[:first_label].reshape(*record.image_size, 3), pixels[first_label:].reshape(record.labels_size)

    def _append(self, key: bytes, image: np.ndarray, labels: np.ndarray) -> None:
        image, labels = np.ascontiguousarray(image), np.ascontiguousarray(labels)
        checksum = zlib.crc32(labels.data, zlib.crc32(image.data))
        header = _HEADER.pack(_MAGIC, key, *image.shape[:2], *labels.shape, checksum)
        header += struct.pack("<I", zlib.crc32(header))
        size = len(header) + image.nbytes + labels.nbytes
        with self._lock:
            if not self._writes or key in self._records:
                return
            try:
                disk = os.fstatvfs(self._file)
                if disk.f_bavail * disk.f_frsize < _SPARE_BYTES + size:
                    raise OSError(errno.ENOSPC, "less than 1 GB is left on the disk")
                if os.pwritev(self._file, [header, image.data, labels.data], self._end) != size:
                    raise OSError(errno.ENOSPC, "the disk is full")
            except OSError as error:
                self._writes = False
                os.ftruncate(self._file, self._end)
                logger.warning(
                    "cache %s takes no more than its %d samples: %s", self._path, len(self._records), error.strerror
                )
                return
            self._records[key] = _Record(self._end + _HEADER_SIZE, image.shape[:2], labels.shape, checksum)
            self._checked.add(key)
            self._end += size


def available_memory() -> int:
    """Bytes of memory that this process may still take: of the machine's, and of its control group's."""
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        available = min(available, limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):  # no such file, or "max"
        pass
    return max(0, available)


def _scan(file: int) -> tuple[dict[bytes, _Record], int]:
    """Walk from record to record; return them, and the end of the last complete one."""
    records: dict[bytes, _Record] = {}
    size, offset = os.fstat(file).st_size, 0
    while True:
        header = os.pread(file, _HEADER_SIZE, offset)
        if len(header) < _HEADER_SIZE or zlib.crc32(header[:-4]) != struct.unpack("<I", header[-4:])[0]:
            return records, offset
        magic, key, *sizes, checksum = _HEADER.unpack(header[:-4])
        record = _Record(offset + _HEADER_SIZE, (sizes[0], sizes[1]), (sizes[2], sizes[3]), checksum)
        following = record.offset + record.num_bytes
        if magic != _MAGIC or following > size:
            return records, offset
        records[key] = record
        offset = following
