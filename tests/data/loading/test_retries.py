"""A read that fails is tried again three times; then the error names the file."""

import errno
from pathlib import Path

import pytest

from segtrain.data import Sample
from segtrain.data.loading.retries import retrying
from segtrain.errors import DataError

SAMPLE = Sample("a", Path("/data/a.jpg"), Path("/data/a.png"))
PAIR = (None, None)


@pytest.fixture
def pauses(monkeypatch):
    """The pauses that were made, without waiting."""
    made = []
    monkeypatch.setattr("segtrain.data.loading.retries.time.sleep", made.append)
    return made


def failing(errors):
    """A reader that raises these errors one after the other, and then reads."""
    left = list(errors)

    def read(sample, reduction):
        if left:
            raise left.pop(0)
        return PAIR

    return retrying(read)


def damaged(cause=None):
    error = DataError("cannot decode /data/a.jpg. Fix: remove it")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOENT, errno.EACCES])
def test_errors_of_the_system_are_tried_again_with_longer_and_longer_pauses(pauses, code):
    errors = [OSError(code, "text"), damaged(OSError(code, "text")), OSError(code, "text")]
    assert failing(errors)(SAMPLE) == PAIR
    assert len(pauses) == 3 and pauses == sorted(pauses)


def test_damaged_data_is_read_again_without_a_pause(pauses):
    assert failing([damaged(), ValueError("of a decoder"), damaged()])(SAMPLE) == PAIR
    assert pauses == []


def test_a_fourth_failure_of_the_system_is_a_data_error_that_names_the_file(pauses):
    with pytest.raises(DataError, match=r"^cannot read /data/a\.jpg with /data/a\.png: Stale file handle \(4 tries\)"):
        failing([OSError(errno.ESTALE, "Stale file handle")] * 4)(SAMPLE)
    with pytest.raises(DataError, match=r"^cannot read /mnt/b\.jpg: Input/output error \(4 tries\).* Fix: "):
        failing([OSError(errno.EIO, "Input/output error", "/mnt/b.jpg")] * 4)(SAMPLE)


def test_a_fourth_failure_of_another_kind_is_raised_as_it_is(pauses):
    with pytest.raises(DataError, match=r"^cannot decode /data/a\.jpg\. Fix: remove it$"):
        failing([damaged()] * 4)(SAMPLE)
    with pytest.raises(ZeroDivisionError):
        failing([ZeroDivisionError()] * 4)(SAMPLE)


def test_lack_of_memory_is_not_tried_again(pauses):
    with pytest.raises(MemoryError):
        failing([MemoryError()])(SAMPLE)
