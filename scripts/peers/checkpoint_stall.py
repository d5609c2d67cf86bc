"""Measure the cost of saving checkpoints: how long a save blocks the loop, and how much it slows other steps.

.venv/bin/python scripts/peers/checkpoint_stall.py --folder build/checkpoint_stall

A DeepLabV3+ on ResNet50 with AdamW trains on one fixed batch. Every few steps its state is saved by segtrain's own
callback, into a folder that should be on the disk of real runs. Run it on an idle machine: the fraction of the cores
used by other processes is printed with the result.
"""

import argparse
import os
import shutil
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import serving

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--folder", type=Path, default=Path("build/checkpoint_stall"), help="folder for checkpoints")
parser.add_argument("--size", type=int, default=128, help="crop size in pixels")
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--saves", type=int, default=5)
parser.add_argument("--steps-a-save", type=int, default=12, help="long enough for a write to end before the next save")
parser.add_argument("overrides", nargs="*", default=["backbone=resnet50", "optimizer=adamw"], help="of segtrain train")
asked = parser.parse_args()
stdout = serving.prepare(asked.threads)

import tensorflow as tf  # noqa: E402  after the thread count is set
from hydra import compose, initialize_config_dir  # noqa: E402
from workers import TICKS, busy_ticks  # noqa: E402

from segtrain.builders.network import build_network  # noqa: E402
from segtrain.builders.optimization import build_optimizer  # noqa: E402
from segtrain.config import build, config_dir, set_up  # noqa: E402
from segtrain.training.checkpoints import Checkpoints  # noqa: E402
from segtrain.training.trainer import Trainer  # noqa: E402

WARM_UP, NUM_CLASSES, IGNORE = 3, 20, 255
INTERVAL_SECONDS, MAX_FRACTION = 15 * 60, 0.05  # checkpoint_every_minutes of configs/train.yaml, and the target


class Cost(NamedTuple):
    """Cost of one save.

    Attributes:
        blocked: Seconds that the loop was blocked: copying the variables and waiting for an earlier write.
        written: Seconds until the background write had ended.
        slowed: Additional seconds of the steps during the write, compared with undisturbed steps.
    """

    blocked: float
    written: float
    slowed: float


class Meter(Checkpoints):
    """segtrain's checkpoint callback, saving at fixed steps and measuring time."""

    blocked: float = 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        done = batch + 1 - WARM_UP - asked.steps_a_save
        if done >= 0 and done % asked.steps_a_save == 0 and done < asked.saves * asked.steps_a_save:
            start = time.perf_counter()
            self.save()
            self.blocked = time.perf_counter() - start
            self._write_began = start
            assert self._pending is not None  # noqa: S101  for mypy
            self._pending.add_done_callback(lambda _: self._note_end())
        self.times.append(time.perf_counter())
        if done >= 0 and done % asked.steps_a_save == 0:
            self.saves.append((len(self.times) - 1, self.blocked))

    def on_train_begin(self, logs: Any = None) -> None:
        self.times: list[float] = []
        self.saves: list[tuple[int, float]] = []
        self.written: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Do not save at the end of the measurement."""

    def _note_end(self) -> None:
        self.written.append(time.perf_counter() - self._write_began)

    def costs(self) -> tuple[float, list[Cost]]:
        """Return the seconds of an undisturbed step, and the cost of each save."""
        durations = [later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)]
        first = WARM_UP + asked.steps_a_save - 1  # durations[i] is of step i + 2; the first save is after this step
        alone = statistics.median(durations[WARM_UP - 1 : first - 1])
        found = []
        for (at, blocked), written in zip(self.saves, self.written, strict=False):
            # times[at] was taken after the save, so the following steps exclude the blocked time.
            during = [each for each in durations[at : at + asked.steps_a_save - 1]]
            found.append(Cost(blocked, written, sum(during) - alone * len(during)))
        return alone, found


def main() -> None:
    set_up()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose("train", [*asked.overrides, "backbone.weights=null", "schedule.warmup_steps=0"])
    steps = WARM_UP + (asked.saves + 1) * asked.steps_a_save
    model, _ = build_network(cfg, NUM_CLASSES)
    loss = build(cfg.loss, ignore_class=IGNORE, num_classes=NUM_CLASSES)
    trainer = Trainer(model, build_optimizer(cfg, steps, model), loss, NUM_CLASSES, IGNORE)
    request = serving.Request("stall", "train", asked.size, asked.batch, asked.threads, 0)
    batch = tuple(tf.constant(each) for each in serving.images(request, NUM_CLASSES))
    shutil.rmtree(asked.folder, ignore_errors=True)
    asked.folder.mkdir(parents=True)
    meter = Meter(asked.folder / "checkpoints", trainer, "val_mean_iou", keep_last=cfg.keep_last)
    busy, own, start = busy_ticks(), sum(os.times()[:2]), time.monotonic()
    trainer.run(
        (batch for _ in range(steps)),
        steps_per_epoch=steps,
        epochs=1,
        validate=lambda: {},
        validate_every=1,
        callbacks=[meter],
    )
    meter.wait()
    wall = (time.monotonic() - start) * (os.cpu_count() or 1)
    others = max(0.0, ((busy_ticks() - busy) / TICKS - (sum(os.times()[:2]) - own)) / wall)
    size = max(path.stat().st_size for path in asked.folder.rglob("state.safetensors"))
    shutil.rmtree(asked.folder)
    os.dup2(stdout, 1)
    report(*meter.costs(), size=size, others=others)


def report(alone: float, costs: list[Cost], *, size: int, others: float) -> None:
    blocked, written, slowed = (statistics.median(each) for each in zip(*costs, strict=True))
    cost = blocked + max(0.0, slowed)
    words = (" ".join(asked.overrides), size / 1e6, asked.size, asked.batch, alone)
    print("{}: state of {:.0f} MB; {} px, batch {}: {:.2f} s a step".format(*words))
    print(f"medians of {len(costs)} saves; other processes used {others:.1%} of the cores\n")
    print("| of a save | seconds |\n| --- | --- |")
    print(f"| loop blocked (copy, wait for the previous write) | {blocked:.3f} |")
    print(f"| slowdown of the steps during the write | {slowed:+.3f} |")
    print(f"| background write | {written:.3f} |")
    print(
        f"\nevery 15 minutes (checkpoint_every_minutes): {cost / INTERVAL_SECONDS:.3%} of the time; target: at most "
        f"{MAX_FRACTION:.0%}"
    )
    # Each epoch also ends with a save, which meets the target if the epoch is long enough.
    print(f"each epoch: within the target if an epoch lasts {cost / MAX_FRACTION:.1f} s or more")


if __name__ == "__main__":
    main()
