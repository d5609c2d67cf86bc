"""What every dataset promises: pairs, values, splits, and errors that name the file."""

import numpy as np
import pytest
from PIL import Image

import toys
from pictures import GRAY, GRAY_ALPHA, RGB, png, with_exif
from segtrain.data import Cihp, Dataset, Folder, Sample, Voc
from segtrain.data.datasets.flip_pairs import one_sided_pairs
from segtrain.errors import ConfigError, DataError

COLORS = np.array([(0, 0, 0), (9, 9, 9), (99, 99, 99)], np.uint8)


class Two(Dataset):
    """Two classes, no samples."""

    def __init__(self, **options):
        super().__init__(("soil", "leaf"), COLORS[:2], **options)

    def samples(self, split):
        return []


class Listed(Dataset):
    """Three classes; its samples are those given."""

    def __init__(self, listed=(), **options):
        super().__init__(("wall", "door", "roof"), COLORS, **options)
        self.listed = list(listed)

    def samples(self, split):
        return self.listed


@pytest.fixture
def sample(tmp_path):
    """An image of 2 x 3 pixels with labels 0 1 2 / 0 0 0; tests overwrite the labels."""
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
    # A class has one color in all toy images: another's labels, BGR or swapped axes would show another.
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
    message = str(caught.value)
    assert f"labels in {sample.labels}: unknown values 7 (3 pixels), 9 (1 pixels), expected 0..2, 255" in message
    assert "ignore_class" in message


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


@pytest.mark.parametrize(
    "known",
    [range(3), [0, 1, 2, 255], [0, 255], [0, 1, 2, 11], [10, 20, 30], range(1, 256), range(256)],
    ids=["from 0", "round the end", "ends", "two runs", "three runs", "all but 0", "all"],
)
def test_a_value_is_known_exactly_where_it_is_given(sample, known):
    dataset = Listed(label_values={value: index % 2 for index, value in enumerate(known)})
    for value in range(256):
        write_ids(sample.labels, [[known[0], value, known[-1]], [known[0]] * 3])
        if value in known:
            assert dataset.read_labels(sample)[0, 1] == list(known).index(value) % 2
        else:
            with pytest.raises(DataError, match=rf"unknown value {value} \(1 pixels\)"):
                dataset.read_labels(sample)


def test_sizes_that_differ_are_refused_with_both_files(sample):
    write_ids(sample.labels, [[0, 1], [0, 0], [2, 2]])
    for check in (Listed().read, Listed().check_header):
        with pytest.raises(DataError) as caught:
            check(sample)
        message = str(caught.value)
        assert f"{sample.labels}: labels 3x2 (HxW), image {sample.image} 2x3" in message and "Fix: " in message


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
    with pytest.raises(ConfigError, match=f"ignore_class={ignore_class}: expected 3..255"):
        Listed(ignore_class=ignore_class)


@pytest.mark.parametrize("ignore_class", [3, 255])
def test_the_ends_of_the_range_may_be_ignored(ignore_class):
    assert Listed(ignore_class=ignore_class).ignore_class == ignore_class


def test_colours_must_be_one_a_class():
    class TwoColours(Listed):
        def __init__(self):
            Dataset.__init__(self, ("wall", "door", "roof"), COLORS[:2])

    with pytest.raises(ConfigError, match="one RGB color for each of 3 classes"):
        TwoColours()


@pytest.mark.parametrize("pair", [(1, 3), (1, 300), (-1, 1), (1, 255)])
def test_swap_pairs_must_be_classes(pair):
    # (1, 255) would turn a class into void, and void into a class, in every second image.
    with pytest.raises(ConfigError, match="flip_pairs"):
        Listed(flip_pairs=[pair])


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
    assert one_sided_pairs(Listed(flip_pairs=[(1, 2)]), samples) == found


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


# Policies -----------------------------------------------------------------------------------------------------


def turn_image(sample, orientation):
    """Replace the image by one of 2 x 3 stored pixels whose EXIF asks for a turn."""
    data = png(np.full((2, 3, 3), (200, 100, 0)), 8, RGB, chunks=[(b"eXIf", with_exif(orientation))])
    sample.image.write_bytes(data)


def refusal(call, *arguments):
    with pytest.raises(DataError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_turned_photograph_is_refused_with_the_policy_that_fits_its_labels(sample):
    turn_image(sample, 6)
    for check in (Listed().read, Listed().check_header):
        message = refusal(check, sample)
        assert f"EXIF orientation 6 (turned by 90 degrees) in {sample.image}" in message
        assert "sizes match without rotation" in message and message.endswith("Fix: exif=ignore")
    write_ids(sample.labels, np.array([[0, 1, 2], [0, 0, 0]]).T)
    for check in (Listed().read, Listed().check_header):
        message = refusal(check, sample)
        assert "sizes match after rotation" in message and message.endswith("Fix: exif=apply")


def test_a_photograph_upside_down_fits_both_ways(sample):
    turn_image(sample, 3)
    message = refusal(Listed().check_header, sample)
    assert "sizes match both ways" in message and "Fix: exif=apply or ignore; look at" in message


@pytest.mark.parametrize(("exif", "size"), [("ignore", (2, 3)), ("apply", (3, 2))])
def test_a_turned_photograph_is_read_under_the_policy_that_fits(sample, exif, size):
    turn_image(sample, 6)
    write_ids(sample.labels, np.zeros(size))
    dataset = Listed(exif=exif)
    dataset.check_header(sample)
    image, labels = dataset.read(sample)
    assert image.shape[:2] == labels.shape == size


@pytest.mark.parametrize(("exif", "size"), [("ignore", (3, 2)), ("apply", (2, 3))])
def test_the_policy_that_does_not_fit_is_named(sample, exif, size):
    turn_image(sample, 6)
    write_ids(sample.labels, np.zeros(size))
    for check in (Listed(exif=exif).read, Listed(exif=exif).check_header):
        message = refusal(check, sample)
        assert "sizes differ" in message and "EXIF orientation 6" in message and "sizes match after rotation" in message


def test_labels_that_lie_turned_beside_their_photograph_are_told(sample):
    write_ids(sample.labels, np.zeros((3, 2)))
    message = refusal(Listed().check_header, sample)
    assert "Fix: turn one of them by 90 degrees, the sizes match after rotation" in message


def test_turned_labels_are_refused_by_their_header(sample):
    data = png(np.zeros((2, 3), int), 8, GRAY, chunks=[(b"eXIf", with_exif(6))])
    sample.labels.write_bytes(data)
    for check in (Listed(exif="apply").read, Listed(exif="apply").check_header):
        assert f"EXIF orientation 6 (turned by 90 degrees) in {sample.labels}: a label file" in refusal(check, sample)


def test_a_photograph_that_is_its_own_label_file_is_refused(sample, tmp_path):
    (tmp_path / "link.png").symlink_to(sample.labels)
    (tmp_path / "linked.png").hardlink_to(sample.labels)
    for image in (sample.labels, tmp_path / "link.png", tmp_path / "linked.png"):
        for check in (Listed().read, Listed().check_header):
            message = refusal(check, sample._replace(image=image))
            assert f"labels in {sample.labels}: the same file as the image {image}" in message


def test_a_jpeg_that_is_its_own_label_file_is_refused_as_that(sample, tmp_path):
    path = tmp_path / "image.jpg"
    Image.new("RGB", (3, 2)).save(path)
    for check in (Listed().read, Listed().check_header):
        assert f"labels in {path}: the same file as the" in refusal(check, sample._replace(image=path, labels=path))


def test_photographs_beyond_the_limit_are_refused(sample):
    Listed(max_pixels=6).read(sample)
    assert "2x3 pixels" in refusal(Listed(max_pixels=5).read, sample)


def test_transparency_of_labels_is_dropped_where_the_dataset_says_so(sample):
    sample.labels.write_bytes(png(np.array([[[0, 9], [1, 0], [2, 255]]] * 2), 8, GRAY_ALPHA))
    assert "alpha=drop" in refusal(Listed().read, sample)
    assert Listed(alpha="drop").read(sample)[1].tolist() == [[0, 1, 2]] * 2


def test_colours_become_stored_values_and_those_class_ids(sample):
    Image.fromarray(np.array([[(255, 0, 0), (0, 0, 9), (255, 0, 0)]] * 2, np.uint8)).save(sample.labels)
    dataset = Listed(label_colors={(255, 0, 0): 40, (0, 0, 9): 50}, label_values={40: 2, 50: 255, 60: 0})
    assert dataset.read(sample)[1].tolist() == [[2, 255, 2]] * 2


@pytest.mark.parametrize("values", [{0: 0, 255: 255}, {0: 2, 128: 2}, {0: 255}], ids=["ignored", "joined", "nothing"])
def test_values_that_leave_one_class_are_refused(values):
    with pytest.raises(ConfigError, match=r"^label_values: only \w+.* can occur.*Fix: give .*\b(door|wall)\b"):
        Listed(label_values=values)


def test_an_ignored_value_is_proposed_for_the_class_that_has_none():
    with pytest.raises(ConfigError, match=r"only soil can occur.*Fix: 'label_values=\{0: soil, 255: leaf\}'"):
        Two(label_values={0: 0, 255: 255})


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_a_photograph_may_come_smaller_than_its_labels(sample, reduction):
    Image.fromarray(np.full((21, 13, 3), (200, 100, 0), np.uint8)).save(sample.image, "JPEG")
    write_ids(sample.labels, np.ones((21, 13)))
    image, labels = Listed().read(sample, reduction)
    assert labels.shape == (21, 13)
    assert image.shape == (-(-21 // reduction), -(-13 // reduction), 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(11, 7), (22, 13), (21, 14)])
def test_sizes_are_compared_as_stored_however_small_the_photograph_comes(sample, kind, size):
    # Half of 21 x 13, rounded up, is 11 x 7, and so is half of 22 x 14.
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(sample.image, kind)
    write_ids(sample.labels, np.ones((21, 13)))
    assert "sizes differ" in refusal(Listed().read, sample, 2)
