"""Weights of a backbone: from ImageNet's file or any other, whole or not at all."""

import urllib.error

import h5py
import keras
import numpy as np
import pytest

from segtrain.errors import CheckpointError
from segtrain.models import mobilenet_v2
from segtrain.models.weights import load_backbone_weights

pytestmark = pytest.mark.tensorflow

MOBILENET = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{}_224_no_top.h5"


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory):
    """A whole MobileNetV2 as Keras saves it, in the layout with `model_weights`."""
    path = tmp_path_factory.mktemp("weights") / "whole.h5"
    network = keras.applications.MobileNetV2(include_top=False, weights=None, alpha=0.35, input_shape=(None, None, 3))
    network.save(path)
    return path


@pytest.fixture
def keras_folder(test_data):
    return test_data / "weights" / "keras_models_dir"


def _taps(alpha=0.35, weights=None):
    backbone = mobilenet_v2(alpha=alpha, weights=weights)
    return keras.Model(backbone.pixels, [backbone.high, backbone.low])


def _stored(group, layer):
    """Return one layer's arrays of Keras' `.h5` layout."""
    return [group[layer][name][()] for name in group[layer].attrs["weight_names"]]


def _refusal(weights, alpha=0.35):
    """Load into a network of random weights; return the error's message once it is sure that nothing was changed."""
    taps = _taps(alpha)
    before = taps.get_weights()
    with pytest.raises(CheckpointError) as caught:
        load_backbone_weights(taps, keras.applications.MobileNetV2, {"alpha": alpha}, str(weights))
    for weight, value, earlier in zip(taps.weights, taps.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, earlier, err_msg=weight.path)
    return str(caught.value)


def test_a_file_saved_by_keras_fills_the_layers_of_its_names(whole_file, monkeypatch):
    monkeypatch.setenv("HOME", str(whole_file.parent))
    taps = _taps(weights="~/whole.h5")
    with h5py.File(whole_file) as file:
        for name in ("Conv1", "block_7_depthwise", "block_13_expand_BN"):
            for array, loaded in zip(
                _stored(file["model_weights"], name), taps.get_layer(name).get_weights(), strict=True
            ):
                np.testing.assert_array_equal(loaded, array, err_msg=name)


def test_imagenet_by_name_equals_imagenet_by_path(keras_folder):
    path = keras_folder / MOBILENET.format("0.35")
    by_name, by_path = _taps(weights="imagenet"), _taps(weights=str(path))
    for weight, one, other in zip(by_name.weights, by_name.get_weights(), by_path.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other, err_msg=weight.path)
    with h5py.File(path) as file:
        [kernel] = _stored(file, "Conv1")
    np.testing.assert_array_equal(by_name.get_layer("Conv1").get_weights()[0], kernel)


def test_a_missing_file_is_named(tmp_path):
    message = _refusal(tmp_path / "none.h5")
    assert message.startswith(f"backbone.weights={tmp_path / 'none.h5'}: ")
    assert "No such file" in message and "Fix: correct the path" in message


def test_a_text_file_under_a_weights_name_is_refused(tmp_path):
    (tmp_path / "notes.h5").write_text("not weights\n" * 100)
    assert "expected a file of Keras weights (.h5)" in _refusal(tmp_path / "notes.h5")


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path):
    assert "expected a file of Keras weights (.h5)" in _refusal(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_cut_short_is_refused(whole_file, tmp_path, share):
    data = whole_file.read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: int(share * len(data))])
    assert "expected a file of Keras weights (.h5)" in _refusal(tmp_path / "cut.h5")


def test_weights_of_another_alpha_are_refused_by_their_shapes(whole_file):
    message = _refusal(whole_file, alpha=1.0)
    # alpha 1 has 32 filters in its first convolution, alpha 0.35 has 16.
    assert "layer Conv1 holds [(3, 3, 3, 16)], expected [(3, 3, 3, 32)]" in message


def test_weights_of_another_backbone_are_refused_by_their_layers(keras_folder):
    message = _refusal(keras_folder / "resnet50v2_imagenet_conv1_to_conv4_fp16.h5")
    layers = sum(bool(layer.weights) for layer in _taps().layers)
    assert f"{layers} of {layers} layers are missing, first " in message
    assert "Fix: give weights of this" in message


def test_a_file_that_ends_before_the_tap_names_the_missing_layers(whole_file, tmp_path):
    with h5py.File(whole_file) as file, h5py.File(tmp_path / "part.h5", "w") as part:
        for name in file["model_weights"]:
            if not name.startswith("block_13"):
                file.copy(f"model_weights/{name}", part)
    message = _refusal(tmp_path / "part.h5")
    assert "layers are missing, first block_13_expand, block_13_expand_BN." in message
    assert "move backbone.high to an earlier layer" in message
    earlier = mobilenet_v2(alpha=0.35, weights=str(tmp_path / "part.h5"), high="block_6_expand_relu")
    assert earlier.high_tap == "block_6_expand_relu"


@pytest.fixture
def unreachable(tmp_path, monkeypatch):
    """No file of weights in Keras' folder, and no network."""

    def fail(*_, **__):
        raise urllib.error.URLError(OSError(101, "Network is unreachable"))

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", fail)
    return tmp_path


def test_unreachable_imagenet_weights_say_which_file_to_put_where(unreachable):
    message = _refusal("imagenet")
    assert message.startswith("backbone.weights=imagenet: ")
    assert MOBILENET.format("0.35") in message
    assert f"into {unreachable / 'models'}, or start from random weights with backbone.weights=null" in message
    assert "\n" not in message
    assert not list(unreachable.rglob("*.h5"))


def test_the_file_works_where_the_message_says(unreachable, keras_folder):
    (unreachable / "models").mkdir()
    (unreachable / "models" / MOBILENET.format("0.35")).symlink_to(keras_folder / MOBILENET.format("0.35"))
    with h5py.File(keras_folder / MOBILENET.format("0.35")) as file:
        [kernel] = _stored(file, "block_13_expand")
    np.testing.assert_array_equal(_taps(weights="imagenet").get_layer("block_13_expand").get_weights()[0], kernel)


def test_a_damaged_imagenet_file_is_one_clear_line(unreachable):
    (unreachable / "models").mkdir()
    (unreachable / "models" / MOBILENET.format("0.35")).write_bytes(b"cut download")
    message = _refusal("imagenet")
    assert message.startswith("backbone.weights=imagenet: ") and str(unreachable / "models") in message


def test_a_wrong_call_of_keras_keeps_its_own_error():
    taps = _taps()
    with pytest.raises(ValueError, match="alpha"):
        load_backbone_weights(taps, keras.applications.MobileNetV2, {"alpha": 0.9}, "imagenet")
