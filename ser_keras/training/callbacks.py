"""The callbacks of `train_model`: stop at NaN, average the weights, save the state, write the progress."""

from pathlib import Path

import keras
import numpy as np

from ser_keras.config import TrainConfig
from ser_keras.distribution.replicas import Replicas
from ser_keras.errors import InputError
from ser_keras.files import write_csv
from ser_keras.model import save_model
from ser_keras.training.checkpoints import Checkpoint
from ser_keras.training.setup import Trainer


def training_callbacks(trainer: Trainer, folder: Path | None, checkpoint: Checkpoint) -> list[keras.callbacks.Callback]:
    """Return the callbacks of `train_model`, in an order that matters: each relies on those before it.

    Args:
        trainer: of the model.
        folder: of the run; nothing is written if it is None.
        checkpoint: with the early stopping that it saves.
    """
    config = trainer.config
    callbacks: list[keras.callbacks.Callback] = [
        _StopAtNaN(config, checkpoint.early_stopping),
        *([keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if config.ema_momentum else []),
        checkpoint.early_stopping,
        keras.callbacks.History(),
        checkpoint,
        _ScatterSeeds(trainer.replicas),
    ]
    if folder is not None and checkpoint.writes:
        folder.mkdir(parents=True, exist_ok=True)
        callbacks += [
            _WriteProgress(trainer, folder),
            keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False),
        ]
    return callbacks


class _ScatterSeeds(keras.callbacks.Callback):
    """Let each replica draw its own dropout and augmentation."""

    def __init__(self, replicas: Replicas):
        super().__init__()
        self._replicas = replicas

    def on_train_begin(self, logs=None):
        self._replicas.scatter_seeds(self.model.non_trainable_variables)


class _StopAtNaN(keras.callbacks.Callback):
    """Raise an error when the loss is NaN or infinite, and restore the weights of an epoch before.

    These are of the best epoch, or without patience of the last.

    `keras.callbacks.TerminateOnNaN` ends the training without an error, and checks the training loss only.
    """

    def __init__(self, config: TrainConfig, early_stopping: keras.callbacks.EarlyStopping):
        super().__init__()
        self._config, self._early_stopping = config, early_stopping

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._last_weights = epoch, self.model.get_weights()

    def on_train_batch_end(self, batch, logs=None):
        self._check("loss", logs)

    def on_epoch_end(self, epoch, logs=None):
        self._check("val_loss", logs)

    def _check(self, name: str, logs: dict[str, float]) -> None:
        if np.isfinite(logs[name]):
            return
        best = self._early_stopping.best_weights
        self.model.set_weights(best or self._last_weights)
        num_epochs = self._early_stopping.best_epoch + 1 if best else self._epoch
        kept = f"those of epoch {num_epochs}" if num_epochs else "as they were before"
        raise InputError(
            f"{name} became {logs[name]} in epoch {self._epoch + 1}: learning_rate={self._config.learning_rate} may be "
            f"too high, or the sample weights are NaN or infinite; training stopped, and the model's weights are {kept}"
        )


class _WriteProgress(keras.callbacks.Callback):
    """Write the history and the model after each epoch; with patience the model only if it is the best so far.

    A model with a frozen encoder is written at the end only: to write it takes longer than the epoch of a head.
    """

    def __init__(self, trainer: Trainer, folder: Path):
        super().__init__()
        self._trainer, self._folder = trainer, folder

    def on_epoch_end(self, epoch, logs=None):
        history, whole = self.model.history.history, self._trainer.model
        is_best = history["val_uar"][-1] > max(history["val_uar"][:-1], default=-np.inf)
        if whole is self.model and (is_best or not self._trainer.config.patience):
            save_model(whole, self._folder / "model.keras")
        rows = enumerate(zip(*history.values(), strict=True))
        write_csv(self._folder / "history.csv", ("epoch", *history), ((epoch, *row) for epoch, row in rows))
