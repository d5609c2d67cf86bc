"""Several datasets as one: whose sample, which class, which error."""

import numpy as np
import pytest
from omegaconf import OmegaConf

import toys
from segtrain import config
from segtrain.data import Cihp, Concat, Folder, Voc
from segtrain.errors import ConfigError, DataError, naming

STREET = ("train", "trainannot", "val", "valannot")


@pytest.fixture
def parts(tmp_path):
    """CIHP with ids 2 5 13 14 15, and a street whose classes are called as CIHP's or not at all."""
    street = toys.draw_folder(tmp_path)
    return {
        "people": Cihp(str(toys.draw_cihp(tmp_path))),
        "street": Folder(str(street), ["Background", "Hat", "wall", "Face", "Right-arm"], *STREET, ignore_class=11),
    }


def test_samples_follow_one_another_under_their_datasets_name(parts):
    dataset = Concat(parts, {"street": {"wall": "ignore"}})
    names = [sample.name for sample in dataset.samples("train")]
    assert names == [f"people/000000{n}" for n in (1, 2, 3, 4)] + [f"street/train_{n}" for n in range(4)]
    assert len(dataset.samples("val")) == 4


def test_classes_find_each_other_by_name_or_by_the_mapping(parts):
    dataset = Concat(parts, {"street": {"wall": "Coat"}})
    assert dataset.class_names == parts["people"].class_names and dataset.flip_pairs == parts["people"].flip_pairs
    common = np.full(256, 255)
    common[[0, 1, 2, 3, 4]] = [0, 1, 7, 13, 15]  # Background, Hat, Coat, Face, Right-arm of CIHP
    for part, table in (("people", np.arange(256)), ("street", common)):
        own = parts[part].samples("val")[0]
        image, labels = parts[part].read(own)
        sample = next(each for each in dataset.samples("val") if each.name == f"{part}/{own.name}")
        found_image, found = dataset.read(sample)
        np.testing.assert_array_equal(found_image, image)
        np.testing.assert_array_equal(found, table[labels])
        np.testing.assert_array_equal(dataset.read_labels(sample), found)
        assert found.dtype == np.uint8


def test_a_table_of_its_own_joins_what_the_datasets_have_apart(parts, tmp_path):
    voc = Voc(str(toys.draw_voc(tmp_path)))
    thing = {name: "person" if name == "person" else "rest" for name in voc.class_names}
    human = {name: "rest" if name == "Background" else "person" for name in parts["people"].class_names}
    dataset = Concat(
        {"voc": voc, "people": parts["people"]},
        {"voc": thing, "people": human},
        classes={"rest": [0, 0, 0], "person": [255, 0, 0]},
        ignore_class=7,
    )
    assert dataset.colors.tolist() == [[0, 0, 0], [255, 0, 0]] and dataset.flip_pairs == ()
    found = {part: set() for part in ("voc", "people")}
    for sample in dataset.samples("train"):
        found[sample.name.split("/")[0]] |= set(np.unique(dataset.read(sample)[1]).tolist())
    assert found == {"voc": {0, 1, 7}, "people": {0, 1}}  # VOC's void is 255 in its files


def test_some_may_validate_alone(parts):
    dataset = Concat(parts, {"street": {"wall": "ignore"}}, val_datasets=["street"])
    assert [sample.name for sample in dataset.samples("val")] == ["street/val_0", "street/val_1"]
    assert len(dataset.samples("train")) == 8


def test_reading_small_and_headers_are_left_to_the_dataset(parts):
    dataset = Concat(parts, {"street": {"wall": "ignore"}})
    sample = dataset.samples("train")[0]
    assert dataset.read(sample, reduction=2)[0].shape == (24, 32, 3)
    dataset.check_header(sample)
    toys.Image.fromarray(np.zeros((3, 3), np.uint8)).save(sample.labels)
    for check in (dataset.check_header, dataset.read):
        with pytest.raises(DataError, match="sizes differ"):
            check(sample)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"mapping\.street: wall of dataset street are not in the common table.*street=\{wall: ignore\}"),
        (
            {"mapping": {"street": {"wall": "Cot"}}},
            r"mapping\.street\.wall=Cot: unknown class; did you mean Coat",
        ),
        ({"mapping": {"street": {"walls": "Coat"}}}, r"mapping\.street\.walls: dataset street has no such class"),
        ({"mapping": {"streets": {}}}, r"mapping: unknown dataset 'streets', expected people, street"),
        ({"val_datasets": ["streets"]}, r"val_datasets: unknown dataset 'streets'"),
        ({"datasets": {}}, r"datasets=\{\}: expected at least one"),
    ],
)
def test_what_has_no_place_is_refused(parts, options, message):
    with pytest.raises(ConfigError, match=message):
        Concat(**{"datasets": parts, **options})


def test_a_slash_in_a_name_is_refused(parts):
    with pytest.raises(ConfigError, match=r"datasets: 'a/b' holds a slash"):
        Concat({"a/b": parts["people"]})


# Errors in nodes within nodes ---------------------------------------------------------------------------------


def nested(at, **changes):
    return OmegaConf.create(
        {
            "dataset": {
                "_target_": "segtrain.data.Concat",
                "datasets": {
                    "street": {
                        **{"_target_": "segtrain.data.Folder", "root": str(at), "classes": ["a", "b"]},
                        **{"train_images": "train", "train_labels": "trainannot", "val_images": "val"},
                        **changes,
                    }
                },
            }
        }
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ignore_class": 1}, "dataset.datasets.street.ignore_class=1: expected 2..255"),
        ({"val_images": None}, "dataset.datasets.street: training and validation are the same files"),
        ({"val_fraction": 0.5}, "Fix: dataset.datasets.street.val_images=null"),
        ({"label_values": {0: "c"}}, "dataset.datasets.street.label_values.0=c: unknown class"),
        ({"recursiv": True}, "dataset.datasets.street.recursiv: segtrain.data.Folder has no argument 'recursiv'"),
        ({"root": 3}, "dataset.datasets.street.root=3 is of type int, expected str"),
    ],
)
def test_a_wrong_key_within_is_named_whole(folder_root, changes, message):
    with pytest.raises(ConfigError) as caught:
        config.build(nested(folder_root, **changes).dataset)
    assert message in str(caught.value)


def test_all_wrong_keys_within_are_told_at_once(folder_root):
    with pytest.raises(ConfigError) as caught:
        config.validate_calls(nested(folder_root, recursiv=True, clases=["a"]))
    assert "dataset.datasets.street.recursiv" in str(caught.value)
    assert "dataset.datasets.street.clases" in str(caught.value) and "did you mean classes" in str(caught.value)


def test_a_missing_folder_within_is_named_by_its_whole_key_and_no_path_is_changed(tmp_path):
    root = tmp_path / "dataset.v1" / "dataset"
    dataset = config.build(nested(root).dataset)
    with pytest.raises(DataError) as caught, naming("dataset"):
        dataset.samples("train")
    assert str(caught.value).startswith(f"dataset.datasets.street.root={root}: no such folder")
    assert str(caught.value).endswith("Fix: dataset.datasets.street.root=/path/to/dataset")


def test_the_test_split_is_that_of_the_datasets_that_have_one(parts, tmp_path):
    street = Folder(
        str(tmp_path / "street"),
        parts["street"].class_names,
        *STREET,
        ignore_class=11,
        test_images="val",
        test_labels="valannot",
        splits={"one": {"images": "val", "labels": "valannot", "list": "one.txt"}},
    )
    (tmp_path / "street" / "one.txt").write_text("val_1\n")
    dataset = Concat({**parts, "street": street}, {"street": {"wall": "ignore"}})
    assert Concat(parts, {"street": {"wall": "ignore"}}).splits == ("train", "val")
    assert dataset.splits == ("train", "val", "test", "one")
    assert [sample.name for sample in dataset.samples("test")] == ["street/val_0", "street/val_1"]
    assert [sample.name for sample in dataset.samples("one")] == ["street/val_1"]
    assert dataset.read(dataset.samples("one")[0])[0].shape == (48, 64, 3)
