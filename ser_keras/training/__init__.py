"""train_model: `model.fit` with the settings that an emotion classifier needs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from ser_keras.config import TrainConfig
from ser_keras.model import ParallelModel, save_model
from ser_keras.pipeline.clips import fingerprint
from ser_keras.pipeline.encoded import EncodedClips
from ser_keras.presets import default_training
from ser_keras.runs.reading import stamp
from ser_keras.training.calibration import fit_temperature
from ser_keras.training.callbacks import training_callbacks
from ser_keras.training.checkpoints import CHECKPOINT, Checkpoint
from ser_keras.training.setup import Trainer, encoded_clips

__all__ = ["encoded_clips", "train_model"]


def train_model(
    model: ParallelModel,
    train_data: Any,
    val_data: Any,
    *,
    config: TrainConfig | None = None,
    output_dir: str | Path | None = None,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    encoded: EncodedClips | None = None,
    **settings: Any,
) -> keras.callbacks.History:
    """Train a model on labelled recordings.

    It takes the names of the emotions from the data into the model, fits the normalisation and the functionals branch
    to the training clips, and runs `model.fit` with AdamW (Loshchilov & Hutter, 2019), a learning rate that warms up
    and falls as a cosine, label smoothing and class weights. The final weights are averaged over the last steps; with
    ``patience`` training stops early, and they are those of the epoch with the best validation UAR. Finally the
    probabilities are calibrated on the validation data (`calibrate_temperature`), which changes no label.

    Args:
        model: the model; it is changed in place.
        train_data: dataset of `preprocess_data`, or any `tf.data.Dataset` or pair of arrays that `fit` takes (see
            `ser_keras.pipeline.batches.labelled_batches`). Arrays are shuffled, a dataset is not.
        val_data: the same, of other speakers.
        config: how to train.
        output_dir: folder for ``model.keras`` (while training, of the last epoch, with ``patience`` of the best),
            ``history.csv``, TensorBoard's logs and ``checkpoint.npz``, from which a stopped training resumes; nothing
            is written if it is None.
        resume: continue after the last whole epoch in `output_dir`; if there is none, begin. With data of
            `preprocess_data`, data derived from them, arrays, or a dataset that is not shuffled the final weights
            equal those of a training that was never stopped.
        callbacks: more Keras callbacks; their state is not saved for `resume`, and they see every fifth batch:
            ``steps_per_execution=1`` shows them all.
        encoded: of `encoded_clips`, for a model with a frozen encoder: what was encoded for another training with the
            same encoder, such as that of another fold, is used again.
        **settings: fields of `TrainConfig` by name, such as ``epochs=10``, and ``verbose`` as in `fit`.

    Returns:
        Keras's History: one value an epoch of `loss`, `uar`, `accuracy` and their `val_` counterparts.
        Those of training are of the network alone, without the functionals branch, on augmented clips (mixed ones
        with ``mixup``); those of validation are of the fused model on clips as they are, and can be better.

    Raises:
        InputError: the data's emotions are not the model's; all training clips have one emotion; a clip holds NaN or
            infinite samples; the loss became NaN or infinite (the weights are then those of the last epoch, with
            ``patience`` of the best); or with `resume` the network, a setting or the number of batches differs from
            that at the beginning of the training.

    Example:
        ```python
        history = train_model(model, train_data, val_data, epochs=20)
        max(history.history["val_uar"])
        ```
    """
    verbose = settings.pop("verbose", "auto")
    config = (config or default_training(model.config)).replace(**settings)
    folder = None if output_dir is None else Path(output_dir)
    trainer = Trainer(model, train_data, config, val_data=val_data, encoded=encoded)
    model.parts.temperature.set(1.0)
    checkpoint = _checkpoint(folder, trainer)
    if not checkpoint.start(resume=resume):
        trainer.fit_normalization()
        trainer.fit_functionals()
    trainer.replicas.check_same("checkpoint", [checkpoint.num_epochs])
    history = trainer.fit(
        mixup_seed=checkpoint.mixup_seed,
        initial_epoch=checkpoint.num_epochs,
        epochs=checkpoint.num_epochs if checkpoint.is_done else config.epochs,
        callbacks=[*training_callbacks(trainer, folder, checkpoint), *callbacks],
        verbose=verbose,
    )
    fit_temperature(model, trainer.source.validation)
    if folder is not None and trainer.replicas.is_chief:
        save_model(model, folder / "model.keras")
    return history


def _checkpoint(folder: Path | None, trainer: Trainer) -> Checkpoint:
    model, config = trainer.model, trainer.config
    settings = {
        **stamp(),
        "emotions": model.emotions,
        "batches": len(trainer.source.batch_sizes),
        "audio": model.audio.to_dict(),
        "model": model.config.to_dict(),
        "training": config.to_dict(),
    }
    if model.parts.encoder is not None:  # its weights are not in the checkpoint
        weights = model.get_layer("encoder").get_weights()
        settings["encoder"] = fingerprint(b"".join(each.tobytes() for each in weights))
    early_stopping = keras.callbacks.EarlyStopping(
        "val_uar", mode="max", patience=config.patience or config.epochs, restore_best_weights=config.patience > 0
    )
    path = None if folder is None else folder / CHECKPOINT
    return Checkpoint(path, settings, early_stopping=early_stopping, writes=trainer.replicas.is_chief)
