"""Clips as a frozen encoder gives them: each is encoded once, and an epoch of training costs its head alone."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from ser_keras.pipeline.augmentation import Augmentation
from ser_keras.pipeline.clips import fingerprint
from ser_keras.pipeline.datasets import pad_clips, random_crop
from ser_keras.pipeline.shuffling import read_ahead, shuffled

_AT_ONCE = 16
"""Clips in a batch of the encoder."""

_SORTED = 8 * _AT_ONCE
"""Clips that are sorted by length before they are cut into batches, so that little padding is encoded."""

_FEATURES = {"steps": np.float16, "mask": np.bool_, "functionals": np.float32, "reliability": np.float32}
"""What is kept of a clip, and its dtype; half the memory for the steps, which are most of it."""

Features = Mapping[str, np.ndarray]


class EncodedClip(NamedTuple):
    """One clip of a dataset.

    Attributes:
        versions: what the encoder gives of the clip, and of its augmented copies; without the batch dimension.
        targets: one-hot label `(classes,)`, and where there is one a weight `()`.
    """

    versions: list[Features]
    targets: tuple[np.ndarray, ...]


class EncodedClips:
    """Datasets of encoded clips in place of waveforms, and what was encoded for them.

    A clip is known by its samples, so that one object can serve the training, validation and refitting of a model, and
    all folds of a cross-validation. An augmented copy depends on the samples and its number alone.

    Args:
        encoder: ``parts.encoder`` of a `ParallelModel`; its weights must not change.
        multiple: the padded number of steps is a multiple of it.
        augmentation: of the copies.
    """

    def __init__(self, encoder: Callable[..., Any], *, multiple: int, augmentation: Augmentation | None = None):
        signature = {"waveform": tf.TensorSpec([None, None]), "num_samples": tf.TensorSpec([None], tf.int32)}
        self._encode = tf.function(
            lambda inputs: encoder(inputs, training=False), input_signature=[signature], autograph=False
        )
        self._multiple = multiple
        self._augmentation = augmentation or Augmentation()
        self._known: dict[tuple[str, int], Features] = {}

    def read(self, batches: tf.data.Dataset, *, copies: int = 0) -> list[EncodedClip]:
        """Encode a dataset of `labelled_batches`, in its order.

        Args:
            batches: of waveforms; they are read once.
            copies: augmented copies of each clip.
        """
        found, clips = [], _clips_of(batches)
        with tqdm(desc="Encoding", unit="clip", disable=None, leave=False) as progress:
            while group := list(islice(clips, _SORTED)):
                versions = self._versions([samples for samples, _ in group], copies)
                found += [EncodedClip(*pair) for pair in zip(versions, (targets for _, targets in group), strict=True)]
                progress.update(len(group))
        return found

    def in_order(self, clips: list[EncodedClip], *, batch_size: int) -> tf.data.Dataset:
        """Make a dataset of the clips as they are, always in the same order."""
        return read_ahead(tf.data.Dataset.range(len(clips)).batch(batch_size), self._reader(clips))

    def shuffled(self, clips: list[EncodedClip], *, batch_size: int, seed: int, crop: int) -> tf.data.Dataset:
        """Make a dataset that gives each clip once an epoch, in a new order, as one of its versions.

        Args:
            clips: of `read`.
            batch_size: most clips in a batch.
            seed: of the order.
            crop: steps of a random crop of longer clips; the functionals stay those of the whole clip.
        """
        return shuffled(len(clips), self._reader(clips, crop), batch_size=batch_size, seed=seed)

    def each_version(self, clips: list[EncodedClip], *, batch_size: int) -> Iterator[tf.data.Dataset]:
        """Yield a dataset of the clips as they are, and one for each set of augmented copies."""
        for version in range(len(clips[0].versions)):
            yield self.in_order(
                [clip._replace(versions=[clip.versions[version]]) for clip in clips], batch_size=batch_size
            )

    def _versions(self, clips: list[np.ndarray], copies: int) -> list[list[Features]]:
        names = [fingerprint(samples) for samples in clips]
        wanted = {
            (name, copy): samples for name, samples in zip(names, clips, strict=True) for copy in range(copies + 1)
        }
        new = {key: self._augmented(samples, key) for key, samples in wanted.items() if key not in self._known}
        by_length = sorted(new, key=lambda key: len(new[key]))
        for first in range(0, len(by_length), _AT_ONCE):
            keys = by_length[first : first + _AT_ONCE]
            waveform, num_samples = pad_clips([new[key] for key in keys])
            features = self._encode({"waveform": tf.constant(waveform), "num_samples": tf.constant(num_samples)})
            self._known |= zip(keys, _rows(features), strict=True)
        return [[self._known[name, copy] for copy in range(copies + 1)] for name in names]

    def _augmented(self, samples: np.ndarray, key: tuple[str, int]) -> np.ndarray:
        name, copy = key
        return self._augmentation(samples, np.random.default_rng([int(name, 16), copy])) if copy else samples

    def _reader(self, clips: list[EncodedClip], crop: int | None = None) -> Callable[..., Any]:
        num_versions = len(clips[0].versions) if clips else 1
        targets = [tf.constant(np.stack(column)) for column in zip(*(clip.targets for clip in clips), strict=True)]
        shapes = {name: clips[0].versions[0][name].shape[1:] for name in ("steps", "mask")}
        shapes |= {name: clips[0].versions[0][name].shape for name in ("functionals", "reliability")}

        def pad(places, draws):
            versions = [clips[place].versions[draw % num_versions] for place, draw in zip(places, draws, strict=True)]
            if crop is not None:
                versions = [
                    _cropped(each, draw // num_versions, crop) for each, draw in zip(versions, draws, strict=True)
                ]
            return _padded(versions, self._multiple)

        def read(places, draws=None):
            draws = tf.zeros_like(places) if draws is None else draws
            dtypes = [tf.float32 if name != "mask" else tf.bool for name in _FEATURES]
            values = dict(zip(_FEATURES, tf.numpy_function(pad, (places, draws), dtypes), strict=True))
            for name, value in values.items():
                time = [None] if name in ("steps", "mask") else []
                value.set_shape([None, *time, *shapes[name]])
            return values, *(tf.gather(column, places) for column in targets)

        return read


def _clips_of(batches: Iterable[tuple]) -> Iterator[tuple[np.ndarray, tuple[np.ndarray, ...]]]:
    """Yield the samples of each clip, without its padding, and its label and weight."""
    for inputs, *targets in batches:
        columns = [each.numpy() for each in targets]
        for row, size in enumerate(inputs["num_samples"].numpy()):
            yield np.ascontiguousarray(inputs["waveform"][row, :size]), tuple(column[row] for column in columns)


def _rows(features: Mapping[str, tf.Tensor]) -> Iterator[Features]:
    """Yield what is kept of each clip of a batch: the steps from the first one in the mask to the last."""
    arrays = {name: np.asarray(features[name], dtype) for name, dtype in _FEATURES.items()}
    for row, mask in enumerate(arrays["mask"]):
        inside = np.flatnonzero(mask)
        kept = slice(*(inside[[0, -1]] + [0, 1])) if len(inside) else slice(0)
        yield {
            name: array[row, kept].copy() if name in ("steps", "mask") else array[row].copy()
            for name, array in arrays.items()
        }


def _cropped(features: Features, draw: int, size: int) -> Features:
    """Return at most `size` steps, from a start given by a random number."""
    return {**features, **{name: random_crop(features[name], draw, size) for name in ("steps", "mask")}}


def _padded(versions: list[Features], multiple: int) -> list[np.ndarray]:
    """Return one array for each of the features, with the steps padded to the longest clip."""
    longest = max(max(len(each["mask"]) for each in versions), 1)
    size = -(-longest // multiple) * multiple
    steps = np.zeros((len(versions), size, versions[0]["steps"].shape[-1]), np.float32)
    mask = np.zeros((len(versions), size), np.bool_)
    for row, each in enumerate(versions):
        steps[row, : len(each["steps"])] = each["steps"]
        mask[row, : len(each["mask"])] = each["mask"]
    return [steps, mask, *(np.stack([each[name] for each in versions]) for name in ("functionals", "reliability"))]
