"""Errors that a user can fix. Anything else is a bug and keeps its traceback.

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

from collections.abc import Iterator
from contextlib import contextmanager

_SLOT = "\ue000"  # before the name of an argument in a message: where the path of a config's node belongs


def argument(name: str) -> str:
    """Name a part's own argument in a message. `build` puts the key of the part's node before it.

    Example:
        >>> error = ConfigError(f"{argument('depth')}=7: expected 18")
        >>> print(error)
        depth=7: expected 18
        >>> error.locate("backbone")
        >>> print(error)
        backbone.depth=7: expected 18
    """
    return f"{_SLOT}{name}"


def located(message: str, path: str) -> str:
    """Put the key of a config's node before the arguments that a message names; without `path`, their names remain."""
    return message.replace(_SLOT, f"{path}." if path else "")


class SegtrainError(Exception):
    """An error that its reader can fix; the command prints its message alone, without a traceback."""

    exit_code = 1

    def __str__(self) -> str:
        return located(self.message, "")

    @property
    def message(self) -> str:
        """The text, in which a path can still be put before the arguments that it names."""
        return super().__str__()

    def locate(self, path: str) -> None:
        """Put the key of the node of the part that raised this before the arguments that it names."""
        self.args = (located(self.message, path),)

    def locate_node(self, path: str) -> None:
        """Put the key of a part's node before the arguments that it names; before a text that begins otherwise."""
        if isinstance(self, ConfigError) and not self.message.startswith(_SLOT):
            self.args = (f"{path}: {self.message}",)
        self.locate(path)


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Put the key of a config's node before the arguments that an error raised within names."""
    try:
        yield
    except SegtrainError as error:
        error.locate(path)
        raise


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
