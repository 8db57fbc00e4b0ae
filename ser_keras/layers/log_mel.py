"""The log-mel spectrogram: the only definition of the features, and the first layer of every model."""

import keras
import numpy as np
from keras import ops

from ser_keras.config import AudioConfig
from ser_keras.errors import InputError
from ser_keras.layers.masking import sequence_mask

_LEAST_POWER = 1e-20
"""Quieter clips are not amplified: -200 dB of full scale is below any recording."""

_PRODUCT_DTYPE = "float32" if keras.config.backend() == "jax" else "float64"
"""Of the product with the mel filters; JAX has no float64 unless it is switched on."""


@keras.saving.register_keras_serializable(package="ser_keras")
class LogMelSpectrogram(keras.layers.Layer):
    """Log-mel spectrogram of zero-padded waveforms, in decibels.

    A front end for any model on audio: it is part of the graph, so that training and serving cannot
    differ. Frame ``t`` is centred on sample ``t * frame_step`` of the clip, which is extended by zeros
    at both ends; a Hann window of `frame_length` samples is followed by the power spectrum, triangular
    mel filters and ``10 * log10(power + log_offset)``. No value depends on another clip, on the padding
    behind `num_samples` or on the loudest moment of the clip.

    The numbers are those of `librosa.feature.melspectrogram` with ``center=True``,
    ``pad_mode="constant"``, ``htk=False`` and ``norm="slaney"`` (mel scale and filters of equal area as
    in Slaney, Auditory Toolbox, 1998). They are float32 whatever the precision policy, as float16
    costs more than 1 dB. With TensorFlow the product with the filters is computed in float64, which a GPU does not
    round to TF32; with JAX on a GPU, set ``jax_default_matmul_precision`` to ``"float32"``.

    Args:
        fourier: how the spectrum is computed: "fft", or "convolution" with a cosine and a sine for each
            bin, which is equal to 1e-3 dB on a CPU, runs where there is no FFT (ONNX) and takes longer.
        name: as in `keras.layers.Layer`.
        trainable: as in `keras.layers.Layer`; there is no weight.
        dtype: ignored.
        **recipe: fields of `ser_keras.config.AudioConfig`, such as ``num_mel_bins=64``.

    Raises:
        InputError: the recipe is invalid or has an unknown field, or `fourier` is neither.

    Example:
        >>> layer = LogMelSpectrogram(num_mel_bins=64)
        >>> layer(np.zeros((2, 16000), "float32"), np.array([16000, 8000])).shape
        TensorShape([2, 51, 64])
    """

    def __init__(self, *, fourier: str = "fft", name: str | None = None, trainable: bool = True, dtype=None, **recipe):
        super().__init__(name=name, trainable=trainable, dtype="float32", autocast=False)
        self.recipe = AudioConfig().replace(**recipe)
        if fourier not in _POWER:
            raise InputError(f"fourier={fourier!r}: expected {' or '.join(_POWER)}")
        self.fourier = fourier
        self._window = _centred_hann(self.recipe)
        self._mel_weights = _mel_filters(self.recipe)

    def call(self, waveform, num_samples):
        """Compute the spectrogram.

        Args:
            waveform: float32 `(batch, samples)`, full scale is [-1, 1].
            num_samples: integer `(batch,)`, true length of each clip; later samples are ignored.

        Returns:
            float32 `(batch, 1 + samples // frame_step, num_mel_bins)`, in dB; of these the first
            ``1 + num_samples // frame_step`` belong to the clip (see `FrameMask`).
        """
        return self._log_mel(waveform, num_samples, self._window, self._mel_weights, self.recipe.log_offset)

    def _log_mel(self, waveform, num_samples, window, mel_weights, log_offset):
        waveform = _without_padding(waveform, num_samples)
        power = _POWER[self.fourier](waveform, window, self.recipe)  # (batch, frames, fft_length / 2 + 1)
        mel = self._multiply(power, mel_weights)  # (batch, frames, mels)
        return ops.log(mel + log_offset) * (10.0 / np.log(10.0))

    def _multiply(self, power, mel_weights):
        product = ops.matmul(ops.cast(power, _PRODUCT_DTYPE), ops.cast(mel_weights, _PRODUCT_DTYPE))
        return ops.cast(product, "float32")

    def compute_output_shape(self, waveform_shape, num_samples_shape=None):
        """Return `(batch, frames, mels)`; the frames are None where the samples are."""
        samples = waveform_shape[1]
        frames = None if samples is None else 1 + samples // self.recipe.frame_step
        return (waveform_shape[0], frames, self.recipe.num_mel_bins)

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), **self.recipe.to_dict(), "fourier": self.fourier}


@keras.saving.register_keras_serializable(package="ser_keras")
class LevelNormalization(keras.layers.Layer):
    """Scales every clip to one level of speech, so that no feature depends on the distance to the microphone.

    The waveform is scaled so that its active blocks have a root mean square of `rms`. A block is active where
    its power is at most `range_db` below that of the loudest block, as in the active speech level of ITU-T
    P.56, which measures speech without its pauses in a similar way. No value depends on padding or on other clips.

    Args:
        block_length: length of a block, in samples.
        rms: level of every clip; full scale is 1.
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
        waveform = _without_padding(waveform, num_samples)
        batch, samples = ops.shape(waveform)
        num_blocks = 1 + samples // self.block_length  # at least one, also for an empty waveform
        blocks = ops.pad(waveform, [[0, 0], [0, num_blocks * self.block_length - samples]])
        blocks = ops.reshape(blocks, (batch, num_blocks, self.block_length))
        power = ops.mean(ops.square(blocks), axis=-1)  # (batch, blocks)
        loudest = ops.max(power, axis=1, keepdims=True)
        active = ops.cast(power >= loudest * 10 ** (-self.range_db / 10), "float32")
        level = ops.sum(power * active, axis=1, keepdims=True) / ops.sum(active, axis=1, keepdims=True)
        return waveform * (self.rms * ops.rsqrt(ops.maximum(level, _LEAST_POWER)))


@keras.saving.register_keras_serializable(package="ser_keras")
class FrameMask(keras.layers.Layer):
    """Marks the frames of a batch of spectrograms that belong to their clip.

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
        num_frames = 1 + ops.maximum(ops.cast(num_samples, "int32"), 0) // self.frame_step
        return sequence_mask(num_frames, ops.shape(spectrogram)[1])


def _without_padding(waveform, num_samples):
    """Return float32 `(batch, samples)` with zeros behind `num_samples`, also in place of NaN."""
    return ops.where(sequence_mask(num_samples, ops.shape(waveform)[1]), ops.cast(waveform, "float32"), 0.0)


def _power_by_fft(waveform, window, recipe: AudioConfig):
    real, imaginary = ops.rfft(_frames(waveform, recipe) * window)
    return ops.square(real) + ops.square(imaginary)


def _frames(waveform, recipe: AudioConfig):
    """Return the samples of each frame, `(batch, frames, fft_length)`.

    The waveform is reshaped to rows of one step, and a frame is several rows in sequence: whole rows are copied, where
    `tf.signal.frame` and `keras.ops.extract_sequences` gather single samples.
    """
    length, step = recipe.fft_length, recipe.frame_step
    batch, samples = ops.shape(waveform)
    num_frames, rows_per_frame = 1 + samples // step, -(-length // step)
    num_rows = num_frames + rows_per_frame
    padded = ops.pad(waveform, [[0, 0], [length // 2, num_rows * step - length // 2 - samples]])
    rows = ops.reshape(padded, (batch, num_rows, step))
    parts = [rows[:, row : row + num_frames, : length - row * step] for row in range(rows_per_frame)]
    return ops.concatenate(parts, axis=-1)


def _power_by_convolution(waveform, window, recipe: AudioConfig):
    """Frame, window and transform in one step; the zeros beside the window are skipped."""
    start = (recipe.fft_length - recipe.frame_length) // 2
    before = recipe.fft_length // 2 - start
    padded = ops.pad(waveform, [[0, 0], [before, recipe.frame_length - before]])
    sample = np.arange(start, start + recipe.frame_length)[:, None, None]
    phase = 2 * np.pi * sample * np.arange(recipe.fft_length // 2 + 1) / recipe.fft_length
    waves = np.concatenate([np.cos(phase), np.sin(phase)], axis=2).astype(np.float32)  # (frame_length, 1, 2 * bins)
    kernels = ops.reshape(window[start : start + recipe.frame_length], (-1, 1, 1)) * waves
    spectrum = ops.conv(ops.expand_dims(padded, -1), kernels, strides=recipe.frame_step, padding="valid")
    real, imaginary = ops.split(ops.square(spectrum), 2, axis=-1)
    return real + imaginary


_POWER = {"fft": _power_by_fft, "convolution": _power_by_convolution}


def _centred_hann(recipe: AudioConfig) -> np.ndarray:
    """Return a periodic Hann window in the middle of `fft_length` samples, as librosa places it."""
    window = np.zeros(recipe.fft_length, np.float32)
    start = (recipe.fft_length - recipe.frame_length) // 2
    phase = 2 * np.pi * np.arange(recipe.frame_length) / recipe.frame_length
    window[start : start + recipe.frame_length] = 0.5 - 0.5 * np.cos(phase)
    return window


def _mel_filters(recipe: AudioConfig) -> np.ndarray:
    """Return the mel filters as a matrix `(fft_length / 2 + 1, num_mel_bins)`."""
    import librosa.filters  # not at the top: it takes a second, and only new layers need it

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
