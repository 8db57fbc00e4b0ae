"""train_model: `model.fit` with the settings that an emotion classifier needs."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from ser_keras.config import TrainConfig
from ser_keras.distribution import check_same_everywhere, is_chief, naming_lost_workers
from ser_keras.model import ParallelModel, save_model
from ser_keras.model.functionals_branch import fit_functionals_branch
from ser_keras.pipeline.batches import labelled_batches, shuffled_batches
from ser_keras.runs.reading import stamp
from ser_keras.training.calibration import calibrate_temperature
from ser_keras.training.callbacks import training_callbacks
from ser_keras.training.checkpoints import CHECKPOINT, Checkpoint
from ser_keras.training.setup import (
    adopt_emotions,
    check_classes,
    compile_model,
    crops_and_full_clips,
    epochs_numbered,
    full_clips,
    mixed,
    steps_per_epoch,
    training_batches,
)
from ser_keras.training.sharding import contents, validation_parts

logger = logging.getLogger(__name__)

_ORDER_UNKNOWN = (
    "resume: this dataset does not say in which order an epoch comes, as that of preprocess_data does until map, "
    "prefetch or the like make another of it; if it is shuffled, the weights differ from those without the stop"
)


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
    model of the clips' statistics to the training data alone (the former to all clips, the latter to the crops of an
    epoch and to the full clips, as it will predict either), and runs `model.fit` with AdamW (Loshchilov & Hutter,
    2019), a learning rate that warms up and falls as a cosine, label smoothing and class weights.
    The weights are those at the end, averaged over the last steps; with ``patience`` it stops early, and
    they are those of the best epoch by validation UAR. Last the probabilities are calibrated on the
    validation data (`calibrate_temperature`), which changes no label.

    Args:
        model: the model; it is changed in place.
        train_data: dataset of `preprocess_data`, or any `tf.data.Dataset` or pair of arrays that `fit`
            takes (see `ser_keras.pipeline.batches.labelled_batches`). Arrays are shuffled, a dataset is not.
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
        Those of training are of the network alone, without the functionals branch, on augmented clips (mixed ones
        with ``mixup``); those of validation are of the fused model on clips as they are, and can be better.

    Raises:
        InputError: the data's emotions are not the model's; all training clips have one emotion; a clip holds NaN or
            infinite samples; the loss became NaN or infinite (the weights are those of the last epoch then, with
            ``patience`` of the best); or with `resume` the network, a setting or the number of batches is not what it
            was when the training was begun.

    Example:
        ```python
        history = train_model(model, train_data, val_data, epochs=20)
        max(history.history["val_uar"])
        ```
    """
    verbose = settings.pop("verbose", "auto")
    config = (config or TrainConfig()).replace(**settings)
    folder = None if output_dir is None else Path(output_dir)
    adopt_emotions(model, train_data, val_data)
    model.parts.temperature.set(1.0)
    every_clip = full_clips(train_data, model.num_emotions)
    counts = contents(every_clip, model.num_emotions, "training").counts
    check_classes(model, counts, "training")
    train_data = shuffled_batches(train_data) if isinstance(train_data, tuple) else train_data
    val = labelled_batches(val_data, model.num_emotions)
    strategy = model.distribute_strategy
    with epochs_numbered(train_data) as numbering:
        found = contents(labelled_batches(train_data, model.num_emotions), model.num_emotions, "training")
        found_in_val = contents(val, model.num_emotions, "validation")
        checkpoint = _checkpoint(folder, model, config, len(found.batch_sizes))
        if not checkpoint.start(resume=resume):
            model.adapt_normalization(every_clip)
            clips = crops_and_full_clips(train_data, model.num_emotions)
            fit_functionals_branch(model, clips, config.functionals_regularization, draws=config.functionals_draws)
        elif not numbering and isinstance(train_data, tf.data.Dataset):
            logger.warning("%s", _ORDER_UNKNOWN)
        compile_model(model, config, len(found.batch_sizes) * config.epochs)
        train = training_batches(model, train_data, found, counts if config.class_weights else None)
        if strategy.num_replicas_in_sync > 1:
            check_same_everywhere(strategy, "checkpoint", [checkpoint.num_epochs])
            unweighted = partial(labelled_batches, num_emotions=model.num_emotions)
            val = validation_parts(strategy, val_data, found_in_val, unweighted)
        with mixed(model, config.mixup, checkpoint.mixup_seed), naming_lost_workers(strategy):
            history = model.fit(
                train,
                validation_data=val,
                initial_epoch=checkpoint.num_epochs,
                epochs=checkpoint.num_epochs if checkpoint.is_done else config.epochs,
                steps_per_epoch=steps_per_epoch(train),
                shuffle=False,  # the dataset shuffles itself
                callbacks=[*numbering, *training_callbacks(config, folder, checkpoint), *callbacks],
                verbose=verbose,
            )
    calibrate_temperature(model, val_data)
    if folder is not None and is_chief(strategy):
        save_model(model, folder / "model.keras")
    return history


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
