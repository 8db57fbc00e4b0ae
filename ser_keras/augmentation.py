"""What disturbs the recordings in training, and does nothing otherwise."""

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="ser_keras")
class RandomGain(keras.layers.Layer):
    """Make each clip louder or softer by a random gain, in training only.

    Adds one number in dB to every value of a log-mel spectrogram, so that the loudness of a recording
    says less than its shape.

    Args:
        max_db: the gain is drawn evenly from ``[-max_db, max_db]``.
        seed: integer, for repeatable draws.

    Example:
        >>> import numpy as np
        >>> float(RandomGain(6.0)(np.zeros((1, 2, 3)), training=False).numpy().max())
        0.0
    """

    def __init__(self, max_db: float = 6.0, *, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.max_db = max_db
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)

    def call(self, log_mel, training=False):
        """Return `log_mel` `(batch, frames, mels)` in dB, shifted in training."""
        if not training:
            return log_mel
        shape = (ops.shape(log_mel)[0], 1, 1)
        gain = keras.random.uniform(shape, -self.max_db, self.max_db, seed=self._generator)
        return log_mel + ops.cast(gain, log_mel.dtype)

    def compute_output_shape(self, input_shape):
        """Return the shape of the input."""
        return input_shape

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "max_db": self.max_db, "seed": self.seed}


@keras.saving.register_keras_serializable(package="ser_keras")
class SpecAugment(keras.layers.Layer):
    """Set random bands of time and of frequency to zero, in training only.

    After Park et al., "SpecAugment", 2019, without the time warp. The input should be normalised, so
    that zero is its mean.

    Args:
        time_fraction: each time mask covers at most this part of the frames, 0 to 1.
        frequency_fraction: each frequency mask covers at most this part of the bands, 0 to 1.
        num_masks: masks of either kind on each clip.
        seed: integer, for repeatable draws.

    Example:
        >>> import numpy as np
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
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)

    def call(self, features, training=False):
        """Return `features` `(batch, frames, bands, ...)` with bands of zeros in training."""
        if not training:
            return features
        batch, frames, bands = ops.shape(features)[:3]
        tail = (1,) * (len(features.shape) - 3)
        for _ in range(self.num_masks):
            time = self._keep(batch, frames, self.time_fraction)
            frequency = self._keep(batch, bands, self.frequency_fraction)
            features = features * ops.cast(ops.reshape(time, (batch, frames, 1, *tail)), features.dtype)
            features = features * ops.cast(ops.reshape(frequency, (batch, 1, bands, *tail)), features.dtype)
        return features

    def _keep(self, batch, size, fraction):
        """Return bool `(batch, size)`: False in one random band a row of at most `fraction` of it."""
        length = ops.cast(size, "float32")
        width = keras.random.uniform((batch, 1), 0.0, fraction, seed=self._generator) * length
        start = keras.random.uniform((batch, 1), seed=self._generator) * (length - width)
        position = ops.cast(ops.arange(size), "float32")[None, :]
        return ops.logical_or(position < start, position >= start + width)

    def compute_output_shape(self, input_shape):
        """Return the shape of the input."""
        return input_shape

    def get_config(self):
        """Return the arguments of the constructor."""
        return {
            **super().get_config(),
            "time_fraction": self.time_fraction,
            "frequency_fraction": self.frequency_fraction,
            "num_masks": self.num_masks,
            "seed": self.seed,
        }


def mix_up(data: tuple, alpha: float, seed: tf.Tensor) -> tuple:
    """Mix each clip of a batch with its neighbour, and their labels and weights alike.

    After Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018, on waveforms. The longer of
    the two lengths becomes that of the mixture.

    Args:
        data: ``({"waveform", "num_samples"}, one-hot labels)``, perhaps with weights `(batch,)` of the clips.
        alpha: both parameters of the Beta distribution from which each clip's share is drawn.
        seed: two integers; the same ones give the same shares.

    Returns:
        The mixed inputs, labels and weights; None for weights that were not given.
    """
    inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
    gamma = tf.random.stateless_gamma([2, tf.shape(labels)[0]], seed, alpha)
    share = tf.math.divide_no_nan(gamma[1], gamma[0] + gamma[1])  # (batch,), Beta(alpha, alpha)

    def mix(values):
        own = tf.cast(tf.reshape(share, [-1] + [1] * (len(values.shape) - 1)), values.dtype)
        return values + own * (tf.roll(values, 1, axis=0) - values)

    lengths = inputs["num_samples"]
    mixed = {"waveform": mix(inputs["waveform"]), "num_samples": tf.maximum(lengths, tf.roll(lengths, 1, axis=0))}
    return mixed, mix(labels), None if weights is None else mix(weights)
