"""Logits equal those of torch networks filled with the same random numbers (golden files: write_torch_golden.py)."""

import importlib.util
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from conftest import REPOSITORY
from segtrain.models import application, deeplabv3, deeplabv3plus, torch_resnet, trained_norm
from segtrain.models.convert import from_torch
from segtrain.models.heads import auxiliary

pytestmark = pytest.mark.tensorflow

GOLDEN = REPOSITORY / "tests" / "golden" / "torch"
RATES = [12, 24, 36]  # torchvision's and segmentation_models.pytorch's, at every output stride

_specification = importlib.util.spec_from_file_location(
    "write_torch_golden", REPOSITORY / "scripts" / "write_torch_golden.py"
)
write_torch_golden = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(write_torch_golden)


TORCHVISION_V3 = (deeplabv3, {"aspp_dilations": RATES, "head_convolutions": 1})
SMP_V3 = (deeplabv3, {"aspp_dilations": RATES, "head_convolutions": 1, "align_corners": True})
SMP_V3PLUS = (
    deeplabv3plus,
    {
        "aspp_dilations": RATES,
        "aspp_convolutions": 1,
        "decoder_convolutions": 1,
        "depthwise_norm": False,
        "align_corners": True,
    },
)
MOBILENET = {"name": "MobileNetV3Large", "padding": "symmetric", "weights": None, "preprocessing": "torch"}
# The backbone, its options, the network and its options.
NETWORKS = {
    "torchvision_deeplabv3_resnet50": (torch_resnet, {"depth": 50, "output_stride": 8}, *TORCHVISION_V3),
    "torchvision_deeplabv3_resnet101": (torch_resnet, {"depth": 101, "output_stride": 8}, *TORCHVISION_V3),
    "torchvision_deeplabv3_mobilenet_v3_large": (application, MOBILENET | {"dilate_strided": True}, *TORCHVISION_V3),
    "smp_deeplabv3_resnet50": (
        torch_resnet,
        {"depth": 50, "output_stride": 8, "dilate_strided": True},
        *SMP_V3,
    ),
    "smp_deeplabv3plus_resnet50": (torch_resnet, {"depth": 50, "dilate_strided": True}, *SMP_V3PLUS),
    "smp_deeplabv3plus_resnet18": (torch_resnet, {"depth": 18, "dilate_strided": True}, *SMP_V3PLUS),
}
# What torchvision's auxiliary head reads.
AUXILIARY_TAPS = {
    "torchvision_deeplabv3_resnet50": "conv4_block6_out",
    "torchvision_deeplabv3_resnet101": "conv4_block23_out",
    "torchvision_deeplabv3_mobilenet_v3_large": "expanded_conv_3_project_bn",
}


def read_golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def rebuilt_state(golden):
    """The state dict that torch's network was filled with."""
    return {name: write_torch_golden.numbers(name, tuple(shape)) for name, shape in golden["state"].items()}


def build(name, num_classes=21, epsilon=1e-5, backbone=None, **options):
    """One of `NETWORKS`, other than torch's in what is given here.

    Args:
        epsilon: Of the heads' batch norm; the backbone's is its own.
        backbone: Options of the backbone.
        options: Of the network.
    """
    build_backbone, backbone_options, build_network, network_options = NETWORKS[name]
    built = build_backbone(**backbone_options | (backbone or {}))
    model = build_network(built, num_classes, **network_options | options)
    if name in AUXILIARY_TAPS:
        head = auxiliary(built, num_classes, tap=AUXILIARY_TAPS[name])
        model = keras.Model(built.pixels, {"logits": model.output, "auxiliary": head}, name=model.name)
    return trained_norm(model, built, epsilon=epsilon)


def fill(model, golden):
    arrays = from_torch(rebuilt_state(golden), model)
    assert set(arrays) == {weight.path for weight in model.weights}
    for weight in model.weights:
        weight.assign(arrays[weight.path])


def differences(model, run):
    """How far logits are from torch's: by head, at the places that the golden file keeps and in each class' mean."""
    image = write_torch_golden.draw_image(run["height"], run["width"], run["seed"])
    # In a graph: an eager network keeps every feature map until its end, 2 GB here.
    outputs = tf.function(model, autograph=False)(image[None].astype(np.float32), training=False)
    found = {}
    for name, logits in (outputs if isinstance(outputs, dict) else {"logits": outputs}).items():
        golden = run if name == "logits" else run[name]
        logits = keras.ops.convert_to_numpy(logits)[0]
        places = np.abs(logits[tuple(np.transpose(golden["positions"]))] - golden["logits"])
        found[name] = places.max(), np.abs(logits.mean((0, 1), dtype=np.float64) - golden["class_means"]).max()
    return found


QUICK = {"torchvision_deeplabv3_mobilenet_v3_large", "smp_deeplabv3plus_resnet18"}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NETWORKS],
)
def filled(request):
    """A network with the numbers of its golden file, and the file."""
    golden, model = read_golden(request.param), build(request.param)
    fill(model, golden)
    return model, golden


def test_logits_equal_torchs_to_1e_4(filled):
    model, golden = filled
    for run in golden["runs"]:
        assert run["max_abs_logit"] > 0.5, "too small for 1e-4 to say much"
        for head, (places, means) in differences(model, run).items():
            print(f"{head} at {run['height']}x{run['width']}: {places:.1e}")  # shown by pytest -rP
            assert places < 1e-4 and means < 1e-4, (head, run["height"], run["width"])


def test_parameters_are_as_many_as_torchs(filled):
    model, golden = filled
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == golden["num_parameters"]


@pytest.mark.parametrize(
    "name, other",
    [
        ("smp_deeplabv3plus_resnet18", {"epsilon": 1e-3}),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                ("smp_deeplabv3plus_resnet18", {"align_corners": False}),
                ("smp_deeplabv3plus_resnet18", {"aspp_dilations": [6, 12, 18]}),
                ("smp_deeplabv3plus_resnet18", {"backbone": {"dilate_strided": False}}),
                ("torchvision_deeplabv3_mobilenet_v3_large", {"backbone": {"padding": "keras"}}),
                ("torchvision_deeplabv3_mobilenet_v3_large", {"backbone": {"dilate_strided": False}}),
            )
        ),
    ],
)
def test_another_network_of_the_same_shapes_is_told_apart(name, other):
    golden, model = read_golden(name), build(name, **other)
    fill(model, golden)
    places, _ = differences(model, golden["runs"][-1])["logits"]
    assert places > 1e-3


def test_torchvisions_golden_files_have_the_published_parameters():
    # torchvision's weights: num_params of DeepLabV3_{ResNet50,ResNet101,MobileNet_V3_Large}_Weights
    published = [42_004_074, 60_996_202, 11_029_328]
    assert [read_golden(name)["num_parameters"] for name in AUXILIARY_TAPS] == published
