"""A real training, killed again and again at random moments, ends in the bits of one that nothing interrupted.

`make soak` kills it a hundred times; here it is ten times, and ten times politely.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from commands.conftest import TINY, only_run
from commands.warm import REPOSITORY, starter

pytestmark = pytest.mark.tensorflow

KILLS, STOPS = int(os.environ.get("SEGTRAIN_SOAK_KILLS", "3")), int(os.environ.get("SEGTRAIN_SOAK_STOPS", "2"))
# What a start does before `segtrain train`: keep a ledger of what is loaded for each step, its samples and the sum of
# its pixels.
WITH_LEDGER = textwrap.dedent(
    """
    import zlib
    from segtrain.data.loading.batch_loader import BatchLoader

    load = BatchLoader.batch

    def batch(loader, step):
        images, labels = load(loader, step)
        with open("ledger", "a") as file:
            file.write(f"{step} {zlib.crc32(labels, zlib.crc32(images))} {' '.join(loader.names(step))}\\n")
        return images, labels

    BatchLoader.batch = batch
    """
)


@pytest.fixture
def start():
    """Start a training on one thread."""
    with starter(WITH_LEDGER, TF_NUM_INTRAOP_THREADS="1") as starts:
        yield starts.start


def words(cihp_root, steps, *more_words):
    """A training with all that a step can leave behind, saved at every step, so that many signals hit a save.

    AdamW, batch norm, dropout, averaged weights and two half batches a step; an epoch is 2 steps. Of MobileNetV2 three
    blocks, under the simplest head: a start is most of the time, and goes by the number of layers.
    """
    tiny = [
        word for word in TINY if not word.startswith(("epochs=", "model.", "backbone.high=", "optimizer=", "loader="))
    ]
    more = (
        "backbone.high=block_3_depthwise_relu",
        "model=fcn",
        "model.channels=8",
        "model.dropout=0.3",
        "ema_decay=0.9",
        "gradient_accumulation_steps=2",
        "checkpoint_every_minutes=0",
        "validate_every=20",
        f"epochs={steps // 2}",
        "name=killed",
        *more_words,
    )
    return ["train", "+experiment=cihp", f"dataset.root={cihp_root}", *tiny, *more]


def checkpoint_of(folder):
    """The name of the newest checkpoint; None while there is none."""
    return max((path.name for path in folder.glob("runs/train/*/checkpoints/step-*")), default=None)


def step_of(folder):
    """The step that the newest checkpoint's manifest tells."""
    newest = only_run(folder) / "checkpoints" / checkpoint_of(folder)
    return json.loads((newest / "manifest.json").read_text())["step"]


def result_of(folder):
    """What must not differ: variables, metrics, and what was loaded for each step."""
    run = only_run(folder)
    newest = max(run.glob("checkpoints/step-*"), key=lambda path: path.name)
    variables = hashlib.sha256((newest / "state.safetensors").read_bytes()).hexdigest()
    ledger = {}
    for line in (folder / "ledger").read_text().splitlines():
        step, _, loaded = line.partition(" ")
        assert ledger.setdefault(int(step), loaded) == loaded, f"step {step} was loaded in two ways"
    return newest.name, variables, (run / "metrics.jsonl").read_text(), ledger


def processes_in(folder):
    """The processes that still work in a folder, a second after the last signal at the latest."""
    found = [folder]
    deadline = time.monotonic() + 1
    while found and time.monotonic() < deadline:
        found = [link.parent.name for link in Path("/proc").glob("[0-9]*/cwd") if os.path.realpath(link) == str(folder)]
    return found


def stopped_step(folder):
    """The step at which the log says that the training was stopped last."""
    *_, line = [line for line in (folder / "log").read_text().splitlines() if line.startswith("stopped by SIGTERM")]
    assert line.endswith(f"segtrain train resume=runs/train/{only_run(folder).name}")
    return int(line.removeprefix("stopped by SIGTERM at step ").partition(",")[0])


@pytest.mark.parametrize(
    ("kills", "stops", "devices"),
    [
        pytest.param(KILLS, STOPS, (), id="one"),
        pytest.param(
            max(1, KILLS // 8),
            1,
            ("strategy=mirrored", "replicas=2", "gradient_accumulation_steps=1"),
            id="mirrored",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_training_killed_and_stopped_at_random_moments_ends_in_the_same_bits(
    kills, stops, devices, tmp_path, cihp_root, start
):
    arguments = words(cihp_root, 8 * (kills + stops), *devices)
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    # Threads load the images of the one that nothing interrupts, processes those of the other.
    assert start(whole, [*arguments, "loader=threads"]).poll(300) == 0, (whole / "log").read_text()
    moments, begins = random.Random(0), []
    for number in [SIGKILL, SIGTERM] * stops + [SIGKILL] * (kills - stops):
        begins.append(checkpoint_of(folder))
        process = start(folder, [*arguments, "resume=auto"])
        # Not while it starts, which is most of its life: the signal falls soon after its first save.
        while process.poll(0.005) is None and checkpoint_of(folder) == begins[-1]:
            pass
        time.sleep(moments.uniform(0, 0.4))
        process.send(number)
        sent = time.monotonic()
        # What ends before the signal hits ends with 0.
        assert process.poll(60) == (-SIGKILL if number == SIGKILL else 128 + SIGTERM), (folder / "log").read_text()
        if number == SIGTERM:
            assert time.monotonic() - sent < 25
            assert stopped_step(folder) == step_of(folder)
    assert start(folder, [*arguments, "resume=auto"]).poll(300) == 0, (folder / "log").read_text()
    assert len(set(begins)) == len(begins) == kills + stops  # each start got further
    assert result_of(folder) == result_of(whole)
    log = (folder / "log").read_text()
    assert log.count("resume: exact") == kills + stops
    assert log.count("stopped by SIGTERM at step ") == stops and "Traceback" not in log
    assert processes_in(folder) == []
    leavings = [path.name for path in only_run(folder).glob("checkpoints/.*")]
    assert leavings == []


@pytest.mark.slow
def test_a_second_process_on_a_run_is_refused_and_told_by_whom(tmp_path, cihp_root, start):
    folder = tmp_path / "held"
    first = start(folder, words(cihp_root, 100_000))
    while checkpoint_of(folder) is None and first.poll(0.05) is None:
        pass
    second = subprocess.run(
        [sys.executable, "-m", "segtrain", "train", f"resume={only_run(folder)}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    assert second.returncode == 4
    assert f"is in use by process {first.pid} on " in second.stderr
    assert first.poll() is None
