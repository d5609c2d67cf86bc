"""Exponential moving average (EMA) of a network's weights, kept as a second network."""

from typing import Any, final

import keras
import tensorflow as tf


@final
class WeightEma:
    """Exponential moving averages of all weights of a network and of its batch norm statistics.

    They are the weights of a second network, which can be scored and saved at any time without swapping weights. After
    step n an average moves by 1 - d towards its weight, with d = min(decay, (1 + n) / (10 + n)). The minimum makes it
    forget the random initial weights early; with a constant decay they would remain for several times 1 / (1 - decay)
    steps.

    Args:
        model: The network being trained.
        decay: Decay per step once n is large, 0-1; 0.999 averages over about 1,000 steps.

    Attributes:
        model: The network whose weights are the averages.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        self.model = keras.models.clone_model(model)
        self._source = model
        self._decay = decay
        self.start()

    @property
    def variables(self) -> dict[str, Any]:
        """Averages by the path of their weight in the original model; a clone's own paths may lack a prefix."""
        return {weight.path: average for average, weight in self._pairs()}

    def start(self) -> None:
        """Reset the averages to the current weights."""
        for average, weight in self._pairs():
            average.assign(weight)

    def update(self, step: Any) -> None:
        """Update the averages after a training step.

        Args:
            step: Number of steps done, a scalar tensor.
        """
        done = tf.cast(step, tf.float32)
        rate = 1.0 - tf.minimum(self._decay, (1.0 + done) / (10.0 + done))
        for average, weight in self._pairs():
            if average.dtype.startswith("float"):
                average.assign(average + rate * (weight - average))
            else:  # a counter
                average.assign(weight)

    def _pairs(self) -> Any:
        return zip(self.model.weights, self._source.weights, strict=True)
