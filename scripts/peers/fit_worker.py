"""Train one network with segtrain's loop or Keras' `fit`: same batches, optimizer, loss and initial weights.

A turn has `--steps-a-turn` steps. `check` compares the losses of both instead of waiting for turns.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import serving

VARIANTS = ("own_loop", "fit", "fit_with_metrics", "check")
parser = argparse.ArgumentParser()
parser.add_argument("variant", choices=VARIANTS)
parser.add_argument("--root", default="build/fit_loop/people")
parser.add_argument("--size", type=int, default=192)
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps-a-turn", type=int, default=5)
asked = parser.parse_args()
replies = serving.prepare(asked.threads)

import keras  # noqa: E402  after the thread count is set
import tensorflow as tf  # noqa: E402
from hydra import compose, initialize_config_dir  # noqa: E402

from segtrain.builders.data import build_loader  # noqa: E402
from segtrain.builders.network import build_loss, build_network  # noqa: E402
from segtrain.builders.optimization import build_optimizer  # noqa: E402
from segtrain.config import build, config_dir, set_up  # noqa: E402
from segtrain.data.loading.batches import Batches, training_batches  # noqa: E402
from segtrain.training.trainer import Trainer  # noqa: E402

TOTAL_STEPS, ENDLESS = 10_000, 10**6
CHECKED_STEPS = 5


class Ended(Exception):
    """The parent requests no more turns."""


class Turns(keras.callbacks.Callback):
    """Callback that makes `fit` wait for the parent before each turn."""

    def __init__(self, turns: Iterator[None]) -> None:
        super().__init__()
        self._turns = turns

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch % asked.steps_a_turn == 0 and next(self._turns, "ended") == "ended":
            raise Ended


class Parts:
    """Inputs of both loops, created from the same seed."""

    def __init__(self) -> None:
        set_up()
        overrides = ["+experiment=people", f"dataset.root={asked.root}", f"crop_size=[{asked.size},{asked.size}]"]
        overrides += [f"batch_size={asked.batch}", "clip_norm=null", "cache=memory"]
        with initialize_config_dir(config_dir(), version_base="1.3"):
            cfg = compose("train", overrides)
        keras.backend.clear_session()
        keras.utils.set_random_seed(cfg.seed)
        self.dataset = build(cfg.dataset)
        loader = build_loader(cfg, self.dataset, self.dataset.samples("train"))
        self.batches: Batches = training_batches(loader, 0, TOTAL_STEPS)
        self.loss = build_loss(cfg, self.dataset)
        self.model, _ = build_network(cfg, self.dataset.num_classes)
        self.optimizer = build_optimizer(cfg, TOTAL_STEPS, self.model)

    @property
    def num_trainable(self) -> int:
        return sum(int(tf.size(weight)) for weight in self.model.trainable_weights)

    def own_loop(self, turns: Iterator[None]) -> Trainer:
        """Run segtrain's loop until the parent requests no more turns."""
        trainer = Trainer(self.model, self.optimizer, self.loss, self.dataset.num_classes, self.dataset.ignore_class)

        def stream() -> Iterator[Any]:
            iterator = iter(self.batches)
            for _ in turns:
                for _ in range(asked.steps_a_turn):
                    yield next(iterator)
            raise Ended

        with contextlib.suppress(Ended):
            trainer.run(
                stream(), steps_per_epoch=ENDLESS, epochs=1, validate=dict, validate_every=ENDLESS, callbacks=[]
            )
        return trainer

    def fit(self, turns: Iterator[None], *, with_metrics: bool, also: keras.callbacks.Callback | None = None) -> None:
        """Run Keras' `fit` with the loss only, or also with the scores of segtrain's loop."""
        num_classes, ignore_class = self.dataset.num_classes, self.dataset.ignore_class
        scores = [
            keras.metrics.SparseCategoricalAccuracy("pixel_accuracy"),
            keras.metrics.MeanIoU(num_classes, ignore_class=ignore_class, sparse_y_pred=False, name="mean_iou"),
        ]
        loss = self.loss
        # Keras passes labels as floats.
        self.model.compile(
            self.optimizer,
            lambda labels, logits: loss(tf.cast(labels, tf.uint8), logits),
            metrics=scores if with_metrics else None,
        )
        callbacks = [Turns(turns), *([also] if also else [])]
        crop = (asked.batch, asked.size, asked.size)
        specs = tf.TensorSpec((*crop, 3), tf.uint8), tf.TensorSpec(crop, tf.uint8)
        pipeline = tf.data.Dataset.from_generator(lambda: iter(self.batches), output_signature=specs)
        with contextlib.suppress(Ended):
            self.model.fit(pipeline, steps_per_epoch=ENDLESS, epochs=1, shuffle=False, verbose=0, callbacks=callbacks)


class LossSeen(keras.callbacks.Callback):
    """Callback that records the mean loss reported by `fit`."""

    mean = 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.mean = float(logs["loss"])


def check() -> None:
    """Exit with an error if the mean losses of the two loops differ."""
    asked.steps_a_turn = CHECKED_STEPS
    own = Parts().own_loop(iter([None])).progress.mean_losses["loss"]
    seen = LossSeen()
    Parts().fit(iter([None]), with_metrics=True, also=seen)
    print(f"mean loss of {CHECKED_STEPS} steps: own loop {own:.6f}, fit {seen.mean:.6f}", file=sys.stderr)
    if abs(own - seen.mean) > 1e-4 * own:
        sys.exit("error: the loops train differently, so their times are not comparable")


def main() -> None:
    if asked.variant == "check":
        check()
        return
    parts = Parts()
    turns = serving.serve(replies, parts.num_trainable)
    if asked.variant == "own_loop":
        parts.own_loop(turns)
    else:
        parts.fit(turns, with_metrics=asked.variant == "fit_with_metrics")


if __name__ == "__main__":
    main()
