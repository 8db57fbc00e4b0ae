"""Functionals: statistics of the low-level descriptors over a whole clip, and their reliability."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from ser_keras.layers.masking import as_windows

_FLOOR = 1e-3
"""Added to every variance before its logarithm; the bands are normalised to a variance of 1."""

_PRIOR_FRAMES = 8
"""Weight of the mean of the training data, in frames, see `Reliability`.

Neighbouring frames are alike: over about so many the autocorrelation of the descriptors of speech falls to a half.
"""


@keras.saving.register_keras_serializable(package="ser_keras")
class Functionals(keras.layers.Layer):
    """Level, spread, trend and speed of change of each low-level descriptor over a whole clip.

    The functionals are the mean, the log variance, the linear and the quadratic trend from the clip's
    beginning to its end (the coefficients of the Legendre polynomials P1 and P2 of time), and for each lag
    the log of the structure function (the mean square of the change within the lag) less the log variance: like
    a modulation spectrum this measures how fast the voice moves, without a transform. Clips of any length give
    the same number of values, and padding changes none of them.

    Over a recording that is longer than those of the training the variance grows, and the trends mean something else.
    With a `window` the functionals are taken in windows of the clip and averaged, weighted by their frames.

    Args:
        lags: lags of the structure functions, in frames.
        trends: whether the trends are among the functionals.
        window: frames of a window; 0: the whole clip.

    Example:
        >>> frames = np.random.default_rng(0).normal(size=(2, 100, 40)).astype("float32")
        >>> Functionals(lags=(1, 4))(frames, np.ones((2, 100), bool)).shape
        TensorShape([2, 240])
    """

    def __init__(self, lags: Sequence[int] = (1, 2, 4, 8, 16), *, trends: bool = True, window: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.lags = tuple(lags)
        self.trends = trends
        self.window = window

    def call(self, descriptors, mask):
        """Return `(batch, kinds * features)` for `descriptors` `(batch, frames, features)`.

        Time, in the trends, counts the frames in the mask alone; changes are those between two frames in the mask.
        """
        if not self.window:
            return self._of_stretches(descriptors, mask)
        batch, _, features = ops.shape(descriptors)
        windows = as_windows(descriptors, self.window)
        inside = as_windows(ops.cast(mask, descriptors.dtype), self.window)  # TensorFlow Lite cannot pad booleans
        functionals = ops.reshape(self._of_stretches(windows, inside), (batch, -1, self._num_kinds * features))
        count = ops.reshape(ops.sum(inside, axis=-1), (batch, 1, -1))
        weights = count * count / (count + _PRIOR_FRAMES)  # (batch, 1, windows)
        total = ops.maximum(ops.sum(weights, axis=-1), _FLOOR)
        return ops.squeeze(ops.matmul(weights, functionals), axis=1) / total

    @property
    def _num_kinds(self) -> int:
        return (4 if self.trends else 2) + len(self.lags)

    def _of_stretches(self, descriptors, mask):
        inside = ops.expand_dims(ops.cast(mask, descriptors.dtype), 1)  # (batch, 1, frames)
        weights = _legendre(inside) if self.trends else inside / ops.maximum(ops.sum(inside, axis=-1, keepdims=True), 1)
        moments = ops.matmul(weights, descriptors)  # (batch, 1 or 3, features)
        mean, *trends = ops.split(moments, 3, axis=1) if self.trends else [moments]  # each (batch, 1, features)
        log_variance = _log(_mean(ops.square(descriptors - mean), inside))
        functionals = [mean, log_variance, *trends]
        for lag in self.lags:
            change = descriptors[:, lag:] - descriptors[:, :-lag]
            functionals.append(_log(_mean(ops.square(change), inside[..., lag:] * inside[..., :-lag])) - log_variance)
        return ops.concatenate([ops.squeeze(each, axis=1) for each in functionals], axis=-1)

    def compute_output_shape(self, descriptors_shape, mask_shape=None):
        """Return `(batch, kinds * features)`; JAX cannot infer it, for the slices by lag."""
        return (descriptors_shape[0], self._num_kinds * descriptors_shape[-1])


@keras.saving.register_keras_serializable(package="ser_keras")
class Reliability(keras.layers.Layer):
    """Reliability of each kind of functional, 0 to 1, by the number of frames behind it.

    A functional of n frames has the weight n / (n + κ), and the mean of the training data the rest: the posterior
    mean under a normal prior that is as precise as κ frames (Murphy, Machine Learning: A Probabilistic
    Perspective, 2012, eq. 4.132). A functional that a clip is too short for has the weight 0: the
    variance of one frame, a trend through as many points as it has coefficients, a change within a lag that is
    longer than the clip.

    Args:
        lags: as in `Functionals`.
        trends: as in `Functionals`.
        prior_frames: κ.

    Example:
        >>> print(Reliability(lags=(1, 4), prior_frames=4)(np.ones((1, 4), bool)).numpy().round(2))
        [[0.5  0.43 0.33 0.2  0.43 0.  ]]
    """

    def __init__(
        self,
        lags: Sequence[int] = (1, 2, 4, 8, 16),
        *,
        trends: bool = True,
        prior_frames: float = _PRIOR_FRAMES,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.lags = tuple(lags)
        self.trends = trends
        self.prior_frames = prior_frames

    def call(self, frames):
        """Return `(batch, kinds)` for a mask of frames `(batch, frames)`: mean, variance, trends, change by lag."""
        count = ops.sum(ops.cast(frames, self.compute_dtype), axis=-1, keepdims=True)  # (batch, 1)
        needed = (0, 1, 2, 3) if self.trends else (0, 1)
        evidence = ops.maximum(count - np.array([*needed, *self.lags], np.float32), 0)  # (batch, kinds)
        return evidence / (evidence + self.prior_frames)


def _legendre(inside):
    """Return the weights `(batch, 3, frames)` of the frames in the mean, the linear and the quadratic trend.

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
