"""A trained model that is trained further, on its validation recordings too."""

import shutil

import keras
import numpy as np
import pytest
from conftest import SMALL

from ser_keras.errors import InputError
from ser_keras.model import ParallelModel, load_model
from ser_keras.pipeline.batches import describe
from ser_keras.preprocessing import preprocess_data
from ser_keras.refitting import refit_model
from ser_keras.training import train_model

QUICK = {"epochs": 4, "verbose": 0}


def train(corpus, folder, *, resume=False, seed=0):
    keras.utils.set_random_seed(seed)
    splits = preprocess_data(corpus, batch_size=8)
    model = ParallelModel(3, config=SMALL)
    train_model(model, splits.train, splits.val, epochs=1, output_dir=folder, resume=resume, verbose=0)
    return model, splits


@pytest.fixture(scope="module")
def trained_once(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return *train(corpus, folder), folder


@pytest.fixture
def trained(trained_once, tmp_path):
    """A copy of the trained model with its data, and its files in `tmp_path`."""
    model, splits, folder = trained_once
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return model.copy(), splits


@pytest.fixture(scope="module")
def refitted(trained_once, tmp_path_factory):
    """The trained model, a copy that was trained on, and the folder of the copy."""
    model, splits, _ = trained_once
    copy, folder = model.copy(), tmp_path_factory.mktemp("refitted")
    refit_model(copy, splits.train_and_val, output_dir=folder, **QUICK)
    return model, copy, folder


def same(weights, others):
    return all(np.array_equal(ours, theirs) for ours, theirs in zip(weights, others, strict=True))


def test_it_trains_on_the_training_and_validation_sets_and_no_other_recording(trained):
    model, splits = trained
    kernels = [model.get_layer(name).kernel.numpy() for name in ("functionals_logits", "logits")]
    refit_model(model, splits.train_and_val, **QUICK)
    both = {*splits.split.train, *splits.split.val}
    assert set(describe(splits.train_and_val).utterances) == both and not both & set(splits.split.test)
    for kernel, name in zip(kernels, ("functionals_logits", "logits"), strict=True):
        assert np.abs(model.get_layer(name).kernel - kernel).max() > 1e-4


@pytest.mark.slow
def test_it_learns_from_what_it_is_given(trained):
    """Given the clips of validation alone, all called the same, it calls them so."""
    model, splits = trained
    inputs, _ = next(iter(splits.val))
    relabelled = inputs["waveform"].numpy(), np.full(len(inputs["num_samples"]), 2)
    relabelled[1][0] = 1  # one clip of another, as a single emotion is refused
    refit_model(model, relabelled, epochs=80, refit_learning_rate=5e-3, verbose=0)
    assert (model.predict(inputs, verbose=0).argmax(axis=1)[1:] == 2).all()


@pytest.mark.parametrize("name", ["normalization", "temperature"])
def test_scale_and_temperature_stay(refitted, name):
    before, after, _ = refitted
    assert same(after.get_layer(name).get_weights(), before.get_layer(name).get_weights())


def test_without_epochs_the_functionals_branch_alone_is_fitted_anew(trained):
    model, splits = trained
    before, after = model.copy(), model.copy()
    assert refit_model(after, splits.train_and_val, refit_fraction=0).history == {}
    changed = {
        layer.name
        for layer, old in zip(after.layers, before.layers, strict=True)
        if not same(layer.get_weights(), old.get_weights())
    }
    assert changed == {"functionals_normalization", "functionals_logits"}


def test_the_file_holds_the_model_that_was_refitted(refitted):
    _, model, folder = refitted
    assert same(load_model(folder / "model.keras").get_weights(), model.get_weights())


@pytest.mark.slow
def test_a_run_that_was_stopped_while_refitting_ends_as_one_that_was_not(corpus, tmp_path):
    model, splits = train(corpus, tmp_path)
    refit_model(model, splits.train_and_val, **QUICK)
    again, splits = train(corpus, tmp_path, resume=True, seed=1)
    refit_model(again, splits.train_and_val, **QUICK)
    assert same(again.get_weights(), model.get_weights())


@pytest.mark.slow
def test_a_loss_that_is_no_number_leaves_the_model_as_it_was(trained):
    model, _ = trained
    before = model.get_weights()
    waveforms, labels = np.random.default_rng(0).normal(size=(8, 8_000)).astype(np.float32), np.arange(8) % 3
    with pytest.raises(InputError, match=r"nan .*refit_learning_rate=0\.001"):
        refit_model(model, (waveforms, labels, np.full(8, np.nan, np.float32)), **QUICK)
    assert same(model.get_weights(), before)


def test_recordings_of_other_emotions_are_refused(trained):
    model, splits = trained
    model.emotions = ("sad", "neutral", "angry")
    before = model.get_weights()
    with pytest.raises(
        InputError, match="the model's emotions are sad, neutral, angry, the data's neutral, sad, angry"
    ):
        refit_model(model, splits.train_and_val, **QUICK)
    assert same(model.get_weights(), before)
