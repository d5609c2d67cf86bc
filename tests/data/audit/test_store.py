"""What was checked stays known until a file changes, and no longer."""

import os

import pytest

from data.audit.faults import ids_of, save, street
from segtrain.data.audit import store
from segtrain.data.audit.record import Record, examine
from segtrain.data.audit.store import Verdict


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_records_come_back_as_they_were(tmp_path):
    root, dataset = street(tmp_path)
    (root / "train/train_1.png").write_bytes(b"")
    ids = ids_of(root / "trainannot/train_2.png")
    ids[0, 0] = 77
    save(root / "trainannot/train_2.png", ids)
    records = [examine(dataset, sample) for sample in dataset.samples("train")]
    assert [len(record.problems) for record in records] == [0, 1, 1, 0]
    store.store_records("key", records)
    assert store.load_records("key") == records


def test_a_verdict_comes_back(tmp_path):
    store.store_verdict("key", Verdict("2026-11-21 14:03", 1, 2))
    assert store.load_verdict("key") == Verdict("2026-11-21 14:03", 1, 2)
    assert store.load_verdict("another") is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'[{"name": 3}]', b'{"date": 1}', b"\xff\xfe"])
def test_a_damaged_cache_is_no_cache(damage):
    store.store_records("key", [Record("a", "b", "c")])
    store.store_verdict("key", Verdict("2026-11-21 14:03", 0, 0))
    for path in store.folder().iterdir():
        path.write_bytes(damage)
    assert store.load_records("key") is None
    assert store.load_verdict("key") is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "cache").write_text("a file where the folder would be")
    store.store_records("key", [Record("a", "b", "c")])
    assert store.load_records("key") is None


def test_a_key_is_that_of_the_same_files(tmp_path):
    _, dataset = street(tmp_path)
    samples = dataset.samples("train")
    assert store.key("config", samples) == store.key("config", dataset.samples("train"))


@pytest.mark.parametrize("change", ["config", "order", "fewer", "time", "content", "gone"])
def test_a_key_changes_with(change, tmp_path):
    root, dataset = street(tmp_path)
    samples = dataset.samples("train")
    before = store.key("config", samples)
    path = root / "trainannot/train_2.png"
    status = path.stat()
    if change == "time":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    elif change == "content":  # of another length, at the same time
        path.write_bytes(path.read_bytes() + b"\0")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "gone":
        path.unlink()
    kept = {"order": samples[::-1], "fewer": samples[1:]}.get(change, samples)
    assert store.key("other" if change == "config" else "config", kept) != before


def test_old_files_make_room_for_new_ones(monkeypatch):
    monkeypatch.setattr(store, "_KEPT", 3)
    for number in range(5):
        store.store_verdict(str(number), Verdict("", number, 0))
        os.utime(store.folder() / f"{number}.verdict.json", ns=(number, number))
    store.store_verdict("5", Verdict("", 5, 0))
    assert sorted(path.name[0] for path in store.folder().iterdir()) == ["3", "4", "5"]
