"""`sweep=optuna`: Optuna chooses the values of each trial. What is searched, and where the study is kept.

The study is a journal in the folder of the sweep; see `study_worker` for how its trials are run.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from omegaconf import OmegaConf
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial

from segtrain import shell
from segtrain.cli.search_space import Space, first_value, overrides, split_space
from segtrain.errors import ConfigError
from segtrain.runs import folder as runs
from segtrain.storage import lock

JOURNAL = "study.journal"
NAME = "sweep"
_OF_SWEEP = ("+sweep=", "hydra.sweep", "hydra/sweeper", "hydra/launcher", "hydra.launcher", "hydra.mode=", "resume=")
_SECONDS_TO_SAVE = 60


class Search(NamedTuple):
    """Settings of a study: its search space and fixed overrides.

    Attributes:
        space: Distribution of each key.
        given: Overrides of every trial.
        flags: Flags of every trial.
        settings: Contents of configs/hydra/sweeper/optuna.yaml, and the command's `words`.
        name: The config's `name`.
        monitor: The config's `monitor`.
    """

    space: Space
    given: list[str]
    flags: list[str]
    settings: Mapping[str, Any]
    name: str
    monitor: str


def read_search(
    compose: Callable[[Sequence[str]], tuple[Any, Any]], flags: Sequence[str], words: Sequence[str]
) -> tuple[Search, list[str]]:
    """Read a command line as a search.

    Args:
        compose: Composes a config from overrides; returns it and the sweeper's settings.
        flags: Of the command line.
        words: Its overrides.

    Returns:
        The search, and the overrides with the folder to resume where they have `resume=auto`.

    Raises:
        ConfigError: There is nothing to search, or the config is wrong.
    """
    space, others = split_space([word for word in words if word != "hydra.mode=MULTIRUN"])
    composed = [word for word in others if not word.startswith("resume=")]
    _, settings = compose(composed)
    in_yaml, _ = split_space([f"{key}={value}" for key, value in settings.params.items()])
    space = {**in_yaml, **space}
    if not space:
        raise ConfigError(
            "sweep=optuna: no key to search, expected at least one. Fix: segtrain train sweep=optuna "
            "'optimizer.learning_rate=tag(log,interval(1e-4,1e-2))'"
        )
    # Once more with values of the space: a wrong key is reported before the first trial.
    cfg, _ = compose([*composed, *overrides({key: first_value(each) for key, each in space.items()})])
    given = [word for word in composed if not word.startswith(_OF_SWEEP)]
    plain: Any = OmegaConf.to_container(settings, resolve=True)
    search = Search(space, given, list(flags), {**plain, "words": list(words)}, cfg.name, cfg.monitor)
    found = find_unfinished(given, plain["n_trials"]) if "resume=auto" in others else None
    return search, [*words, *([] if found is None else [shell.override("hydra.sweep.dir", found)])]


def find_unfinished(given: Sequence[str], num_trials: int) -> Path | None:
    """Return the folder of the newest study of these overrides that has trials left, for `resume=auto`."""
    for path in sorted((runs.RUNS / "sweeps").glob(f"*/{JOURNAL}"), reverse=True):
        study = optuna.load_study(study_name=NAME, storage=open_storage(path))
        known = study.get_trials(deepcopy=False)
        is_open = any(not each.state.is_finished() for each in known) or num_drawn(known) < num_trials
        if study.user_attrs.get("given") == list(given) and is_open:
            return path.parent
    return None


class _JournalLock:
    """The journal's lock: released by the death of its process, where Optuna's own would stay for half a minute."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def acquire(self) -> bool:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        lock(file, wait=True)
        self._file = file
        return True

    def release(self) -> None:
        os.close(self._file)


def open_storage(path: Path) -> JournalStorage:
    """Open the journal of a study."""
    return JournalStorage(JournalFileBackend(str(path), lock_obj=_JournalLock(path)))


def num_drawn(known: Sequence[FrozenTrial]) -> int:
    """Count the trials, those that were asked for again once."""
    return sum("retry_of" not in each.user_attrs for each in known)


def make_part(module: Any, options: Mapping[str, Any]) -> Any:
    """Make a sampler or a pruner of Optuna's."""
    given = dict(options)
    name = given.pop("name")
    try:
        return getattr(module, name)(**given)
    except (AttributeError, TypeError, ValueError, ImportError) as error:
        group = module.__name__.rpartition(".")[2].rstrip("s")
        seen = " ".join(str(error).split())
        raise ConfigError(
            f"hydra.sweeper.{group}: {name}: {seen}. Fix: hydra/sweeper/{group}={_PARTS[group]}"
        ) from error


_PARTS = {"sampler": "tpe", "pruner": "median"}
