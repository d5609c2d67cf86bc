"""Suppress TensorFlow's log output at startup."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Capture TensorFlow's output during import and device detection; print it only on failure.

    These lines are written before logging is set up, so TF_CPP_MIN_LOG_LEVEL does not silence them
    (tensorflow/tensorflow#100442). If the user has set that variable, nothing is captured.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # errors only, from here on
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
            if tensorflow := sys.modules.get("tensorflow"):
                tensorflow.config.list_physical_devices()
            else:
                del os.environ["TF_CPP_MIN_LOG_LEVEL"]  # not imported here: keep a later import quiet
        except Exception:
            held.seek(0)
            os.write(shown, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(shown, 2)
            os.close(shown)
