"""Torch's state dicts under segtrain's names, and what is said when one does not fit."""

import re

import keras
import numpy as np
import pytest
import safetensors.numpy
from numpy.testing import assert_array_equal

from models.test_torch_parity import build, read_golden, rebuilt_state
from segtrain.errors import CheckpointError
from segtrain.models import application, deeplabv3, torch_resnet
from segtrain.models.convert import LAYOUTS, from_torch
from segtrain.models.weights import load_network_weights, read_weights

pytestmark = pytest.mark.tensorflow

SMALL = "smp_deeplabv3plus_resnet18"


@pytest.fixture(scope="module")
def model():
    return build(SMALL)


@pytest.fixture(scope="module")
def whole_state():
    return rebuilt_state(read_golden(SMALL))


@pytest.fixture
def state(whole_state):
    """One that a test may spoil."""
    return dict(whole_state)


def _refusal(model, state, reset_classifier=False):
    """Load a state dict; return the error's message once it is sure that nothing was changed."""
    before = model.get_weights()
    with pytest.raises(CheckpointError) as caught:
        load_network_weights(model, from_torch(state, model), "weights=some.pth", reset_classifier=reset_classifier)
    for weight, value, earlier in zip(model.weights, model.get_weights(), before, strict=True):
        assert_array_equal(value, earlier, err_msg=weight.path)
    return str(caught.value)


def test_kernels_turn_from_out_in_height_width_to_height_width_in_out(model, state):
    theirs = np.arange(64 * 3 * 7 * 7, dtype=np.float32).reshape(64, 3, 7, 7)
    kernel = from_torch(state | {"encoder.conv1.weight": theirs}, model)["conv1_conv/kernel"]
    assert kernel.shape == (7, 7, 3, 64)
    assert kernel[5, 2, 1, 33] == theirs[33, 1, 5, 2]


def test_depthwise_kernels_keep_one_filter_a_channel(model, state):
    theirs = state["decoder.block2.0.0.weight"]  # (304, 1, 3, 3)
    kernel = from_torch(state, model)["decoder_1_depthwise/kernel"]
    assert kernel.shape == (3, 3, 304, 1)
    assert kernel[0, 2, 300, 0] == theirs[300, 0, 0, 2]


def test_the_projection_reads_the_pooled_branch_first(model, state):
    theirs = state["decoder.aspp.0.project.0.weight"]  # (256, 5 x 256, 1, 1): 1x1, three dilated, pool
    kernel = from_torch(state, model)["aspp_projection_conv/kernel"][0, 0]  # (5 x 256, 256): pool, 1x1, three dilated
    assert_array_equal(kernel[:256], theirs[:, 4 * 256 :, 0, 0].T)
    assert_array_equal(kernel[256:], theirs[:, : 4 * 256, 0, 0].T)


def test_batch_norm_keeps_its_four_arrays_apart(model, state):
    arrays = from_torch(state, model)
    for ours, theirs in {
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    }.items():
        assert_array_equal(arrays[f"conv3_block1_0_bn/{ours}"], state[f"encoder.layer2.0.downsample.1.{theirs}"])


def test_a_safetensors_file_of_torchs_names_fills_a_network(model, state, tmp_path):
    safetensors.numpy.save_file(state, tmp_path / "net.safetensors")
    arrays = read_weights(tmp_path / "net.safetensors", model, "weights=net.safetensors")
    load_network_weights(model, arrays, "weights=net.safetensors", reset_classifier=False)
    assert_array_equal(model.get_layer("classifier").bias, state["segmentation_head.0.bias"])
    assert_array_equal(model.get_layer("low_level_bn").beta, state["decoder.block1.1.bias"])


def test_another_number_of_classes_keeps_its_own_classifier_when_the_head_is_reset(state):
    network = build(SMALL, num_classes=5)
    before = keras.ops.convert_to_numpy(network.get_layer("classifier").kernel)
    load_network_weights(network, from_torch(state, network), "weights=some.pth", reset_classifier=True)
    assert_array_equal(network.get_layer("classifier").kernel, before)
    assert_array_equal(network.get_layer("aspp_pool_bn").gamma, state["decoder.aspp.0.convs.4.2.weight"])


def test_an_auxiliary_head_is_left_out_where_the_network_has_none():
    golden = rebuilt_state(read_golden("torchvision_deeplabv3_mobilenet_v3_large"))
    with_head = build("torchvision_deeplabv3_mobilenet_v3_large")
    without = keras.Model(with_head.input, with_head.output["logits"])
    left_out = set(from_torch(golden, with_head)) - set(from_torch(golden, without))
    assert {name.partition("/")[0] for name in left_out} == {"auxiliary_conv", "auxiliary_bn", "auxiliary_classifier"}


def test_a_torchvision_resnet_classifier_fills_a_backbone(state):
    classifier = {name.removeprefix("encoder."): array for name, array in state.items() if name.startswith("encoder.")}
    classifier |= {"fc.weight": np.zeros((1000, 512), np.float32), "fc.bias": np.zeros(1000, np.float32)}
    backbone = torch_resnet(depth=18)
    taps = keras.Model(backbone.pixels, backbone.high)
    arrays = from_torch(classifier, taps)
    assert set(arrays) == {weight.path for weight in taps.weights}
    assert all(arrays[weight.path].shape == tuple(weight.shape) for weight in taps.weights)


@pytest.mark.parametrize("size, blocks", [("Large", 15), ("Small", 11)])
def test_a_torchvision_mobilenet_v3_classifier_fills_a_backbone(size, blocks):
    backbone = application(name=f"MobileNetV3{size}", weights=None)
    taps = keras.Model(backbone.pixels, backbone.high)
    state = _torchvision_mobilenet(taps, blocks)
    arrays = from_torch(state | {"classifier.0.weight": np.zeros((1280, 960), np.float32)}, taps)
    assert set(arrays) == {weight.path for weight in taps.weights}
    for weight in taps.weights:
        assert arrays[weight.path].shape == tuple(weight.shape), weight.path


def _torchvision_mobilenet(taps, blocks):
    """Write torchvision's names down from the structure of its blocks: expand, depthwise, squeeze-excite, project."""
    state = {}
    layers = {layer.name: layer for layer in taps.layers}

    def put(module, layer):
        for weight, word in zip(layers[layer].weights, ["weight", "bias", "running_mean", "running_var"], strict=False):
            axes = (2, 3, 0, 1) if layer.endswith("depthwise") else (3, 2, 0, 1)
            array = keras.ops.convert_to_numpy(weight)
            state[f"features.{module}.{word}"] = array.transpose(axes) if array.ndim == 4 else array

    put("0.0", "conv"), put("0.1", "conv_bn")
    put(f"{blocks + 1}.0", "conv_1"), put(f"{blocks + 1}.1", "conv_1_bn")
    for number in range(blocks):
        prefix = f"expanded_conv_{number}_" if number else "expanded_conv_"
        parts = [part for part in ("expand", "depthwise", "squeeze_excite_conv", "project") if prefix + part in layers]
        for place, part in enumerate(parts):
            module = f"{number + 1}.block.{place}"
            if part == "squeeze_excite_conv":
                put(f"{module}.fc1", f"{prefix}{part}"), put(f"{module}.fc2", f"{prefix}{part}_1")
            else:
                put(f"{module}.0", f"{prefix}{part}"), put(f"{module}.1", f"{prefix}{part}_bn")
    return state


def test_missing_extra_and_differing_entries_are_listed(model, state):
    del state["decoder.block1.0.weight"]
    state["decoder.block9.0.weight"] = np.zeros((2, 2), np.float32)
    state["encoder.bn1.bias"] = np.zeros(7, np.float32)
    message = _refusal(model, state)
    assert "weights=some.pth" in message and "Fix: " in message
    assert re.search(r"missing +low_level_conv/kernel \(1, 1, 64, 48\)", message)
    assert re.search(r"extra +decoder\.block9\.0\.weight \(2, 2\)", message)
    assert re.search(r"differing +conv1_bn/beta \(7,\), expected \(64,\)", message)


def test_another_number_of_classes_names_the_mend(state):
    message = _refusal(build(SMALL, num_classes=5), state)
    assert re.search(r"differing +classifier/kernel \(1, 1, 256, 21\), expected \(1, 1, 256, 5\)", message)
    assert "reset_classifier=true" in message


def test_v3_weights_do_not_fill_v3plus(model):
    message = _refusal(model, rebuilt_state(read_golden("smp_deeplabv3_resnet50")))
    assert re.search(r"missing +conv5_block3_|missing +aspp_|missing +decoder_1|missing +low_level", message)
    assert re.search(r"extra +encoder\.layer\d", message)


def test_a_deeper_backbone_is_refused(state):
    network = deeplabv3(torch_resnet(depth=34), 21)
    assert "variables are missing" in _refusal(network, state)


@pytest.mark.parametrize(
    "state, seen",
    [
        ({}, "0 entries, first none"),
        ({"module.encoder.conv1.weight": np.zeros((64, 3, 7, 7))}, "1 entries, first module.encoder.conv1.weight"),
    ],
)
def test_an_unknown_layout_names_the_known_ones(model, state, seen):
    with pytest.raises(CheckpointError) as caught:
        from_torch(state, model, "weights=some.pth")
    message = str(caught.value)
    assert message.startswith("weights=some.pth: ") and seen in message and "Fix: " in message
    for layout in LAYOUTS:
        assert layout.name in message
