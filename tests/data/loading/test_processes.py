"""Processes load what threads would, to the byte, and neither their death nor this process' leaves anything wrong."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import pytest

from data import crop_job
from data.crop_job import listed
from segtrain.data.loading.batch_loader import BatchLoader, batch_bytes
from segtrain.data.loading.crop_server import SampleList
from segtrain.data.loading.processes import Processes
from segtrain.errors import DataError, ResourceError
from segtrain.process.threads import left_running

JOB = {"batch_size": 2, "shuffle": False, "fails": False}


@pytest.fixture
def loader():
    """Make loaders, and end their processes."""
    made = []

    def make(samples, *, batch_size=4, shuffle=False, count=2, fails=False):
        job = {"batch_size": batch_size, "shuffle": shuffle, "fails": fails}
        crops = crop_job.make_crops(job | {"fails": False}, samples)
        size = batch_bytes(batch_size, crop_job.SIZE)
        processes = Processes("data.crop_job", job, crops, count=count, batch_bytes=size)
        made.append(BatchLoader(crops, workers=count, processes=processes))
        return made[-1]

    yield make
    for each in made:
        each.close()


def children(loads):
    return loads._processes._children


def numbers(loads, step):
    return loads.batch(step)[1][:, 0, 0].tolist()


def is_shared(loads, array):
    first, last = np.lib.array_utils.byte_bounds(loads._processes.memories[0])[0], loads._processes.memories[-1]
    return first <= array.ctypes.data < np.lib.array_utils.byte_bounds(last)[1]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_batches_are_those_of_threads(loader, count, batch_size):
    samples = listed(*["plain"] * 10)
    loads = loader(samples, batch_size=batch_size, shuffle=True, count=count)
    threads = BatchLoader(loads.crops)
    for step in range(12):
        images, labels = loads.batch(step)
        expected = threads.batch(step)
        assert is_shared(loads, images) and is_shared(loads, labels)
        np.testing.assert_array_equal(images, expected[0])
        np.testing.assert_array_equal(labels, expected[1])
        assert images.ctypes.data % 64 == 0 == labels.ctypes.data % 64


def test_batches_that_are_held_keep_what_they_show_even_beyond_the_shared_memory(loader):
    loads = loader(listed(*["plain"] * 8))
    held = [loads.batch(step) for step in range(16)]  # 12 shared ones and 4 of threads
    for step, (images, labels) in enumerate(held):
        first = 4 * (step % 2)
        assert labels[:, 0, 0].tolist() == [first, first + 1, first + 2, first + 3] == images[:, -1, -1, 0].tolist()
    assert [is_shared(loads, labels) for _, labels in held] == [True] * 12 + [False] * 4
    del held, images, labels
    assert is_shared(loads, loads.batch(0)[1])


def test_memory_is_taken_batch_by_batch(loader):
    loads = loader(listed(*["plain"] * 8))
    seen = set()
    for step in range(30):
        seen.add(loads.batch(step)[0].ctypes.data)
    assert len(seen) == 1


# Errors -------------------------------------------------------------------------------------------------------


def test_an_error_of_a_sample_arrives_as_it_was_raised_and_others_go_on(loader):
    loads = loader(listed("plain", "plain", "plain", "plain", "plain", "damaged", "plain", "plain"))
    before = [child.pid for child in children(loads)]
    for _ in range(2):
        with pytest.raises(DataError, match=r"^cannot decode /images/5\.jpg\. Fix: remove it$"):
            loads.batch(1)
        assert numbers(loads, 0) == [0, 1, 2, 3]
    assert [child.pid for child in children(loads)] == before


def test_an_error_at_the_start_arrives_too(loader):
    with pytest.raises(DataError, match="no such folder. Fix: make it"):
        loader(listed(*["plain"] * 4), fails=True).batch(0)


def test_a_bug_is_not_dressed_as_an_error_of_the_data(loader):
    with pytest.raises(RuntimeError, match="(?s)Traceback .*crop_job.py.*ZeroDivisionError: a bug"):
        loader(listed("plain", "bug"), batch_size=2).batch(0)


def test_what_is_printed_does_not_come_between_answers(loader):
    loads = loader(listed(*["talks"] * 4))
    assert numbers(loads, 0) == [0, 1, 2, 3] == numbers(loads, 1)


# Death --------------------------------------------------------------------------------------------------------


def test_a_process_that_dies_is_started_again_and_the_batch_is_whole(loader):
    loads = loader(listed(*["plain"] * 8))
    for step in range(6):
        victim = children(loads)[step % 2]
        victim.kill()
        victim.wait()
        assert numbers(loads, step) == [4 * (step % 2) + position for position in range(4)]
        assert all(child.poll() is None for child in children(loads))


def test_a_process_that_dies_at_work_is_started_again(loader, tmp_path):
    loads = loader(listed("plain", "once", "plain", "once", folder=tmp_path))
    assert numbers(loads, 0) == [0, 1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.png", "3.png"]  # both did die


@pytest.mark.parametrize(
    ("event", "error", "message"),
    [
        (
            "SIGSEGV",
            DataError,
            r"cannot load the crop of /images/2\.jpg with .*: .* SIGSEGV.* Fix: remove the sample",
        ),
        (
            "SIGKILL",
            ResourceError,
            r"loads the crop of /images/2\.jpg with .* killed each time, .* Fix: fewer",
        ),
    ],
)
def test_a_sample_that_kills_its_process_each_time_is_named(loader, event, error, message):
    loads = loader(listed("plain", "plain", event, "plain", "plain", "plain", "plain", "plain"))
    with pytest.raises(error, match=message) as caught:
        loads.batch(0)
    assert "\n" not in str(caught.value) and "Fix: " in str(caught.value)
    assert numbers(loads, 1) == [4, 5, 6, 7]


def test_two_samples_that_kill_a_process_once_each_are_loaded(loader, tmp_path):
    loads = loader(listed("plain", "once", "once", "plain", folder=tmp_path), count=1)
    assert numbers(loads, 0) == [0, 1, 2, 3]


def test_a_program_that_ends_at_once_is_not_put_down_to_a_photograph(monkeypatch, capfd):
    crops = crop_job.make_crops(JOB, listed("plain", "plain"))
    processes = Processes("data.no_such_job", JOB, crops, count=1, batch_bytes=batch_bytes(2, crop_job.SIZE))
    loads = BatchLoader(crops, workers=1, processes=processes)
    with pytest.raises(ResourceError, match=r"end with exit code 1 before they load one; .* Fix: loader=threads"):
        loads.batch(0)
    assert "No module named data.no_such_job" in capfd.readouterr().err
    loads.close()


def test_a_folder_that_one_works_in_runs_no_code(loader, tmp_path, monkeypatch):
    # The command has it on its path, and Python looks for this one at every start.
    (tmp_path / "sitecustomize.py").write_text("open('ran', 'w')")
    (tmp_path / "usercustomize.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path, str(tmp_path)])
    assert numbers(loader(listed(*["plain"] * 4)), 0) == [0, 1, 2, 3]
    assert not (tmp_path / "ran").exists()


def test_a_program_that_cannot_run_is_told(loader, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ResourceError, match=r"cannot start /nowhere/python .*No such file.* Fix: loader=threads"):
        loader(listed("plain", "plain"), batch_size=2)


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"])
def test_signals_to_the_whole_group_end_no_process(loader, number):
    loads = loader(listed(*["plain"] * 4))
    before = [child.pid for child in children(loads)]
    for pid in before:
        os.kill(pid, getattr(signal, number))  # at any moment, even before its first line
    assert numbers(loads, 0) == [0, 1, 2, 3]
    for pid in before:
        os.kill(pid, getattr(signal, number))
    assert numbers(loads, 1) == [0, 1, 2, 3]
    assert [child.pid for child in children(loads)] == before


def test_closed_loaders_leave_no_process_and_load_no_more(loader):
    loads = loader(listed(*["plain"] * 4))
    _, labels = loads.batch(0)
    loads.close()
    loads.close()
    assert [child.returncode for child in children(loads)] == [0, 0]
    assert labels[:, 0, 0].tolist() == [0, 1, 2, 3]
    with pytest.raises(CancelledError):
        loads.batch(1)


def test_batches_in_the_making_are_canceled_when_a_loader_is_closed(loader):
    loads = loader(listed(*["slow"] * 12), count=1)
    with ThreadPoolExecutor(3) as pool:
        batches = [pool.submit(loads.batch, step) for step in range(3)]
        loads.close()
        for each in batches:
            assert each.exception() is None or isinstance(each.exception(), CancelledError)
    assert children(loads)[0].returncode is not None and left_running() == []


def test_a_process_that_hangs_is_killed_when_a_loader_is_closed(loader):
    loads = loader(listed(*["hangs"] * 4), count=1)
    with ThreadPoolExecutor(1) as pool:
        batch = pool.submit(loads.batch, 0)
        while not loads._processes._idle.empty():
            pass
        loads.close()
        assert isinstance(batch.exception(), CancelledError)
    assert children(loads)[0].returncode == -signal.SIGKILL and left_running() == []


def test_forgotten_loaders_leave_no_process():
    crops = crop_job.make_crops(JOB, listed("plain", "plain"))
    processes = Processes("data.crop_job", JOB, crops, count=2, batch_bytes=batch_bytes(2, crop_job.SIZE))
    ended = processes._children
    del processes
    assert [child.returncode for child in ended] == [0, 0]


def test_processes_of_a_killed_process_end(tmp_path):
    program = """
        import sys, time
        from data import crop_job
        from data.loading.test_processes import JOB
        from segtrain.data.loading.batch_loader import BatchLoader, batch_bytes
        from segtrain.data.loading.processes import Processes

        crops = crop_job.make_crops(JOB, crop_job.listed("plain", "plain", "hangs", "hangs"))
        processes = Processes("data.crop_job", JOB, crops, count=2, batch_bytes=batch_bytes(2, crop_job.SIZE))
        loads = BatchLoader(crops, processes=processes)
        loads.batch(0)
        print(*(child.pid for child in processes._children), flush=True)
        loads.batch(1)
        time.sleep(60)
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{pid}") for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [pid for pid in pids if os.path.exists(f"/proc/{pid}")] == []


# Samples ------------------------------------------------------------------------------------------------------


def test_a_list_of_samples_in_a_file_is_the_list(tmp_path):
    names = ["plain", "ä ö \udcff", 'quotes " and \\', "a\nb", "", "日本"]
    samples = listed(*names)
    processes = Processes("data.crop_job", JOB, crop_job.make_crops(JOB, samples), count=1, batch_bytes=1)
    found = SampleList(processes._list.fileno())
    assert len(found) == 6 and list(found) == samples == found[:] and found[-1:] == samples[-1:]
    assert [found[index] for index in range(6)] == samples
    processes.close()
