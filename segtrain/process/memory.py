"""Recognize out-of-memory errors of all libraries and turn them into one error message with a fix."""

import errno
import resource

from segtrain.errors import ResourceError

_FIX = (
    "lower batch_size, crop_size or workers, or set gradient_accumulation_steps=2 (half of a batch at a time) or "
    "activation_checkpointing=true; for full-size images, set resize"
)
# Out-of-memory messages of TensorFlow, oneDNN, OpenCV, NumPy, Python and the C++ library, in lower case.
_TEXTS = (
    "std::bad_alloc",
    "bad allocation",
    "oom when allocating",
    "out of memory",
    "insufficient memory",
    "cannot allocate memory",
    "unable to allocate",
    "failed to allocate",
    "can't start new thread",
    "resource temporarily unavailable",
    "thread constructor failed",
    "failed to map segment",
    "cannot create thread",
)
_DISK_TEXTS = ("no space left", "quota exceeded", "file too large")
_ERRNOS = (errno.ENOMEM, errno.EAGAIN)


def out_of_memory(error: BaseException) -> ResourceError | None:
    """Return a ResourceError for an error that means out of memory; None for other errors."""
    text = str(error).strip()
    has_message = any(each in text.lower() for each in _TEXTS)
    if isinstance(error, OSError):
        is_memory = error.errno in _ERRNOS
    elif type(error).__name__ == "ResourceExhaustedError":
        is_memory = not any(each in text.lower() for each in _DISK_TEXTS)
    else:
        # Extension modules that do not check their allocations make Python raise SystemError without an exception set.
        is_unchecked = isinstance(error, SystemError) and bool(_limit())
        is_memory = (
            isinstance(error, MemoryError) or is_unchecked or (has_message and isinstance(error, _error_classes()))
        )
    if not is_memory:
        return None
    first = text.splitlines()[0][:200] if text else type(error).__name__
    return memory_error(first)


def memory_error(reason: str) -> ResourceError:
    """Create the out-of-memory error with its fix."""
    return ResourceError(f"out of memory{_limit()}: {reason}. Fix: {_FIX}")


def _limit() -> str:
    """Describe the memory limit (`ulimit -v`) of this process; empty without one."""
    bytes_allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
    if bytes_allowed == resource.RLIM_INFINITY:
        return ""
    return f" (`ulimit -v` allows this process {bytes_allowed / 1e9:.1f} GB)"


def _error_classes() -> tuple[type[BaseException], ...]:
    """Return the exception classes whose message may report out of memory."""
    import sys

    found: list[type[BaseException]] = [RuntimeError, SystemError, ImportError]
    if cv2 := sys.modules.get("cv2"):
        found.append(cv2.error)
    if tensorflow := sys.modules.get("tensorflow"):
        found.append(tensorflow.errors.OpError)
    return tuple(found)
