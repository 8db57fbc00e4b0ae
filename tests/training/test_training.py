import contextlib
import csv

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SMALL

from ser_keras.config import DataConfig, TrainConfig
from ser_keras.errors import InputError
from ser_keras.evaluation import evaluate_model
from ser_keras.model import ParallelModel, load_model, save_model
from ser_keras.model.functionals_branch import fit_functionals_branch, logistic_regression
from ser_keras.pipeline.batches import labelled_batches
from ser_keras.pipeline.shuffling import epochs_numbered
from ser_keras.preprocessing import preprocess_data
from ser_keras.refitting import refit_model
from ser_keras.training import train_model
from ser_keras.training.setup import class_weights

QUICK = {"epochs": 2, "verbose": 0}
DIRECT = {"learning_rate": 5e-3, "mixup": 0.0, "ema_momentum": 0.0, "verbose": 0}  # for runs of a few steps
EACH_STEP = {"steps_per_execution": 1}  # for callbacks that look at each
NETWORK = SMALL.replace(fusion_weight=0.0)  # what `fit` trains, alone
CALM = SMALL.replace(filter_db=0.0)  # the functionals branch is fitted to clips that are not augmented


def tones(num_clips=24, seed=0):
    """Two classes that a network learns at once: a low and a high tone in noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(num_clips) % 2
    phase = 2 * np.pi * np.arange(4_000) / 16_000 * np.where(labels, 3_000, 300)[:, None]
    return (0.3 * np.sin(phase) + 0.01 * random.normal(size=phase.shape)).astype(np.float32), labels


def refit_with(model, data, _, **settings):
    return refit_model(model, data, **settings)


@pytest.fixture
def no_fit(monkeypatch):
    """Let `train_model` do all but `fit`, for tests of what comes before it."""
    monkeypatch.setattr(ParallelModel, "fit", lambda *_, **__: keras.callbacks.History())


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """A model trained for two epochs, its History, and the folder that the run wrote."""
    keras.utils.set_random_seed(7)
    splits = preprocess_data(corpus, batch_size=8)
    model = ParallelModel(3, config=SMALL)
    folder = tmp_path_factory.mktemp("trained") / "run"
    return model, train_model(model, splits.train, splits.val, output_dir=folder, **QUICK), folder


def test_it_learns_the_synthetic_corpus(splits):
    model = ParallelModel(3, config=NETWORK)
    train_model(model, splits.train, splits.val, epochs=25, learning_rate=5e-3, verbose=0)
    assert evaluate_model(model, splits.val).unweighted_average_recall > 0.6  # chance is 0.33


def test_names_of_the_labels_come_from_the_data(trained):
    assert trained[0].emotions == ("neutral", "sad", "angry")


def test_history_has_every_figure_of_every_epoch(trained):
    history = trained[1].history
    assert {"loss", "uar", "accuracy", "val_loss", "val_uar", "val_accuracy"} <= set(history)
    assert all(len(values) == 2 for values in history.values())


def test_files_of_a_run(trained):
    model, history, folder = trained
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_uar"]) for row in rows] == pytest.approx(history.history["val_uar"])
    assert keras.models.load_model(folder / "model.keras").emotions == model.emotions
    assert list((folder / "tensorboard").rglob("events.out.tfevents.*"))


def test_normalisation_sees_training_data_only(trained, corpus):
    by_hand = ParallelModel(3, config=SMALL)
    with epochs_numbered():  # the crops of the first epoch
        by_hand.adapt_normalization(preprocess_data(corpus, batch_size=32).train)
    weights = (model.get_layer("normalization").weights[:2] for model in (trained[0], by_hand))
    for ours, expected in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_writes_nothing_unasked(trained, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(7)
    splits = preprocess_data(corpus, batch_size=8)
    model = ParallelModel(3, config=SMALL)
    train_model(model, splits.train, splits.val, **QUICK)
    for ours, theirs in zip(model.get_weights(), trained[0].get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_clips_are_mixed_in_training_alone():
    """A model that knows the clips by heart still errs on their mixtures, unless they are not mixed."""
    data = tones(8)
    figures = {}
    for mixup in (0.0, 5.0):
        keras.utils.set_random_seed(0)
        history = train_model(ParallelModel(2, config=SMALL), data, data, epochs=12, **{**DIRECT, "mixup": mixup})
        figures[mixup] = history.history
    assert figures[5.0]["loss"][-1] > figures[0.0]["loss"][-1] + 0.1


def test_plain_fit_after_train_model_trains_on_what_it_is_given():
    """A change of the batches ends with the block that asked for it, also in the step that Keras has compiled."""
    data = labelled_batches(tones(8), 2)
    model = ParallelModel(2, config=SMALL)
    model.compile(optimizer="sgd", loss="categorical_crossentropy")
    with model.batch_augmentation(lambda batch, step: (batch[0], np.nan * batch[1])):
        assert np.isnan(model.fit(data, shuffle=False, verbose=0).history["loss"]).all()
    model.set_weights(ParallelModel(2, config=SMALL).get_weights())
    assert np.isfinite(model.fit(data, shuffle=False, verbose=0).history["loss"]).all()


def test_plain_compile_and_fit_predict_by_the_network_alone():
    """Functionals that were never fitted do not flatten the probabilities."""
    data = labelled_batches(tones(16), 2)
    model = ParallelModel(2, config=SMALL.replace(fusion_weight=0.4))
    model.adapt_normalization(data)
    model.compile(optimizer=keras.optimizers.Adam(5e-3), loss="categorical_crossentropy")
    model.fit(data, epochs=15, shuffle=False, verbose=0)
    network = keras.Model(model.input, keras.ops.softmax(model.get_layer("logits").output))
    inputs = next(iter(data))[0]
    np.testing.assert_allclose(model(inputs, training=False), network(inputs, training=False), atol=1e-6)


@pytest.mark.usefixtures("no_fit")
def test_classes_are_weighted_by_all_training_clips(monkeypatch):
    """60 clips of which 4 are of the rare class, in batches of at most 32: no epoch drops any of them."""
    counted = []
    monkeypatch.setattr(
        "ser_keras.training.setup.class_weights", lambda counts: counted.append(counts) or class_weights(counts)
    )
    waveforms, labels = tones(60)
    train_model(ParallelModel(2, config=SMALL), (waveforms, np.arange(60) < 4), (waveforms, labels), **QUICK)
    np.testing.assert_array_equal(counted, [[56, 4]])


@pytest.mark.parametrize("train", [train_model, refit_with], ids=["train_model", "refit_model"])
def test_training_data_of_one_emotion_are_refused(train):
    waveforms, _ = tones(8)
    model = ParallelModel(2, emotions=("happy", "sad"), config=SMALL)
    with pytest.raises(InputError, match=r"all 8 clips .*'sad'.*2 emotions"):
        train(model, (waveforms, np.ones(8, int)), tones(4), **QUICK)


@pytest.mark.usefixtures("no_fit")
def test_labels_whose_names_are_lost_are_told(caplog):
    data = tf.data.Dataset.from_tensor_slices(tones(8)).batch(4)
    train_model(ParallelModel(2, emotions=("happy", "sad"), config=SMALL), data, data, **QUICK)
    assert "happy" in caplog.text


def derived(data):
    """A dataset that a user made of another."""
    return data.map(lambda inputs, labels: (inputs, labels)).prefetch(2)


@pytest.mark.slow
def test_a_training_on_derived_data_resumes_to_the_same_weights(corpus, tmp_path):
    weights = []
    for stops in (False, True):
        splits = preprocess_data(corpus, batch_size=8)
        keras.utils.set_random_seed(3)
        model = ParallelModel(3, config=SMALL)
        settings = {"output_dir": tmp_path / str(stops), "epochs": 3, "verbose": 0}
        if stops:
            with contextlib.suppress(KeyboardInterrupt):
                stop = keras.callbacks.LambdaCallback(on_epoch_begin=interrupt)
                train_model(model, derived(splits.train), derived(splits.val), callbacks=[stop], **settings)
            model = ParallelModel(3, config=SMALL)
        train_model(model, derived(splits.train), derived(splits.val), resume=stops, **settings)
        weights.append(model.get_weights())
    assert model.emotions == splits.emotions
    for expected, resumed in zip(*weights, strict=True):
        np.testing.assert_array_equal(resumed, expected)


def interrupt(epoch, logs):
    if epoch == 1:
        raise KeyboardInterrupt


@pytest.mark.slow
def test_steps_between_two_looks_of_python_change_nothing():
    """Seven batches, one more than a whole number of executions."""
    data = tones(7 * DataConfig.batch_size)
    weights, losses = [], []
    for steps in (1, 3):
        keras.utils.set_random_seed(0)
        model = ParallelModel(2, config=SMALL)
        history = train_model(model, data, data, steps_per_execution=steps, **QUICK)
        assert model.steps_per_execution == steps and model.optimizer.iterations == 2 * 7
        weights.append(model.get_weights())
        losses.append(history.history["loss"])
    for one, several in zip(*weights, strict=True):
        np.testing.assert_allclose(several, one, atol=1e-5)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


@pytest.mark.slow
def test_takes_a_pair_of_arrays_with_one_hot_labels():
    waveforms, labels = tones()
    labels = np.eye(2)[labels]
    model = ParallelModel(2, config=NETWORK)
    history = train_model(model, (waveforms, labels), (waveforms, labels), epochs=12, **DIRECT)
    assert max(history.history["val_uar"]) > 0.9


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras, which did not know the number of batches
def test_each_epoch_has_all_batches_of_a_weighted_dataset_of_unknown_length():
    """Seven, which is no multiple of the steps between two looks."""
    waveforms, labels = tones(28)
    inputs = {"waveform": waveforms, "num_samples": np.full(len(labels), 4_000)}
    data = tf.data.Dataset.from_tensor_slices((inputs, labels, np.ones(len(labels)))).batch(4)
    data = data.filter(lambda *batch: True)
    model = ParallelModel(2, config=SMALL)
    history = train_model(model, data, data, **QUICK)
    assert len(history.history["loss"]) == 2 and int(model.optimizer.iterations) == 2 * 7


@pytest.mark.parametrize(("patience", "epochs"), [(0, 10), pytest.param(9, 40, marks=pytest.mark.slow)])
def test_patience_stops_and_restores_the_best_weights_and_without_it_the_last_stay(patience, epochs):
    waveforms, labels = tones()
    model = ParallelModel(2, config=SMALL.replace(fusion_weight=0.0))
    data = (waveforms, labels)
    settings = {**DIRECT, "patience": patience}
    history = train_model(model, data, data, epochs=epochs, callbacks=[SpoilWeights(after=7)], **settings)
    best, last = max(history.history["val_uar"]), history.history["val_uar"][-1]
    assert last < best and 8 < len(history.history["loss"]) < 20
    assert evaluate_model(model, data).unweighted_average_recall == pytest.approx(best if patience else last)


class SpoilWeights(keras.callbacks.Callback):
    """Make the model useless from one epoch on."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch > self.after:
            head = self.model.get_layer("logits")
            head.kernel.assign(head.kernel * 0)
            head.bias.assign([5.0, 0.0])

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch


@pytest.mark.slow
def test_validation_and_result_use_the_average_of_the_weights():
    """With the average the returned weights are not those of the last step."""
    data = tones(8)
    model = ParallelModel(2, config=SMALL)
    last = LastWeights()
    settings = {**DIRECT, "ema_momentum": 0.9}
    history = train_model(model, data, data, epochs=3, callbacks=[last], **settings)
    kernel = model.get_layer("logits").kernel
    assert not np.allclose(kernel, last.kernel)
    assert evaluate_model(model, data).unweighted_average_recall == pytest.approx(history.history["val_uar"][-1])


@pytest.mark.usefixtures("no_fit")
def test_the_functionals_branch_is_fitted_to_the_training_data_and_stays():
    """With the network's weights away it answers alone, and rightly."""
    data = tones(8)
    model = ParallelModel(2, config=CALM)
    train_model(model, data, data, functionals_draws=1, **QUICK)
    kernel, bias = (np.array(each) for each in model.get_layer("functionals_logits").weights)
    fit_functionals_branch(model, [labelled_batches(data, 2)], TrainConfig().functionals_regularization)
    np.testing.assert_allclose(model.get_layer("functionals_logits").kernel, kernel, atol=1e-6)
    np.testing.assert_allclose(model.get_layer("functionals_logits").bias, bias, atol=1e-5)
    model.get_layer("logits").kernel.assign(0 * model.get_layer("logits").kernel)
    assert evaluate_model(model, data).unweighted_average_recall == 1.0


@pytest.mark.usefixtures("no_fit")
def test_each_draw_of_the_functionals_takes_the_crops_of_another_epoch(corpus):
    """The means of the functionals are those over the crops of the first two epochs."""
    splits = preprocess_data(corpus, batch_size=8, crop_seconds=0.5)
    model = ParallelModel(3, config=CALM)
    train_model(model, splits.train, splits.val, epochs=1, functionals_draws=2, **DIRECT)
    branch, batches = model.parts.functionals, []
    of_clips = keras.Model(model.input, [branch.values, branch.reliability])
    with epochs_numbered() as epochs:
        for epochs.epoch in range(2):
            batches += [of_clips(inputs) for inputs, _ in labelled_batches(splits.train, 3)]
    functionals, reliability = (np.concatenate(each) for each in zip(*batches, strict=True))
    weights = np.repeat(reliability, functionals.shape[1] // reliability.shape[1], axis=1)
    expected = np.average(functionals, axis=0, weights=weights)
    mean = branch.normalization.adapt_mean.numpy()
    np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-4)


def test_the_functionals_branch_is_fitted_to_clips_that_are_augmented_as_in_training(noise):
    """The level of a band of one clip, given again and again, varies as much as the random filter says."""
    spread = 5.0
    model = ParallelModel(2, config=CALM.replace(filter_db=spread))
    inputs = {"waveform": np.tile(noise(8_000), (500, 1)), "num_samples": np.full(500, 8_000, np.int32)}
    data = tf.data.Dataset.from_tensors((inputs, np.eye(2, dtype=np.float32)[np.arange(500) % 2]))
    model.adapt_normalization(data)
    fit_functionals_branch(model, [data], 100.0)
    of_statistics, of_bands = (
        model.get_layer(name).adapt_variance.numpy().ravel() for name in ("functionals_normalization", "normalization")
    )
    in_db = np.sqrt(of_statistics[: len(of_bands)] * of_bands)
    np.testing.assert_allclose(in_db[[0, -1]], spread, rtol=0.1)  # the outer bands are knots of the filter


@pytest.mark.usefixtures("no_fit")
def test_in_each_draw_the_same_clips_are_augmented_anew(monkeypatch):
    fitted = []

    def listen(functionals, labels, regularization, reliability):
        fitted.append((functionals.copy(), labels))
        return logistic_regression(functionals, labels, regularization, reliability)

    monkeypatch.setattr("ser_keras.model.functionals_branch.logistic_regression", listen)
    data = tf.data.Dataset.from_tensor_slices(tones(8)).batch(4)  # in one order
    train_model(ParallelModel(2, config=SMALL), data, data, functionals_draws=3, **QUICK)
    [(functionals, labels)] = fitted
    np.testing.assert_array_equal(labels.argmax(axis=1), np.tile(labels[:8].argmax(axis=1), 3))
    first, second, third = np.split(functionals, 3)
    for one, other in ((first, second), (second, third), (first, third)):
        assert np.abs(one - other).max(axis=1).min() > 0.1


class LastWeights(keras.callbacks.Callback):
    """Remember the weights as the optimizer left them."""

    def on_train_batch_end(self, batch, logs=None):
        self.kernel = self.model.get_layer("logits").kernel.numpy()


class SpoilOneWeight(keras.callbacks.Callback):
    """Set some weight to NaN in the middle of the third epoch."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 2 and batch == 0:
            weight = next(each for each in self.model.weights if each.path.endswith(self.weight))
            weight.assign(np.nan * weight)


@pytest.mark.parametrize(
    ("patience", "weight", "message"),
    [
        (0, "logits/kernel", r"^loss became nan in epoch 3: learning_rate=0\.005"),
        (5, "norm_2/moving_variance", r"^val_loss became nan in epoch 3: .* of epoch [12]$"),
    ],
)
def test_a_loss_that_is_no_number_stops_it_and_the_last_or_best_weights_are_kept(tmp_path, weight, message, patience):
    data = tf.data.Dataset.from_tensor_slices(tones(16)).batch(8)
    model = ParallelModel(2, config=SMALL)
    with pytest.raises(InputError, match=message):
        settings = {**DIRECT, **EACH_STEP, "epochs": 5, "patience": patience, "callbacks": [SpoilOneWeight(weight)]}
        train_model(model, data, data, output_dir=tmp_path, **settings)
    kept = load_model(tmp_path / "model.keras").get_weights()
    for ours, theirs in zip(model.get_weights(), kept, strict=True):
        assert np.isfinite(ours).all()
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_a_loss_that_is_no_number_at_once_leaves_the_weights_as_they_were():
    waveforms, labels = tones(8)
    model = ParallelModel(2, config=SMALL)
    before = [weight.numpy() for weight in model.trainable_weights]
    with pytest.raises(InputError, match=r"^loss became nan in epoch 1: "):
        train_model(model, (waveforms, labels, np.full(8, np.nan)), (waveforms, labels), **QUICK)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize("side", ["train", "val"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_samples_that_are_no_numbers_are_refused_before_the_work(side, value):
    good, (waveforms, labels) = tones(8), tones(8)
    waveforms[3, 100] = value
    data = ((waveforms, labels), good) if side == "train" else (good, (waveforms, labels))
    with pytest.raises(InputError, match="1 of the 8 clips of a batch hold NaN or infinite samples: repair"):
        train_model(ParallelModel(2, config=SMALL), *data, **QUICK)


@pytest.mark.slow
def test_a_class_of_one_clip_and_batches_of_one_clip_give_finite_weights():
    waveforms, labels = tones(6)
    labels[:] = [0, 0, 0, 0, 0, 1]
    data = tf.data.Dataset.from_tensor_slices((waveforms, labels)).batch(1)
    model = ParallelModel(2, config=SMALL)
    history = train_model(model, data, data, **QUICK)
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_a_full_disk_names_the_file_and_leaves_no_half_of_it(small_model, tmp_path, monkeypatch):
    def fill_the_disk(self, path):
        path.write_bytes(b"half a model")
        raise OSError(28, "No space left on device")

    path = tmp_path / "model.keras"
    path.write_bytes(b"the one before")
    monkeypatch.setattr(ParallelModel, "save", fill_the_disk)
    with pytest.raises(OSError, match=r"No space left on device: '.*/model\.keras'"):
        save_model(small_model, path)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"the one before"]


def test_no_clip_for_validation_is_refused():
    empty = tf.data.Dataset.from_tensor_slices((np.zeros((0, 10), np.float32), np.zeros(0, np.int32))).batch(2)
    with pytest.raises(InputError, match="validation data"):
        train_model(ParallelModel(2, config=SMALL), tones(4), empty)


def test_class_weights_balance_and_ignore_absent_classes():
    weights = class_weights(np.array([6, 2, 0]))
    assert weights[2] == 0
    assert weights[0] * 6 == pytest.approx(weights[1] * 2)
    assert weights[0] * 6 + weights[1] * 2 == pytest.approx(8)


def test_a_model_of_another_size_is_refused(splits):
    message = (
        r"num_emotions=8, but the data has 3 \(neutral, sad, angry\): build it with ParallelModel\(num_emotions=3\)"
    )
    with pytest.raises(InputError, match=message):
        train_model(ParallelModel(8, config=SMALL), splits.train, splits.val)


def test_other_names_are_refused(splits):
    model = ParallelModel(3, emotions=("sad", "neutral", "angry"), config=SMALL)
    with pytest.raises(
        InputError, match="the model's emotions are sad, neutral, angry, the data's neutral, sad, angry"
    ):
        train_model(model, splits.train, splits.val)


def test_a_label_outside_the_classes_is_refused():
    waveforms, _ = tones(4)
    data = (waveforms, np.array([0, 1, 2, 1]))
    with pytest.raises(InputError, match="a label is outside 0 to 1"):
        train_model(ParallelModel(2, config=SMALL), data, data)


def test_no_clip_is_refused():
    empty = tf.data.Dataset.from_tensor_slices((np.zeros((0, 10), np.float32), np.zeros(0, np.int32))).batch(2)
    with pytest.raises(InputError, match="training data"):
        train_model(ParallelModel(2, config=SMALL), empty, empty)
