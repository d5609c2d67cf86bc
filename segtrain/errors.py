"""Errors that a user can fix. All other exceptions are bugs and keep their traceback.

SegtrainError                  exit code
├── ConfigError                2   a key, a value or an option of the configuration
├── DataError                  3   an image, a label file, a split or a dataset's layout
├── CheckpointError            4   a run folder, a checkpoint or a file of weights
├── ResourceError              5   disk, memory, permission
├── NumericError               7   NaN or infinity while training
└── Stopped                128+n   signal n has stopped a training run, which can be resumed

A message has the form `<problem> in <file or key>: <found>, expected <expected>. Fix: <one command or edit>`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

_SLOT = "\ue000"  # placeholder before an argument's name in a message, replaced by the path of its config node


def argument(name: str) -> str:
    """Format the name of a part's argument for a message; `build` prepends the key of the part's config node.

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
    """Prepend the key of a config node to the argument names in a message; an empty `path` leaves the bare names."""
    return message.replace(_SLOT, f"{path}." if path else "")


class SegtrainError(Exception):
    """An error that a user can fix; commands print its message without a traceback."""

    exit_code = 1

    def __str__(self) -> str:
        return located(self.message, "")

    @property
    def message(self) -> str:
        """The message with placeholders for the path of the config node."""
        return super().__str__()

    def locate(self, path: str) -> None:
        """Prepend the key of the raising part's config node to the argument names in the message."""
        self.args = (located(self.message, path),)

    def locate_node(self, path: str) -> None:
        """Like `locate`, but also prepend the key to a message that does not begin with an argument name."""
        if isinstance(self, ConfigError) and not self.message.startswith(_SLOT):
            self.args = (f"{path}: {self.message}",)
        self.locate(path)


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Prepend the key of a config node to the argument names in errors raised within the context."""
    try:
        yield
    except SegtrainError as error:
        error.locate(path)
        raise


class ConfigError(SegtrainError):
    """Invalid key, value or option of the configuration."""

    exit_code = 2


class DataError(SegtrainError):
    """Invalid image, label file, split or dataset layout."""

    exit_code = 3


class CheckpointError(SegtrainError):
    """Missing, damaged or incompatible run folder, checkpoint or weights file."""

    exit_code = 4


class ResourceError(SegtrainError):
    """Insufficient disk space, memory or permissions."""

    exit_code = 5


class NumericError(SegtrainError):
    """The loss or a weight became NaN or infinite."""

    exit_code = 7


class Stopped(SegtrainError):
    """A signal stopped the training run after it saved a checkpoint.

    Args:
        message: How to resume the run.
        exit_code: 128 plus the signal's number: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code
