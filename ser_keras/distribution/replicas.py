"""The replicas of a model: where it is trained, and each one's share of the data."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from ser_keras.distribution import has_workers, name_task
from ser_keras.distribution.sharding import Cut, equal_shares, even_shares
from ser_keras.errors import InputError, WorkerLostError

Batches = tf.data.Dataset | tf.distribute.DistributedDataset

_LOST = (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError)
"""What an operation between workers raises when one of them is gone."""


class Replicas:
    """The copies of a model on the devices of this process and of others.

    On one device no method changes anything, so that training has a single way through.

    Args:
        strategy: of `make_strategy`, or the ``distribute_strategy`` of a model.

    Example:
        >>> replicas = Replicas(tf.distribute.get_strategy())
        >>> replicas.number, replicas.is_chief
        (1, True)
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self._strategy = strategy
        self.number: int = strategy.num_replicas_in_sync
        self.has_workers = has_workers(strategy)
        self.is_chief: bool = not self.has_workers or strategy.extended.should_checkpoint

    def share_training(self, batches: tf.data.Dataset, batch_sizes: Sequence[int]) -> Batches:
        """Cut each batch into equal shares, one for each replica.

        A batch means the same whatever the number of replicas: the gradients of its shares are averaged before the
        one step that all replicas take. No share may be larger than another, and none empty, so each batch loses up
        to one clip less than there are replicas.

        Args:
            batches: tuples whose tensors have the clips in their first dimension.
            batch_sizes: number of clips in each batch of an epoch.

        Raises:
            InputError: there are fewer clips than replicas in the batches, or another worker has other batches.
        """
        if self.number == 1:
            return batches
        self.check_same("training data", batch_sizes)
        self._check_sizes("training", batch_sizes)
        return self._distribute(batches, equal_shares, sum(size >= self.number for size in batch_sizes))

    def share_validation(self, batches: tf.data.Dataset, batch_sizes: Sequence[int], checksum: int) -> Batches:
        """Cut a dataset into as many shares for each replica, so that each clip is in one of them.

        Args:
            batches: always in the same order.
            batch_sizes: number of clips in each of them.
            checksum: of their content.

        Raises:
            InputError: there are fewer clips than replicas in the batches, or another worker has other clips.
        """
        if self.number == 1:
            return batches
        self.check_same("validation data", [checksum])
        self._check_sizes("validation", batch_sizes)
        num_steps = max(1, sum(batch_sizes) // max(batch_sizes))
        cut = partial(even_shares, sum(batch_sizes), num_steps * self.number)
        return self._distribute(batches, cut, num_steps)

    def scatter_seeds(self, variables: Iterable[keras.Variable]) -> None:
        """Add each replica's number to the seeds of random layers; else all replicas would draw the same numbers."""
        seeds = [each for each in variables if each.name == "seed_generator_state"]

        def scatter():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            for seed in seeds:
                seed.assign_add(tf.cast([replica, 0], seed.dtype))

        tf.function(self._strategy.run)(scatter)

    def check_same(self, what: str, numbers: Sequence[float]) -> None:
        """Compare numbers among all workers, which would wait for one another for ever if they differed.

        Args:
            what: the subject of the numbers, in words.
            numbers: as many in each process.

        Raises:
            InputError: another worker has others; all workers raise it.
            WorkerLostError: another worker is gone.
        """
        if not self.has_workers:
            return
        checksum = zlib.crc32(np.array(numbers, np.float64).tobytes())
        own = tf.function(self._strategy.run)(lambda: tf.constant([checksum], tf.int64))
        with self.naming_lost_workers():
            found = self._strategy.gather(own, axis=0).numpy()
        if (found != found[0]).any():
            raise InputError(
                f"the {what} of replica {int((found != found[0]).argmax())} and of the chief differ: "
                "give every worker the same files, settings and seed"
            )

    def wait_for_all(self) -> None:
        """Return when every worker has made this call, so that none exits while another still needs it.

        Raises:
            WorkerLostError: another worker is gone.
        """
        self.check_same("end", [])

    @contextmanager
    def naming_lost_workers(self) -> Iterator[None]:
        """Turn TensorFlow's page-long error about another worker into one line.

        Raises:
            WorkerLostError: within the `with` block a worker died, fell silent, or was restarted.
        """
        try:
            yield
        except tf.errors.OpError as error:
            is_lost = isinstance(error, _LOST) or "ollective ops is aborted" in error.message
            if not self.has_workers or not is_lost:
                raise
            raise WorkerLostError(
                f"another worker was lost ({name_task(error)}); start all of them again, with `resume=True` to "
                "continue after the last whole epoch"
            ) from error

    def _distribute(self, batches: tf.data.Dataset, cut: Cut, num_steps: int) -> tf.distribute.DistributedDataset:
        """Give each replica in turn the next share of its process."""

        def own_shares(context: tf.distribute.InputContext) -> tf.data.Dataset:
            local = context.num_replicas_in_sync // context.num_input_pipelines
            first = context.input_pipeline_id * local
            own = cut(batches, context.num_replicas_in_sync, range(first, first + local))
            return own.prefetch(tf.data.AUTOTUNE)

        distributed = self._strategy.distribute_datasets_from_function(own_shares)
        # `fit` takes `cardinality`, which reads this, for the steps of an epoch. TensorFlow counts the shares of one
        # worker, and a step takes one for each replica; for a public way see keras-team/keras issue 14907.
        distributed._cardinality = num_steps
        return distributed

    def _check_sizes(self, subset: str, batch_sizes: Sequence[int]) -> None:
        size = max(batch_sizes, default=0)
        if size < self.number:
            raise InputError(
                f"{subset} batches of {size} clips for {self.number} replicas: expected one or more for each; "
                "give a larger batch_size, more recordings, or fewer replicas"
            )
