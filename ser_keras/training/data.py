"""The clips that a model is trained on and validated with: waveforms, or what a frozen encoder gives of them."""

import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ser_keras.errors import InputError
from ser_keras.pipeline.batches import check_clips
from ser_keras.pipeline.encoded import EncodedClips
from ser_keras.pipeline.shuffling import batch_sizes, epochs_numbered


class Contents(NamedTuple):
    """The clips of a dataset, counted in one pass.

    Attributes:
        counts: number of clips of each class, float64 `(classes,)`.
        batch_sizes: number of clips in each batch.
        checksum: of all labels and lengths in their order.
    """

    counts: np.ndarray
    batch_sizes: list[int]
    checksum: int


class Source(NamedTuple):
    """Batches of clips, as a model or its head takes them, for one training.

    Attributes:
        training: the batches, other ones in each epoch.
        batch_sizes: number of clips in each of them.
        validation: always the same batches; None where there are none.
        validation_sizes: number of clips in each of them.
        draws: return the training clips once for each augmented version, to fit what is not trained by gradients.
    """

    training: tf.data.Dataset
    batch_sizes: list[int]
    validation: tf.data.Dataset | None
    validation_sizes: list[int]
    draws: Callable[[], Iterator[tf.data.Dataset]]


def waveforms(
    training: tf.data.Dataset,
    validation: tf.data.Dataset | None,
    *,
    sizes: list[int],
    validation_sizes: list[int],
    num_draws: int,
) -> Source:
    """Return the datasets of `labelled_batches` as they are; the draws are those of the first epochs."""

    def draws():
        with epochs_numbered() as epochs:
            for epochs.epoch in range(num_draws):
                yield training

    return Source(training, sizes, validation, validation_sizes, draws)


def encoded(
    clips: EncodedClips,
    training: tf.data.Dataset,
    validation: tf.data.Dataset | None,
    *,
    batch_size: int,
    copies: int,
    crop: int,
) -> Source:
    """Encode the clips of the first epoch once, with augmented copies, and the validation clips.

    Args:
        clips: does it, and knows what was encoded before.
        training: dataset of `labelled_batches`.
        validation: the same, or None.
        batch_size: clips in a batch, at most.
        crop: most steps of a training clip, see `EncodedClips.shuffled`.
        copies: augmented copies of each training clip; each epoch draws one of them or the clip itself.
    """
    with epochs_numbered():
        known = clips.read(training, copies=copies)
    seen = [] if validation is None else clips.read(validation)
    return Source(
        clips.shuffled(
            known, batch_size=batch_size, seed=0, crop=crop
        ),  # the order of the first epoch has the seed in it
        batch_sizes(len(known), batch_size),
        clips.in_order(seen, batch_size=batch_size) if seen else None,
        [min(batch_size, len(seen) - first) for first in range(0, len(seen), batch_size)],
        lambda: clips.each_version(known, batch_size=batch_size),
    )


def contents(batches: tf.data.Dataset, subset: str) -> Contents:
    """Count the clips of a dataset of `labelled_batches`, and check each of them.

    Raises:
        InputError: a label is outside the classes, a sample is NaN or infinite, or there is no clip; `subset` is
            named.
    """
    counts, sizes, checksum = 0.0, [], 0
    for inputs, one_hot, *_ in batches:
        check_clips(inputs, one_hot, one_hot.shape[1])
        counts += one_hot.numpy().sum(axis=0, dtype=np.float64)
        sizes.append(len(one_hot))
        for values in (one_hot, inputs["num_samples"]):
            checksum = zlib.crc32(values.numpy().tobytes(), checksum)
    if not sizes:
        raise InputError(f"the {subset} data holds no clip: give at least one")
    return Contents(counts, sizes, checksum)
