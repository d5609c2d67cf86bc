"""Read MATLAB files by scipy in a separate process: a forged file kills that process and is an error here.

scipy's reader ends in segmentation faults on forged files. The pool has one worker, started with `spawn` and limited in
memory and CPU time; it ends with this process, however that ends.
"""

import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from io import BytesIO
from pathlib import Path
from typing import Self

import numpy as np

from segtrain.data.images.contents import read_bytes, shown, what_it_is
from segtrain.errors import DataError, ResourceError

# SBD's label files have 3 kB.
MAX_BYTES = 256 * 2**20
SECONDS_A_FILE = 10
# Memory beyond what the imports took. Deflate shrinks by 1032 at most, so that what a file can rightly claim follows
# from its length; scipy may hold it four times over.
_MEMORY, _MOST_MEMORY, _MEMORY_A_BYTE = 1 << 26, 1 << 29, 4 * 1032
_PROBLEMS_OF_WORKER = (BrokenProcessPool, MemoryError)


class MatReader:
    """Reads one file after the other in a worker process; use it in a `with` statement."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def read(self, path: Path, name: str) -> np.ndarray:
        """Read one array of numbers.

        Args:
            path: A MATLAB 5 file, compressed or not.
            name: The variable, and after dots the fields of structs: "colormap", "GTcls.Segmentation".

        Returns:
            The array in its stored type.

        Raises:
            DataError: The file is of another version, damaged, or has no such array of numbers.
            ResourceError: The worker cannot be started.
        """
        data = read_bytes(path, most=MAX_BYTES)
        _require_version_5(data, path)
        try:
            found = self._find(data, name)
        except _PROBLEMS_OF_WORKER:
            self._stop()
            # The worker may have died before it saw this file: only a file that kills a new one too is refused.
            try:
                found = self._find(data, name)
            except _PROBLEMS_OF_WORKER as error:
                self._stop()
                raise DataError(_unfit(path, "its reader died", name)) from error
        if isinstance(found, str):
            raise DataError(_unfit(path, found, name))
        return found

    def _find(self, data: bytes, name: str) -> np.ndarray | str:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _prepare_worker)
        try:
            future = self._pool.submit(_find_within_limits, data, name)
        except OSError as error:
            raise ResourceError(
                f"cannot start a process to read .mat files: {error.strerror}. Fix: ulimit -u unlimited"
            ) from error
        return future.result()

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def read_mats(paths: Iterable[Path], name: str = "GTcls.Segmentation") -> Iterator[np.ndarray]:
    """Read the same array of many files, in order, in one worker process.

    Args:
        paths: MATLAB 5 files.
        name: See `MatReader.read`; the default is where SBD has its class ids, (H, W) uint8.

    Raises:
        DataError: See `MatReader.read`.
    """
    with MatReader() as reader:
        for path in paths:
            yield reader.read(path, name)


def _prepare_worker() -> None:
    import scipy.io  # noqa: F401  before memory is limited

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _find_within_limits(data: bytes, name: str) -> np.ndarray | str:
    """Find an array in a file, or describe what was seen instead; runs in the worker."""
    times = os.times()
    memory = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _limit(resource.RLIMIT_CPU, int(times.user + times.system) + SECONDS_A_FILE)
    _limit(resource.RLIMIT_AS, memory + min(_MEMORY + _MEMORY_A_BYTE * len(data), _MOST_MEMORY))
    try:
        return _find(data, name)
    except Exception as error:  # scipy raises many types on a damaged file
        return f"unreadable, {type(error).__name__}: {' '.join(str(error).split())[:120]}"
    finally:
        _limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)  # the next file must be received


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    known = [limit for limit in (most, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(kind, (min(known, default=resource.RLIM_INFINITY), hard))


def _find(data: bytes, name: str) -> np.ndarray | str:
    from scipy.io import loadmat

    first, *fields = name.split(".")
    value = loadmat(BytesIO(data), variable_names=[first]).get(first)
    for field in fields:
        if not isinstance(value, np.ndarray) or value.size != 1 or field not in (value.dtype.names or ()):
            return "no such variable"
        value = value[field].flat[0]
    if value is None:
        return "no such variable"
    if type(value) is not np.ndarray or value.dtype.kind not in "biuf":
        return f"'{name}' of the kind {getattr(value, 'dtype', type(value).__name__)}"
    return np.ascontiguousarray(value, value.dtype.newbyteorder("<"))


def _require_version_5(data: bytes, path: Path) -> None:
    """Refuse what scipy would read otherwise, or not at all, by the version in the header."""
    version = data[124:128]
    if data.startswith((b"MATLAB 7.3", b"\x89HDF")) or version in (b"\0\2IM", b"\2\0MI"):
        seen = "a MATLAB 7.3 file (HDF5)"
    elif version == b"\1\0MI":
        seen = "a big-endian MATLAB 5 file"
    elif any(data) and len(data) >= 20 and 0 in data[:4] and int.from_bytes(data[:4], "little") < 5000:
        seen = "a MATLAB 4 file"
    elif version == b"\0\1IM":
        return
    else:
        seen = f"{what_it_is(data)}, no MATLAB file" if not data.startswith(b"MATLAB") else "a damaged header"
    raise DataError(
        f"cannot read {shown(path)}: {seen}, expected MATLAB 5 (little-endian). Fix: restore the dataset's own file, "
        f"or save it again with -v7"
    )


def _unfit(path: Path, seen: str, name: str) -> str:
    return (
        f"cannot read {shown(path)}: {seen}, expected '{name}', an array of numbers. Fix: restore the dataset's own "
        f"file"
    )
