"""Convert torch state dicts (torchvision, segmentation_models.pytorch) to segtrain's names and axes.

Works on NumPy arrays and does not import torch. Each variable of the model asks for one entry of the state dict.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from segtrain.errors import CheckpointError

State = Mapping[str, np.ndarray]

_WORDS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# Index in a torch Sequential of convolution and batch norm.
_INDEX = {"conv": 0, "bn": 1}
_NUM_SHOWN = 4


class Layout(NamedTuple):
    """How a library names the parts of one network.

    Attributes:
        name: For messages.
        mark: Entry by which a state dict is recognized.
        backbone: Prefix of the backbone's entries.
        aspp: Prefix of the ASPP's entries; None for an image classifier, of which only the backbone is used.
        head: segtrain's layers after the ASPP -> torch's modules.
        spare: Prefixes of entries that the model may lack.
    """

    name: str
    mark: str
    backbone: str
    aspp: str | None
    head: Mapping[str, str]
    spare: tuple[str, ...]


_TORCHVISION_HEAD = {
    "head_1_conv": "classifier.1",
    "head_1_bn": "classifier.2",
    "classifier": "classifier.4",
    "auxiliary_conv": "aux_classifier.0",
    "auxiliary_bn": "aux_classifier.1",
    "auxiliary_classifier": "aux_classifier.4",
}
_SMP_V3_HEAD = {
    "head_1_conv": "decoder.conv",
    "head_1_bn": "decoder.bn",
    "classifier": "segmentation_head.0",
}
_SMP_V3PLUS_HEAD = {
    "aspp_head_1_depthwise": "decoder.aspp.1.0",
    "aspp_head_1_conv": "decoder.aspp.1.1",
    "aspp_head_1_bn": "decoder.aspp.2",
    "low_level_conv": "decoder.block1.0",
    "low_level_bn": "decoder.block1.1",
    "decoder_1_depthwise": "decoder.block2.0.0",
    "decoder_1_conv": "decoder.block2.0.1",
    "decoder_1_bn": "decoder.block2.1",
    "classifier": "segmentation_head.0",
}
LAYOUTS = (
    Layout(
        "torchvision's DeepLabV3",
        "classifier.0.project.0.weight",
        "backbone.",
        "classifier.0.",
        _TORCHVISION_HEAD,
        ("aux_classifier.",),
    ),
    Layout(
        "segmentation_models.pytorch's DeepLabV3",
        "decoder.aspp.project.0.weight",
        "encoder.",
        "decoder.aspp.",
        _SMP_V3_HEAD,
        ("classification_head.",),
    ),
    Layout(
        "segmentation_models.pytorch's DeepLabV3Plus",
        "decoder.aspp.0.project.0.weight",
        "encoder.",
        "decoder.aspp.0.",
        _SMP_V3PLUS_HEAD,
        ("classification_head.",),
    ),
    Layout("torchvision's ResNet", "layer1.0.conv1.weight", "", None, {}, ("fc.",)),
    Layout("torchvision's MobileNetV3", "features.1.block.0.0.weight", "features.", None, {}, ("classifier.",)),
)


def from_torch(state: State, model: Any, key: str = "weights") -> dict[str, np.ndarray]:
    """Convert a torch state dict to the names and axes of a model's variables.

    The caller checks whether all variables were found and have the right shapes: `reset_classifier=true` wants a
    classifier
    of another shape, a backbone wants a part only.

    Args:
        state: Entry -> array, of one of `LAYOUTS`. torch's kernels are (out, in, h, w).
        model: The Keras model that the arrays are for: the same network, by segtrain's names of its layers.
        key: Name of the state dict in messages.

    Returns:
        The path of each variable found ("conv1_conv/kernel") -> its array, kernels as (h, w, in, out); and what no
        variable asked for, under its own name. Heads that the model does without are left out.

    Raises:
        CheckpointError: The state dict is of no known layout.
    """
    layout = _recognize(state, key)
    asked = {}
    for variable in model.weights:
        layer, _, word = variable.path.rpartition("/")
        module = _module(layer, layout, state)
        if module is not None and word in _WORDS:
            asked[f"{module}.{_WORDS[word]}"] = variable.path, layer
    converted: dict[str, np.ndarray] = {}
    for name, array in state.items():
        if name in asked:
            path, layer = asked[name]
            converted[path] = _with_keras_axes(array, layer)
        elif not name.startswith(layout.spare) and not name.endswith(".num_batches_tracked"):
            converted[name] = array
    return converted


def _recognize(state: State, key: str) -> Layout:
    for layout in LAYOUTS:
        if layout.mark in state:
            return layout
    known = "; ".join(f"{layout.name} ({layout.mark})" for layout in LAYOUTS)
    raise CheckpointError(
        f"{key}: a torch state dict of {len(state)} entries, first {', '.join(list(state)[:_NUM_SHOWN]) or 'none'}; "
        f"expected one of: {known}. Fix: save model.state_dict() itself, without a prefix, or give Keras weights"
    )


def _module(layer: str, layout: Layout, state: State) -> str | None:
    """Return torch's module for a layer of ours, or None if this layout has no such part."""
    if layer in layout.head:
        return layout.head[layer]
    if layer.startswith("aspp_"):
        return None if layout.aspp is None else _aspp_module(layer, layout.aspp, state)
    if f"{layout.backbone}conv1.weight" in state:
        return _resnet_module(layer, layout.backbone)
    return _mobilenet_module(layer, layout.backbone, state)


def _aspp_module(layer: str, prefix: str, state: State) -> str | None:
    if match := re.fullmatch(r"aspp_(1x1|projection)_(conv|bn)", layer):
        return f"{prefix}{'convs.0' if match[1] == '1x1' else 'project'}.{_INDEX[match[2]]}"
    if match := re.fullmatch(r"aspp_pool_(conv|bn)", layer):
        # The last branch; its first module is the pooling.
        return f"{prefix}convs.{_count(state, f'{prefix}convs.') - 1}.{1 + _INDEX[match[1]]}"
    if match := re.fullmatch(r"aspp_branch_(\d+)_(depthwise|conv|bn)", layer):
        branch = f"{prefix}convs.{match[1]}"
        pointwise = f"{branch}.0.1" if f"{branch}.0.1.weight" in state else f"{branch}.0"
        return {"depthwise": f"{branch}.0.0", "conv": pointwise, "bn": f"{branch}.1"}[match[2]]
    return None


def _resnet_module(layer: str, prefix: str) -> str | None:
    if layer in ("conv1_conv", "conv1_bn"):
        return f"{prefix}{layer.removeprefix('conv1_')}1"
    match = re.fullmatch(r"conv(\d)_block(\d+)_(\d)_(conv|bn)", layer)
    if match is None:
        return None
    block = f"{prefix}layer{int(match[1]) - 1}.{int(match[2]) - 1}"
    number, kind = match[3], match[4]
    return f"{block}.downsample.{_INDEX[kind]}" if number == "0" else f"{block}.{kind}{number}"


def _mobilenet_module(layer: str, prefix: str, state: State) -> str | None:
    if match := re.fullmatch(r"conv(_1)?(_bn)?", layer):
        index = _count(state, prefix) - 1 if match[1] else 0
        return f"{prefix}{index}.{int(bool(match[2]))}"
    parts = r"(expand|depthwise|project)(_bn)?|(squeeze_excite_conv)(_1)?"
    match = re.fullmatch(rf"expanded_conv(?:_(\d+))?_(?:{parts})", layer)
    if match is None:
        return None
    number, part, norm, squeeze, second = match.groups()
    block = f"{prefix}{int(number or 0) + 1}.block."
    first = state.get(f"{block}0.0.weight")
    expands = first is not None and first.ndim == 4 and first.shape[1] > 1  # a depthwise kernel is (C, 1, h, w)
    if squeeze:
        return f"{block}{1 + expands}.{'fc2' if second else 'fc1'}"
    if part == "expand" and not expands:
        return None
    index = {"expand": 0, "depthwise": int(expands), "project": _count(state, block) - 1}[part]
    return f"{block}{index}.{int(bool(norm))}"


def _count(state: State, prefix: str) -> int:
    """Count the modules of the Sequential at `prefix`, from the largest number that follows it."""
    numbers = [name.removeprefix(prefix).partition(".")[0] for name in state if name.startswith(prefix)]
    return max((int(number) for number in numbers if number.isdigit()), default=-1) + 1


def _with_keras_axes(array: np.ndarray, layer: str) -> np.ndarray:
    if array.ndim != 4:
        return array
    if layer.endswith("depthwise"):
        return array.transpose(2, 3, 0, 1)  # (C, 1, h, w) -> (h, w, C, 1)
    kernel = array.transpose(2, 3, 1, 0)  # (out, in, h, w) -> (h, w, in, out)
    if layer == "aspp_projection_conv":
        # torch joins [1x1, dilated..., pool], segtrain [pool, 1x1, dilated...]; each branch is as wide as the result.
        kernel = np.roll(kernel, kernel.shape[3], axis=2)
    return kernel
