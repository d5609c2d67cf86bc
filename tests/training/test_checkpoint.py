"""Checkpoints on disk: whole or not at all, whatever fails, and never one too many."""

import errno
import itertools
import os
import shutil
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest

from segtrain.errors import CheckpointError, ResourceError
from segtrain.training.checkpoint import find_checkpoints, pick_checkpoint, save_checkpoint


def _arrays(value):
    return {
        "model/kernel": np.full((3, 4), value, np.float32),
        "model/counter/0": np.array([value, 7], np.uint32),
        "optimizer/iteration": np.array(value, np.int64),
        "model/empty": np.zeros((0, 3), np.float32),
    }


def _save(folder, step, *, is_best=False, value=None, facts=None):
    return save_checkpoint(folder, step, _arrays(step if value is None else value), is_best=is_best, facts=facts or {})


def _steps(folder):
    return [found.step for found in find_checkpoints(folder)]


def _assert_whole(found, value):
    said = found.arrays()
    assert said.keys() == _arrays(value).keys()
    for name, array in _arrays(value).items():
        assert said[name].dtype == array.dtype and said[name].shape == array.shape, name
        np.testing.assert_array_equal(said[name], array)


def test_arrays_come_back_with_their_shapes_dtypes_and_bits(tmp_path):
    written = _save(tmp_path / "checkpoints", 123, is_best=True, facts={"best": 0.5, "monitor": "val_mean_iou"})
    [found] = find_checkpoints(tmp_path / "checkpoints")
    assert found == written
    assert found.path == tmp_path / "checkpoints" / "step-00000123"
    assert (found.step, found.is_best, found.facts) == (123, True, {"best": 0.5, "monitor": "val_mean_iou"})
    _assert_whole(found, 123)


def test_special_numbers_come_back_to_the_bit(tmp_path):
    special = np.array([np.nan, np.inf, -0.0, 1e-45], np.float32)
    save_checkpoint(tmp_path, 1, {"special": special}, is_best=False, facts={})
    assert pick_checkpoint(tmp_path, "last").arrays()["special"].tobytes() == special.tobytes()


def test_a_transposed_array_comes_back_as_it_was(tmp_path):
    # safetensors writes the memory as it lies, whatever the array's strides say.
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    save_checkpoint(tmp_path, 1, {"turned": turned}, is_best=False, facts={})
    np.testing.assert_array_equal(pick_checkpoint(tmp_path, "last").arrays()["turned"], turned)


def test_the_last_and_the_best_are_kept_and_no_other(tmp_path):
    kept = []
    for step, is_best in [(1, True), (2, False), (3, False), (4, True), (5, False)]:
        _save(tmp_path, step, is_best=is_best)
        kept.append(_steps(tmp_path))
    assert kept == [[1], [1, 2], [1, 3], [4], [4, 5]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000004", "step-00000005"]
    assert pick_checkpoint(tmp_path, "best").step == 4
    assert pick_checkpoint(tmp_path, "last").step == 5


def test_without_a_best_one_the_last_stands_for_it(tmp_path):
    _save(tmp_path, 1)
    _save(tmp_path, 2)
    assert _steps(tmp_path) == [2]
    assert pick_checkpoint(tmp_path, "best").step == 2


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_without_a_checkpoint_is_named(tmp_path, exists):
    folder = tmp_path if exists else tmp_path / "none"
    with pytest.raises(CheckpointError, match=f"no checkpoint in {folder}.*Fix: "):
        pick_checkpoint(folder, "last")


def test_steps_are_numbers_not_names(tmp_path):
    for step in (99_999_999, 100_000_000):
        _save(tmp_path, step)
    assert pick_checkpoint(tmp_path, "last").step == 100_000_000


def test_what_is_not_whole_is_not_found(tmp_path):
    _save(tmp_path, 3)
    whole = tmp_path / "step-00000003"
    shutil.copytree(whole, tmp_path / ".tmp-step-00000009")
    (tmp_path / "step-00000004").mkdir()
    shutil.copytree(whole, tmp_path / "step-00000005")
    (tmp_path / "step-00000005" / "manifest.json").unlink()
    shutil.copytree(whole, tmp_path / "step-00000006")
    (tmp_path / "step-00000006" / "manifest.json").write_text('{"step": 6, "is_be')
    shutil.copytree(whole, tmp_path / "step-00000007")
    (tmp_path / "step-00000007" / "manifest.json").write_text("[7]")
    (tmp_path / "step-00000008").write_text("a file")
    assert _steps(tmp_path) == [3]


def test_one_changed_byte_is_noticed_and_its_file_named(tmp_path):
    state = _save(tmp_path, 3).path / "state.safetensors"
    data = bytearray(state.read_bytes())
    data[-1] ^= 1
    state.write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"checkpoint {state}: damaged.*Fix: remove {state.parent} "):
        pick_checkpoint(tmp_path, "last").arrays()


def test_a_file_cut_short_is_noticed(tmp_path):
    state = _save(tmp_path, 3).path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=f"{state}: damaged"):
        pick_checkpoint(tmp_path, "last").arrays()


def test_a_missing_file_is_named(tmp_path):
    state = _save(tmp_path, 3).path / "state.safetensors"
    state.unlink()
    with pytest.raises(CheckpointError, match=f"cannot read {state}: No such file"):
        pick_checkpoint(tmp_path, "last").arrays()


def test_a_step_reached_again_replaces_the_earlier_one(tmp_path):
    _save(tmp_path, 3, value=1)
    _save(tmp_path, 3, value=2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]
    _assert_whole(pick_checkpoint(tmp_path, "last"), 2)


def test_leavings_of_a_crash_do_not_stand_in_the_way(tmp_path):
    (tmp_path / ".tmp-step-00000003").mkdir()
    (tmp_path / ".tmp-step-00000003" / "state.safetensors").write_bytes(b"half")
    _save(tmp_path, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]
    _assert_whole(pick_checkpoint(tmp_path, "last"), 3)


def test_a_folder_that_may_not_be_written_is_named_with_the_mend(tmp_path):
    (tmp_path / "run").write_text("a file where the run folder should be")
    with pytest.raises(
        ResourceError, match=r"cannot write checkpoint .*Fix: free space or permission, then segtrain train"
    ):
        _save(tmp_path / "run" / "checkpoints", 1)


class PowerCut(BaseException):
    """No code runs after it; stands for SIGKILL."""


class Failing:
    """Make the n-th call that touches the disk fail; of a failing write, half of the data arrives.

    Args:
        monkeypatch: pytest's.
        at: Which call, from 0.
        error: What it raises.
    """

    def __init__(self, monkeypatch, at, error):
        self.calls, self._at, self._error = 0, at, error
        for owner, name in ((Path, "mkdir"), (Path, "rename"), (os, "fsync")):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))
        open_path = Path.open
        monkeypatch.setattr(Path, "open", lambda path, *args, **kwargs: self._file(open_path(path, *args, **kwargs)))

    def _file(self, file):
        if "r" in file.mode:
            return file
        written = MagicMock(wraps=file)
        written.__enter__.return_value = written
        written.__exit__.side_effect = file.__exit__
        written.write = self._counted(file.write, instead=lambda data: file.write(data[: len(data) // 2]))
        return written

    def _counted(self, call, instead=None):
        def counted(*args, **kwargs):
            number, self.calls = self.calls, self.calls + 1
            if number == self._at:
                if instead:
                    instead(*args)
                raise self._error
            return call(*args, **kwargs)

        return counted

    @property
    def reached(self):
        return self.calls > self._at


def _fail_at_every_call(tmp_path, error, save, before):
    """Yield a folder for each call of `save` that touches the disk, after that call failed; and what was raised."""
    for number in itertools.count():
        folder = tmp_path / str(number) / "checkpoints"
        before(folder)
        raised = None
        with pytest.MonkeyPatch.context() as monkeypatch:
            failing = Failing(monkeypatch, number, error)
            try:
                save(folder)
            except (Exception, PowerCut) as caught:
                raised = caught
        if not failing.reached:
            assert number > 8  # every call has had its turn
            return
        yield folder, raised


def _two_earlier(folder):
    _save(folder, 1, is_best=True)
    _save(folder, 2)


def _step_3_of_ones(folder):
    _save(folder, 3, value=1)


def _step_3_of_twos(folder):
    _save(folder, 3, value=2)


def test_a_full_disk_at_any_moment_leaves_the_earlier_checkpoints_whole_and_nothing_else(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    for folder, raised in _fail_at_every_call(tmp_path, full, lambda folder: _save(folder, 3), _two_earlier):
        found = {one.step: one for one in find_checkpoints(folder)}
        if raised is None:
            assert 3 in found  # only an old one could not be taken away
        else:
            assert isinstance(raised, ResourceError), raised
            assert "No space left on device" in str(raised) and str(folder / "step-00000003") in str(raised)
        assert {1, 2} <= found.keys()
        for step, one in found.items():
            _assert_whole(one, step)
        assert not list(folder.glob(".tmp*"))


def test_a_power_cut_at_any_moment_leaves_only_whole_checkpoints(tmp_path):
    cases = _fail_at_every_call(tmp_path, PowerCut(), lambda folder: _save(folder, 3), _two_earlier)
    for folder, raised in cases:
        assert isinstance(raised, PowerCut)
        found = find_checkpoints(folder)
        assert [one.path for one in found] == sorted(folder.glob("step-*"))
        assert {1} < {one.step for one in found}
        for one in found:
            assert one.path.name == f"step-{one.step:08d}"
            _assert_whole(one, one.step)
        _save(folder, 4)
        assert sorted(path.name for path in folder.glob("step-*")) == ["step-00000001", "step-00000004"]


def test_a_full_disk_while_a_step_is_replaced_leaves_that_step_whole(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    for folder, raised in _fail_at_every_call(tmp_path, full, _step_3_of_twos, _step_3_of_ones):
        assert isinstance(raised, ResourceError), raised
        [one] = find_checkpoints(folder)
        # The older one, or the newer where only the last flush failed; one of them, and whole.
        _assert_whole(one, int(one.arrays()["model/kernel"][0, 0]))


def test_a_power_cut_while_a_step_is_replaced_leaves_no_mixture(tmp_path):
    for folder, _ in _fail_at_every_call(tmp_path, PowerCut(), _step_3_of_twos, _step_3_of_ones):
        for one in find_checkpoints(folder):
            _assert_whole(one, int(one.arrays()["model/kernel"][0, 0]))
