"""Real sweeps with Optuna and Hydra's plugins, where they are installed: pip install 'segtrain-keras[sweep,slurm]'."""

import csv
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from commands.conftest import TINY
from segtrain.cli import main as cli

pytestmark = pytest.mark.tensorflow
DRAWN = ("dataset.num_train_images=4", "dataset.num_val_images=2", "schedule.warmup_steps=0", *TINY, "epochs=1")


def needs(plugin: str) -> None:
    if importlib.util.find_spec("hydra_plugins") is None or importlib.util.find_spec(f"hydra_plugins.{plugin}") is None:
        pytest.skip(f"{plugin} is not installed: pip install 'segtrain-keras[sweep,slurm]'")


def sweep(workplace: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], Path, list[dict[str, str]]]:
    """Run one in a process of its own, for launchers keep theirs. Returns its end, its folder and its jobs.csv."""
    command = [sys.executable, "-m", "segtrain", "train", *DRAWN, *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    done = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True, timeout=400)
    (folder,) = (workplace / "runs/sweeps").iterdir()
    with open(folder / "jobs.csv") as file:
        return done, folder, list(csv.DictReader(file))


def test_a_failing_job_in_the_middle_of_three(workplace):
    # A learning rate of 1e30 is out of range: exit code 2.
    done, _, jobs = sweep(workplace, "-m", "optimizer.learning_rate=1e-3,1e30,1e-4")
    assert done.returncode == 2
    assert [(job["exit_code"], bool(job["value"])) for job in jobs] == [("0", True), ("2", False), ("0", True)]
    assert jobs[1]["error"].startswith("optimizer.learning_rate=1e+30: expected a number")


def test_a_study_that_is_killed_resumes_its_trial_and_trains_the_others(workplace):
    pytest.importorskip("optuna", reason="pip install 'segtrain-keras[sweep]'")
    words = ("sweep=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.sampler.seed=0", "epochs=40")
    space = "optimizer.learning_rate=tag(log,interval(1e-5,1e-2))"
    command = [sys.executable, "-m", "segtrain", "train", *DRAWN, *words, space]
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    with subprocess.Popen(command, cwd=workplace, env=environment) as study:
        until = time.monotonic() + 120
        while not list(workplace.glob("runs/train/*/checkpoints/step-*/manifest.json")):
            assert time.monotonic() < until
            time.sleep(0.1)
        study.kill()
    # The trial notices that its study is dead, saves itself, and is resumed: two trials, two runs.
    done, folder, jobs = sweep(workplace, *words, space, "resume=auto")
    assert done.returncode == 0, done.stderr
    assert [job["exit_code"] for job in jobs] == ["0", "0", "0"] and jobs[0]["error"].endswith("again as job 1")
    assert jobs[0]["run"] == jobs[1]["run"] != jobs[2]["run"] and jobs[0]["overrides"] == jobs[1]["overrides"]
    assert "resume: exact" in done.stderr and "2 trials: 2 complete" in done.stdout
    for job in jobs:
        stored = yaml.safe_load((workplace / job["run"] / "config.yaml").read_text())
        assert f"optimizer.learning_rate={stored['optimizer']['learning_rate']}" == job["overrides"]
        history = (workplace / job["run"] / "metrics.jsonl").read_text().splitlines()
        assert len(history) == 40


def test_a_study_outlives_a_refused_trial(workplace):
    pytest.importorskip("optuna", reason="pip install 'segtrain-keras[sweep]'")
    grid = ("hydra/sweeper/sampler=grid", "optimizer.learning_rate=choice(1e30,1e-3)")
    done, _, jobs = sweep(workplace, "sweep=optuna", *grid)
    assert done.returncode == 2, done.stderr
    assert [job["exit_code"] for job in jobs] == ["2", "0"] and "2 trials: 1 complete, 1 failed" in done.stdout
    assert jobs[0]["error"].startswith("optimizer.learning_rate=1e+30: expected")


def test_a_joblib_sweep_of_two(workplace):
    needs("hydra_joblib_launcher")
    done, _, jobs = sweep(workplace, "sweep=joblib", "seed=1,2")
    assert done.returncode == 0, done.stderr
    assert [job["overrides"] for job in jobs] == ["seed=1", "seed=2"]
    assert len({job["run"] for job in jobs}) == 2
    assert all((workplace / job["run"] / "checkpoints").is_dir() for job in jobs)


def test_a_submitit_sweep_of_two_without_slurm(workplace):
    needs("hydra_submitit_launcher")
    local = ("hydra/launcher=submitit_local", "hydra.launcher.gpus_per_node=0")
    done, _, jobs = sweep(workplace, "sweep=slurm", *local, "optimizer.learning_rate=1e-3,1e30")
    assert done.returncode == 2, done.stderr
    assert [(job["exit_code"], bool(job["value"])) for job in jobs] == [("0", True), ("2", False)]
