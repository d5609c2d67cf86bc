"""Checkpoints on disk: whole or not at all, whatever fails, and never one too many."""

import shutil

import numpy as np
import pytest

from segtrain.errors import CheckpointError, ResourceError
from segtrain.runs.checkpoint import (
    damages,
    find_checkpoints,
    newest_intact,
    pick_checkpoint,
    remove_stale,
    save_checkpoint,
)


def _arrays(value):
    return {
        "model/kernel": np.full((3, 4), value, np.float32),
        "model/counter/0": np.array([value, 7], np.uint32),
        "optimizer/iteration": np.array(value, np.int64),
        "model/empty": np.zeros((0, 3), np.float32),
    }


def _save(folder, step, *, is_best=False, value=None, metadata=None):
    return save_checkpoint(
        folder, step, _arrays(step if value is None else value), is_best=is_best, metadata=metadata or {}
    )


def _steps(folder):
    return [found.step for found in find_checkpoints(folder)]


def _assert_whole(found, value):
    said = found.arrays()
    assert said.keys() == _arrays(value).keys()
    for name, array in _arrays(value).items():
        assert said[name].dtype == array.dtype and said[name].shape == array.shape, name
        np.testing.assert_array_equal(said[name], array)


def test_arrays_come_back_with_their_shapes_dtypes_and_bits(tmp_path):
    written = _save(tmp_path / "checkpoints", 123, is_best=True, metadata={"best": 0.5, "monitor": "val_mean_iou"})
    [found] = find_checkpoints(tmp_path / "checkpoints")
    assert found == written
    assert found.path == tmp_path / "checkpoints" / "step-00000123"
    assert (found.step, found.is_best, found.metadata) == (123, True, {"best": 0.5, "monitor": "val_mean_iou"})
    _assert_whole(found, 123)


def test_special_numbers_come_back_to_the_bit(tmp_path):
    special = np.array([np.nan, np.inf, -0.0, 1e-45], np.float32)
    save_checkpoint(tmp_path, 1, {"special": special}, is_best=False, metadata={})
    assert pick_checkpoint(tmp_path, "last").arrays()["special"].tobytes() == special.tobytes()


def test_a_transposed_array_comes_back_as_it_was(tmp_path):
    # safetensors writes the memory as it lies, whatever the array's strides say.
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    save_checkpoint(tmp_path, 1, {"turned": turned}, is_best=False, metadata={})
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
    with pytest.raises(ResourceError, match=r"cannot write checkpoint .*Fix: make .* writable, then segtrain train"):
        _save(tmp_path / "run" / "checkpoints", 1)


def test_the_last_few_are_kept_beside_the_best(tmp_path):
    kept = []
    for step in range(1, 7):
        save_checkpoint(tmp_path, step, _arrays(step), is_best=step == 2, metadata={}, keep_last=2)
        kept.append(_steps(tmp_path))
    assert kept == [[1], [1, 2], [2, 3], [2, 3, 4], [2, 4, 5], [2, 5, 6]]


def test_a_later_one_that_is_damaged_takes_no_place_of_those_kept(tmp_path):
    # A run fell back from step 200, whose state is damaged, to step 100, and is stopped at step 150.
    _save(tmp_path, 100)
    damaged = _save(tmp_path, 200, is_best=True)
    (damaged.path / "state.safetensors").write_bytes(b"damaged")
    _save(tmp_path, 150)
    assert newest_intact(tmp_path)[0].step == 150
    _save(tmp_path, 250)
    assert _steps(tmp_path) == [200, 250]


def test_of_two_states_of_one_step_the_validated_one_is_the_later(tmp_path):
    save_checkpoint(tmp_path, 3, _arrays(1), is_best=False, metadata={"done": 0}, suffix="-unvalidated", keep_last=2)
    save_checkpoint(tmp_path, 3, _arrays(2), is_best=True, metadata={"done": 1}, keep_last=2)
    assert [found.metadata["done"] for found in find_checkpoints(tmp_path)] == [0, 1]
    assert pick_checkpoint(tmp_path, "last").metadata == {"done": 1}


def test_a_damaged_newest_one_is_passed_over_with_a_warning(tmp_path, caplog):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, _arrays(step), is_best=False, metadata={}, keep_last=3)
    for name, file in (("step-00000003", "state.safetensors"), ("step-00000002", "manifest.json")):
        path = tmp_path / name / file
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    found, arrays = newest_intact(tmp_path)
    assert found.step == 1 and arrays["optimizer/iteration"] == 1
    assert [path.name for path in damages(tmp_path)] == ["step-00000002"]
    passed = [record.message for record in caplog.records]
    assert len(passed) == 2 and "step-00000002" in passed[0] and "step-00000003" in passed[1]


def test_a_run_without_a_whole_checkpoint_says_what_is_wrong_with_each(tmp_path):
    (_save(tmp_path, 3).path / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"no intact checkpoint .*step-00000003: cannot read .*manifest\.json"):
        newest_intact(tmp_path)


def test_two_thousand_flipped_bits_and_cuts_are_all_noticed(tmp_path):
    whole = _save(tmp_path, 3, is_best=True, metadata={"best": 0.25})
    files = [whole.path / "state.safetensors", whole.path / "manifest.json"]
    good = {path: path.read_bytes() for path in files}
    rng = np.random.default_rng(0)
    for number in range(2000):
        path = files[number % 2]
        place, bit = int(rng.integers(len(good[path]))), 1 << int(rng.integers(8))
        changed = bytearray(good[path])
        changed[place] ^= bit
        path.write_bytes(changed if number % 5 else good[path][:place])
        with pytest.raises(CheckpointError):
            newest_intact(tmp_path)
        path.write_bytes(good[path])
    _assert_whole(newest_intact(tmp_path)[0], 3)


def test_sweeping_takes_away_what_a_kill_left_and_nothing_else(tmp_path):
    _save(tmp_path, 3)
    for name in (".tmp-step-00000004", ".trash-step-00000002"):
        shutil.copytree(tmp_path / "step-00000003", tmp_path / name)
    (tmp_path / ".tmp-notes").mkdir()
    remove_stale(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-notes", "step-00000003"]
    remove_stale(tmp_path / "none")


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
    _save(tmp_path, 1)
    monkeypatch.setattr("segtrain.runs.disk.Disk.free_bytes", lambda disk, path: 5_000_000)
    with pytest.raises(ResourceError, match=r"344 bytes needed and 16\.8 MB kept .*, 5\.0 MB free .* resume="):
        _save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
