"""Training on several GPUs and machines by `tf.distribute`: strategies by name, and workers that come and go.

A replica is one copy of the model on one device; a worker is a process with one or more of them.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from ser_keras.distribution.cluster import Cluster
from ser_keras.errors import InputError, WorkerLostError

STRATEGIES = ("mirrored", "multiworker")

DEADLINE_SECONDS = 1_800
"""How long workers wait for one that is alive and silent; one that died is noticed within a minute."""

_LOST = (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError)
"""What an operation between workers raises when one of them is gone."""


def make_strategy(name: str | None) -> tf.distribute.Strategy:
    """Return a strategy by name; build the model under its ``scope()``, and `train_model` does the rest.

    Args:
        name: None: one device, as without a strategy; ``mirrored``: every GPU of this machine; ``multiworker``:
            every GPU of every machine that ``TF_CONFIG`` names (see `ser_keras.distribution.cluster`), which has
            to be the first that a process does with TensorFlow. Without GPUs the CPU takes their place.

    Raises:
        InputError: there is no such strategy, or ``TF_CONFIG`` cannot be used.
        WorkerLostError: the other workers were not there in time, or are those of another training.

    Example:
        ```python
        with make_strategy("mirrored").scope():
            model = ParallelModel(num_emotions=8)
        train_model(model, train_data, val_data)
        ```
    """
    if name is None:
        return tf.distribute.get_strategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if name != "multiworker":
        raise InputError(f"strategy={name!r}: expected one of {', '.join(STRATEGIES)}")
    Cluster.from_environment()  # it says what is wrong in a line
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=DEADLINE_SECONDS)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    except tf.errors.OpError as error:
        raise WorkerLostError(f"the workers of TF_CONFIG do not find each other ({_reason(error)})") from error


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Tell whether this process writes what all made: each but the second and later workers of a cluster."""
    return not has_workers(strategy) or strategy.extended.should_checkpoint


def has_workers(strategy: tf.distribute.Strategy) -> bool:
    """Tell whether some replicas of a strategy are in other processes."""
    replicas = strategy.num_replicas_in_sync
    return replicas > 1 and replicas > len(strategy.extended.worker_devices)


def check_same_everywhere(strategy: tf.distribute.Strategy, what: str, numbers: Sequence[float]) -> None:
    """Compare numbers among all workers, which would wait for one another for ever if they differed.

    Args:
        strategy: any.
        what: the numbers are about, in words.
        numbers: as many in each process.

    Raises:
        InputError: another worker has others; all workers raise it.
        WorkerLostError: another worker is gone.
    """
    if not has_workers(strategy):
        return
    checksum = zlib.crc32(np.array(numbers, np.float64).tobytes())
    own = tf.function(strategy.run)(lambda: tf.constant([checksum], tf.int64))
    with naming_lost_workers(strategy):
        found = strategy.gather(own, axis=0).numpy()
    if (found != found[0]).any():
        raise InputError(
            f"the {what} of replica {int((found != found[0]).argmax())} and of the chief differ: "
            "give every worker the same files, settings and seed"
        )


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Return when every worker has come here, so that none leaves while another may still need it.

    Raises:
        WorkerLostError: another worker is gone.
    """
    check_same_everywhere(strategy, "end", [])


@contextmanager
def naming_lost_workers(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Say in one line that another worker is gone, where TensorFlow takes a page.

    Raises:
        WorkerLostError: within the `with` block a worker died, fell silent, or was started anew.
    """
    try:
        yield
    except tf.errors.OpError as error:
        is_lost = isinstance(error, _LOST) or "ollective ops is aborted" in error.message
        if not has_workers(strategy) or not is_lost:
            raise
        raise WorkerLostError(
            f"another worker was lost ({_reason(error)}); start all of them again, with `resume=True` to go on "
            "after the last whole epoch"
        ) from error


def _reason(error: tf.errors.OpError) -> str:
    named = re.search(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)", error.message)
    return f"{type(error).__name__} from {named[1]} {named[2]}" if named else type(error).__name__


class ScatterSeeds(keras.callbacks.Callback):
    """Let each replica drop and disturb in its own way; all would draw the same numbers otherwise."""

    def on_train_begin(self, logs=None):
        """Add the replica's number to the seed of each random layer; nothing changes on one device."""
        seeds = [each for each in self.model.non_trainable_variables if each.name == "seed_generator_state"]

        def scatter():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            for seed in seeds:
                seed.assign_add(tf.cast([replica, 0], seed.dtype))

        tf.function(self.model.distribute_strategy.run)(scatter)
