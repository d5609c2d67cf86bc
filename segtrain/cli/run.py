"""One command's flags and overrides, given to Hydra: a single run, a sweep or a study."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from segtrain.cli import sweeps
from segtrain.cli.arguments import config_dir_flag, rewrite, split_flags
from segtrain.cli.job import Job
from segtrain.errors import ConfigError
from segtrain.shell import override
from segtrain.terminal import printable

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Flags that make Hydra print something instead of running a job, which it refuses together with --multirun.
LOOKS = ("--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc")


def run(command: str, words: Sequence[str]) -> int:
    """Give one command's flags and overrides to Hydra.

    Returns:
        0, or the exit code of the first job of a sweep that failed.

    Raises:
        SegtrainError: The command line or the config is wrong.
    """
    import hydra

    from segtrain import config
    from segtrain.cli import spelling
    from segtrain.config import hydra_errors as composition

    if command == "runs":
        words = ["json=true" if word == "--json" else word for word in words]
    options = config.options(config_dir_flag(words)[1:])
    spelling.refuse_misspelled(command, words, options)
    flags, overrides = split_flags(words)
    overrides = rewrite(command, overrides)
    composition.refuse_impossible(command, overrides, options)
    looks = any(flag in flags for flag in LOOKS)
    if any(word.startswith("+sweep=") for word in overrides) and not looks:
        flags.append("--multirun")
    for folder in config_dir_flag(flags)[1:]:
        config.refuse_clashes(folder)
    if {"--help", "-h"} & set(flags):
        # Hydra's own --help prints this template too, but first lists every group for it: 0.3 s more.
        flags = [*config_dir_flag(flags), "--cfg", "all", "--package", "hydra.help.template"]
    config.set_up()
    call = hydra.main(version_base="1.3", config_path=config.config_dir(), config_name=command)(Job(command))
    is_sweep = bool({"--multirun", "-m"} & {*flags}) or "hydra.mode=MULTIRUN" in overrides
    is_study = is_sweep and command == "train" and bool({"+sweep=optuna", "hydra/sweeper=optuna"} & {*overrides})
    try:
        if is_study:
            search, overrides = _read_study(flags, overrides)
        elif is_sweep:
            return _sweep(call, command, flags, overrides)
        else:
            with _as_hydra_reads(flags, overrides):
                call()
    except composition.COMPOSITION_ERRORS as error:
        raise composition.explain(error, command, overrides, config.groups()) from error
    return _run_study(search, overrides) if is_study else 0


def _sweep(call: Callable[[], Any], command: str, flags: Sequence[str], overrides: Sequence[str]) -> int:
    """Let Hydra run the jobs of a sweep, and print the result of each.

    Returns:
        0, or the exit code of the first job that failed.
    """
    with sweeps.sweep_folder(command, overrides) as folder:
        # Made absolute: a job may run in another folder, and Hydra would take `${}` in a name for its own.
        words = [*overrides, override("hydra.sweep.dir", folder.absolute())]
        try:
            with _as_hydra_reads(flags, words), sweeps.passing_on_signals(folder):
                call()
        except Exception as error:
            found = sweeps.jobs(folder)
            if not sweeps.exit_code(found):
                raise
            if str(error) not in [job.error for job in found]:  # not a job's, which has reported it: the launcher's
                first = printable(str(error).strip().splitlines()[0])
                print(f"error: {type(error).__name__}: {first}", file=sys.stderr)
        finally:
            if found := sweeps.jobs(folder):
                sweeps.write_table(folder, found, overrides)
                print("\n".join(map(printable, sweeps.table(found, overrides).split("\n"))), end="")
        return sweeps.exit_code(found)


def _read_study(flags: Sequence[str], overrides: Sequence[str]) -> Any:
    """Read what `sweep=optuna` is to search; see `study.read_search`.

    Raises:
        ConfigError: Optuna is not installed, or the search space is wrong.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig

    from segtrain import config

    try:
        from segtrain.cli import study
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise ConfigError("sweep=optuna: Optuna is not installed. Fix: pip install 'segtrain-keras[sweep]'") from error
    flags = [flag for flag in flags if flag not in ("-m", "--multirun")]

    def compose(words: Sequence[str]) -> tuple["DictConfig", "DictConfig"]:
        found: list[Any] = []

        def keep(cfg: "DictConfig") -> None:
            found.append((cfg, HydraConfig.get().sweeper))

        with _as_hydra_reads(flags, words):
            hydra.main(version_base="1.3", config_path=config.config_dir(), config_name="train")(keep)()
        return found[0]

    return study.read_search(compose, flags, overrides)


def _run_study(search: Any, overrides: Sequence[str]) -> int:
    """Run the trials of a study, and print what became of each.

    Returns:
        0, or the exit code of the first trial that failed.
    """
    from segtrain.cli.study_worker import Worker

    with sweeps.sweep_folder("train", overrides) as folder:
        worker = Worker(folder, search)
        try:
            worker.run()
        finally:
            if found := sweeps.jobs(folder):
                given = [*overrides, *search.given]
                sweeps.write_table(folder, found, given)
                shown = sweeps.table(found, given, search.settings["direction"] == "minimize") + worker.summary()
                print("\n".join(map(printable, shown.split("\n"))), end="", flush=True)
        return sweeps.exit_code(found)


@contextlib.contextmanager
def _as_hydra_reads(flags: Sequence[str], overrides: Sequence[str]) -> Iterator[None]:
    """Set what Hydra reads from the process: its arguments, and to raise errors to us instead of printing."""
    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [argv[0], *flags, *overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = argv
        del os.environ["HYDRA_FULL_ERROR"]
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error
