"""`segtrain bench data` measures the loader that a training would have, and its cache is that of a training."""

import json

import pytest

pytestmark = pytest.mark.tensorflow


def words(voc_root, *more):
    # 4 images, two batches of 2 in a pass.
    small = ("batch_size=2", "crop_size=[32,40]", "passes=3", "images=4")
    return ("bench", "data", "dataset=voc", f"dataset.root={voc_root}", *small, *more)


def figures(workplace):
    (found,) = workplace.glob("runs/bench/*/bench.json")
    return json.loads(found.read_text())


def test_passes_stages_and_the_decoders_limit_are_told(segtrain, workplace, voc_root):
    result = segtrain(*words(voc_root))
    assert result.code == 0, result.err
    found = figures(workplace)
    assert len(found["images_per_second"]) == 3 and min(found["images_per_second"]) > 0
    assert found["decoder_images_per_second"] > 0 and found["samples"] == 4
    assert list(found["microseconds_per_image"]) == [
        "read and decode the image",
        "read, decode and check the labels",
        "augment",
    ]
    for line in ("where the time goes", "passes, images/s: ", "loader: ", "decoding alone: ", "waits for its data"):
        assert line in result.out


def test_a_cache_folder_holds_every_sample_once(segtrain, workplace, voc_root):
    result = segtrain(*words(voc_root, "cache=packed", "augment.scale=[1.0,1.0]"))
    assert result.code == 0, result.err
    # 4 records of a header of 48 bytes and 48x64 pixels of 4 bytes.
    assert (workplace / "packed" / "pairs.pack").stat().st_size == 4 * (48 + 48 * 64 * 4)


def test_more_than_one_thing_to_measure_is_refused(segtrain):
    result = segtrain("bench", "data", "train")
    assert result.code == 2 and "segtrain bench data train: expected one name" in result.err
