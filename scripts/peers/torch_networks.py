"""Reference networks in torch: torchvision's and segmentation_models.pytorch's.

B batch, H height, W width, K classes; torch's tensors are (B, C, H, W).
"""

import sys
from typing import Any

import torch

_declared: list[Any] = []


def import_torchvision() -> Any:
    """Import torchvision even if its wheel was built for CUDA and torch's was not.

    Such a wheel loads no operators, but its Python code looks up two of them, which no network here uses.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        _declared.append(library)  # keep a reference: a collected library unregisters its operators
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    return torchvision


def import_smp() -> Any:
    """Import segmentation_models.pytorch, which imports torchvision."""
    import_torchvision()
    import segmentation_models_pytorch

    return segmentation_models_pytorch


def torchvision_deeplabv3(backbone: str, num_classes: int, *, auxiliary: bool = True) -> torch.nn.Module:
    """Build `torchvision.models.segmentation.deeplabv3_<backbone>` with random weights.

    Returns:
        A module that returns {"out": (B, K, H, W)}, and "aux" of the same shape if `auxiliary`.
    """
    segmentation = import_torchvision().models.segmentation
    build = getattr(segmentation, f"deeplabv3_{backbone}")
    return build(weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=auxiliary)


def smp_network(kind: str, encoder: str, num_classes: int, **options: Any) -> torch.nn.Module:
    """Build `segmentation_models_pytorch.<kind>` on `encoder` with random weights and otherwise its own defaults.

    Returns:
        A module that returns (B, K, H, W).
    """
    return getattr(import_smp(), kind)(encoder, encoder_weights=None, classes=num_classes, **options)
