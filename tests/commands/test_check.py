"""`segtrain check` as a user meets it: what it prints, what it leaves, its exit code, and what it remembers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf
from PIL import Image

import segtrain as package
from commands.conftest import TINY, only_run
from segtrain.builders.verdicts import identity

SPLITS = ("train", "val")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def binary(root: Path, *words: str) -> list[str]:
    return ["check", "+experiment=binary", f"dataset.root={root}", "batch_size=2", "crop_size=[32,32]", *words]


def report(workplace: Path) -> dict:
    return json.loads((only_run(workplace, "check") / "check.json").read_text())


def spoil(root: Path, name: str = "cell_train_1") -> Path:
    """Give one mask the gray edges of a smooth resize."""
    path = root / "masks" / f"{name}.png"
    Image.open(path).resize((32, 24), Image.Resampling.BILINEAR).resize((64, 48)).save(path)
    return path


def test_a_clean_dataset_ends_with_0_and_a_report(segtrain, workplace, binary_root):
    result = segtrain(*binary(binary_root))
    assert result.code == 0, result.err
    said = result.out.splitlines()
    assert said[-2].startswith("checked 4 of train and 2 of val (6 images read in ")
    assert "): 0 errors, 0 warnings, " in said[-2]
    assert said[-1] == f"all files: runs/check/{only_run(workplace, 'check').name}/check.json"
    content = report(workplace)
    assert content["format"] == "segtrain check 1"
    assert content["splits"]["train"] == {"images": 4, "pixels": 4 * 48 * 64, "void_pixels": 0}
    masks = [np.array(Image.open(path)) for path in sorted((binary_root / "masks").glob("cell_train_*"))]
    foreground = content["classes"][1]
    assert (foreground["name"], foreground["images"]) == ("foreground", {"train": 4, "val": 2})
    assert foreground["pixels"]["train"] == sum(int((mask == 255).sum()) for mask in masks)


def test_an_error_is_shown_with_its_file_and_mend_and_ends_with_3(segtrain, workplace, binary_root):
    path = spoil(binary_root)
    result = segtrain(*binary(binary_root))
    assert result.code == 3
    assert "error: values-interpolated in train (1)" in result.out
    assert str(path) in result.out
    assert "Fix: export the labels again, resized by nearest neighbor and saved as PNG" in result.out
    (line,) = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert line.startswith(
        f"error: the data in {binary_root}: 1 of the findings above is an error, expected none. Fix: "
    )
    (error,) = [each for each in report(workplace)["findings"] if each["severity"] == "error"]
    assert error["kind"] == "values-interpolated" and error["split"] == "train" and error["count"] == 1
    assert [each["file"] for each in error["files"]] == [str(path)]


def test_damage_in_the_middle_of_a_photograph_is_told_as_libjpeg_tells_it(segtrain, cihp_root, capfd):
    path = cihp_root / "Training" / "Images" / "0000002.jpg"
    data = bytearray(path.read_bytes())
    middle = len(data) * 3 // 4  # within the pixels, behind all tables
    data[middle : middle + 40] = bytes(40)
    path.write_bytes(data)
    result = segtrain("check", "+experiment=cihp", f"dataset.root={cihp_root}", "batch_size=2", "crop_size=[32,32]")
    assert "warning: image-damaged in train (1)" in result.out and "Corrupt JPEG data" in result.out
    assert str(path) in result.out


def test_the_report_names_every_file_and_the_screen_as_many_as_asked_for(segtrain, workplace, binary_root):
    for number in range(4):
        spoil(binary_root, f"cell_train_{number}")
    result = segtrain(*binary(binary_root, "show=1"))
    assert "and 3 more in check.json" in result.out
    assert "cell_train_0.png" in result.out and "cell_train_1.png" not in result.out
    (error,) = [each for each in report(workplace)["findings"] if each["severity"] == "error"]
    assert error["count"] == len(error["files"]) == 4


def test_the_weights_on_the_screen_are_yaml_to_paste(segtrain, workplace, binary_root):
    result = segtrain(*binary(binary_root))
    pasted = [yaml.safe_load(line) for line in result.out.splitlines() if line.startswith("  loss: ")]
    weights = report(workplace)["class_weights"]
    assert [each["loss"]["class_weights"] for each in pasted] == pytest.approx([*map(pytest.approx, weights.values())])
    assert list(weights) == ["median_frequency", "enet", "inverse"]
    pixels = [each["pixels"]["train"] for each in report(workplace)["classes"]]
    assert weights["inverse"] == pytest.approx([sum(pixels) / 2 / each for each in pixels], abs=1e-4)


def test_what_has_not_changed_is_not_read_again(segtrain, binary_root):
    words = binary(binary_root)
    assert "6 images read" in segtrain(*words).out
    again = segtrain(*words)
    assert again.code == 0 and "fresh=true" in again.out
    assert "6 images read" in segtrain(*words, "fresh=true").out
    path = spoil(binary_root)
    changed = segtrain(*words)
    assert changed.code == 3 and str(path) in changed.out
    assert "4 images read" in changed.out  # val is as it was
    assert "(unchanged" in segtrain(*words).out


def test_some_splits_and_some_photographs_are_enough_for_a_look(segtrain, workplace, binary_root):
    assert segtrain(*binary(binary_root, "splits=[val]", "limit=1")).code == 0
    assert {split: each["images"] for split, each in report(workplace)["splits"].items()} == {"val": 1}


def test_all_splits_are_read_and_compared(segtrain, workplace, binary_root):
    (binary_root / "test.txt").write_text("cell_val_0\n")
    (binary_root / "night.txt").write_text("cell_val_1\n")
    result = segtrain(*binary(binary_root, "dataset.splits={night:{list:night.txt}}"))
    assert result.code == 3
    assert "checked 4 of train, 2 of val, 1 of test and 1 of night" in result.out
    content = report(workplace)
    assert [content["splits"][split]["images"] for split in ("train", "val", "test", "night")] == [4, 2, 1, 1]
    (error,) = [each for each in content["findings"] if each["severity"] == "error"]
    assert error["kind"] == "leak-files" and error["summary"].startswith("1 image of test ")
    assert [Path(each["file"]).name for each in error["files"]] == ["cell_val_0.png"]


def test_a_list_of_train_and_val_is_no_leak_however_few_images_are_read(segtrain, workplace, binary_root):
    (binary_root / "trainval.txt").write_text("".join((binary_root / f"{each}.txt").read_text() for each in SPLITS))
    words = binary(binary_root, "dataset.splits={trainval:{list:trainval.txt}}")
    for limit in ("limit=null", "limit=1", "limit=3"):
        assert segtrain(*words, limit, "batch_size=1").code == 0


def test_naming_a_test_split_reads_train_and_val_no_second_time(segtrain, binary_root):
    # What earlier versions, whose datasets had no such keys, have read stays known.
    plain, further = (
        {"_target_": "segtrain.data.Folder", "root": str(binary_root), "train_list": "train.txt", **more}
        for more in ({}, {"test_images": None, "test_labels": None, "test_list": "t.txt", "splits": {}})
    )
    assert identity(OmegaConf.create(plain)) == identity(OmegaConf.create(further))
    assert segtrain(*binary(binary_root)).code == 0
    (binary_root / "test.txt").write_text("cell_val_0\n")
    assert "(1 image read in" in segtrain(*binary(binary_root)).out


def test_a_wrong_root_is_one_line_and_leaves_nothing(segtrain, workplace):
    result = segtrain(*binary(Path("/nowhere")))
    assert result.code == 3
    assert result.err.startswith("error: dataset.root=/nowhere: no such folder") and len(result.err.splitlines()) == 1
    assert list(workplace.iterdir()) == []


def test_a_misspelt_key_of_the_dataset_is_told(segtrain, binary_root):
    result = segtrain(*binary(binary_root, "++dataset.train_imags=images"))
    assert result.code == 2
    assert "did you mean train_images" in result.err


def test_a_split_that_cannot_be_listed_does_not_hide_the_other(segtrain, workplace, binary_root):
    spoil(binary_root, "cell_val_0")
    (binary_root / "masks/cell_train_1.png").unlink()
    result = segtrain(*binary(binary_root))
    assert result.code == 3
    assert [each["kind"] for each in report(workplace)["findings"] if each["severity"] == "error"] == [
        "split-unlisted",
        "values-interpolated",
    ]


def test_a_name_cannot_write_to_the_terminal(segtrain, workplace, folder_root):
    hostile = "\x1b[31mred\n"
    for kind in ("train", "trainannot"):
        (folder_root / kind / "train_1.png").rename(folder_root / kind / f"{hostile}.png")
    (folder_root / "trainannot" / f"{hostile}.png").write_bytes(b"")
    words = ("dataset=camvid", f"dataset.root={folder_root}", "batch_size=2", "crop_size=[32,32]")
    result = segtrain("check", *words, "splits=[train]")
    assert result.code == 3
    assert "\x1b" not in result.out + result.err
    assert r"\x1b[31mred\n.png" in result.out


def test_check_does_not_import_tensorflow(binary_root, tmp_path):
    program = (
        "import sys, segtrain.cli.main as cli\n"
        f"code = cli.main({binary(binary_root)})\n"
        "print(code, {'tensorflow', 'keras', 'matplotlib', 'scipy'} & sys.modules.keys())"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "0 set()", done.stderr[-300:]


@pytest.mark.tensorflow
def test_train_says_whether_its_data_was_checked(segtrain, binary_root):
    # A cache that processes cannot share ends the run after the line, before it builds a network.
    words = ("+experiment=binary", f"dataset.root={binary_root}", *TINY, "loader=processes", "cache=memory")
    assert "data: not checked: segtrain check" in segtrain("train", *words).err
    assert segtrain("check", *words).code == 0
    said = segtrain("train", *words).err
    assert "data: checked on 20" in said and ": 0 errors, 0 warnings" in said
    spoil(binary_root)
    assert "data: not checked" in segtrain("train", *words).err


@pytest.mark.tensorflow
def test_train_tells_all_pairs_of_another_size(segtrain, workplace, binary_root):
    for name in ("cell_train_2", "cell_val_1"):
        path = binary_root / "masks" / f"{name}.png"
        Image.open(path).crop((0, 0, 64, 40)).save(path)
    result = segtrain("train", "+experiment=binary", f"dataset.root={binary_root}", *TINY)
    assert result.code == 3 and "Traceback" not in result.err
    assert "2 of 6 pairs of image and labels do not fit:" in result.err
    assert "cell_train_2.png: labels 40x64" in result.err and "cell_val_1.png: labels 40x64" in result.err
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "root", "expected"),
    [
        (["+experiment=camvid"], "camvid/CamVid", set()),
        (["+experiment=voc"], "voc2012_subset/VOCdevkit/VOC2012", {"class-not-trained"}),
        (["+experiment=binary"], "dsb2018_nuclei_binary", set()),
        (["dataset=pets", "crop_size=[256,256]"], "oxford_pets_3breeds", set()),
        # Its labels do not tell left from right, and those of 0000536 hold nothing, though a woman is to be seen.
        (["+experiment=cihp"], "clothing_as_cihp/instance-level_human_parsing", {"pair-one-sided", "labels-empty"}),
        # Validation repeats training.
        (["+experiment=cihp", "batch_size=2"], "cihp_sample/instance-level_human_parsing", {"leak-images"}),
    ],
    ids=["camvid", "voc", "nuclei", "pets", "clothing", "cihp"],
)
def test_of_real_data_only_what_is_true_is_told(words, root, expected, segtrain, workplace, test_data):
    segtrain("check", *words, f"dataset.root={test_data / root}", "limit=50")
    told = {each["kind"] for each in report(workplace)["findings"] if each["severity"] != "note"}
    # Of the VOC subset so few show three of the classes that a part of them may or may not hold one.
    assert told - {"class-not-trained"} == expected - {"class-not-trained"}
