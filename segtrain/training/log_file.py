"""The package's log, copied into a run's `train.log`."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from segtrain.storage import disk_error, writing


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Copy the package's log to a file while the context is open.

    Raises:
        ResourceError: The file cannot be opened.
    """
    with writing(path):
        handler = _LogFile(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger("segtrain").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("segtrain").removeHandler(handler)
        handler.close()


@final
class _LogFile(logging.Handler):
    """Append lines to a file. The first one that cannot be written is reported on stderr, and the run continues."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._failed = False
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o644)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        line = f"{self.format(record)}\n".encode(errors="backslashreplace")
        try:
            os.write(self._file, line)
        except OSError as error:
            if not self._failed:
                self._failed = True
                print(f"warning: {disk_error(self._path, error, len(line))}", file=sys.stderr)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        super().close()
