"""The recipe's root keys from the command line: trained, scored, refused."""

import json
from types import SimpleNamespace

import keras
import pytest
import safetensors.numpy
from omegaconf import OmegaConf

from commands.conftest import TINY, only_run
from segtrain.builders.optimization import build_step_options, describe_rate

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore:Even though the `tf.config")]

RECIPE = (
    "ema_decay=0.9",
    "gradient_accumulation_steps=2",
    "clip_norm=1",
    "lr_multipliers.backbone=0.1",
    "precise_bn_batches=1",
    "epochs=1",
)


def test_a_training_by_every_key_is_scored_by_its_averages(segtrain, workplace, binary_root, eager):
    result = segtrain("train", "+experiment=binary", f"dataset.root={binary_root}", *TINY, *RECIPE)
    assert result.code == 0, result.err
    # Batches of 2 in 2 parts.
    assert "statistics come from 1 images at a time (batch_size=2, gradient_accumulation_steps=2)" in result.err
    run = only_run(workplace)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(record["gradient_norm"] > 0 for record in records)
    newest = max(run.glob("checkpoints/step-*"))
    arrays = safetensors.numpy.load_file(newest / "state.safetensors")
    raw, averaged = arrays["model/classifier/kernel"], arrays["ema/classifier/kernel"]
    assert (raw != averaged).all()
    assert segtrain("eval", f"run={run}", "checkpoint=last", "save_predictions=false", "overlays=0").code == 0
    scores = json.loads((only_run(workplace, "eval") / "scores.json").read_text())
    assert scores["loss"] == pytest.approx(records[-1]["val_loss"], rel=1e-5)
    assert scores["mean_iou"] == pytest.approx(records[-1]["val_mean_iou"])


@pytest.mark.parametrize(
    "words, expected",
    [
        (
            ["gradient_accumulation_steps=3"],
            "gradient_accumulation_steps=3: batch_size=2 does not fall into as many equal parts, expected 1 or 2.",
        ),
        (["freeze_backbone_epochs=2"], "freeze_backbone_epochs=2: the backbone would never train in epochs=2"),
        (["freeze_backbone_epochs=1", "lr_multipliers.backbone=0"], "the backbone never trains anyway"),
        (["+optimizer.use_ema=true"], "optimizer.use_ema=True: refused, segtrain has its own. Fix: ema_decay=0.999"),
        (["+optimizer.gradient_accumulation_steps=2"], "Fix: gradient_accumulation_steps=N, which splits batch_size"),
        (["clip_norm=1", "+optimizer.clipnorm=1"], "gradients would be clipped twice"),
        (
            ["activation_checkpointing=true", "precision=mixed_bfloat16"],
            "activation_checkpointing=true with precision=mixed_bfloat16: batch norm of 16",
        ),
        (
            ["precise_bn_batches=2", "lr_multipliers.backbone=0"],
            "precise_bn_batches=2 with lr_multipliers.backbone=0: it would change",
        ),
        (["ema_decay=1"], "ema_decay=1.0: expected at most 0.999999"),
        (["clip_norm=0"], "clip_norm=0.0: expected at least 1e-06"),
        (["lr_multipliers.backbone=-1"], "lr_multipliers.backbone=-1.0: expected a number from 0 to 1e6"),
        (["lr_multipliers.backbone=1e25"], "Fix: lr_multipliers.backbone=1.0"),
        (["backbone.output_stride=0"], "backbone.output_stride=0: expected 8, 16 or 32. Fix: "),
        (["backbone.output_stride=-8", "model.aspp_dilations=[6]"], "backbone.output_stride=-8: expected"),
        (["+lr_multipliers.asp=2", "+lr_multipliers.zzz=2"], "lr_multipliers.zzz: "),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(segtrain, workplace, binary_root, words, expected):
    result = segtrain("train", "+experiment=binary", f"dataset.root={binary_root}", *TINY, *words)
    assert result.code == 2
    (line,) = [line for line in result.err.splitlines() if expected in line]
    assert not list((workplace / "runs").rglob("checkpoints"))


@pytest.mark.parametrize(("count", "is_compiled"), [(1, True), (2, False)])
def test_xla_compiles_for_a_single_device_only(monkeypatch, count, is_compiled):
    # Each of two processes sees one GPU, its own.
    monkeypatch.setattr("segtrain.builders.optimization.compiles_with_xla", lambda jit: True)
    pixels = keras.Input((None, None, 3))
    network = keras.Model(pixels, keras.layers.Conv2D(2, 1)(pixels))
    keys = {
        "ema_decay": 0,
        "gradient_accumulation_steps": 1,
        "clip_norm": None,
        "lr_multipliers": {},
        "freeze_backbone_epochs": 0,
    }
    backbone, replicas = SimpleNamespace(tensors={}), SimpleNamespace(count=count)
    assert build_step_options(OmegaConf.create({**keys, "jit": "auto"}), network, backbone, replicas).jit is is_compiled


@pytest.mark.parametrize(
    ("schedule", "seen"),
    [
        # Straight to 0 at step 10; of 20 steps, half is left there.
        ({"_target_": "segtrain.training.Poly", "power": 1.0}, "the learning rate goes from 0 to 0.05"),
        ({"_target_": "segtrain.training.constant"}, "the learning rate stays 0.1"),
    ],
)
def test_more_epochs_change_the_learning_rate_as_the_line_states(schedule, seen):
    then = OmegaConf.create({"epochs": 2, "optimizer": {"learning_rate": 0.1}, "schedule": schedule})
    line = describe_rate(then, OmegaConf.merge(then, {"epochs": 4}), step=10, steps_per_epoch=5)
    assert line.startswith("epochs 2 -> 4: ") and f"over all 4 epochs; at step 10 {seen}" in line
