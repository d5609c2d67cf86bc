"""Mixed precision: what is 16 bits and what is not, the loss scale and its state; XLA."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from segtrain.errors import NumericError
from segtrain.losses import CrossEntropy
from segtrain.models.layers import ResizeLike
from segtrain.training.precision import compiles_with_xla, is_slow_here, keep_logits_in_float32, layers_in
from segtrain.training.state import restore, snapshot
from segtrain.training.step_options import StepOptions
from segtrain.training.trainer import Trainer

pytestmark = pytest.mark.tensorflow

CLASSES, VOID = 3, 255


def _network(precision="float32"):
    keras.utils.set_random_seed(0)
    with layers_in(precision):
        pixels = keras.Input((None, None, 3))
        x = keras.layers.Rescaling(1 / 127.5, -1)(pixels)
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="conv")(x)
        logits = keras.layers.Conv2D(CLASSES, 1, name="classifier")(x)
        model = keras.Model(pixels, ResizeLike(name="resize")([logits, pixels]))
    if precision != "float32":
        keep_logits_in_float32(model)
    return model


def _scaled(initial_scale=2.0**15):
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01, name="adam"), initial_scale=initial_scale)


def _trainer(precision="float32", optimizer=None, **options):
    optimizer = optimizer or keras.optimizers.Adam(0.01, name="adam")
    loss = CrossEntropy(VOID, CLASSES)
    return Trainer(_network(precision), optimizer, loss, CLASSES, VOID, options=StepOptions(**options))


def _run(trainer, steps):
    def batches():
        for step in range(trainer.step, steps):
            images = np.random.default_rng(step).integers(0, 256, (2, 6, 6, 3)).astype(np.uint8)
            yield tf.constant(images), tf.constant(images[..., 0] // 86)

    trainer.run(batches(), steps_per_epoch=steps, epochs=1, validate=dict, validate_every=1, callbacks=[])


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_features_have_16_bits_weights_and_logits_32(precision):
    model = _network(precision)
    assert keras.config.dtype_policy().name == "float32"  # nothing is left behind
    assert {weight.dtype for weight in model.weights} == {"float32"}
    computed = {layer.name: layer.compute_dtype for layer in model.layers}
    assert computed["conv"] == precision.removeprefix("mixed_")
    assert computed["classifier"] == computed["resize"] == "float32"
    images = np.random.default_rng(0).integers(0, 256, (1, 6, 6, 3))
    logits = model(images).numpy()
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, _network()(images), atol=0.05)
    # Not numbers of 16 bits in 32.
    assert (logits.astype(tf.as_dtype(computed["conv"]).as_numpy_dtype).astype(np.float32) != logits).any()


def test_a_loss_scale_changes_no_step_not_even_a_clipped_one():
    plain, scaled = _trainer(clip_norm=0.1), _trainer(optimizer=_scaled(), clip_norm=0.1)
    before = plain.model.get_weights()
    for trainer in (plain, scaled):
        _run(trainer, 3)
    assert scaled.progress.history[0]["skipped_steps"] == 0
    for one, other, earlier in zip(scaled.model.get_weights(), plain.model.get_weights(), before, strict=True):
        assert np.abs(other - earlier).max() > 1e-3
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_step_that_overflows_is_skipped_and_halves_the_scale():
    trainer = _trainer("mixed_float16", _scaled(initial_scale=2.0**127), ema_decay=0.5, clip_norm=1.0)
    before = trainer.model.get_weights()
    _run(trainer, 1)
    assert trainer.progress.history[0]["skipped_steps"] == 1
    assert float(trainer.optimizer.dynamic_scale) == 2.0**126
    for one, other in zip(trainer.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_scale_that_finds_no_bottom_stops_the_run():
    trainer = _trainer(optimizer=_scaled(initial_scale=1.0))
    trainer._objective._loss = lambda labels, logits: tf.reduce_sum(tf.sqrt(logits * 0.0))
    with pytest.raises(NumericError, match=r"gradients overflow float16 at step 1 .*Fix: precision=mixed_bfloat16"):
        _run(trainer, 2)


def test_the_scale_is_part_of_the_state_and_resumes_exactly():
    whole = _trainer("mixed_float16", _scaled(), clip_norm=0.1)
    _run(whole, 2)
    state = snapshot(whole.model, whole.optimizer)
    assert state["optimizer/loss_scale/dynamic_scale"] == 2.0**15
    assert state["optimizer/loss_scale/step_counter"] == state["optimizer/iteration"] == 2
    other = _trainer("mixed_float16", _scaled(initial_scale=8.0), clip_norm=0.1)
    restore(other.model, other.optimizer, state)
    other.progress.step = 2
    for trainer in (whole, other):
        trainer.progress.epochs_done = 0
        _run(trainer, 4)
    ends = [snapshot(trainer.model, trainer.optimizer) for trainer in (whole, other)]
    assert [{name: array.tobytes() for name, array in end.items()} for end in ends][0] == {
        name: array.tobytes() for name, array in ends[1].items()
    }


def test_xla_takes_the_same_steps_with_every_part_of_a_recipe():
    options = {"ema_decay": 0.5, "gradient_accumulation_steps": 2, "clip_norm": 0.1}
    plain, compiled = _trainer(**options), _trainer(jit=True, **options)
    for trainer in (plain, compiled):
        _run(trainer, 2)
    for one, other in zip(compiled.scored_model.get_weights(), plain.scored_model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert compiled.progress.history[0]["mean_iou"] == plain.progress.history[0]["mean_iou"]


@pytest.mark.parametrize(
    "gpus, expected", [(0, (False, True, False)), (1, (True, True, False)), (2, (False, True, False))]
)
def test_xla_by_itself_is_for_one_gpu(gpus, expected, monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["a GPU"] * gpus)
    assert tuple(compiles_with_xla(jit) for jit in ("auto", "on", "off")) == expected


@pytest.mark.parametrize("flags, slow", [("avx512f amx_bf16", False), ("avx512f", True)])
def test_bfloat16_is_slow_on_a_processor_without_it(flags, slow, monkeypatch):
    monkeypatch.setattr("segtrain.training.precision.Path.read_text", lambda path: f"flags : {flags}")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert is_slow_here("mixed_bfloat16") is slow
    assert is_slow_here("mixed_float16") and not is_slow_here("float32")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"])
    assert not is_slow_here("mixed_bfloat16") and not is_slow_here("mixed_float16")
