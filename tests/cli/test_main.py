"""The command line: what reaches a command, and how everything else ends.

The commands themselves are stubs here, so that nothing imports TensorFlow; the configs are the real ones.
"""

import contextlib
import errno
import logging
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from segtrain.cli import job
from segtrain.cli import main as cli
from segtrain.cli.arguments import rewrite, split_flags
from segtrain.config import build, config_dir
from segtrain.errors import CheckpointError, ConfigError, DataError, NumericError
from segtrain.process.quiet import quiet_tensorflow

EXPERIMENTS = sorted(path.stem for path in Path(config_dir(), "experiment").glob("*.yaml"))
OPTIONS = sorted(
    f"{path.parent.name}={path.stem}"
    for path in Path(config_dir()).glob("*/*.yaml")
    if path.parent.name not in ("hydra", "experiment", "sweep")  # sweeps: test_sweeps.py
)


@pytest.fixture(autouse=True)
def clean_process(monkeypatch, tmp_path):
    """An empty working folder; Hydra's logging and the search path are put back afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    for name in ("HYDRA_FULL_ERROR", "TF_CPP_MIN_LOG_LEVEL"):
        monkeypatch.setenv(name, "")  # so that the test's own change is undone
        monkeypatch.delenv(name)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def jobs(monkeypatch):
    """The configs that reached a command; `jobs.act` may be set to what the command does."""
    seen = Jobs()
    for command, (function, _) in job.COMMANDS.items():
        module = types.ModuleType(f"segtrain.commands.{command}")
        setattr(module, function, seen)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return seen


class Jobs(list):
    def act(self, cfg):
        return 0.5

    def __call__(self, cfg):
        self.append(cfg)
        return self.act(cfg)


def raises(error):
    def act(cfg):
        raise error

    return act


def segtrain(*words, **options):
    """The real command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    command = [sys.executable, "-m", "segtrain", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, **options)


# Help


def test_help_names_every_command_and_what_it_does(capsys):
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for command, (_, meaning) in job.COMMANDS.items():
        assert re.search(rf"{command} +{meaning}", shown)


def test_no_words_are_a_call_for_help(capsys):
    assert cli.main([]) == 0
    assert capsys.readouterr().out == cli.USAGE


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (["--help"], ["hydra", "omegaconf"]),
        (["train", "--help"], []),
        (["train", "epohcs=3"], []),
        (["train", "--cfg", "job"], []),
    ],
)
def test_what_needs_no_network_imports_no_tensorflow(words, absent):
    absent = ["tensorflow", "keras", "numpy", "scipy", "cv2", "matplotlib", "requests", *absent]
    program = f"import sys, segtrain.cli.main as cli; cli.main({words}); print({{*{absent}}} & sys.modules.keys())"
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout.endswith("set()\n"), done.stdout[-300:] + done.stderr


def test_help_of_train_shows_options_keys_with_their_values_and_examples(capsys):
    assert cli.main(["train", "seed=7", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "backbone=mobilenet_v2" in shown
    assert re.search(r"\n +application, .*mobilenet_v2, .*xception\n", shown)
    assert re.search(r"\n  seed=7 +random seed for initial weights", shown)
    assert shown.count("\n  segtrain train +experiment=") == 3


def test_help_of_eval_offers_the_dataset_and_none_of_the_groups_that_a_run_has_fixed(capsys):
    assert cli.main(["eval", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "  dataset=NAME" in shown
    assert "mobilenet_v2" not in shown


@pytest.mark.parametrize("words", [["--version"], ["train", "--version"]])
def test_version_is_segtrains_own(words, capsys):
    assert cli.main(words) == 0
    assert re.fullmatch(r"segtrain \d+\.\d+\.\d+\n", capsys.readouterr().out)


# What reaches a command


def test_a_command_gets_its_own_primary_config(jobs):
    assert cli.main(["train", "epochs=3"]) == 0
    assert cli.main(["eval"]) == 0
    assert cli.main(["summary", "image_size=[64,96]"]) == 0
    train, evaluate, summary = jobs
    assert train.epochs == 3
    assert evaluate.checkpoint == "best"
    assert summary.image_size == [64, 96]


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("command", ["train", "summary"])
def test_every_experiment_composes_for(command, name, jobs):
    assert cli.main([command, f"+experiment={name}", "dataset.root=somewhere"]) == 0
    assert jobs[0].dataset.root == "somewhere"


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes(option, capsys):
    group, _, name = option.partition("=")
    assert cli.main(["train", option, "--cfg", "job"]) == 0
    # A debug option sets keys of others and its own name; any other fills the key of its group.
    assert (f"name: {name}" if group == "debug" else f"{group}:") in capsys.readouterr().out


def test_experiment_needs_no_plus(jobs):
    assert cli.main(["train", "experiment=people"]) == 0
    assert cli.main(["train", "+experiment=people"]) == 0
    assert jobs[0] == jobs[1]
    assert jobs[0].name == "people"


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "+experiment=people", "seed=1,2"],
        ["+experiment=people", "-m", "seed=1,2"],
        ["+experiment=people", "seed=1,2", "--multirun"],
    ],
)
def test_flags_may_stand_anywhere(words, jobs):
    assert cli.main(["train", *words]) == 0
    assert [job.seed for job in jobs] == [1, 2]


def test_split_flags_keeps_values_with_their_flags():
    words = ["a=1", "--cfg", "job", "b=2", "-cd=mine", "--info", "c=3", "-m"]
    assert split_flags(words) == (
        ["--cfg", "job", "-cd", "mine", "--info", "all", "-m"],
        ["a=1", "b=2", "c=3"],
    )


def test_rewrite_adds_only_the_prefixes_that_hydra_lacks():
    words = ["experiment=a", "+experiment=b", "dataset=voc", "dataset.root=x", "seed=1"]
    assert rewrite("train", words) == [
        "+experiment=a",
        "+experiment=b",
        "dataset=voc",
        "dataset.root=x",
        "seed=1",
    ]
    assert rewrite("train", ["debug=d", "experiment=e", "seed=1"]) == ["+experiment=e", "seed=1", "+debug=d"]
    assert rewrite("eval", words[2:4]) == ["dataset=voc", "++dataset.root=x"]


def test_eval_takes_single_keys_of_a_dataset_that_only_the_run_knows(jobs):
    assert cli.main(["eval", "dataset.root=x"]) == 0
    assert cli.main(["eval", "dataset=voc", "dataset.root=y"]) == 0
    assert jobs[0].dataset == {"root": "x"}
    assert jobs[1].dataset._target_ == "segtrain.data.Voc"
    assert jobs[1].dataset.root == "y"


def test_config_dir_adds_options(jobs, tmp_path):
    write(tmp_path / "mine/experiment/short.yaml", "# @package _global_\nepochs: 2\n")
    assert cli.main(["train", "+experiment=short", "-cd", "mine"]) == 0
    assert jobs[0].epochs == 2


def test_cfg_prints_the_config_and_runs_nothing(jobs, capsys):
    assert cli.main(["train", "epochs=4", "--cfg", "job", "--resolve"]) == 0
    assert "\nepochs: 4\n" in capsys.readouterr().out
    assert jobs == []


@pytest.mark.parametrize("command", job.COMMANDS)
def test_a_job_has_the_name_of_its_command(command, capsys):
    assert cli.main([command, "--cfg", "hydra", "--package", "hydra.job.name"]) == 0
    assert capsys.readouterr().out == f"{command}\n"


def test_the_working_folder_is_importable_for_trusted_modules(jobs, tmp_path):
    write(tmp_path / "mine_here.py", "def loss(weight: float):\n    return weight\n")
    write(tmp_path / "mine/loss/weight.yaml", "_target_: mine_here.loss\nweight: 0.25\n")
    jobs.act = lambda cfg: build(cfg.loss)
    words = ["train", "--config-dir", "mine", "loss=weight"]
    assert cli.main(words) == 2
    assert cli.main([*words, "trusted_modules=[mine_here]"]) == 0


def test_a_sweeper_gets_what_the_command_returns(jobs, monkeypatch):
    returned = []
    call = job.Job.__call__
    monkeypatch.setattr(job.Job, "__call__", lambda job, cfg: returned.append(call(job, cfg)))
    jobs.act = lambda cfg: float(cfg.seed)
    assert cli.main(["train", "-m", "seed=1,2"]) == 0
    assert returned == [1.0, 2.0]


# Nothing left on disk


@pytest.mark.parametrize(
    "words",
    [
        ["train"],
        ["train", "-m", "seed=1,2"],
        ["train", "-m", "seed=1,x"],
        ["train", "epochs=0"],
        ["eval", "epochs=1"],
    ],
)
def test_hydra_leaves_no_folder_and_no_log(words, jobs, tmp_path):
    cli.main(words)
    assert list(tmp_path.iterdir()) == []


def test_log_lines_appear_once_and_on_stderr(jobs, capsys):
    jobs.act = lambda cfg: logging.getLogger("segtrain.commands.train").info("a line")
    assert cli.main(["train"]) == 0
    captured = capsys.readouterr()
    assert re.fullmatch(r"\d\d:\d\d:\d\d a line\n", captured.err)
    assert captured.out == ""


# Errors

MISTAKES = {
    "trian": "no command 'trian'; did you mean train?",
    "train backbone=resnet5": "no backbone 'resnet5'; did you mean resnet50 or resnet152 or resnet50_v2? options: ",
    "train +experiment=peopel": "no experiment 'peopel'; did you mean people? options: ",
    "train bakbone=resnet50": "segtrain train has no key 'bakbone'; did you mean backbone or lr_multipliers.backbone?",
    "train epohcs=3": "segtrain train has no key 'epohcs'; did you mean epochs?",
    "train +epohcs=3": "segtrain train has no key 'epohcs'; did you mean epochs?",
    "train ++epohcs=3": "segtrain train has no key 'epohcs'; did you mean epochs?",
    "train +experimnt=people": "segtrain train has no key 'experimnt'; did you mean experiment?",
    "train lr=3": "cannot read lr=3, expected optimizer.learning_rate=3. Fix: segtrain train optimizer.learning_rate=3",
    "train model.aspp_dilation=[3]": "model has no key 'aspp_dilation'; did you mean model.aspp_dilations or ",
    "train epochs=abc": "epochs=abc is of type str, expected int",
    "train epochs=2.5": "epochs=2.5 is of type float, expected int",
    "train epochs=null": "epochs=null: expected a value",
    "train shuffle=3.5": "shuffle=3.5 is of type float, expected true or false",
    "train crop_size=512": "cannot read crop_size=512, expected 'crop_size=[512,512]'. Fix: segtrain train 'crop",
    "train crop_size=[a,b]": "crop_size[0]=a is of type str, expected int",
    "train crop_size=[64]": "cannot read crop_size=[64], expected 'crop_size=[64,64]'. Fix: ",
    "train crop_size=[64,64,64]": "crop_size=[64, 64, 64]: expected 2 numbers",
    "train crop_size=[0,64]": "crop_size=[0, 64]: expected at least 1",
    "train epochs=0": "epochs=0: expected at least 1",
    "train name=a/b": "name=a/b: expected letters, digits",
    "train optimizer.learning_rate=nan": "optimizer.learning_rate=nan: expected a finite number",
    "train optimizer.learning_rate=1e400": "optimizer.learning_rate=inf: expected a finite number",
    "train seed=-1": "seed=-1: expected at least 0",
    "train epochs=99999999999999999999": "epochs=99999999999999999999: expected a number of at most 64 bits",
    "train dataset=voc": "dataset.root is not given, expected the folder that holds JPEGImages, SegmentationClass, ",
    "train +experiment=cihp": "dataset.root is not given, expected the folder that holds Training/Images, ",
    "train backbone=3": "backbone=3: expected the name of an option",
    "train epochs=1,2": "epochs=1,2 are several values. Fix: --multirun",
    "train +epochs=3": "+epochs: epochs is set already. Fix: epochs=... without the +",
    "train foo": "cannot read 'foo', expected key=value. Fix: foo=VALUE",
    "train name=a(b": "cannot read 'name=a(b'",
    "train seed=${oc.env:HOME}": "seed: ${oc.env:HOME} is refused",
    "train seed=${nope}": "seed: Interpolation key 'nope' not found",
    "train loss._target_=os.system": "loss._target_=os.system is refused for safety",
    "train +loss._partial_=true": "loss._partial_: refused",
    "train --mutlirun": "no flag --mutlirun; did you mean --multirun?",
    "train --cfg jbo": "--cfg jbo: expected job, hydra, all",
    "train --experimental-rerun run.pickle": "no flag --experimental-rerun",
    "train -cd": "-cd is not given its value",
    "train -cd nowhere": "cannot compose the config: Additional config directory",
    "train -m backbone=resnet50,resnet5": "no backbone 'resnet5'; did you mean resnet50 or ",
    "train hydra/launcher=basci": "no hydra/launcher 'basci'; did you mean basic?",
    "train hydra.run.dirr=x": "Hydra has no key 'hydra.run.dirr'",
    "eval +experiment=people": "segtrain eval takes no experiment",
    "eval alpha=1.5": "alpha=1.5: expected at most 1",
    "eval checkpoint=bets": "checkpoint=bets: expected best or last; did you mean best?",
    "completion bsh": "completion bsh: expected bash, zsh, fish; did you mean bash?",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(line, jobs, capsys, tmp_path):
    assert cli.main(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {MISTAKES[line]}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert jobs == []
    assert list(tmp_path.iterdir()) == []


def test_all_problems_are_told_at_once(jobs, capsys):
    assert cli.main(["train", "+epohcs=3", "batch_size=0", "optimizer.learning_rate=nan"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: 3 problems in the configuration:",
        "  - segtrain train has no key 'epohcs'; did you mean epochs?",
        "  - batch_size=0: expected at least 1",
        "  - optimizer.learning_rate=nan: expected a finite number",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "# @package _global_\nepohcs: 3\n",
            "in experiment/mine.yaml: segtrain train has no key 'epohcs'; did you mean",
        ),
        (
            "# @package _global_\nepochs: many\n",
            "in experiment/mine.yaml: epochs=many is of type str, expected int",
        ),
        ("# @package _global_\ndefaults: [override /loss: hinge]\n", "no loss 'hinge'; options: "),
        (
            "# @package _global_\ndefaults: [override /los: dice]\n",
            "in experiment/mine.yaml: no group 'los' to override",
        ),
        ("epochs: [1\n", "mine.yaml line 2, column 1: not YAML"),
        (b"\xff\xfe", "codec can't decode"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_that_says_where(content, said, jobs, capsys, tmp_path):
    write(tmp_path / "mine/experiment/mine.yaml", content)
    assert cli.main(["train", "-cd", "mine", "+experiment=mine"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1


def test_an_option_with_the_name_of_a_built_in_is_refused(jobs, capsys, tmp_path):
    write(tmp_path / "mine/backbone/resnet50.yaml", "_target_: mine.net\n")
    assert cli.main(["train", "-cd", "mine", "backbone=resnet50"]) == 2
    assert "mine/backbone/resnet50.yaml: segtrain has a backbone/resnet50.yaml of its own" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "key"), [("train", "resume"), ("eval", "run")])
def test_a_run_folder_that_is_not_there_is_a_checkpoint_error(command, key, jobs, capsys, tmp_path):
    assert cli.main([command, f"{key}=nowhere"]) == CheckpointError.exit_code == 4
    assert f"{key}=nowhere: run folder not found" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [ConfigError, DataError, CheckpointError, NumericError])
def test_an_error_that_its_reader_can_mend_is_its_message(kind, jobs, capsys):
    jobs.act = raises(kind("what and where"))
    assert cli.main(["train"]) == kind.exit_code
    assert capsys.readouterr().err == "error: what and where\n"


def test_a_folder_without_permission_is_a_resource_error(jobs, capsys):
    jobs.act = raises(PermissionError(errno.EACCES, "Permission denied", "runs/train"))
    assert cli.main(["train"]) == 5
    assert capsys.readouterr().err.startswith("error: runs/train: Permission denied. Fix: ")


def test_a_bug_keeps_its_traceback(jobs, capsys):
    jobs.act = raises(RuntimeError("a bug"))
    assert cli.main(["train"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Traceback")
    assert error.endswith("RuntimeError: a bug\n")


def test_hydras_own_switch_shows_the_traceback_of_a_mistake_too(jobs, capsys, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert cli.main(["train", "epohcs=3"]) == 2
    error = capsys.readouterr().err
    assert "ConfigAttributeError: Key 'epohcs' not in 'TrainConfig'" in error
    assert error.splitlines()[-1].startswith("error: segtrain train has no key 'epohcs'")
    assert os.environ["HYDRA_FULL_ERROR"] == "1"


def test_ctrl_c_is_130_without_a_traceback(jobs, capsys):
    jobs.act = raises(KeyboardInterrupt)
    assert cli.main(["train"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_failed_job_does_not_end_a_sweep(jobs, capsys):
    assert cli.main(["train", "-m", "epochs=1,0,2"]) == 2
    assert [job.epochs for job in jobs] == [1, 2]
    assert capsys.readouterr().err.count("error: epochs=0: expected at least 1\n") == 1


def test_a_sweep_ends_with_the_code_of_its_first_failure(jobs):
    jobs.act = lambda cfg: raises((NumericError("nan"), DataError("bad"))[cfg.seed])(cfg) if cfg.seed < 2 else 0.5
    assert cli.main(["train", "-m", "seed=2,1,0"]) == DataError.exit_code


def test_a_reader_who_stops_reading_ends_it_silently():
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    command = [sys.executable, "-m", "segtrain", "train", "--cfg", "job"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 141


def test_the_real_command_reports_a_mistake_by_exit_code_and_one_line(tmp_path):
    done = segtrain("train", "+experiment=people", "lr=3", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error: cannot read lr=3, expected optimizer.learning_rate=3. Fix: segtrain train +experiment=people "
        "optimizer.learning_rate=3\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("fails", "shown"), [(False, ""), (True, "a library is missing")])
def test_a_start_shows_what_it_holds_back_only_if_it_fails(fails, shown, capfd):
    with contextlib.suppress(ImportError), quiet_tensorflow():
        os.write(2, b"a library is missing")
        if fails:
            raise ImportError
    assert capfd.readouterr().err == shown


@pytest.mark.tensorflow
def test_the_real_summary_says_nothing_but_the_summary(tmp_path):
    done = segtrain("summary", "+experiment=people", "image_size=[64,64]", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""  # of TensorFlow's start: 8 lines
    assert "parameters" in done.stdout


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
