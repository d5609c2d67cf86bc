"""Out of memory, however it is reported: one line that names what to lower."""

import errno
import resource

from segtrain.errors import ResourceError

_FIX = (
    "lower batch_size, crop_size or workers, or set gradient_accumulation_steps=2 (half of a batch at a time) or "
    "activation_checkpointing=true; for "
    "images of full size, set resize"
)
# Of TensorFlow, oneDNN, OpenCV, NumPy, Python and the C++ library.
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
    """Return the one line for an error that means out of memory; None for another."""
    text = str(error).strip()
    is_told = any(each in text.lower() for each in _TEXTS)
    if isinstance(error, OSError):
        is_memory = error.errno in _ERRNOS
    elif type(error).__name__ == "ResourceExhaustedError":
        is_memory = not any(each in text.lower() for each in _DISK_TEXTS)
    else:
        # Extension modules that do not check what they allocate leave Python without an exception to raise.
        is_unset = isinstance(error, SystemError) and bool(_limit())
        is_memory = isinstance(error, MemoryError) or is_unset or (is_told and isinstance(error, _carriers()))
    if not is_memory:
        return None
    first = text.splitlines()[0][:200] if text else type(error).__name__
    return memory_error(first)


def memory_error(reason: str) -> ResourceError:
    """Make the one line for a lack of memory."""
    return ResourceError(f"out of memory{_limit()}: {reason}. Fix: {_FIX}")


def _limit() -> str:
    """Name the limit that a shell has set for this process, if it has."""
    bytes_allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
    if bytes_allowed == resource.RLIM_INFINITY:
        return ""
    return f" (`ulimit -v` allows this process {bytes_allowed / 1e9:.1f} GB)"


def _carriers() -> tuple[type[BaseException], ...]:
    """Classes by which libraries report it in text."""
    import sys

    found: list[type[BaseException]] = [RuntimeError, SystemError, ImportError]
    if cv2 := sys.modules.get("cv2"):
        found.append(cv2.error)
    if tensorflow := sys.modules.get("tensorflow"):
        found.append(tensorflow.errors.OpError)
    return tuple(found)
