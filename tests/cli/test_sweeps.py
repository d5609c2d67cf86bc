"""What a sweep tells of its jobs. Commands are stubs here; real ones: tests/commands/test_sweeps.py."""

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import types
from pathlib import Path

import pytest

from segtrain.cli import main as cli
from segtrain.cli import sweeps
from segtrain.cli.sweeps import Job
from segtrain.errors import NumericError, Stopped
from segtrain.runs import folder as runs

PLUGINS = {"joblib": "hydra_joblib_launcher", "optuna": "optuna", "slurm": "hydra_submitit_launcher"}


def is_installed(option: str) -> bool:
    try:
        name = PLUGINS[option] if option == "optuna" else f"hydra_plugins.{PLUGINS[option]}"
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@pytest.fixture(autouse=True)
def workplace(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    return tmp_path


@pytest.fixture
def train(monkeypatch):
    """`train.act` is what the command does, within a run folder of its own."""

    def command(cfg):
        with runs.new_run_folder("train", cfg.name, keep_if="checkpoints") as run, runs.only_process(run):
            (run / "checkpoints").mkdir()
            return command.act(cfg)

    module = types.ModuleType("segtrain.commands.train")
    module.train = command
    monkeypatch.setitem(sys.modules, module.__name__, module)
    command.act = lambda cfg: cfg.seed / 10
    return command


def folder_of(workplace):
    (folder,) = (workplace / "runs/sweeps").iterdir()
    return folder


def fails_at(seed, error):
    def act(cfg):
        if cfg.seed == seed:
            raise error
        return cfg.seed / 10

    return act


def test_a_failing_job_among_three_leaves_the_others_and_a_table(train, workplace, capsys):
    train.act = fails_at(2, NumericError("loss=nan at step 3"))
    assert cli.main(["train", "epochs=4", "-m", "seed=1,2,3"]) == NumericError.exit_code
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:4] == ["job", "best", "val_mean_iou", "overrides"]
    # epochs=4 is every job's, so no row tells it.
    assert [line[:3] for line in lines[1:4]] == [
        ["0", "0.1000", "seed=1"],
        ["1", "failed", "seed=2"],
        ["2", "0.3000", "seed=3"],
    ]
    assert lines[2][3:] == ["loss=nan", "at", "step", "3"]
    assert lines[4][:3] == ["best:", "job", "2,"]
    assert lines[4][3] == lines[3][3]


def test_each_job_has_a_run_folder_that_tells_its_number(train, workplace):
    assert cli.main(["train", "name=mine", "-m", "seed=5,6"]) == 0
    names = sorted(run.name.partition("_mine_")[2] for run in (workplace / "runs/train").iterdir())
    assert names == ["0", "1"]


def test_the_table_is_a_file_too(train, workplace):
    train.act = fails_at(1, NumericError("nan"))
    cli.main(["train", "-m", "seed=1,2"])
    with open(folder_of(workplace) / "jobs.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["overrides"] for row in rows] == ["seed=1", "seed=2"]
    assert [(row["value"], row["error"], row["exit_code"]) for row in rows] == [("", "nan", "7"), ("0.2", "", "0")]
    assert all(os.path.isdir(row["run"]) for row in rows)


def test_a_sweep_without_a_run_leaves_no_folder(train, workplace, capsys):
    assert cli.main(["train", "-m", "seed=1,2", "+epohcs=3"]) == 2
    assert list(workplace.iterdir()) == []
    assert capsys.readouterr().out.count("failed") == 2


def test_a_sweep_of_a_command_without_runs_leaves_nothing_and_prints_no_table(monkeypatch, workplace, capsys):
    module = types.ModuleType("segtrain.commands.summary")
    module.summary = lambda cfg: print(f"summary of {cfg.backbone.name}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert cli.main(["summary", "-m", "backbone=resnet50,xception"]) == 0
    assert capsys.readouterr().out == "summary of ResNet50\nsummary of Xception\n"
    assert list(workplace.iterdir()) == []


def test_the_folder_of_a_sweep_may_be_chosen(train, workplace):
    assert cli.main(["train", "-m", "seed=1,2", "hydra.sweep.dir=kept/here"]) == 0
    assert (workplace / "kept/here/jobs.csv").exists()
    assert not (workplace / "runs/sweeps").exists()


def test_a_stopped_job_ends_the_sweep(train, capsys):
    train.act = fails_at(2, Stopped("stopped by SIGTERM", 143))
    assert cli.main(["train", "-m", "seed=1,2,3"]) == 143
    printed = capsys.readouterr().out
    assert "seed=2" in printed and "seed=3" not in printed


def test_ctrl_c_ends_the_sweep_and_still_shows_the_table(train, capsys):
    train.act = fails_at(2, KeyboardInterrupt())
    assert cli.main(["train", "-m", "seed=1,2,3"]) == 130
    printed = capsys.readouterr().out
    assert "0.1000" in printed and "interrupted" in printed and "seed=3" not in printed


def test_a_bug_in_one_job_keeps_its_traceback_and_ends_nothing(train, capsys):
    train.act = fails_at(1, ValueError("a bug"))  # Hydra raises ValueErrors of its own for configs
    assert cli.main(["train", "-m", "seed=1,2"]) == 1
    captured = capsys.readouterr()
    assert "ValueError: a bug" in captured.err and "cannot compose" not in captured.err
    assert "0.2000" in captured.out


def test_a_job_whose_process_died_counts_as_failed(tmp_path):
    for number in (0, 1):
        (tmp_path / str(number)).mkdir()
        recorder = sweeps.Recorder(tmp_path / str(number), number, [f"seed={number}"], "best")
    recorder.succeed(0.5)
    dead, alive = sweeps.jobs(tmp_path)
    assert "exited without reporting" in dead.error and dead.exit_code == 5
    assert (alive.error, alive.value, alive.exit_code) == (None, 0.5, 0)
    assert sweeps.exit_code([dead, alive]) == 5


def test_a_record_that_was_cut_off_is_passed_over(tmp_path):
    for number in (0, 1):
        (tmp_path / str(number)).mkdir()
        sweeps.Recorder(tmp_path / str(number), number, [], None).succeed(None)
    path = tmp_path / "0/job.json"
    path.write_text(path.read_text()[:20])
    assert [job.number for job in sweeps.jobs(tmp_path)] == [1]


def test_jobs_stand_in_their_order_beyond_nine(tmp_path):
    for number in range(12):
        (tmp_path / str(number)).mkdir()
        sweeps.Recorder(tmp_path / str(number), number, [], None)
    assert [job.number for job in sweeps.jobs(tmp_path)] == list(range(12))


@pytest.mark.parametrize(
    ("value", "known"), [(0.25, 0.25), (1, 1.0), (float("nan"), None), (None, None), ("text", None)]
)
def test_a_value_is_a_finite_number_or_none(value, known, tmp_path):
    sweeps.Recorder(tmp_path, 0, [], None).succeed(value)
    assert json.loads((tmp_path / "job.json").read_text())["value"] == known


def test_commands_without_scores_print_no_table():
    assert sweeps.table([Job(0, ["a=1"], error=None), Job(1, ["a=2"], error=None)], []) == ""


def test_the_order_of_overrides_does_not_matter():
    # Optuna puts what it has chosen before what the user has given, and in an order of its own.
    found = [Job(0, ["a=1", "b=2", "c=3"], value=0.1, error=None), Job(1, ["c=4", "b=2", "a=1"], value=0.2, error=None)]
    rows = [line.split() for line in sweeps.table(found, []).splitlines()]
    assert [row[2:] for row in rows[1:3]] == [["c=3"], ["c=4"]]


def test_a_job_alone_shows_what_was_chosen_for_it():
    found = [Job(0, ["seed=3", "learning_rate=0.017"], value=0.1, error=None)]
    row = sweeps.table(found, ["seed=3", "learning_rate=interval(0,1)"]).splitlines()[1]
    assert row.split() == ["0", "0.1000", "learning_rate=0.017"]


# Signals


def test_a_signal_reaches_the_processes_of_jobs_and_waits_for_their_end(tmp_path):
    # The child stands for a job in a launcher's process: on SIGTERM it tells of its end, and lives on as a pool does.
    program = f"""
        import signal, sys, time
        from pathlib import Path
        from segtrain.cli.sweeps import Recorder
        recorder = Recorder(Path({str(tmp_path / "0")!r}), 0, ["seed=1"], None)
        signal.signal(signal.SIGTERM, lambda *_: recorder.fail("stopped", 143))
        print("ready", flush=True)
        time.sleep(60)
        time.sleep(60)
    """
    (tmp_path / "0").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout.readline() == b"ready\n"
        with pytest.raises(SystemExit) as ended, sweeps.passing_on_signals(tmp_path):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        child.kill()
    assert ended.value.code == 143
    (job,) = sweeps.jobs(tmp_path)
    assert (job.error, job.exit_code) == ("stopped", 143)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_a_job_of_this_process_waits_for_nothing(train, capsys, monkeypatch, number, code):
    def act(cfg):
        if cfg.seed == 2:
            monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waits for a job that waits for it"))
            signal.raise_signal(number)
        return cfg.seed / 10

    train.act = act
    assert cli.main(["train", "-m", "seed=1,2,3"]) == code
    printed = capsys.readouterr().out
    assert "0.1000" in printed and "interrupted" in printed and "seed=3" not in printed


# Plugins


@pytest.mark.parametrize("option", PLUGINS)
def test_a_sweep_whose_plugin_is_absent_is_one_line_that_names_the_extra(option, train, workplace, capsys):
    if is_installed(option):
        pytest.skip(f"{PLUGINS[option]} is installed")
    assert cli.main(["train", f"sweep={option}", "seed=1,2"]) == 2
    extra = "slurm" if option == "slurm" else "sweep"
    error = capsys.readouterr().err
    assert error.endswith(f" is not installed. Fix: pip install 'segtrain-keras[{extra}]'\n")
    assert error.count("\n") == 1
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize("option", PLUGINS)
def test_a_sweep_composes_with_its_plugin(option, capsys):
    if not is_installed(option):
        pytest.skip(f"{PLUGINS[option]} is not installed: pip install 'segtrain-keras[sweep,slurm]'")
    assert cli.main(["train", f"sweep={option}", "--cfg", "hydra"]) == 0
    assert ("TPESampler" if option == "optuna" else PLUGINS[option]) in capsys.readouterr().out


def test_the_table_of_plugins_is_that_of_the_extras():
    from segtrain.config.hydra_errors import EXTRAS

    assert set(EXTRAS.values()) == {"sweep", "slurm"}
