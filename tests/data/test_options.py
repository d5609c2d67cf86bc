"""Every dataset of configs/dataset opens the layout that it asks for and keeps the promises of all of them.

A new YAML is tested by existing: `toys.draw_node` draws what it looks for.
"""

import inspect
import itertools
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import toys
from segtrain import config
from segtrain.data import Folder
from segtrain.errors import DataError

OPTIONS = sorted(path.stem for path in Path(config.config_dir(), "dataset").glob("*.yaml"))
ONE_FOLDER = "folder"  # asks its user for the classes


def node_of(option):
    """What `dataset=OPTION` composes to."""
    with initialize_config_dir(config.config_dir(), version_base="1.3"):
        node = OmegaConf.to_container(compose(f"dataset/{option}")["dataset"])
    return {**node, "classes": {"sky": [9, 9, 9], "road": [1, 2, 3]}} if option == ONE_FOLDER else node


@pytest.fixture(scope="module", params=OPTIONS)
def opened(request, tmp_path_factory):
    """The name, the node with a drawn root, and the dataset of each option."""
    node = toys.draw_node(tmp_path_factory.mktemp(request.param), node_of(request.param))
    return request.param, node, config.build(OmegaConf.create({"dataset": node}).dataset)


def test_both_splits_have_samples_of_their_own(opened):
    _, _, dataset = opened
    train, val = dataset.samples("train"), dataset.samples("val")
    assert train and val
    assert not {sample.image for sample in train} & {sample.image for sample in val}
    for samples in (train, val):
        assert len({sample.name for sample in samples}) == len(samples)
    assert dataset.samples("train") == train


def test_labels_are_the_classes_that_the_photographs_show(opened):
    # The toys paint each id of a label file in one color of its own, and void in that of the object within.
    _, node, dataset = opened
    for split in ("train", "val"):
        for sample in dataset.samples(split)[:3]:
            image, labels = dataset.read(sample)
            assert image.shape == (*labels.shape, 3) and image.dtype == labels.dtype == np.uint8
            assert set(np.unique(labels)) <= {*range(dataset.num_classes), dataset.ignore_class}
            np.testing.assert_array_equal(dataset.read_labels(sample), labels)
            dataset.check_header(sample)
            if node["_target_"].endswith((".People", ".Concat")):
                continue  # drawn as people; of several datasets, whose ids differ
            for id_ in np.setdiff1d(labels, dataset.ignore_class):
                np.testing.assert_allclose(np.median(image[labels == id_], axis=0), toys.PAINT[id_], atol=12)


def test_names_colours_and_void_agree(opened):
    _, _, dataset = opened
    assert len(dataset.class_names) == dataset.num_classes == len(dataset.colors)
    assert all(name == name.strip() for name in dataset.class_names)
    assert dataset.ignore_class not in range(dataset.num_classes)


def test_left_and_right_change_places(opened):
    _, _, dataset = opened
    swapped = {dataset.class_names[left]: dataset.class_names[right] for left, right in dataset.flip_pairs}
    left = [name for name in dataset.class_names if name.lower().startswith("left")]
    assert swapped == {name: name.replace("Left", "Right") for name in left}


@pytest.mark.parametrize("option", [option for option in OPTIONS if option != "people"])  # which draws its root
def test_a_root_that_is_not_there_is_named_by_its_key(option, tmp_path):
    node, key, gone = node_of(option), "root", str(tmp_path / "gone")
    if "datasets" in node:
        name = next(iter(node["datasets"]))
        node = toys.draw_node(tmp_path, node)
        node["datasets"][name]["root"] = gone
        key = f"datasets.{name}.root"
    else:
        node["root"] = gone
    dataset = config.build(OmegaConf.create({"dataset": node}).dataset)
    with pytest.raises(DataError, match=rf"^{key}={gone}: no such folder, looked for .* Fix: {key}=/"):
        dataset.samples("train")


@pytest.mark.parametrize("option", OPTIONS)
def test_every_key_of_a_folder_can_be_overridden(option):
    # Hydra refuses a key that the YAML does not have.
    node = node_of(option)
    if node["_target_"] == "segtrain.data.Folder":
        assert {*node} - {"_target_"} == {*inspect.signature(Folder).parameters}


# What the YAMLs say of the datasets themselves ----------------------------------------------------------------


def test_cityscapes_train_ids_are_those_of_its_benchmark():
    # labels.py of cityscapesScripts: id -> trainId; the rest is void.
    train_ids = dict(
        zip([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33], range(19), strict=True)
    )
    dataset = config.build(OmegaConf.create({"dataset": {**node_of("cityscapes"), "root": "x"}}).dataset)
    assert dataset.known_values == (*range(34), 255)
    table = dataset._class_of_value
    assert [int(table[value]) for value in dataset.known_values] == [
        train_ids.get(v, 255) for v in dataset.known_values
    ]


@pytest.mark.parametrize(
    ("option", "names"),
    [
        ("cityscapes", {0: "road", 10: "sky", 11: "person", 18: "bicycle"}),
        ("ade20k", {0: "wall", 12: "person", 14: "door", 67: "book", 149: "flag"}),
        ("camvid", {0: "Sky", 3: "Road", 10: "Bicyclist"}),
        ("lip", {5: "UpperClothes", 10: "Jumpsuits", 13: "Face", 14: "Left-arm", 19: "Right-shoe"}),
        ("atr", {4: "Upper-clothes", 9: "Left-shoe", 11: "Face", 12: "Left-leg", 14: "Left-arm", 17: "Scarf"}),
        ("pascal_person_part", {1: "Head", 2: "Torso", 6: "Lower-legs"}),
    ],
)
def test_published_ids_have_their_names(option, names):
    classes = list(node_of(option)["classes"])
    assert {index: classes[index] for index in names} == names
    assert len(classes) == {"cityscapes": 19, "ade20k": 150, "camvid": 11, "lip": 20, "atr": 18}.get(option, 7)


@pytest.mark.parametrize("option", ["camvid", "cityscapes"])
def test_the_published_test_split_is_named(option, tmp_path):
    dataset = config.build(OmegaConf.create({"dataset": toys.draw_node(tmp_path, node_of(option))}).dataset)
    assert dataset.splits == ("train", "val", "test")
    test = dataset.samples("test")
    assert len(test) == 3 and not {each.image for each in test} & {each.image for each in dataset.samples("val")}
    assert dataset.read(test[0])[0].shape == (48, 64, 3)


# Real images ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "root", "keys", "counts"),
    [
        ("camvid", "camvid/CamVid", {}, (367, 101)),
        ("camvid", "camvid/CamVid", {"train_list": "train.txt", "val_list": "val.txt"}, (367, 101)),
        ("voc", "voc2012_subset/VOCdevkit/VOC2012", {}, (437, 445)),
        (
            "voc",
            "voc2012_subset/VOCdevkit/VOC2012",
            {"labels": "SegmentationClassAug", "train_list": "train_aug"},
            (687, 445),
        ),
        ("cihp", "clothing_as_cihp/instance-level_human_parsing", {}, (800, 204)),
        ("cihp", "cihp_sample/instance-level_human_parsing", {}, (5, 5)),
        ("binary", "dsb2018_nuclei_binary", {}, (430, 108)),
        ("pets", "oxford_pets_3breeds", {}, (300, 298)),
    ],
)
def test_real_datasets_have_their_counts_and_read(test_data, option, root, keys, counts):
    node = {**node_of(option), "root": str(test_data / root), **keys}
    dataset = config.build(OmegaConf.create({"dataset": node}).dataset)
    samples = [dataset.samples(split) for split in ("train", "val")]
    assert tuple(map(len, samples)) == counts
    for sample in itertools.chain(samples[0][::97], samples[1][::61]):
        image, labels = dataset.read(sample)
        assert image.shape == (*labels.shape, 3)


def test_the_pets_trimaps_are_pet_background_and_void(test_data):
    # 1 pet, 2 background, 3 border: the border lies between the two, and images show the pet in their middle.
    root = test_data / "oxford_pets_3breeds"
    dataset = config.build(OmegaConf.create({"dataset": {**node_of("pets"), "root": str(root)}}).dataset)
    sample = dataset.samples("train")[0]
    with toys.Image.open(sample.labels) as picture:
        stored = np.asarray(picture)
    np.testing.assert_array_equal(dataset.read_labels(sample), np.choose(stored, [99, 1, 0, 255]))
