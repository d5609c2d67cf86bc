"""A trained network at another output stride."""

import numpy as np
import pytest
from omegaconf import OmegaConf

from segtrain.builders.output_stride import naming_output_stride, with_output_stride
from segtrain.errors import ConfigError


def config(output_stride=16, dilations=None):
    return OmegaConf.create({"backbone": {"output_stride": output_stride}, "model": {"aspp_dilations": dilations}})


@pytest.mark.parametrize(
    ("trained", "wanted", "dilations", "expected"),
    [(16, 8, [6, 12, 18], [12, 24, 36]), (16, 8, None, None), (8, 16, [12, 24, 36], [6, 12, 18]), (16, 16, [5], [5])],
)
def test_dilations_span_the_same_part_of_the_image(trained, wanted, dilations, expected):
    cfg = config(trained, dilations)
    with_output_stride(cfg, wanted)
    assert cfg.backbone.output_stride == wanted and cfg.model.aspp_dilations == expected


@pytest.mark.parametrize(
    ("cfg", "wanted", "seen"),
    [
        (config(), 7, "output_stride=7: expected 8, 16 or 32. Fix: output_stride=8"),
        (config(8, [3]), 16, "the run's dilation 3 at output stride 8 would be 1.5.*Fix: output_stride=8"),
        (OmegaConf.create({"backbone": {}, "model": {}}), 8, "no output stride.*Fix: output_stride=null"),
    ],
    ids=["another number", "a fraction", "a user's backbone"],
)
def test_another_output_stride_is_refused_by_its_key(cfg, wanted, seen):
    with pytest.raises(ConfigError, match=seen):
        with_output_stride(cfg, wanted)


def test_errors_of_the_changed_network_name_the_key_that_was_given():
    seen = r"^output_stride=16: backbone\.high lies at 8\. Fix: output_stride=null$"
    with pytest.raises(ConfigError, match=seen), naming_output_stride(16):
        raise ConfigError("backbone.high lies at 8. Fix: backbone.high=other")
    with pytest.raises(ConfigError, match=r"^a\. Fix: b$"), naming_output_stride(None):
        raise ConfigError("a. Fix: b")


@pytest.mark.tensorflow
def test_the_same_weights_give_finer_features(tmp_path):
    """At output stride 8 a map has twice the rows and columns; its values follow those at 16."""
    from segtrain.models import application, deeplabv3

    maps = {}
    weights = None
    for stride in (16, 8):
        backbone = application(name="MobileNetV2", alpha=0.35, weights=None, output_stride=stride)
        model = deeplabv3(backbone, 3, aspp_channels=8)
        if weights is None:
            weights = model.get_weights()
        model.set_weights(weights)
        maps[stride] = np.asarray(model(np.full((1, 64, 64, 3), 100.0), training=False))
    assert maps[16].shape == maps[8].shape == (1, 64, 64, 3)
