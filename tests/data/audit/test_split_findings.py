"""Faults of lists and splits: what is missing, twice there, or in train and in val."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.audit.faults import Corpus, Fault, assert_told, findings_of, ids_of, masks, people, save, scenery, street
from segtrain.data import Folder

CORPUS = Corpus()
plants = CORPUS.plants


# Lists and folders


@plants("split-unlisted", "val")
def a_split_without_files(folder):
    root, dataset = street(folder)
    for path in (root / "val").iterdir():
        path.unlink()
    return dataset


@plants("split-unlisted", "val.txt")
def a_list_that_is_missing(folder):
    root, dataset = masks(folder)
    (root / "val.txt").unlink()
    return dataset


@plants("split-unlisted", "split 'val' is empty")
def a_list_without_names(folder):
    root, dataset = masks(folder)
    (root / "val.txt").write_text("\n\n")
    return dataset


@plants("split-unlisted", "cell_train_9")
def a_list_with_the_name_of_no_file(folder):
    root, dataset = masks(folder)
    with (root / "train.txt").open("a") as file:
        file.write("cell_train_9\n")
    return dataset


@plants("split-unlisted", "cell_train_1")
def a_list_with_a_name_twice(folder):
    root, dataset = masks(folder)
    with (root / "train.txt").open("a") as file:
        file.write("cell_train_1\n")
    return dataset


@plants("split-unlisted", "../cell_train_1")
def a_list_that_leaves_the_root(folder):
    root, dataset = masks(folder)
    with (root / "train.txt").open("a") as file:
        file.write("../cell_train_1\n")
    return dataset


@plants("split-unlisted", "train.txt")
def a_list_that_is_no_text(folder):
    root, dataset = masks(folder)
    (root / "train.txt").write_bytes("cell_train_0\n".encode("utf-16-le"))
    return dataset


@plants("split-unlisted", "cell_val_0")
def a_validation_name_on_the_training_list(folder):
    root, dataset = masks(folder)
    with (root / "train.txt").open("a") as file:
        file.write("cell_val_0\n")
    return dataset


@plants("split-unlisted", "train_1")
def a_photograph_without_labels(folder):
    root, dataset = street(folder)
    (root / "trainannot/train_1.png").unlink()
    return dataset


@plants("split-unlisted", "train_1.jpg")
def two_photographs_for_one_label_file(folder):
    root, dataset = street(folder)
    save(root / "train/train_1.jpg", scenery(1))
    return dataset


@plants("split-small", "2 images, expected one batch of 4", batch_size=4)
def fewer_photographs_than_a_batch(folder):
    return people(folder, num_train=2)[1]


# The same image twice


def street_with_test(folder):
    """A street with a test folder, still empty."""
    root, dataset = street(folder, test_images="test", test_labels="testannot")
    for kind in ("test", "testannot"):
        (root / kind).mkdir()
    return root, dataset


@plants("leak-files", "train_0.png")
def one_folder_for_both_splits(folder):
    root, _ = street(folder)
    (root / "some.txt").write_text("train_0\ntrain_1\ntrain_2\ntrain_3\n")
    (root / "list.txt").write_text("train/train_0.png trainannot/train_0.png\n")
    return Folder(
        str(root),
        *(["sky", "building", "road", "tree", "car"], "train", "trainannot"),
        val_list="list.txt",
        ignore_class=11,
    )


@plants("leak-images", "val_9.png")
def a_training_photograph_in_val_under_another_name(folder):
    root, dataset = street(folder)
    copy(root, "train_1", "val_9")
    return dataset


@plants("leak-images", "val_9.png")
def a_link_from_val_to_train(folder):
    root, dataset = street(folder)
    for kind in ("", "annot"):
        (root / f"val{kind}" / "val_9.png").symlink_to(root / f"train{kind}" / "train_1.png")
    return dataset


@plants("near-duplicates-across", "val_9.jpg")
def a_training_photograph_in_val_at_a_lower_quality(folder):
    root, dataset = street(folder)
    scene(root, "train", "train_8")
    scene(root, "val", "val_9", suffix=".jpg", quality=60)
    return dataset


@plants("near-duplicates-across", "val_9.png")
def a_training_photograph_in_val_at_half_the_size(folder):
    root, dataset = street(folder)
    scene(root, "train", "train_8")
    scene(root, "val", "val_9", step=2)
    return dataset


@plants("near-duplicates-across", "val_9.png")
def a_training_photograph_in_val_but_darker(folder):
    root, dataset = street(folder)
    scene(root, "train", "train_8")
    scene(root, "val", "val_9", light=0.7)
    return dataset


@plants("leak-images", "test_9.png")
def a_training_photograph_in_test_under_another_name(folder):
    root, dataset = street_with_test(folder)
    copy(root, "train_1", "test_9")
    return dataset


@plants("near-duplicates-across", "test_9.png")
def a_validation_photograph_in_test_but_darker(folder):
    root, dataset = street_with_test(folder)
    scene(root, "val", "val_8")
    scene(root, "test", "test_9", light=0.7)
    return dataset


@plants("leak-files", "val_0.png")
def a_validation_photograph_on_the_test_list(folder):
    root, dataset = street(folder, test_images="val", test_labels="valannot", test_list="test.txt")
    (root / "test.txt").write_text("val_0\n")
    return dataset


@plants("leak-files", "train_0.png")
def a_named_list_with_a_training_photograph_among_others(folder):
    root, dataset = street(folder, splits={"night": {"list": "night.txt"}})
    (root / "night.txt").write_text("train/train_0.png trainannot/train_0.png\nval/val_0.png valannot/val_0.png\n")
    return dataset


@plants("duplicates", "val_9.png")
def a_validation_photograph_twice_on_a_named_list_too(folder):
    root, dataset = street(folder, splits={"night": {"images": "val", "labels": "valannot"}})
    for kind in ("val", "valannot"):
        save(root / kind / "val_9.png", ids_of(root / kind / "val_1.png"))
    return dataset


@plants("near-duplicates", "train_9.png")
def two_frames_of_one_film(folder):
    root, dataset = street(folder)
    scene(root, "train", "train_8")
    scene(root, "train", "train_9", light=0.9)
    return dataset


@plants("mirrored-across", "val_9.png")
def a_training_photograph_in_val_mirrored(folder):
    root, dataset = street(folder)
    scene(root, "train", "train_8")
    scene(root, "val", "val_9", mirrored=True)
    return dataset


@plants("duplicates", "train_9.png")
def a_training_photograph_twice(folder):
    root, dataset = street(folder)
    copy(root, "train_1", "train_9")
    return dataset


@plants("labels-contradict", "train_9.png", also=("duplicates",))
def a_photograph_with_two_labels(folder):
    root, dataset = street(folder)
    copy(root, "train_1", "train_9")
    ids = ids_of(root / "trainannot/train_9.png")
    ids[10:20, 10:20] = 2
    save(root / "trainannot/train_9.png", ids)
    return dataset


@plants("labels-copied", "train_2.png")
def labels_saved_under_the_name_of_another(folder):
    root, dataset = street(folder)
    save(root / "trainannot/train_2.png", ids_of(root / "trainannot/train_1.png"))
    return dataset


@plants("mirrored-unswapped", "0000009.png")
def a_mirrored_photograph_whose_arms_did_not_change_sides(folder):
    return mirrored_person(folder, swapped=False)


def test_a_mirrored_photograph_whose_arms_changed_sides_is_no_error(tmp_path):
    assert [each.kind for each in findings_of(mirrored_person(tmp_path, swapped=True)) if each.severity != "note"] == []


def test_equal_labels_of_equal_photographs_are_not_told_as_labels_under_a_wrong_name(tmp_path):
    dataset = a_training_photograph_twice(tmp_path)
    assert "labels-copied" not in [each.kind for each in findings_of(dataset)]


@pytest.mark.parametrize("fault", CORPUS.faults, ids=str)
def test_a_planted_fault_of_a_split_is_told(fault: Fault, tmp_path: Path):
    assert_told(fault, tmp_path)


def copy(root: Path, name: str, other: str) -> None:
    """Copy a training image and its labels to another name, which begins with the name of its split."""
    split = other.split("_")[0]
    for kind in ("", "annot"):
        (root / f"{split}{kind}" / f"{other}.png").write_bytes((root / f"train{kind}" / f"{name}.png").read_bytes())


def scene(root: Path, split: str, name: str, *, suffix=".png", step=1, light=1.0, mirrored=False, **options) -> None:
    """Add one and the same scene to a split, changed as told; its labels are drawn anew."""
    image = (scenery(5)[::step, ::step] * light).astype(np.uint8)
    ids = np.random.default_rng(len(name) + ord(name[-1])).integers(0, 5, (4, 4), np.uint8)
    ids = np.array(Image.fromarray(ids).resize(image.shape[1::-1], Image.Resampling.NEAREST))
    save(root / split / f"{name}{suffix}", image[:, ::-1].copy() if mirrored else image, **options)
    save(root / f"{split}annot" / f"{name}.png", ids)


def mirrored_person(folder: Path, *, swapped: bool):
    """Add to people one who raises the left arm (14) at the image's right, and the mirror image."""
    root, dataset = people(folder)
    image = scenery(7)
    ids = np.zeros((48, 64), np.uint8)
    ids[5:40, 44:60], ids[20:45, 6:18] = 14, 15
    mirror = ids[:, ::-1].copy()
    if swapped:
        mirror = np.array([*range(14), 15, 14], np.uint8)[mirror]
    for name, pixels, labels in (("0000008", image, ids), ("0000009", image[:, ::-1].copy(), mirror)):
        save(root / f"Training/Images/{name}.png", pixels)
        save(root / f"Training/Category_ids/{name}.png", labels)
    return dataset
