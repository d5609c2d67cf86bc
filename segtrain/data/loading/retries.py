"""Retry failed reads: a file server may be back, or a file complete, a moment later."""

import logging
import time

from segtrain.data.images.sample import Sample
from segtrain.data.loading.crops import Pair, Read
from segtrain.errors import DataError

logger = logging.getLogger(__name__)

# Before each further try, in seconds, where the system has failed; damaged data is read again at once.
PAUSES = (0.1, 0.5, 2.0)


def retrying(read: Read) -> Read:
    """Wrap a reader: it gets three more tries; an error of the system becomes a DataError that names the file.

    Args:
        read: As `Dataset.read`.
    """

    def read_again(sample: Sample, reduction: int = 1) -> Pair:
        for number, pause in enumerate(PAUSES, start=1):
            try:
                return read(sample, reduction)
            except MemoryError:
                raise
            except Exception as error:
                system = _system_error(error)
                if system is not None:
                    time.sleep(pause)
                logger.warning("read %d of %d failed: %s", number, 1 + len(PAUSES), error)
        try:
            return read(sample, reduction)
        except OSError as error:
            raise _unreadable(sample, error) from error

    return read_again


def _system_error(error: BaseException | None) -> OSError | None:
    """Find the error of the system that another one was raised for."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    return error


def _unreadable(sample: Sample, error: OSError) -> DataError:
    names = error.filename or f"{sample.image} with {sample.labels}"
    return DataError(
        f"cannot read {names}: {error.strerror or error} ({1 + len(PAUSES)} tries). Fix: restore the file or the server"
    )
