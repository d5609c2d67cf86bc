"""A start without TensorFlow's chatter."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Hold back what TensorFlow writes while it is imported and looks for devices; show it if that fails.

    The lines come before its logging is set up, so that TF_CPP_MIN_LOG_LEVEL does not silence them
    (tensorflow/tensorflow#100442). A user who sets that variable sees everything.
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
                del os.environ["TF_CPP_MIN_LOG_LEVEL"]  # not imported after all: so that a later start is as quiet
        except Exception:
            held.seek(0)
            os.write(shown, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(shown, 2)
            os.close(shown)
