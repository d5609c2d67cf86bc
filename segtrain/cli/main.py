"""The `segtrain` command: its first word chooses the primary config, Hydra does the rest.

Nothing here imports TensorFlow, and nothing but a command's own run imports Hydra: help answers at once.
"""

import atexit
import contextlib
import errno
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from segtrain import __version__
from segtrain.cli import sweeps
from segtrain.cli.arguments import config_dir_flag, rewrite, split_flags
from segtrain.errors import ConfigError, DataError, ResourceError, SegtrainError, Stopped, naming
from segtrain.process import guard, trials, working_folder
from segtrain.process.memory import out_of_memory
from segtrain.process.quiet import quiet_tensorflow
from segtrain.process.threads import left_running
from segtrain.shell import override
from segtrain.storage import disk_error, named
from segtrain.suggest import did_you_mean
from segtrain.terminal import printable, printable_lines

if TYPE_CHECKING:
    from omegaconf import DictConfig

COMMANDS = {  # command: function of segtrain.commands.<command>, and what --help says
    "download": ("download", "fetch a public dataset, verify and unpack it"),
    "check": ("check", "read every file of a dataset; say what is wrong and how to mend it"),
    "browse": ("browse", "show images and labels, before and after augmentation"),
    "train": ("train", "train one network and leave a run folder under runs/train"),
    "doctor": ("doctor", "examine a run's checkpoints; say what resume would do"),
    "eval": ("evaluate", "score a run on a split and draw overlays"),
    "summary": ("summary", "print the network of a config: taps, parameters, multiply-adds"),
    "prepare": ("prepare", "make SBD's labels ready for training on Pascal VOC, once"),
    "compare": ("compare", "print what two experiments do differently"),
    "bench": ("bench", "measure how fast training batches come"),
}
USAGE = f"""segtrain {__version__}: train semantic segmentation networks from a folder of YAML.

usage: segtrain COMMAND [key=value ...] [flags]

commands
{chr(10).join(f"  {name:<12}{meaning}" for name, (_, meaning) in COMMANDS.items())}
  completion  print a script that completes commands, options and keys: bash or zsh

segtrain COMMAND --help lists its options and keys; segtrain COMMAND --cfg job prints the whole config.

examples
  segtrain train +experiment=people
  segtrain eval
  segtrain summary +experiment=people backbone=resnet50
  segtrain compare keras_io_2021 cihp
"""
BUG, INTERRUPTED, BROKEN_PIPE = 1, 130, 141  # the last two are what a shell reports for SIGINT and SIGPIPE
# Flags that make Hydra print something instead of running a job, which it refuses beside --multirun.
LOOKS = ("--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc")
NOT_WRITTEN = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        argv: The words after `segtrain`; the process's own by default.

    Returns:
        The exit code: 0, 1 for a bug, 130 for Ctrl-C, else that of the error's class.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None and guard.is_limited():
        return guard.guarded(lambda: _exit_code(words))
    code = _exit_code(words)
    if hung := left_running():
        # A thread that comes back from a library while the interpreter finalizes would abort the process.
        print(f"reads that hang are abandoned: {', '.join(hung)}", file=sys.stderr)
        atexit.register(_leave, code)
    return code


def _leave(code: int) -> None:
    if left_running():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _exit_code(words: list[str]) -> int:
    working_folder.take_off_path()
    try:
        with working_folder.kept_off_children():
            code = _dispatch(words)
        sys.stdout.flush()
        return code
    except (SegtrainError, OSError, MemoryError) as error:
        return _report(error, _wants_trace(), dict(word.split("=", 1) for word in words if "=" in word))
    except SystemExit as exit:  # Hydra's --help, and a job that has failed
        return exit.code if isinstance(exit.code, int) else 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _dispatch(words: list[str]) -> int:
    command, rest = (words[0], words[1:]) if words else ("--help", [])
    if command in ("--help", "-h", "help"):
        print(USAGE, end="")
        return 0
    if command == "--version" or "--version" in rest:
        print(f"segtrain {__version__}")
        return 0
    if command == "completion":
        from segtrain.cli import completion

        return completion.main(rest)
    if command not in COMMANDS:
        known = [*COMMANDS, "completion"]
        near = did_you_mean(command, known)
        raise ConfigError(f"no command {command!r}{near or ';'} commands: {', '.join(known)}")
    return run(command, rest)


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
    """Let Hydra run the jobs of a sweep, and tell what became of each.

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


class Job:
    """What Hydra calls for each job: one run of the command, whose errors it reports itself."""

    def __init__(self, command: str) -> None:
        self.command = command
        self._process = os.getpid()
        self._folder = working_folder.current()  # a launcher may start the job in another
        self._wants_trace = _wants_trace()

    def __call__(self, cfg: "DictConfig") -> Any:
        """Run the command; a sweeper gets what it returns."""
        if _in_sweep():
            return self._in_sweep(cfg)
        try:
            value = self._run(cfg)
            trials.report(value=value)
            return value
        except Exception as error:
            sys.exit(_report(error, self._wants_trace))

    def _in_sweep(self, cfg: "DictConfig") -> Any:
        from hydra.core.hydra_config import HydraConfig

        own = HydraConfig.get()
        if self.command == "train":
            cfg.name = f"{cfg.name}_{own.job.num}"  # the run folder tells which job it is of
        score = f"best {cfg.monitor}" if self.command == "train" else None
        recorder = sweeps.Recorder(Path(own.runtime.output_dir), own.job.num, own.overrides.task, score)
        try:
            value = self._run(cfg)
            recorder.succeed(value)
            return value
        except (KeyboardInterrupt, SystemExit) as error:
            code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else INTERRUPTED
            recorder.fail("interrupted", code)
            raise
        except Exception as error:
            code = _report(error, self._wants_trace)
            recorder.fail(str(error) or type(error).__name__, code)
            if isinstance(error, Stopped) and os.getpid() == self._process:
                sys.exit(code)  # whoever stops a sweep does not want its next job
            raise  # this job has failed; Hydra goes on to the next
        finally:
            sys.stdout.flush()  # a launcher's process may end without

    def _run(self, cfg: "DictConfig") -> Any:
        from segtrain import config

        config.set_up()  # once more, for a launcher that runs the job in a process of its own
        try:
            config.validate_root(cfg, self.command)
            working_folder.trust(cfg.trusted_modules, self._folder)
            with quiet_tensorflow():
                module = importlib.import_module(f"segtrain.commands.{self.command}")
            with naming("dataset"):  # the part that still raises about its arguments once it is built: of its files
                return getattr(module, COMMANDS[self.command][0])(cfg)
        except (ConfigError, DataError) as error:
            raise self._with_source(error, cfg) from error

    def _with_source(self, error: SegtrainError, cfg: "DictConfig") -> SegtrainError:
        """Where a dataset whose root is missing comes from."""
        from hydra.core.hydra_config import HydraConfig

        from segtrain.builders.dataset_source import with_source

        return with_source(error, cfg.get("dataset") or {}, HydraConfig.get().runtime.choices.get("dataset"))


def _in_sweep() -> bool:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.get().mode == RunMode.MULTIRUN


def _wants_trace() -> bool:
    """Hydra's own switch: the user wants the traceback of what is else one line."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1"


def _report(error: Exception, trace: bool, texts: Mapping[str, str] = MappingProxyType({})) -> int:
    """Print one line for what a user can fix, a traceback for a bug. Returns the exit code."""
    if isinstance(error, BrokenPipeError):
        # `segtrain ... | head`: nobody reads on; nor must the interpreter's last flush complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    shown = error
    if not isinstance(error, SegtrainError):
        shown = out_of_memory(error) or error
    if isinstance(shown, OSError):
        shown = _of_system(shown, texts)
    if trace or not isinstance(shown, SegtrainError):
        traceback.print_exception(error)
    if not isinstance(shown, SegtrainError):
        return BUG
    text = printable_lines(shown)
    trials.report(error=text)
    print(text if isinstance(shown, Stopped) else f"error: {text}", file=sys.stderr)
    return shown.exit_code


def _of_system(error: OSError, texts: Mapping[str, str]) -> SegtrainError:
    """Make one line of an error of the system that no part has described.

    Args:
        error: The error.
        texts: Overrides by key.
    """
    if error.errno in NOT_WRITTEN:
        return disk_error(error.filename or Path.cwd(), error)
    where = named(error.filename) if error.filename else "a file or service"
    if error.errno != errno.ENAMETOOLONG:
        return ResourceError(f"{where}: {error.strerror or error}. Fix: check that it exists and its permissions")
    keys = [key for key, text in texts.items() if len(text) > 200 and text.rstrip("/") in str(error.filename)]
    return ConfigError(
        f"{f'{keys[0]}=' if keys else ''}{where}: {error.strerror}. Fix: {f'give {keys[0]}' if keys else 'choose'} a "
        f"shorter path"
    )
