"""Equal and nearly equal images: the fast search against the slow one, and what counts as alike."""

import cv2
import numpy as np
import pytest

from data.audit.faults import scenery
from segtrain.data.audit import duplicates
from segtrain.data.audit.duplicates import near_pairs, same_pixels
from segtrain.data.audit.record import THUMBNAIL, Record, difference_hash


def record(image: np.ndarray, name: str = "") -> Record:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    thumbnail = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).tobytes()
    pixels = name or str(hash(image.tobytes()))
    return Record(name, "", "", pixels=pixels, difference_hash=difference_hash(grey), thumbnail=thumbnail)


def num_bits(number: int) -> int:
    return bin(number).count("1")


def test_the_banded_search_finds_every_pair_of_two_bits_and_no_other():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 300, np.uint64)
    # Neighbors at 0 to 4 bits, wherever in the 64 they lie.
    for position in range(1, 300, 2):
        for bit in rng.choice(64, position % 5, replace=False):
            hashes[position] = hashes[position - 1] ^ np.uint64(1 << int(bit))
    found = {tuple(pair) for pair in duplicates._candidates(hashes, hashes).tolist() if pair[0] < pair[1]}
    slow = {
        (one, other)
        for one in range(300)
        for other in range(one + 1, 300)
        if num_bits(int(hashes[one]) ^ int(hashes[other])) <= 2
    }
    assert found == slow
    assert len(slow) >= 60


def test_a_mirrored_hash_is_the_hash_of_the_mirror_image():
    image = scenery(3)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    hashes = np.array([difference_hash(grey)], np.uint64)
    mirrored = difference_hash(np.ascontiguousarray(grey[:, ::-1]))
    assert num_bits(int(duplicates._mirrored(hashes)[0]) ^ mirrored) <= 1  # two neighbors may be equally bright


def test_a_hash_has_a_bit_for_each_step_up_along_a_row():
    grey = np.tile(np.arange(9, dtype=np.uint8) * 10, (8, 1))  # 8 steps up in each of 8 rows
    assert difference_hash(grey) == 2**64 - 1
    assert difference_hash(grey[:, ::-1].copy()) == 0


@pytest.mark.parametrize("quality", [95, 60, 30])
def test_the_same_scene_is_found_at_another_quality_and_size(quality):
    image = scenery(1, (96, 128))
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    smaller = cv2.resize(cv2.imdecode(data, cv2.IMREAD_COLOR), (64, 48), interpolation=cv2.INTER_AREA)
    assert near_pairs([record(scenery(2)), record(image), record(smaller)]) == [(1, 2)]


def test_other_scenes_are_not_alike():
    assert near_pairs([record(scenery(seed)) for seed in range(60)]) == []


def test_equal_hashes_of_other_scenes_are_not_enough():
    one, other = record(scenery(1), "a"), record(scenery(2), "b")
    forged = Record("", "", "", pixels="b", difference_hash=one.difference_hash, thumbnail=other.thumbnail)
    assert near_pairs([one, forged]) == []


def test_photographs_without_contrast_are_not_compared():
    night = [record(np.full((48, 64, 3), level, np.uint8)) for level in (3, 4, 5)]
    assert near_pairs(night) == []


def test_equal_photographs_are_a_group_and_no_near_pair():
    records = [record(scenery(1), "a"), record(scenery(1), "a"), record(scenery(2), "b"), Record("unread", "", "")]
    assert same_pixels(records) == [[0, 1]]
    assert near_pairs(records) == []


def test_twenty_thousand_frames_of_one_scene_end_at_the_most_pairs(monkeypatch):
    monkeypatch.setattr(duplicates, "MOST_PAIRS", 1000)
    scene = record(scenery(1))
    frames = [
        Record("", "", "", pixels=str(position), difference_hash=scene.difference_hash, thumbnail=scene.thumbnail)
        for position in range(20_000)
    ]
    assert len(near_pairs(frames)) == 1000  # of 200 million
