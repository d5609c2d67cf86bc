"""A run's paths mean the same files from every working folder."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from segtrain.config.paths import make_absolute, resolve_stored


def paths(root="data", **others):
    return OmegaConf.create({"dataset": {"_target_": "x", "root": root, "train_list": "train.txt"}, **others})


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with data, weights and a run, and another working folder with data of the same name."""
    for folder in ("project/data", "project/runs/train/one", "elsewhere/data"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "project/w.h5").touch()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def test_roots_weights_and_cache_become_absolute(project):
    cfg = paths(weights="w.h5", cache="cached", backbone={"weights": "w.h5"})
    make_absolute(cfg)
    here = str(project)
    assert cfg.dataset == {"_target_": "x", "root": f"{here}/data", "train_list": "train.txt"}
    assert (cfg.weights, cfg.cache, cfg.backbone.weights) == (f"{here}/w.h5", f"{here}/cached", f"{here}/w.h5")


def test_words_that_are_no_paths_stay(project):
    for weights in ("imagenet", "noisy-student", None):
        cfg = paths(root="???", weights=None, cache="memory", backbone={"weights": weights})
        before = cfg.copy()
        make_absolute(cfg)
        assert cfg == before


@pytest.mark.parametrize(
    ("typed", "read"), [("data", "{}/data"), ("../elsewhere/data", "{}/../elsewhere/data"), ("/a", "/a")]
)
def test_a_root_is_where_it_was_typed(project, typed, read):
    cfg = paths(root=typed)
    make_absolute(cfg)
    assert cfg.dataset.root == read.format(project)


def test_a_home_folder_is_written_out(project, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    cfg = paths(root="~/data")
    make_absolute(cfg)
    assert cfg.dataset.root == "/home/me/data"


def test_datasets_within_another_have_roots_of_their_own(project):
    cfg = OmegaConf.create({"dataset": {"datasets": {"a": {"root": "data"}, "b": {"datasets": {"c": {"root": "x"}}}}}})
    make_absolute(cfg)
    assert cfg.dataset.datasets.a.root == f"{project}/data"
    assert cfg.dataset.datasets.b.datasets.c.root == f"{project}/x"


def test_an_interpolation_is_written_out(project):
    cfg = paths(root="${folder}/data", folder="sub")
    make_absolute(cfg)
    assert cfg.dataset.root == f"{project}/sub/data"


@pytest.mark.parametrize("root", ["${optimizer}", "${nowhere}", 7, None, ["data"], "a\0b"])
def test_what_is_no_path_is_left_to_the_checks(project, root):
    resolve_stored(project / "runs/train/one", paths(root=root, optimizer={"a": 1}))


def test_an_old_run_reads_the_data_of_its_project(project, monkeypatch, caplog):
    monkeypatch.chdir(project.parent / "elsewhere")
    for run in (project / "runs/train/one", Path("../project/runs/train/one")):
        stored = resolve_stored(run, paths(weights="w.h5"))
        assert Path(stored.dataset.root).samefile(project / "data")
        assert Path(stored.weights).samefile(project / "w.h5")
    assert not caplog.records


def test_an_old_run_that_was_moved_warns_of_what_it_reads(project, monkeypatch, caplog):
    monkeypatch.chdir(project.parent / "elsewhere")
    stored = resolve_stored(project / "moved", paths())
    assert stored.dataset.root == str(project.parent / "elsewhere/data")
    assert "dataset.root=data, relative: read as " in caplog.text


def test_a_root_that_is_nowhere_is_left_as_it_is(project):
    assert resolve_stored(project / "runs/train/one", paths(root="gone")).dataset.root == "gone"
