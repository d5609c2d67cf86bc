"""A cache gives what `Dataset.read` gives, survives kills and damage, and notices that a file has changed."""

import fcntl
import logging
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from segtrain.data import Cihp
from segtrain.data.loading.cache import DiskCache, MemoryCache, available_memory
from segtrain.errors import DataError, ResourceError

BYTES_EACH = 48 * 64 * 4  # of the toy's images, 48x64: three bytes of color and one of class


class Counting:
    """`Dataset.read`, which counts its calls."""

    def __init__(self, dataset):
        self.dataset = dataset
        self.calls = 0

    def __call__(self, sample, reduction=1):
        self.calls += 1
        return self.dataset.read(sample, reduction)


@pytest.fixture
def read(cihp_root):
    return Counting(Cihp(str(cihp_root)))


def disk(read, folder, rules="rules"):
    return DiskCache(read, folder, rules)


CACHES = {"memory": lambda read, folder: MemoryCache(read), "disk": disk}


def assert_gives_what_is_read(cache, read):
    for sample in read.dataset.samples("train"):
        for reduction in (1, 2):
            found, expected = cache(sample, reduction), read.dataset.read(sample, reduction)
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("kind", CACHES)
def test_each_sample_and_reduction_is_decoded_once(kind, read, tmp_path):
    cache = CACHES[kind](read, tmp_path / "cache")
    for _ in range(3):
        assert_gives_what_is_read(cache, read)
    assert read.calls == 4 * 2  # samples, reductions


def test_a_later_training_finds_what_an_earlier_one_packed(read, tmp_path):
    assert_gives_what_is_read(disk(read, tmp_path), read)
    read.calls = 0
    assert_gives_what_is_read(disk(read, tmp_path), read)
    assert read.calls == 0


def test_a_changed_file_and_other_rules_are_other_samples(read, tmp_path):
    sample = read.dataset.samples("train")[0]
    disk(read, tmp_path)(sample)
    disk(read, tmp_path, "other rules")(sample)
    assert read.calls == 2
    changed = os.stat(sample.labels).st_mtime_ns + 1
    os.utime(sample.labels, ns=(changed, changed))
    cache = disk(read, tmp_path)
    cache(sample)
    assert read.calls == 3
    cache(sample)
    assert read.calls == 3


@pytest.mark.parametrize("cut", [1, 40, BYTES_EACH // 2, BYTES_EACH])
def test_a_record_that_a_kill_cut_short_is_cut_off_and_decoded_anew(read, tmp_path, cut):
    samples = read.dataset.samples("train")
    cache = disk(read, tmp_path)
    for sample in samples:
        cache(sample)
    del cache
    pack = tmp_path / "pairs.pack"
    whole = pack.stat().st_size
    os.truncate(pack, whole - cut)
    read.calls = 0
    cache = disk(read, tmp_path)
    assert pack.stat().st_size == whole * 3 // 4  # the last of four equal records is gone
    for _ in range(2):
        for sample in samples:
            np.testing.assert_array_equal(cache(sample)[0], read.dataset.read(sample)[0])
    assert read.calls == 1 and pack.stat().st_size == whole


def test_every_flipped_byte_is_noticed_and_its_sample_decoded_anew(read, tmp_path):
    samples = read.dataset.samples("train")
    cache = disk(read, tmp_path)
    for sample in samples:
        cache(sample)
    del cache
    pack = tmp_path / "pairs.pack"
    good = pack.read_bytes()
    positions = np.random.default_rng(0).integers(len(good), size=40).tolist()
    for position in [0, 9, 25, 45, *positions]:  # in the header: magic, key, sizes, its checksum
        pack.write_bytes(good[:position] + bytes([good[position] ^ 0x10]) + good[position + 1 :])
        read.calls = 0
        cache = disk(read, tmp_path)
        for sample in samples:
            found, expected = cache(sample), read.dataset.read(sample)
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])
        assert read.calls >= 1
        del cache


def test_a_second_process_reads_and_does_not_write(read, tmp_path):
    samples = read.dataset.samples("train")
    first = disk(read, tmp_path)
    first(samples[0])
    size = (tmp_path / "pairs.pack").stat().st_size
    second = disk(read, tmp_path)  # a file opened anew has a lock of its own, as in another process
    read.calls = 0
    second(samples[0])
    assert read.calls == 0
    second(samples[1])
    assert read.calls == 1 and (tmp_path / "pairs.pack").stat().st_size == size


def test_a_killed_writer_leaves_whole_records_and_no_lock(cihp_root, tmp_path, read):
    program = f"""
        import os, signal
        from pathlib import Path
        from segtrain.data import Cihp
        from segtrain.data.loading.cache import DiskCache
        dataset = Cihp({str(cihp_root)!r})
        cache = DiskCache(dataset.read, Path({str(tmp_path)!r}), "rules")
        for sample in dataset.samples("train")[:2]:
            cache(sample)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert ended.returncode == -9
    cache = disk(read, tmp_path)
    for sample in read.dataset.samples("train"):
        cache(sample)
    assert read.calls == 2  # two of four were there; the lock was free, so the others went in
    assert (tmp_path / "pairs.pack").stat().st_size == 4 * (BYTES_EACH + 48)


def test_a_full_memory_keeps_what_it_has_and_says_so_once(read, caplog):
    samples = read.dataset.samples("train")
    cache = MemoryCache(read, max_bytes=2 * BYTES_EACH)
    with caplog.at_level(logging.WARNING, "segtrain"):
        for _ in range(2):
            for sample in samples:
                cache(sample)
    assert read.calls == 4 + 2
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "cache=memory is full with 2 samples; the others are decoded each time"
    ]


def test_a_full_disk_keeps_what_it_has_and_says_so_once(read, tmp_path, caplog, monkeypatch):
    samples = read.dataset.samples("train")
    cache = disk(read, tmp_path)
    cache(samples[0])
    whole, written = (tmp_path / "pairs.pack").stat().st_size, os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda file, parts, offset: written(file, [parts[0][:20]], offset))
    with caplog.at_level(logging.WARNING, "segtrain"):
        for sample in samples:
            np.testing.assert_array_equal(cache(sample)[1], read.dataset.read(sample)[1])
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"cache {tmp_path / 'pairs.pack'} takes no more than its 1 samples: the disk is full"
    ]
    assert (tmp_path / "pairs.pack").stat().st_size == whole


def test_what_is_kept_cannot_be_changed_by_an_augmentation(read):
    image, labels = MemoryCache(read)(read.dataset.samples("train")[0])
    for array in (image, labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_a_bad_file_raises_its_own_error(read, tmp_path):
    sample = read.dataset.samples("train")[0]
    sample.image.unlink()
    for cache in (MemoryCache(read), disk(read, tmp_path)):
        with pytest.raises(DataError, match=sample.image.name):
            cache(sample)


def test_a_folder_that_cannot_be_made_is_refused(read, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"cache=.*file.*Fix: cache=memory"):
        disk(read, tmp_path / "file" / "cache")


def test_a_lock_held_elsewhere_leaves_the_file_alone(read, tmp_path):
    cache = disk(read, tmp_path)
    cache(read.dataset.samples("train")[0])
    del cache
    pack = tmp_path / "pairs.pack"
    with pack.open("rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        pack.write_bytes(pack.read_bytes() + b"the other is writing")
        size = pack.stat().st_size
        disk(read, tmp_path)
        assert pack.stat().st_size == size


def test_available_memory_is_some_and_less_than_the_machine_has():
    assert 0 < available_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
