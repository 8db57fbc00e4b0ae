"""A training that was stopped and resumed ends like one that was not stopped."""

import csv
import gc
import json
import resource
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from conftest import SMALL

from ser_keras import __version__
from ser_keras.errors import InputError
from ser_keras.model import ParallelModel
from ser_keras.preprocessing import preprocess_data
from ser_keras.training import train_model
from ser_keras.training.checkpoints import CHECKPOINT, Checkpoint, read_checkpoint

# With mixtures, averages and dropout.
SETTINGS = {"epochs": 5, "patience": 3, "learning_rate": 5e-3, "steps_per_execution": 1, "verbose": 0}


class Steps(keras.callbacks.Callback):
    """Count the steps of each epoch, and stop in the middle of one as Ctrl-C does."""

    def __init__(self, stop=None):
        super().__init__()
        self.counts, self.stop = {}, stop

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.counts[self.epoch] = self.counts.get(self.epoch, 0) + 1
        if (self.epoch, batch) == self.stop:
            raise KeyboardInterrupt


def train(corpus, folder, *, seed=0, stop=None, **options):
    """Train in a fresh model, as another process does."""
    keras.utils.set_random_seed(seed)
    splits = preprocess_data(corpus, batch_size=8)
    model, steps = ParallelModel(3, config=SMALL), Steps(stop)
    options = {**SETTINGS, "output_dir": folder, "callbacks": [steps], **options}
    history = train_model(model, splits.train, splits.val, **options)
    return SimpleNamespace(model=model, history=history, steps=steps.counts, folder=folder)


@pytest.fixture(scope="module")
def uninterrupted(corpus, tmp_path_factory):
    return train(corpus, tmp_path_factory.mktemp("uninterrupted"))


@pytest.fixture(scope="module")
def resumed(corpus, tmp_path_factory):
    """Stopped in the third epoch, and taken up by a model whose random numbers are others."""
    folder = tmp_path_factory.mktemp("resumed")
    with pytest.raises(KeyboardInterrupt):
        train(corpus, folder, stop=(2, 1))
    return train(corpus, folder, seed=1, resume=True)


def same(weights, others):
    return all(np.array_equal(ours, theirs) for ours, theirs in zip(weights, others, strict=True))


def test_the_weights_are_those_of_a_training_that_was_never_stopped(uninterrupted, resumed):
    assert same(resumed.model.get_weights(), uninterrupted.model.get_weights())


def test_nothing_is_trained_twice_but_the_epoch_it_was_in(uninterrupted, resumed):
    assert min(resumed.steps) == 2
    assert resumed.steps == {epoch: steps for epoch, steps in uninterrupted.steps.items() if epoch >= 2}


def test_the_history_is_that_of_the_whole_training(uninterrupted, resumed):
    assert resumed.history.history == uninterrupted.history.history
    assert resumed.history.epoch == uninterrupted.history.epoch
    tables = [(each.folder / "history.csv").read_bytes() for each in (resumed, uninterrupted)]
    assert tables[0] == tables[1]
    with (resumed.folder / "history.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == [str(epoch) for epoch in resumed.history.epoch]


def test_what_is_saved_while_training_is_the_best_model_of_the_whole_training(uninterrupted, resumed):
    checkpoints = [read_checkpoint(each.folder / CHECKPOINT) for each in (resumed, uninterrupted)]
    for name in ("wait", "best", "best_epoch", "num_epochs", "is_done"):
        assert checkpoints[0][name] == checkpoints[1][name]
    assert same(checkpoints[0]["best_weights"], checkpoints[1]["best_weights"])


@pytest.mark.slow
def test_a_training_that_is_done_is_taken_up_as_it_ended(uninterrupted, corpus):
    again = train(corpus, uninterrupted.folder, seed=1, resume=True)
    assert again.steps == {}
    assert again.history.history == uninterrupted.history.history
    assert same(again.model.get_weights(), uninterrupted.model.get_weights())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 6}, "epochs was 5 .* is 6 now"),
        ({"learning_rate": 1e-3}, r"learning_rate was 0\.005 .* and is 0\.001 now"),
    ],
)
def test_other_settings_are_refused_by_name(uninterrupted, corpus, settings, message):
    with pytest.raises(InputError, match=rf"checkpoint\.npz: {message}"):
        train(corpus, uninterrupted.folder, resume=True, **settings)


def change(path, **values):
    """Write a checkpoint with other values."""
    with np.load(path) as file:
        arrays = dict(file)
    arrays["about"] = np.array(json.dumps({**json.loads(str(arrays["about"])), **values}))
    np.savez(path, **arrays)


def test_other_data_is_refused(uninterrupted, corpus, tmp_path):
    path = tmp_path / CHECKPOINT
    path.write_bytes((uninterrupted.folder / CHECKPOINT).read_bytes())
    settings = read_checkpoint(path)["settings"]
    change(path, settings={**settings, "batches": 99})
    with pytest.raises(InputError, match=r"batches was 99 .* is 3 now"):
        train(corpus, tmp_path, resume=True)


def test_another_version_does_not_resume(uninterrupted, corpus, tmp_path):
    """It may know other settings; a missing one would be reported as changed."""
    path = tmp_path / CHECKPOINT
    path.write_bytes((uninterrupted.folder / CHECKPOINT).read_bytes())
    settings = read_checkpoint(path)["settings"]
    del settings["model"]["num_masks"]
    change(path, settings={**settings, "versions": {"ser_keras": "0.0.9"}})
    with pytest.raises(InputError, match=rf"{CHECKPOINT}: ser_keras 0\.0\.9 .*{__version__}"):
        train(corpus, tmp_path, resume=True)


def test_a_disk_without_room_for_it_is_one_error_and_nothing_more(corpus, tmp_path, monkeypatch):
    """The largest file that this process may write is as good as a full disk."""
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    stopping, history = keras.callbacks.EarlyStopping("val_uar"), keras.callbacks.History()
    stopping.best_weights, stopping.best_epoch, history.history, history.epoch = None, 0, {}, []
    checkpoint = Checkpoint(tmp_path / CHECKPOINT, {}, early_stopping=stopping, writes=True)
    model = ParallelModel(3, config=SMALL)
    model.compile("adam")
    model.history = history
    checkpoint.set_model(model)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        with pytest.raises(OSError, match=r"File too large: .*checkpoint\.npz"):
            checkpoint.on_train_end()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    gc.collect()
    assert not complaints
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("left", [0, 100, -1_000], ids=["empty", "its beginning", "all but its end"])
def test_a_damaged_file_is_refused(uninterrupted, corpus, tmp_path, left):
    content = (uninterrupted.folder / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(content[:left])
    with pytest.raises(InputError, match=r"checkpoint\.npz: .*remove it"):
        train(corpus, tmp_path, resume=True)


def test_a_changed_byte_is_seen(uninterrupted, tmp_path):
    content = bytearray((uninterrupted.folder / CHECKPOINT).read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(InputError, match="remove it"):
        read_checkpoint(tmp_path / CHECKPOINT)


@pytest.mark.slow
def test_without_resume_training_begins_anew(uninterrupted, corpus, tmp_path):
    (tmp_path / CHECKPOINT).write_bytes((uninterrupted.folder / CHECKPOINT).read_bytes())
    with pytest.raises(KeyboardInterrupt):
        train(corpus, tmp_path, stop=(0, 0))
    assert not (tmp_path / CHECKPOINT).exists()
