"""Batches of recordings, as datasets: whole clips in a fixed order, and random crops in a new order each epoch."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ser_keras.audio_io.sound_files import FULL_SCALE
from ser_keras.config import DataConfig
from ser_keras.corpora import Utterance
from ser_keras.pipeline.batches import utterance_as_json
from ser_keras.pipeline.recordings import Recordings
from ser_keras.pipeline.shuffling import read_ahead, shuffled

_ALIGNMENT = 64  # bytes


def clip_batches(
    recordings: Recordings, utterances: Sequence[Utterance], emotions: Sequence[str], *, batch_size: int
) -> tf.data.Dataset:
    """Make a dataset of full clips in their order, such as `Splits.test` is, with labels of the caller's choice.

    Args:
        recordings: decoded audio of at least `utterances`.
        utterances: the clips.
        emotions: names of the labels, in their order, such as those of a model.
        batch_size: clips in a batch.
    """
    clips = _Clips(recordings, utterances, emotions)
    return read_ahead(tf.data.Dataset.range(len(utterances)).batch(batch_size), clips.read)


def training_batches(
    recordings: Recordings, utterances: Sequence[Utterance], emotions: Sequence[str], *, config: DataConfig
) -> tf.data.Dataset:
    """Make a dataset of crops of at most ``config.crop_seconds``, each epoch in another order and cropped elsewhere."""
    clips = _Clips(recordings, utterances, emotions, crop_length=round(config.crop_seconds * recordings.sample_rate))
    return shuffled(len(utterances), clips.read, batch_size=config.batch_size, seed=config.seed)


class _Clips:
    """Reads clips by their places in a list of utterances.

    In NumPy, a batch a call, within `Dataset.map`: `padded_batch` after a call for each clip takes twice the time, and
    a tensor of all samples twice the memory.
    """

    def __init__(
        self,
        recordings: Recordings,
        utterances: Sequence[Utterance],
        emotions: Sequence[str],
        *,
        crop_length: int | None = None,
    ):
        index_of = {utterance: index for index, utterance in enumerate(recordings.utterances)}
        self._samples, self._crop_length = recordings.samples, crop_length
        self._indices = [index_of[each] for each in utterances]
        self._labels = tf.constant([emotions.index(each.emotion) for each in utterances], tf.int32)
        self._utterances = tf.constant([utterance_as_json(each, emotions) for each in utterances])

    def read(self, places: tf.Tensor, draws: tf.Tensor | None = None) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Return the batch of the clips at some places, cropped where random numbers are given."""
        numbers = (places,) if draws is None else (places, draws)
        waveform, num_samples = tf.numpy_function(self._read, numbers, (tf.float32, tf.int32))
        inputs = {
            "waveform": tf.ensure_shape(waveform, [None, None]),
            "num_samples": tf.ensure_shape(num_samples, [None]),
            "utterance": tf.gather(self._utterances, places),
        }
        return inputs, tf.gather(self._labels, places)

    def _read(self, places: np.ndarray, draws: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        clips = [self._samples(self._indices[place]) for place in places]
        if draws is not None:
            clips = [random_crop(*pair, self._crop_length) for pair in zip(clips, draws, strict=True)]
        return pad_clips(clips)


def random_crop(samples: np.ndarray, draw: int, length: int) -> np.ndarray:
    """Return `length` samples, from a start given by a random number; all where there are fewer."""
    start = draw % (max(len(samples) - length, 0) + 1)
    return samples[start : start + length]


def pad_clips(clips: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Put clips into one array.

    Args:
        clips: int16 or float32 samples, each `(time,)`.

    Returns:
        float32 `(batch, samples)`, full scale 1, zero-padded to the longest; and the clips' own lengths, int32
        `(batch,)`.

    Example:
        >>> pad_clips([np.array([1.0, 2.0], np.float32), np.array([2**14], np.int16)])[0].tolist()
        [[1.0, 2.0], [0.5, 0.0]]
    """
    num_samples = np.array([len(clip) for clip in clips], np.int32)
    waveform = _aligned(len(clips), num_samples.max())
    for row, clip in zip(waveform, clips, strict=True):
        scale = 1 / FULL_SCALE if clip.dtype == np.int16 else 1.0
        np.multiply(clip, np.float32(scale), out=row[: len(clip)])
        row[len(clip) :] = 0
    return waveform, num_samples


def _aligned(rows: int, columns: int) -> np.ndarray:
    """Return an uninitialised float32 array that begins where TensorFlow's tensors do: of others it makes a copy."""
    memory = np.empty(4 * rows * columns + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + 4 * rows * columns].view(np.float32).reshape(rows, columns)
