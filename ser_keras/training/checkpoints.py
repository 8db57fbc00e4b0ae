"""The state of a training after each epoch, in one file, from which a stopped training resumes."""

import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ser_keras.errors import InputError
from ser_keras.files import whole_file
from ser_keras.runs.reading import refuse_changes

CHECKPOINT = "checkpoint.npz"
"""Name of the file in a run directory; it is removed when the run is complete."""

_OWN = ("mixup_seed", "num_epochs", "is_done")
_EARLY_STOPPING = ("wait", "best", "best_epoch")


class Checkpoint(keras.callbacks.Callback):
    """Saves the whole state of training after every epoch, and restores it in another process.

    The state is every variable of model and optimizer (with the running average and the states of random layers), the
    seed of mixup, the state of early stopping with the best weights, and the history. It is saved when the next epoch
    begins: by then `SwapEMAWeights`, which comes before this callback, has swapped the weights and their average
    back. `keras.callbacks.BackupAndRestore` saves neither random states nor early stopping nor history, so that a
    resumed training differs, and its two files can be of different epochs after a kill.

    Args:
        path: the file to replace; nothing is saved if it is None.
        settings: groups of plain values that the training depends on; they have to be the same at resume.
        early_stopping: has to come before this callback, as does `keras.callbacks.History`.
        writes: False for a process that only reads, as all workers but the chief do.

    Attributes:
        early_stopping: as given.
        writes: as given.
        mixup_seed: two integers, drawn by Keras's seed when the training began.
        num_epochs: number of whole epochs done.
        is_done: whether the training is complete.
    """

    def __init__(
        self,
        path: Path | None,
        settings: Mapping[str, Any],
        *,
        early_stopping: keras.callbacks.EarlyStopping,
        writes: bool = True,
    ):
        super().__init__()
        self._path, self._settings = path, json.loads(json.dumps(settings))
        self._loaded: dict[str, Any] | None = None
        self.early_stopping, self.writes = early_stopping, writes
        self.mixup_seed: list[int] = keras.random.SeedGenerator().next().numpy().tolist()
        self.num_epochs, self.is_done = 0, False

    def start(self, *, resume: bool) -> bool:
        """Read the file, whose state is restored when training begins; without `resume` remove the file.

        Returns:
            Whether there is a state to resume from.

        Raises:
            InputError: the file is damaged, or the training began with other settings or data.
        """
        if self._path is None or not self._path.exists():
            return False
        if not resume:
            if self.writes:
                self._path.unlink()
            return False
        self._loaded = read_checkpoint(self._path)
        refuse_changes(self._path, self._loaded["settings"], self._settings)
        for name in _OWN:
            setattr(self, name, self._loaded[name])
        return True

    def on_train_begin(self, logs=None):
        """Restore the state that was read."""
        if self._loaded is None:
            return
        self._assign(self._loaded["state"])
        self.model.finalize_normalization()
        history, early_stopping = self.model.history, self.early_stopping
        history.history, history.epoch = self._loaded["history"], list(range(self.num_epochs))
        early_stopping.best_weights = self._loaded["best_weights"]
        for name in _EARLY_STOPPING:
            setattr(early_stopping, name, self._loaded[name])

    def on_epoch_begin(self, epoch, logs=None):
        """Save the state before the epoch."""
        if epoch > self.num_epochs:
            self._save(epoch)

    def on_train_end(self, logs=None):
        """Save that the training is complete."""
        if not self.is_done:
            self.is_done = True
            self._save(len(self.model.history.epoch))

    def _state(self) -> list[Any]:
        self.model.optimizer.build(self.model.trainable_variables)  # does nothing where it is built
        return [*self.model.variables, *self.model.optimizer.variables]

    def _assign(self, values: list[np.ndarray]) -> None:
        variables = self._state()
        if [each.shape for each in variables] != [each.shape for each in values]:
            raise InputError(f"{self._path}: holds another network than this one; remove it, and training begins anew")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def _save(self, num_epochs: int) -> None:
        if self._path is None or not self.writes:
            return
        self.num_epochs = num_epochs
        about = {"settings": self._settings, "history": self.model.history.history}
        about |= {name: getattr(self, name) for name in _OWN}
        about |= {name: getattr(self.early_stopping, name) for name in _EARLY_STOPPING}
        arrays = {f"state_{index}": keras.ops.convert_to_numpy(each) for index, each in enumerate(self._state())}
        arrays |= {f"best_weights_{index}": each for index, each in enumerate(self.early_stopping.best_weights or [])}
        packed = io.BytesIO()  # on a full disk NumPy leaves a file half closed, and Python warns
        np.savez(packed, about=np.array(json.dumps(about)), **arrays)
        with whole_file(self._path) as part, part.open("wb") as file:
            file.write(packed.getbuffer())
            file.flush()
            os.fsync(file.fileno())  # else a power cut can leave an empty file under the new name


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the content of a checkpoint: values by name, and ``state`` and ``best_weights`` as lists of arrays.

    Raises:
        InputError: the file is damaged.
    """
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            loaded = json.loads(str(file["about"]))
            for kind in ("state", "best_weights"):
                number = sum(name.startswith(f"{kind}_") for name in file.files)
                loaded[kind] = [file[f"{kind}_{index}"] for index in range(number)]
        return loaded
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).split("\n")[0][:200]
        raise InputError(f"{path}: is damaged ({reason}); remove it, and training begins anew") from error
