"""A second opinion beside the network: a linear model of what the whole recording is like.

Long-term statistics of its descriptors (`ser_keras.descriptors`), which the model reads (`ser_keras.linear_model`), and
how its answer and the network's become one.
"""

from collections.abc import Sequence

import keras
from keras import layers, ops

_FLOOR = 1e-3
"""Added to every variance before its logarithm; the bands are normalised to a variance of 1."""


@keras.saving.register_keras_serializable(package="ser_keras")
class LongTermStatistics(layers.Layer):
    """Level, spread, trend and speed of change of each descriptor over the whole of a clip.

    The statistics are the mean, the log variance, the linear and the quadratic trend from the clip's
    beginning to its end (the coefficients of the Legendre polynomials P1 and P2 of time), and for each lag
    the mean square of what the descriptor changes within it, its structure function, against the variance,
    as a log: like a modulation spectrum it says how fast the voice moves, and needs no transform. Clips of
    any length give the same number of values, and padding none.

    Args:
        lags: distances at which changes are looked at, in frames.

    Example:
        >>> import numpy as np
        >>> frames = np.random.default_rng(0).normal(size=(2, 100, 40)).astype("float32")
        >>> LongTermStatistics(lags=(1, 4))(frames, np.ones((2, 100), bool)).shape
        TensorShape([2, 240])
    """

    def __init__(self, lags: Sequence[int] = (1, 2, 4, 8, 16), **kwargs):
        super().__init__(**kwargs)
        self.lags = tuple(lags)

    def call(self, descriptors, mask):
        """Return `(batch, statistics)` for `descriptors` `(batch, frames, features)`, of the frames in `mask`.

        The mask is one stretch of True in each clip, which the trends run over.
        """
        inside = ops.cast(mask, descriptors.dtype)[:, None]  # (batch, 1, frames)
        mean, *trends = ops.split(ops.matmul(_legendre(inside), descriptors), 3, axis=1)  # (batch, 1, features)
        variance = _mean(ops.square(descriptors - mean), inside)
        statistics = [mean, _log(variance), *trends]
        for lag in self.lags:
            change = descriptors[:, lag:] - descriptors[:, :-lag]
            statistics.append(_log(_mean(ops.square(change), inside[..., lag:] * inside[..., :-lag])) - _log(variance))
        return ops.concatenate([ops.squeeze(each, axis=1) for each in statistics], axis=-1)

    def compute_output_shape(self, descriptors_shape, mask_shape=None):
        """Return `(batch, statistics)`."""
        return (descriptors_shape[0], (4 + len(self.lags)) * descriptors_shape[-1])

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "lags": self.lags}


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
        >>> sure, unsure = np.log([[0.8, 0.2]]), np.log([[0.5, 0.5]])
        >>> average = AnswerAverage(share=0.5)(sure, unsure)
        >>> print(ops.softmax(average).numpy().round(3))
        [[0.667 0.333]]
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


def _legendre(inside):
    """Return the weights `(batch, 3, frames)` by which frames give mean, linear and quadratic trend.

    They are the Legendre polynomials P0, P1 and P2 of time, which runs from -1 to 1 over the clip.
    """
    count = ops.maximum(ops.sum(inside, axis=-1, keepdims=True), 1)
    time = (2 * ops.cumsum(inside, axis=-1) - 1 - count) / count
    polynomials = ops.concatenate([ops.ones_like(time), 3 * time, 5 * (1.5 * ops.square(time) - 0.5)], axis=1)
    return polynomials * inside / count


def _mean(values, inside):
    """Return the mean over the frames that are inside, `(batch, 1, features)`, of `(batch, frames, features)`."""
    return ops.matmul(inside, values) / ops.maximum(ops.sum(inside, axis=-1, keepdims=True), 1)


def _log(variance):
    return ops.log(variance + ops.cast(_FLOOR, variance.dtype))
