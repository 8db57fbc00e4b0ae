"""train_model: `model.fit` with the settings that an emotion classifier needs."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ser_keras.augmentation import mix_up
from ser_keras.calibration import calibrate_temperature
from ser_keras.config import TrainConfig
from ser_keras.errors import InputError
from ser_keras.files import whole_file
from ser_keras.metrics import UnweightedAverageRecall
from ser_keras.model import ParallelModel
from ser_keras.preprocessing import check_labels, labelled_batches


def train_model(
    model: ParallelModel,
    train_data: Any,
    val_data: Any,
    *,
    config: TrainConfig | None = None,
    output_dir: str | Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **settings: Any,
) -> keras.callbacks.History:
    """Train a model and leave it with the weights of its best epoch on the validation data.

    Takes the names of the emotions from the data into the model, fits the normalisation to the training
    data alone, and runs `model.fit` with AdamW (Loshchilov & Hutter, 2019), a learning rate that warms up
    and falls as a cosine, label smoothing and class weights; stops early on the validation UAR. Last the
    probabilities are calibrated on the validation data (`calibrate_temperature`), which changes no label.

    Args:
        model: the model; it is changed in place.
        train_data: dataset of `preprocess_data`, or any `tf.data.Dataset` or pair of arrays that `fit`
            takes (see `ser_keras.preprocessing.labelled_batches`).
        val_data: the same, of other speakers.
        config: how to train.
        output_dir: folder for ``model.keras`` (while training the best so far), ``history.csv`` and TensorBoard's logs;
            nothing is written where it is None.
        callbacks: more Keras callbacks.
        **settings: fields of `TrainConfig` by name, such as ``epochs=10``, and ``verbose`` as in `fit`.

    Returns:
        Keras's History: one value an epoch of `loss`, `uar`, `accuracy` and their `val_` counterparts.
        Those of training are taken on augmented clips, mixed ones with ``mixup``, and can be worse than
        those of validation: they say nothing of how well the training clips themselves are known.

    Raises:
        InputError: the data's emotions are not the model's.

    Example:
        ```python
        history = train_model(model, train_data, val_data, epochs=20)
        max(history.history["val_uar"])
        ```
    """
    verbose = settings.pop("verbose", "auto")
    config = (config or TrainConfig()).replace(**settings)
    _adopt_emotions(model, train_data, val_data)
    model.get_layer("temperature").set(1.0)
    train = labelled_batches(train_data, model.num_emotions)
    val = labelled_batches(val_data, model.num_emotions)
    counts, steps = _count_labels(train, model.num_emotions)
    model.adapt_normalization(train)
    _compile(model, config, steps * config.epochs)
    weighted = config.class_weights and len(train.element_spec) == 2
    with mixed(model, config.mixup):
        history = model.fit(
            train,
            validation_data=val,
            epochs=config.epochs,
            shuffle=False,  # the dataset shuffles itself
            class_weight=class_weights(counts) if weighted else None,
            callbacks=[*_callbacks(config, output_dir), *callbacks],
            verbose=verbose,
        )
    calibrate_temperature(model, val_data)
    if output_dir is not None:
        save_model(model, Path(output_dir) / "model.keras")
    return history


def save_model(model: keras.Model, path: str | Path) -> None:
    """Save a model as a `.keras` file that is whole or not there.

    Raises:
        OSError: the disk is full or may not be written.
    """
    with whole_file(path) as part:
        model.save(part)


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


def _count_labels(train: tf.data.Dataset, num_emotions: int) -> tuple[np.ndarray, int]:
    """Return how often each label occurs, and the number of batches."""
    counts, steps = np.zeros(num_emotions), 0
    for _, labels, *_ in train:
        check_labels(labels, num_emotions)
        counts += labels.numpy().sum(axis=0)
        steps += 1
    if not steps:
        raise InputError("the training data holds no batch: give at least one clip")
    return counts, steps


def mixed(model: ParallelModel, alpha: float) -> AbstractContextManager:
    """Let `fit` mix the clips of each batch (see `mix_up`); the same seed of Keras gives the same mixtures."""
    if not alpha:
        return nullcontext()
    seed = tf.cast(keras.random.SeedGenerator().next(), tf.int64)

    def mix(data, num_steps):
        return mix_up(data, alpha, seed + tf.cast(num_steps, tf.int64))

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
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=config.weight_decay,
        global_clipnorm=1.0,
        use_ema=config.ema_momentum > 0,
        ema_momentum=config.ema_momentum or 0.99,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing),
        metrics=[UnweightedAverageRecall(model.num_emotions), "accuracy"],
    )


class _SaveBest(keras.callbacks.Callback):
    """Save the model whenever the validation UAR is the best so far; a file that is there is whole."""

    def __init__(self, path: Path):
        super().__init__()
        self._path = path
        self._best = -np.inf

    def on_epoch_end(self, epoch, logs=None):
        if logs["val_uar"] > self._best:
            self._best = logs["val_uar"]
            save_model(self.model, self._path)


def _callbacks(config: TrainConfig, output_dir: str | Path | None) -> list[keras.callbacks.Callback]:
    callbacks: list[keras.callbacks.Callback] = [
        keras.callbacks.TerminateOnNaN(),
        *([keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if config.ema_momentum else []),
        keras.callbacks.EarlyStopping("val_uar", mode="max", patience=config.patience, restore_best_weights=True),
    ]
    if output_dir is not None:
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        callbacks += [
            _SaveBest(folder / "model.keras"),
            keras.callbacks.CSVLogger(folder / "history.csv"),
            keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False),
        ]
    return callbacks
