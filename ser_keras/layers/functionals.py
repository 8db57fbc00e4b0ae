"""Functionals: statistics of the low-level descriptors over a whole clip, and how far they can be relied on."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

_FLOOR = 1e-3
"""Added to every variance before its logarithm; the bands are normalised to a variance of 1."""

_PRIOR_FRAMES = 8
"""As many frames as the mean of the training data counts for, see `Reliability`.

Neighbouring frames are alike: over about so many the autocorrelation of the descriptors of speech falls to a half.
"""


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
class Reliability(layers.Layer):
    """How far each kind of statistic of `LongTermStatistics` can be relied on, 0 to 1, by the frames behind it.

    A statistic that rests on n independent pieces of evidence is given the weight n / (n + κ), and the mean of the
    training data the rest: the posterior mean of a normal prior that is as precise as κ frames (Murphy, Machine
    Learning: A Probabilistic Perspective, 2012, eq. 4.132). What a clip is too short for has the weight 0: the
    spread of one frame, a trend through as many points as it has coefficients, a change within a lag that the
    clip does not last.

    Args:
        lags: as in `LongTermStatistics`.
        prior_frames: κ.

    Example:
        >>> print(Reliability(lags=(1, 4), prior_frames=4)(np.ones((1, 4), bool)).numpy().round(2))
        [[0.5  0.43 0.33 0.2  0.43 0.  ]]
    """

    def __init__(self, lags: Sequence[int] = (1, 2, 4, 8, 16), *, prior_frames: float = _PRIOR_FRAMES, **kwargs):
        super().__init__(**kwargs)
        self.lags = tuple(lags)
        self.prior_frames = prior_frames

    def call(self, frames):
        """Return `(batch, 4 + lags)` for a mask of frames `(batch, frames)`: mean, variance, trends, change by lag."""
        count = ops.sum(ops.cast(frames, self.compute_dtype), axis=-1, keepdims=True)  # (batch, 1)
        evidence = ops.maximum(count - np.array([0, 1, 2, 3, *self.lags], np.float32), 0)  # (batch, 4 + lags)
        return evidence / (evidence + self.prior_frames)

    def compute_output_spec(self, frames):
        """Return the spec of a tensor `(batch, 4 + lags)`."""
        return keras.KerasTensor((frames.shape[0], 4 + len(self.lags)), dtype=self.compute_dtype)

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "lags": self.lags, "prior_frames": self.prior_frames}


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
