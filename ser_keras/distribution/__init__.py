"""Training on several GPUs and machines by `tf.distribute`.

A replica is one copy of the model on one device; a worker is a process with one or more replicas.
"""

import re

import tensorflow as tf

from ser_keras.distribution.cluster import Cluster
from ser_keras.errors import InputError, WorkerLostError

STRATEGIES = ("mirrored", "multiworker")

DEADLINE_SECONDS = 1_800
"""How long workers wait for a silent one; a worker that died is noticed within a minute."""


def make_strategy(name: str | None) -> tf.distribute.Strategy:
    """Return a strategy by name; build the model under its ``scope()``, and `train_model` does the rest.

    Args:
        name: None: one device. ``mirrored``: every GPU of this machine. ``multiworker``: every GPU of every machine
            in ``TF_CONFIG`` (see `ser_keras.distribution.cluster`); it has to be the first call to TensorFlow in a
            process. Without GPUs the CPU takes their place.

    Raises:
        InputError: there is no such strategy, or ``TF_CONFIG`` cannot be used.
        WorkerLostError: the other workers did not start in time, or belong to another training.

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
    Cluster.from_environment()  # raises an error of one line
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=DEADLINE_SECONDS)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    except tf.errors.OpError as error:
        raise WorkerLostError(f"the workers of TF_CONFIG do not find each other ({name_task(error)})") from error


def has_workers(strategy: tf.distribute.Strategy) -> bool:
    """Return whether some replicas of a strategy are in other processes."""
    replicas = strategy.num_replicas_in_sync
    return replicas > 1 and replicas > len(strategy.extended.worker_devices)


def name_task(error: tf.errors.OpError) -> str:
    """Return the kind of an error, and the worker that it names, in a few words."""
    named = re.search(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)", error.message)
    return f"{type(error).__name__} from {named[1]} {named[2]}" if named else type(error).__name__
