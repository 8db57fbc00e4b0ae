"""refit_model: let a trained model hear the recordings that were kept from it."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from ser_keras.config import TrainConfig
from ser_keras.distribution import is_chief, naming_lost_workers
from ser_keras.errors import InputError
from ser_keras.model import ParallelModel, save_model
from ser_keras.model.functionals_branch import fit_functionals_branch
from ser_keras.pipeline.batches import labelled_batches, shuffled_batches
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
from ser_keras.training.sharding import contents

_MIXTURES = (0, 1)
"""Seed of the mixtures: always the same, so that a run that was stopped ends as one that was not."""


def refit_model(
    model: ParallelModel,
    data: Any,
    *,
    config: TrainConfig | None = None,
    output_dir: str | Path | None = None,
    **settings: Any,
) -> keras.callbacks.History:
    """Train a model a little longer, on training and validation recordings together.

    Where few speakers were recorded each one counts, and those of the validation side have done their work once
    `train_model` is through. The linear model is fitted anew, and the network goes on for ``refit_fraction`` of its
    epochs, with a learning rate that rises to ``refit_learning_rate`` and falls again. Normalisation and temperature
    stay as they are: of the latter nobody is left to ask. **No score on these recordings means anything
    afterwards**; that of `train_model`'s history was taken before.

    Args:
        model: from `train_model`; it is changed in place.
        data: the recordings of both sides, ``train_and_val`` of `preprocess_data`, or as `train_model` takes it.
        config: how `train_model` trained it; ``refit_fraction=0`` leaves the model as it is.
        output_dir: folder whose ``model.keras`` is replaced; nothing is written where it is None.
        **settings: fields of `TrainConfig` by name, and ``verbose`` as in `fit`.

    Returns:
        Keras's History of the epochs.

    Raises:
        InputError: the data's emotions are not the model's; a clip holds NaN or infinite samples; or the loss became
            NaN or infinite (the weights are those from before then).

    Example:
        ```python
        splits = preprocess_data("path/to/ravdess")
        train_model(model, splits.train, splits.val)
        refit_model(model, splits.train_and_val)
        evaluate_model(model, splits.test)
        ```
    """
    verbose = settings.pop("verbose", "auto")
    config = (config or TrainConfig()).replace(**settings)
    adopt_emotions(model, data)
    if not config.refit_epochs:
        return keras.callbacks.History()
    config = config.replace(epochs=config.refit_epochs, learning_rate=config.refit_learning_rate)
    strategy, before = model.distribute_strategy, model.get_weights()
    where = "training and validation"
    counts = contents(full_clips(data, model.num_emotions), model.num_emotions, where).counts
    check_classes(model, counts, where)
    data = shuffled_batches(data) if isinstance(data, tuple) else data
    with epochs_numbered(data) as numbering:
        found = contents(labelled_batches(data, model.num_emotions), model.num_emotions, where)
        clips = crops_and_full_clips(data, model.num_emotions)
        fit_functionals_branch(model, clips, config.functionals_regularization, draws=config.functionals_draws)
        compile_model(model, config, len(found.batch_sizes) * config.epochs)
        batches = training_batches(model, data, found, counts if config.class_weights else None)
        with mixed(model, config.mixup, _MIXTURES), naming_lost_workers(strategy):
            history = model.fit(
                batches,
                epochs=config.epochs,
                steps_per_epoch=steps_per_epoch(batches),
                shuffle=False,  # the dataset shuffles itself
                callbacks=[*numbering, keras.callbacks.TerminateOnNaN()],
                verbose=verbose,
            )
    if not np.isfinite(history.history["loss"]).all():
        model.set_weights(before)
        model.finalize_normalization()
        raise InputError(
            f"the loss became {history.history['loss'][-1]} while refitting: "
            f"refit_learning_rate={config.refit_learning_rate} may be too high; the model is as it was before"
        )
    if output_dir is not None and is_chief(strategy):
        save_model(model, Path(output_dir) / "model.keras")
    return history
