"""What a user can mend. Anything else is a bug and keeps its traceback.

SegtrainError                  exit code
├── ConfigError                2   a key, a value or an option of the configuration
├── DataError                  3   an image, a label file, a split or a dataset's layout
├── CheckpointError            4   a run folder, a checkpoint or a file of weights
├── ResourceError              5   disk, memory, permission
├── NumericError               7   NaN or infinity while training
└── Stopped                128+n   signal n has ended a training, which can be resumed

A message says what happened, where (file or key), what was seen, what was expected, and ends with the mend:
`<what> in <file or key>: <seen>, expected <expected>. Fix: <one command or edit>`.
"""

import re
from typing import Self


class SegtrainError(Exception):
    """An error that its reader can mend; the command prints its message alone, without a traceback."""

    exit_code = 1

    def rekeyed(self, key: str, now: str) -> Self:
        """The same error with the keys below `key` in its text below `now` instead.

        A part knows the key of its node only as where it mostly stands: a dataset within another says `dataset.root`
        where its reader must look for `dataset.datasets.cihp.root`. What stands below `now` already stays.
        """
        old = rf"(?<![\w./-])(?!{re.escape(now)}\b){re.escape(key)}(?=[.:=])"
        return type(self)(re.sub(old, now, str(self)))


class ConfigError(SegtrainError):
    """A key, a value or an option of the configuration is wrong."""

    exit_code = 2


class DataError(SegtrainError):
    """An image, a label file, a split or the layout of a dataset is wrong."""

    exit_code = 3


class CheckpointError(SegtrainError):
    """A run folder, a checkpoint or a file of weights is missing, damaged or of another network."""

    exit_code = 4


class ResourceError(SegtrainError):
    """Disk, memory or permission is lacking."""

    exit_code = 5


class NumericError(SegtrainError):
    """The loss or a weight became NaN or infinite."""

    exit_code = 7


class Stopped(SegtrainError):
    """A signal has asked a training to end, and it has saved itself.

    Args:
        message: How to go on.
        exit_code: What a shell gives the signal: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code
