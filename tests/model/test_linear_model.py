"""The linear model beside the network is scikit-learn's."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from ser_keras.model.linear_model import logistic_regression


def points(num_classes):
    """Clusters far from zero and of different spread, a class each, of unequal size."""
    random = np.random.default_rng(0)
    labels = np.concatenate([[label] * (10 + 20 * label) for label in range(num_classes)])
    centres = random.normal(size=(num_classes, 6)) * 2
    return (centres[labels] + random.normal(size=(len(labels), 6))) * [1, 10, 100, 1, 1, 0.1] + 50, labels


def logits(model, statistics):
    return (statistics - model.mean) / np.sqrt(model.variance) @ model.kernel + model.bias


def fit(statistics, labels, regularization):
    """Of statistics that can all be relied on."""
    return logistic_regression(statistics, labels, regularization, np.ones((len(statistics), 1), np.float32))


@pytest.mark.parametrize("num_classes", [2, 4])
def test_the_linear_model_says_what_scikit_learn_says_of_standardised_points(num_classes):
    statistics, labels = points(num_classes)
    model = fit(statistics.copy(), np.eye(num_classes)[labels], 10.0)
    scaled = (statistics - statistics.mean(0)) / statistics.std(0)
    reference = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000).fit(scaled, labels)
    probabilities = softmax(logits(model, statistics), axis=1)
    np.testing.assert_allclose(probabilities, reference.predict_proba(scaled), atol=1e-3)


def test_a_class_without_clips_is_never_the_answer():
    statistics, labels = points(3)
    answers = np.argmax(logits(fit(statistics.copy(), np.eye(5)[labels + 1], 1.0), statistics), axis=1)
    assert set(answers) == {1, 2, 3}


def test_one_class_alone_leaves_the_answer_to_the_network():
    model = fit(np.ones((4, 3)), np.eye(2)[[1, 1, 1, 1]], 1.0)
    assert not model.kernel.any() and not model.bias.any()


def test_a_statistic_that_is_constant_in_training_is_not_blown_up():
    statistics, labels = points(2)
    statistics[:, 0] = 1.0 + np.random.default_rng(1).normal(size=len(labels)) * 1e-7
    model = fit(statistics.copy(), np.eye(2)[labels], 1.0)
    assert np.abs(model.kernel[0] / np.sqrt(model.variance[0])).max() < 1


def test_the_same_model_taken_from_another_mean_says_the_same():
    statistics, labels = points(3)
    model = fit(statistics.copy(), np.eye(3)[labels], 10.0)
    mean = model.mean + np.random.default_rng(0).normal(size=6)
    moved = model.taken_from(mean)
    np.testing.assert_array_equal(moved.mean, mean)
    np.testing.assert_allclose(logits(moved, statistics), logits(model, statistics), atol=1e-9)


def test_statistics_that_cannot_be_relied_on_have_no_part_in_moments_and_weights():
    """Of two kinds of statistics the second is undefined, and far away, for every third clip."""
    statistics, labels = points(3)
    undefined = np.arange(len(labels)) % 3 == 0
    reliability = np.stack([np.ones(len(labels)), ~undefined], axis=1).astype(np.float32)
    given = statistics.copy()
    given[undefined, 3:] = -1e6
    model = logistic_regression(given.copy(), np.eye(3)[labels], 10.0, reliability)
    np.testing.assert_allclose(model.mean[:3], statistics[:, :3].mean(axis=0))
    np.testing.assert_allclose(model.mean[3:], statistics[~undefined, 3:].mean(axis=0))
    np.testing.assert_allclose(np.sqrt(model.variance[3:]), statistics[~undefined, 3:].std(axis=0))
    scaled = (given - model.mean) / np.sqrt(model.variance) * np.repeat(reliability, 3, axis=1)
    reference = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000).fit(scaled, labels)
    np.testing.assert_allclose(model.kernel.T, reference.coef_, atol=1e-3)
