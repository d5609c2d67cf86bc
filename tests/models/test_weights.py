"""Weights of a backbone: ImageNet's or a file of Keras, whole, in part or not at all."""

import functools
import urllib.error

import h5py
import keras
import numpy as np
import pytest

from segtrain.errors import CheckpointError
from segtrain.models import application
from segtrain.models.backbones import WeightSource
from segtrain.models.weights import load_backbone_weights, read_weights

pytestmark = pytest.mark.tensorflow

MOBILENET = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{}_224_no_top.h5"
RESNET = "resnet50v2_imagenet_conv1_to_conv4_fp16.h5"


def _mobilenet(alpha=0.35, weights=None, **options):
    options = {"output_stride": 16, "high": "block_13_expand_relu", "low": "block_3_expand_relu", **options}
    return application(name="MobileNetV2", alpha=alpha, weights=weights and str(weights), **options)


@functools.cache
def _random():
    """A network that is to stay at random, so that one serves all."""
    return _mobilenet()


def _told(weights, partial=False):
    """What is said of weights that do not fit this network."""
    backbone = _random()
    return _refusal(backbone._replace(source=backbone.source._replace(weights=str(weights), partial_weights=partial)))


def _filled(backbone):
    """The network from the pixels to a backbone's taps, filled from what its weights name."""
    taps = keras.Model(backbone.pixels, [backbone.high, backbone.low])
    load_backbone_weights(taps, backbone)
    return taps


def _refusal(backbone):
    """Fill a network of random weights; return the error's message once it is sure that nothing was changed."""
    taps = keras.Model(backbone.pixels, [backbone.high, backbone.low])
    before = taps.get_weights()
    with pytest.raises(CheckpointError) as caught:
        load_backbone_weights(taps, backbone)
    for weight, value, earlier in zip(taps.weights, taps.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, earlier, err_msg=weight.path)
    return str(caught.value)


@pytest.fixture(scope="module")
def stock():
    """A whole MobileNetV2 as Keras builds it."""
    return keras.applications.MobileNetV2(include_top=False, weights=None, alpha=0.35, input_shape=(None, None, 3))


@pytest.fixture(scope="module")
def whole_file(stock, tmp_path_factory):
    """That network as Keras saved it in former times, with `model_weights`."""
    path = tmp_path_factory.mktemp("weights") / "whole.h5"
    stock.save(path)
    return path


@pytest.fixture
def keras_folder(test_data):
    return test_data / "weights" / "keras_models_dir"


@pytest.mark.parametrize("name", ["whole.h5", "new.weights.h5"])
def test_files_of_keras_fill_the_layers_of_their_names(stock, tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    # The layout of Keras 2 with `model_weights`, and Keras 3's own; the former without it is that of the real files.
    stock.save(tmp_path / name) if name == "whole.h5" else stock.save_weights(tmp_path / name)
    taps = _filled(_mobilenet(weights=f"~/{name}"))
    for layer in ("Conv1", "block_7_depthwise", "block_13_expand_BN"):
        for loaded, array in zip(
            taps.get_layer(layer).get_weights(), stock.get_layer(layer).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(loaded, array, err_msg=layer)


@pytest.mark.parametrize(
    "name", ["MobileNetV3Small", *(pytest.param(each, marks=pytest.mark.slow) for each in ("Xception", "ConvNeXtTiny"))]
)
def test_stock_weights_find_layers_and_variables_that_keras_left_nameless(name, tmp_path):
    # Built second in this process: Keras' own numbers go on, from the file they are told apart by their order.
    build = getattr(keras.applications, name)
    build(include_top=False, weights=None, input_shape=(96, 96, 3))
    source = build(include_top=False, weights=None, input_shape=(96, 96, 3))
    for weight in source.weights:
        weight.assign(np.random.default_rng(len(weight.path)).uniform(0.5, 1.5, weight.shape))
    source.save_weights(tmp_path / "stock.weights.h5")
    backbone = application(name=name, weights=str(tmp_path / "stock.weights.h5"), output_stride=32)
    by_path = _filled(backbone)
    by_name = _filled(backbone._replace(source=WeightSource("imagenet", False, lambda: source)))
    for taps in (by_path, by_name):
        assert [one.shape for one in taps.weights] == [one.shape for one in source.weights]
        for one, array in zip(taps.weights, source.get_weights(), strict=True):
            np.testing.assert_array_equal(one, array, err_msg=one.path)


@pytest.mark.parametrize("alpha", [0.35, 1.0])
def test_imagenet_by_name_equals_imagenet_by_path(keras_folder, alpha):
    path = keras_folder / MOBILENET.format(alpha)
    by_name, by_path = _filled(_mobilenet(alpha, "imagenet")), _filled(_mobilenet(alpha, path))
    for weight, one, other in zip(by_name.weights, by_name.get_weights(), by_path.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other, err_msg=weight.path)
    with h5py.File(path) as file:
        kernel = file["Conv1"][file["Conv1"].attrs["weight_names"][0]][()]
    np.testing.assert_array_equal(by_name.get_layer("Conv1").get_weights()[0], kernel)


def _resnet50_v2(path, **options):
    return application(name="ResNet50V2", weights=str(path), output_stride=16, **options)


def test_a_file_that_ends_before_the_tap_is_refused_by_the_names_of_what_is_missing(keras_folder):
    message = _refusal(_resnet50_v2(keras_folder / RESNET))
    lines = message.splitlines()
    assert "variables are missing, 0 extra, 0 differ. " in lines[0]
    assert lines[0].endswith("with partial_weights=true")
    # conv5's first layers, and how they would be shaped; the table ends after five.
    assert lines[1] == "  missing   conv5_block1_preact_bn/gamma (1024,)"
    assert len(lines) == 7 and lines[-1] == "  missing   ..."


def test_partial_weights_leave_what_is_missing_at_random(keras_folder):
    taps = _filled(_resnet50_v2(keras_folder / RESNET, partial_weights=True))
    with h5py.File(keras_folder / RESNET) as file:
        found = {}
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    stored = next(array for name, array in found.items() if "conv4_block1_1_conv" in name)
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(taps.get_layer("conv4_block1_1_conv").kernel, stored.astype(np.float32))
    # Glorot's: uniform within sqrt(6 / (fan in + fan out)) of 0.
    kernel = np.asarray(taps.get_layer("conv5_block1_1_conv").kernel)
    limit = np.sqrt(6 / (1024 + 512))
    assert np.abs(kernel).max() <= limit and kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.01)


def test_a_tap_before_the_end_of_the_file_needs_no_partial_weights(keras_folder):
    taps = {"high": "conv4_block6_preact_relu", "low": "conv2_block3_preact_relu"}
    whole = _filled(_resnet50_v2(keras_folder / RESNET, **taps))
    part = _filled(_resnet50_v2(keras_folder / RESNET, partial_weights=True))
    for one in whole.weights:
        np.testing.assert_array_equal(one, next(other for other in part.weights if other.path == one.path))


def test_a_missing_file_is_named(tmp_path):
    message = _told(tmp_path / "none.h5")
    assert message.startswith(f"weights={tmp_path / 'none.h5'}: ")
    assert "No such file" in message and "Fix: correct the path" in message


@pytest.mark.parametrize("name", ["notes.h5", "notes.weights.h5", "notes.safetensors", "notes.txt"])
def test_a_text_file_is_refused(tmp_path, name):
    (tmp_path / name).write_text("not weights\n" * 100)
    message = _told(tmp_path / name)
    assert "expected weights as .weights.h5, .h5 or .safetensors" in message and "\n" not in message


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path):
    assert "expected weights as .weights.h5, .h5 or .safetensors" in _told(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_cut_short_is_refused(whole_file, tmp_path, share):
    data = whole_file.read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: int(share * len(data))])
    assert "expected weights as .weights.h5, .h5" in _told(tmp_path / "cut.h5")


def test_a_damaged_file_is_read_or_refused_in_one_line(whole_file, tmp_path):
    # h5py raises KeyError, RuntimeError, ... where it stumbles; damage in the numbers themselves cannot be seen.
    backbone, rng, refused = _mobilenet(), np.random.default_rng(0), 0
    model = keras.Model(backbone.pixels, backbone.high)
    for _ in range(30):
        data = bytearray(whole_file.read_bytes())
        for place in rng.integers(0, 200_000, 30):
            data[place] = rng.integers(0, 256)
        (tmp_path / "damaged.h5").write_bytes(data)
        try:
            read_weights(tmp_path / "damaged.h5", model, "weights=damaged.h5")
        except CheckpointError as error:
            refused += 1
            assert str(error).startswith("weights=damaged.h5: ") and "\n" not in str(error)
    assert refused > 5


def test_weights_of_another_alpha_are_refused_by_their_shapes(whole_file):
    message = _refusal(_mobilenet(1.0, whole_file))
    assert ": 0 of " in message and " variables are missing, 0 extra, " in message
    # alpha 1 has 32 filters in its first convolution, alpha 0.35 has 16.
    assert "  differing Conv1/kernel (3, 3, 3, 16), expected (3, 3, 3, 32)" in message.splitlines()


def test_weights_of_another_backbone_are_refused_by_their_layers(keras_folder):
    message = _told(keras_folder / RESNET)
    variables = len(keras.Model(_random().pixels, _random().high).weights)
    assert f"{variables} of {variables} variables are missing" in message
    assert "Fix: give weights of the same network" in message


def test_weights_of_another_backbone_are_refused_as_parts_too(keras_folder):
    message = _told(keras_folder / RESNET, partial=True)
    assert "variables are missing" in message.splitlines()[0]


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
    message = _told("imagenet")
    assert message.startswith("weights=imagenet: ")
    assert MOBILENET.format("0.35") in message
    assert "Fix: weights=null " in message and f"into {unreachable / 'models'}" in message
    assert "\n" not in message
    assert not list(unreachable.rglob("*.h5"))


def test_the_file_works_where_the_message_says(unreachable, keras_folder):
    (unreachable / "models").mkdir()
    (unreachable / "models" / MOBILENET.format("0.35")).symlink_to(keras_folder / MOBILENET.format("0.35"))
    by_path = _filled(_mobilenet(weights=keras_folder / MOBILENET.format("0.35")))
    by_name = _filled(_mobilenet(weights="imagenet"))
    np.testing.assert_array_equal(by_name.get_layer("Conv1").kernel, by_path.get_layer("Conv1").kernel)


def test_a_damaged_imagenet_file_is_one_clear_line(unreachable):
    (unreachable / "models").mkdir()
    (unreachable / "models" / MOBILENET.format("0.35")).write_bytes(b"cut download")
    message = _told("imagenet")
    assert message.startswith("weights=imagenet: ") and str(unreachable / "models") in message


def test_a_wrong_call_of_keras_keeps_its_own_error():
    with pytest.raises(ValueError, match="alpha"):
        _filled(_mobilenet(alpha=0.9, weights="imagenet"))
