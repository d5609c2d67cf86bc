"""Files of a run folder from a stranger: read within bounds, and never written through a link."""

import os
import socket
import subprocess

import pytest

from segtrain.errors import CheckpointError, ResourceError
from segtrain.runs.checkpoint import find_checkpoints, remove_stale, save_checkpoint
from segtrain.runs.files import FILES, irregular, read_file, require_regular
from segtrain.runs.folder import holder, only_process, read_json


@pytest.fixture
def run(tmp_path):
    """A run folder as segtrain leaves it; next to it a folder of the user's, with files that must stay."""
    folder, outside = tmp_path / "run", tmp_path / "outside"
    for each in (folder / "plots", folder / "tensorboard" / "train", outside):
        each.mkdir(parents=True)
    for name in (*FILES, "plots/loss.png", "tensorboard/train/events.out.tfevents.1"):
        (folder / name).write_text(name)
    (folder / "checkpoints" / "step-00000002").mkdir(parents=True)
    for name in ("events.out.tfevents.1", "state.safetensors", "secret.txt"):
        (outside / name).write_text("the user's own")
    return folder


def make(path, kind, outside):
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name("moved"))
    path.unlink(missing_ok=True)
    if kind == "link":
        path.symlink_to(outside / "secret.txt")
    elif kind == "folder link":
        path.symlink_to(outside)
    elif kind == "broken link":
        path.symlink_to(outside / "nothing")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        bound, before = socket.socket(socket.AF_UNIX), os.getcwd()
        os.chdir(path.parent)  # the name of a socket is short
        bound.bind(path.name)
        os.chdir(before)
    elif kind == "hard link":
        os.link(outside / "secret.txt", path)
    else:
        path.mkdir()


KINDS = ("link", "folder link", "broken link", "device", "loop", "pipe", "socket")
PLACES = [
    *("lock", "train.log", "config.yaml", "classes.json", "metrics.jsonl", "metrics.csv", "wandb_id", "mlflow_id"),
    *(".metrics.jsonl.part", ".config.yaml.part", "plots", "plots/loss.png", "plots/.loss.png.part", "tensorboard"),
    *("tensorboard/train", "tensorboard/train/events.out.tfevents.1", "checkpoints", "checkpoints/step-00000002"),
    *("checkpoints/.tmp-step-00000003", "checkpoints/.trash-step-00000001", "wandb"),
]


def test_a_run_of_segtrains_is_regular(run):
    require_regular(run)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_what_a_run_could_be_written_through_is_named(run, place, kind):
    make(run / place, kind, run.parent / "outside")
    (found,) = irregular(run)
    assert found[0] == run / place
    with pytest.raises(CheckpointError, match="Fix: ") as caught:
        require_regular(run)
    assert str(run / place) in str(caught.value)
    # The fix that is printed works.
    subprocess.run(str(caught.value).partition("Fix: ")[2], shell=True, check=True, timeout=20)
    require_regular(run)
    assert (run.parent / "outside" / "secret.txt").read_text() == "the user's own"


@pytest.mark.parametrize("place", ["lock", "train.log"])
def test_a_file_of_two_names_is_not_written_in_place(run, place):
    make(run / place, "hard link", run.parent / "outside")
    with pytest.raises(CheckpointError, match="hard links") as caught:
        require_regular(run)
    subprocess.run(str(caught.value).partition("Fix: ")[2], shell=True, check=True, timeout=20)
    require_regular(run)
    (run / place).write_text("new")
    assert (run.parent / "outside" / "secret.txt").read_text() == "the user's own"


@pytest.mark.parametrize("kind", [*KINDS, "folder"])
def test_nothing_is_read_that_is_no_file(run, kind):
    make(run / "classes.json", kind, run.parent / "outside")
    with pytest.raises((CheckpointError, OSError), match=r"cannot read .*classes\.json"):
        read_json(run / "classes.json")


def test_a_file_beyond_its_bound_is_not_read(run):
    with (run / "classes.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="1099511627776 bytes, expected at most 100"):
        read_file(run / "classes.json", 100)
    with pytest.raises(CheckpointError, match="1099511627776 bytes"):
        read_json(run / "classes.json")


@pytest.mark.parametrize("kind", ["link", "broken link", "device", "loop", "socket", "folder"])
def test_a_lock_is_no_link_and_no_device(run, kind):
    make(run / "lock", kind, run.parent / "outside")
    assert holder(run) is None
    with pytest.raises(ResourceError, match="lock"), only_process(run):
        pass
    assert (run.parent / "outside" / "secret.txt").read_text() == "the user's own"
    assert not (run.parent / "outside" / "nothing").exists()


@pytest.mark.parametrize("place", [".tmp-step-00000003", ".trash-step-00000001", "step-00000001", "step-00000004"])
def test_nothing_is_removed_through_a_link(run, place):
    make(run / "checkpoints" / place, "folder link", run.parent / "outside")
    remove_stale(run / "checkpoints")
    for step in (2, 4, 6):
        save_checkpoint(run / "checkpoints", step, {}, is_best=step == 2, metadata={})
    assert len(list((run.parent / "outside").iterdir())) == 3
    assert [each.step for each in find_checkpoints(run / "checkpoints")] == [2, 6]
