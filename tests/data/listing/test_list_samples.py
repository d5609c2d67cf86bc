"""Each column of a list is honored exactly, or the line is refused with a fix that works."""

import logging
import re
import unicodedata
from pathlib import Path

import pytest

import fixes
from segtrain.data import Folder
from segtrain.errors import DataError

SEPARATORS = [" ", "   ", "\t", ",", ", ", ";", " ; ", "|", " | "]
NAMES = ["p0", "my cat", "a,b", "x;y", "u|v", "b 12", "it's", 'say "hi"', "caf\u00e9", "#1", "a.v2", "100%"]


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def opened(root: Path, lines, encoding="utf-8", **options) -> Folder:
    """A dataset whose training list has these lines; a second label folder holds files of the same names."""
    text = lines if isinstance(lines, str) else "".join(f"{line}\n" for line in lines)
    (root / "train.txt").write_bytes(text.encode(encoding))
    keys = {"train_images": "images", "train_labels": "masks", "train_list": "train.txt", "val_list": "val.txt"}
    return Folder(str(root), ["a", "b"], **{**keys, **options})


def pairs(root: Path, lines, **options) -> list[tuple[str, str]]:
    """The files of each sample, relative to the root."""
    return [
        (str(sample.image.relative_to(root)), str(sample.labels.relative_to(root)))
        for sample in opened(root, lines, **options).samples("train")
    ]


def refused(root: Path, lines, **options) -> str:
    with pytest.raises(DataError) as caught:
        opened(root, lines, **options).samples("train")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def root(tmp_path):
    names = [f"{folder}/{name}.{kind}" for name in ("p0", "p1", "p2") for folder, kind in FOLDERS]
    return touch(tmp_path / "data", *names)


FOLDERS = (("images", "jpg"), ("masks", "png"), ("masks_fixed", "png"))
FIXED = [(f"images/p{index}.jpg", f"masks_fixed/p{index}.png") for index in range(3)]
DEFAULT = [(f"images/p{index}.jpg", f"masks/p{index}.png") for index in range(3)]


# Columns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("quoted", ["{}", '"{}"', "'{}'"])
@pytest.mark.parametrize("form", ["{}", "/{}", "./{}", "ROOT/{}"])
def test_the_label_file_that_a_line_names_is_read_whatever_separates_it(root, separator, quoted, form):
    form = quoted.format(form.replace("ROOT", str(root)))
    lines = [separator.join(form.format(each) for each in pair) for pair in FIXED]
    assert pairs(root, lines) == FIXED


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("name", NAMES)
def test_names_may_hold_what_separates_columns(tmp_path, separator, name):
    touch(tmp_path, f"images/{name}.jpg", f"masks_fixed/{name}.png", f"masks/{name}.png", "images/p9.jpg")
    pair = (f"images/{name}.jpg", f"masks_fixed/{name}.png")
    assert pairs(tmp_path, [separator.join(pair)]) == [pair]
    assert pairs(tmp_path, [name]) == [(pair[0], f"masks/{name}.png")]


def test_windows_paths_are_read(root):
    lines = [";".join(pair).replace("/", "\\") for pair in FIXED]
    assert pairs(root, lines) == FIXED
    assert pairs(root, "\r\n".join(lines), encoding="utf-16") == FIXED
    assert pairs(root, "\ufeff" + "\r\n".join(lines)) == FIXED


@pytest.mark.parametrize("separator", [",", "\t", " "])
@pytest.mark.parametrize("header", [("image", "mask"), ("filename", "label"), ("img_path", "seg_path")])
def test_a_header_names_the_columns_in_either_order(root, separator, header):
    lines = [separator.join(each) for each in (header, *FIXED)]
    assert pairs(root, lines) == FIXED
    assert pairs(root, [separator.join(each[::-1]) for each in (header, *FIXED)]) == FIXED


def test_comments_and_empty_lines_do_not_count(root):
    lines = ["# my list", "", *(",".join(pair) for pair in FIXED), "   ", "#images/p1.jpg,masks/p1.png"]
    assert pairs(root, lines) == FIXED


@pytest.mark.parametrize(
    "form", ["p{}", "p{}.jpg", "images/p{}", "images/p{}.jpg", "/images/p{}.jpg", "images\\p{}", "./p{}", "p{} 1 7"]
)
def test_names_are_read_with_or_without_folder_and_suffix(root, form):
    assert pairs(root, [form.format(index) for index in range(3)]) == DEFAULT


@pytest.mark.parametrize("separator", SEPARATORS)
def test_two_names_are_read_in_the_two_folders(tmp_path, separator):
    touch(tmp_path, "images/a.jpg", "images/b.jpg", "masks/m1.png", "masks/m2.png", "masks/a.png")
    lines = [separator.join(pair) for pair in (("a", "m2"), ("b.jpg", "m1.png"))]
    assert pairs(tmp_path, lines) == [("images/a.jpg", "masks/m2.png"), ("images/b.jpg", "masks/m1.png")]


def test_files_that_are_called_like_a_header_or_a_comment_are_files(tmp_path):
    touch(tmp_path, *(f"{folder}/{name}" for name in ("image", "#1", "b") for folder in ("images", "masks")))
    for path in tmp_path.glob("*/*"):
        path.rename(f"{path}.png")
    assert [image for image, _ in pairs(tmp_path, ["image", "#1", "b"])] == [
        "images/image.png",
        "images/#1.png",
        "images/b.png",
    ]
    assert ":2: '#1,x'" in refused(tmp_path, ["b", "#1,x"])


def test_a_path_and_a_name_are_each_read_where_they_are(root):
    assert pairs(root, ["p0 masks_fixed/p0.png", "images/p1.jpg p1"][:1]) == FIXED[:1]
    assert pairs(root, ["images/p1.jpg p1"]) == DEFAULT[1:2]
    assert fixes.fix_of(refused(root, ["images/p0.jpg masks_fixed/p0"])).startswith("sed -i.bak 's/$/.png/' ")


def test_a_line_of_very_many_columns_is_refused_at_once(root):
    assert "50001 columns, expected two" in refused(root, ["p0", " ".join(["p"] * 50001)])


def test_a_list_of_which_nothing_is_found_is_not_emptied_by_its_fix(root):
    assert "Fix: name another list" in refused(root, ["gone", "lost"])


# Refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "seen"),
    [
        (["images/p0.jpg,masks/gone.png"], "no labels"),
        (["images/gone.jpg,masks/p0.png"], "no image "),
        (["images/p0.jpg,"], "no image|column|labels"),
        (["images/p0.jpg,masks/p0.png,0.5"], "3 columns"),
        (["images/p0.jpg masks/p0.png masks_fixed/p0.png"], "3 columns"),
        (["images/p0.jpg,masks/p0.png", "p1"], ":2: 'p1': one name"),
        (["p1", "images/p0.jpg,masks/p0.png"], ":2: .*two paths"),
        (["p0", "p1", "images/p0.jpg"], ":3: .*twice, first in line 1"),
        (["images/p0.jpg,masks/p0.png", "images/p0.jpg;masks_fixed/p0.png"], ":2: .*twice"),
        (["masks/p0.png,images/p0.jpg"], "folder of labels"),
        (["masks_fixed/p0.png"], "outside of the images' folder"),
        (["p0.png"], "there is .*p0.jpg"),
        (["/etc/passwd"], "absolute path"),
        (["images/p0.jpg ../secret.png"], "'\\.\\.' in its path"),
        (["~/p0.jpg"], "home folder"),
        (["p0 -1", "p1 1"], "the second column holds -1, 1"),
        (["image,mask,split", "images/p0.jpg,masks/p0.png,train"], "header of 3 columns"),
        (["nothing"], "no image of this name"),
    ],
)
def test_lines_that_cannot_be_honored_are_refused_by_number(root, lines, seen):
    message = refused(root, lines)
    assert re.search(seen, message), message
    assert message.startswith(f"list {root / 'train.txt'}:") and ". Fix: " in message


def test_a_number_that_is_also_a_label_file_is_not_guessed(tmp_path):
    touch(tmp_path, "images/1.jpg", "images/2.jpg", "masks/1.png", "masks/2.png")
    assert "2.png" in refused(tmp_path, ["1 2"])


def test_a_line_with_two_readings_is_refused(tmp_path):
    touch(tmp_path, "a.jpg", "b.png", "a.jpg b.jpg", "b.jpg b.png")
    assert "it can be read as" in refused(tmp_path, ["a.jpg b.jpg b.png"], train_images=None, train_labels=None)


@pytest.mark.parametrize("text", ["zz\x1b[2J", "images/x\x1b.jpg,masks/y\x07.png", "\x1b]0;x\x07 b c", "b\x1b"])
def test_control_characters_of_a_list_never_reach_the_terminal(root, text):
    touch(root, "images/b\x1b.gif", "masks/b\x1b.gif")
    assert refused(root, [text]).isprintable()


# Spellings ----------------------------------------------------------------------------------------------------


def test_other_cases_and_normalizations_are_paired_with_one_warning(tmp_path, caplog):
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    touch(tmp_path, "images/IMG_1.JPG", "masks/img_1.png", f"images/{decomposed}.jpg", f"masks/{composed}.png")
    with caplog.at_level(logging.WARNING):
        found = pairs(tmp_path, ["Img_1", composed])
    assert found == [("images/IMG_1.JPG", "masks/img_1.png"), (f"images/{decomposed}.jpg", f"masks/{composed}.png")]
    assert "Img_1" in caplog.text and "IMG_1.JPG" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert pairs(tmp_path, ["images/img_1.jpg,MASKS/img_1.PNG"]) == [("images/IMG_1.JPG", "masks/img_1.png")]
    assert "differ from their files" in caplog.text


def test_spellings_that_fit_two_files_are_not_guessed(tmp_path):
    touch(tmp_path, "images/IMG_1.jpg", "images/img_1.jpg", "masks/Img_1.png")
    assert "no image of this name" in refused(tmp_path, ["iMg_1"])
    assert "1 names without label file" in refused(tmp_path, ["img_1"])


# Fixes that are run -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["data", "my data", "it's", "~d", "$HOME", 'a"b', "[v1]", "a#b"])
@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (["images/p0.jpg,masks/p0.png", "images/gone.jpg,masks/gone.png"], 1),
        (["p0", "p1", "p1", "gone"], 2),
        ([f"/home/ann/data/images/p{index}.jpg /home/ann/data/masks/p{index}.png" for index in range(3)], 3),
        ([f"C:\\x\\images\\p{index}.jpg;C:\\x\\masks\\p{index}.png" for index in range(3)], 3),
        ([f"../other/images/p{index}.jpg" for index in range(3)], 3),
        ([f"p{index}.png" for index in range(3)], 3),
        (["images/p0.jpg,masks/p0.png,0.5", "images/p1.jpg,masks/p1.png,1.5"], 2),
        (["images/p0.jpg masks/p0.png x"], 1),
        (["p0 -1", "p1 1", "p2 1"], 2),
        (["image,mask,split", "images/p0.jpg,masks/p0.png,train"], 1),
        (["split,image,mask", "train,images/p0.jpg,masks/p0.png"], 1),
        (["masks/p0.png,images/p0.jpg", "masks/p1.png,images/p1.jpg"], 2),
    ],
)
def test_the_fix_of_a_list_works_when_it_is_pasted(tmp_path, folder, lines, names):
    root = touch(
        tmp_path / folder, *(f"{subfolder}/p{index}.{kind}" for index in range(3) for subfolder, kind in FOLDERS)
    )
    dataset, options = opened(root, lines), {}
    for _ in range(3):
        try:
            found = dataset.samples("train")
            break
        except DataError as error:
            options |= fixes.run(str(error), tmp_path)
            keys = {"train_images": "images", "train_labels": "masks", "train_list": "train.txt", "val_list": "val.txt"}
            dataset = Folder(str(root), ["a", "b"], **{**keys, **options})
    assert len(found) == names


def test_the_fix_of_an_encoding_works_when_it_is_pasted(tmp_path):
    touch(tmp_path / "d", "images/caf\u00e9.jpg", "masks/caf\u00e9.png")
    for encoding in ("latin-1", "utf-16-le", "utf-16-be"):
        fixes.run(refused(tmp_path / "d", ["caf\u00e9"], encoding=encoding), tmp_path)
        keys = {"train_images": "images", "train_labels": "masks", "train_list": "train.txt", "val_list": "val.txt"}
        assert len(Folder(str(tmp_path / "d"), ["a", "b"], **keys).samples("train")) == 1
