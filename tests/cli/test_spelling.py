"""A command line written as for another program, or torn apart by the shell, is refused with the one that works."""

import shlex

import pytest
from hydra import compose, initialize_config_dir

from segtrain import config
from segtrain.cli.arguments import rewrite, split_flags
from segtrain.cli.spelling import refuse_misspelled
from segtrain.errors import ConfigError

OPTIONS = config.options()
# What bash makes of the words typed: what is meant.
MISSPELLED = {
    "crop_size=64": {"crop_size": [64, 64]},
    "crop_size=[64]": {"crop_size": [64, 64]},
    "crop_size=[64, 64]": {"crop_size": [64, 64]},
    "crop_size=[64 64]": {"crop_size": [64, 64]},
    "crop_size=64,64": {"crop_size": [64, 64]},
    "crop_size=64x96": {"crop_size": [64, 96]},
    "crop_size=64*96": {"crop_size": [64, 96]},
    "crop_size='(64, 64)'": {"crop_size": [64, 64]},
    "crop_size='(64,64)'": {"crop_size": [64, 64]},
    "crop_size = [64, 64]": {"crop_size": [64, 64]},
    "resize=128": {"resize": [128, 128]},
    "--epochs 5": {"epochs": 5},
    "--epochs=5": {"epochs": 5},
    "-epochs 5": {"epochs": 5},
    "epochs = 5": {"epochs": 5},
    "epochs =5": {"epochs": 5},
    "epochs= 5": {"epochs": 5},
    "epochs: 5": {"epochs": 5},
    "epochs:5": {"epochs": 5},
    "epochs==5": {"epochs": 5},
    "epochs=5,": {"epochs": 5},
    "epochs=5.0": {"epochs": 5},
    "epochs=1e1": {"epochs": 10},
    "--max-epochs 5": {"epochs": 5},
    "num_epochs=5": {"epochs": 5},
    "lr=1e-3": {"optimizer.learning_rate": 1e-3},
    "--lr 1e-3": {"optimizer.learning_rate": 1e-3},
    "learning_rate=0.01": {"optimizer.learning_rate": 0.01},
    "weight_decay=0.01": {"optimizer.weight_decay": 0.01},
    "batch-size=4": {"batch_size": 4},
    "--batch-size 4": {"batch_size": 4},
    "bs=4 --num_workers 3": {"batch_size": 4, "workers": 3},
    "img_size=64": {"crop_size": [64, 64]},
    "imgsz=64": {"crop_size": [64, 64]},
    "--data '/my data'": {"dataset.root": "/my data"},
    "data_dir=~/data": {"dataset.root": "~/data"},
    "--activation_checkpointing": {"activation_checkpointing": True},
    "--no-shuffle": {"shuffle": False},
    "--shuffle False": {"shuffle": False},
    "encoder=resnet50 --seed 3": {"seed": 3, "backbone.name": "ResNet50"},
    "people epochs=2": {"epochs": 2, "name": "people"},
    "epochs = 5 dataset.root='/a b' lr=0.1": {"epochs": 5, "dataset.root": "/a b", "optimizer.learning_rate": 0.1},
}
AS_IT_STANDS = (
    *("epochs=5", "+experiment=people", "crop_size=[64,64]", "'crop_size=[64, 64]'", "shuffle=True", "seed=0"),
    *("--cfg job", "-m seed=1,2 crop_size=[64,64],[32,32]", "--config-dir people", "--info", "~heads", "dataset.root="),
    *(
        "epohcs=3",
        "--no-such-flag",
        "optimizer.learning_rate=1e-3",
        "hydra.verbose=true",
        "'lr_multipliers={backbone: 0.1}'",
    ),
)


def fix(line: str, command: str = "train") -> list[str]:
    """The words after `Fix: segtrain COMMAND`, as a shell reads them."""
    with pytest.raises(ConfigError) as caught:
        refuse_misspelled(command, shlex.split(line), OPTIONS)
    message = str(caught.value)
    assert "\n" not in message
    words = shlex.split(message.partition(" Fix: ")[2])
    assert words[:2] == ["segtrain", command]
    return words[2:]


@pytest.mark.parametrize("line", MISSPELLED)
def test_the_fix_means_what_was_typed(line):
    words = fix(line)
    refuse_misspelled("train", words, OPTIONS)  # itself is not misspelled
    flags, overrides = split_flags(words)
    assert not flags
    config.set_up()
    with initialize_config_dir(config.config_dir(), version_base="1.3"):
        cfg = compose("train", rewrite("train", overrides))
    config.validate_root(cfg, "train")
    for key, value in MISSPELLED[line].items():
        found = cfg
        for part in key.split("."):
            found = found[part]
        assert found == value


@pytest.mark.parametrize("line", AS_IT_STANDS)
def test_what_is_no_other_spelling_passes(line):
    refuse_misspelled("train", shlex.split(line), OPTIONS)


def test_a_run_that_stands_alone_gets_its_key():
    assert fix("runs/train/x", "eval") == ["run=runs/train/x"]
    assert fix("'/my runs/x'", "doctor") == ['run="/my runs/x"']


def test_names_of_compare_download_and_bench_stand_alone():
    refuse_misspelled("compare", ["people", "cihp"], OPTIONS)
    refuse_misspelled("download", ["voc", "root=/data"], OPTIONS)
    refuse_misspelled("bench", ["data"], OPTIONS)
