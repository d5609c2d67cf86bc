"""The drawn people: a pure function of the seed, in CIHP's layout, all or nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from segtrain.data.datasets.cihp import COLORS
from segtrain.data.people import dataset as people
from segtrain.data.people.dataset import draw_people, write_people
from segtrain.data.people.drawing.canvas import Canvas, Cloth, Ellipse, Pen
from segtrain.data.people.drawing.outfit import Part
from segtrain.errors import DataError, ResourceError

SIZE = (192, 208)
SMALL = {"num_train": 3, "num_val": 2, "size": SIZE, "seed": 0, "progress": False}


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def labels_of(folder: Path) -> list[np.ndarray]:
    return [np.array(Image.open(path)) for path in sorted((folder / "Category_ids").iterdir())]


def middle(labels: np.ndarray, part: Part) -> float:
    """The mean column of a part's pixels."""
    return float(np.nonzero(labels == part)[1].mean())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("people") / "instance-level_human_parsing"
    write_people(root, num_train=40, num_val=24, progress=False)
    return root


def test_the_same_state_draws_the_same_people():
    first = draw_people(np.random.default_rng((3, 1)), SIZE)
    again = draw_people(np.random.default_rng((3, 1)), SIZE)
    other = draw_people(np.random.default_rng((3, 2)), SIZE)
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_image_and_labels_are_uint8_of_the_asked_size():
    image, labels = draw_people(np.random.default_rng(0), SIZE)
    assert (image.shape, image.dtype) == ((192, 208, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((192, 208), np.uint8)


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    write_people(tmp_path / "a", **SMALL)
    write_people(tmp_path / "b", **SMALL)
    write_people(tmp_path / "c", **SMALL | {"seed": 1})
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    first = "Training/Images/0000001.jpg"
    assert contents(tmp_path / "a")[first] != contents(tmp_path / "c")[first]


def test_an_image_does_not_depend_on_how_many_are_drawn(tmp_path):
    write_people(tmp_path / "few", **SMALL)
    write_people(tmp_path / "more", **SMALL | {"num_train": 5})
    few, more = contents(tmp_path / "few"), contents(tmp_path / "more")
    assert few["Training/Images/0000003.jpg"] == more["Training/Images/0000003.jpg"]
    # The second validation image: id 3 + 2 = 5 there, 5 + 2 = 7 here.
    assert few["Validation/Category_ids/0000005.png"] == more["Validation/Category_ids/0000007.png"]


def test_the_layout_is_that_of_cihp(tmp_path):
    write_people(tmp_path / "root", **SMALL)
    pairs = [
        f"{split}/{kind}/{name}.{ending}"
        for split, names in (
            ("Training", ("0000001", "0000002", "0000003")),
            ("Validation", ("0000004", "0000005")),
        )
        for name in names
        for kind, ending in (("Images", "jpg"), ("Category_ids", "png"))
    ]
    found = contents(tmp_path / "root")
    assert sorted(found) == sorted([*pairs, "train_id.txt", "val_id.txt", "human_colormap.mat", "people.json"])
    assert found["train_id.txt"] == b"0000001\n0000002\n0000003\n"
    assert found["val_id.txt"] == b"0000004\n0000005\n"
    with Image.open(tmp_path / "root/Training/Category_ids/0000001.png") as labels:
        assert (labels.mode, labels.size) == ("L", (208, 192))


def test_the_colormap_is_the_palette_over_256(tmp_path):
    write_people(tmp_path / "root", **SMALL)
    colormap = loadmat(tmp_path / "root/human_colormap.mat")["colormap"]
    assert colormap.dtype == np.float64 and np.array_equal(colormap * 256, COLORS)


@pytest.mark.parametrize("split", ["Training", "Validation"])
def test_every_class_occurs_in_both_splits_and_no_other_id(drawn, split):
    pixels = np.bincount(np.concatenate([labels.ravel() for labels in labels_of(drawn / split)]))
    assert len(pixels) == 20
    # 0.002 of 224 x 256 pixels: even the rarest class has 115 pixels per image on average.
    assert pixels.min() / pixels.sum() > 0.002


def test_a_figure_that_faces_us_has_its_left_at_our_right():
    for seed in range(12):
        _, labels = draw_people(np.random.default_rng(seed), SIZE, num_figures=1, facing="front")
        assert middle(labels, Part.LEFT_SHOE) > middle(labels, Part.RIGHT_SHOE)
        if {Part.LEFT_ARM, Part.RIGHT_ARM} <= set(np.unique(labels)):
            assert middle(labels, Part.LEFT_ARM) > middle(labels, Part.RIGHT_ARM)


def test_a_figure_that_shows_its_back_has_its_left_at_our_left_and_no_glasses():
    for seed in range(12):
        _, labels = draw_people(np.random.default_rng(seed), SIZE, num_figures=1, facing="back")
        assert middle(labels, Part.LEFT_SHOE) < middle(labels, Part.RIGHT_SHOE)
        assert Part.SUNGLASSES not in labels


def test_the_border_of_a_shape_lies_at_the_same_pixels_in_image_and_labels():
    canvas = Canvas(np.full((60, 80, 3), 255, np.uint8))
    Pen(canvas, (40, 30), 1.0).paint(Part.HAT, Cloth((0, 0, 0)), Ellipse((0, 0), (20, 12)), depth=0)
    image, labels = canvas.finish()
    # A pixel that is mostly black is mostly inside, and so is its middle.
    assert np.array_equal(labels == Part.HAT, image[..., 0] < 128)


def test_an_unknown_pattern_is_a_mistake():
    with pytest.raises(ValueError, match="pattern='tartan'"):
        Cloth((0, 0, 0), pattern="tartan").texture(np.zeros((1, 4)), np.zeros((4, 1)))


def test_a_drawn_folder_is_taken_as_it_is(tmp_path):
    write_people(tmp_path / "root", **SMALL)
    (tmp_path / "root/train_id.txt").write_text("touched")
    write_people(tmp_path / "root", **SMALL)
    assert (tmp_path / "root/train_id.txt").read_text() == "touched"


def test_a_folder_of_other_parameters_is_refused(tmp_path):
    write_people(tmp_path / "root", **SMALL)
    before = contents(tmp_path / "root")
    with pytest.raises(DataError, match=r"drawn with num_val=2, expected num_val=4\. Fix: give another root"):
        write_people(tmp_path / "root", **SMALL | {"num_val": 4})
    assert contents(tmp_path / "root") == before


@pytest.mark.parametrize("marker", [None, "not json", json.dumps(["a list"])])
def test_a_folder_that_segtrain_did_not_draw_is_refused(tmp_path, marker):
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    if marker is not None:
        (tmp_path / "people.json").write_text(marker)
    with pytest.raises(DataError, match=r"without a readable people\.json.*or delete the folder"):
        write_people(tmp_path, **SMALL)
    assert (tmp_path / "holiday.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch, interruption):
    def interrupted(rng, size):
        if len(list(tmp_path.rglob("*.png"))) >= 2:
            raise interruption
        return draw_people(rng, size)

    monkeypatch.setattr(people, "draw_people", interrupted)
    with pytest.raises(interruption):
        write_people(tmp_path / "root", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_drawing_left_is_replaced(tmp_path):
    leftover = tmp_path / ".root.unfinished/Training/Images"
    leftover.mkdir(parents=True)
    (leftover / "9999999.jpg").write_bytes(b"half")
    write_people(tmp_path / "root", **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert not (tmp_path / "root/Training/Images/9999999.jpg").exists()


def test_a_root_that_cannot_be_made_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"file/root: .*Fix: give another root"):
        write_people(tmp_path / "file/root", **SMALL)


def test_progress_goes_to_stderr(tmp_path, capsys):
    write_people(tmp_path / "root", **SMALL | {"progress": True})
    captured = capsys.readouterr()
    assert "drawing people" in captured.err and captured.out == ""
