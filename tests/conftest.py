"""Fixtures of all tests: toy datasets that a test may spoil, the shared real data, and a quiet environment.

TensorFlow is not imported here: `make test-fast` runs without it.
"""

import ctypes
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))  # pytest's importlib mode leaves `toys` unfound

import toys

REPOSITORY = Path(__file__).resolve().parent.parent
MOST_BYTES_BETWEEN_TESTS = 1_100_000_000
_most_bytes = MOST_BYTES_BETWEEN_TESTS
# The same examples everywhere: a test that fails does so again.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")
_keras_home = Path(tempfile.mkdtemp(prefix="segtrain-keras-home-"))


def _shared_data() -> Path | None:
    """Find the real data: SEGTRAIN_TEST_DATA, else `../shared/data` beside the repository."""
    named = os.environ.get("SEGTRAIN_TEST_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    return folder if folder.is_dir() else None


def pytest_configure() -> None:
    """Set what TensorFlow and Keras read when first imported, here and in commands that tests start."""
    # Searching TensorFlow's and Keras' own objects for garbage took a quarter of the time of the tests. Networks of
    # earlier tests are freed below, once a worker has grown.
    gc.disable()
    # oneDNN's own allocator keeps the most it ever held: a worker grew to 5.9 GB. malloc gives memory back.
    os.environ["TF_ONEDNN_USE_SYSTEM_ALLOCATOR"] = "1"
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "33554432"  # read when a worker starts: reuse what a step has freed
    os.environ["MALLOC_TRIM_THRESHOLD_"] = "2000000000"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["KERAS_HOME"] = str(_keras_home)
    os.environ["XDG_CACHE_HOME"] = str(_keras_home / "cache")  # what is known of checked files
    models = _keras_home / "models"
    models.mkdir(exist_ok=True)
    shared = _shared_data()
    if shared is not None:
        # Links, one a file, not one to the folder: Keras must be able to write beside them.
        for weights in (shared / "weights" / "keras_models_dir").glob("*.h5"):
            (models / weights.name).symlink_to(weights.resolve())


def pytest_unconfigure() -> None:
    shutil.rmtree(_keras_home, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Free what networks of earlier tests hold, once a worker has grown."""
    global _most_bytes
    yield
    if nextitem is None or nextitem.path != item.path:
        _most_bytes = MOST_BYTES_BETWEEN_TESTS
    keras = sys.modules.get("keras")
    if keras is not None and _resident_bytes() > _most_bytes:
        keras.backend.clear_session()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        # What fixtures of the module hold stays: looking again after each of its tests would take a second each.
        _most_bytes = max(MOST_BYTES_BETWEEN_TESTS, _resident_bytes() + 200_000_000)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(autouse=True)
def absl_keeps_its_hands_off_the_captured_stderr() -> None:
    """Hydra closes every logging handler, and absl's closes the stream it found: pytest's own capture file."""
    if absl_logging := sys.modules.get("absl.logging"):
        absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__


@pytest.fixture(autouse=True)
def failed_reads_are_tried_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segtrain.data.loading.retries.PAUSES", (0.0, 0.001, 0.002))


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The shared folder of real data; a test that asks for it is skipped where there is none."""
    folder = _shared_data()
    if folder is None:
        pytest.skip("no real data: neither SEGTRAIN_TEST_DATA nor ../shared/data is a folder")
    return folder


@pytest.fixture
def cihp_root(tmp_path: Path) -> Path:
    return toys.draw_cihp(tmp_path)


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    return toys.draw_voc(tmp_path)


@pytest.fixture
def binary_root(tmp_path: Path) -> Path:
    return toys.draw_binary(tmp_path)


@pytest.fixture
def folder_root(tmp_path: Path) -> Path:
    return toys.draw_folder(tmp_path)
