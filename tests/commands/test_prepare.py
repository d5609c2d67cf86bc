"""`segtrain prepare`: from SBD's archive to a line that trains."""

import shlex

import pytest

import toys
from segtrain.data.sbd.convert import LABELS


@pytest.fixture
def words(tmp_path):
    voc = toys.draw_voc(tmp_path)
    sbd = toys.draw_sbd(tmp_path, voc)
    return [f"sbd={sbd}", f"voc={voc}", f"output={tmp_path / 'out'}"]


def test_it_says_what_it_made_and_how_to_train_on_it(segtrain, workplace, tmp_path, words):
    result = segtrain("prepare", *words)
    assert result.code == 0, result.err
    assert "12 label files, 6 of SBD, 6 of VOC" in result.out
    assert "train_aug.txt: 10 names, none of the 2 that validate" in result.out
    assert "10 names to train on, publications have 10,582" in result.err
    line = result.out.splitlines()[-1].strip()
    assert shlex.split(line)[:3] == ["segtrain", "train", "+experiment=voc"]
    assert f"dataset.labels={tmp_path / 'out' / LABELS}" in line
    assert list(workplace.iterdir()) == []
    assert "12 were already present and intact" in segtrain("prepare", *words).out


def test_its_line_is_read_by_the_shell_and_hydra_as_it_was_meant(segtrain, tmp_path, words):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    output = tmp_path / "it's {mine}, $HOME"
    escaped = str(output).replace("'", "\\'")
    result = segtrain("prepare", *words[:2], f"output='{escaped}'")
    assert result.code == 0, result.err
    overrides = OverridesParser.create().parse_overrides(shlex.split(result.out.splitlines()[-1])[3:])
    assert {each.key_or_group: each.value() for each in overrides}["dataset.labels"] == str(output / LABELS)


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (lambda words: words[:1], 2, "voc is not given. Fix: voc=..."),
        (lambda words: [*words, "workers=0"], 2, "workers=0: expected at least 1"),
        (lambda words: ["sbd=/gone", *words[1:]], 3, "error: sbd=/gone: no such folder"),
        (lambda words: [*words[:2], "output=/proc/out"], 5, "/proc/out"),
    ],
)
def test_what_cannot_be_ends_in_one_line(segtrain, workplace, words, spoil, code, said):
    result = segtrain("prepare", *spoil(words))
    assert result.code == code
    assert said in result.err and "Traceback" not in result.err
    assert list(workplace.iterdir()) == []
