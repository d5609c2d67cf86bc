"""Run folders: one each, gone where nothing came of them, found again."""

import os
import re
from pathlib import Path

import pytest

from segtrain.errors import CheckpointError, ConfigError, DataError, ResourceError
from segtrain.runs.folder import new_run_folder, newest_run, read_json, require_run, write_json


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_run(name, modified=None, parts=("config.yaml", "classes.json", "checkpoints")):
    folder = Path("runs/train") / name
    folder.mkdir(parents=True)
    for part in parts:
        if part == "checkpoints":
            (folder / part / "step-00000001").mkdir(parents=True)
        else:
            (folder / part).write_text("{}")
    if modified is not None:
        os.utime(folder, (modified, modified))
    return folder


# New folders --------------------------------------------------------------------------------------------------


def test_folder_is_named_by_command_time_and_name():
    with new_run_folder("train", "people", keep_if="checkpoints") as folder:
        assert folder.is_dir() and folder.parent == Path("runs/train")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_people", folder.name)
    assert folder.is_dir()


def test_runs_of_one_second_have_folders_of_their_own():
    # 20 folders take some milliseconds: at least two share their second.
    folders = []
    for _ in range(20):
        with new_run_folder("train", "a", keep_if="x") as folder:
            folders.append(folder)
    assert len(set(folders)) == 20 == len(list(Path("runs/train").iterdir()))
    assert any(folder.name.endswith("_a-2") for folder in folders)


@pytest.mark.parametrize("error", [DataError("no labels"), ConfigError("no key"), KeyboardInterrupt()])
def test_early_error_leaves_nothing_behind(elsewhere, error):
    with pytest.raises(type(error)), new_run_folder("train", "a", keep_if="checkpoints") as folder:
        (folder / "train.log").write_text("begun")
        (folder / "plots").mkdir()
        raise error
    assert list(elsewhere.iterdir()) == []


def test_early_error_leaves_other_runs_alone():
    other = make_run("other")
    with pytest.raises(DataError), new_run_folder("train", "a", keep_if="checkpoints"):
        raise DataError("no labels")
    assert list(Path("runs/train").iterdir()) == [other]
    assert (other / "config.yaml").exists()


def test_early_error_keeps_parents_that_stood_before():
    Path("runs").mkdir()
    with pytest.raises(DataError), new_run_folder("eval", "a", keep_if="scores.json"):
        raise DataError("no labels")
    assert Path("runs").is_dir() and list(Path("runs").iterdir()) == []


@pytest.mark.parametrize("error", [DataError("damaged"), KeyboardInterrupt()])
def test_error_after_the_first_result_keeps_the_folder(error):
    with pytest.raises(type(error)), new_run_folder("train", "a", keep_if="checkpoints") as folder:
        (folder / "checkpoints").mkdir()
        raise error
    assert (folder / "checkpoints").is_dir()


def test_bug_keeps_the_folder_to_look_into():
    with pytest.raises(ZeroDivisionError), new_run_folder("train", "a", keep_if="checkpoints") as folder:
        raise ZeroDivisionError
    assert folder.is_dir()


@pytest.mark.parametrize("place", ["runs", "runs/train"])
def test_file_in_the_place_of_a_folder_is_a_resource_error(place):
    Path(place).parent.mkdir(exist_ok=True)
    Path(place).write_text("in the way")
    with (
        pytest.raises(ResourceError, match=r"cannot create a run folder in .*/runs/train: .* Fix: "),
        new_run_folder("train", "a", keep_if="x"),
    ):
        pytest.fail("was entered")
    assert Path(place).read_text() == "in the way"


def test_no_permission_is_a_resource_error(elsewhere, monkeypatch):
    # Tests may run as root, whom no mode stops.
    def refuse(self, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with (
        pytest.raises(ResourceError, match=r"runs/train: Permission denied\. Fix: .*writable folder"),
        new_run_folder("train", "a", keep_if="x"),
    ):
        pytest.fail("was entered")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["a/b", "a" * 300], ids=["slash", "too long"])
def test_impossible_name_is_refused_and_leaves_no_parents(elsewhere, name):
    with pytest.raises((ResourceError, ConfigError)), new_run_folder("train", name, keep_if="x"):
        pytest.fail("was entered")
    assert list(elsewhere.iterdir()) == []


# Old folders --------------------------------------------------------------------------------------------------


def test_newest_run_is_the_last_modified():
    make_run("2026-01-03", modified=100)
    make_run("2026-01-01", modified=300)
    make_run("2026-01-02", modified=200)
    assert newest_run().name == "2026-01-01"


def test_newest_run_has_a_checkpoint():
    make_run("whole", modified=100)
    make_run("just begun", modified=200, parts=("config.yaml", "classes.json"))
    killed = make_run("killed before its first checkpoint", parts=("config.yaml", "classes.json"))
    (killed / "checkpoints").mkdir()
    os.utime(killed, (300, 300))
    assert newest_run().name == "whole"


def test_stray_files_are_no_runs():
    make_run("whole", modified=100)
    Path("runs/train/.DS_Store").write_text("")
    assert newest_run().name == "whole"


@pytest.mark.parametrize("made", [False, True], ids=["no folder", "empty folder"])
def test_no_run_says_where_it_was_looked_for(elsewhere, made):
    if made:
        Path("runs/train").mkdir(parents=True)
    with pytest.raises(CheckpointError) as caught:
        newest_run()
    said = str(caught.value)
    assert f"no training run with a checkpoint in {elsewhere}/runs/train. Fix: segtrain train" in said
    assert "run=DIR" in said


def test_run_is_a_run():
    folder = make_run("a")
    assert require_run(str(folder)) == folder


def test_missing_run_is_named():
    with pytest.raises(CheckpointError, match=r"not a training run: runs/train/gone: no such folder\. Fix: "):
        require_run("runs/train/gone")


def test_file_is_no_run():
    Path("model.keras").write_text("")
    with pytest.raises(CheckpointError, match=r"not a training run: model\.keras: no such folder"):
        require_run("model.keras")


@pytest.mark.parametrize("lost", ["config.yaml", "classes.json", "checkpoints"])
def test_folder_without_a_part_is_no_run(lost):
    parts = [part for part in ("config.yaml", "classes.json", "checkpoints") if part != lost]
    folder = make_run("a", parts=parts)
    with pytest.raises(CheckpointError, match=f"not a training run: {folder}: missing {lost}. Fix: "):
        require_run(folder)


def test_home_is_expanded(elsewhere, monkeypatch):
    monkeypatch.setenv("HOME", str(elsewhere))
    make_run("a")
    assert require_run("~/runs/train/a") == elsewhere / "runs/train/a"


# JSON ---------------------------------------------------------------------------------------------------------


def test_json_is_read_as_it_was_written():
    content = {"names": ["wall", "Tür"], "iou": None, "loss": 0.1}
    write_json(Path("a.json"), content)
    assert read_json(Path("a.json")) == content


def test_nan_is_not_written():
    with pytest.raises(ValueError, match="Out of range"):
        write_json(Path("a.json"), {"loss": float("nan")})
    assert not Path("a.json").exists()


@pytest.mark.parametrize("content", [None, b"", b'{"a": ', b"\xff\xfe"], ids=["missing", "empty", "cut", "binary"])
def test_damaged_json_is_a_checkpoint_error(content):
    if content is not None:
        Path("a.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cannot read a\.json: .* Fix: "):
        read_json(Path("a.json"))
