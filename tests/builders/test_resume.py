"""Which run `resume=auto` goes on with, and which values a resumed run takes from where."""

import json

import pytest
import yaml
from omegaconf import OmegaConf

from commands.conftest import TINY, only_run
from segtrain.builders.resume import run_to_resume
from segtrain.config.renamed import ADDED
from segtrain.runs.checkpoint import save_checkpoint

pytestmark = pytest.mark.tensorflow


def _unfinished(workplace, folder, name):
    """A run after 1 of 3 epochs."""
    run = workplace / "runs" / "train" / folder
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump({"epochs": 3, "name": name}))
    metadata = {
        "config": "epochs: 3",
        "fingerprint": {"data": "4 samples"},
        "exact_until": None,
        "monitor": "val_mean_iou",
        "best": None,
        "progress": {"epochs_done": 1, "num_steps": 0, "sums": {}, "history": [{"epoch": 1, "step": 2}]},
    }
    save_checkpoint(run / "checkpoints", 2, {}, is_best=True, metadata=metadata)
    return run.relative_to(workplace)


@pytest.mark.parametrize(
    ("folder", "is_found"),
    [
        ("2026-11-21_12-00-00_mine", True),
        ("2026-11-21_12-00-00_mine-2", True),  # the second one of this second
        ("2026-11-21_12-00-00_not_mine", False),
        ("2026-11-21_12-00-00_mine_too", False),
    ],
)
def test_auto_goes_on_with_runs_of_this_very_name(workplace, folder, is_found):
    run = _unfinished(workplace, folder, "mine")
    assert run_to_resume(OmegaConf.create({"epochs": 3, "name": "mine", **ADDED})) == (run if is_found else None)


def test_a_learning_rate_given_anew_is_the_one_that_is_trained_with(segtrain, workplace, binary_root):
    # Without a schedule the rate is a variable of the optimizer, and as such in the checkpoint.
    words = ("+experiment=binary", f"dataset.root={binary_root}", *TINY, "schedule=constant", "epochs=1")
    assert segtrain("train", *words, "optimizer.learning_rate=1e-3").code == 0
    run = only_run(workplace)
    resumed = segtrain("train", f"resume={run}", "epochs=2", "optimizer.learning_rate=1e-4")
    assert resumed.code == 0, resumed.err
    assert "optimizer.learning_rate 0.001 -> 0.0001" in resumed.err
    rates = [json.loads(line)["learning_rate"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rates == pytest.approx([1e-3, 1e-4])


def test_a_run_of_a_version_without_a_key_that_no_number_depends_on_goes_on(segtrain, workplace, binary_root):
    words = ("+experiment=binary", f"dataset.root={binary_root}", *TINY, "schedule=constant", "epochs=1")
    assert segtrain("train", *words).code == 0
    config = only_run(workplace) / "config.yaml"
    config.write_text(config.read_text().replace("loader: threads\n", ""))
    resumed = segtrain("train", f"resume={only_run(workplace)}", "epochs=2", "loader=threads")
    assert resumed.code == 0, resumed.err
    assert "loader" not in resumed.err and "loader: threads\n" in config.read_text()
