"""`segtrain verify`: rebuild the scores of an evaluation from its predictions and the label files."""

from pathlib import Path

from omegaconf import DictConfig

from segtrain.errors import DataError
from segtrain.report.verification import compare
from segtrain.runs.folder import newest_evaluation
from segtrain.terminal import printable

_SHOWN = 10


def verify(cfg: DictConfig) -> None:
    """Print how many scores agree.

    Raises:
        DataError: A score differs, or a file is missing.
    """
    folder = newest_evaluation() if cfg.eval is None else Path(cfg.eval).expanduser()
    try:
        num_images, number, differing = compare(folder)
    except (KeyError, TypeError, IndexError, ValueError) as error:  # files of another version, or edited ones
        raise DataError(
            f"cannot verify {printable(folder)}: its files lack or misspell {printable(error)}, expected those that "
            f"segtrain eval writes. Fix: segtrain eval"
        ) from error
    if differing:
        for each in differing[:_SHOWN]:
            print(f"{printable(each.where)}: stored {each.stored}, rebuilt {each.rebuilt}")
        raise DataError(
            f"{printable(folder)}: {len(differing)} of {number} scores differ from those of the files, expected none. "
            f"Fix: segtrain eval, if label files or predictions have changed since"
        )
    print(f"{number} scores of {num_images} images in {printable(folder)} agree with predictions and label files")
