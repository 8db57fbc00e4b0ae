"""The order of training: which clips come in an epoch, and where they are cut, by its number alone."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tensorflow as tf


class EpochOrder:
    """Orders the clips of each epoch anew; the same seed and epoch give the same order, whatever came before.

    So a training that was stopped goes on with the batches that it would have seen. Each pass over the data is the
    next epoch, as in a plain `fit`; while it is `numbered`, the epoch is the one that was set.

    Args:
        size: number of clips.
        seed: 0 or more.

    Attributes:
        size: as given.
        epoch: number of the epoch to come, from 0, or None to count the passes.

    Example:
        >>> order = EpochOrder(3, seed=0)
        >>> first, second = order.draw()[0], order.draw()[0]
        >>> with order.numbered():
        ...     order.epoch = 1
        ...     bool((order.draw()[0] == second).all())
        True
    """

    def __init__(self, size: int, seed: int):
        self.size, self._seed = size, seed
        self._passes = itertools.count()
        self.epoch: int | None = None

    @contextmanager
    def numbered(self) -> Iterator[None]:
        """Let `epoch` say which epoch comes, within a `with` block."""
        self.epoch = 0
        try:
            yield
        finally:
            self.epoch = None

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of all clips in a random order, int32 `(size,)`, and as many random numbers, int64."""
        epoch = next(self._passes) if self.epoch is None else self.epoch
        random = np.random.default_rng((self._seed, epoch))
        return random.permutation(self.size).astype(np.int32), random.integers(2**62, size=self.size)


def ordered_batches(order: EpochOrder, batch_size: int) -> tf.data.Dataset:
    """Return batches of what an order draws anew for each pass: int32 places and int64 random numbers.

    A last batch that is not full is dropped, where it is not the only one.
    """

    @tf.autograph.experimental.do_not_convert
    def draw(_):
        drawn = tf.numpy_function(order.draw, [], (tf.int32, tf.int64))
        return tf.data.Dataset.from_tensor_slices(tuple(tf.ensure_shape(each, [order.size]) for each in drawn))

    batches = tf.data.Dataset.range(1).flat_map(draw).batch(batch_size, drop_remainder=order.size > batch_size)
    return batches.apply(tf.data.experimental.assert_cardinality(max(order.size // batch_size, 1)))
