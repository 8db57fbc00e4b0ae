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
from ser_keras.layers.log_mel import LogMelSpectrogram


def log_mel() -> list[Measured]:
    """The layer in a compiled function: as the model runs it, and by XLA, clip after clip, as features alone can be."""
    clips = noise(32, SECONDS * SAMPLE_RATE)
    layer = LogMelSpectrogram(**AudioConfig().to_dict())
    batch = tf.constant(clips), tf.fill([32], clips.shape[1])
    whole = tf.function(layer.__call__, autograph=False).get_concrete_function(*batch)
    by_clip = tf.function(lambda *batch: _one_by_one(layer, *batch), autograph=False, jit_compile=True)
    graph, xla, theirs = medians(
        lambda: whole(*batch), lambda: by_clip(*batch), lambda: [librosa_log_mel(clip) for clip in clips]
    )
    against = "librosa, one after another"
    return [Measured(graph, theirs, against), Measured(xla, theirs, against, note="XLA, clip by clip")]


def _one_by_one(layer: LogMelSpectrogram, waveform: tf.Tensor, num_samples: tf.Tensor) -> tf.Tensor:
    """Return what the layer gives for a batch; the tensors of one clip fit into a core's cache."""

    def one(clip):
        return layer(clip[0][None], clip[1][None])[0]

    return tf.map_fn(one, (waveform, num_samples), fn_output_signature=tf.float32)


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
    compiled = tf.function(lambda file: wav_to_waveform(file), autograph=False)
    graph = compiled.get_concrete_function(tf.TensorSpec([], tf.string))  # as a served graph, without Python's dispatch
    tensor = tf.constant(contents)

    def by_soundfile():
        samples, rate = soundfile.read(io.BytesIO(contents), dtype="float32")
        return soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ")

    return [Measured(*medians(lambda: graph(tensor), by_soundfile), "soundfile and soxr HQ")]
