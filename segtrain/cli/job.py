"""The commands, and one run of a command as Hydra calls it."""

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtrain.cli import sweeps
from segtrain.cli.failures import INTERRUPTED, report_error, wants_trace
from segtrain.errors import ConfigError, DataError, SegtrainError, Stopped, naming
from segtrain.process import trials, working_folder
from segtrain.process.quiet import quiet_tensorflow

if TYPE_CHECKING:
    from omegaconf import DictConfig

COMMANDS = {  # command: function of segtrain.commands.<command>, and its line in --help
    "download": ("download", "download, verify and extract a public dataset"),
    "check": ("check", "read every file of a dataset; report errors with their fixes"),
    "browse": ("browse", "show images and labels, before and after augmentation"),
    "train": ("train", "train a network, and write a run folder under runs/train"),
    "doctor": ("doctor", "verify the files of a run; report what resume would do"),
    "eval": ("evaluate", "score a run on a split and draw overlays"),
    "predict": ("predict", "label images, videos or a camera with a trained network"),
    "runs": ("runs", "list the training runs with their scores and states"),
    "report": ("report", "write a run and its evaluation as one HTML page"),
    "verify": ("verify", "rebuild the scores of an evaluation from its predictions and the label files"),
    "summary": ("summary", "print the network of a config: taps, parameters, multiply-adds"),
    "prepare": ("prepare", "convert SBD's labels for training on Pascal VOC, once"),
    "compare": ("compare", "print the differences between experiments, or between runs and their scores"),
    "bench": ("bench", "measure data loading"),
}


class Job:
    """One run of a command, called by Hydra for each job; reports its own errors."""

    def __init__(self, command: str) -> None:
        self.command = command
        self._process = os.getpid()
        self._folder = working_folder.current()  # a launcher may start the job in another
        self._wants_trace = wants_trace()

    def __call__(self, cfg: "DictConfig") -> Any:
        """Run the command; a sweeper gets what it returns."""
        if _in_sweep():
            return self._in_sweep(cfg)
        try:
            value = self._run(cfg)
            trials.report(value=value)
            return value
        except Exception as error:
            sys.exit(report_error(error, self._wants_trace))

    def _in_sweep(self, cfg: "DictConfig") -> Any:
        from hydra.core.hydra_config import HydraConfig

        own = HydraConfig.get()
        if self.command == "train":
            cfg.name = f"{cfg.name}_{own.job.num}"  # the run folder names its job
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
            code = report_error(error, self._wants_trace)
            recorder.fail(str(error) or type(error).__name__, code)
            if isinstance(error, Stopped) and os.getpid() == self._process:
                sys.exit(code)  # whoever stops a sweep does not want its next job
            raise  # this job has failed; Hydra continues with the next
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
