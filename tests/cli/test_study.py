"""A study asks for trials, runs and prunes them, and survives its death and theirs.

Trials are scripts here; real ones: tests/commands/test_sweeps.py.
"""

import csv
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from segtrain.cli import main as cli
from segtrain.cli import sweeps
from segtrain.errors import ConfigError
from segtrain.process import trials
from segtrain.runs.checkpoint import save_checkpoint

optuna = pytest.importorskip("optuna", reason="pip install 'segtrain-keras[sweep]'")

from segtrain.cli import search_space, study, study_worker  # noqa: E402

RATE = "optimizer.learning_rate"
GRID = ("hydra/sweeper/sampler=grid", "hydra.sweeper.pruner.n_startup_trials=2")


class Trial:
    """Stands for the process of a trial: `curve` gives the scores of a learning rate, or an exit code."""

    started: list[list[str]] = []
    pid = 0

    def __init__(self, words):
        self.words, self.answers, self.code = words, [], 0
        Trial.started.append(words)

    def messages(self):
        yield {"run": f"runs/train/{len(Trial.started)}", "direction": "max"}
        rate = float(next((word for word in self.words if word.startswith(RATE)), "=0.2").partition("=")[2])
        scores = Trial.curve(rate)
        if isinstance(scores, int):
            self.code = scores
            if scores > 0:
                yield {"error": "a config that is refused"}
            return
        for epoch, score in enumerate(scores, 1):
            yield {"epoch": epoch, "score": score, "is_last": epoch == len(scores)}
            if self.answers[-1]:
                break
        yield {"value": max(scores[: len(self.answers)])}

    def answer(self, should_prune):
        self.answers.append(should_prune)

    def terminate(self):
        self.code = 143

    def end(self):
        return self.code


@pytest.fixture(autouse=True)
def workplace(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trials, "Child", Trial)
    monkeypatch.setattr(Trial, "started", [])
    monkeypatch.setattr(Trial, "curve", staticmethod(lambda rate: [rate] * 3), raising=False)
    return tmp_path


def folder_of(workplace):
    (folder,) = (workplace / "runs/sweeps").iterdir()
    return folder


def rows(workplace):
    with open(folder_of(workplace) / "jobs.csv") as file:
        return list(csv.DictReader(file))


def test_a_study_runs_its_trials_and_prints_the_best_and_how_to_train_it_again(workplace, capsys):
    assert cli.main(["train", "sweep=optuna", *GRID, "epochs=3", f"{RATE}=choice(0.1,0.3,0.2)"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["0", "0.1000", f"{RATE}=0.1"],
        ["1", "0.3000", f"{RATE}=0.3"],
        ["2", "0.2000", f"{RATE}=0.2"],
    ]
    # Trial 2 is at 0.2 after each epoch, the median of 0.1 and 0.3: not below it.
    assert lines[4:] == [
        "best: job 1, runs/train/2",
        "3 trials: 3 complete",
        f"best again: segtrain train epochs=3 {RATE}=0.3",
    ]
    assert Trial.started[1][:3] == ["train", "epochs=3", f"{RATE}=0.3"] and Trial.started[1][3] == "name=train_1"


def test_a_trial_below_the_median_is_pruned_at_its_first_validation_and_never_the_best(workplace, capsys):
    # 0.9 would be the best at its last epoch; its first, 0.01, is below the median of 0.2 and 0.4, which is 0.3.
    Trial.curve = staticmethod(lambda rate: [0.01, 0.02, 0.9] if rate == 0.9 else [rate] * 3)
    assert cli.main(["train", "sweep=optuna", *GRID, f"{RATE}=choice(0.2,0.4,0.9)"]) == 0
    printed = capsys.readouterr().out
    assert "3 trials: 2 complete, 1 pruned" in printed and "best: job 1," in printed
    assert [(row["value"], row["pruned"]) for row in rows(workplace)] == [
        ("0.2", "False"),
        ("0.4", "False"),
        ("0.01", "True"),
    ]


def test_a_refused_or_killed_trial_is_a_row_and_the_study_continues(workplace, capsys):
    Trial.curve = staticmethod(lambda rate: {0.1: 2, 0.2: -9}.get(rate, [rate]))
    assert cli.main(["train", "sweep=optuna", *GRID, f"{RATE}=choice(0.1,0.2,0.3)"]) == 2
    assert [(row["exit_code"], row["value"]) for row in rows(workplace)] == [("2", ""), ("5", ""), ("0", "0.3")]
    assert rows(workplace)[0]["error"] == "a config that is refused"
    assert "3 trials: 1 complete, 2 failed" in capsys.readouterr().out


def test_a_monitor_that_is_better_lower_is_not_maximized(workplace, capsys):
    assert cli.main([*WORDS, "hydra.sweeper.direction=minimize"]) == 2
    error = capsys.readouterr().err
    assert "hydra.sweeper.direction=minimize" in error and error.endswith("Fix: hydra.sweeper.direction=maximize\n")
    assert len(Trial.started) == 1


def test_a_trial_that_another_command_runs_has_not_failed(workplace, capsys):
    def curve(rate):
        if rate == 0.2:
            running = sweeps.jobs(folder_of(workplace))
            assert sweeps.exit_code(running) == 0 and running[1].error == "running"
            assert sweeps.table(running, []).splitlines()[2].split()[:2] == ["1", "-"]
        return [rate]

    Trial.curve = staticmethod(curve)
    assert cli.main(WORDS) == 0


def kill_within_the_second_trial(workplace, words):
    """Run a study in a process that dies in its second trial, as by SIGKILL."""
    program = f"""
        import os, sys
        sys.path[:0] = {[str(Path(cli.__file__).parents[2]), str(Path(__file__).parent)]!r}
        import test_study
        from segtrain.cli import main as cli
        from segtrain.process import trials
        test_study.Trial.curve = staticmethod(lambda rate: [rate] if rate != 0.2 else os._exit(9))
        trials.Child = test_study.Trial
        cli.main({words!r})
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, cwd=workplace, capture_output=True, text=True)
    assert done.returncode == 9, done.stderr


WORDS = [
    "train",
    "sweep=optuna",
    "hydra/sweeper/sampler=grid",
    "hydra/sweeper/pruner=none",
    f"{RATE}=choice(0.1,0.2,0.3)",
]


def test_a_killed_study_resumes_and_asks_again_for_the_trial_that_ran(workplace, capsys):
    kill_within_the_second_trial(workplace, WORDS)
    assert cli.main([*WORDS, "resume=auto"]) == 0
    # 0.3 was planned before 0.2 was asked for again.
    assert [next(word for word in each if RATE in word) for each in Trial.started] == [f"{RATE}=0.3", f"{RATE}=0.2"]
    assert "3 trials: 3 complete" in capsys.readouterr().out
    assert rows(workplace)[1]["error"].endswith("again as job 3") and rows(workplace)[1]["exit_code"] == "0"
    assert cli.main([*WORDS, f"hydra.sweep.dir={folder_of(workplace)}"]) == 0  # has nothing left to do
    assert len(Trial.started) == 2


def test_a_trial_with_a_checkpoint_resumes_its_run(workplace):
    kill_within_the_second_trial(workplace, WORDS)
    run = workplace / json.loads((folder_of(workplace) / "1/job.json").read_text())["run"]
    save_checkpoint(run / "checkpoints", 2, {"weight": np.zeros(1)}, is_best=True, metadata={})
    assert cli.main([*WORDS, "trusted_modules=[]", "resume=auto"]) == 0  # another command: a study of its own
    assert not any("resume" in word for words in Trial.started for word in words)
    assert cli.main([*WORDS, "resume=auto"]) == 0
    assert Trial.started[-1] == ["train", f"resume={run.relative_to(workplace)}"]


def test_another_search_in_the_same_folder_is_refused(workplace, capsys):
    assert cli.main([*WORDS, "hydra.sweep.dir=kept"]) == 0
    for words in ([*WORDS, "epochs=7"], [*WORDS[:-1], f"{RATE}=choice(0.5,0.6)"]):
        assert cli.main([*words, "hydra.sweep.dir=kept"]) == 2
        error = capsys.readouterr().err
        assert "hydra.sweep.dir=kept" in error and "Fix: " in error and error.count("\n") == 1
    assert len(Trial.started) == 3


def test_two_commands_share_the_trials_of_one_study(workplace):
    space, given = search_space.split_space([f"{RATE}=choice(0.1,0.2,0.3,0.4,0.5,0.6)"])
    settings = {"n_trials": 6, "n_jobs": 2, "direction": "maximize", "words": []}
    settings |= {"sampler": {"name": "grid"}, "pruner": {"name": "NopPruner"}}
    search = study.Search(space, given, [], settings, "train", "val_mean_iou")
    one, other = (study_worker.Worker(workplace / "shared", search) for _ in range(2))
    asked = [one._ask(), other._ask(), one._ask()]
    other.run()  # the three that are held are left to `one`
    assert len(Trial.started) == 3 and "3 complete, 3 unfinished" in other.summary()
    for trial, held in asked:
        one._run(trial)
        os.close(held)
    assert "6 trials: 6 complete" in one.summary()
    values = [float(job.overrides[0].partition("=")[2]) for job in sweeps.jobs(workplace / "shared")]
    assert sorted(values) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


def test_a_resumed_study_draws_what_an_uninterrupted_one_draws(workplace):
    words = ["train", "sweep=optuna", "hydra.sweeper.sampler.seed=3", f"{RATE}=interval(0.1,0.9)"]
    assert cli.main([*words, "hydra.sweep.dir=whole", "hydra.sweeper.n_trials=4"]) == 0
    assert cli.main([*words, "hydra.sweep.dir=parts", "hydra.sweeper.n_trials=2"]) == 0
    assert cli.main([*words, "hydra.sweep.dir=parts", "hydra.sweeper.n_trials=4"]) == 0
    whole, parts = ([job.overrides for job in sweeps.jobs(workplace / name)] for name in ("whole", "parts"))
    assert whole == parts and len({each[0] for each in whole}) == 4


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("a=interval(0.1,1)", optuna.distributions.FloatDistribution(0.1, 1)),
        ("a=tag(log,interval(1e-4,1e-2))", optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)),
        ("a=tag(int,log,interval(1,64))", optuna.distributions.IntDistribution(1, 64, log=True)),
        ("a=range(0,500,100)", optuna.distributions.IntDistribution(0, 500, step=100)),
        ("a=range(0.0,1.0,0.25)", optuna.distributions.FloatDistribution(0, 1, step=0.25)),
        ("a=choice(x,y)", optuna.distributions.CategoricalDistribution(["x", "y"])),
        ("a=[1,2],[3,4]", optuna.distributions.CategoricalDistribution(["[1,2]", "[3,4]"])),
    ],
)
def test_each_of_hydras_sweeps_is_a_distribution(word, expected):
    assert search_space.split_space([word, "b=1"]) == ({"a": expected}, ["b=1"])


@pytest.mark.parametrize("word", ["a=interval(2,1)", "a=tag(log,interval(0,1))", "a=glob(*)", "a=range(5,1)"])
def test_a_space_that_is_none_is_one_line_with_its_key(word):
    with pytest.raises(ConfigError) as caught:
        search_space.split_space([word])
    assert str(caught.value).startswith(word) and "Fix: 'a=" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ([], "no key to search"),
        (["optimizer.lerning_rate=interval(0.1,1)"], "lerning_rate"),
        ([f"{RATE}=interval(0.1,1)", "hydra.sweeper.sampler.name=Magic"], "Magic"),
        ([f"{RATE}=interval(0.1,1)", "hydra/sweeper/sampler=grid"], f"{RATE}=interval"),
        ([f"{RATE}=interval(0.1,1)", "hydra.sweeper.n_trails=5"], "n_trails"),
    ],
)
def test_a_wrong_search_is_one_line_before_the_first_trial(words, seen, workplace, capsys):
    assert cli.main(["train", "sweep=optuna", *words]) == 2
    error = capsys.readouterr().err
    assert seen in error and error.count("\n") == 1
    assert Trial.started == []
