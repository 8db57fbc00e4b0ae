"""refit_model: train a trained model further, on training and validation recordings together."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from ser_keras.config import TrainConfig
from ser_keras.errors import InputError
from ser_keras.model import ParallelModel, save_model
from ser_keras.pipeline.encoded import EncodedClips
from ser_keras.presets import default_training
from ser_keras.training.setup import Trainer

_MIXUP_SEED = (0, 1)
"""Always the same, so that a resumed run ends with the weights of one that was never stopped."""


def refit_model(
    model: ParallelModel,
    data: Any,
    *,
    config: TrainConfig | None = None,
    output_dir: str | Path | None = None,
    encoded: EncodedClips | None = None,
    **settings: Any,
) -> keras.callbacks.History:
    """Train a model a little longer, on training and validation recordings together.

    With few speakers each one counts, and those of the validation set are no longer needed once `train_model` has
    returned. The functionals branch is fitted anew, and the network is trained for ``refit_fraction`` of its epochs,
    with a learning rate that rises to ``refit_learning_rate`` and falls again; with ``refit_fraction=0`` not at all.
    Normalisation and temperature are kept: no recordings remain to calibrate on. **No score on these recordings means
    anything afterwards**; that in the history of `train_model` was computed before.

    Args:
        model: from `train_model`; it is changed in place.
        data: the recordings of both subsets, ``train_and_val`` of `preprocess_data`, or as `train_model` takes it.
        config: of `train_model`.
        output_dir: folder whose ``model.keras`` is replaced; nothing is written if it is None.
        encoded: as in `train_model`.
        **settings: fields of `TrainConfig` by name, and ``verbose`` as in `fit`.

    Returns:
        Keras's History of the epochs; empty where there are none.

    Raises:
        InputError: the data's emotions are not the model's; a clip holds NaN or infinite samples; or the loss became
            NaN or infinite (the weights are then those before the call).

    Example:
        ```python
        splits = preprocess_data("path/to/ravdess")
        train_model(model, splits.train, splits.val)
        refit_model(model, splits.train_and_val)
        evaluate_model(model, splits.test)
        ```
    """
    verbose = settings.pop("verbose", "auto")
    config = (config or default_training(model.config)).replace(**settings)
    trainer = Trainer(model, data, config, subset="training and validation", encoded=encoded)
    before = model.get_weights()
    trainer.fit_functionals()
    history = _train(trainer, verbose) if config.refit_epochs else keras.callbacks.History()
    if not np.isfinite(history.history.get("loss", 0.0)).all():
        model.set_weights(before)
        model.finalize_normalization()
        raise InputError(
            f"the loss became {history.history['loss'][-1]} while refitting: "
            f"refit_learning_rate={config.refit_learning_rate} may be too high; the model is as it was before"
        )
    if output_dir is not None and trainer.replicas.is_chief:
        save_model(model, Path(output_dir) / "model.keras")
    return history


def _train(trainer: Trainer, verbose: str | int) -> keras.callbacks.History:
    config = trainer.config
    trainer.config = config.replace(epochs=config.refit_epochs, learning_rate=config.refit_learning_rate)
    return trainer.fit(
        mixup_seed=_MIXUP_SEED,
        epochs=config.refit_epochs,
        callbacks=[keras.callbacks.TerminateOnNaN()],
        verbose=verbose,
    )
