"""Save the last finished step when an error ends a run."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from segtrain.errors import NumericError, SegtrainError, Stopped
from segtrain.process.memory import out_of_memory
from segtrain.shell import command, override
from segtrain.training.checkpoints import Checkpoints

logger = logging.getLogger(__name__)


@contextmanager
def saving_on_error(checkpoints: Checkpoints, run: Path) -> Iterator[None]:
    """Save the state in memory before an error raised within ends the command; the message shows how to resume.

    After a signal the state is saved already. A state with NaN or infinite numbers is never saved: earlier checkpoints
    are kept.

    Args:
        checkpoints: Callback that saves the state.
        run: The run folder.

    Raises:
        SegtrainError: The error with a note on how to resume, of the same class.
    """
    try:
        yield
    except (Stopped, NumericError):
        with suppress(SegtrainError):
            checkpoints.wait()
        raise
    except Exception as error:
        shown = out_of_memory(error) or error
        try:
            folder = checkpoints.rescue()
        except SegtrainError as second:
            if str(second) == str(shown):
                raise
            logger.warning("the state at step %d cannot be saved: %s", checkpoints.step, second)
            folder = None
        note = "" if folder is None else _note(checkpoints.step, folder, run)
        if isinstance(shown, SegtrainError):
            raise type(shown)(_with_note(str(shown), note)) from error
        if note:
            shown.add_note(f"The state {note}")
        raise


def _note(step: int, folder: Path, run: Path) -> str:
    resume = command("segtrain", "train", override("resume", run))
    if folder == run / "checkpoints":
        return f"at step {step} is saved; resume with: {resume}"
    (checkpoint,) = folder.glob("step-*")
    move = command("mv", checkpoint, run / "checkpoints")
    return f"at step {step} is saved in {folder}; when there is room, resume with: {move} && {resume}"


def _with_note(message: str, note: str) -> str:
    if not note:
        return message
    if "segtrain train resume=" in message and "mv " not in note:
        note = note.partition(";")[0]
    return f"{message}; the state {note}"
