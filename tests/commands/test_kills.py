"""A real training, killed again and again at random moments, ends in the bits of one that nothing interrupted.

`make soak` kills it a hundred times; here it is ten times, and once politely.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from commands.conftest import TINY, only_run

pytestmark = pytest.mark.tensorflow

KILLS = int(os.environ.get("SEGTRAIN_SOAK_KILLS", "10"))
REPOSITORY = Path(__file__).resolve().parents[2]
# `segtrain train`, with a ledger of what is loaded for each step: its samples and the sum of its pixels.
WITH_LEDGER = textwrap.dedent(
    """
    import sys, zlib
    from segtrain.cli import main
    from segtrain.data.loading import BatchLoader

    load = BatchLoader.batch

    def batch(loader, step):
        images, labels = load(loader, step)
        with open("ledger", "a") as file:
            file.write(f"{step} {zlib.crc32(labels, zlib.crc32(images))} {' '.join(loader.names(step))}\\n")
        return images, labels

    BatchLoader.batch = batch
    sys.exit(main(sys.argv[1:]))
    """
)


def words(cihp_root, steps):
    """A training with all that a step can leave behind, saved at every step, so that many kills hit a save.

    AdamW, batch norm, dropout, averaged weights and two half batches a step; an epoch is 2 steps.
    """
    tiny = [word for word in TINY if not word.startswith("epochs=")]
    more = (
        "model.dropout=0.3",
        "ema=0.9",
        "accumulate=2",
        "save_minutes=0",
        "validate_every=20",
        f"epochs={steps // 2}",
        "name=killed",
    )
    return ["train", "+experiment=cihp", f"dataset.root={cihp_root}", *tiny, *more]


def start(folder, arguments):
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_NUM_INTRAOP_THREADS": "1"}
    with (folder / "log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-c", WITH_LEDGER, *arguments], cwd=folder, env=environment, stdout=log, stderr=log
        )


def checkpoint_of(folder):
    """The name of the newest checkpoint; None while there is none."""
    return max((path.name for path in folder.glob("runs/train/*/checkpoints/step-*")), default=None)


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


def test_a_training_killed_at_random_moments_ends_in_the_same_bits(tmp_path, cihp_root):
    steps = 12 * KILLS
    arguments = words(cihp_root, steps)
    assert start(tmp_path / "whole", arguments).wait(300) == 0, (tmp_path / "whole" / "log").read_text()
    moments, killed, begins = random.Random(0), 0, []
    folder = tmp_path / "killed"
    while True:
        before = checkpoint_of(folder)
        process = start(folder, [*arguments, "resume=auto"])
        begins.append(before)
        # Not while it starts, which is most of its life: the kill falls soon after its first save.
        while process.poll() is None and checkpoint_of(folder) == before:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.4))
        if killed < KILLS:
            process.send_signal(signal.SIGKILL)
        if process.wait(300) != -signal.SIGKILL:
            break
        killed += 1
    assert process.returncode == 0, (folder / "log").read_text()
    assert killed == KILLS, f"{killed} kills hit before all steps were done"
    assert len(set(begins)) == len(begins)  # each start got further
    assert result_of(folder) == result_of(tmp_path / "whole")
    assert (folder / "log").read_text().count("resume: exact, as if it had never stopped") == KILLS
    leavings = [path.name for path in only_run(folder).glob("checkpoints/.*")]
    assert leavings == []


def test_sigterm_ends_a_training_soon_with_143_and_nothing_is_lost(tmp_path, cihp_root):
    folder = tmp_path / "stopped"
    process = start(folder, words(cihp_root, 100_000))
    while checkpoint_of(folder) is None and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    assert process.wait(60) == 143, (folder / "log").read_text()
    assert time.monotonic() - sent < 25
    log = (folder / "log").read_text()
    run = only_run(folder)
    (line,) = [line for line in log.splitlines() if line.startswith("stopped by SIGTERM at step ")]
    assert line.endswith(f"segtrain train resume=runs/train/{run.name}")
    newest = max(run.glob("checkpoints/step-*"), key=lambda path: path.name)
    assert json.loads((newest / "manifest.json").read_text())["step"] == int(line.split()[5].rstrip(","))
    assert "Traceback" not in log


def test_a_second_process_on_a_run_is_refused_and_told_by_whom(tmp_path, cihp_root):
    folder = tmp_path / "held"
    first = start(folder, words(cihp_root, 100_000))
    try:
        while checkpoint_of(folder) is None and first.poll() is None:
            time.sleep(0.05)
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
    finally:
        first.kill()
        first.wait()
