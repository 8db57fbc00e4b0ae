"""The order of training: which clips an epoch draws, as a function of the seed and the number of the epoch."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass
class EpochNumber:
    """The epoch that shuffled datasets draw, from 0; None while every pass over a dataset is its next epoch."""

    epoch: int | None = None


_number = EpochNumber()


@contextmanager
def epochs_numbered() -> Iterator[EpochNumber]:
    """Let ``.epoch`` of the yielded object choose the epoch of every shuffled dataset, within a ``with`` block.

    A training that resumes at epoch n thereby draws the batches that it would have drawn without the stop. Outside
    the block each pass over a dataset is its own next epoch.

    The number is state of the process, like the seed of a random generator: a dataset that a user derived by ``map``
    or ``prefetch`` carries no attribute through which it could be set.

    Example:
        >>> batches = shuffled(5, lambda places, _: places, batch_size=2, seed=0)
        >>> with epochs_numbered() as number:
        ...     number.epoch = 3
        ...     [each.tolist() for each in batches.as_numpy_iterator()]
        ...     [each.tolist() for each in batches.prefetch(1).as_numpy_iterator()]
        [[0], [3, 4], [1, 2]]
        [[0], [3, 4], [1, 2]]
    """
    before = _number.epoch
    _number.epoch = 0
    try:
        yield _number
    finally:
        _number.epoch = before


def shuffled(size: int, read: Callable[[tf.Tensor, tf.Tensor], Any], *, batch_size: int, seed: int) -> tf.data.Dataset:
    """Make batches of clips in an order that is a function of the seed and the epoch.

    Every clip is in one batch of an epoch. There are ``ceil(size / batch_size)`` batches, whose sizes differ by at
    most one: a last batch of a single clip would upset batch normalisation.

    Args:
        size: number of clips, 1 or more.
        read: function from the places of clips, from 0, and as many random numbers, from 0, to a batch of them;
            both int64 `(batch,)`.
        batch_size: most clips in a batch.
        seed: of the order, 0 or more.
    """
    num_batches = -(-size // batch_size)
    passes = itertools.count()

    def epoch_number():
        return next(passes) if _number.epoch is None else _number.epoch

    @tf.autograph.experimental.do_not_convert
    def epoch_and_batches(_):
        epoch = tf.ensure_shape(tf.numpy_function(epoch_number, [], tf.int64), [])
        return tf.data.Dataset.zip(
            tf.data.Dataset.from_tensors(epoch).repeat(num_batches), tf.data.Dataset.range(num_batches)
        )

    def read_batch(epoch, batch):
        key = tf.stack([tf.constant(seed, tf.int64), epoch])
        unshuffled = tf.range(batch * size // num_batches, (batch + 1) * size // num_batches)
        places = tf.random.experimental.index_shuffle(unshuffled, key, size - 1)
        key = tf.random.experimental.stateless_fold_in(key, batch)
        return read(places, tf.random.stateless_uniform(tf.shape(places), key, 0, 2**62, tf.int64))

    batches = tf.data.Dataset.range(1).flat_map(epoch_and_batches)
    return read_ahead(batches.apply(tf.data.experimental.assert_cardinality(num_batches)), read_batch)


def batch_sizes(size: int, batch_size: int) -> list[int]:
    """Return the number of clips in each batch of `shuffled`.

    Example:
        >>> batch_sizes(5, 2)
        [1, 2, 2]
    """
    num_batches = -(-size // batch_size)
    return [(batch + 1) * size // num_batches - batch * size // num_batches for batch in range(num_batches)]


def read_ahead(entries: tf.data.Dataset, read: Callable[..., Any]) -> tf.data.Dataset:
    """Return what `read` makes of each entry, several at a time, while the batches before are computed on.

    Without TensorFlow's autotuning: the end of each epoch waits for its thread, which sleeps up to seconds. AUTOTUNE
    then means as many calls at a time as there are cores.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    read = tf.autograph.experimental.do_not_convert(read)
    return entries.map(read, tf.data.AUTOTUNE).prefetch(2).with_options(options)
