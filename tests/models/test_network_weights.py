"""Weights of a whole network, `weights=PATH`: every format, a reset head, and what does not fit.

K classes.
"""

import keras
import numpy as np
import pytest
import safetensors.numpy

from models.random_weights import random_pixels
from segtrain.errors import CheckpointError
from segtrain.models import application, deeplabv3plus
from segtrain.models.weights import load_network_weights, read_weights
from segtrain.training.state import snapshot

pytestmark = pytest.mark.tensorflow


def _network(num_classes=3, aspp_channels=8):
    channels = {"aspp_channels": aspp_channels, "low_level_channels": 4, "decoder_channels": 8}
    backbone = application(name="MobileNetV2", alpha=0.35, weights=None, output_stride=8, high="block_6_expand_relu")
    return deeplabv3plus(backbone, num_classes, **channels)


def _load(model, path, *, reset_classifier=False):
    load_network_weights(
        model, read_weights(path, model, f"weights={path}"), f"weights={path}", reset_classifier=reset_classifier
    )


@pytest.fixture(scope="module")
def trained():
    """A network of 3 classes whose numbers are not those of a fresh one."""
    model = _network()
    for place, weight in enumerate(model.weights):
        weight.assign(np.random.default_rng(place).uniform(0.5, 1.5, weight.shape))
    return model


def _save(model, path):
    if path.suffix == ".h5":
        model.save_weights(path)
    elif path.name.startswith("checkpoint"):  # as a run's folder holds it: with optimizer and counters
        optimizer = keras.optimizers.Adam(0.1)
        optimizer.build(model.trainable_variables)
        safetensors.numpy.save_file(snapshot(model, optimizer), path)
    else:
        safetensors.numpy.save_file({weight.path: np.asarray(weight) for weight in model.weights}, path)
    return path


FORMATS = ["network.weights.h5", "network.safetensors", "checkpoint.safetensors"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_network_comes_back_from_each_format(trained, tmp_path, name):
    model = _network()
    _load(model, _save(trained, tmp_path / name))
    for one, other in zip(model.weights, trained.weights, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.path)
    pixels = random_pixels(1, 33, 47)
    np.testing.assert_array_equal(model(pixels), trained(pixels))


@pytest.mark.parametrize("name", FORMATS)
def test_a_reset_head_keeps_all_but_the_classifier(trained, tmp_path, name):
    model = _network(num_classes=5)
    fresh = model.get_layer("classifier").get_weights()
    _load(model, _save(trained, tmp_path / name), reset_classifier=True)
    for one, other in zip(model.weights, trained.weights, strict=True):
        if not one.path.startswith("classifier/"):
            np.testing.assert_array_equal(one, other, err_msg=one.path)
    for one, value in zip(model.get_layer("classifier").weights, fresh, strict=True):
        np.testing.assert_array_equal(one, value)


def _network_refusal(model, arrays, **options):
    before = model.get_weights()
    with pytest.raises(CheckpointError) as caught:
        load_network_weights(model, arrays, "weights=file", reset_classifier=False, **options)
    for weight, value, earlier in zip(model.weights, model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, earlier, err_msg=weight.path)
    return str(caught.value).splitlines()


def test_another_number_of_classes_is_told_how_to_reset_the_head(trained):
    lines = _network_refusal(_network(num_classes=5), {one.path: np.asarray(one) for one in trained.weights})
    count = len(trained.weights)
    mend = "Fix: reset_classifier=true, which keeps all but the classifier"
    assert lines == [
        f"weights=file: 0 of {count} variables are missing, 0 extra, 2 differ. {mend}",
        "  differing classifier/kernel (1, 1, 8, 3), expected (1, 1, 8, 5)",
        "  differing classifier/bias (3,), expected (5,)",
    ]


def test_what_does_not_fit_is_a_table_and_changes_nothing(trained):
    arrays = {one.path: np.asarray(one) for one in trained.weights}
    arrays["stranger/kernel"] = arrays.pop("aspp_1x1_conv/kernel")
    arrays["classifier/bias"] = np.zeros(7, np.float32)
    lines = _network_refusal(_network(), arrays)
    channels = arrays["stranger/kernel"].shape[2]
    mend = "Fix: give weights of the same network"
    assert lines == [
        f"weights=file: 1 of {len(arrays)} variables are missing, 1 extra, 1 differ. {mend}",
        f"  missing   aspp_1x1_conv/kernel (1, 1, {channels}, 8)",
        f"  extra     stranger/kernel (1, 1, {channels}, 8)",
        "  differing classifier/bias (7,), expected (3,)",
    ]


def test_long_tables_end_after_five_of_a_kind(trained):
    lines = _network_refusal(_network(aspp_channels=4), {one.path: np.asarray(one) for one in trained.weights})
    assert sum(line.startswith("  differing ") for line in lines) == 6 and lines[-1] == "  differing ..."


def test_further_heads_may_be_new(trained):
    base = _network()
    edges = keras.layers.Conv2D(1, 1, name="edges_conv")(base.get_layer("decoder_2_relu").output)
    model = keras.Model(base.input, {"logits": base.output, "edges": edges})
    arrays = {one.path: np.asarray(one) for one in trained.weights}
    assert _network_refusal(model, arrays)[1] == "  missing   edges_conv/kernel (1, 1, 8, 1)"
    load_network_weights(model, arrays, "weights=file", reset_classifier=False, further_heads=("edges",))
    np.testing.assert_array_equal(model.get_layer("aspp_1x1_conv").kernel, arrays["aspp_1x1_conv/kernel"])
