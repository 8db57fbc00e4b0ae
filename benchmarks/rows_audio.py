"""Rows on one core: from bytes to a waveform, from a waveform to the log-mel spectrogram."""

import io

import librosa
import numpy as np
import soundfile
import soxr
import tensorflow as tf
from clips import SAMPLE_RATE, SECONDS, noise, wav
from lines import Measured
from timing import medians

from ser_keras.audio import wav_to_waveform
from ser_keras.config import AudioConfig
from ser_keras.features import LogMelSpectrogram


def log_mel() -> list[Measured]:
    clips = noise(32, SECONDS * SAMPLE_RATE)
    compiled = tf.function(LogMelSpectrogram(**AudioConfig().to_dict()).__call__)
    batch, lengths = tf.constant(clips), tf.fill([32], clips.shape[1])
    times = medians(lambda: compiled(batch, lengths), lambda: [librosa_log_mel(clip) for clip in clips])
    return [Measured(*times, "librosa, one after another")]


def librosa_log_mel(clip: np.ndarray) -> np.ndarray:
    """Return what our layer gives, `(frames, mels)`."""
    recipe = AudioConfig()
    power = librosa.feature.melspectrogram(
        y=clip,
        sr=recipe.sample_rate,
        n_fft=recipe.fft_length,
        win_length=recipe.frame_length,
        hop_length=recipe.frame_step,
        n_mels=recipe.num_mel_bins,
        fmin=recipe.min_hz,
        fmax=recipe.max_hz,
        pad_mode="constant",
    )
    return 10 * np.log10(power + recipe.log_offset).T


def wav_to_16_khz() -> list[Measured]:
    contents = wav(sample_rate=48_000)
    compiled = tf.function(wav_to_waveform, input_signature=[tf.TensorSpec([], tf.string)])
    tensor = tf.constant(contents)

    def by_soundfile():
        samples, rate = soundfile.read(io.BytesIO(contents), dtype="float32")
        return soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ")

    return [Measured(*medians(lambda: compiled(tensor), by_soundfile), "soundfile and soxr HQ")]
