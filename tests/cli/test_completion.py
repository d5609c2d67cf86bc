"""Tab completion, as a shell asks for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from segtrain.cli import main as cli
from segtrain.cli.completion import SCRIPTS, matches
from segtrain.config import config_dir

BACKBONES = sorted(f"backbone={path.stem}" for path in Path(config_dir(), "backbone").glob("*.yaml"))


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("segtrain ", [*cli.COMMANDS, "completion"]),
        ("segtrain su", ["summary"]),
        ("segtrain completion b", ["bash"]),
        ("segtrain train backb", ["backbone.", "backbone="]),
        ("segtrain train backbone=", BACKBONES),
        ("segtrain train backbone=resnet50,xc", ["backbone=resnet50,xception"]),
        ("segtrain train epo", ["epochs="]),
        ("segtrain train model.aspp_dil", ["model.aspp_dilations="]),
        ("segtrain train +experiment=peo", ["+experiment=people"]),
        ("segtrain train experiment=peo", ["experiment=people"]),
        ("segtrain train debug=sm", ["debug=smoke"]),
        ("segtrain train experiment=people -m batch", ["batch_size="]),
        ("segtrain train --mul", ["--multirun"]),
        ("segtrain eval overl", ["overlays="]),
        ("segtrain eval dataset=vo", ["dataset=voc"]),
        ("segtrain download cam", ["camvid"]),
        ("segtrain download cihp ke", ["keep_archive="]),
        ("segtrain trian epo", []),
        ("segtrain train backbone=nope epo", []),
        ("segtrain train --nope epo", []),
    ],
)
def test_matches_of_a_line(line, found):
    assert matches(line) == found


def test_files_complete_where_a_value_is_a_path(tmp_path):
    (tmp_path / "photos").mkdir()
    assert matches("segtrain train dataset.root=./pho") == ["dataset.root=./photos"]


def test_options_of_ones_own_complete_too(tmp_path):
    (tmp_path / "mine/experiment").mkdir(parents=True)
    (tmp_path / "mine/experiment/short.yaml").write_text("# @package _global_\nepochs: 1\n")
    assert matches("segtrain train --config-dir mine +experiment=sh") == ["+experiment=short"]


def test_targets_and_hydras_own_keys_are_not_offered():
    offered = matches("segtrain train ") + matches("segtrain train model.")
    assert [each for each in offered if "_target_" in each or each.startswith("hydra")] == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("segtrain tra", "train"),
        ("segtrain train backbone=xc", "xception"),  # bash keeps what stands before the =
        ("segtrain train backbone=resnet50,xc", "resnet50,xception"),
        ("segtrain train nothing_like_it", ""),
    ],
)
def test_the_bash_script_fills_in_the_word_under_the_cursor(line, replies, tmp_path):
    command = tmp_path / "segtrain"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m segtrain "$@"\n')
    command.chmod(0o755)
    script = f"""
        eval "$(segtrain completion bash)"
        complete -p segtrain >/dev/null || exit 9
        COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=($COMP_LINE)
        _segtrain
        echo "${{COMPREPLY[*]}}"
    """
    root = str(Path(cli.__file__).parents[2])
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": root}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.returncode) == (f"{replies}\n", 0), done.stderr


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_script_is_valid_for_its_shell(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    subprocess.run([shell, "-n"], input=SCRIPTS[shell], text=True, check=True)
