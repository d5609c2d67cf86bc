"""Every network on every backbone at every output stride, built from the YAML files as `segtrain train` builds them.

`make test` builds each network on MobileNetV2 and V3+ on one backbone of each family. The slow tests add V3+ on each
backbone at output strides 8, 16 and 32; deeper sisters are only built. SEGTRAIN_WHOLE_TABLE=1 fills the table: 7
networks x 19 backbones x 3 strides, an hour on two cores.
B batch, H height, W width, K classes.
"""

import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from omegaconf import OmegaConf

from models.random_weights import random_pixels
from segtrain.builders.network import build_network
from segtrain.config import config_dir
from segtrain.training.state import restore, snapshot

pytestmark = pytest.mark.tensorflow

K = 3
# Narrow heads: the table is about what fits together, not about width.
MODELS = {
    "deeplabv3": {"aspp_channels": 8},
    "deeplabv3plus": {"aspp_channels": 8, "low_level_channels": 8, "decoder_channels": 8},
    "fcn": {"channels": 8},
    "lraspp": {"channels": 8},
    "pspnet": {"channels": 8},
    "segformer_mlp": {"channels": 8},
    "unet": {"decoder_channels": [16, 8, 8, 8]},
}
# What a YAML needs beside itself, or is made cheaper by.
BACKBONES = {path.stem: {} for path in sorted(Path(config_dir(), "backbone").glob("*.yaml"))} | {
    "application": {"name": "VGG16"},
    "mobilenet_v2": {"alpha": 0.35},
}
STRIDES = [8, 16, 32]
# Deeper sisters differ from the first of their family in nothing but the number of blocks.
SISTERS = {"resnet101", "resnet101_v2", "resnet152", "resnet152_v2", "torch_resnet101"} | {
    f"efficientnet_v2_{size}" for size in ("b1", "b2", "b3", "s")
}


def _is_quick(model, backbone, stride):
    if backbone == "mobilenet_v2":
        return stride == (8 if model == "deeplabv3plus" else 32)
    return model == "deeplabv3plus" and stride == 16 and backbone in FAMILIES


WHOLE = os.environ.get("SEGTRAIN_WHOLE_TABLE") == "1"
# Backbones of `make test`, at output stride 16; the others differ in sizes.
FAMILIES = {"resnet50", "efficientnet_v2_b0", "xception"}
TABLE = [
    pytest.param(model, backbone, stride, marks=() if _is_quick(model, backbone, stride) else pytest.mark.slow)
    for backbone in BACKBONES
    for model in MODELS
    for stride in STRIDES
    if WHOLE or backbone == "mobilenet_v2" or (model == "deeplabv3plus" and (stride == 16 or backbone not in SISTERS))
]


def _config(model, backbone, output_stride):
    options = MODELS[model]
    if (model, backbone) == ("unet", "convnext_tiny"):
        options = {"decoder_channels": [16, 8, 8]}  # its stem has stride 4: there is no stage at 2
    nodes = {
        group: OmegaConf.load(Path(config_dir(), group, f"{name}.yaml"))
        for group, name in {"backbone": backbone, "model": model, "norm": "train"}.items()
    }
    changes = {"backbone": {**BACKBONES[backbone], "output_stride": output_stride, "weights": None}, "model": options}
    return OmegaConf.merge(nodes, changes, {"heads": {}, "trusted_modules": []})


def _step(model, optimizer, size):
    """Take one step of training; every trained variable must have its share in the loss."""
    pixels, labels = random_pixels(1, *size), np.random.default_rng(1).integers(0, K, (1, *size))
    with tf.GradientTape() as tape:
        costs = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(pixels, training=True))
        loss = tf.reduce_mean(costs)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert np.isfinite(loss)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None and np.isfinite(gradient).all(), variable.path
    optimizer.apply(gradients, model.trainable_variables)


def _optimizer():
    return keras.optimizers.SGD(1e-3)


@pytest.mark.parametrize("model, backbone, output_stride", TABLE)
def test_a_network_of_the_table_is_built_trained_and_comes_back(model, backbone, output_stride):
    cfg = _config(model, backbone, output_stride)
    network, features = build_network(cfg, K)
    assert features.output_stride == output_stride
    # ConvNeXt's stem has stride 4.
    assert sorted(features.stages) == [2, 4, 8, 16, 32][backbone == "convnext_tiny" :]
    for prefix in cfg.backbone.get("blocks", []):
        assert any(name.startswith(prefix) for name in features.tensors), prefix
    if backbone in SISTERS and not WHOLE:
        return
    optimizer = _optimizer()
    _step(network, optimizer, (65, 65))
    pixels = random_pixels(1, 96, 160)
    logits = np.asarray(network(pixels, training=False))
    assert logits.shape == (1, 96, 160, K)
    if WHOLE or output_stride == 32:  # no variable's name or shape depends on the stride
        again, fresh = build_network(cfg, K)[0], _optimizer()
        fresh.build(again.trainable_variables)
        restore(again, fresh, snapshot(network, optimizer))
        np.testing.assert_allclose(again(pixels, training=False), logits, atol=1e-5 * np.abs(logits).max())


@pytest.mark.parametrize("output_stride", STRIDES)
@pytest.mark.slow
def test_a_photograph_of_513_pixels_a_side_trains(output_stride):
    # The size of the DeepLab papers: 32 x 16 + 1.
    network, _ = build_network(_config("deeplabv3plus", "mobilenet_v2", output_stride), K)
    _step(network, _optimizer(), (513, 513))
    assert network(random_pixels(1, 513, 513), training=False).shape == (1, 513, 513, K)
