"""The state of a training: everything the next step depends on, by names that last."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.errors import CheckpointError
from segtrain.losses import CrossEntropy
from segtrain.models import application, deeplabv3plus
from segtrain.training import Poly
from segtrain.training.state import restore, restore_model, snapshot
from segtrain.training.trainer import Trainer

pytestmark = pytest.mark.tensorflow

CLASSES = 3


def _network(channels=8):
    """Convolutions with batch norm and two dropouts, unnamed as a user may leave them."""
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(pixels)
    for number in range(2):
        x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"conv_{number}")(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"bn_{number}")(x)
        x = keras.layers.Dropout(0.3)(keras.layers.ReLU()(x))
    return keras.Model(pixels, keras.layers.Conv2D(CLASSES, 1, name="classifier")(x))


def _trainer(seed, channels=8):
    keras.utils.set_random_seed(seed)
    optimizer = keras.optimizers.AdamW(Poly(0.01, 10, warmup_steps=2), weight_decay=0.01, name="adamw")
    return Trainer(_network(channels), optimizer, CrossEntropy(255, CLASSES), CLASSES, 255)


def _batches(first, last):
    """Steps `first` to `last` of one fixed training."""
    for step in range(first, last):
        rng = np.random.default_rng(step)
        images = rng.integers(0, 256, (2, 12, 10, 3)).astype(np.uint8)
        yield tf.constant(images), tf.constant(images[..., 0] // 86)


def _run(trainer, last):
    trainer.run(
        _batches(trainer.step, last),
        steps_per_epoch=last,
        epochs=1,
        validate=dict,
        validate_every=1,
        callbacks=[],
    )


def _state(trainer):
    return snapshot(trainer.model, trainer.optimizer)


def _assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.tobytes() == other[name].tobytes(), name


def test_every_variable_of_model_and_optimizer_is_kept():
    trainer = _trainer(seed=0)
    _run(trainer, 2)
    state = _state(trainer)
    # 2 x (kernel, gamma, beta, mean, variance), classifier's kernel and bias, 2 dropout counters
    assert sum(name.startswith("model/") for name in state) == 2 * 5 + 2 + 2
    # iterations, and Adam's two moments of the 2 x 3 + 2 trained variables
    assert sum(name.startswith("optimizer/") for name in state) == 1 + 2 * 8
    assert state["optimizer/iteration"] == 2 and state["optimizer/iteration"].shape == ()
    assert len(state) == len(trainer.model.variables) + len(trainer.optimizer.variables)


def test_a_snapshot_does_not_move_with_the_training():
    trainer = _trainer(seed=0)
    before = _state(trainer)
    copies = {name: array.copy() for name, array in before.items()}
    _run(trainer, 2)
    _assert_equal(before, copies)
    assert any(array.tobytes() != before[name].tobytes() for name, array in _state(trainer).items())


def test_names_of_deeplabs_variables_are_unique_and_the_same_in_a_second_model():
    models = [deeplabv3plus(application(name="MobileNetV2", alpha=0.35, weights=None), 3) for _ in range(2)]
    keras.layers.Dropout(0.5)(keras.Input((3,)))  # Keras numbers dropout layers through the whole process
    names = [list(snapshot(model, keras.optimizers.SGD(name="sgd"))) for model in models]
    assert names[0] == names[1]
    assert len(names[0]) == len(models[0].variables) + 2
    assert "model/counter/0" in names[0]


def test_names_of_an_optimizers_variables_are_the_same_in_a_second_one():
    # A sweep trains one run after another in one process; each must resume in a process of its own.
    model = _network()
    names = []
    for _ in range(2):
        optimizer = keras.optimizers.AdamW(0.01)
        optimizer.build(model.trainable_variables)
        names.append(list(snapshot(model, optimizer)))
    assert names[0] == names[1]


def test_a_checkpoint_of_another_network_is_refused_and_changes_nothing():
    trainer, other = _trainer(seed=0), _trainer(seed=1, channels=5)
    before = _state(trainer)
    with pytest.raises(
        CheckpointError, match="of another network: 0 variables missing.*0 unexpected.*of another shape"
    ) as caught:
        restore(trainer.model, trainer.optimizer, _state(other))
    assert "model/conv_0/kernel (3, 3, 3, 5) instead of (3, 3, 3, 8)" in str(caught.value)
    _assert_equal(_state(trainer), before)


def test_missing_and_unknown_variables_are_named_and_change_nothing():
    trainer, other = _trainer(seed=0), _trainer(seed=1)
    before, arrays = _state(trainer), _state(other)
    arrays["model/stranger/kernel"] = arrays.pop("model/conv_1/kernel")
    for refused in (
        lambda: restore(trainer.model, trainer.optimizer, arrays),
        lambda: restore_model(trainer.model, arrays),
    ):
        with pytest.raises(CheckpointError, match=r"1 variables missing \['model/conv_1/kernel'\]") as caught:
            refused()
        assert "1 unexpected ['model/stranger/kernel']" in str(caught.value)
        _assert_equal(_state(trainer), before)


def test_a_checkpoint_of_a_larger_network_is_refused():
    trainer = _trainer(seed=0)
    before = _state(trainer)
    with pytest.raises(CheckpointError, match=r"0 variables missing.*1 unexpected \['model/more/kernel'\]"):
        restore(trainer.model, trainer.optimizer, {**_state(_trainer(seed=1)), "model/more/kernel": np.zeros(3)})
    _assert_equal(_state(trainer), before)


def test_another_optimizer_is_refused():
    trainer = _trainer(seed=0)
    plain = keras.optimizers.SGD(0.1, name="sgd")
    plain.build(trainer.model.trainable_variables)
    with pytest.raises(CheckpointError, match=r"optimizer/.*Fix: give the run's own model"):
        restore(trainer.model, plain, _state(trainer))


def test_a_model_alone_takes_its_part_of_a_snapshot():
    trainer, model = _trainer(seed=0), _network()
    _run(trainer, 2)
    restore_model(model, _state(trainer))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(model(pixels, training=False), trainer.model(pixels, training=False))
