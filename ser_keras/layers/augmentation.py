"""Augmentation: what changes recordings in training, and does nothing outside it.

The layers take log-mel spectrograms `(batch, frames, mels)` and draw new values for each clip of each batch.
`mix_up` takes whole batches of waveforms.
"""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="ser_keras")
class RandomFilter(keras.layers.Layer):
    """Filters each clip at random, as another microphone or room would, in training only.

    Adds a smooth random curve over the bands, the same in every frame: FilterAugment (Nam, Kim & Park, 2022) in its
    linear form, with knots that are evenly spaced over the bands and drawn from a normal distribution.

    Args:
        db: standard deviation of the curve at its knots, in dB.
        knots: number of knots, 2 or more; the curve is linear between two of them.
        seed: integer, for repeatable draws.

    Example:
        >>> filtered = RandomFilter(3.0, seed=1)(np.zeros((1, 50, 40)), training=True).numpy()
        >>> bool(np.ptp(filtered, axis=1).max() == 0), bool(np.ptp(filtered, axis=2).min() > 0)
        (True, True)
    """

    def __init__(self, db: float = 3.0, knots: int = 6, *, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.db = db
        self.knots = knots
        self._generator = keras.random.SeedGenerator(seed)

    def call(self, log_mel, training=False):
        """Return `log_mel` `(batch, frames, mels)` in dB, filtered in training."""
        if not training:
            return log_mel
        batch, _, bands = ops.shape(log_mel)
        levels = keras.random.normal((batch, self.knots), stddev=self.db, dtype="float32", seed=self._generator)
        position = np.linspace(0, self.knots - 1, bands, dtype=np.float32)
        weight = np.maximum(1 - np.abs(position - np.arange(self.knots, dtype=np.float32)[:, None]), 0)  # (knots, mels)
        return log_mel + ops.cast(ops.matmul(levels, weight)[:, None], log_mel.dtype)


@keras.saving.register_keras_serializable(package="ser_keras")
class SpecAugment(keras.layers.Layer):
    """Sets random bands of time and of frequency to zero, in training only.

    After Park et al., "SpecAugment", 2019, without the time warp. The input should be normalised, so
    that zero is its mean.

    Args:
        time_fraction: each time mask covers at most this fraction of a clip's frames, 0 to 1.
        frequency_fraction: each frequency mask covers at most this fraction of the bands, 0 to 1.
        num_masks: masks of either kind on each clip.
        seed: integer, for repeatable draws.

    Example:
        >>> layer = SpecAugment(seed=1)
        >>> bool((layer(np.ones((4, 50, 20), "float32"), training=True).numpy() == 0).any())
        True
    """

    def __init__(
        self,
        time_fraction: float = 0.15,
        frequency_fraction: float = 0.15,
        *,
        num_masks: int = 2,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.time_fraction = time_fraction
        self.frequency_fraction = frequency_fraction
        self.num_masks = num_masks
        self._generator = keras.random.SeedGenerator(seed)

    def call(self, features, mask=None, training=False):
        """Return `features` `(batch, frames, bands, ...)` with bands of zeros in training.

        Args:
            features: the spectrograms.
            mask: bool `(batch, frames)`, which frames belong to the clip; all where it is None.
            training: whether to mask anything.
        """
        if not training:
            return features
        batch, frames, bands = ops.shape(features)[:3]
        lengths = frames if mask is None else ops.sum(ops.cast(mask, "float32"), axis=1, keepdims=True)
        tail = (1,) * (len(features.shape) - 3)
        for _ in range(self.num_masks):
            time = self._keep(batch, frames, lengths, self.time_fraction)
            frequency = self._keep(batch, bands, bands, self.frequency_fraction)
            features = features * ops.cast(ops.reshape(time, (batch, frames, 1, *tail)), features.dtype)
            features = features * ops.cast(ops.reshape(frequency, (batch, 1, bands, *tail)), features.dtype)
        return features

    def _keep(self, batch, size, length, fraction):
        """Return bool `(batch, size)`: False in one random stretch of at most `fraction` of the first `length`."""
        length = ops.cast(length, "float32")
        width = self._uniform(batch) * fraction * length
        start = self._uniform(batch) * (length - width)
        position = ops.cast(ops.arange(size), "float32")[None, :]
        return ops.logical_or(position < start, position >= start + width)

    def _uniform(self, batch):
        return keras.random.uniform((batch, 1), dtype="float32", seed=self._generator)


def mix_up(data: tuple, alpha: float, seed) -> tuple:
    """Mix each clip of a batch with its neighbour, and their labels and weights alike; it needs TensorFlow.

    After Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018, on waveforms or encoded clips. The longer of
    the two lengths becomes that of the mixture.

    Args:
        data: ``(inputs, one-hot labels)``, with optional weights `(batch,)` of the clips. The inputs are a dictionary
            of `waveform` and `num_samples`, or of what an encoder gives of them, with a mask.
        alpha: both parameters of the Beta distribution of the mixing weights.
        seed: two integers; the same ones give the same mixing weights.

    Returns:
        The mixed inputs, labels and weights; None for weights that were not given.
    """
    import tensorflow as tf

    inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
    gamma = tf.random.stateless_gamma([2, tf.shape(labels)[0]], seed, alpha)
    beta = tf.math.divide_no_nan(gamma[1], gamma[0] + gamma[1])  # (batch,), Beta(alpha, alpha)

    def mix(values):
        own = tf.cast(tf.reshape(beta, [-1] + [1] * (len(values.shape) - 1)), values.dtype)
        return values + own * (tf.roll(values, 1, axis=0) - values)

    def longer(values):
        neighbours = tf.roll(values, 1, axis=0)
        return values | neighbours if values.dtype == tf.bool else tf.maximum(values, neighbours)

    mixed = {name: mix(each) if each.dtype.is_floating else longer(each) for name, each in inputs.items()}
    return mixed, mix(labels), None if weights is None else mix(weights)
