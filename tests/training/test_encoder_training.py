"""Training behind a frozen encoder: each clip is encoded once, and the head alone is trained."""

import contextlib
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import WITH_ENCODER

from ser_keras.evaluation import evaluate_model
from ser_keras.layers.augmentation import mix_up
from ser_keras.model import ParallelModel, load_model
from ser_keras.pipeline.encoded import EncodedClips
from ser_keras.preprocessing import preprocess_data
from ser_keras.refitting import refit_model
from ser_keras.training import train_model
from ser_keras.training.calibration import calibrate_temperature

QUICK = {"epochs": 2, "verbose": 0}


class CountedClips(EncodedClips):
    """Clips of a model's encoder, which counts them."""

    def __init__(self, model):
        self.num_encoded = 0

        def encode(inputs, training):
            tf.numpy_function(self._count, [tf.shape(inputs["waveform"])[0]], [])
            return model.parts.encoder(inputs, training=training)

        super().__init__(encode, multiple=2)

    def _count(self, number):
        self.num_encoded += int(number)


def new_model(seed=0):
    """An untrained model, whose encoder does not depend on the seed."""
    keras.utils.set_random_seed(0)
    encoder = ParallelModel(3, config=WITH_ENCODER).get_layer("encoder").get_weights()
    keras.utils.set_random_seed(seed)
    model = ParallelModel(3, config=WITH_ENCODER)
    model.get_layer("encoder").set_weights(encoder)
    return model


def changed_layers(model, other):
    return {
        layer.name
        for layer, old in zip(model.layers, other.layers, strict=True)
        if not all(map(np.array_equal, layer.get_weights(), old.get_weights()))
    }


def layers_with_weights(model):
    return {layer.name for layer in model.layers if layer.get_weights()}


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """A model before and after two epochs, and what belongs to its training."""
    splits, model = preprocess_data(corpus, batch_size=8), new_model()
    run = SimpleNamespace(model=model, before=model.copy(), splits=splits, clips=CountedClips(model))
    run.folder = tmp_path_factory.mktemp("trained")
    run.history = train_model(
        model, splits.train, splits.val, output_dir=run.folder, encoded=run.clips, encoded_copies=1, **QUICK
    ).history
    run.num_encoded = run.clips.num_encoded
    return run


def test_training_changes_all_but_the_encoder(trained):
    changed = changed_layers(trained.model, trained.before)
    assert layers_with_weights(trained.model) - changed == {"encoder"}


def test_history_has_the_usual_names(trained):
    assert {"loss", "uar", "accuracy", "val_loss", "val_uar", "val_accuracy"} <= set(trained.history)
    assert all(len(values) == 2 for values in trained.history.values())


def test_the_temperature_is_that_of_the_validation_clips(trained):
    """As it is fitted to their waveforms; the features were kept in 16 bits."""
    model = trained.model.copy()
    model.parts.temperature.set(3.0)
    expected = float(trained.model.parts.temperature.temperature)
    assert calibrate_temperature(model, trained.splits.val) == pytest.approx(expected, rel=0.02)


def test_validation_figures_are_those_of_the_whole_model(trained):
    report = evaluate_model(trained.model, trained.splits.val)
    assert report.unweighted_average_recall == pytest.approx(trained.history["val_uar"][-1])


def test_the_file_of_a_run_holds_encoder_and_head(trained):
    assert changed_layers(load_model(trained.folder / "model.keras"), trained.model) == set()


def test_the_training_clips_alone_have_copies_and_each_is_encoded_once(trained):
    assert trained.num_encoded == 2 * len(trained.splits.split.train) + len(trained.splits.split.val)


def test_what_was_encoded_for_one_training_is_used_by_the_next(trained):
    splits, clips = trained.splits, trained.clips
    train_model(new_model(seed=1), splits.train, splits.val, encoded=clips, epochs=1, verbose=0)
    assert clips.num_encoded == trained.num_encoded > 0


def test_the_normalisation_is_that_of_the_training_clips(trained):
    """With mean 0 and variance 1 over their steps, and the functionals over the clips."""
    model = trained.model
    clips = trained.clips.read(trained.splits.train.map(lambda inputs, label: (inputs, tf.one_hot(label, 3))))
    steps = np.concatenate([each.versions[0]["steps"] for each in clips]).astype(np.float32)
    normalized = np.asarray(model.parts.normalization(steps[None]))[0]
    np.testing.assert_allclose(normalized.mean(axis=0), 0.0, atol=0.01)
    np.testing.assert_allclose(normalized.std(axis=0), 1.0, atol=0.01)


def test_a_refit_without_epochs_fits_the_functionals_branch_alone(trained):
    model, splits = trained.model.copy(), trained.splits
    assert refit_model(model, splits.train_and_val, encoded=trained.clips, refit_fraction=0).history == {}
    assert changed_layers(model, trained.model) == {"functionals_normalization", "functionals_logits"}


def test_a_refit_with_epochs_trains_the_head_too(trained):
    model, splits = trained.model.copy(), trained.splits
    history = refit_model(model, splits.train_and_val, encoded=trained.clips, refit_fraction=0.5, **QUICK)
    assert len(history.history["loss"]) == 1
    kept = layers_with_weights(model) - changed_layers(model, trained.model)
    assert {"encoder", "normalization", "temperature"} <= kept and "logits" not in kept
    assert trained.clips.num_encoded == trained.num_encoded


@pytest.mark.slow
def test_a_training_resumes_to_the_same_weights(trained, tmp_path):
    splits, clips = trained.splits, trained.clips
    settings = {"encoded": clips, "encoded_copies": 1, "epochs": 3, "verbose": 0}
    whole = new_model()
    train_model(whole, splits.train, splits.val, **settings)
    stop = keras.callbacks.LambdaCallback(on_epoch_begin=interrupt)
    with contextlib.suppress(KeyboardInterrupt):
        train_model(new_model(), splits.train, splits.val, output_dir=tmp_path, callbacks=[stop], **settings)
    resumed = new_model(seed=5)
    train_model(resumed, splits.train, splits.val, output_dir=tmp_path, resume=True, **settings)
    assert changed_layers(resumed, whole) == set()


def interrupt(epoch, logs):
    if epoch == 1:
        raise KeyboardInterrupt


def test_encoded_clips_are_mixed_with_the_union_of_their_masks():
    random = np.random.default_rng(0)
    inputs = {
        "steps": random.normal(size=(3, 4, 2)).astype(np.float32),
        "mask": np.arange(4) < np.array([[4], [1], [3]]),
        "functionals": random.normal(size=(3, 6)).astype(np.float32),
        "reliability": random.random((3, 2)).astype(np.float32),
    }
    inputs = {name: tf.constant(each) for name, each in inputs.items()}
    mixed, labels, _ = mix_up((inputs, tf.eye(3)), 1.0, [0, 1])
    share = 1 - np.diag(labels)  # of the clip before
    assert share.min() > 0.01 and share.max() < 0.99
    np.testing.assert_array_equal(mixed["mask"], np.arange(4) < np.array([[4], [4], [3]]))
    for name in ("steps", "functionals", "reliability"):
        own = inputs[name].numpy()
        factor = share.reshape(-1, *[1] * (own.ndim - 1))
        expected = (1 - factor) * own + factor * np.roll(own, 1, axis=0)
        np.testing.assert_allclose(mixed[name], expected, atol=1e-6, err_msg=name)
