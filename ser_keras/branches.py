"""How a network that is trained and a linear model that was fitted before it become one answer."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="ser_keras")
class AnswerAverage(layers.Layer):
    """Average the log-probabilities of the network and of a second opinion; in training the network answers alone.

    The softmax behind it makes probabilities of the average: their weighted and normalised geometric mean, a
    logarithmic opinion pool. If the pool were trained on, the second opinion, which is there from the
    beginning, would leave the network only its mistakes to learn from.

    Args:
        share: weight of the second opinion, 0 to 1.

    Example:
        >>> import numpy as np
        >>> sure, unsure = np.log([[0.9, 0.1]]), np.log([[0.5, 0.5]])
        >>> np.exp(AnswerAverage(0.0)(sure, unsure)).round(3).tolist()
        [[0.9, 0.1]]
    """

    def __init__(self, share: float, **kwargs):
        super().__init__(**kwargs)
        self.share = share

    def call(self, logits, second_logits, training=False):
        """Return `(batch, classes)` from two sets of logits of that shape."""
        if training:
            return logits
        own, second = ops.log_softmax(logits, axis=-1), ops.log_softmax(second_logits, axis=-1)
        return own + self.share * (second - own)

    def compute_output_shape(self, logits_shape, second_logits_shape):
        """Return the shape of the logits."""
        return logits_shape

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "share": self.share}
