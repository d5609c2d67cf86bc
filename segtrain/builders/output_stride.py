"""A trained network at another output stride: the same weights, with dilation instead of strides."""

from collections.abc import Iterator
from contextlib import contextmanager

from omegaconf import DictConfig

from segtrain.errors import ConfigError

CHOICES = (8, 16, 32)


def with_output_stride(config: DictConfig, output_stride: int) -> None:
    """Change the output stride of a run's config, as the DeepLab papers evaluate at 8 what was trained at 16.

    Explicit `aspp_dilations` are scaled by the change, so that they span the same part of the image (arXiv:1706.05587,
    section 4.2); derived ones (null) are anyway.

    Args:
        config: Config of a run, with `backbone` and `model`; changed in place.
        output_stride: 8, 16 or 32.

    Raises:
        ConfigError: It is another number, the backbone has no output stride, or a dilation would be a fraction.
    """
    if output_stride not in CHOICES:
        raise ConfigError(f"output_stride={output_stride}: expected 8, 16 or 32. Fix: output_stride=8")
    trained = config.backbone.get("output_stride")
    if not isinstance(trained, int):
        raise ConfigError(
            f"output_stride={output_stride}: the backbone of the run has no output stride, expected one of segtrain's "
            f"own. Fix: output_stride=null"
        )
    config.backbone.output_stride = output_stride
    dilations = config.model.get("aspp_dilations")
    if dilations is None or trained == output_stride:
        return
    if fractions := [each for each in dilations if each * trained % output_stride]:
        raise ConfigError(
            f"output_stride={output_stride}: the run's dilation {fractions[0]} at output stride {trained} would be "
            f"{fractions[0] * trained / output_stride:g}, expected whole numbers. Fix: output_stride={trained}"
        )
    config.model.aspp_dilations = [each * trained // output_stride for each in dilations]


@contextmanager
def naming_output_stride(output_stride: int | None) -> Iterator[None]:
    """Name `output_stride` in errors of a network that is built with another than the trained one."""
    try:
        yield
    except ConfigError as error:
        if output_stride is None:
            raise
        reason = str(error).partition(". Fix: ")[0]
        raise ConfigError(f"output_stride={output_stride}: {reason}. Fix: output_stride=null") from error
