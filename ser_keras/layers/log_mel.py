"""The log-mel spectrogram: the only definition of the features, and the first layer of every model."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ser_keras.config import AudioConfig
from ser_keras.errors import InputError

_LEAST_POWER = 1e-20
"""Softer clips are not brought up: -200 dB of full scale is below any recording."""


@keras.saving.register_keras_serializable(package="ser_keras")
class LogMelSpectrogram(keras.layers.Layer):
    """Log-mel spectrogram of zero-padded waveforms, in decibels.

    A front end for any model on audio: it is part of the graph, so that training and serving cannot
    differ. Frame ``t`` is centred on sample ``t * frame_step`` of the clip, which is extended by zeros
    on both sides; a Hann window of `frame_length` samples is followed by the power spectrum, triangular
    mel filters and ``10 * log10(power + log_offset)``. No value depends on another clip, on the padding
    behind `num_samples` or on the loudest moment of the clip.

    The numbers are those of `librosa.feature.melspectrogram` with ``center=True``,
    ``pad_mode="constant"``, ``htk=False`` and ``norm="slaney"`` (mel scale and filters of equal area as
    in Slaney, Auditory Toolbox, 1998). They are float32 whatever the precision policy, as float16
    costs more than 1 dB, and whatever `tf.config.experimental.enable_tensor_float_32_execution` says: the
    product with the filters is taken in float64, which a GPU does not round to TF32.

    Args:
        sample_rate: in Hz.
        frame_length: length of the window, in samples.
        frame_step: distance between two frames, in samples.
        fft_length: size of the transform, in samples; even, at least `frame_length`.
        num_mel_bins: number of mel bands.
        min_hz: lower edge of the lowest band, in Hz.
        max_hz: upper edge of the highest band, in Hz.
        log_offset: added to the mel power before the logarithm.
        fourier: how the spectrum is computed: "fft", or "convolution" with a cosine and a sine for each
            bin, the same to 1e-3 dB on a CPU, which runs where there is no FFT (ONNX) and takes longer.

    Raises:
        InputError: the recipe cannot work, or `fourier` is neither.

    Example:
        >>> layer = LogMelSpectrogram(num_mel_bins=64)
        >>> layer(np.zeros((2, 16000), "float32"), np.array([16000, 8000])).shape
        TensorShape([2, 51, 64])
    """

    def __init__(
        self,
        *,
        sample_rate: int = AudioConfig.sample_rate,
        frame_length: int = AudioConfig.frame_length,
        frame_step: int = AudioConfig.frame_step,
        fft_length: int = AudioConfig.fft_length,
        num_mel_bins: int = AudioConfig.num_mel_bins,
        min_hz: float = AudioConfig.min_hz,
        max_hz: float = AudioConfig.max_hz,
        log_offset: float = AudioConfig.log_offset,
        fourier: str = "fft",
        **kwargs,
    ):
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})
        self.recipe = AudioConfig(
            sample_rate=sample_rate,
            frame_length=frame_length,
            frame_step=frame_step,
            fft_length=fft_length,
            num_mel_bins=num_mel_bins,
            min_hz=min_hz,
            max_hz=max_hz,
            log_offset=log_offset,
        )
        if fourier not in _POWER:
            raise InputError(f"fourier={fourier!r}: expected {' or '.join(_POWER)}")
        self.fourier = fourier
        self._window = _centred_hann(self.recipe)
        self._mel_weights = _mel_filters(self.recipe)

    def call(self, waveform, num_samples):
        """Compute the spectrogram.

        Args:
            waveform: float32 `(batch, samples)`, full scale is [-1, 1].
            num_samples: integer `(batch,)`, true length of each clip; what lies behind it is ignored.

        Returns:
            float32 `(batch, 1 + samples // frame_step, num_mel_bins)`, in dB; of these the first
            ``1 + num_samples // frame_step`` belong to the clip (see `FrameMask`).
        """
        return self._log_mel(waveform, num_samples, self._window, self._mel_weights, self.recipe.log_offset)

    def _log_mel(self, waveform, num_samples, window, mel_weights, log_offset):
        inside = tf.sequence_mask(num_samples, tf.shape(waveform)[1])
        waveform = tf.where(inside, tf.cast(waveform, tf.float32), 0.0)
        power = _POWER[self.fourier](waveform, window, self.recipe)  # (batch, frames, fft_length / 2 + 1)
        mel = self._multiply(power, mel_weights)  # (batch, frames, mels)
        return _to_decibels(mel + log_offset)

    def _multiply(self, power, mel_weights):
        product = tf.matmul(tf.cast(power, tf.float64), tf.cast(mel_weights, tf.float64))
        return tf.cast(product, tf.float32)

    def compute_output_shape(self, waveform_shape, num_samples_shape=None):
        """Return `(batch, frames, mels)`; the frames are None where the samples are."""
        samples = waveform_shape[1]
        frames = None if samples is None else 1 + samples // self.recipe.frame_step
        return (waveform_shape[0], frames, self.recipe.num_mel_bins)

    def get_config(self):
        """Return the arguments of the constructor."""
        recipe = self.recipe.to_dict()
        return {**super().get_config(), **recipe, "fourier": self.fourier}


@keras.saving.register_keras_serializable(package="ser_keras")
class LevelNormalization(keras.layers.Layer):
    """Brings the speech of every clip to one level, so that no feature depends on the distance to the microphone.

    The waveform is scaled so that its active blocks have a root mean square of `rms`. A block is active where
    its power is at most `range_db` below that of the loudest block, as in the active speech level of ITU-T
    P.56, which measures speech without its pauses in a similar way. No value depends on padding or on other clips.

    Args:
        block_length: length of a block, in samples.
        rms: level that is given to every clip; full scale is 1.
        range_db: how far an active block may be below the loudest, in dB.

    Example:
        >>> tone = np.sin(np.arange(16_000) / 5)[None].astype("float32")
        >>> soft, loud = (LevelNormalization()(gain * tone, np.array([16_000])) for gain in (0.001, 0.9))
        >>> bool(np.allclose(soft, loud, atol=1e-5)), float(np.sqrt(np.mean(np.square(loud)))).__round__(2)
        (True, 0.1)
    """

    def __init__(
        self, block_length: int = AudioConfig.frame_step, *, rms: float = 0.1, range_db: float = 30.0, **kwargs
    ):
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})
        self.block_length = block_length
        self.rms = rms
        self.range_db = range_db

    def call(self, waveform, num_samples):
        """Return the scaled waveform `(batch, samples)`, with zeros behind `num_samples` `(batch,)`."""
        waveform = ops.cast(waveform, "float32")
        batch, samples = ops.shape(waveform)
        inside = ops.arange(samples) < ops.cast(num_samples, "int32")[:, None]
        waveform = ops.where(inside, waveform, 0.0)
        num_blocks = 1 + samples // self.block_length  # one or more, also of no sample
        blocks = ops.pad(waveform, [[0, 0], [0, num_blocks * self.block_length - samples]])
        blocks = ops.reshape(blocks, (batch, num_blocks, self.block_length))
        power = ops.mean(ops.square(blocks), axis=-1)  # (batch, blocks)
        loudest = ops.max(power, axis=1, keepdims=True)
        active = ops.cast(power >= loudest * 10 ** (-self.range_db / 10), "float32")
        level = ops.sum(power * active, axis=1, keepdims=True) / ops.sum(active, axis=1, keepdims=True)
        return waveform * (self.rms * ops.rsqrt(ops.maximum(level, _LEAST_POWER)))

    def compute_output_shape(self, waveform_shape, num_samples_shape=None):
        """Return the shape of the waveform."""
        return waveform_shape

    def get_config(self):
        """Return the arguments of the constructor."""
        about = {"block_length": self.block_length, "rms": self.rms, "range_db": self.range_db}
        return {**super().get_config(), **about}


@keras.saving.register_keras_serializable(package="ser_keras")
class FrameMask(keras.layers.Layer):
    """Which frames of a batch of spectrograms belong to their clip.

    Args:
        frame_step: distance between two frames, in samples.

    Example:
        >>> FrameMask(160)(np.zeros((1, 4, 64)), np.array([320])).numpy()
        array([[ True,  True,  True, False]])
    """

    def __init__(self, frame_step: int = AudioConfig.frame_step, **kwargs):
        super().__init__(**kwargs)
        self.frame_step = frame_step

    def call(self, spectrogram, num_samples):
        """Return bool `(batch, frames)` for `(batch, frames, ...)` and lengths `(batch,)` in samples."""
        num_frames = 1 + tf.maximum(tf.cast(num_samples, tf.int32), 0) // self.frame_step
        return tf.sequence_mask(num_frames, tf.shape(spectrogram)[1])

    def compute_output_spec(self, spectrogram, num_samples):
        """Return the spec of a bool tensor `(batch, frames)`."""
        return keras.KerasTensor(spectrogram.shape[:2], dtype="bool")

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "frame_step": self.frame_step}


def _power_by_fft(waveform: tf.Tensor, window, recipe: AudioConfig) -> tf.Tensor:
    spectrum = tf.signal.rfft(_frames(waveform, recipe) * window)
    return tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))


def _frames(waveform: tf.Tensor, recipe: AudioConfig) -> tf.Tensor:
    """Return what each frame hears, `(batch, frames, fft_length)`.

    The waveform is laid out in rows of one step, and a frame is some rows side by side: whole rows are copied, where
    `tf.signal.frame` gathers them piece by piece.
    """
    length, step = recipe.fft_length, recipe.frame_step
    batch, samples = tf.unstack(tf.shape(waveform))
    num_frames, rows_per_frame = 1 + samples // step, -(-length // step)
    num_rows = num_frames + rows_per_frame
    padded = tf.pad(waveform, [[0, 0], [length // 2, num_rows * step - length // 2 - samples]])
    rows = tf.reshape(padded, [batch, num_rows, step])
    parts = [rows[:, row : row + num_frames, : length - row * step] for row in range(rows_per_frame)]
    return tf.concat(parts, axis=-1)


def _power_by_convolution(waveform: tf.Tensor, window: np.ndarray, recipe: AudioConfig) -> tf.Tensor:
    """Frame, window and transform in one step; the zeros beside the window are left out."""
    start = (recipe.fft_length - recipe.frame_length) // 2
    before = recipe.fft_length // 2 - start
    padded = tf.pad(waveform, [[0, 0], [before, recipe.frame_length - before]])
    sample = np.arange(start, start + recipe.frame_length)[:, None]
    phase = 2 * np.pi * sample * np.arange(recipe.fft_length // 2 + 1) / recipe.fft_length
    kernels = window[sample] * np.concatenate([np.cos(phase), np.sin(phase)], axis=1)  # (frame_length, 2 * bins)
    kernels = tf.constant(kernels[:, None], tf.float32)
    spectrum = tf.nn.conv1d(tf.expand_dims(padded, -1), kernels, recipe.frame_step, "VALID")
    real, imaginary = tf.split(tf.square(spectrum), 2, axis=-1)
    return real + imaginary


_POWER = {"fft": _power_by_fft, "convolution": _power_by_convolution}


def _to_decibels(power: tf.Tensor) -> tf.Tensor:
    return tf.math.log(power) * (10.0 / np.log(10.0))


def _centred_hann(recipe: AudioConfig) -> np.ndarray:
    """Return a periodic Hann window in the middle of `fft_length` samples, as librosa places it."""
    window = np.zeros(recipe.fft_length, np.float32)
    start = (recipe.fft_length - recipe.frame_length) // 2
    phase = 2 * np.pi * np.arange(recipe.frame_length) / recipe.frame_length
    window[start : start + recipe.frame_length] = 0.5 - 0.5 * np.cos(phase)
    return window


def _mel_filters(recipe: AudioConfig) -> np.ndarray:
    """Return the mel filters as a matrix `(fft_length / 2 + 1, num_mel_bins)`."""
    import librosa.filters  # here, because it takes a second and only the building of a layer needs it

    return librosa.filters.mel(
        sr=recipe.sample_rate,
        n_fft=recipe.fft_length,
        n_mels=recipe.num_mel_bins,
        fmin=recipe.min_hz,
        fmax=recipe.max_hz,
        htk=False,
        norm="slaney",
        dtype=np.float32,
    ).T
