"""Images and label files find each other by name, or an error says which do not."""

from pathlib import Path

import pytest
from PIL import Image

import toys
from segtrain.data import Cihp, Folder, Sample, Voc
from segtrain.data.images.files import read_labels
from segtrain.data.listing.folders import Naming
from segtrain.data.listing.list_file import read_lines
from segtrain.data.listing.list_samples import pair_listed
from segtrain.data.listing.listed import SampleFolders
from segtrain.data.listing.pairing import is_held_out, pair_files, refuse_shared
from segtrain.data.listing.roots import require_root
from segtrain.data.listing.splits import require_split
from segtrain.errors import DataError

# Pairs --------------------------------------------------------------------------------------------------------


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def listed(root, lines, images="i", labels="l", **naming):
    """The samples of a list of these lines."""
    (root / "t.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    folders = (None if each is None else root / each for each in (images, labels))
    return pair_listed(
        root / "t.txt", read_lines(root / "t.txt"), SampleFolders(root, *folders, Naming(**naming)), "train"
    )


def test_files_are_paired_by_name_not_by_position(tmp_path):
    images = touch(tmp_path / "images", "b.jpg", "a.jpg", "c.jpg")
    labels = touch(tmp_path / "labels", "0.png", "a.png", "b.png", "c.png")
    found = pair_files(images, labels, "train")
    assert [sample.name for sample in found] == ["a", "b", "c"]
    assert all(sample.labels.stem == sample.image.stem for sample in found)


def test_labels_without_an_image_are_left_alone(tmp_path):
    images, labels = touch(tmp_path / "i", "a.jpg"), touch(tmp_path / "l", "a.png", "b.png")
    assert [sample.name for sample in pair_files(images, labels, "train")] == ["a"]


def test_images_without_labels_are_listed(tmp_path):
    images = touch(tmp_path / "i", *(f"{name}.jpg" for name in "abcdefg"))
    labels = touch(tmp_path / "l", "a.png")
    with pytest.raises(DataError) as caught:
        pair_files(images, labels, "train")
    message = str(caught.value)
    assert f"6 names without label file in {labels}: b, c, d, e, f and 1 more. Fix: " in message


def test_listed_names_without_an_image_are_listed(tmp_path):
    images, _ = touch(tmp_path / "i", "a.jpg"), touch(tmp_path / "l", "a.png", "b.png")
    with pytest.raises(DataError, match=f"t.txt:2: 'b': no image of this name in {images}, .*Fix: sed -i.bak 2d "):
        listed(tmp_path, ["a", "b"])


def test_a_list_gives_choice_and_order(tmp_path):
    touch(tmp_path / "i", "a.jpg", "b.png", "c.jpg")
    touch(tmp_path / "l", "a.png", "b.png", "c.png")
    found = listed(tmp_path, ["c.jpg", "a"])
    assert [sample.name for sample in found] == ["c", "a"]


def test_names_with_dots_are_whole_names(tmp_path):
    touch(tmp_path / "i", "a.v1.jpg", "a.v2.jpg", "scan.2021.png")
    touch(tmp_path / "l", "a.v1.png", "a.v2.png", "scan.2021.png")
    names = ["a.v2", "scan.2021", "a.v1.jpg"]
    assert [sample.name for sample in listed(tmp_path, names)] == ["a.v2", "scan.2021", "a.v1"]


@pytest.mark.parametrize("names", [["a", "a.jpg"], ["x/a", "y/a"]])
def test_one_photograph_under_two_names_is_refused(tmp_path, names):
    touch(tmp_path / "i", "a.jpg"), touch(tmp_path / "l", "a.png")
    with pytest.raises(DataError, match="a"):
        listed(tmp_path, names)


def test_folders_with_glob_characters_are_paired(tmp_path):
    images, labels = touch(tmp_path / "[v1]" / "i*", "a.jpg"), touch(tmp_path / "[v1]" / "l?", "a.png")
    assert len(pair_files(images, labels, "train")) == 1


def test_two_images_of_one_stem_are_refused(tmp_path):
    images, labels = touch(tmp_path / "i", "a.jpg", "a.png"), touch(tmp_path / "l", "a.png")
    with pytest.raises(DataError, match="two files for 'a'"):
        pair_files(images, labels, "train")


def test_empty_split_is_refused(tmp_path):
    images, labels = touch(tmp_path / "i"), touch(tmp_path / "l", "a.png")
    with pytest.raises(DataError, match=f"split 'val' is empty: looked for images in {images}"):
        pair_files(images, labels, "val")
    with pytest.raises(DataError, match="split 'train' is empty: the list"):
        listed(tmp_path, [])


def test_jpeg_labels_are_paired_so_that_reading_says_what_is_wrong(tmp_path):
    images, labels = touch(tmp_path / "i", "a.jpg"), tmp_path / "l"
    labels.mkdir()
    Image.new("L", (3, 2)).save(labels / "a.jpg")
    (sample,) = pair_files(images, labels, "train")
    with pytest.raises(DataError, match="a JPEG file, expected PNG"):
        read_labels(sample.labels)


def test_what_is_before_the_suffixes_pairs(tmp_path):
    images = touch(tmp_path / "i" / "aachen", "a_1_leftImg8bit.png", "notes_1.png")
    labels = touch(tmp_path / "l" / "aachen", "a_1_gtFine_labelIds.png", "a_1_gtFine_color.png", "a_1_polygons.json")
    naming = Naming("_leftImg8bit.png", "_gtFine_labelIds.png", recursive=True)
    (sample,) = pair_files(tmp_path / "i", tmp_path / "l", "train", naming)
    assert sample == ("aachen/a_1", images / "a_1_leftImg8bit.png", labels / "a_1_gtFine_labelIds.png")
    (named,) = listed(tmp_path, ["aachen/a_1_leftImg8bit.png"], **naming._asdict())
    assert named == sample


def test_photographs_and_masks_may_share_a_folder(tmp_path):
    both = touch(tmp_path / "both", "a.jpg", "a.png", "b.jpg", "b.png")
    found = pair_files(both, both, "train", Naming(".jpg", ".png"))
    assert [(sample.name, sample.image.name, sample.labels.name) for sample in found] == [
        ("a", "a.jpg", "a.png"),
        ("b", "b.jpg", "b.png"),
    ]
    masked = touch(tmp_path / "masked", "a.jpg", "a_mask.png")
    assert pair_files(masked, masked, "train", Naming(".jpg", "_mask.png"))[0].name == "a"


def test_a_suffix_that_nothing_has_is_named(tmp_path):
    images, labels = touch(tmp_path / "i", "a.jpg"), touch(tmp_path / "l", "a.png")
    with pytest.raises(DataError, match=rf"images \*_rgb\.jpg in {images} with labels in {labels}, found 0"):
        pair_files(images, labels, "train", Naming("_rgb.jpg"))


def test_equal_names_in_two_folders_are_two_samples(tmp_path):
    for town in ("aachen", "bonn"):
        touch(tmp_path / "i" / town, "1.jpg"), touch(tmp_path / "l" / town, "1.png")
    found = pair_files(tmp_path / "i", tmp_path / "l", "train", Naming(recursive=True))
    assert [sample.name for sample in found] == ["aachen/1", "bonn/1"]
    assert [sample.labels.parent.name for sample in found] == ["aachen", "bonn"]


def test_folders_below_are_followed_through_links_but_never_round(tmp_path):
    touch(tmp_path / "i" / "aachen", "2.jpg", "10.jpg"), touch(tmp_path / "i", "1.jpg", ".hidden.jpg")
    touch(tmp_path / "i" / ".thumbnails", "2.jpg")
    touch(tmp_path / "elsewhere", "3.jpg")
    (tmp_path / "i" / "bonn").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "i" / "aachen" / "up").symlink_to(tmp_path / "i")
    for name in ("1", "aachen/2", "aachen/10", "bonn/3"):
        touch((tmp_path / "l" / name).parent, f"{Path(name).name}.png")
    found = pair_files(tmp_path / "i", tmp_path / "l", "train", Naming(recursive=True))
    assert [sample.name for sample in found] == ["1", "aachen/10", "aachen/2", "bonn/3"]
    assert [sample.name for sample in pair_files(tmp_path / "i", tmp_path / "l", "train")] == ["1"]


def test_columns_of_numbers_behind_a_name_do_not_count(tmp_path):
    # As in the lists of Oxford Pets, "Abyssinian_100 1 1 1", and VOC's of a class, "2008_000008 -1".
    touch(tmp_path / "i", "a.jpg", "b.jpg", "scan 12.jpg")
    touch(tmp_path / "l", "a.png", "b.png", "scan 12.png")
    found = listed(tmp_path, ["b -1", "a 1 1 1", "scan 12"])
    assert [sample.name for sample in found] == ["b", "a", "scan 12"]


# Splits -------------------------------------------------------------------------------------------------------


def test_a_photograph_in_both_splits_is_refused():
    a, b, c = (Sample(name, Path(f"{name}.jpg"), Path(f"{name}.png")) for name in "abc")
    refuse_shared([a, b], [c])
    with pytest.raises(DataError, match="2 images are in both splits, train and val: b, c, expected none"):
        refuse_shared([a, b, c], [c, b])


def test_a_share_of_the_names_is_held_out_whatever_the_others_are():
    names = [f"photo_{number}" for number in range(4000)]
    held_out = {name for name in names if is_held_out(name, 0.2, seed=0)}
    # 4000 throws at 0.2: 800 expected, standard deviation 25.
    assert 700 < len(held_out) < 900
    assert {name for name in names[::2] if is_held_out(name, 0.2, seed=0)} == held_out & set(names[::2])
    assert held_out < {name for name in names if is_held_out(name, 0.3, seed=0)}
    assert held_out != {name for name in names if is_held_out(name, 0.2, seed=1)}


def test_the_share_held_out_never_changes():
    # Pinned: another platform or version must not move a sample from one split to the other.
    assert [number for number in range(20) if is_held_out(f"photo_{number}", 0.2, seed=0)] == [6, 12, 17]


# Roots --------------------------------------------------------------------------------------------------------


def test_missing_root_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError) as caught:
        require_root(tmp_path / "gone", ["images", "masks"])
    assert str(caught.value) == (
        f"root={tmp_path / 'gone'}: no such folder, looked for images, masks. Fix: root=/path/to/dataset"
    )


def test_root_of_another_layout_says_what_was_found(tmp_path):
    touch(tmp_path, "readme.txt", "b.zip")
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="it holds b.zip, images, readme.txt, looked for masks. Fix: "):
        require_root(tmp_path, ["images", "masks"])


def test_empty_root_is_called_empty(tmp_path):
    with pytest.raises(DataError, match="it is empty, looked for images"):
        require_root(tmp_path, ["images"])


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "photos" / "images").mkdir(parents=True)
    assert require_root("~/photos", ["images"]) == tmp_path / "photos"


def test_known_split_passes():
    require_split("val", ["train", "val"])


@pytest.mark.parametrize(
    ("open_dataset", "looked_for"),
    [
        (lambda root: Cihp(root), "Training/Images, Training/Category_ids, Validation/Images"),
        (lambda root: Voc(root), "JPEGImages, SegmentationClass, ImageSets/Segmentation"),
        (lambda root: Folder(root, **toys.BINARY), "images, masks"),
        (lambda root: Folder(root, ["a", "b"], "ti", "tl", "vi", "vl"), "ti, tl"),
    ],
    ids=["cihp", "voc", "binary", "folder"],
)
def test_each_dataset_names_its_missing_layout(tmp_path, open_dataset, looked_for):
    with pytest.raises(DataError, match=f"root={tmp_path}: it is empty, looked for {looked_for}"):
        open_dataset(str(tmp_path)).samples("train")
