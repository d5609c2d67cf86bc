"""Files are written complete or not at all; an error names file, folder, needed and free bytes, and the fix."""

import errno
import os
import shutil
import threading
from pathlib import Path

import pytest

from segtrain import storage
from segtrain.errors import ResourceError
from segtrain.runs import folder as runs


@pytest.fixture
def no_room(monkeypatch):
    """A disk that takes half of what is written, 5 MB of it left."""
    usage = shutil.disk_usage("/")._replace(free=5_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)

    def fail(code):
        real = os.write

        def half(file, data):
            real(file, bytes(data)[: len(data) // 2])
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr("os.write", half)

    return fail


CODES = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE]


@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
@pytest.mark.parametrize("write", [storage.write_atomically, storage.append])
def test_a_failed_write_leaves_the_file_as_it_was_and_nothing_else(tmp_path, no_room, code, write):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"earlier\n")
    no_room(code)
    with pytest.raises(ResourceError) as caught:
        write(path, b"a new line\n")
    message = str(caught.value)
    assert str(path) in message and os.strerror(code) in message and "Fix: " in message and "\n" not in message
    if code in storage.NO_ROOM:
        assert f"11 bytes needed, 5.0 MB free in {tmp_path}" in message
        assert message.endswith(f"Fix: free space on the disk of {tmp_path}")
    assert path.read_bytes() == b"earlier\n" and list(tmp_path.iterdir()) == [path]


def test_what_is_written_is_there(tmp_path):
    path = tmp_path / "a.json"
    storage.write_atomically(path, b"one")
    storage.write_atomically(path, b"two")
    storage.append(path, b" three")
    assert path.read_bytes() == b"two three" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [storage.write_atomically, storage.append])
def test_a_folder_that_was_removed_is_named(tmp_path, write):
    with pytest.raises(ResourceError, match=rf"^{tmp_path}/run was removed while .* Fix: "):
        write(tmp_path / "run" / "plots" / "a.png", b"")


@pytest.mark.parametrize("name", [".a.json.part", "a.json"])
def test_nothing_is_written_through_a_link(tmp_path, name):
    (tmp_path / "outside").write_bytes(b"mine")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / name).symlink_to(tmp_path / "outside")
    storage.write_atomically(folder / "a.json", b"new")
    assert (tmp_path / "outside").read_bytes() == b"mine" and not (folder / "a.json").is_symlink()
    (folder / "log").symlink_to(tmp_path / "outside")
    with pytest.raises(ResourceError, match="log"):
        storage.append(folder / "log", b"new")
    assert (tmp_path / "outside").read_bytes() == b"mine"


def test_long_and_unprintable_paths_stay_on_one_short_line():
    assert len(storage.named("a" * 5000)) < 130 and "(5000 characters)" in storage.named("a" * 5000)
    assert storage.named(Path("a\x1b[31m\nb")) == r"a\x1b[31m\nb"


def test_one_holds_a_lock_and_a_closed_file_gives_it_back(tmp_path):
    with (tmp_path / "lock").open("w") as first, (tmp_path / "lock").open() as second:
        assert storage.lock(first.fileno())
        assert not storage.lock(second.fileno()) and not storage.lock(second.fileno(), shared=True)
        first.close()
        assert storage.lock(second.fileno(), shared=True)


def test_who_wants_a_held_folder_waits(tmp_path):
    order = []

    def enter():
        with storage.locked(tmp_path):
            order.append("second")

    with storage.locked(tmp_path):
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_run_on_a_disk_without_locks_is_refused_as_such(tmp_path, monkeypatch):
    def no_locks(file, kind):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    assert runs.holder(tmp_path) is None
    with pytest.raises(ResourceError, match="No locks available.*Fix: check the disk"), runs.only_process(tmp_path):
        pass
