"""The order of training: which clips come in an epoch, and where they are cut, by its number alone."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


class EpochOrder:
    """Orders the clips of each epoch anew; the same seed and epoch give the same order, whatever came before.

    So a training that was stopped goes on with the batches that it would have seen. Each pass over the data is the
    next epoch, as in a plain `fit`; while it is `numbered`, the epoch is the one that was set.

    Args:
        size: number of clips.
        seed: 0 or more.

    Attributes:
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
        self._size, self._seed = size, seed
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
        return random.permutation(self._size).astype(np.int32), random.integers(2**62, size=self._size)
