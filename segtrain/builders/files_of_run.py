"""The files of a run compared with what its newest checkpoint records of them. No TensorFlow here."""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from segtrain.builders.changes import edits_of
from segtrain.config import recorded_config
from segtrain.config.stored import shown
from segtrain.errors import CheckpointError, ConfigError
from segtrain.runs.checkpoint import Checkpoint, find_checkpoints
from segtrain.runs.files import CLASSES, CONFIG, FILES, FOLDERS, irregular, read_file
from segtrain.runs.folder import read_json
from segtrain.runs.history import as_lines, as_table
from segtrain.runs.manifest import MANIFEST

logger = logging.getLogger(__name__)

_MOST_EDITS = 5
_NOT_RECORDED = "its SHA-256 is not recorded"


class Row(NamedTuple):
    """One thing looked at.

    Attributes:
        verdict: "ok"; "note" where a resumed run copes with it; "bad" where it cannot continue.
        name: What it is.
        found: What was seen.
        fix: How to fix what is bad.
    """

    verdict: str
    name: str
    found: str
    fix: str = ""


def warn_of_edits(run: Path, stored: DictConfig) -> None:
    """Log one line where the config of a run is not the one that its newest checkpoint records."""
    found = find_checkpoints(run / "checkpoints")
    if found and (edits := config_edits(run, stored, found[-1])):
        logger.warning(
            "%s was edited: %s, expected what %s records. Fix: undo the edit, unless it is yours",
            *(run / CONFIG, edits, found[-1].path.name),
        )


def config_edits(run: Path, stored: DictConfig, checkpoint: Checkpoint) -> str:
    """Describe in what a run's config is not the one that a checkpoint records; empty where it is, or none is recorded.

    Args:
        run: The run folder.
        stored: Its config, as `stored_config` reads it.
        checkpoint: One of its checkpoints.
    """
    text = checkpoint.metadata.get("config")
    if isinstance(text, str):
        try:
            recorded = recorded_config(text, checkpoint.path / MANIFEST)
        except (CheckpointError, ConfigError) as error:
            return f"the record cannot be read ({str(error).partition('. Fix: ')[0]})"
        if edits := edits_of(recorded, stored):
            more = f", and {len(edits) - _MOST_EDITS} more" if len(edits) > _MOST_EDITS else ""
            return ", ".join(edits[:_MOST_EDITS]) + more
    return "" if _is_recorded(run, CONFIG, checkpoint) in (True, None) else "its bytes differ, its values do not"


def config_row(run: Path, stored: DictConfig, newest: Checkpoint | None, read: str) -> Row:
    """Compare `config.yaml`; `read` is what was read from it."""
    if newest is None:
        return Row("ok", CONFIG, read)
    if edits := config_edits(run, stored, newest):
        return Row("note", CONFIG, f"{read}; differs from {newest.path.name}: {edits}")
    return Row("ok", CONFIG, f"{read}; {_agreement(_is_recorded(run, CONFIG, newest))}")


def classes_row(run: Path, newest: Checkpoint | None) -> Row:
    """Compare `classes.json`."""
    path = run / CLASSES
    try:
        read = f"can be read, {len(read_json(path)['class_names'])} classes"
    except (CheckpointError, KeyError, TypeError) as error:
        if path.exists():
            return Row("note", CLASSES, f"{_first(error)}; written anew at resume")
        return Row("bad", CLASSES, "missing", f"touch {path}: resume writes it")
    if newest is None:
        return Row("ok", CLASSES, read)
    agrees = _is_recorded(run, CLASSES, newest)
    if agrees is False:
        return Row("note", CLASSES, f"{read}; differs from {newest.path.name}, written anew at resume")
    return Row("ok", CLASSES, f"{read}; {_agreement(agrees)}")


def metrics_rows(run: Path, history: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Compare both files of metrics with a checkpoint's history, from which a resumed run writes them anew."""
    for name, encode in (("metrics.jsonl", as_lines), ("metrics.csv", as_table)):
        try:
            data = read_file(run / name)
        except OSError:
            data = b""
        kept, epochs = encode(history), _count(len(history), "epoch")
        if data == kept or (not history and not data):
            yield Row("ok", name, f"{epochs}, as in the newest intact checkpoint")
        elif data.startswith(kept):
            extra = _count(len(data.splitlines()) - len(kept.splitlines()), "line")
            yield Row("note", name, f"{extra} past the newest intact checkpoint, cut off at resume")
        else:
            lines = _count(len(history), "line")
            yield Row("note", name, f"not the history of the newest intact checkpoint ({lines}), written anew")


def other_rows(run: Path) -> Iterator[Row]:
    """Name what must not be written to, and what no manifest records."""
    for path, found, fix in irregular(run):
        yield Row("bad", str(path.relative_to(run)), f"{found}, expected a file or folder of the run's own", fix)
    names = sorted(path.name for path in run.iterdir())
    unrecorded = [name for name in ("train.log", "plots", "tensorboard", "wandb") if name in names]
    strangers = [name for name in names if name not in (*FILES, *FOLDERS)]
    if unrecorded:
        yield Row("ok", "other files", f"{', '.join(unrecorded)}: not recorded, and not read")
    if strangers:
        more = f" and {len(strangers) - 10} more" if len(strangers) > 10 else ""
        yield Row("note", "other files", f"{', '.join(strangers[:10])}{more}: not written by segtrain, and not read")


def _is_recorded(run: Path, name: str, checkpoint: Checkpoint) -> bool | None:
    """Whether a file is the one whose SHA-256 a checkpoint records; None where it records none."""
    files = checkpoint.metadata.get("files")
    recorded = files.get(name) if isinstance(files, dict) else None
    if recorded is None:
        return None
    try:
        return bool(hashlib.sha256(read_file(run / name)).hexdigest() == recorded)
    except OSError:
        return False


def _agreement(agrees: bool | None) -> str:
    return _NOT_RECORDED if agrees is None else "every byte as written"


def _first(error: Exception) -> str:
    return shown(str(error).partition(". Fix: ")[0])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
