"""Run commands as a user would, in a folder of their own, and keep what they print."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from segtrain.cli.main import main

# A network and a run small enough for seconds; still the real parts.
TINY = (
    "backbone=mobilenet_v2",
    "backbone.alpha=0.35",
    "backbone.output_stride=8",
    "backbone.high=block_3_depthwise_relu",
    "backbone.weights=null",
    "model.aspp_channels=8",
    "model.aspp_dilations=[2]",
    "model.low_level_channels=8",
    "model.decoder_channels=16",
    "norm.momentum=0.5",
    "optimizer=sgd",  # half the operations to trace
    "crop_size=[48,64]",
    "augment.scale=[1.0,1.0]",
    "batch_size=2",
    "loader=threads",  # processes take a third of a second to start; test_loader.py has them
    "epochs=2",
)


class Result(NamedTuple):
    """What a command left: exit code, what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that commands run in."""
    folder = tmp_path / "workplace"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def segtrain(workplace: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Call the command line with these words, in `workplace`."""

    def call(*words: str) -> Result:
        capfd.readouterr()
        code = main(words)
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return call


@pytest.fixture
def eager(workplace: Path) -> Iterator[None]:
    """One step is sooner done than traced; and what it leaves, a third of a gigabyte, is not kept."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
    shutil.rmtree(workplace / "runs", ignore_errors=True)


def train_once(folder: Path, root: Path, *words: str) -> Path:
    """Train on a toy beside which nothing lies; return the run folder, for the tests of a module to copy.

    Not in a test, so that there is no `segtrain` to call.
    """
    workplace = folder / "workplace"
    workplace.mkdir()
    before = Path.cwd()
    os.chdir(workplace)
    try:
        assert main(["train", *words, f"dataset.root={root}", *TINY]) == 0
    finally:
        os.chdir(before)
    return only_run(workplace)


def copy_run(run: Path, root: Path, workplace: Path, new_root: Path) -> Path:
    """Copy a run and its dataset to where a test may spoil them; return the run's copy."""
    copy = workplace / "runs" / "train" / run.name
    shutil.copytree(run, copy)
    if not new_root.exists():
        shutil.copytree(root, new_root)
    config = (copy / "config.yaml").read_text()
    assert str(root) in config
    (copy / "config.yaml").write_text(config.replace(str(root), str(new_root)))
    return copy


def only_run(workplace: Path, command: str = "train") -> Path:
    """The one run folder of a command."""
    (run,) = (workplace / "runs" / command).iterdir()
    return run
