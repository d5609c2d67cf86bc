"""What would pair files that do not find each other is proposed, and works when it is pasted."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import fixes
import toys
from segtrain import config
from segtrain.data import Folder
from segtrain.errors import DataError

NUMBERS = ("1", "2", "10", "11", "12")


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def fixed(root: Path, tmp_path: Path, **options) -> list[tuple[str, str]]:
    """The pairs after the one fix of the first error."""
    keys = {"train_images": "images", "train_labels": "masks", "val_images": "other", "val_labels": "other", **options}
    with pytest.raises(DataError) as caught:
        Folder(str(root), ["a", "b"], **keys).samples("train")
    keys |= fixes.run(str(caught.value), tmp_path)
    samples = Folder(str(root), ["a", "b"], **keys).samples("train")
    return [(str(sample.image.relative_to(root)), str(sample.labels.relative_to(root))) for sample in samples]


@pytest.mark.parametrize("folder", ["d", "it's my data"])
@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/{}.jpg", "masks/{}_mask.png"),
        ("images/{}.jpg", "masks/mask_{}.png"),
        ("images/{}.jpg", "masks/seg_{}_v2.png"),
        ("images/{}.jpg", "masks/{}.ome.tif"),
        ("images/{}.jpg", "masks/{} (labels).png"),
        ("images/{}.jpg", "masks/{}$mask.png"),
        ("images/{}_rgb.jpg", "masks/{}_mask.png"),
        ("images/img_{}.jpg", "masks/mask_{}.png"),
        ("images/rgb-{}-x.jpg", "masks/gt-{}-y.png"),
        ("images/{}.jpg", "masks/city/{}.png"),
        ("images/city/{}.jpg", "masks/{}.png"),
        ("images/city/{}.jpg", "masks/city/{}.png"),
        ("images/city/{}_leftImg8bit.png", "masks/city/{}_gtFine_labelIds.png"),
        ("images/{}.jpg", "masks/city/{}_mask.png"),
    ],
)
def test_a_suffix_prefix_or_nesting_that_pairs_all_is_proposed(tmp_path, folder, image, label):
    root = touch(tmp_path / folder, *(form.format(name) for name in NUMBERS for form in (image, label)))
    assert sorted(fixed(root, tmp_path)) == sorted((image.format(name), label.format(name)) for name in NUMBERS)


@pytest.mark.parametrize("suffix", ["_mask.png", "_wrong.png"])
def test_a_suffix_that_nothing_has_is_corrected(tmp_path, suffix):
    root = touch(tmp_path / "d", *(f"{folder}/{name}.png" for name in NUMBERS for folder in ("images", "masks")))
    assert len(fixed(root, tmp_path, label_suffix=suffix)) == len(NUMBERS)


def test_images_and_masks_of_one_name_in_one_folder_are_told_apart_by_their_kinds(tmp_path):
    root = touch(tmp_path / "d", *(f"all/{name}{kind}" for name in NUMBERS for kind in (".jpg", ".png")))
    found = fixed(root, tmp_path, train_images="all", train_labels="all")
    assert found[0] == ("all/1.jpg", "all/1.png") and len(found) == len(NUMBERS)


@pytest.mark.parametrize(("subfolder", "kinds"), [("images", (".jpg", ".png")), ("masks", (".png", ".tif"))])
def test_two_files_of_one_name_never_lose_one(tmp_path, subfolder, kinds):
    files = [f"{folder}/{name}.png" for name in NUMBERS for folder in ("images", "masks")]
    root = touch(tmp_path / "d", *files, *(f"{subfolder}/{name}{kind}" for name in NUMBERS for kind in kinds))
    before = sorted(root.rglob("*"))
    assert len(fixed(root, tmp_path)) == len(NUMBERS)
    assert sorted(root.rglob("*")) == before


def test_a_name_that_occurs_in_two_folders_is_not_paired_across_them(tmp_path):
    files = ("images/aachen/1.jpg", "images/bonn/1.jpg", "masks/1.png")
    root = touch(tmp_path / "d", *files)
    keys = {"train_images": "images", "train_labels": "masks", "val_images": "v", "recursive": True}
    with pytest.raises(DataError, match="2 names without label file"):
        Folder(str(root), ["a", "b"], **keys).samples("train")


def test_unread_kinds_in_a_folder_of_images_are_reported_in_one_line(tmp_path, caplog):
    files = [f"{folder}/{name}.png" for name in NUMBERS for folder in ("images", "masks")]
    touch(tmp_path, *files, "images/7.gif", "images/8.heic", "images/9", "images/1.json", "images/notes.txt")
    Folder(str(tmp_path), ["a", "b"], "images", "masks", "v").samples("train")
    (record,) = caplog.records
    text = record.getMessage()
    assert text.startswith(f"3 files in {tmp_path / 'images'} are of kinds that are not read")
    assert re.search(r"7\.gif, \.\.\.\. Fix: .*segtrain\.data\.convert images ", text)


# Roots --------------------------------------------------------------------------------------------------------

OPTIONS = sorted(
    path.stem
    for path in Path(config.config_dir(), "dataset").glob("*.yaml")
    if path.stem not in ("human_parsing", "people", "folder")
)


def opened(option: str, folder: Path):
    """A toy of one of segtrain's datasets, and what opens it below another root."""
    path = Path(config.config_dir(), "dataset", f"{option}.yaml")
    node = yaml.safe_load(path.read_text())
    defaults = node.pop("defaults", [])
    if "folder" in defaults:
        node = {**yaml.safe_load(path.with_name("folder.yaml").read_text()), **node}
    node = toys.draw_node(folder, node)
    return Path(node["root"]), lambda root: config.build({**node, "root": str(root)})


@pytest.mark.parametrize("option", OPTIONS)
def test_a_root_too_high_too_low_or_misspelt_is_answered_with_the_right_one(tmp_path, option):
    root, build = opened(option, tmp_path / "my data" / "toy")
    inside = next(path for path in root.iterdir() if path.is_dir())
    for wrong in (root.parent, root.parent.parent, inside, root.with_name(root.name + "s"), root.parent / "Other"):
        with pytest.raises(DataError) as caught:
            build(wrong).samples("train")
        values = fixes.run(str(caught.value), tmp_path)
        assert Path(values["root"]).resolve() == root.resolve(), str(caught.value)
        assert build(values["root"]).samples("train")


def test_a_folder_of_another_name_is_proposed_by_its_key(tmp_path):
    root = toys.draw_binary(tmp_path)
    (root / "masks").rename(root / "labels")
    with pytest.raises(DataError, match="looked for masks") as caught:
        Folder(str(root), **toys.BINARY).samples("train")
    assert fixes.run(str(caught.value), tmp_path) == {"train_labels": "labels"}


def test_a_missing_list_is_answered_with_a_list_or_a_share(tmp_path):
    root = toys.draw_binary(tmp_path, num_train=20)
    (root / "val.txt").unlink()
    for name, content in ((None, ""), ("validation.txt", "cell_val_0\n")):
        if name:
            (root / name).write_text(content)
        with pytest.raises(DataError) as caught:
            Folder(str(root), **toys.BINARY).samples("val")
        options = {**toys.BINARY, **fixes.run(str(caught.value), tmp_path)}
        assert Folder(str(root), **options).samples("val")
        assert (options.get("val_fraction") is None) == (name is not None)


def test_ignore_class_0_is_answered_with_ids_from_one(tmp_path):
    root = touch(tmp_path, "images/a.jpg")
    (root / "masks").mkdir()
    Image.fromarray(np.array([[0, 1, 2]], np.uint8)).save(root / "masks" / "a.png")
    options = {"train_images": "images", "train_labels": "masks", "val_images": "v"}
    with pytest.raises(Exception, match="ignore_class=0") as caught:
        Folder(str(root), ["a", "b"], **options, ignore_class=0)
    dataset = Folder(str(root), ["a", "b"], **options, **fixes.run(str(caught.value), tmp_path))
    assert dataset.read_labels(dataset.samples("train")[0]).tolist() == [[255, 0, 1]]
