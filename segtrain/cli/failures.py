"""Errors as the command line reports them: one line for what a user can fix, and an exit code."""

import errno
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from segtrain.errors import ConfigError, ResourceError, SegtrainError, Stopped
from segtrain.process import trials
from segtrain.process.memory import out_of_memory
from segtrain.storage import disk_error, named
from segtrain.terminal import printable_lines

if TYPE_CHECKING:
    pass

BUG, INTERRUPTED, BROKEN_PIPE = 1, 130, 141  # the last two are what a shell reports for SIGINT and SIGPIPE
NOT_WRITTEN = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def wants_trace() -> bool:
    """Hydra's own switch: the user wants the traceback of what is else one line."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1"


def report_error(error: Exception, trace: bool, texts: Mapping[str, str] = MappingProxyType({})) -> int:
    """Print one line for what a user can fix, a traceback for a bug. Returns the exit code."""
    if isinstance(error, BrokenPipeError):
        # `segtrain ... | head`: nobody reads on; nor must the interpreter's last flush complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    shown = error
    if not isinstance(error, SegtrainError):
        shown = out_of_memory(error) or error
    if isinstance(shown, OSError):
        shown = _of_system(shown, texts)
    if trace or not isinstance(shown, SegtrainError):
        traceback.print_exception(error)
    if not isinstance(shown, SegtrainError):
        return BUG
    text = printable_lines(shown)
    trials.report(error=text)
    print(text if isinstance(shown, Stopped) else f"error: {text}", file=sys.stderr)
    return shown.exit_code


def _of_system(error: OSError, texts: Mapping[str, str]) -> SegtrainError:
    """Make one line of an error of the system that no part has described.

    Args:
        error: The error.
        texts: Overrides by key.
    """
    if error.errno in NOT_WRITTEN:
        return disk_error(error.filename or Path.cwd(), error)
    where = named(error.filename) if error.filename else "a file or service"
    if error.errno != errno.ENAMETOOLONG:
        return ResourceError(f"{where}: {error.strerror or error}. Fix: check that it exists and its permissions")
    keys = [key for key, text in texts.items() if len(text) > 200 and text.rstrip("/") in str(error.filename)]
    return ConfigError(
        f"{f'{keys[0]}=' if keys else ''}{where}: {error.strerror}. Fix: {f'give {keys[0]}' if keys else 'choose'} a "
        f"shorter path"
    )
