"""Further heads: parameters by hand, names, sizes, taps, and options that do not fit.

B batch, H height, W width, C channels, K classes.
"""

import math

import keras
import numpy as np
import pytest

from segtrain.errors import ConfigError
from segtrain.models import frozen_norm
from segtrain.models.backbones import Backbone, WeightSource
from segtrain.models.heads import auxiliary, edges

pytestmark = pytest.mark.tensorflow

CHANNELS = {4: 6, 8: 8, 16: 12, 32: 16}


def _backbone(channels=None, output_stride=32):
    """One 3x3 convolution a stage; beyond `output_stride` without its stride."""
    pixels = keras.Input((None, None, 3), name="pixels")
    x, tensors, stages = keras.layers.AveragePooling2D(2, padding="same", name="pool")(pixels), {}, {}
    for stride, count in (channels or CHANNELS).items():
        step = 2 if stride <= output_stride else 1
        x = keras.layers.Conv2D(count, 3, step, padding="same", activation="relu", name=f"stage_{stride}")(x)
        stages[stride] = tensors[f"stage_{stride}"] = x
    tensors["flat"] = keras.layers.GlobalAveragePooling2D(name="flat")(x)
    low = next(iter(stages.values()))
    return Backbone(
        pixels, x, low, "stage_32", "stage_4", stages, output_stride, tensors, WeightSource(None, False, None)
    )


def _own_shapes(head, backbone):
    """By path, the shapes of the variables that a head brings along."""
    model = keras.Model(backbone.pixels, head)
    return {weight.path: tuple(weight.shape) for weight in model.weights if not weight.path.startswith("stage_")}


def test_auxiliary_head_has_torchvisions_parameters():
    # FCNHead(1024, 21): 1024 * 256 * 9 + 2 * 256 + 256 * 21 + 21 = 2,365,205 to train, 2 * 256 statistics.
    backbone = _backbone({4: 2, 8: 2, 16: 1024, 32: 2})
    shapes = _own_shapes(auxiliary(backbone, 21), backbone)
    assert shapes == {
        "auxiliary_conv/kernel": (3, 3, 1024, 256),
        **{f"auxiliary_bn/{name}": (256,) for name in ("gamma", "beta", "moving_mean", "moving_variance")},
        "auxiliary_classifier/kernel": (1, 1, 256, 21),
        "auxiliary_classifier/bias": (21,),
    }
    assert sum(math.prod(shape) for path, shape in shapes.items() if "moving" not in path) == 2_365_205


def test_edge_head_projects_scores_and_fuses_three_stages():
    backbone = _backbone()
    shapes = _own_shapes(edges(backbone, 20, channels=5), backbone)
    # 1x1 to 5 channels, batch norm's four, 3x3 to one score with bias; then three scores to one.
    stages = sum(count * 5 + 4 * 5 + (9 * 5 + 1) for count in (6, 8, 12))
    assert sum(math.prod(shape) for shape in shapes.values()) == stages + (3 + 1)
    assert shapes["edges_8_conv/kernel"] == (1, 1, 8, 5) and shapes["edges_8_score/kernel"] == (3, 3, 5, 1)
    assert shapes["edges_classifier/kernel"] == (1, 1, 3, 1)


@pytest.mark.parametrize("output_stride", [8, 32])
@pytest.mark.parametrize("size", [(33, 47), (64, 96), (1, 1)])
def test_logits_lie_at_the_pixels(size, output_stride):
    backbone = _backbone(output_stride=output_stride)
    heads = {"classes": auxiliary(backbone, 7), "edges": edges(backbone, 7, channels=3)}
    found = keras.Model(backbone.pixels, heads)(np.zeros((2, *size, 3), np.float32))
    assert found["classes"].shape == (2, *size, 7) and found["edges"].shape == (2, *size, 1)


def test_edge_scores_are_fused_at_the_finest_of_the_stages():
    backbone = _backbone()
    model = keras.Model(backbone.pixels, edges(backbone, 20, channels=3))
    fused = keras.Model(model.input, model.get_layer("edges_concat").output)
    assert fused(np.zeros((1, 32, 64, 3), np.float32)).shape == (1, 32 // 4, 64 // 4, 3)


def test_a_tap_is_read_by_name_and_tells_the_channels():
    # A quarter of the 16 at stage 32.
    backbone = _backbone()
    assert _own_shapes(auxiliary(backbone, 3, tap="stage_32"), backbone)["auxiliary_conv/kernel"] == (3, 3, 16, 4)
    assert _own_shapes(auxiliary(backbone, 3, channels=9), backbone)["auxiliary_conv/kernel"] == (3, 3, 12, 9)


def test_two_heads_of_a_kind_stand_on_one_backbone_by_their_names():
    backbone = _backbone()
    heads = [auxiliary(backbone, 3), auxiliary(backbone, 3, name="early", tap="stage_8")]
    names = {layer.name for layer in keras.Model(backbone.pixels, heads).layers}
    assert {"auxiliary_classifier", "early_classifier", "early_conv", "early_upsampling"} <= names


def test_logits_are_float32_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        backbone = _backbone()
        heads = [auxiliary(backbone, 3), edges(backbone, 3, channels=3)]
        found = keras.Model(backbone.pixels, heads)(np.zeros((1, 32, 32, 3), np.float32))
    finally:
        keras.config.set_dtype_policy(before)
    assert [logits.dtype for logits in found] == ["float32", "float32"]


def test_frozen_batch_norm_keeps_each_output_in_its_place_and_trains_the_heads():
    backbone = _backbone()
    outputs = {"logits": auxiliary(backbone, 5), "edges": edges(backbone, 5, channels=3)}
    model = frozen_norm(keras.Model(backbone.pixels, outputs), backbone)
    assert {name: tensor.shape[-1] for name, tensor in model.output.items()} == {"logits": 5, "edges": 1}
    assert model.get_layer("auxiliary_bn").trainable and model.get_layer("edges_4_bn").trainable


@pytest.mark.parametrize(
    "head, options, message",
    [
        (
            auxiliary,
            {"tap": "stage_23"},
            r"tap=stage_23: .* no such map.*Fix: tap=stage_32",
        ),
        (auxiliary, {"tap": "flat"}, r"tap=flat: .* no such map"),
        (auxiliary, {"channels": 0}, r"channels=0: expected"),
        (auxiliary, {"dropout": 1.0}, r"dropout=1\.0: expected"),
        (edges, {"channels": -1}, r"channels=-1: expected"),
    ],
)
def test_options_out_of_range_are_refused_by_their_key(head, options, message):
    with pytest.raises(ConfigError, match=message):
        head(_backbone(), 3, **options)


@pytest.mark.parametrize("head, missing", [(auxiliary, 16), (edges, 8)])
def test_a_backbone_without_the_stage_says_which_it_has(head, missing):
    channels = {stride: 4 for stride in (4, 8, 16, 32) if stride != missing}
    there = ", ".join(map(str, channels))
    with pytest.raises(ConfigError, match=rf"no stage at stride {missing}, only {there}.*Fix: .*leave the head out"):
        head(_backbone(channels), 3)
