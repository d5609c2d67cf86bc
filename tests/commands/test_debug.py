"""`debug=smoke|overfit|profile`: what each does to a training, and that it finds its way through an experiment."""

import json

import pytest
import yaml

from commands.conftest import TINY, only_run
from segtrain.cli import main as cli

# The network of TINY; sizes and counts are what the debugging modes set.
NETWORK = [word for word in TINY if word.startswith(("backbone", "model", "norm"))]


@pytest.mark.parametrize("words", [["debug=overfit", "experiment=keras_io_2021"], ["experiment=voc", "+debug=overfit"]])
def test_a_debugging_mode_changes_experiments_wherever_it_stands(capsys, words):
    assert cli.main(["train", *words, "--cfg", "job"]) == 0
    cfg = yaml.safe_load(capsys.readouterr().out)
    assert (cfg["limit_samples"], cfg["batch_size"], cfg["validation_split"]) == (4, 4, "train")
    assert (cfg["augment"]["scale"], cfg["augment"]["flip"]) == ([1.0, 1.0], 0.0)
    assert cfg["callbacks"]["reach_score"]["threshold"] == 0.95


def test_a_key_on_the_command_line_counts_over_a_debugging_mode(capsys):
    assert cli.main(["train", "epochs=7", "debug=smoke", "--cfg", "job"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["epochs"] == 7


@pytest.mark.tensorflow
def test_smoke_goes_the_whole_way_in_two_steps_and_is_not_resumed_by(segtrain, workplace, cihp_root):
    result = segtrain("train", "debug=smoke", "+experiment=cihp", f"dataset.root={cihp_root}", *NETWORK)
    assert result.code == 0, result.err
    run = only_run(workplace)
    assert run.name.endswith("_smoke")
    (line,) = (run / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 2 and "val_mean_iou" in json.loads(line)
    for part in ("checkpoints/step-00000002", "metrics.csv", "plots/loss.png", "tensorboard/images"):
        assert (run / part).exists()
    again = segtrain("train", f"resume={run}", "debug=overfit")
    assert again.code == 2 and "debug=overfit: a resumed run keeps its own parts" in again.err
    more = segtrain("train", f"resume={run}", "limit_samples=2", "epochs=2")
    assert more.code == 2 and "limit_samples 4 -> 2: a resumed run keeps its network, data" in more.err


@pytest.mark.tensorflow
@pytest.mark.slow
def test_overfit_validates_on_what_it_trains_on_until_the_score_is_reached(segtrain, workplace, binary_root):
    words = ("+experiment=binary", f"dataset.root={binary_root}", *NETWORK, "crop_size=[48,64]", "validate_every=2")
    result = segtrain("train", "debug=overfit", *words, "callbacks.reach_score.threshold=0.01")
    assert result.code == 0, result.err
    assert "4 training and 4 validation images" in result.err
    run = only_run(workplace)
    # Of 300 epochs the second is the first that is validated.
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
    assert "after epoch 2: above 0.01" in result.err
