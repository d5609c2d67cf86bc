"""Keys of version 0.1: reported with their new name, and read from old runs."""

import pytest

from segtrain.config.renamed import ARGUMENTS, ROOT_KEYS, rename_hint, rename_stored


@pytest.mark.parametrize(
    ("word", "fix"),
    [
        ("accumulate=2", "gradient_accumulation_steps=2"),
        ("ema=0.9", "ema_decay=0.9"),
        ("head=reset", "reset_classifier=true"),
        ("+head=keep", "reset_classifier=false"),
        ("multipliers.backbone=0.1", "lr_multipliers.backbone=0.1"),
        ("precise_norm=4", "precise_bn_batches=4"),
        ("recompute=true", "activation_checkpointing=true"),
        ("+save_minutes=5", "checkpoint_every_minutes=5"),
        ("+dataset.swap_pairs=[[1,2]]", "dataset.flip_pairs=[[1,2]]"),
    ],
)
def test_an_old_key_on_the_command_line_names_the_new_one(segtrain, workplace, word, fix):
    result = segtrain("train", word)
    assert result.code == 2
    [line] = [line for line in result.err.splitlines() if line.startswith("error:")]
    assert "renamed to" in line and line.replace("'", "").endswith(f"Fix: {fix}"), line
    assert not (workplace / "runs").exists()


def test_an_old_argument_of_a_loss_names_the_new_one(segtrain, workplace):
    result = segtrain("train", "loss=ohem", "+loss.min_share=0.2")
    assert result.code == 2
    assert "loss.min_share" in result.err and "Fix: loss.top_k_fraction=0.2" in result.err


def test_other_keys_have_no_hint():
    for key in ("epohcs", "optimizer.ema", "ema_decay", "loss.head", "dataset.root"):
        assert rename_hint(key) == ""


def test_a_stored_config_is_read_under_the_new_names():
    old = {
        "ema": 0.9,
        "head": "reset",
        "multipliers": {"backbone": 0.5},
        "dataset": {"_target_": "segtrain.data.Folder", "swap_pairs": [[1, 2]], "root": "/data"},
        "loss": {"_target_": "segtrain.losses.Sum", "parts": {"a": {"_target_": "segtrain.losses.X", "min_share": 1}}},
        "model": {"_target_": "theirs.network", "swap_pairs": 3},
        "seed": 0,
    }
    assert rename_stored(old) == {
        "ema_decay": 0.9,
        "reset_classifier": True,
        "lr_multipliers": {"backbone": 0.5},
        "dataset": {"_target_": "segtrain.data.Folder", "flip_pairs": [[1, 2]], "root": "/data"},
        "loss": {
            "_target_": "segtrain.losses.Sum",
            "parts": {"a": {"_target_": "segtrain.losses.X", "top_k_fraction": 1}},
        },
        "model": {"_target_": "theirs.network", "swap_pairs": 3},  # a user's own argument stays
        "seed": 0,
    }


def test_of_both_spellings_todays_counts():
    assert rename_stored({"ema": 0.5, "ema_decay": 0.9}) == {"ema_decay": 0.9}


def test_no_new_name_is_an_old_one():
    for table in (ROOT_KEYS, ARGUMENTS):
        assert not {*table} & {*table.values()}
