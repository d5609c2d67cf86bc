"""The losses that segtrain ships, built as commands build them; sums of them and the keys that errors name."""

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from segtrain import config
from segtrain.builders.network import build_arguments, build_loss
from segtrain.data.datasets.dataset import Dataset
from segtrain.errors import ConfigError
from segtrain.losses import CrossEntropy, Dice, Sum

pytestmark = pytest.mark.tensorflow

OPTIONS = sorted(path.stem for path in Path(config.config_dir(), "loss").glob("*.yaml"))
NUM_CLASSES, VOID = 4, 255


class Four(Dataset):
    """Tells of four classes; has no images."""

    def __init__(self):
        super().__init__(list("abcd"), np.zeros((4, 3), np.uint8), ignore_class=VOID)

    def samples(self, split):
        return []


def loaded(option, *changes):
    node = OmegaConf.load(Path(config.config_dir(), "loss", f"{option}.yaml"))
    cfg = OmegaConf.create({"loss": node, "heads": {}, "trusted_modules": []})
    return OmegaConf.merge(cfg, OmegaConf.from_dotlist(list(changes)))


def built(cfg):
    config.validate_calls(cfg, build_arguments(cfg))
    return build_loss(cfg, Four())


@pytest.fixture
def batch():
    """(2, 5, 6) labels, some void, and (2, 5, 6, 4) logits."""
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 2, 3, VOID], (2, 5, 6)).astype(np.uint8)
    return labels, rng.normal(0, 3, (2, 5, 6, NUM_CLASSES)).astype(np.float32)


def test_the_usual_losses_are_there():
    assert {
        "boundary",
        "cross_entropy",
        "cross_entropy_dice",
        "cross_entropy_lovasz",
        "dice",
        "focal",
        "lovasz",
        "ohem",
        "top_k",
        "tversky",
    } == {*OPTIONS}


@pytest.mark.parametrize("option", OPTIONS)
def test_each_gives_one_finite_number(option, batch):
    value = built(loaded(option))(*batch)
    assert value.shape == () and value.dtype == "float32" and np.isfinite(float(value)) and float(value) > 0


@pytest.mark.parametrize("option", OPTIONS)
def test_each_says_in_its_file_what_it_is_for(option):
    assert Path(config.config_dir(), "loss", f"{option}.yaml").read_text().startswith("# ")


def test_parts_of_a_sum_are_handed_the_facts_of_the_dataset(batch):
    found = built(loaded("cross_entropy_dice", "loss.parts.dice.weight=0.25", "loss.parts.dice.loss.smooth=2.0"))
    expected = CrossEntropy(VOID, NUM_CLASSES)(*batch) + 0.25 * Dice(VOID, NUM_CLASSES, smooth=2.0)(*batch)
    assert isinstance(found, Sum) and float(found(*batch)) == pytest.approx(float(expected), rel=1e-6)


def test_a_part_may_be_a_sum(batch):
    inner = "{_target_: segtrain.losses.Sum, parts: {dice: {loss: {_target_: segtrain.losses.Dice}, weight: 2.0}}}"
    found = built(loaded("cross_entropy_dice", f"loss.parts.inner={{loss: {inner}, weight: 3.0}}"))
    expected = CrossEntropy(VOID, NUM_CLASSES)(*batch) + 7 * Dice(VOID, NUM_CLASSES)(*batch)
    assert float(found(*batch)) == pytest.approx(float(expected), rel=1e-6)


MESSAGES = [
    (
        ["loss.parts.dice.weight=-1"],
        "loss.parts.dice.weight=-1: expected a number from 0 up. Fix: loss.parts.dice.weight=1.0",
    ),
    (["loss.parts.dice.weight=much"], "loss.parts.dice.weight=much: expected a number from 0 up"),
    (["loss.parts.dice.weight=true"], "loss.parts.dice.weight=True: expected a number from 0 up"),
    (["loss.parts.dice.wieght=2"], "loss.parts.dice has no key 'wieght'; did you mean weight?"),
    (["loss.parts.dice=2"], "loss.parts.dice=2: expected loss and weight. Fix: write it like configs/loss/"),
    (["loss.parts.mine={weight: 1.0}"], "loss.parts.mine.loss is not given. Fix: ++loss.parts.mine.loss=..."),
    (["loss.parts.a-b={weight: 1.0}"], "loss.parts.a-b: no name for a loss, expected letters"),
    (["loss.parts=3"], "loss.parts=3: expected losses by name. Fix: write them like configs/loss/"),
    (["loss.parts=null"], "loss.parts=None is of type NoneType, expected mapping"),
    (
        ["loss.parts.dice.weight=0", "loss.parts.cross_entropy.weight=0"],
        "loss.parts: cross_entropy.weight=0, dice.weight=0, expected at least one positive weight",
    ),
    (["loss.parts.dice.loss=3"], "loss.parts.dice.loss=3: expected a call with _target_"),
    (["loss.parts.dice.loss.smoth=1.0"], "loss.parts.dice.loss.smoth: segtrain.losses.Dice has no argument 'smoth'"),
    (["loss.parts.dice.loss.smooth=wide"], "loss.parts.dice.loss.smooth='wide' is of type str, expected float"),
    (
        ["loss.parts.dice.loss.smooth=-1"],
        "loss.parts.dice.loss.smooth=-1: expected a number from 0",
    ),
    (["loss.parts.dice.loss.num_classes=3"], "loss.parts.dice.loss.num_classes=3: this comes from the dataset"),
    (
        ["loss.parts.dice.loss._target_=segtrain.losses.Dise"],
        "loss.parts.dice.loss._target_=segtrain.losses.Dise: segtrain.losses has no part Dise; did you mean Dice?",
    ),
    (
        [
            "loss.parts.edges={loss: {_target_: segtrain.losses.EdgeCrossEntropy}, weight: 1.0}",
        ],
        "loss.parts: cross_entropy takes 4, dice takes 4, edges takes 1 logits a pixel, expected as many each",
    ),
    (
        ["loss={_target_: segtrain.losses.EdgeCrossEntropy, width: 1}"],
        "loss: segtrain.losses.EdgeCrossEntropy takes 1 logits a pixel, the network gives 4. Fix: loss=cross_entropy",
    ),
]


@pytest.mark.parametrize(("changes", "line"), MESSAGES)
def test_what_is_wrong_is_one_line_with_its_whole_key(changes, line):
    cfg = loaded("cross_entropy_dice", *changes)
    if changes[0].startswith("loss={"):
        cfg.loss.pop("parts")
    with pytest.raises(ConfigError) as caught:
        built(cfg)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


def test_a_sum_of_a_head_says_the_keys_of_that_head():
    from segtrain.builders.losses import build_loss as build_one

    cfg = OmegaConf.create({"heads": {"side": {"loss": loaded("cross_entropy_dice").loss}}})
    for changes, key in (
        ({"dice": {"weight": -1}}, "heads.side.loss.parts.dice.weight=-1"),
        ({"dice": {"loss": {"smooth": -1}}}, "heads.side.loss.parts.dice.loss.smooth=-1"),
    ):
        node = OmegaConf.merge(cfg, {"heads": {"side": {"loss": {"parts": changes}}}}).heads.side.loss
        with pytest.raises(ConfigError) as caught:
            build_one(node, "heads.side.loss", Four())
        assert str(caught.value).startswith(key)
        assert "loss.parts" not in str(caught.value).replace("heads.side.loss.parts", "")
