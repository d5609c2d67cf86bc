"""MATLAB files, good, forged and of other versions, read in a child process."""

import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix

from segtrain.data.images import matfile
from segtrain.data.images.matfile import MatReader, read_mats
from segtrain.errors import DataError

LABELS = np.array([[0, 7, 7], [15, 255, 0]], np.uint8)


def save_sbd(path, labels=LABELS, **options):
    savemat(path, {"GTcls": {"Segmentation": labels, "CategoriesPresent": np.unique(labels)}}, **options)
    return path


@pytest.fixture(scope="module")
def reader():
    """One child for all tests that do not kill it."""
    with MatReader() as reader:
        yield reader


def worker_of(reader):
    (worker,) = reader._pool._processes
    return worker


def still_run(*processes):
    """Tell whether any of these that were killed lives on; they die at their next turn on a core."""
    deadline = time.monotonic() + 5
    while any(map(runs, processes)) and time.monotonic() < deadline:
        os.sched_yield()
    return any(map(runs, processes))


def runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False  # what was left of it has been collected


def refused(reader, path, name, *words):
    with pytest.raises(DataError) as caught:
        reader.read(path, name)
    for word in (str(path), "Fix: ", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("compressed", [False, True])
def test_the_segmentation_in_sbds_struct_is_read(tmp_path, compressed):
    (labels,) = read_mats([save_sbd(tmp_path / "a.mat", do_compression=compressed)])
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, LABELS)


def test_rows_and_columns_keep_their_places(reader, tmp_path):
    # MATLAB stores column by column.
    savemat(tmp_path / "a.mat", {"x": np.arange(6.0).reshape(2, 3)})
    assert reader.read(tmp_path / "a.mat", "x").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_real_files_are_what_scipy_reads_in_one_child(test_data, monkeypatch):
    workers = set()
    find = MatReader._find
    monkeypatch.setattr(MatReader, "_find", lambda *words: (find(*words), workers.update(words[0]._pool._processes))[0])
    paths = sorted((test_data / "voc2012_subset/benchmark_RELEASE/dataset/cls").glob("*.mat"))
    assert len(paths) == 60
    for path, labels in zip(paths, read_mats(paths), strict=True):
        np.testing.assert_array_equal(labels, loadmat(path)["GTcls"]["Segmentation"][0, 0])
    assert len(workers) == 1


@pytest.mark.parametrize(
    ("content", "name", "seen"),
    [
        ({"other": LABELS}, "colormap", "no such variable"),
        ({"x": {"Boundaries": LABELS}}, "x.Segmentation", "no such variable"),
        ({"x": LABELS}, "x.Segmentation", "no such variable"),
        ({"x": "a text"}, "x", "of the kind <U6"),
        ({"x": {"y": LABELS}}, "x", "of the kind [('y', 'O')]"),
        ({"x": np.array([LABELS, 1], object)}, "x", "of the kind object"),
        ({"x": LABELS * 1j}, "x", "of the kind complex128"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(reader, tmp_path, content, name, seen):
    savemat(tmp_path / "a.mat", content)
    refused(reader, tmp_path / "a.mat", name, seen, f"'{name}'")


def test_sparse_arrays_are_refused(reader, tmp_path):
    savemat(tmp_path / "a.mat", {"x": csc_matrix(LABELS.astype(float))})
    refused(reader, tmp_path / "a.mat", "x", "of the kind float64")


def test_a_file_of_matlab_4_is_refused_by_its_version(reader, tmp_path):
    savemat(tmp_path / "a.mat", {"x": LABELS}, format="4")
    refused(reader, tmp_path / "a.mat", "x", "a MATLAB 4 file", "expected MATLAB 5")


def head(version, text=b"MATLAB 5.0 MAT-file"):
    return text.ljust(124) + version


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (
            head(b"\0\2IM", b"MATLAB 7.3 MAT-file") + b"\0" * 384 + b"\x89HDF\r\n\x1a\n",
            "a MATLAB 7.3 file (HDF5)",
        ),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 200, "a MATLAB 7.3 file (HDF5)"),
        (head(b"\1\0MI") + b"\0" * 64, "a big-endian MATLAB 5 file"),
        (head(b"\0\1XX"), "a damaged header"),
        (b"MATLAB 5.0 MAT-file", "a damaged header"),
        (b"<!DOCTYPE html><html>404</html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git-LFS"),
        (b"\0" * 200, "zero bytes"),
        (b"", "the file is empty"),
    ],
)
def test_other_files_are_named(reader, tmp_path, data, seen):
    (tmp_path / "a.mat").write_bytes(data)
    refused(reader, tmp_path / "a.mat", "x", seen)


def test_an_opaque_object_is_refused(reader, tmp_path):
    # Class 17, mxOPAQUE_CLASS: what MATLAB's own objects (tables, strings) are saved as.
    def element(kind, body):
        return struct.pack("<II", kind, len(body)) + body + b"\0" * (-len(body) % 8)

    flags = element(6, struct.pack("<II", 17, 0))
    words = b"".join(element(1, word) for word in (b"x", b"MCOS", b"table"))
    numbers = element(6, struct.pack("<II", 9, 0)) + element(5, struct.pack("<ii", 1, 1)) + element(1, b"")
    inner = element(14, numbers + element(2, b"\7"))
    (tmp_path / "a.mat").write_bytes(head(b"\0\1IM") + element(14, flags + words + inner))
    refused(reader, tmp_path / "a.mat", "x", "expected 'x', an array of numbers")


def test_a_bomb_is_refused_within_the_childs_memory(reader, tmp_path):
    # 4 GiB of zeros by the header, in 4 MB of compressed bytes.
    packed = zlib.compressobj(9)
    size = 1 << 32
    body = struct.pack("<IIIIIIIIIiiIIII", 14, size - 8, 6, 8, 9, 0, 5, 8, 0, 1 << 16, 1 << 16, 1, 0, 2, size - 64)
    data = packed.compress(body) + b"".join(packed.compress(bytes(1 << 24)) for _ in range(16)) + packed.flush()
    (tmp_path / "a.mat").write_bytes(head(b"\0\1IM") + struct.pack("<II", 15, len(data)) + data)
    refused(reader, tmp_path / "a.mat", "x", "expected 'x'")


def test_a_file_that_kills_scipy_is_an_error_that_names_it(reader, tmp_path):
    path = save_sbd(tmp_path / "a.mat")
    data = bytearray(path.read_bytes())
    kind = data.index(LABELS.T.tobytes()) - 8
    assert data[kind] == 2  # miUINT8; scipy 1.17 looks other kinds up beyond the end of its table
    data[kind] = 92
    (tmp_path / "forged.mat").write_bytes(data)
    refused(reader, tmp_path / "forged.mat", "GTcls.Segmentation", "expected 'GTcls.Segmentation'")
    np.testing.assert_array_equal(reader.read(path, "GTcls.Segmentation"), LABELS)


def test_a_worker_that_was_killed_between_files_is_replaced(tmp_path):
    path = save_sbd(tmp_path / "a.mat")
    with MatReader() as reader:
        reader.read(path, "GTcls.Segmentation")
        worker = worker_of(reader)
        os.kill(worker, signal.SIGSEGV)
        np.testing.assert_array_equal(reader.read(path, "GTcls.Segmentation"), LABELS)
        assert worker_of(reader) != worker
        assert not still_run(worker)


def test_a_name_of_a_file_is_data_not_code(tmp_path):
    path = save_sbd(tmp_path / "a'; import os; os.abort() #.mat")
    with MatReader() as reader:
        np.testing.assert_array_equal(reader.read(path, "GTcls.Segmentation"), LABELS)


def test_a_file_that_takes_too_long_is_refused(tmp_path, monkeypatch):
    # No CPU time is left after the imports: the limit ends the worker within the second, twice.
    monkeypatch.setattr(matfile, "_find_within_limits", _spin)
    with MatReader() as reader:
        refused(reader, save_sbd(tmp_path / "a.mat"), "GTcls.Segmentation", "its reader died")


def _spin(data, name):
    times = os.times()
    matfile._limit(matfile.resource.RLIMIT_CPU, int(times.user + times.system) + 1)
    while True:
        pass


def test_no_process_is_left_behind(tmp_path):
    with MatReader() as reader:
        reader.read(save_sbd(tmp_path / "a.mat"), "GTcls.Segmentation")
        worker = worker_of(reader)
    assert not still_run(worker)


def test_the_worker_of_a_killed_command_ends(tmp_path):
    program = f"""
from pathlib import Path
from segtrain.data.images.matfile import MatReader
if __name__ == "__main__":
    reader = MatReader()
    reader.read(Path({str(save_sbd(tmp_path / "a.mat"))!r}), "GTcls.Segmentation")
    print(*reader._pool._processes, flush=True)
    input()
"""
    command = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    worker = int(command.stdout.readline())
    assert runs(worker)
    command.kill()
    command.communicate()
    assert not still_run(worker)
