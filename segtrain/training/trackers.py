"""Runs in experiment trackers of others, which are imported only where a config names them."""

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
_MOST_PARAMS, _LONGEST_PARAM = 100, 500  # of one call of MLflow's, and of one value in letters


class _Tracker(keras.callbacks.Callback):
    """Log each epoch's scores under the step that they are of; a resumed run goes on in the tracker's own run.

    A tracker that cannot be reached does not end a training: what it has missed is sent after the next epoch, unless
    the training ends before.
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
            except Exception as error:  # whatever a tracker raises: the training is worth more
                logger.warning("%s has not taken epoch %d: %s", self.package, record["epoch"], error)
                return
            self._num_logged += 1

    def on_train_end(self, logs: Logs = NO_LOGS) -> None:
        if not self._has_begun:
            return
        try:
            self._finish()
        except Exception as error:
            logger.warning("%s has not ended its run: %s", self.package, error)

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
        """Begin the tracker's run, or go on with the one of the id `known`; return its id."""

    @abstractmethod
    def _log(self, scores: Logs, step: int) -> None:
        """Send one epoch's scores."""

    @abstractmethod
    def _finish(self) -> None:
        """End the tracker's run."""


@final
class WandbLogger(_Tracker):
    """Log a run to Weights & Biases, offline unless the user says otherwise: `wandb sync` uploads it later.

    Args:
        run_folder: The run's folder, which W&B's own files go into.
        project: The project at W&B.
        mode: "online", "offline" or "disabled"; null is what the environment's WANDB_MODE says, else offline.

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
        if self._module.run is not None:  # of a job before this one in the same process, which has failed
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
    """Log a run to MLflow, into a file beside the runs unless the user says otherwise.

    Args:
        run_folder: The run's folder.
        experiment: The experiment's name at MLflow; made where there is none.
        tracking_uri: Where MLflow keeps it; null is what the environment's MLFLOW_TRACKING_URI says, else
            `runs/mlflow.db`.

    Raises:
        ConfigError: The package is not installed.
    """

    package = "mlflow"

    def __init__(self, run_folder: Path, experiment: str = "segtrain", tracking_uri: str | None = None) -> None:
        super().__init__(run_folder)
        beside = f"sqlite:///{run_folder.resolve().parent.parent / 'mlflow.db'}"
        uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or beside
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
        # MLflow refuses a call in which any name holds other characters than these; class names may.
        names = {name: re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII) for name in scores}
        metrics = [self._module.entities.Metric(names[name], value, now, step) for name, value in scores.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def _finish(self) -> None:
        self._client.set_terminated(self._run_id)
