"""Late fusion of the branches, and the temperature of the fused logits."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="ser_keras")
class LateFusion(layers.Layer):
    """Averages the log-probabilities of the network and of the functionals branch; training leaves the latter out.

    The softmax behind it makes probabilities of the average: their weighted and normalised geometric mean, a
    logarithmic opinion pool. If the pool were trained on, the functionals branch, which is there from the
    beginning, would leave the network only its mistakes to learn from. Its weight is 0 until `set` is called: a
    branch that was not fitted has no part in what the model predicts. For short clips the weight is less, in
    proportion to the reliability of the branch.

    Example:
        >>> sure, unsure, reliability = np.log([[0.8, 0.2]]), np.log([[0.5, 0.5]]), np.ones((1, 1))
        >>> fusion = LateFusion()
        >>> print(ops.softmax(fusion(sure, unsure, reliability)).numpy().round(3))
        [[0.8 0.2]]
        >>> fusion.set(0.5)
        >>> print(ops.softmax(fusion(sure, unsure, reliability)).numpy().round(3))
        [[0.667 0.333]]
    """

    def build(self, *shapes):
        """Make the weight, which gradients do not train."""
        self.weight = self.add_weight(name="fusion_weight", shape=(), initializer="zeros", trainable=False)

    def call(self, logits, functionals_logits, reliability, training=False):
        """Return `(batch, classes)` from two sets of logits of that shape; the reliability, 0 to 1, is `(batch, 1)`."""
        if training:
            return logits
        own, other = ops.log_softmax(logits, axis=-1), ops.log_softmax(functionals_logits, axis=-1)
        return own + self.weight * reliability * (other - own)

    def compute_output_shape(self, logits_shape, *_):
        """Return the shape of the logits."""
        return logits_shape

    def set(self, weight: float) -> None:
        """Set the weight of the functionals branch, 0 to 1."""
        self.weight.assign(weight)


@keras.saving.register_keras_serializable(package="ser_keras")
class Temperature(keras.layers.Layer):
    """Divides logits by one number, which training leaves at 1 and `calibrate_temperature` sets.

    It is a weight that is not trained, so that it is saved, exported and converted with the others.

    Example:
        >>> layer = Temperature()
        >>> float(layer(np.array([[3.0]]))[0, 0])
        3.0
        >>> layer.set(1.5)
        >>> float(layer(np.array([[3.0]]))[0, 0])
        2.0
    """

    def build(self, input_shape):
        """Make the weight."""
        self.temperature = self.add_weight(name="temperature", shape=(), initializer="ones", trainable=False)

    def call(self, logits):
        """Return `(batch, classes)` from logits of that shape."""
        return logits / ops.cast(self.temperature, logits.dtype)

    def set(self, temperature: float) -> None:
        """Set the number, above 0."""
        self.temperature.assign(temperature)
