"""SBD's labels become PNGs that hold the same ids, once, and never those of VOC's validation images."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import toys
from segtrain.data import Voc
from segtrain.data.sbd.convert import LABELS, LIST, plan_train_aug, write_train_aug
from segtrain.data.sbd.record import RECORD
from segtrain.errors import DataError, ResourceError


@pytest.fixture
def roots(tmp_path):
    """SBD and VOC: 4 images to train and 2 to validate are VOC's, 6 more are SBD's own."""
    voc = toys.draw_voc(tmp_path)
    return toys.draw_sbd(tmp_path, voc), voc


def files(folder):
    """Bytes and time of each file, to tell whether it was written again."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def prepare(roots, output, **options):
    return write_train_aug(plan_train_aug(*roots), output, progress=False, **options)


def read(path):
    with Image.open(path) as picture:
        assert picture.mode == "P"
        return np.asarray(picture)


# The list -----------------------------------------------------------------------------------------------------


def test_train_aug_is_both_without_what_validates(roots):
    plan = plan_train_aug(*roots)
    train = [f"2007_{index:06d}" for index in range(4)]
    assert plan.names == [*train, *(f"2008_{index:06d}" for index in range(6))]
    assert [*plan.mats] == [f"2008_{index:06d}" for index in range(6)]  # VOC's own labels are preferred
    assert [*plan.pngs] == [*train, "2007_001000", "2007_001001"]
    assert not {*plan.names} & {*plan.val}


def test_the_root_may_be_the_folder_within(roots):
    assert plan_train_aug(roots[0] / "dataset", roots[1]) == plan_train_aug(*roots)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda sbd, voc: (sbd / "dataset/cls/2008_000003.mat").unlink(),
            r"1 names without \.mat file in .*: 2008_000003",
        ),
        (lambda sbd, voc: (voc / "JPEGImages/2008_000001.jpg").unlink(), "without image in .*: 2008_000001"),
        (
            lambda sbd, voc: (voc / "SegmentationClass/2007_001001.png").unlink(),
            "without label file in .*: 2007_001001",
        ),
        (
            lambda sbd, voc: (sbd / "dataset/train.txt").unlink(),
            r"^sbd=.*: it has no train\.txt, expected .* Fix: sbd=",
        ),
        (lambda sbd, voc: shutil.rmtree(voc / "JPEGImages"), "^voc=.*: it has no JPEGImages, expected .* Fix: voc="),
        (lambda sbd, voc: shutil.rmtree(sbd), "^sbd=.*: no such folder"),
    ],
)
def test_what_is_missing_is_named_before_anything_is_written(roots, spoil, message):
    spoil(*roots)
    with pytest.raises(DataError, match=message):
        plan_train_aug(*roots)


# The files ----------------------------------------------------------------------------------------------------


def test_pngs_hold_the_ids_of_the_mats_and_vocs_own_bytes(roots, tmp_path):
    assert prepare(roots, tmp_path / "out") == 0
    for index in range(6):
        _, ids = toys.draw_pair(np.random.default_rng([0, 7, index]), (48, 64), toys.VOC_IDS)
        np.testing.assert_array_equal(read(tmp_path / "out" / LABELS / f"2008_{index:06d}.png"), ids)
    for path in (roots[1] / "SegmentationClass").iterdir():
        assert (tmp_path / "out" / LABELS / path.name).read_bytes() == path.read_bytes()
    assert len(list((tmp_path / "out" / LABELS).iterdir())) == 12


def test_what_was_prepared_trains_and_validates(roots, tmp_path):
    prepare(roots, tmp_path / "out")
    dataset = Voc(str(roots[1]), labels=str(tmp_path / "out" / LABELS), train_list=str(tmp_path / "out" / LIST))
    assert (len(dataset.samples("train")), len(dataset.samples("val"))) == (10, 2)
    for sample in dataset.samples("train"):
        image, labels = dataset.read(sample)
        for id_ in np.setdiff1d(labels, 255):
            np.testing.assert_allclose(np.median(image[labels == id_], axis=0), toys.PAINT[id_], atol=12)


def test_nothing_is_written_beside_the_data(roots, tmp_path):
    def tree(root):
        return {path: path.is_file() and path.read_bytes() for path in sorted(root.rglob("*"))}

    before = [tree(root) for root in roots]
    prepare(roots, tmp_path / "out")
    assert [tree(root) for root in roots] == before


# Again --------------------------------------------------------------------------------------------------------


def test_a_second_time_nothing_is_written_again(roots, tmp_path):
    prepare(roots, tmp_path / "out")
    before = files(tmp_path / "out" / LABELS)
    assert prepare(roots, tmp_path / "out") == 12
    assert files(tmp_path / "out" / LABELS) == before


def test_a_damaged_missing_or_unrecorded_file_alone_is_made_again(roots, tmp_path):
    out = tmp_path / "out" / LABELS
    prepare(roots, tmp_path / "out")
    before = files(out)
    damaged = before["2008_000002.png"][0]
    (out / "2008_000002.png").write_bytes(damaged[:40] + bytes([damaged[40] ^ 1]) + damaged[41:])
    (out / "2008_000005.png").unlink()
    record = tmp_path / "out" / RECORD
    lines = [line for line in record.read_text().splitlines() if "2007_000001" not in line]
    record.write_text("\n".join(lines)[:-9])  # a kill has cut the last line short
    cut = json.loads(lines[-1])["name"].removesuffix(".png")
    again = {"2008_000002", "2008_000005", "2007_000001", cut}
    assert prepare(roots, tmp_path / "out") == 12 - len(again)
    after = files(out)
    assert {name: data for name, (data, _) in after.items()} == {name: data for name, (data, _) in before.items()}
    assert {name for name in after if after[name] != before[name]} == {f"{name}.png" for name in again}


def test_a_damaged_mat_is_named_and_the_rest_is_kept(roots, tmp_path):
    bad = roots[0] / "dataset" / "cls" / "2008_000005.mat"
    good = bad.read_bytes()
    bad.write_bytes(good[:200])
    with pytest.raises(DataError, match=r"2008_000005\.mat"):
        prepare(roots, tmp_path / "out")
    assert not (tmp_path / "out" / LIST).exists()  # which says that all is there
    kept = len(list((tmp_path / "out" / LABELS).glob("*.png")))
    bad.write_bytes(good)
    assert prepare(roots, tmp_path / "out") == kept
    assert len((tmp_path / "out" / LIST).read_text().split()) == 10


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.zeros((48, 65), np.uint8), r"\(48, 65\) pixels, expected \(48, 64\)"),
        (np.full((48, 64), 21, np.uint8), r"\[21\], expected"),
    ],
)
def test_labels_that_cannot_be_the_photographs_are_refused(roots, tmp_path, ids, message):
    toys.savemat(roots[0] / "dataset" / "cls" / "2008_000000.mat", {"GTcls": {"Segmentation": ids}})
    with pytest.raises(DataError, match=rf"2008_000000\.mat: .*{message}"):
        prepare(roots, tmp_path / "out")


def test_labels_of_others_are_not_written_over(roots, tmp_path):
    (tmp_path / "out" / LABELS).mkdir(parents=True)
    (tmp_path / "out" / LABELS / "2008_000000.png").write_bytes(b"mine")
    with pytest.raises(DataError, match="^output=.*Fix: give another output="):
        prepare(roots, tmp_path / "out")
    assert (tmp_path / "out" / LABELS / "2008_000000.png").read_bytes() == b"mine"


def test_an_output_that_cannot_be_written_is_named(roots, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ResourceError, match=r"cannot write .*out/prepared\.jsonl: Not a directory.*Fix: "):
        prepare(roots, tmp_path / "out")


def test_a_file_cut_short_by_a_kill_is_swept_away(roots, tmp_path):
    prepare(roots, tmp_path / "out")
    (tmp_path / "out" / LABELS / ".2008_000000.png.part").write_bytes(b"half")
    prepare(roots, tmp_path / "out")
    assert len(list((tmp_path / "out" / LABELS).iterdir())) == 12


# Real labels --------------------------------------------------------------------------------------------------


def test_the_sixty_mats_of_the_subset_give_the_published_pngs(test_data, tmp_path):
    root = test_data / "voc2012_subset"
    plan = plan_train_aug(root / "benchmark_RELEASE", root / "VOCdevkit" / "VOC2012")
    write_train_aug(plan, tmp_path, progress=False)
    published = root / "VOCdevkit" / "VOC2012" / "SegmentationClassAug"
    assert len(plan.mats) > 30
    for name in plan.mats:
        np.testing.assert_array_equal(read(tmp_path / LABELS / f"{name}.png"), read(published / f"{name}.png"))
    full = {path.stem: {*path.read_text().split()} for path in (root / "full_id_lists").iterdir()}
    assert {*plan.names} <= full["train_aug"]
