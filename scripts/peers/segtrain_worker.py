"""Workers for segtrain's networks, built from its configs and trained with its loop."""

import contextlib
from collections.abc import Iterator

import serving

asked = serving.request()

import numpy as np  # noqa: E402  after the thread count is set
import tensorflow as tf  # noqa: E402
from hydra import compose, initialize_config_dir  # noqa: E402

from segtrain.builders.network import build_network  # noqa: E402
from segtrain.config import build, config_dir, set_up  # noqa: E402
from segtrain.training.recompute import early_stages, recomputing  # noqa: E402
from segtrain.training.trainer import Trainer  # noqa: E402

KERAS_IO = ["+experiment=keras_io_2021", "model.classifier_before_upsampling=true", "backbone.weights=null"]
TORCH_RESNET = ["optimizer=adam", "optimizer.learning_rate=1e-3", "schedule=constant", "backbone=torch_resnet50"]
TORCH_RESNET += ["model.aspp_dilations=[12,24,36]", "model.dropout=0.5", "norm.epsilon=1e-5", "norm.momentum=0.9"]
# By variant: the number of classes, and overrides of `segtrain train`.
NETWORKS = {
    "segtrain_keras_io": (20, KERAS_IO),
    "segtrain_keras_io_recompute": (20, [*KERAS_IO, "activation_checkpointing=true"]),
    "segtrain_deeplabv3": (
        21,
        ["model=deeplabv3", *TORCH_RESNET, "backbone.output_stride=8", "model.head_convolutions=1"],
    ),
    "segtrain_deeplabv3plus": (
        21,
        [
            "model=deeplabv3plus",
            *TORCH_RESNET,
            "backbone.dilate_strided=true",
            "model.aspp_convolutions=1",
            "model.decoder_convolutions=1",
            "model.depthwise_norm=false",
            "model.align_corners=true",
        ],
    ),
}


def main() -> None:
    num_classes, overrides = NETWORKS[asked.variant]
    set_up()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        cfg = compose("train", overrides)
    model, backbone = build_network(cfg, num_classes)
    batch = tuple(tf.constant(each) for each in serving.images(asked, num_classes))
    num_trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    if asked.task == "infer":
        infer(model, batch[0], serving.steps(asked, num_trainable))
        return
    loss = build(cfg.loss, ignore_class=255, num_classes=num_classes)
    forward = recomputing(model, early_stages(model, backbone)) if cfg.activation_checkpointing else None
    trainer = Trainer(model, build(cfg.optimizer), loss, num_classes, 255, forward=forward)
    train(trainer, (batch for _ in serving.steps(asked, num_trainable)))


def train(trainer: Trainer, batches: Iterator[tuple[tf.Tensor, tf.Tensor]]) -> None:
    """Run segtrain's loop until the parent requests no more steps."""
    with contextlib.suppress(StopIteration):
        trainer.run(batches, steps_per_epoch=10**6, epochs=1, validate=lambda: {}, validate_every=10**6, callbacks=[])


def infer(model, images: tf.Tensor, steps: Iterator[None]) -> None:
    @tf.function
    def answer(pixels: tf.Tensor) -> tf.Tensor:
        return tf.argmax(model(pixels, training=False), axis=-1, output_type=tf.int32)

    for _ in steps:
        answer(images).numpy()


if __name__ == "__main__":
    main()
