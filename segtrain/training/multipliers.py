"""Learning rate multipliers by layer, and weights excluded from weight decay."""

from collections.abc import Collection, Mapping

import keras

from segtrain.errors import ConfigError
from segtrain.suggest import did_you_mean

BACKBONE = "backbone"


def require_factors(lr_multipliers: Mapping[str, float]) -> None:
    """Refuse factors that are not numbers from 0 to a million.

    Raises:
        ConfigError: The first such factor.
    """
    for name, factor in lr_multipliers.items():
        if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 <= factor <= 1e6:
            raise ConfigError(
                f"lr_multipliers.{name}={factor}: expected a number from 0 to 1e6. Fix: lr_multipliers.{name}=1.0"
            )


def factors(model: keras.Model, backbone: Collection[str], lr_multipliers: Mapping[str, float]) -> dict[str, float]:
    """Find the factor of each weight's updates.

    Args:
        model: The network.
        backbone: Names of the backbone's layers.
        lr_multipliers: Prefix of layer names, or `backbone` for all its layers -> factor >= 0. Of several prefixes that
            match the longest counts, and any of them before `backbone`.

    Returns:
        Path of a trainable weight -> its factor, where that is not 1.

    Raises:
        ConfigError: A factor is not a number >= 0, or its prefix matches no trainable layer.
    """
    require_factors(lr_multipliers)
    found: dict[str, float] = {}
    used: set[str] = set()
    for layer in model.layers:
        fitting = [name for name in lr_multipliers if name != BACKBONE and layer.name.startswith(name)]
        name = max(fitting, key=len, default=BACKBONE if layer.name in backbone else "")
        if layer.trainable_variables:
            used |= {*fitting, name}
            factor = float(lr_multipliers.get(name, 1.0))
            found |= {variable.path: factor for variable in layer.trainable_variables if factor != 1}
    for name in lr_multipliers:
        if name not in used:
            layers = [BACKBONE, *(layer.name for layer in model.layers if layer.trainable_variables)]
            near = did_you_mean(name, layers) or f". Fix: take one of {', '.join(layers[-3:])} or {BACKBONE}"
            raise ConfigError(f"lr_multipliers.{name}: found no trainable layer whose name begins so{near}")
    if found and all(found.get(variable.path) == 0 for variable in model.trainable_variables):
        raise ConfigError("lr_multipliers: 0 for every layer, so nothing would be trained. Fix: leave one of them out")
    return found


def exclude_norm_and_bias_from_decay(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> None:
    """Exclude biases and the scales and offsets of normalization from weight decay.

    They are recognized by their rank: at most 1, which no kernel has.

    Args:
        optimizer: Keras optimizer that is not built yet.
        model: Network whose weights it will update.
    """
    if optimizer.weight_decay:
        optimizer.exclude_from_weight_decay([one for one in model.trainable_variables if len(one.shape) <= 1])
