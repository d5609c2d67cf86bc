"""Averages of a network's weights over its training, as a second network of its own."""

from typing import Any, final

import keras
import tensorflow as tf


@final
class WeightEma:
    """Exponential moving averages of all weights of a network and of its batch norm's statistics.

    They are the weights of a second network: it can be scored and saved at any time, and the one that trains is never
    swapped out. After step n an average moves by 1 - d towards its weight, with d = min(decay, (1 + n) / (10 + n)):
    without that, the random weights of the first step would stay in it for several times 1 / (1 - decay) steps.

    Args:
        model: The network that trains.
        decay: What of an average outlasts a step once there are many, 0..1; 0.999 averages over some 1,000 steps.

    Attributes:
        model: The network of the averages.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        self.model = keras.models.clone_model(model)
        self._source = model
        self._decay = decay
        self.start()

    @property
    def variables(self) -> dict[str, Any]:
        """The averages by the path of the weight that they are of; a clone's own paths may lack a part."""
        return {weight.path: average for average, weight in self._pairs()}

    def start(self) -> None:
        """Begin with the weights as they are now."""
        for average, weight in self._pairs():
            average.assign(weight)

    def update(self, step: Any) -> None:
        """Let the averages follow the weights after a step.

        Args:
            step: How many are done, a tensor.
        """
        done = tf.cast(step, tf.float32)
        share = 1.0 - tf.minimum(self._decay, (1.0 + done) / (10.0 + done))
        for average, weight in self._pairs():
            if average.dtype.startswith("float"):
                average.assign(average + share * (weight - average))
            else:  # a count
                average.assign(weight)

    def _pairs(self) -> Any:
        return zip(self.model.weights, self._source.weights, strict=True)
