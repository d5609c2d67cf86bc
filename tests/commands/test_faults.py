"""A real run that fails again and again loses no step: broken and hanging reads, lack of memory, a full disk.

`make soak` has twenty faults of each kind; here it is one.
"""

import os
import random
import subprocess
import textwrap
import time
from pathlib import Path
from signal import SIGTERM

import pytest

from commands.test_kills import WITH_LEDGER, processes_in, result_of, step_of, words
from commands.warm import starter

pytestmark = pytest.mark.tensorflow

FAULTS = int(os.environ.get("SEGTRAIN_SOAK_FAULTS", "1"))
# The file `fault` holds a kind and a step: reads fail once that step has finished. `steps` lists the finished ones.
WITH_FAULTS = textwrap.dedent(
    """
    import errno, os, time
    from pathlib import Path
    import numpy as np
    from segtrain.data.datasets.dataset import Dataset
    from segtrain.training.checkpoints import Checkpoints
    from segtrain.training.progress_bar import ProgressBar

    read, end_of_step = Dataset.read, ProgressBar.on_train_batch_end
    finished = [-1]

    def note_step(bar, batch, logs=None):
        finished[0] = bar._trainer.step
        with open("steps", "a") as file:
            file.write(f"{finished[0]}\\n")
        if planned("disk") and not os.path.exists("filler"):
            # Room for a checkpoint, but not for the reserve of 16 MB that must stay free.
            usage = os.statvfs(".")
            with open("filler", "wb") as file:
                file.write(bytes(usage.f_bavail * usage.f_frsize - 12_000_000))
        end_of_step(bar, batch, logs or {})

    def planned(kind):
        planned_kind, step = Path("fault").read_text().split()
        return kind == planned_kind and finished[0] >= int(step)

    def failing_read(dataset, *arguments, **options):
        if planned("reader"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), "images/lost.jpg")
        if planned("hang"):
            Path("hanging").touch()
            time.sleep(3600)
        if planned("memory"):
            np.empty(1 << 48, np.uint8)
        return read(dataset, *arguments, **options)

    Dataset.read, ProgressBar.on_train_batch_end = failing_read, note_step
    """
)
EXIT_CODES = {"reader": (3, 5), "hang": (128 + SIGTERM,), "memory": (5,), "disk": (5,)}


@pytest.fixture
def start():
    """Start a run on one thread."""
    with starter(WITH_LEDGER + WITH_FAULTS, TF_NUM_INTRAOP_THREADS="1") as starts:
        yield starts.start


@pytest.fixture
def disk(tmp_path):
    """A folder on a disk of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("no right to mount a disk of 64 MB")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(params=[pytest.param(kind, marks=() if kind == "reader" else pytest.mark.slow) for kind in EXIT_CODES])
def kind_and_folder(request, tmp_path):
    kind = request.param
    return kind, (request.getfixturevalue("disk") if kind == "disk" else tmp_path) / "failing"


def test_no_step_is_lost_and_the_bits_are_those_of_a_run_without_faults(kind_and_folder, tmp_path, cihp_root, start):
    (kind, folder), whole, draw = kind_and_folder, tmp_path / "whole", random.Random(0)
    minutes = 0 if kind == "disk" else 60  # with 60 only the error itself saves
    arguments = words(cihp_root, 8 * FAULTS, "loader=threads", f"checkpoint_every_minutes={minutes}")
    for place in (whole, folder):
        place.mkdir()
        (place / "fault").write_text("none 0")
    assert start(whole, arguments).poll(300) == 0, (whole / "log").read_text()
    step = 0
    for _ in range(FAULTS):
        (folder / "fault").write_text(f"{kind} {step + draw.randint(1, 4)}")
        process = start(folder, [*arguments, "resume=auto"])
        if kind == "hang":
            stop_while_hanging(process, folder)
        assert process.poll(90) in EXIT_CODES[kind], (folder / "log").read_text()
        (folder / "filler").unlink(missing_ok=True)
        step = step_of(folder)
        assert step == int((folder / "steps").read_text().split()[-1])
    (folder / "fault").write_text("none 0")
    assert start(folder, [*arguments, "resume=auto"]).poll(300) == 0, (folder / "log").read_text()
    log = (folder / "log").read_text()
    assert result_of(folder) == result_of(whole)
    assert log.count("resume: exact") == FAULTS and "Traceback" not in log
    assert processes_in(folder) == []
    assert [path.name for path in folder.glob("runs/train/*/checkpoints/.*")] == []


def stop_while_hanging(process, folder: Path) -> None:
    """Send SIGTERM while a read hangs: it is honored within 10 s."""
    while not (folder / "hanging").exists():
        assert process.poll(0.05) is None, (folder / "log").read_text()
    (folder / "hanging").unlink()
    process.send(SIGTERM)
    sent = time.monotonic()
    assert process.poll(30) == 128 + SIGTERM, (folder / "log").read_text()
    assert time.monotonic() - sent < 10
