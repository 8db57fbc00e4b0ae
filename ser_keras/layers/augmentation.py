"""What disturbs the recordings in training, and does nothing otherwise.

Every layer here takes log-mel spectrograms `(batch, frames, mels)` in dB, draws anew for each clip of each
batch, and gives each clip back as it was outside training.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

_NEPERS = np.log(10) / 10
"""Natural logarithm of a power ratio of 1 dB."""


class _Disturbance(keras.layers.Layer):
    """A layer that changes its input in training only, and never its shape.

    Args:
        seed: integer, for repeatable draws.
        **settings: plain numbers that `get_config` gives back; they become attributes.
    """

    def __init__(self, *, seed: int | None, name: str | None = None, dtype=None, trainable=True, **settings):
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        self._settings = {**settings, "seed": seed}
        for setting, value in settings.items():
            setattr(self, setting, value)
        self._generator = keras.random.SeedGenerator(seed)

    def _uniform(self, shape, low=0.0, high=1.0):
        return keras.random.uniform(shape, low, high, dtype="float32", seed=self._generator)

    def compute_output_shape(self, input_shape, *_):
        """Return the shape of the input."""
        return input_shape

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), **self._settings}


@keras.saving.register_keras_serializable(package="ser_keras")
class RandomFilter(_Disturbance):
    """Colour each clip as another microphone or room would, in training only.

    Adds a smooth random curve over the bands, the same in every frame: FilterAugment (Nam, Kim & Park, 2022) in its
    linear form, with knots that are evenly spaced over the bands and drawn from a normal distribution.

    Args:
        db: standard deviation of the curve at its knots, in dB.
        knots: number of them, 2 or more; the curve is linear between two.
        seed: integer, for repeatable draws.

    Example:
        >>> coloured = RandomFilter(3.0, seed=1)(np.zeros((1, 50, 40)), training=True).numpy()
        >>> bool(np.ptp(coloured, axis=1).max() == 0), bool(np.ptp(coloured, axis=2).min() > 0)
        (True, True)
    """

    def __init__(self, db: float = 3.0, knots: int = 6, *, seed: int | None = None, **kwargs):
        super().__init__(db=db, knots=knots, seed=seed, **kwargs)

    def call(self, log_mel, training=False):
        """Return `log_mel` `(batch, frames, mels)` in dB, coloured in training."""
        if not training:
            return log_mel
        batch, _, bands = ops.shape(log_mel)
        levels = keras.random.normal((batch, self.knots), stddev=self.db, dtype="float32", seed=self._generator)
        position = np.linspace(0, self.knots - 1, bands, dtype=np.float32)
        share = np.maximum(1 - np.abs(position - np.arange(self.knots, dtype=np.float32)[:, None]), 0)  # (knots, mels)
        return log_mel + ops.cast(ops.matmul(levels, share)[:, None], log_mel.dtype)


@keras.saving.register_keras_serializable(package="ser_keras")
class RandomNoise(_Disturbance):
    """Add stationary noise of random level and slope to some clips, in training only.

    The powers of speech and noise are added band by band, so that quiet parts drown and loud ones stay, as in a
    room with a fan. The level is drawn against the loudest band of the clip.

    Args:
        probability: part of the clips that get noise, 0 to 1.
        min_snr: least distance of the noise from the loudest value of the clip, in dB.
        max_snr: largest distance, in dB.
        max_slope: the noise falls or rises from the lowest band to the highest by at most this, in dB.
        seed: integer, for repeatable draws.

    Example:
        >>> clip = np.full((1, 50, 40), -80.0, "float32")
        >>> clip[:, 20:30] = 0.0
        >>> noisy = RandomNoise(1.0, seed=1)(clip, training=True).numpy()
        >>> bool(noisy[0, 0].min() > -80), bool(abs(noisy[0, 25]).max() < 1)
        (True, True)
    """

    def __init__(
        self,
        probability: float = 0.5,
        min_snr: float = 20.0,
        max_snr: float = 70.0,
        *,
        max_slope: float = 15.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(
            probability=probability, min_snr=min_snr, max_snr=max_snr, max_slope=max_slope, seed=seed, **kwargs
        )

    def call(self, log_mel, training=False):
        """Return `log_mel` `(batch, frames, mels)` in dB, with noise in training."""
        if not training:
            return log_mel
        one_each = (ops.shape(log_mel)[0], 1, 1)
        loudest = ops.max(log_mel, axis=(1, 2), keepdims=True)
        slope = self._uniform(one_each, -self.max_slope, self.max_slope) * np.linspace(
            -0.5, 0.5, log_mel.shape[2], dtype=np.float32
        )
        noise = loudest - self._uniform(one_each, self.min_snr, self.max_snr) + slope
        noisy = ops.logaddexp(log_mel * _NEPERS, noise * _NEPERS) / _NEPERS
        return ops.where(self._uniform(one_each) < self.probability, noisy, log_mel)


@keras.saving.register_keras_serializable(package="ser_keras")
class RandomRoom(_Disturbance):
    """Let some clips decay as in a room, in training only.

    Each band's power is followed by an exponential tail, the diffuse part of a room's answer (Lebart, Boucher &
    Denbigh, 2001), with a random reverberation time and a random ratio of direct to reverberant energy.

    Args:
        probability: part of the clips that are put into a room, 0 to 1.
        max_seconds: longest time in which the tail falls by 60 dB.
        min_ratio: least ratio of direct to reverberant energy, in dB; the largest is 20 dB above it.
        frames_per_second: frames in a second of the spectrogram, in Hz.
        seed: integer, for repeatable draws.
    """

    def __init__(
        self,
        probability: float = 0.5,
        max_seconds: float = 0.8,
        min_ratio: float = 0.0,
        *,
        frames_per_second: float = 50.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(
            probability=probability,
            max_seconds=max_seconds,
            min_ratio=min_ratio,
            frames_per_second=frames_per_second,
            seed=seed,
            **kwargs,
        )

    def call(self, log_mel, training=False):
        """Return `log_mel` `(batch, frames, mels)` in dB, with tails in training."""
        if not training:
            return log_mel
        batch, frames = ops.shape(log_mel)[:2]
        one_each = (batch, 1, 1)
        decay = 6 * np.log(10) / (self._uniform(one_each, 0.1, 1.0) * self.max_seconds * self.frames_per_second)
        position = ops.cast(ops.arange(frames), "float32")
        age = position[:, None] - position[None, :]  # (frames, frames): how long ago, in frames
        tail = ops.where(age > 0, ops.exp(-decay * ops.maximum(age, 0.0)), 0.0)
        ratio = self._uniform(one_each, self.min_ratio, self.min_ratio + 20.0)
        share = ops.exp(-ratio * _NEPERS) * ops.expm1(decay)  # the sum of a whole tail is 1 / expm1(decay)
        power = ops.exp(log_mel * _NEPERS)
        reverberant = ops.log(power + share * ops.matmul(tail, power)) / _NEPERS
        return ops.where(self._uniform(one_each) < self.probability, reverberant, log_mel)


@keras.saving.register_keras_serializable(package="ser_keras")
class RandomWarp(_Disturbance):
    """Move the bands and stretch the time of each clip at random, in training only.

    Moved bands are another vocal tract and pitch (Jaitly & Hinton, "Vocal Tract Length Perturbation", 2013),
    stretched time is another pace; both values lie between those of their neighbours. What a slower clip has too
    much at its end is cut off.

    Args:
        bands: bands move up or down by at most this part of their number from the lowest, 0 to 1.
        time: the clip becomes faster or slower by at most this part, 0 to 1.
        seed: integer, for repeatable draws.

    Example:
        >>> clip, mask = np.zeros((1, 100, 40), "float32"), np.ones((1, 100), bool)
        >>> warped, mask = RandomWarp(0.1, 0.2, seed=1)(clip, mask, training=True)
        >>> warped.shape, bool(80 <= mask.numpy().sum() <= 100)
        (TensorShape([1, 100, 40]), True)
    """

    def __init__(self, bands: float = 0.1, time: float = 0.15, *, seed: int | None = None, **kwargs):
        super().__init__(bands=bands, time=time, seed=seed, **kwargs)

    def call(self, log_mel, mask, training=False):
        """Return `log_mel` `(batch, frames, mels)` and its `mask` `(batch, frames)`, warped in training."""
        if not training:
            return log_mel, mask
        batch, frames, bands = ops.shape(log_mel)
        factor = 1 + self._uniform((batch, 1), -self.bands, self.bands)
        from_bands = _interpolation(factor, bands, ops.cast(bands, "float32"))  # (batch, bands, bands)
        length = ops.sum(ops.cast(mask, "float32"), axis=1, keepdims=True)
        pace = 1 + self._uniform((batch, 1), -self.time, self.time)
        from_frames = _interpolation(pace, frames, length)  # (batch, frames, frames)
        warped = ops.matmul(from_frames, ops.matmul(log_mel, ops.transpose(from_bands, (0, 2, 1))))
        position = ops.cast(ops.arange(frames), "float32")[None] * pace
        return warped, position <= length - 1

    def compute_output_shape(self, log_mel_shape, mask_shape):
        """Return the shapes of the inputs."""
        return log_mel_shape, mask_shape

    def compute_output_spec(self, log_mel, mask, training=False):
        """Return the specs of the inputs."""
        return keras.KerasTensor(log_mel.shape, log_mel.dtype), keras.KerasTensor(mask.shape, "bool")


def _interpolation(factor, size, length):
    """Return `(batch, size, size)`: rows that take position i from between the positions around `factor` * i."""
    position = ops.cast(ops.arange(size), "float32")
    source = ops.minimum(position[None] * factor, length - 1)  # (batch, size)
    return ops.relu(1 - ops.abs(source[:, :, None] - position[None, None, :]))


@keras.saving.register_keras_serializable(package="ser_keras")
class SpecAugment(_Disturbance):
    """Set random bands of time and of frequency to zero, in training only.

    After Park et al., "SpecAugment", 2019, without the time warp. The input should be normalised, so
    that zero is its mean.

    Args:
        time_fraction: each time mask covers at most this part of a clip's frames, 0 to 1.
        frequency_fraction: each frequency mask covers at most this part of the bands, 0 to 1.
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
        super().__init__(
            time_fraction=time_fraction,
            frequency_fraction=frequency_fraction,
            num_masks=num_masks,
            seed=seed,
            **kwargs,
        )

    def call(self, features, mask=None, training=False):
        """Return `features` `(batch, frames, bands, ...)` with bands of zeros in training.

        Args:
            features: the spectrograms.
            mask: bool `(batch, frames)`, which frames are the clip's; all where it is None.
            training: whether to hide anything.
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
        """Return bool `(batch, size)`: False in one random band a row of at most `fraction` of its first `length`."""
        length = ops.cast(length, "float32")
        width = self._uniform((batch, 1), 0.0, fraction) * length
        start = self._uniform((batch, 1)) * (length - width)
        position = ops.cast(ops.arange(size), "float32")[None, :]
        return ops.logical_or(position < start, position >= start + width)


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
