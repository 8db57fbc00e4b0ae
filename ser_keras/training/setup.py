"""From labelled recordings and settings to what `model.fit` takes; `train_model` and `refit_model` share it."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ser_keras.config import TrainConfig
from ser_keras.errors import InputError
from ser_keras.layers.augmentation import mix_up
from ser_keras.metrics import UnweightedAverageRecall
from ser_keras.model import ParallelModel
from ser_keras.pipeline.batches import labelled_batches
from ser_keras.training.sharding import Contents, training_parts

logger = logging.getLogger(__name__)


def adopt_emotions(model: ParallelModel, *data: Any) -> None:
    """Take the names of the labels from the data, and refuse data that mean something else by them."""
    for recordings in data:
        names = getattr(recordings, "class_names", None)
        if names is None:
            if isinstance(recordings, tf.data.Dataset) and model.emotions is not None:
                logger.warning("the data do not name their labels: 0 is taken for %s, and so on", model.emotions[0])
            continue
        names = tuple(names)
        if len(names) != model.num_emotions:
            raise InputError(
                f"the model has num_emotions={model.num_emotions}, but the data has {len(names)} "
                f"({', '.join(names)}): build it with ParallelModel(num_emotions={len(names)})"
            )
        if model.emotions is not None and names != model.emotions:
            raise InputError(
                f"the model's emotions are {', '.join(model.emotions)}, the data's {', '.join(names)}: "
                "they must be the same, in the same order"
            )
        model.emotions = names


def training_batches(model: ParallelModel, data: Any, found: Contents, counts: np.ndarray | None) -> Any:
    """Return the batches of `data` that a model is trained on, weighted, and parted among the replicas of its strategy.

    Args:
        model: whose strategy it is.
        data: as `train_model` takes it.
        found: what is in it.
        counts: clips of each class in the whole training set, by which the classes are weighted; None: they are not.
    """
    weights = None if counts is None else class_weights(counts)
    prepare = partial(labelled_batches, num_emotions=model.num_emotions, class_weights=weights)
    strategy = model.distribute_strategy
    return prepare(data) if strategy.num_replicas_in_sync == 1 else training_parts(strategy, data, found, prepare)


def steps_per_epoch(batches: Any) -> int | None:
    """Return how many batches an epoch has, for `fit`, which without it begins each pass over the data twice.

    None where it is not known: for distributed data, and for a dataset that cannot tell before it ends.

    Example:
        >>> steps_per_epoch(tf.data.Dataset.range(5).batch(2))
        3
    """
    steps = int(batches.cardinality()) if isinstance(batches, tf.data.Dataset) else -1
    return steps if steps > 0 else None


def class_weights(counts: np.ndarray) -> np.ndarray:
    """Return for each class the weight that makes all classes count alike, `(classes,)`.

    It is scikit-learn's "balanced": ``n / (classes * count)``; a class that does not occur gets 0.

    Example:
        >>> class_weights(np.array([30, 10])).round(2).tolist()
        [0.67, 2.0]
    """
    share = counts.sum() / np.count_nonzero(counts)
    return np.divide(share, counts, out=np.zeros(len(counts)), where=counts > 0)


def full_clips(data: Any, num_emotions: int) -> tf.data.Dataset:
    """Return every training clip once, uncut, in batches with one-hot labels.

    An epoch of training holds neither all clips, as a last batch that is not full is dropped, nor whole ones. What is
    not from `preprocess_data` is taken as it is.
    """
    whole = getattr(data, "whole", None)
    return labelled_batches(data if whole is None else whole(), num_emotions)


def crops_and_full_clips(data: Any, num_emotions: int) -> tf.data.Dataset:
    """Return an epoch of the training data, and behind it the clips that `preprocess_data` cut the crops from."""
    crops = labelled_batches(data, num_emotions)
    return crops.concatenate(full_clips(data, num_emotions)) if hasattr(data, "whole") else crops


def check_classes(model: ParallelModel, counts: np.ndarray, where: str) -> None:
    """Refuse training data of a single emotion: whatever is trained on them predicts nothing else.

    Args:
        model: that is to be trained.
        counts: clips of each class, `(classes,)`.
        where: what the data are, in words.

    Raises:
        InputError: fewer than two classes have a clip.
    """
    if np.count_nonzero(counts) > 1:
        return
    (index,) = np.flatnonzero(counts)
    name = model.emotions[index] if model.emotions else f"class {index}"
    raise InputError(
        f"all {counts[index]:.0f} clips of the {where} data are labelled {name!r}: training needs 2 emotions or more; "
        "split so that each emotion has a speaker in training, or record more speakers for each emotion"
    )


@contextmanager
def epochs_numbered(data: Any) -> Iterator[list[keras.callbacks.Callback]]:
    """Give the callback by which each epoch of `preprocess_data`'s training data depends on its number alone."""
    order = getattr(data, "order", None)
    if order is None:
        yield []
        return
    with order.numbered():
        yield [keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: setattr(order, "epoch", epoch))]


def mixed(model: ParallelModel, alpha: float, seed: Sequence[int]) -> AbstractContextManager:
    """Let `fit` mix the clips of each batch (see `mix_up`); the same two integers give the same mixtures."""
    if not alpha:
        return nullcontext()

    def mix(data, num_steps):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group  # 0 on one device
        own_seed = tf.constant(seed, tf.int64) + tf.stack([0, tf.cast(replica, tf.int64)])
        return mix_up(data, alpha, own_seed + tf.cast(num_steps, tf.int64))

    return model.batch_augmentation(mix)


def compile_model(model: ParallelModel, config: TrainConfig, total_steps: int) -> None:
    """Compile a model as `train_model` trains it, for so many steps."""
    warmup = max(1, round(config.warmup_fraction * total_steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=config.learning_rate / 100,
        warmup_target=config.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(1, total_steps - warmup),
        alpha=0.01,
    )
    strategy = model.distribute_strategy
    with strategy.scope():
        optimizer = keras.optimizers.AdamW(
            schedule,
            weight_decay=config.weight_decay,
            global_clipnorm=1.0 / strategy.num_replicas_in_sync,  # of each replica's share of the gradient
            use_ema=config.ema_momentum > 0,
            ema_momentum=config.ema_momentum or 0.99,
        )
        optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
        model.compile(
            optimizer=optimizer,
            loss=keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing),
            metrics=[UnweightedAverageRecall(model.num_emotions), keras.metrics.CategoricalAccuracy("accuracy")],
            # Keras's loop over steps fails on a distributed iterator.
            steps_per_execution=config.steps_per_execution if strategy.num_replicas_in_sync == 1 else 1,
        )
        optimizer.build(model.trainable_variables)
