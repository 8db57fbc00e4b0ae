"""Explanations of a prediction by the recording: attention, integrated gradients, occlusion.

`attention_over_time` reads the weights of the recurrent branch, which are not yet the importance for the prediction.
`integrated_gradients` attributes the probability of an emotion to the cells of the log-mel spectrogram, and
`occlusion` measures how much the probability falls without a patch. The last two compare with the mean of the training
data in each band; in a model with a pretrained encoder, which has no such mean, with that of the recording.

Memory grows with the length of the one recording: several versions of it run together only where it is short.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice, product
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ser_keras.errors import InputError, require
from ser_keras.model import ParallelModel

LONGEST_SECONDS = 600.0
"""A longer recording is refused; the gradients of one of this length need about 1 GB."""

_FRAMES_AT_ONCE = 4_000  # of all spectrograms that run through the network together


class Attention(NamedTuple):
    """Attention of the recurrent branch over the time of a recording.

    Attributes:
        seconds: middle of each step of time, in seconds, float32 `(steps,)`.
        weights: weight of each step, float32 `(steps,)`; they sum to 1.
    """

    seconds: np.ndarray
    weights: np.ndarray


def log_mel_of(model: ParallelModel, waveform: np.ndarray) -> np.ndarray:
    """Return the log-mel spectrogram of a recording, as the model computes it.

    Args:
        model: the model.
        waveform: float `(samples,)`, mono at ``model.audio.sample_rate``, full scale is [-1, 1].

    Returns:
        float32 `(frames, mels)`, in dB; frame ``t`` is centred on sample ``t * model.audio.frame_step``.

    Raises:
        InputError: the waveform is not mono, empty, too long, or not finite.
    """
    return keras.Model(model.input, model.parts.log_mel)(_inputs(model, waveform)).numpy()[0]


def attention_over_time(model: ParallelModel, waveform: np.ndarray) -> Attention:
    """Return the attention weights of the recurrent branch over the time of a recording.

    Args:
        model: trained model.
        waveform: float `(samples,)`, mono at ``model.audio.sample_rate``, full scale is [-1, 1].

    Returns:
        Seconds and weights, both float32 `(steps,)`.

    Raises:
        InputError: the waveform is not mono, empty, too long, or not finite.

    Example:
        >>> attention = attention_over_time(ParallelModel(2), np.ones(8_000))
        >>> attention.seconds[:3], float(attention.weights.sum().round(3))
        (array([0.07, 0.23, 0.39], dtype=float32), 1.0)
    """
    step_frames = model.config.frames_per_step
    num_steps = 1 + len(waveform) // (step_frames * model.audio.frame_step)  # the rest is padding
    network = keras.Model(model.input, model.parts.attention)
    weights = network(_inputs(model, waveform), training=False).numpy()[0, :num_steps]
    middle = np.arange(num_steps) * step_frames + (step_frames - 1) / 2  # in frames
    return Attention((middle / model.audio.frames_per_second).astype(np.float32), weights.astype(np.float32))


def integrated_gradients(
    model: ParallelModel, waveform: np.ndarray, *, emotion: str | int | None = None, num_steps: int = 64
) -> np.ndarray:
    """Attribute the probability of an emotion to the cells of the log-mel spectrogram.

    Sundararajan et al., "Axiomatic Attribution for Deep Networks", 2017, eq. 1: the gradients along the straight
    line from a baseline to the recording, here by the midpoint rule. The baseline is the mean of the training
    data in each band, which is zero after normalisation. The attributions sum to the probability of the recording
    less that of the baseline, with an error that falls with `num_steps`.

    Args:
        model: trained model.
        waveform: float `(samples,)`, mono at ``model.audio.sample_rate``, full scale is [-1, 1].
        emotion: name or index of the emotion; the predicted one where it is None.
        num_steps: points on the line.

    Returns:
        float32 `(frames, mels)`, contributions to the probability: above 0 where a cell raises it.

    Raises:
        InputError: the waveform is not mono, empty, too long, or not finite; there is no such emotion.
    """
    require(num_steps > 0, "num_steps", num_steps, "at least 1")
    network = _Network(model, waveform)
    index = network.index_of(emotion)
    difference = network.log_mel - network.baseline
    places = (np.arange(num_steps, dtype=np.float32) + 0.5) / num_steps
    gradients = network.gradients((network.baseline + place * difference for place in places), index)
    return difference * sum(gradients) / num_steps


def occlusion(
    model: ParallelModel,
    waveform: np.ndarray,
    *,
    emotion: str | int | None = None,
    patch_seconds: float = 0.2,
    patch_bands: int = 8,
) -> np.ndarray:
    """Return how much the probability of an emotion falls where a patch of the log-mel spectrogram is hidden.

    After Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014, section 4.2. A hidden
    patch has the mean of the training data in each band, which is zero after normalisation. Patches do not
    overlap, and the network runs once for each: the time grows with the square of the recording's length.

    Args:
        model: trained model.
        waveform: float `(samples,)`, mono at ``model.audio.sample_rate``, full scale is [-1, 1].
        emotion: name or index of the emotion; the predicted one where it is None.
        patch_seconds: length of a patch, in seconds.
        patch_bands: height of a patch, in mel bands.

    Returns:
        float32 `(frames, mels)`, equal in all cells of a patch: the probability of the recording less that
        without the patch, above 0 where the patch raises it.

    Raises:
        InputError: the waveform is not mono, empty, too long, or not finite; there is no such emotion; a patch
            has no cell.
    """
    require(patch_seconds > 0, "patch_seconds", patch_seconds, "more than 0")
    require(patch_bands > 0, "patch_bands", patch_bands, "at least 1")
    network = _Network(model, waveform)
    index = network.index_of(emotion)
    patches = _patches(network.log_mel.shape, round(patch_seconds * model.audio.frames_per_second), patch_bands)
    losses = np.zeros_like(network.log_mel)
    for patch, probabilities in zip(patches, network.probabilities(map(network.without, patches)), strict=True):
        losses[patch] = network.prediction[index] - probabilities[index]
    return losses


class _Network:
    """The model behind its log-mel spectrogram, for versions of one recording's spectrogram.

    Attributes:
        log_mel: of the recording, float32 `(frames, mels)`, in dB.
        baseline: mean of the training data, or with a pretrained encoder of the recording, float32 `(mels,)`, in dB.
    """

    def __init__(self, model: ParallelModel, waveform: np.ndarray):
        self.log_mel = log_mel_of(model, waveform)
        has_encoder = model.parts.encoder is not None  # which normalises no bands
        self.baseline = self.log_mel.mean(axis=0) if has_encoder else np.reshape(model.parts.normalization.mean, -1)
        self._network = keras.Model([model.parts.log_mel, model.input["num_samples"]], model.output)
        self._num_samples = len(waveform)
        self._emotions = tuple(model.emotions or ())
        self._places = range(model.num_emotions)

    @cached_property
    def prediction(self) -> np.ndarray:
        """Probabilities of the recording, float32 `(emotions,)`."""
        return self._run(tf.constant(self.log_mel[None])).numpy()[0]

    def index_of(self, emotion: str | int | None) -> int:
        """Return the index of an emotion among the outputs; that of the predicted one for None."""
        if emotion is None:
            return int(np.argmax(self.prediction))
        if emotion in self._emotions:
            return self._emotions.index(emotion)
        known = " or ".join([*self._emotions, f"0 to {self._places[-1]}"])
        require(emotion in self._places, "emotion", emotion, known)
        return int(emotion)

    def without(self, patch: tuple[slice, slice]) -> np.ndarray:
        """Return the spectrogram with the baseline in a patch."""
        hidden = self.log_mel.copy()
        hidden[patch] = self.baseline[patch[1]]
        return hidden

    def probabilities(self, spectrograms: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the probabilities of each spectrogram, float32 `(emotions,)`."""
        predict = self._traced(self._run)
        for batch in self._batches(spectrograms):
            yield from predict(tf.constant(batch)).numpy()

    def gradients(self, spectrograms: Iterable[np.ndarray], index: int) -> Iterator[np.ndarray]:
        """Yield the gradients of one probability, float32 `(frames, mels)`, summed over each batch."""

        def gradient(batch):
            with tf.GradientTape() as tape:
                tape.watch(batch)
                probability = self._run(batch)[:, index]
            return tf.reduce_sum(tape.gradient(probability, batch), axis=0)

        gradient_sum = self._traced(gradient)
        for batch in self._batches(spectrograms):
            yield gradient_sum(tf.constant(batch)).numpy()

    def _run(self, batch):
        num_samples = tf.repeat(self._num_samples, tf.shape(batch)[0])
        return self._network([batch, num_samples], training=False)

    def _traced(self, function):
        batch = tf.TensorSpec([None, *self.log_mel.shape], tf.float32)
        return tf.function(function, autograph=False).get_concrete_function(batch)

    def _batches(self, spectrograms: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield arrays `(batch, frames, mels)` with a limited number of frames, or of one spectrogram."""
        spectrograms = iter(spectrograms)
        size = max(1, _FRAMES_AT_ONCE // len(self.log_mel))
        while batch := list(islice(spectrograms, size)):
            yield np.stack(batch)


def _inputs(model: ParallelModel, waveform: np.ndarray) -> dict[str, tf.Tensor]:
    """Return a recording as a batch of one.

    Raises:
        InputError: it is not mono, empty, too long, or not finite.
    """
    waveform = np.asarray(waveform, np.float32)
    if waveform.ndim != 1 or not waveform.size:
        raise InputError(
            f"a waveform of shape {waveform.shape}: expected one dimension, mono, with at least one sample"
        )
    seconds = len(waveform) / model.audio.sample_rate
    if seconds > LONGEST_SECONDS:
        raise InputError(f"a waveform of {seconds:.1f} s: expected at most {LONGEST_SECONDS:.0f} s, cut it to a crop")
    if not np.isfinite(waveform).all():
        raise InputError("the waveform has samples that are not finite: repair or skip the recording")
    return {"waveform": tf.constant(waveform[None]), "num_samples": tf.constant([len(waveform)])}


def _patches(shape: tuple[int, int], num_frames: int, num_bands: int) -> list[tuple[slice, slice]]:
    """Return the patches that cover a spectrogram `(frames, mels)`; the last ones may be smaller."""
    sizes = (max(1, num_frames), num_bands)
    slices = ([slice(i, i + size) for i in range(0, end, size)] for end, size in zip(shape, sizes, strict=True))
    return list(product(*slices))
