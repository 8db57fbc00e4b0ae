"""What a training needs to go on where it was stopped, in one file that is whole or as it was before."""

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
"""Name of the file in the folder of a run; it is there until the run is whole."""

_OWN = ("mixup_seed", "num_epochs", "is_done")
_EARLY_STOPPING = ("wait", "best", "best_epoch")


class Checkpoint(keras.callbacks.Callback):
    """Saves after every epoch all that the next one depends on, and brings it back in another process.

    That is every variable of model and optimizer (the running average and the states of random layers among them),
    the seed of the mixtures, the state of early stopping with the best weights, and the history. It is
    written when the next epoch begins, for then `SwapEMAWeights`, which has to stand before it, has put the
    weights and their average back to where the optimizer left them. `keras.callbacks.BackupAndRestore` keeps
    neither random states nor early stopping nor history, and its two files can be of different epochs after
    a kill.

    Args:
        path: the file that training replaces; nothing is saved where it is None.
        settings: groups of plain values that the training depends on, to be the same when it goes on.
        early_stopping: it has to stand before this callback, and so has `keras.callbacks.History`.
        writes: False for a process that reads alone, as all workers but one do.

    Attributes:
        early_stopping: as given.
        writes: as given.
        mixup_seed: two integers, drawn by Keras's seed when the training was begun.
        num_epochs: whole epochs that are behind.
        is_done: whether no epoch is to follow.
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
        """Read the file, whose state is put into the model when training begins; without `resume` take it away.

        Returns:
            Whether there is something to go on with.

        Raises:
            InputError: the file is damaged, or the training was begun with other settings or data.
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
        """Bring back what was loaded."""
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
        """Save what the epoch begins with."""
        if epoch > self.num_epochs:
            self._save(epoch)

    def on_train_end(self, logs=None):
        """Save that no epoch is to follow."""
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
        packed = io.BytesIO()  # NumPy leaves a file that does not take it all half closed, and Python then complains
        np.savez(packed, about=np.array(json.dumps(about)), **arrays)
        with whole_file(self._path) as part, part.open("wb") as file:
            file.write(packed.getbuffer())
            file.flush()
            os.fsync(file.fileno())  # else a power cut can leave the new name without its content


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return what `Checkpoint` wrote: its values by their names, and ``state`` and ``best_weights`` as lists of arrays.

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
