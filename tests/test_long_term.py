import keras
import numpy as np
import pytest
from scipy.special import eval_legendre, softmax
from sklearn.linear_model import LogisticRegression

from ser_keras.long_term import AnswerAverage, LongTermStatistics, fit_linear_model


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


@pytest.mark.parametrize("num_frames", [0, 1, 3])
def test_a_clip_shorter_than_a_lag_has_finite_statistics(num_frames):
    mask = np.arange(20)[None] < num_frames
    statistics = LongTermStatistics((16,))(np.ones((1, 20, 6), np.float32), mask).numpy()
    assert statistics.shape == (1, 5 * 6) and np.isfinite(statistics).all()


@pytest.mark.parametrize("layer", [LongTermStatistics((2, 3)), AnswerAverage(0.3)], ids=lambda layer: layer.name)
def test_config_round_trip(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()


def points(num_classes):
    """Clusters far from zero and of different spread, a class each, of unequal size."""
    random = np.random.default_rng(0)
    labels = np.concatenate([[label] * (10 + 20 * label) for label in range(num_classes)])
    centres = random.normal(size=(num_classes, 6)) * 2
    return (centres[labels] + random.normal(size=(len(labels), 6))) * [1, 10, 100, 1, 1, 0.1] + 50, labels


def logits(model, statistics):
    return (statistics - model.mean) / np.sqrt(model.variance) @ model.kernel + model.bias


@pytest.mark.parametrize("num_classes", [2, 4])
def test_the_linear_model_says_what_scikit_learn_says_of_standardised_points(num_classes):
    statistics, labels = points(num_classes)
    model = fit_linear_model(statistics.copy(), np.eye(num_classes)[labels], 10.0)
    scaled = (statistics - statistics.mean(0)) / statistics.std(0)
    reference = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000).fit(scaled, labels)
    probabilities = softmax(logits(model, statistics), axis=1)
    np.testing.assert_allclose(probabilities, reference.predict_proba(scaled), atol=1e-3)


def test_a_class_without_clips_is_never_the_answer():
    statistics, labels = points(3)
    answers = np.argmax(logits(fit_linear_model(statistics.copy(), np.eye(5)[labels + 1], 1.0), statistics), axis=1)
    assert set(answers) == {1, 2, 3}


def test_one_class_alone_leaves_the_answer_to_the_network():
    model = fit_linear_model(np.ones((4, 3)), np.eye(2)[[1, 1, 1, 1]], 1.0)
    assert not model.kernel.any() and not model.bias.any()


def test_a_statistic_that_is_constant_in_training_is_not_blown_up():
    statistics, labels = points(2)
    statistics[:, 0] = 1.0 + np.random.default_rng(1).normal(size=len(labels)) * 1e-7
    model = fit_linear_model(statistics.copy(), np.eye(2)[labels], 1.0)
    assert np.abs(model.kernel[0] / np.sqrt(model.variance[0])).max() < 1


def test_in_training_the_network_answers_alone():
    own, second = np.log([[0.7, 0.2, 0.1]]), np.log([[0.1, 0.1, 0.8]])
    average = AnswerAverage(0.5)
    np.testing.assert_allclose(average(own, second, training=True), own, atol=1e-6)
    pooled = np.sqrt([0.7 * 0.1, 0.2 * 0.1, 0.1 * 0.8])
    np.testing.assert_allclose(softmax(average(own, second).numpy()[0]), pooled / pooled.sum(), atol=1e-6)


def test_the_same_model_taken_from_another_mean_says_the_same():
    statistics, labels = points(3)
    model = fit_linear_model(statistics.copy(), np.eye(3)[labels], 10.0)
    mean = model.mean + np.random.default_rng(0).normal(size=6)
    moved = model.taken_from(mean)
    np.testing.assert_array_equal(moved.mean, mean)
    np.testing.assert_allclose(logits(moved, statistics), logits(model, statistics), atol=1e-9)
