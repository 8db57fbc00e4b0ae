"""Each replica's share of the data: of a training batch an equal part, of the validation clips each clip once.

A batch means the same whatever the number of replicas: it is cut into one part for each, and the gradients are
averaged before the one step that all of them take.
"""

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ser_keras.distribution import check_same_everywhere
from ser_keras.errors import InputError
from ser_keras.pipeline.batches import check_clips

Cut = Callable[[tf.data.Dataset, int, range], tf.data.Dataset]
"""From batches, the number of replicas and the numbers of some of them to the parts of those, in turn."""


class Contents(NamedTuple):
    """What a dataset holds, found by going through it once.

    Attributes:
        counts: how often each label occurs, float64 `(classes,)`.
        batch_sizes: clips in each batch.
        checksum: of all labels and lengths in their order.
    """

    counts: np.ndarray
    batch_sizes: list[int]
    checksum: int


def contents(batches: tf.data.Dataset, num_emotions: int, side: str) -> Contents:
    """Count what is in a dataset of `labelled_batches`, after a look at every clip.

    Raises:
        InputError: a label lies outside the classes, a sample is no number, or there is no clip; `side` says where.
    """
    counts, sizes, checksum = np.zeros(num_emotions), [], 0
    for inputs, one_hot, *_ in batches:
        check_clips(inputs, one_hot, num_emotions)
        counts += one_hot.numpy().sum(axis=0)
        sizes.append(len(one_hot))
        for values in (one_hot, inputs["num_samples"]):
            checksum = zlib.crc32(values.numpy().tobytes(), checksum)
    if not sizes:
        raise InputError(f"the {side} data holds no clip: give at least one")
    return Contents(counts, sizes, checksum)


def training_parts(
    strategy: tf.distribute.Strategy, data: Any, found: Contents, prepare: Callable[[Any], tf.data.Dataset]
) -> tf.distribute.DistributedDataset:
    """Cut each batch into equal parts, one for each replica.

    As no part may be larger than another, and none empty, up to one clip less than there are replicas is left
    out of each batch.

    Args:
        strategy: of more than one replica.
        data: as `train_model` takes it. That of `preprocess_data` is cut before its clips are read, so that a
            worker reads its own alone.
        found: what is in it.
        prepare: makes of `data` the batches to train on, tuples whose tensors have the clips in their first dimension.

    Raises:
        InputError: there are fewer clips than replicas in the batches, or another worker has other clips.
    """
    check_same_everywhere(strategy, "training data", [*found.counts, *found.batch_sizes])
    _check_sizes(strategy, "training", found)
    num_steps = sum(size >= strategy.num_replicas_in_sync for size in found.batch_sizes)
    return _distribute(strategy, data, prepare, _equal_parts, num_steps)


def validation_parts(
    strategy: tf.distribute.Strategy, data: Any, found: Contents, prepare: Callable[[Any], tf.data.Dataset]
) -> tf.distribute.DistributedDataset:
    """Cut a dataset into parts, the same number for each replica, so that each clip is in one of them.

    Args:
        strategy: of more than one replica.
        data: as `train_model` takes it, always in one order.
        found: what is in it.
        prepare: makes of `data` the batches to validate on.

    Raises:
        InputError: there are fewer clips than replicas in the batches, or another worker has other clips.
    """
    check_same_everywhere(strategy, "validation data", [found.checksum])
    _check_sizes(strategy, "validation", found)
    num_clips = sum(found.batch_sizes)
    num_steps = max(1, num_clips // max(found.batch_sizes))
    num_parts = num_steps * strategy.num_replicas_in_sync
    return _distribute(strategy, data, prepare, partial(_even_parts, num_clips, num_parts), num_steps)


def _distribute(
    strategy: tf.distribute.Strategy,
    data: Any,
    prepare: Callable[[Any], tf.data.Dataset],
    cut: Cut,
    num_steps: int,
) -> tf.distribute.DistributedDataset:
    """Give each replica in turn the next of its process's parts."""

    def own_parts(context: tf.distribute.InputContext) -> tf.data.Dataset:
        local = context.num_replicas_in_sync // context.num_input_pipelines
        first = context.input_pipeline_id * local
        own = partial(cut, num_replicas=context.num_replicas_in_sync, replicas=range(first, first + local))
        parts = prepare(data.cut(own)) if hasattr(data, "cut") else prepare(data).apply(own)
        return parts.prefetch(tf.data.AUTOTUNE)

    distributed = strategy.distribute_datasets_from_function(own_parts)
    # `fit` takes `cardinality`, which reads this, for the steps of an epoch. TensorFlow counts the parts of one worker,
    # of which a step takes one for each replica; for a public way see https://github.com/keras-team/keras/issues/14907.
    distributed._cardinality = num_steps
    return distributed


def _equal_parts(batches: tf.data.Dataset, num_replicas: int, replicas: range) -> tf.data.Dataset:
    def parts(*batch):
        whole = _length(batch) // num_replicas * num_replicas
        return tf.data.Dataset.range(replicas.start, replicas.stop).map(
            lambda replica: tf.nest.map_structure(lambda each: each[replica:whole:num_replicas], batch)
        )

    return batches.filter(lambda *batch: _length(batch) >= num_replicas).flat_map(parts)


def _even_parts(
    num_clips: int, num_parts: int, batches: tf.data.Dataset, num_replicas: int, replicas: range
) -> tf.data.Dataset:
    """Return the parts of some replicas: part p goes to replica p modulo their number."""

    def part_of(clip):
        return clip * num_parts // num_clips

    def first_clip_of(part):
        return (part * num_clips + num_parts - 1) // num_parts

    def is_own(clip, _):
        replica = part_of(clip) % num_replicas
        return tf.logical_and(replica >= replicas.start, replica < replicas.stop)

    clips = batches.unbatch().enumerate().filter(is_own)
    return clips.group_by_window(
        key_func=lambda clip, _: part_of(clip),
        reduce_func=lambda _, part: part.map(lambda _, contents: contents).padded_batch(num_clips),
        window_size_func=lambda part: first_clip_of(part + 1) - first_clip_of(part),
    )


def _length(batch: tuple) -> tf.Tensor:
    return tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0]


def _check_sizes(strategy: tf.distribute.Strategy, side: str, found: Contents) -> None:
    size = max(found.batch_sizes, default=0)
    if size < strategy.num_replicas_in_sync:
        raise InputError(
            f"{side} batches of {size} clips for {strategy.num_replicas_in_sync} replicas: expected one or more for "
            "each; give a larger batch_size, more recordings, or fewer replicas"
        )
