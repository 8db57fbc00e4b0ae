"""Late fusion of the network and the functionals branch, and the temperature of the fused logits."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="ser_keras")
class LateFusion(keras.layers.Layer):
    """Averages the log-probabilities of the network and of the functionals branch, outside training.

    With the softmax behind it this is a logarithmic opinion pool: the weighted and normalised geometric mean of the
    probabilities. In training it returns the logits of the network alone: the functionals branch is fitted before,
    and a network trained on the pool would learn only to correct its errors. The weight is 0 until `set` is
    called, so that a branch that was not fitted changes nothing. It is multiplied by the reliability of the
    branch, which is lower for short clips.

    Example:
        >>> import numpy as np
        >>> network, branch, reliability = np.log([[0.8, 0.2]]), np.log([[0.5, 0.5]]), np.ones((1, 1))
        >>> fusion = LateFusion()
        >>> print(ops.softmax(fusion(network, branch, reliability)).numpy().round(3))
        [[0.8 0.2]]
        >>> fusion.set(0.5)
        >>> print(ops.softmax(fusion(network, branch, reliability)).numpy().round(3))
        [[0.667 0.333]]
    """

    def build(self, *shapes):
        """Create the weight, which gradients do not train."""
        self.weight = self.add_weight(name="fusion_weight", shape=(), initializer="zeros", trainable=False)

    def call(self, logits, functionals_logits, reliability, training=False):
        """Return `(batch, classes)` from two sets of logits of that shape; the reliability, 0 to 1, is `(batch, 1)`."""
        if training:
            return logits
        network, functionals = ops.log_softmax(logits, axis=-1), ops.log_softmax(functionals_logits, axis=-1)
        return network + self.weight * reliability * (functionals - network)

    def set(self, weight: float) -> None:
        """Set the weight of the functionals branch, 0 to 1."""
        self.weight.assign(weight)


@keras.saving.register_keras_serializable(package="ser_keras")
class Temperature(keras.layers.Layer):
    """Divides logits by one number, which training leaves at 1 and `calibrate_temperature` sets.

    It is a weight that is not trained, so that it is saved, exported and converted with the others.

    Example:
        >>> import numpy as np
        >>> layer = Temperature()
        >>> float(layer(np.array([[3.0]]))[0, 0])
        3.0
        >>> layer.set(1.5)
        >>> float(layer(np.array([[3.0]]))[0, 0])
        2.0
    """

    def build(self, input_shape):
        """Create the weight."""
        self.temperature = self.add_weight(name="temperature", shape=(), initializer="ones", trainable=False)

    def call(self, logits):
        """Return `(batch, classes)` from logits of that shape."""
        return logits / ops.cast(self.temperature, logits.dtype)

    def set(self, temperature: float) -> None:
        """Set the temperature, above 0."""
        self.temperature.assign(temperature)
