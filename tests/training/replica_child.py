"""A training of 20 steps on the devices that the command line names; test_replicas.py starts this."""

import json
import sys
from pathlib import Path

import keras
import numpy as np

from segtrain.losses import CrossEntropy, Dice, Part, Sum
from segtrain.models.layers import BatchNormalization
from segtrain.training.replicas import find_replicas
from segtrain.training.state import snapshot
from segtrain.training.step_options import StepOptions
from segtrain.training.trainer import Trainer

STEPS, BATCH, CLASSES, VOID = 20, 8, 3, 255


def network():
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(pixels)
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False, name="conv")(x)
    x = keras.layers.ReLU()(BatchNormalization(momentum=0.9, name="bn")(x))
    x = keras.layers.Conv2D(CLASSES, 1, name="classifier")(x)
    model = keras.Model(pixels, keras.layers.UpSampling2D(2, interpolation="bilinear")(x))
    model.get_layer("bn").synchronized = True
    return model


def batch_of(step, places):
    rng = np.random.default_rng(step)
    images = rng.integers(0, 256, (BATCH, 16, 12, 3), np.uint8)
    # Void differs from image to image, and so does what the shares count; one has nothing else.
    labels = (images[..., 0] > 128).astype(np.uint8) + (images[..., 1] > 200)
    labels[rng.random(labels.shape) < rng.random((BATCH, 1, 1))] = VOID
    labels[3] = VOID
    return images[places], labels[places]


def main(out, strategy, replicas, gradient_accumulation_steps):
    replicas = find_replicas(strategy, replicas)
    keras.utils.set_random_seed(replicas.process)  # the chief's weights count
    loss = Sum(
        {
            "entropy": Part(CrossEntropy(VOID, CLASSES, class_weights=[1.0, 2.0, 0.5]), 1.0),
            "dice": Part(Dice(VOID, CLASSES), 0.5),
        }
    )
    with replicas.strategy.scope():
        trainer = Trainer(
            network(),
            keras.optimizers.AdamW(0.01, name="adamw"),
            loss,
            CLASSES,
            VOID,
            options=StepOptions(
                ema_decay=0.9,
                gradient_accumulation_steps=gradient_accumulation_steps,
                clip_norm=1.0,
                factors={"conv/kernel": 0.5},
            ),
            replicas=replicas,
        )
    places = replicas.sample_indices(BATCH, gradient_accumulation_steps)
    logs = []
    with replicas.report_lost_process():
        for step in range(STEPS):
            losses, counts = trainer._train_step(*batch_of(step, places), step < 2)
            logs.append({**{name: float(value) for name, value in losses.items()}, "counts": counts.numpy().tolist()})
    arrays = snapshot(trainer.model, trainer.optimizer, trainer.averages)
    np.savez(out, **{name.replace("/", "|"): array for name, array in arrays.items()})
    Path(out).with_suffix(".json").write_text(json.dumps(logs))
    print(replicas.description, replicas.broadcast(b"from the chief" if replicas.is_chief else b"").decode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if sys.argv[3] != "-" else None, int(sys.argv[4]))
