"""MATLAB files, read by scipy in a child process: a forged file kills that process and is an error here."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from segtrain.data.contents import read_bytes, shown, what_it_is
from segtrain.errors import DataError, ResourceError

# SBD's label files have 3 kB, colour tables less.
MAX_BYTES = 256 * 2**20
SECONDS_A_FILE = 10
# The first answer waits for the import of scipy too.
_SECONDS_TO_START = 60
_CHILD = Path(__file__).with_name("mat_child.py")


class MatReader:
    """A child process that reads one file after the other; use it in a `with` statement.

    The child gets the bytes and opens no file itself. Its memory is bound by the size of the file, its time
    by `SECONDS_A_FILE`.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
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
            ResourceError: The child cannot be started.
        """
        data = read_bytes(path, most=MAX_BYTES)
        _require_version_5(data, path)
        try:
            answer, body = self._ask(data, name)
        except (OSError, ValueError) as error:
            self._stop()
            raise DataError(_unfit(path, str(error) or "its reader died", name)) from error
        if "fault" in answer:
            raise DataError(_unfit(path, answer["fault"], name))
        return np.frombuffer(body, np.dtype(answer["dtype"])).reshape(answer["shape"])

    def _ask(self, data: bytes, name: str) -> tuple[dict[str, Any], bytes]:
        """Send a file to the child and read its answer."""
        patience = SECONDS_A_FILE + 5
        if self._child is None:
            self._child, patience = _start(), _SECONDS_TO_START
        requests, answers = self._child.stdin, self._child.stdout
        if requests is None or answers is None:
            raise ValueError("a child without pipes")
        head = json.dumps({"name": name, "length": len(data), "seconds": SECONDS_A_FILE})
        requests.write(head.encode() + b"\n" + data)
        deadline = time.monotonic() + patience
        received = b""
        while b"\n" not in received:
            received += _read_some(answers.fileno(), deadline)
        line, body = received.split(b"\n", 1)
        answer = json.loads(line)
        parts = [body]
        missing = _num_bytes(answer) - len(body)
        while missing > 0:
            parts.append(_read_some(answers.fileno(), deadline))
            missing -= len(parts[-1])
        return answer, b"".join(parts)

    def _stop(self) -> None:
        if self._child is not None:
            # The child's worker is a process of its own: both are of one session.
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.communicate()
            self._child = None


def read_mats(paths: Iterable[Path], name: str = "GTcls.Segmentation") -> Iterator[np.ndarray]:
    """Read the same array of many files, in order, in one child process.

    Args:
        paths: MATLAB 5 files.
        name: See `MatReader.read`; the default is where SBD has its class ids, (H, W) uint8.

    Raises:
        DataError: See `MatReader.read`.
    """
    with MatReader() as reader:
        for path in paths:
            yield reader.read(path, name)


def _start() -> subprocess.Popen[bytes]:
    # One thread: a thread pool would not live through the child's fork.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        return subprocess.Popen(
            [sys.executable, "-I", str(_CHILD)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
        )
    except OSError as error:
        raise ResourceError(f"cannot start {sys.executable} to read .mat files: {error.strerror}") from error


def _read_some(file: int, deadline: float) -> bytes:
    poll = select.poll()
    poll.register(file, select.POLLIN)
    if not poll.poll(max(0, deadline - time.monotonic()) * 1000):
        raise ValueError("its reader takes too long")
    data = os.read(file, 1 << 20)
    if not data:
        raise ValueError("its reader died")
    return data


def _num_bytes(answer: dict[str, Any]) -> int:
    if "fault" in answer:
        return 0
    count = int(np.prod(answer["shape"], dtype=np.int64)) * np.dtype(answer["dtype"]).itemsize
    if not 0 <= count <= MAX_BYTES * 8:
        raise ValueError(f"an array {answer['shape']}")
    return count


def _require_version_5(data: bytes, path: Path) -> None:
    """Refuse what scipy would read otherwise, or not at all, by the version that the header tells."""
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
