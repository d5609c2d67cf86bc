"""The last finished step, saved when an error ends a run."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segtrain.errors import NumericError, SegtrainError, Stopped
from segtrain.memory import out_of_memory
from segtrain.shell import command, override
from segtrain.training.callbacks import Checkpoints

logger = logging.getLogger(__name__)


@contextmanager
def saving_on_error(checkpoints: Checkpoints, run: Path) -> Iterator[None]:
    """Save the state in memory before an error of the training within ends the command, which says how to resume.

    A signal has saved it already. A state of NaN or infinite numbers is never saved: the checkpoints before stay.

    Args:
        checkpoints: Saves it.
        run: The run folder.

    Raises:
        SegtrainError: Of the kind of the error, where it is a user's.
    """
    try:
        yield
    except (Stopped, NumericError):
        raise
    except Exception as error:
        shown = out_of_memory(error) or error
        try:
            note = _note(checkpoints.step, run) if checkpoints.rescue() else ""
        except SegtrainError as second:
            if str(second) == str(shown):
                raise
            logger.warning("the state at step %d cannot be saved: %s", checkpoints.step, second)
            note = ""
        if isinstance(shown, SegtrainError):
            raise type(shown)(_with_note(str(shown), note)) from error
        if note:
            shown.add_note(f"The state {note}")
        raise


def _note(step: int, run: Path) -> str:
    return f"at step {step} is saved; resume with: {command('segtrain', 'train', override('resume', run))}"


def _with_note(message: str, note: str) -> str:
    if not note:
        return message
    if "segtrain train resume=" in message:
        note = note.partition(";")[0]
    return f"{message}; the state {note}"
