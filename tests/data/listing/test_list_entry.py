"""No spelling of a path in a list file leaves the dataset's folder; ordinary names are untouched."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtrain.data.datasets.folder import Folder
from segtrain.data.listing.list_entry import escape_of, require_inside
from segtrain.errors import DataError

TARGETS = ["../secret.png", "/etc/passwd", "~/secret.png", "masks/../../secret.png"]
SPELLINGS = [
    *TARGETS,
    "~root/secret.png",
    "..",
    "masks/..",
    ".. /secret.png",
    "../ secret.png",
    "./../secret.png",
    ".//..//secret.png",
    "masks/./../../secret.png",
    "..\\secret.png",
    "masks\\..\\..\\secret.png",
    "masks/..\\../secret.png",
    "\\secret.png",
    "\\\\server\\share\\secret.png",
    "C:\\secret.png",
    "c:/secret.png",
    "file:///etc/passwd",
    "//server/secret.png",
    "%2e%2e/secret.png",
    "%2E%2E%2Fsecret.png",
    "..%2fsecret.png",
    "..%5csecret.png",
    "%252e%252e%252fsecret.png",
    "%2fetc%2fpasswd",
    "\u2025/secret.png",
    "\uff0e\uff0e/secret.png",
    "..\uff0fsecret.png",
    "\uff0fetc/passwd",
    "..\uff3csecret.png",
    ".\u200b./secret.png",
    "\u202e../secret.png",
    "\ufeff../secret.png",
    '"../secret.png"',
    "'/etc/passwd'",
    "masks/a\0.png",
]
BEFORE = ["", "images/i000.png ", "images/i000.png\t", "images/i000.png,", "images/i000.png;", "images/i000.png | "]


@pytest.mark.parametrize("before", BEFORE, ids=["alone", "blank", "tab", "comma", "semicolon", "bar"])
@pytest.mark.parametrize("spelling", SPELLINGS, ids=ascii)
def test_no_spelling_leaves_the_dataset_in_any_column(before, spelling):
    with pytest.raises(DataError) as caught:
        require_inside(before + spelling, Path("train.txt"), 7)
    assert "list train.txt:7: " in str(caught.value) and "Fix: " in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a..b.png",
        "...",
        "a... b.png",
        ".hidden",
        "./images/a.png ./masks/a.png",
        "images/i000.png masks/i000.png",
        "images\\i000.png,masks\\i000.png",
        "aachen/aachen_000",
        "2007_000032 1 -1",
        "50%.png",
        "50%2E.png",
        "img ~ copy.png",
        "a~b/c.png",
        "~$a.png",
        "naïve/日本.png",
        "a:b.png",
        "12:30/a.png",
        "it's a.png",
        "\u2026.png",
    ],
)
def test_an_ordinary_name_stays(line):
    assert escape_of(line) == ""


def write(path: Path, size: tuple[int, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros(size, np.uint8)).save(path)


def folder_of(root: Path, line: str) -> Folder:
    (root / "train.txt").write_text(f"{line}\n")
    (root / "val.txt").write_text("images/b.png masks/b.png\n")
    return Folder(str(root), ["zero", "one"], train_list="train.txt", val_list="val.txt")


@pytest.mark.parametrize("target", TARGETS)
def test_a_pair_outside_of_the_root_is_never_opened(tmp_path, target):
    for name in ("root/images/a.png", "root/masks/a.png", "root/images/b.png", "root/masks/b.png", "secret.png"):
        write(tmp_path / name, (4, 4, 3) if "images" in name else (4, 4))
    with pytest.raises(DataError, match=r"train\.txt:1: .*leaves the dataset"):
        folder_of(tmp_path / "root", f"images/a.png {target}").samples("train")


def test_folders_that_the_user_links_into_the_root_are_read(tmp_path):
    write(tmp_path / "disk2/images/a.png", (4, 4, 3))
    write(tmp_path / "root/masks/a.png", (4, 4))
    (tmp_path / "root/images").symlink_to(tmp_path / "disk2/images")
    dataset = folder_of(tmp_path / "root", "images/a.png masks/a.png")
    (sample,) = dataset.samples("train")
    assert dataset.read(sample)[0].shape == (4, 4, 3)
