"""Sums of losses, and losses of anybody's making among them."""

import keras
import numpy as np
import pytest

from losses.cases import CLASSES, VOID, random_batch
from segtrain.errors import ConfigError
from segtrain.losses import CrossEntropy, Dice, EdgeCrossEntropy, Part, Sum, additive

pytestmark = pytest.mark.tensorflow

CROSS_ENTROPY, DICE = CrossEntropy(VOID, CLASSES), Dice(VOID, CLASSES)


def test_a_sum_is_its_weighted_parts_and_tells_each_by_name():
    batch = random_batch(0)
    loss = Sum({"pixels": Part(CROSS_ENTROPY, 0.5), "regions": Part(DICE, 3), "off": Part(DICE, 0)})
    pixels, regions = float(CROSS_ENTROPY(*batch)), float(DICE(*batch))
    values = loss.values(loss.sums(*batch))
    assert {name: float(value) for name, value in values.items()} == pytest.approx(
        {"pixels": pixels, "regions": regions, "off": regions}
    )
    assert float(loss(*batch)) == float(loss.weighted(values)) == pytest.approx(0.5 * pixels + 3 * regions, rel=1e-6)
    assert loss.num_logits == CLASSES


def test_anybody_s_loss_is_averaged_over_replicas():
    batch = random_batch(1)
    mine = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=VOID)
    loss = additive(mine)
    assert additive(DICE) is DICE
    one, other = mine(*batch), mine(batch[0][:1], batch[1][:1])
    assert float(loss(*batch)) == pytest.approx(float(one), rel=1e-6)
    total = loss.sums(*batch) + loss.sums(batch[0][:1], batch[1][:1])
    assert float(loss.value(total)) == pytest.approx((float(one) + float(other)) / 2, rel=1e-6)
    added = Sum({"mine": Part(mine, 2.0), "dice": Part(DICE, 1.0)})
    assert float(added(*batch)) == pytest.approx(2 * float(one) + float(DICE(*batch)), rel=1e-6)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "parts: none, expected at least one positive weight"),
        ({"dice": Part(DICE, 0)}, "parts: dice.weight=0, expected at least one positive weight"),
        ({"dice": Part(DICE, -2)}, "parts.dice.weight=-2: expected a number from 0 up"),
        ({"dice": Part(DICE, np.nan)}, "parts.dice.weight=nan: expected a number from 0 up"),
        (
            {"dice": Part(DICE, 1), "edges": Part(EdgeCrossEntropy(VOID, CLASSES), 1)},
            "parts: dice takes 4, edges takes 1 logits a pixel, expected as many each",
        ),
    ],
)
def test_parts_that_do_not_add_up_are_refused(parts, message):
    with pytest.raises(ConfigError) as caught:
        Sum(parts)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
