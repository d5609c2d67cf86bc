"""Whatever a name or a value holds, a terminal, a log and a page show it as text on one line."""

import logging

import numpy as np
import pytest
from PIL import Image

from segtrain.cli import main as cli
from segtrain.config.stored import shown as of_config
from segtrain.data.datasets.folder import Folder
from segtrain.data.images.contents import shown
from segtrain.download.confirm import printable as of_page
from segtrain.errors import ConfigError, DataError
from segtrain.report.contact_page import escape
from segtrain.storage import named
from segtrain.terminal import controls, print_logs_escaped, printable, printable_lines

CONTROLS = {
    "clear": "\x1b[2J",
    "title": "\x1b]0;owned\x07",
    "C1": "\x9b31m",
    "return": "safe\rerror",
    "backspace": "a\b\b",
    "line": "a\nerror: b",
    "override": "\u202egnp.exe",
    "isolate": "\u2066a",
    "line separator": "a\u2028b",
    "next line": "a\x85b",
    "half of a pair": "\ud800",
    "byte": "\udcff",
    "delete": "\x7f",
    "NUL": "\0",
    "zero width": "a\u200bb",
    "tab": "a\tb",
}


@pytest.mark.parametrize("text", CONTROLS.values(), ids=CONTROLS)
def test_control_characters_become_escapes_wherever_text_is_shown(text):
    for show in (printable, printable_lines, shown, named, of_page, of_config, escape):
        assert show(text).isprintable(), show
        assert show(text).encode()


def test_ordinary_text_stays():
    for text in ("naïve/日本 語.png", "a [b] 'c'", "👍"):
        assert printable(text) == text and controls(text) == ""
    assert printable_lines("2 problems:\n  - a\n  - b") == "2 problems:\n  - a\n  - b"
    assert controls("می\u200cخواهم") == ""  # a joiner within a Persian word


@pytest.mark.parametrize("text", [text for name, text in CONTROLS.items() if name != "zero width"])
def test_a_class_name_of_control_characters_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match=r"classes: .*Fix: ") as caught:
        Folder(str(tmp_path), ["sky", f"car{text}"], train_images="a", train_labels="b", val_fraction=0.5)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", CONTROLS.values(), ids=CONTROLS)
def test_no_error_line_holds_control_characters(monkeypatch, capsys, text):
    def refuse(words):
        raise DataError(f"names without image: {text}. Fix: rename\n  - more")

    monkeypatch.setattr(cli, "_dispatch", refuse)
    assert cli.main(["check"]) == DataError.exit_code
    lines = capsys.readouterr().err.split("\n")
    assert len(lines) == 3 and all(line.isprintable() for line in lines)


@pytest.mark.parametrize("text", CONTROLS.values(), ids=CONTROLS)
def test_no_logged_line_holds_control_characters(tmp_path, text):
    factory = logging.getLogRecordFactory()
    print_logs_escaped()
    handler = logging.FileHandler(tmp_path / "train.log", encoding="utf-8")
    logger = logging.getLogger("segtrain.test")
    logger.addHandler(handler)
    try:
        logger.warning("%s is passed over", text)
    finally:
        logger.removeHandler(handler)
        handler.close()
        logging.setLogRecordFactory(factory)
    lines = (tmp_path / "train.log").read_bytes().decode().split("\n")
    assert len(lines) == 2 and lines[0].isprintable()


@pytest.mark.parametrize("name", [name for name in CONTROLS if name not in ("NUL", "half of a pair")])
def test_check_shows_the_names_of_files_as_text(tmp_path, capfd, monkeypatch, name):
    text = CONTROLS[name].replace("/", "")
    for folder, size in (("images", (8, 8, 3)), ("masks", (9, 8))):
        (tmp_path / "d" / folder).mkdir(parents=True)
        for number in range(4):
            path = tmp_path / "d" / folder / f"{text}{number}.png"
            with path.open("wb") as file:
                Image.fromarray(np.zeros(size, np.uint8)).save(file, "PNG")
    monkeypatch.chdir(tmp_path)
    keys = "dataset=folder dataset.root=d dataset.train_images=images dataset.train_labels=masks workers=1"
    split = "dataset.val_images=null dataset.val_labels=null dataset.val_fraction=0.5 dataset.classes=[sky,car]"
    assert cli.main(["check", *keys.split(), *split.split()]) == DataError.exit_code
    found = capfd.readouterr()
    assert printable(text) in found.out
    assert all(line.isprintable() for line in (found.out + found.err).split("\n"))
