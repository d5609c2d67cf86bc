"""Out of memory is one line, whoever reports it; other errors are not taken for it."""

import errno
import resource

import cv2
import pytest

from segtrain.errors import DataError
from segtrain.process.memory import out_of_memory


class ResourceExhaustedError(Exception):
    """Named as TensorFlow's."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 3.00 MiB for an array with shape (4, 512, 512, 3)"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
        RuntimeError("can't start new thread"),
        RuntimeError("std::bad_alloc"),
        ImportError("libtensorflow_cc.so.2: failed to map segment from shared object"),
        cv2.error("OpenCV(5.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 1 bytes in function"),
        ResourceExhaustedError("OOM when allocating tensor with shape[1,1,40,240]\n and more\n and more"),
    ],
    ids=repr,
)
def test_a_lack_of_memory_says_what_to_lower(error):
    found = str(out_of_memory(error))
    assert found.startswith("out of memory") and "\n" not in found
    for key in (
        "batch_size",
        "crop_size",
        "workers",
        "gradient_accumulation_steps=2",
        "activation_checkpointing=true",
        "resize",
    ):
        assert key in found.partition("Fix: ")[2]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        ResourceExhaustedError("runs/train/x/events; No space left on device"),
        DataError("cannot decode a.png: insufficient memory of the camera"),
        RuntimeError("a bug"),
        ValueError("out of memory"),
    ],
    ids=repr,
)
def test_other_errors_are_not_taken_for_it(error):
    assert out_of_memory(error) is None


@pytest.mark.parametrize("limit", [resource.RLIM_INFINITY, 10**9])
def test_an_exception_that_a_library_left_unset_is_one_under_a_limit_only(monkeypatch, limit):
    monkeypatch.setattr("resource.getrlimit", lambda kind: (limit, limit))
    found = out_of_memory(SystemError("error return without exception set"))
    assert (found is not None) == (limit == 10**9)
