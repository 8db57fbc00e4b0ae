"""The temperature: found by hand and against a second search, and where it goes from there."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SMALL

from ser_keras.errors import InputError
from ser_keras.layers.fusion import Temperature
from ser_keras.model import ParallelModel
from ser_keras.training import train_model
from ser_keras.training.calibration import TEMPERATURE_BOUNDS, best_temperature, calibrate_temperature


def draw_clips(num_clips, temperature, seed=0):
    """Logits that are `temperature` times those by which the labels were drawn."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(num_clips, 4)) * 2
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (random.random((num_clips, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    return logits * temperature, np.eye(4)[labels]


def negative_log_likelihood(logits, targets, temperature):
    scaled = logits / temperature
    return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - (scaled * targets).sum(axis=1)))


@pytest.fixture
def clips(noise):
    """Waveforms of one length and their labels."""
    return np.stack([noise(4_000, seed) for seed in range(12)]), np.arange(12) % 3


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 6.0])
def test_the_temperature_that_the_labels_were_drawn_by_is_found(temperature):
    assert best_temperature(*draw_clips(20_000, temperature)) == pytest.approx(temperature, rel=0.03)  # 20,000 draws


@pytest.mark.parametrize("seed", range(3))
def test_no_other_temperature_is_more_likely(seed):
    logits, targets = draw_clips(5_000, 3.0, seed)
    grid = np.exp(np.linspace(*np.log(TEMPERATURE_BOUNDS), 2_000))
    best = grid[np.argmin([negative_log_likelihood(logits, targets, each) for each in grid])]
    assert best_temperature(logits, targets) == pytest.approx(best, rel=5e-3)  # the grid's step


def test_few_clips_that_are_all_right_do_not_make_it_sure():
    targets = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    temperature = best_temperature(targets * 4, targets)
    assert TEMPERATURE_BOUNDS[0] < temperature
    sure = np.exp(4 / temperature) / (np.exp(4 / temperature) + 2)
    assert 0.8 < sure < 0.97


@pytest.mark.parametrize(("factor", "bound"), [(1e-4, 0), (1e4, 1)])
def test_it_stays_within_its_bounds(factor, bound):
    logits, targets = draw_clips(200, 1.0)
    assert best_temperature(logits * factor, targets) == pytest.approx(TEMPERATURE_BOUNDS[bound], rel=1e-3)


def test_calibration_changes_no_label_and_no_other_weight(restless_model, clips):
    model = ParallelModel.from_config(restless_model.get_config())
    model.set_weights(restless_model.get_weights())
    model.finalize_normalization()
    inputs = {"waveform": clips[0], "num_samples": np.full(12, 4_000, np.int32)}
    before, weights = model(inputs).numpy(), model.get_weights()
    temperature = calibrate_temperature(model, clips)
    after = model(inputs).numpy()
    assert temperature != 1 and np.abs(after - before).max() > 1e-3
    np.testing.assert_array_equal(after.argmax(axis=1), before.argmax(axis=1))
    changed = [
        weight.path for weight, old in zip(model.weights, weights, strict=True) if not np.array_equal(weight, old)
    ]
    assert len(changed) == 1 and "temperature" in changed[0]


def test_probabilities_are_those_of_the_divided_logits(small_model, clips):
    inputs = {"waveform": clips[0], "num_samples": np.full(12, 4_000, np.int32)}
    logits = keras.Model(small_model.input, small_model.get_layer("temperature").input)(inputs).numpy()
    small_model.get_layer("temperature").set(2.0)
    expected = np.exp(logits / 2) / np.exp(logits / 2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(small_model(inputs), expected, rtol=1e-5)


def test_calibrating_again_finds_the_same(small_model, clips):
    first = calibrate_temperature(small_model, clips)
    assert calibrate_temperature(small_model, clips) == pytest.approx(first, rel=1e-5)


def test_the_temperature_is_no_weight_that_is_trained(small_model):
    assert not any("temperature" in weight.path for weight in small_model.trainable_weights)


def test_the_temperature_is_saved_with_the_model(small_model, tmp_path):
    small_model.get_layer("temperature").set(2.5)
    small_model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert float(loaded.get_layer("temperature").temperature) == 2.5


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_refused(small_model, clips, value):
    small_model.get_layer("logits").bias.assign([value, 0.0, 0.0])
    with pytest.raises(InputError, match="NaN or infinite"):
        calibrate_temperature(small_model, clips)


def test_no_validation_clip_is_refused(small_model):
    empty = tf.data.Dataset.from_tensor_slices((np.zeros((0, 10), np.float32), np.zeros(0, np.int32))).batch(2)
    with pytest.raises(InputError, match="validation data"):
        calibrate_temperature(small_model, empty)


def test_a_label_outside_the_classes_is_refused(small_model, clips):
    with pytest.raises(InputError, match="0 to 2"):
        calibrate_temperature(small_model, (clips[0], clips[1] + 1))


def test_training_calibrates_on_the_validation_data_last(clips, tmp_path):
    model = ParallelModel(3, config=SMALL)
    train_model(model, clips, clips, epochs=1, verbose=0, mixup=0.0, output_dir=tmp_path)
    fitted = float(model.get_layer("temperature").temperature)
    assert fitted != 1
    assert calibrate_temperature(model, clips) == pytest.approx(fitted, rel=1e-5)
    saved = keras.models.load_model(tmp_path / "model.keras")
    assert float(saved.get_layer("temperature").temperature) == fitted


def test_the_layer_takes_half_precision():
    layer = Temperature(dtype="mixed_bfloat16")
    layer.build((None, 2))
    layer.set(2.0)
    assert layer(tf.ones((1, 2), tf.bfloat16)).numpy().astype(float).tolist() == [[0.5, 0.5]]
