"""`segtrain download`, without any network: what it lists, what it says, what it runs next."""

import dataclasses
import shlex
import shutil

import pytest

import toys
from segtrain.cli import main as cli
from segtrain.cli.arguments import rewrite, split_flags
from segtrain.commands import download as module
from segtrain.commands.download import command_lines
from segtrain.config.schema import SCHEMAS
from segtrain.download.sources import SOURCES
from segtrain.errors import ConfigError


@pytest.fixture
def cihp(tmp_path, monkeypatch):
    """A toy of CIHP as an archive of one's own, beside an empty working folder."""
    drawn = toys.draw_cihp(tmp_path / "drawn")
    archive = shutil.make_archive(str(tmp_path / "mine"), "zip", drawn.parent, drawn.name)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return archive


def test_alone_it_lists_every_dataset_with_its_license_and_folder(capsys):
    assert cli.main(["download"]) == 0
    shown = capsys.readouterr().out
    for name, source in SOURCES.items():
        assert f"\n{name} " in f"\n{shown}"
        assert source.license in shown
        assert f"ROOT/{source.folder}" in shown


def test_a_bare_word_is_the_name():
    assert rewrite("download", ["voc", "root=/data"]) == ["name=voc", "root=/data"]
    assert rewrite("download", ["name=voc"]) == ["name=voc"]
    assert split_flags(["voc", "-m"]) == (["-m"], ["voc"])
    with pytest.raises(ConfigError, match="segtrain download voc sbd: expected one name"):
        rewrite("download", ["voc", "sbd"])


def test_a_misspelt_name_is_told_with_its_neighbours(capsys):
    assert cli.main(["download", "cityscape"]) == 2
    assert "did you mean cityscapes?" in capsys.readouterr().err


def test_a_dataset_behind_a_login_says_how_to_go_on(capsys, tmp_path):
    assert cli.main(["download", "cityscapes", f"root={tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert "leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip" in said
    assert "segtrain download cityscapes archive=FOLDER" in said
    assert not list(tmp_path.iterdir())


def test_a_missing_archive_is_told(capsys, tmp_path):
    assert cli.main(["download", "cihp", f"root={tmp_path}", "archive=nowhere.zip"]) == 2
    assert "archive=nowhere.zip: file or folder not found" in capsys.readouterr().err


def test_an_archive_of_ones_own_is_unpacked_and_checked(cihp, capsys, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("segtrain.commands.check.check", seen.append)
    root = tmp_path / "my data=here"
    folder = root / "instance-level_human_parsing"
    assert cli.main(["download", "cihp", f"root='{root}'", f"archive={cihp}"]) == 0
    said = capsys.readouterr().out
    assert f"{folder}: " in said
    assert "No sum of instance-level-human-parsing.zip has been published" in said
    line = next(line for line in said.splitlines() if "segtrain train" in line)
    assert shlex.split(line)[2:] == ["+experiment=cihp", f'dataset.root="{folder}"']
    (cfg,) = seen
    assert cfg.dataset.root == str(folder)
    assert cfg.name == "check"
    # Once more: all is there, so nothing is done and nothing checked.
    assert cli.main(["download", "cihp", f"root='{root}'"]) == 0
    assert "is already present and intact" in capsys.readouterr().out
    assert len(seen) == 1


def test_the_check_can_be_left_out(cihp, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_check", lambda *_: pytest.fail("checked"))
    assert cli.main(["download", "cihp", f"root={tmp_path}", f"archive=[{cihp}]", "check=false"]) == 0
    assert (tmp_path / "instance-level_human_parsing/Training/Images").is_dir()


def test_command_lines_name_the_experiment_where_there_is_one(tmp_path):
    folder = tmp_path / "VOCdevkit/VOC2012"
    assert command_lines(SOURCES["voc"], folder) == [
        f"segtrain check dataset=voc dataset.root={folder}",
        f"segtrain train +experiment=voc dataset.root={folder}",
    ]
    assert command_lines(SOURCES["pets"], tmp_path)[1] == f"segtrain train dataset=pets dataset.root={tmp_path}"


def test_sbd_goes_on_with_prepare(tmp_path):
    (line,) = command_lines(SOURCES["sbd"], tmp_path / "benchmark_RELEASE")
    _, command, *words = shlex.split(line)
    keys = dict(word.split("=", 1) for word in words)
    assert keys == {
        "sbd": f"{tmp_path}/benchmark_RELEASE",
        "voc": f"{tmp_path}/{SOURCES['voc'].folder}",
        "output": f"{tmp_path}/voc_aug",
    }
    assert keys.keys() <= {each.name for each in dataclasses.fields(SCHEMAS[command])}
