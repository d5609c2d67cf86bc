"""Callbacks for Weights & Biases and MLflow, which are imported only if a config names them."""

import importlib
import logging
import os
import re
import time
import uuid
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, final

import keras
import yaml  # type: ignore[import-untyped]

from segtrain.errors import ConfigError
from segtrain.reading import read_yaml_text
from segtrain.shell import leaves
from segtrain.storage import write_atomically

logger = logging.getLogger(__name__)

Logs = Mapping[str, float]
NO_LOGS: Logs = MappingProxyType({})
_MOST_PARAMS, _LONGEST_PARAM = 100, 500  # limits of one MLflow call, and of one value in characters


class _Tracker(keras.callbacks.Callback):
    """Log each epoch's scores with their step; a resumed run continues the tracker's run.

    A tracker that cannot be reached does not stop training: missed epochs are sent after the next epoch, if there is
    one.
    """

    package: str
    chief_only = True

    def __init__(self, run_folder: Path) -> None:
        super().__init__()
        try:
            self._module: Any = importlib.import_module(self.package)
        except ImportError as error:
            raise ConfigError(
                f"{type(self).__name__} needs the package {self.package}, which is not installed. Fix: pip "
                f"install 'segtrain-keras[{self.package}]'"
            ) from error
        self._run_folder = run_folder
        self._num_logged = 0
        self._has_begun = False

    def on_train_begin(self, logs: Logs = NO_LOGS) -> None:
        # A resumed run has logged the history of its checkpoint.
        self._num_logged = len(self._history())
        self._has_begun = self._begin()

    def on_epoch_end(self, epoch: int, logs: Logs = NO_LOGS) -> None:
        self._has_begun = self._has_begun or self._begin()
        if not self._has_begun:
            return
        for record in self._history()[self._num_logged :]:
            scores = {name: value for name, value in record.items() if name != "step" and value is not None}
            try:
                self._log(scores, record["step"])
            except Exception as error:  # no error of a tracker may stop the run
                logger.warning("%s did not accept epoch %d: %s", self.package, record["epoch"], error)
                return
            self._num_logged += 1

    def on_train_end(self, logs: Logs = NO_LOGS) -> None:
        if not self._has_begun:
            return
        try:
            self._finish()
        except Exception as error:
            logger.warning("%s did not end its run: %s", self.package, error)

    def _begin(self) -> bool:
        path = self._run_folder / f"{self.package}_id"
        known = path.read_text().strip() if path.exists() else None
        config = yaml.safe_load(read_yaml_text(self._run_folder / "config.yaml"))
        try:
            started = self._start(known, config)
        except Exception as error:
            logger.warning("%s cannot be reached, tried again after each epoch: %s", self.package, error)
            return False
        write_atomically(path, f"{started}\n".encode())
        return True

    def _history(self) -> list[dict[str, Any]]:
        return self.params["trainer"].progress.history

    @abstractmethod
    def _start(self, known: str | None, config: Mapping[str, Any]) -> str:
        """Start a run in the tracker, or continue the one with id `known`; return its id."""

    @abstractmethod
    def _log(self, scores: Logs, step: int) -> None:
        """Send one epoch's scores."""

    @abstractmethod
    def _finish(self) -> None:
        """End the tracker's run."""


@final
class WandbLogger(_Tracker):
    """Log a run to Weights & Biases, offline by default: `wandb sync` uploads it later.

    Args:
        run_folder: The run's folder; W&B's files are written into it.
        project: Name of the W&B project.
        mode: "online", "offline" or "disabled"; null uses the environment variable WANDB_MODE, else offline.

    Raises:
        ConfigError: The package is not installed.
    """

    package = "wandb"

    def __init__(
        self,
        run_folder: Path,
        project: str = "segtrain",
        mode: Literal["online", "offline", "disabled"] | None = None,
    ) -> None:
        super().__init__(run_folder)
        self._project = project
        self._mode = mode or os.environ.get("WANDB_MODE") or "offline"

    def _start(self, known: str | None, config: Mapping[str, Any]) -> str:
        run_id = known or uuid.uuid4().hex[:8]
        if self._module.run is not None:  # left by a failed job of the same process
            self._module.finish(exit_code=1)
        self._run = self._module.init(
            project=self._project,
            id=run_id,
            resume="allow",
            name=self._run_folder.name,
            dir=str(self._run_folder),
            config=dict(config),
            mode=self._mode,
        )
        return run_id

    def _log(self, scores: Logs, step: int) -> None:
        self._run.log(dict(scores), step=step)

    def _finish(self) -> None:
        self._run.finish()


@final
class MlflowLogger(_Tracker):
    """Log a run to MLflow, by default into `runs/mlflow.db` next to the runs.

    Args:
        run_folder: The run's folder.
        experiment: Name of the MLflow experiment; created if missing.
        tracking_uri: MLflow tracking URI; null uses the environment variable MLFLOW_TRACKING_URI, else
            `runs/mlflow.db`.

    Raises:
        ConfigError: The package is not installed.
    """

    package = "mlflow"

    def __init__(self, run_folder: Path, experiment: str = "segtrain", tracking_uri: str | None = None) -> None:
        super().__init__(run_folder)
        default_uri = f"sqlite:///{run_folder.resolve().parent.parent / 'mlflow.db'}"
        uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or default_uri
        self._client = self._module.MlflowClient(tracking_uri=uri)
        self._experiment = experiment

    def _start(self, known: str | None, config: Mapping[str, Any]) -> str:
        if known is not None:
            self._client.update_run(known, status="RUNNING")
            self._run_id = known
            return known
        found = self._client.get_experiment_by_name(self._experiment)
        experiment_id = self._client.create_experiment(self._experiment) if found is None else found.experiment_id
        self._run_id = self._client.create_run(experiment_id, run_name=self._run_folder.name).info.run_id
        params = [self._module.entities.Param(key, str(value)[:_LONGEST_PARAM]) for key, value in leaves(config)]
        for first in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._run_id, params=params[first : first + _MOST_PARAMS])
        return self._run_id

    def _log(self, scores: Logs, step: int) -> None:
        now = time.time_ns() // 1_000_000  # milliseconds
        # MLflow refuses names with other characters than these; class names may have them.
        names = {name: re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII) for name in scores}
        metrics = [self._module.entities.Metric(names[name], value, now, step) for name, value in scores.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def _finish(self) -> None:
        self._client.set_terminated(self._run_id)
