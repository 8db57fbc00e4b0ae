"""train_model: `model.fit` with the settings that an emotion classifier needs."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ser_keras.augmentation import mix_up
from ser_keras.batches import labelled_batches, shuffled_batches
from ser_keras.calibration import calibrate_temperature
from ser_keras.callbacks import training_callbacks
from ser_keras.checkpoints import CHECKPOINT, Checkpoint
from ser_keras.config import TrainConfig
from ser_keras.distribution import check_same_everywhere, is_chief, naming_lost_workers
from ser_keras.errors import InputError
from ser_keras.linear_model import fit_linear_model
from ser_keras.metrics import UnweightedAverageRecall
from ser_keras.model import ParallelModel, save_model
from ser_keras.sharding import contents, training_parts, validation_parts
from ser_keras.stored import stamp


def train_model(
    model: ParallelModel,
    train_data: Any,
    val_data: Any,
    *,
    config: TrainConfig | None = None,
    output_dir: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **settings: Any,
) -> keras.callbacks.History:
    """Train a model on labelled recordings.

    Takes the names of the emotions from the data into the model, fits the normalisation and the linear
    model of the clips' statistics to the training data alone (the latter to the parts of an epoch and to
    the whole clips, as it will be asked about either), and runs `model.fit` with AdamW (Loshchilov & Hutter,
    2019), a learning rate that warms up and falls as a cosine, label smoothing and class weights.
    The weights are those at the end, averaged over the last steps; with ``patience`` it stops early, and
    they are those of the best epoch by validation UAR. Last the probabilities are calibrated on the
    validation data (`calibrate_temperature`), which changes no label.

    Args:
        model: the model; it is changed in place.
        train_data: dataset of `preprocess_data`, or any `tf.data.Dataset` or pair of arrays that `fit`
            takes (see `ser_keras.batches.labelled_batches`). Arrays are shuffled, a dataset is not.
        val_data: the same, of other speakers.
        config: how to train.
        output_dir: folder for ``model.keras`` (while training the last epoch's, with ``patience`` the best),
            ``history.csv``, TensorBoard's logs and ``checkpoint.npz``, with which a training that was stopped goes
            on; nothing is written where it is None.
        resume: go on after the last whole epoch that `output_dir` holds; where there is none, begin. With data of
            `preprocess_data`, arrays, or a dataset that is not shuffled the weights become those of a training
            that was never stopped.
        callbacks: more Keras callbacks; what they remember is not saved for `resume`, and of the batches they
            see every fifth: ``steps_per_execution=1`` shows them all.
        **settings: fields of `TrainConfig` by name, such as ``epochs=10``, and ``verbose`` as in `fit`.

    Returns:
        Keras's History: one value an epoch of `loss`, `uar`, `accuracy` and their `val_` counterparts.
        Those of training are taken on augmented clips, mixed ones with ``mixup``, and can be worse than
        those of validation: they say nothing of how well the training clips themselves are known.

    Raises:
        InputError: the data's emotions are not the model's; a clip holds NaN or infinite samples; the loss became
            NaN or infinite (the weights are those of the last epoch then, with ``patience`` of the best); or with
            `resume` the network, a setting or the number of batches is not what it was when the training was begun.

    Example:
        ```python
        history = train_model(model, train_data, val_data, epochs=20)
        max(history.history["val_uar"])
        ```
    """
    verbose = settings.pop("verbose", "auto")
    config = (config or TrainConfig()).replace(**settings)
    folder = None if output_dir is None else Path(output_dir)
    _adopt_emotions(model, train_data, val_data)
    model.get_layer("temperature").set(1.0)
    train_data = shuffled_batches(train_data) if isinstance(train_data, tuple) else train_data
    train = labelled_batches(train_data, model.num_emotions)
    val = labelled_batches(val_data, model.num_emotions)
    strategy = model.distribute_strategy
    with _epochs_numbered(train_data) as numbering:
        found = contents(train, model.num_emotions, "training")
        found_in_val = contents(val, model.num_emotions, "validation")
        checkpoint = _checkpoint(folder, model, config, len(found.batch_sizes))
        if not checkpoint.start(resume=resume):
            model.adapt_normalization(train)
            heard = _parts_and_wholes(train_data, model.num_emotions)
            fit_linear_model(model, heard, config.statistics_regularization, draws=config.statistics_draws)
        _compile(model, config, len(found.batch_sizes) * config.epochs)
        weights = class_weights(found.counts) if config.class_weights else None
        prepare = partial(_weighted_batches, num_emotions=model.num_emotions, weights=weights)
        if strategy.num_replicas_in_sync == 1:
            train = prepare(train_data)
        else:
            check_same_everywhere(strategy, "checkpoint", [checkpoint.num_epochs])
            train = training_parts(strategy, train_data, found, prepare)
            unweighted = partial(labelled_batches, num_emotions=model.num_emotions)
            val = validation_parts(strategy, val_data, found_in_val, unweighted)
        with mixed(model, config.mixup, checkpoint.mixup_seed), naming_lost_workers(strategy):
            history = model.fit(
                train,
                validation_data=val,
                initial_epoch=checkpoint.num_epochs,
                epochs=checkpoint.num_epochs if checkpoint.is_done else config.epochs,
                shuffle=False,  # the dataset shuffles itself
                callbacks=[*numbering, *training_callbacks(config, folder, checkpoint), *callbacks],
                verbose=verbose,
            )
    calibrate_temperature(model, val_data)
    if folder is not None and is_chief(strategy):
        save_model(model, folder / "model.keras")
    return history


def class_weights(counts: np.ndarray) -> dict[int, float]:
    """Return for each class the weight that makes all classes count alike.

    It is scikit-learn's "balanced": ``n / (classes * count)``; a class that does not occur gets 0.

    Example:
        >>> class_weights(np.array([30, 10]))
        {0: 0.6666666666666666, 1: 2.0}
    """
    present = np.count_nonzero(counts)
    return {index: float(counts.sum() / (present * n)) if n else 0.0 for index, n in enumerate(counts)}


def _adopt_emotions(model: ParallelModel, train_data: Any, val_data: Any) -> None:
    """Take the names of the labels from the data, and refuse data that mean something else by them."""
    for data in (train_data, val_data):
        names = getattr(data, "class_names", None)
        if names is None:
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


def _parts_and_wholes(data: Any, num_emotions: int) -> tf.data.Dataset:
    """Return the training data once, and behind them the clips that `preprocess_data` cut parts from."""
    parts = labelled_batches(data, num_emotions)
    whole = getattr(data, "whole", None)
    return parts if whole is None else parts.concatenate(labelled_batches(whole, num_emotions))


def _weighted_batches(data: Any, num_emotions: int, weights: dict[int, float] | None) -> tf.data.Dataset:
    """Give each clip of `labelled_batches` the weight of its class, unless it has a weight already.

    It is what `fit` does with ``class_weight``, which it cannot do with distributed data.
    """
    batches = labelled_batches(data, num_emotions)
    if weights is None or len(batches.element_spec) > 2:
        return batches
    of_classes = tf.constant(list(weights.values()), tf.float32)

    @tf.autograph.experimental.do_not_convert
    def weigh(inputs, one_hot):
        return inputs, one_hot, tf.gather(of_classes, tf.argmax(one_hot, axis=1))

    return batches.map(weigh, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


@contextmanager
def _epochs_numbered(data: Any) -> Iterator[list[keras.callbacks.Callback]]:
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

    return model.disturbed(mix)


def _compile(model: keras.Model, config: TrainConfig, total_steps: int) -> None:
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


def _checkpoint(folder: Path | None, model: ParallelModel, config: TrainConfig, steps: int) -> Checkpoint:
    settings = {
        **stamp(),
        "emotions": model.emotions,
        "batches": steps,
        "audio": model.audio.to_dict(),
        "model": model.config.to_dict(),
        "training": config.to_dict(),
    }
    early_stopping = keras.callbacks.EarlyStopping(
        "val_uar", mode="max", patience=config.patience or config.epochs, restore_best_weights=config.patience > 0
    )
    path = None if folder is None else folder / CHECKPOINT
    return Checkpoint(path, settings, early_stopping=early_stopping, writes=is_chief(model.distribute_strategy))
