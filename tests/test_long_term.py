import keras
import numpy as np
import pytest
from scipy.special import eval_legendre, softmax

from ser_keras.long_term import AnswerAverage, LongTermStatistics


def by_hand(frames, lags):
    """The statistics of one clip `(frames, descriptors)`, from their definition."""
    ends = np.arange(len(frames) + 1) / len(frames) * 2 - 1
    time = (ends[1:] + ends[:-1]) / 2
    trends = [(2 * n + 1) * np.mean(frames * eval_legendre(n, time)[:, None], axis=0) for n in (1, 2)]
    spread = log(frames.var(axis=0))
    changes = [log(np.mean((frames[lag:] - frames[:-lag]) ** 2, axis=0)) - spread for lag in lags]
    return np.concatenate([frames.mean(axis=0), spread, *trends, *changes])


def log(variance):
    return np.log(variance + 1e-3)


def test_statistics_are_those_of_their_definition_and_padding_adds_none():
    frames = np.random.default_rng(0).normal(size=(2, 60, 20)).cumsum(axis=1).astype(np.float32)
    mask = np.arange(60) < np.array([[60], [33]])
    statistics = LongTermStatistics((1, 5))(frames, mask).numpy()
    np.testing.assert_allclose(statistics[0], by_hand(frames[0], (1, 5)), atol=1e-4)
    np.testing.assert_allclose(statistics[1], by_hand(frames[1, :33], (1, 5)), atol=1e-4)


def test_what_lies_before_the_mask_counts_no_more_than_padding():
    frames = np.random.default_rng(0).normal(size=(1, 60, 20)).cumsum(axis=1).astype(np.float32)
    mask = (np.arange(60) >= 17) & (np.arange(60) < 50)
    statistics = LongTermStatistics((1, 5))(frames, mask[None]).numpy()
    np.testing.assert_allclose(statistics[0], by_hand(frames[0, 17:50], (1, 5)), atol=1e-4)


@pytest.mark.parametrize("num_frames", [0, 1, 3])
def test_a_clip_shorter_than_a_lag_has_finite_statistics(num_frames):
    mask = np.arange(20)[None] < num_frames
    statistics = LongTermStatistics((16,))(np.ones((1, 20, 6), np.float32), mask).numpy()
    assert statistics.shape == (1, 5 * 6) and np.isfinite(statistics).all()


@pytest.mark.parametrize("layer", [LongTermStatistics((2, 3)), AnswerAverage(0.3)], ids=lambda layer: layer.name)
def test_config_round_trip(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()


def test_in_training_the_network_answers_alone():
    own, second = np.log([[0.7, 0.2, 0.1]]), np.log([[0.1, 0.1, 0.8]])
    average = AnswerAverage(0.5)
    np.testing.assert_allclose(average(own, second, training=True), own, atol=1e-6)
    pooled = np.sqrt([0.7 * 0.1, 0.2 * 0.1, 0.1 * 0.8])
    np.testing.assert_allclose(softmax(average(own, second).numpy()[0]), pooled / pooled.sum(), atol=1e-6)
