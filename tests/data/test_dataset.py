"""What every dataset promises: pairs, values, splits, and errors that name the file."""

import numpy as np
import pytest
from PIL import Image

import toys
from segtrain.data import Cihp, Dataset, Folder, Sample, Voc
from segtrain.data.dataset import one_sided_pairs
from segtrain.errors import ConfigError, DataError

COLORS = np.array([(0, 0, 0), (9, 9, 9), (99, 99, 99)], np.uint8)


class Listed(Dataset):
    """Three classes; its samples are those given."""

    def __init__(self, listed=(), **facts):
        super().__init__(("wall", "door", "roof"), COLORS, **facts)
        self.listed = list(listed)

    def samples(self, split):
        return self.listed


@pytest.fixture
def sample(tmp_path):
    """A photograph of 2 x 3 pixels with labels 0 1 2 / 0 0 0; tests overwrite the labels."""
    Image.fromarray(np.full((2, 3, 3), (200, 100, 0), np.uint8)).save(tmp_path / "image.png")
    write_ids(tmp_path / "ids.png", [[0, 1, 2], [0, 0, 0]])
    return Sample("image", tmp_path / "image.png", tmp_path / "ids.png")


def write_ids(path, rows):
    Image.fromarray(np.array(rows, np.uint8)).save(path)


DRAWN = {
    "cihp": (toys.draw_cihp, lambda root: Cihp(str(root))),
    "voc": (toys.draw_voc, lambda root: Voc(str(root))),
    "binary": (toys.draw_binary, lambda root: Folder(str(root), **toys.BINARY)),
    "folder": (
        toys.draw_folder,
        lambda root: Folder(str(root), toys.FOLDER_CLASSES, "train", "trainannot", "val", "valannot", ignore_class=11),
    ),
}


@pytest.fixture(params=DRAWN)
def drawn(request, tmp_path):
    draw, open_dataset = DRAWN[request.param]
    return open_dataset(draw(tmp_path, num_train=3, num_val=2))


# Every dataset ------------------------------------------------------------------------------------------------


def test_splits_have_the_drawn_samples_and_share_none(drawn):
    train, val = drawn.samples("train"), drawn.samples("val")
    assert (len(train), len(val)) == (3, 2)
    assert not {sample.image for sample in train} & {sample.image for sample in val}
    assert len({sample.name for sample in train}) == 3


def test_samples_come_in_one_order(drawn):
    assert drawn.samples("train") == drawn.samples("train")
    assert [sample.name for sample in drawn.samples("train")] == sorted(
        sample.name for sample in drawn.samples("train")
    )


def test_photograph_and_labels_belong_together_in_rgb(drawn):
    # A class has one colour in all toy photographs: another's labels, BGR or swapped axes would show another.
    for split in ("train", "val"):
        for sample in drawn.samples(split):
            assert sample.image.stem == sample.labels.stem == sample.name
            image, labels = drawn.read(sample)
            assert image.shape == (48, 64, 3) and labels.shape == (48, 64)
            assert image.dtype == labels.dtype == np.uint8
            for id_ in np.setdiff1d(labels, drawn.ignore_class):
                shown = np.median(image[labels == id_], axis=0)
                np.testing.assert_allclose(shown, toys.PAINT[id_], atol=12)


def test_labels_hold_only_classes_and_void(drawn):
    found = np.unique(np.concatenate([drawn.read(sample)[1].ravel() for sample in drawn.samples("train")]))
    assert set(found) <= {*range(drawn.num_classes), drawn.ignore_class}
    assert len(np.setdiff1d(found, drawn.ignore_class)) > 1


def test_facts_agree_with_each_other(drawn):
    assert drawn.num_classes == len(drawn.class_names) == len(drawn.colors)
    assert drawn.colors.dtype == np.uint8 and drawn.colors.shape == (drawn.num_classes, 3)
    assert len(set(drawn.class_names)) == drawn.num_classes
    assert drawn.ignore_class not in range(drawn.num_classes)


def test_headers_of_good_samples_pass(drawn):
    for sample in drawn.samples("train"):
        drawn.check_header(sample)


@pytest.mark.parametrize("split", ["test", "Train", ""])
def test_unknown_split_is_refused(drawn, split):
    with pytest.raises(DataError, match=f"no split '{split}': this dataset has train, val. Fix: split=val"):
        drawn.samples(split)


# Values -------------------------------------------------------------------------------------------------------


def test_read_yields_the_image_and_its_ids(sample):
    image, labels = Listed().read(sample)
    assert image[0, 0].tolist() == [200, 100, 0]
    assert labels.tolist() == [[0, 1, 2], [0, 0, 0]]


def test_unknown_values_are_refused_with_file_value_and_count(sample):
    write_ids(sample.labels, [[0, 7, 7], [9, 0, 7]])
    with pytest.raises(DataError) as caught:
        Listed().read(sample)
    said = str(caught.value)
    assert f"labels in {sample.labels}: unknown values 7 (3 pixels), 9 (1 pixels), expected 0..2, 255" in said
    assert "dataset.ignore_class" in said


def test_the_first_id_beyond_the_classes_is_unknown(sample):
    write_ids(sample.labels, [[0, 3, 2], [0, 0, 0]])
    with pytest.raises(DataError, match=r"unknown value 3 \(1 pixels\)"):
        Listed().read(sample)


def test_ignored_pixels_are_read_as_they_are(sample):
    write_ids(sample.labels, [[0, 255, 2], [0, 0, 0]])
    assert Listed().read(sample)[1].tolist() == [[0, 255, 2], [0, 0, 0]]


def test_only_the_named_id_is_ignored(sample):
    write_ids(sample.labels, [[0, 255, 11], [0, 0, 0]])
    with pytest.raises(DataError, match=r"unknown value 255 .*expected 0\.\.2, 11\."):
        Listed(ignore_class=11).read(sample)


def test_stored_values_become_class_ids(sample):
    write_ids(sample.labels, [[10, 20, 30], [10, 10, 20]])
    _, labels = Listed(label_values={10: 0, 20: 1, 30: 2}).read(sample)
    assert labels.tolist() == [[0, 1, 2], [0, 0, 1]]


def test_sizes_that_differ_are_refused_with_both_files(sample):
    write_ids(sample.labels, [[0, 1], [0, 0], [2, 2]])
    for check in (Listed().read, Listed().check_header):
        with pytest.raises(DataError) as caught:
            check(sample)
        said = str(caught.value)
        assert f"{sample.labels}: labels 3x2 (HxW), image {sample.image} 2x3" in said and "Fix: " in said


def test_turned_labels_are_sizes_that_differ(sample):
    # 2 x 3 against 3 x 2 has the same number of pixels.
    write_ids(sample.labels, np.array([[0, 1, 2], [0, 0, 0]]).T)
    with pytest.raises(DataError, match="sizes differ"):
        Listed().read(sample)


def test_headers_are_checked_without_decoding_pixels(sample):
    # Cut behind its header the file still tells its size; decoding it is an error.
    sample.labels.write_bytes(sample.labels.read_bytes()[:45])
    Listed().check_header(sample)
    with pytest.raises(DataError):
        Listed().read(sample)


# Facts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ignore_class", [0, 2, -1, 256])
def test_ignore_class_must_be_a_byte_beyond_the_classes(ignore_class):
    with pytest.raises(ConfigError, match=f"dataset.ignore_class={ignore_class}: expected 3..255"):
        Listed(ignore_class=ignore_class)


@pytest.mark.parametrize("ignore_class", [3, 255])
def test_the_ends_of_the_range_may_be_ignored(ignore_class):
    assert Listed(ignore_class=ignore_class).ignore_class == ignore_class


def test_colours_must_be_one_a_class():
    class TwoColours(Listed):
        def __init__(self):
            Dataset.__init__(self, ("wall", "door", "roof"), COLORS[:2])

    with pytest.raises(ConfigError, match="one RGB colour for each of 3 classes"):
        TwoColours()


@pytest.mark.parametrize("pair", [(1, 3), (1, 300), (-1, 1), (1, 255)])
def test_swap_pairs_must_be_classes(pair):
    # (1, 255) would turn a class into void, and void into a class, in every second photograph.
    with pytest.raises(ConfigError, match="swap_pairs"):
        Listed(swap_pairs=[pair])


@pytest.mark.parametrize(
    ("left_files", "right_files", "found"),
    [
        (50, 0, [(1, 2)]),
        (0, 50, [(1, 2)]),
        (49, 0, []),  # too few to tell from chance
        (60, 1, []),
        (0, 0, []),
    ],
)
def test_a_pair_is_one_sided_when_fifty_files_have_one_id_and_none_the_other(tmp_path, left_files, right_files, found):
    for name, rows in (("left", [[0, 1]]), ("right", [[2, 0]]), ("neither", [[0, 0]])):
        write_ids(tmp_path / f"{name}.png", rows)
    names = ["left"] * left_files + ["right"] * right_files + ["neither"] * 5
    samples = [Sample(str(index), tmp_path / "image.png", tmp_path / f"{name}.png") for index, name in enumerate(names)]
    assert one_sided_pairs(Listed(swap_pairs=[(1, 2)]), samples) == found


def test_shoes_of_the_clothing_set_are_all_left_and_nothing_else_is_one_sided(test_data):
    dataset = Cihp(str(test_data / "clothing_as_cihp" / "instance-level_human_parsing"))
    # Arms and legs (14 to 17) occur on neither side.
    assert one_sided_pairs(dataset, dataset.samples("train")) == [(18, 19)]


def test_class_names_must_differ():
    # scores.json has one entry a name.
    class Twins(Listed):
        def __init__(self):
            Dataset.__init__(self, ("wall", "door", "wall"), COLORS)

    with pytest.raises(ConfigError, match="wall"):
        Twins()
