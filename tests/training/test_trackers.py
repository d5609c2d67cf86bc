"""Loggers to W&B and MLflow, against stand-ins that only write down how they were called."""

import json
import sys
from types import SimpleNamespace

import pytest

from segtrain.errors import ConfigError
from segtrain.training import MlflowLogger, WandbLogger

pytestmark = pytest.mark.tensorflow

RECORDS = [
    {"epoch": 1, "step": 4, "loss": 0.5, "val_mean_iou": 0.25},
    {"epoch": 2, "step": 8, "loss": 0.25, "val_mean_iou": None},  # not a finite number
    {"epoch": 3, "step": 12, "loss": 0.125, "val_mean_iou": 0.5},
]


class Calls:
    """An object each of whose methods notes its call and returns what `answers` says, or itself."""

    def __init__(self, **answers):
        self.made = []
        self.answers = answers

    def __getattr__(self, name):
        def call(*arguments, **named):
            self.made.append((name, arguments, named))
            answer = self.answers.get(name, self)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    def of(self, name):
        return [(arguments, named) for each, arguments, named in self.made if each == name]


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "runs" / "train" / "2026-11-21_12-00-00_toy"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("epochs: 3\nmodel:\n  channels: [8, 16]\n")
    return folder


@pytest.fixture
def wandb(monkeypatch):
    module = Calls()
    module.run = None  # none is under way
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return module


@pytest.fixture
def client(monkeypatch):
    """MLflow's client, of a server that knows no experiment yet."""
    run = SimpleNamespace(info=SimpleNamespace(run_id="r1"))
    client = Calls(get_experiment_by_name=None, create_experiment="e1", create_run=run)
    entities = SimpleNamespace(Metric=lambda *given: given, Param=lambda *given: given)
    made = []

    def open_client(tracking_uri):
        made.append(tracking_uri)
        return client

    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=open_client, entities=entities))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client.uris = made
    return client


def train(callback, first, last, before=lambda epoch: None):
    """Go through the epochs after `first` up to `last`."""
    history = RECORDS[:first]
    callback.set_params({"trainer": SimpleNamespace(progress=SimpleNamespace(history=history))})
    callback.on_train_begin()
    for epoch in range(first, last):
        before(epoch)
        history.append(RECORDS[epoch])
        callback.on_epoch_end(epoch, {})
    callback.on_train_end()


def test_wandb_gets_each_epochs_finite_scores_under_their_step(run_folder, wandb):
    train(WandbLogger(run_folder, project="mine"), 0, 3)
    ((_, named),) = wandb.of("init")
    assert named["project"] == "mine" and named["mode"] == "offline" and named["resume"] == "allow"
    assert named["dir"] == str(run_folder) and named["name"] == run_folder.name
    assert named["config"] == {"epochs": 3, "model": {"channels": [8, 16]}}
    assert wandb.of("log") == [
        (({"epoch": 1, "loss": 0.5, "val_mean_iou": 0.25},), {"step": 4}),
        (({"epoch": 2, "loss": 0.25},), {"step": 8}),
        (({"epoch": 3, "loss": 0.125, "val_mean_iou": 0.5},), {"step": 12}),
    ]
    assert len(wandb.of("finish")) == 1


def test_a_resumed_run_goes_on_under_the_same_id_at_wandb(run_folder, wandb):
    train(WandbLogger(run_folder), 0, 1)
    train(WandbLogger(run_folder), 1, 3)
    first, second = (named["id"] for _, named in wandb.of("init"))
    assert first == second == (run_folder / "wandb_id").read_text().strip()
    assert [named["step"] for _, named in wandb.of("log")] == [4, 8, 12]


def test_two_runs_have_two_ids(run_folder, wandb, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.yaml").write_text("epochs: 3\n")
    for folder in (run_folder, other):
        train(WandbLogger(folder), 0, 1)
    first, second = (named["id"] for _, named in wandb.of("init"))
    assert first != second


@pytest.mark.parametrize(
    ("said", "given", "mode"), [("online", None, "online"), ("online", "disabled", "disabled"), ("", None, "offline")]
)
def test_wandb_is_offline_unless_the_user_says_otherwise(run_folder, wandb, monkeypatch, said, given, mode):
    monkeypatch.setenv("WANDB_MODE", said)
    train(WandbLogger(run_folder, mode=given), 0, 1)
    assert wandb.of("init")[0][1]["mode"] == mode


def test_mlflow_gets_config_and_scores_into_a_file_beside_the_runs(run_folder, client):
    train(MlflowLogger(run_folder, experiment="mine"), 0, 3)
    assert client.uris == [f"sqlite:///{run_folder.parents[1]}/mlflow.db"]
    assert client.of("create_experiment") == [(("mine",), {})]
    assert client.of("create_run") == [(("e1",), {"run_name": run_folder.name})]
    config, *epochs = client.of("log_batch")
    assert config == (("r1",), {"params": [("epochs", "3"), ("model.channels", "[8, 16]")]})
    logged = [[(name, value, step) for name, value, _, step in named["metrics"]] for _, named in epochs]
    assert logged[:2] == [
        [("epoch", 1, 4), ("loss", 0.5, 4), ("val_mean_iou", 0.25, 4)],
        [("epoch", 2, 8), ("loss", 0.25, 8)],
    ]
    assert client.of("set_terminated") == [(("r1",), {})]


def test_a_resumed_run_goes_on_under_the_same_id_at_mlflow(run_folder, client):
    train(MlflowLogger(run_folder), 0, 1)
    train(MlflowLogger(run_folder), 1, 3)
    assert len(client.of("create_run")) == 1
    assert client.of("update_run") == [(("r1",), {"status": "RUNNING"})]
    steps = [named["metrics"][0][3] for _, named in client.of("log_batch") if "metrics" in named]
    assert steps == [4, 8, 12]


def test_mlflow_goes_where_the_user_says(run_folder, client, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mine:5000")
    MlflowLogger(run_folder)
    MlflowLogger(run_folder, tracking_uri="file:///elsewhere")
    assert client.uris == ["http://mine:5000", "file:///elsewhere"]


def test_a_long_config_is_sent_in_batches_that_mlflow_takes(run_folder, client):
    (run_folder / "config.yaml").write_text(json.dumps({f"key{number}": "x" * 900 for number in range(250)}))
    train(MlflowLogger(run_folder), 0, 0)
    batches = [named["params"] for _, named in client.of("log_batch")]
    assert [len(batch) for batch in batches] == [100, 100, 50]
    assert max(len(value) for batch in batches for _, value in batch) == 500


def test_what_a_tracker_has_missed_is_sent_after_the_next_epoch(run_folder, wandb, caplog):
    def before(epoch):
        wandb.answers = {"log": ConnectionError("no route to host")} if epoch < 2 else {}

    train(WandbLogger(run_folder), 0, 3, before)
    assert "wandb did not accept epoch 1: no route to host" in caplog.text
    # The first epoch's fails twice; then all three are sent.
    assert [named["step"] for _, named in wandb.of("log")] == [4, 4, 4, 8, 12]


def test_a_tracker_out_of_reach_at_the_beginning_does_not_end_a_training(run_folder, wandb, caplog):
    def before(epoch):
        wandb.answers = {"init": ConnectionError("no route to host")} if epoch < 1 else {}

    before(0)
    train(WandbLogger(run_folder), 0, 3, before)
    assert "wandb cannot be reached, tried again after each epoch: no route to host" in caplog.text
    assert [named["step"] for _, named in wandb.of("log")] == [4, 8, 12]
    assert len(wandb.of("finish")) == 1


def test_the_run_of_a_job_that_failed_before_is_ended_first(run_folder, wandb):
    wandb.run = "of the job before"
    train(WandbLogger(run_folder), 0, 1)
    assert wandb.of("finish")[0] == ((), {"exit_code": 1})
    assert [name for name, _, _ in wandb.made][:2] == ["finish", "init"]


@pytest.mark.parametrize("kind", [WandbLogger, MlflowLogger])
def test_a_package_that_is_absent_is_one_line_with_the_command(run_folder, monkeypatch, kind):
    monkeypatch.setitem(sys.modules, kind.package, None)
    with pytest.raises(ConfigError) as error:
        kind(run_folder)
    assert str(error.value) == (
        f"{kind.__name__} needs the package {kind.package}, which is not installed. Fix: pip install "
        f"'segtrain-keras[{kind.package}]'"
    )
