"""Which weights get a factor, and which of them weight decay pulls on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.errors import ConfigError
from segtrain.training.multipliers import exclude_norm_and_bias_from_decay, factors

pytestmark = pytest.mark.tensorflow

BACKBONE = ("stem", "stem_bn", "block_1", "block_11")


def _network():
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, 3, use_bias=False, name="stem")(pixels)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    for name in ("block_1", "block_11", "aspp", "classifier"):
        x = keras.layers.Conv2D(2, 1, name=name)(x)
    return keras.Model(pixels, x)


def test_the_longest_beginning_counts_and_any_before_the_backbone():
    found = factors(_network(), BACKBONE, {"backbone": 0.1, "block_1": 0.2, "block_11": 0.5, "asp": 10})
    assert found == {
        "stem/kernel": 0.1,
        "stem_bn/gamma": 0.1,
        "stem_bn/beta": 0.1,
        "block_1/kernel": 0.2,
        "block_1/bias": 0.2,
        "block_11/kernel": 0.5,
        "block_11/bias": 0.5,
        "aspp/kernel": 10,
        "aspp/bias": 10,
    }


def test_a_factor_of_1_is_none():
    assert factors(_network(), BACKBONE, {"backbone": 1.0, "aspp": 1}) == {}
    assert "stem/kernel" not in factors(_network(), BACKBONE, {"backbone": 0.1, "stem": 1.0})


@pytest.mark.parametrize(
    "lr_multipliers, expected",
    [
        ({"asppp": 2.0}, r"lr_multipliers\.asppp: .*did you mean aspp\?"),
        ({"xyz": 2.0}, r"lr_multipliers\.xyz: .*Fix: take one of block_11, aspp, classifier or backbone"),
        ({"aspp": -1.0}, r"lr_multipliers\.aspp=-1\.0: expected a number from 0 to 1e6"),
        ({"aspp": float("nan")}, r"lr_multipliers\.aspp=nan: expected"),
        ({"backbone": 0.0, "aspp": 0.0, "classifier": 0.0}, "lr_multipliers: 0 for every layer"),
    ],
)
def test_what_fits_no_layer_is_refused(lr_multipliers, expected):
    with pytest.raises(ConfigError, match=expected):
        factors(_network(), BACKBONE, lr_multipliers)


@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD, keras.optimizers.AdamW])
def test_decay_pulls_on_kernels_alone(optimizer):
    # No gradients: what moves, decay has moved, by 1 - 0.1 x 0.5.
    model = _network()
    for weight in model.trainable_variables:
        weight.assign(tf.ones(weight.shape))
    optimizer = optimizer(0.1, weight_decay=0.5)
    exclude_norm_and_bias_from_decay(optimizer, model)
    optimizer.apply([tf.zeros(weight.shape) for weight in model.trainable_variables], model.trainable_variables)
    moved = {weight.path: weight.numpy().flat[0] for weight in model.trainable_variables}
    kernels = {path for path in moved if path.endswith("kernel")}
    assert len(kernels) == 5 and len(moved) == 5 + 2 + 4
    for path, value in moved.items():
        assert value == (pytest.approx(0.95) if path in kernels else 1.0), path


def test_an_optimizer_without_decay_is_left_as_it_is():
    optimizer = keras.optimizers.Adam(0.1)
    exclude_norm_and_bias_from_decay(optimizer, _network())
    assert not hasattr(optimizer, "_exclude_from_weight_decay") and np.isclose(optimizer.learning_rate, 0.1)
