"""Killed at any call of a save, failed by any, or cut off from power after any: a whole checkpoint is always left.

Every call that touches the disk goes through `Disk`; here each of them in turn is the last one that a process makes.
"""

import errno
import itertools
import os
import signal

import numpy as np
import pytest

from segtrain.errors import ResourceError
from segtrain.runs.checkpoint import find_checkpoints, newest_intact, remove_stale, save_checkpoint
from segtrain.runs.disk import Disk

ERRNOS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def arrays(value):
    return {"model/kernel": np.full((40, 50), value, np.float32), "optimizer/iteration": np.array(value, np.int64)}


def save(folder, step, *, is_best=False, keep_last=1, disk=None):
    options = {"is_best": is_best, "metadata": {"step": step}, "keep_last": keep_last, "disk": disk}
    return save_checkpoint(folder, step, arrays(step), **options)


# What is there before the save of step 4, and how many of the last that save keeps.
BEFORE = {
    "nothing": ([], 1),
    "the last": ([(3, False)], 2),
    "the best and two to remove": ([(1, True), (2, False), (3, False)], 1),
}


def prepare(folder, before):
    for step, is_best in BEFORE[before][0]:
        save(folder, step, is_best=is_best, keep_last=5)


def assert_nothing_is_lost_or_mixed(folder, before):
    """One checkpoint that was there, or the new one, is whole; every one that can be read is what was written."""
    remove_stale(folder)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    assert all(name.startswith("step-") for name in names), names
    found = find_checkpoints(folder)
    for one in found:
        assert one.metadata == {"step": one.step} and (one.arrays()["model/kernel"] == one.step).all()
        assert one.arrays()["optimizer/iteration"] == one.step
    earlier = [step for step, _ in BEFORE[before][0]]
    if earlier:
        assert newest_intact(folder)[0].step in (earlier[-1], 4)
        assert not any(is_best for _, is_best in BEFORE[before][0]) or 1 in [one.step for one in found]
    save(folder, 5)  # and the next start goes on
    assert newest_intact(folder)[0].step == 5


class Watched:
    """A disk that calls `watch(number, name, arguments)` before each of its calls, and `after(number)` behind it."""

    def __init__(self, watch, after=lambda number: None):
        self._disk, self._watch, self._after, self._calls = Disk(), watch, after, itertools.count()

    def __getattr__(self, name):
        def call(*arguments):
            number = next(self._calls)
            self._watch(number, name, arguments)
            found = getattr(self._disk, name)(*arguments)
            self._after(number)
            return found

        return call


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def killer(at, moment):
    """A disk that kills its process before, in or after its call number `at`; in: half of a write is done."""

    def before(number, name, arguments):
        if number == at and moment == "in" and name == "write":
            os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
        if number == at and moment != "after":
            die()

    return Watched(before, lambda number: die() if number == at and moment == "after" else None)


@pytest.mark.parametrize("moment", ["before", "in", "after"])
@pytest.mark.parametrize("before", BEFORE)
def test_a_kill_at_every_call_loses_and_mixes_nothing(tmp_path, before, moment):
    for at in itertools.count():
        folder = tmp_path / str(at)
        prepare(folder, before)
        if (child := os.fork()) == 0:
            try:
                save(folder, 4, keep_last=BEFORE[before][1], disk=killer(at, moment))
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            break  # the save has fewer calls: all have had their turn
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert_nothing_is_lost_or_mixed(folder, before)
    # Room, folder, two files of four calls each, flush, rename, flush; five calls for each that is removed.
    assert at == {"nothing": 14, "the last": 13, "the best and two to remove": 13 + 2 * 5}[before]


@pytest.mark.parametrize("code", ERRNOS, ids=errno.errorcode.get)
@pytest.mark.parametrize("before", BEFORE)
def test_an_error_of_every_call_loses_nothing_and_is_told_in_one_line(tmp_path, before, code, caplog):
    for at in itertools.count():
        folder = tmp_path / str(at)
        prepare(folder, before)
        seen = []

        def fail(number, name, arguments, at=at, seen=seen):
            if number == at:
                seen.append(name)
                raise OSError(code, os.strerror(code))

        caplog.clear()
        try:
            save(folder, 4, keep_last=BEFORE[before][1], disk=Watched(fail))
        except ResourceError as error:
            assert os.strerror(code) in str(error) and str(folder / "step-00000004") in str(error)
            assert " bytes needed" in str(error) and "Fix: " in str(error)
            assert not list(folder.glob(".tmp-*"))
        else:
            if not seen:
                break
            assert "cannot remove old checkpoint" in caplog.text  # only that may fail without an end
        assert_nothing_is_lost_or_mixed(folder, before)
    assert at >= 13


class Folder(dict):
    """A folder on a disk with a write cache: names as they are now; as they are on the disk; the changes between."""

    def __init__(self, kept=()):
        super().__init__(kept)
        self.kept, self.changes = dict(kept), []

    def change(self, *names):
        """Note one step, (name, what it becomes or None) each, that reaches the disk whole or not at all."""
        for name, node in names:
            if node is None:
                del self[name]
            else:
                self[name] = node
        self.changes.append(names)

    def sync(self):
        self.kept, self.changes = dict(self), []


class File:
    def __init__(self, data=b"", kept=b""):
        self.data, self.kept = data, kept


def play(root, operations, top):
    """Do what a save did to a real folder `top` to the modelled one."""
    files = {}

    def parent(path):
        node = root
        for part in path.parent.relative_to(top.parent).parts:
            node = node[part]
        return node

    for name, arguments in operations:
        if name == "create_folder":
            parent(arguments[0]).change((arguments[0].name, Folder()))
        elif name == "create_file":
            files[arguments[1]] = node = File()
            parent(arguments[0]).change((arguments[0].name, node))
        elif name == "write":
            files[arguments[0]].data += arguments[1]
        elif name == "sync":
            files[arguments[0]].kept = files[arguments[0]].data
        elif name == "sync_folder":
            parent(arguments[0])[arguments[0].name].sync()
        elif name == "rename":
            folder = parent(arguments[0])
            folder.change((arguments[1].name, folder[arguments[0].name]), (arguments[0].name, None))
        elif name in ("remove_file", "remove_folder"):
            parent(arguments[0]).change((arguments[0].name, None))


def write_out(node, path, rng):
    """Put onto the real disk what a power cut may have left: some of the changes, and of each file some of the data."""
    if isinstance(node, File):
        unsynced = [node.kept, node.data, node.data[: len(node.data) // 2], b"\0" * len(node.data)]
        path.write_bytes(node.kept if node.kept == node.data else unsynced[rng.integers(4)])
        return
    path.mkdir()
    names = dict(node.kept)
    for change in node.changes[: rng.integers(len(node.changes) + 1)]:
        for name, what in change:
            if what is None:
                names.pop(name, None)
            else:
                names[name] = what
    for name, what in names.items():
        write_out(what, path / name, rng)


def model(path):
    if path.is_file():
        return File(path.read_bytes(), path.read_bytes())
    return Folder({each.name: model(each) for each in path.iterdir()})


@pytest.mark.parametrize("before", BEFORE)
def test_a_power_cut_after_every_call_loses_and_mixes_nothing(tmp_path, before):
    folder = tmp_path / "real" / "checkpoints"
    folder.mkdir(parents=True)
    prepare(folder, before)
    operations, opened = [], {}

    def record(number, name, arguments):
        if name == "write":
            arguments = (opened[arguments[0]], bytes(arguments[1]))
        elif name in ("sync", "close"):
            arguments = (opened[arguments[0]],)
        elif name == "create_file":
            # The descriptor that the call is about to get: the lowest free one.
            lowest = os.open("/dev/null", os.O_RDONLY)
            os.close(lowest)
            opened[lowest] = len(operations)
            arguments = (*arguments, len(operations))
        operations.append((name, arguments))

    start = model(folder)
    save(folder, 4, keep_last=BEFORE[before][1], disk=Watched(record))
    rng = np.random.default_rng(0)
    lost_something = 0
    for at in range(len(operations) + 1):
        for variant in range(6):
            root = Folder({"checkpoints": _copy(start)})
            play(root, operations[:at], folder)
            left = tmp_path / f"{at}-{variant}"
            write_out(root["checkpoints"], left, rng)
            lost_something += any(isinstance(node, Folder) and node.changes for node in root["checkpoints"].values())
            assert_nothing_is_lost_or_mixed(left, before)
    assert lost_something > 20  # the model does hold changes back
    assert newest_intact(folder)[0].step == 4


def _copy(node):
    return File(node.data, node.kept) if isinstance(node, File) else Folder({k: _copy(v) for k, v in node.items()})
