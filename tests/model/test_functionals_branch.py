"""The functionals branch predicts what scikit-learn's logistic regression predicts."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from ser_keras.model.functionals_branch import logistic_regression


def points(num_classes):
    """Clusters far from zero and of different spread, a class each, of unequal size."""
    random = np.random.default_rng(0)
    labels = np.concatenate([[label] * (10 + 20 * label) for label in range(num_classes)])
    centres = random.normal(size=(num_classes, 6)) * 2
    return (centres[labels] + random.normal(size=(len(labels), 6))) * [1, 10, 100, 1, 1, 0.1] + 50, labels


def logits(regression, functionals):
    return (functionals - regression.mean) / np.sqrt(regression.variance) @ regression.kernel + regression.bias


def fit(functionals, labels, regularization):
    """Fit to functionals that are all reliable."""
    return logistic_regression(functionals, labels, regularization, np.ones((len(functionals), 1), np.float32))


@pytest.mark.parametrize("num_classes", [2, 4])
def test_probabilities_are_those_of_scikit_learn_on_standardised_points(num_classes):
    functionals, labels = points(num_classes)
    regression = fit(functionals.copy(), np.eye(num_classes)[labels], 10.0)
    scaled = (functionals - functionals.mean(0)) / functionals.std(0)
    reference = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000).fit(scaled, labels)
    probabilities = softmax(logits(regression, functionals), axis=1)
    np.testing.assert_allclose(probabilities, reference.predict_proba(scaled), atol=1e-3)


def test_a_class_without_clips_is_never_predicted():
    functionals, labels = points(3)
    predicted = np.argmax(logits(fit(functionals.copy(), np.eye(5)[labels + 1], 1.0), functionals), axis=1)
    assert set(predicted) == {1, 2, 3}


def test_a_single_class_gives_weights_of_zero():
    regression = fit(np.ones((4, 3)), np.eye(2)[[1, 1, 1, 1]], 1.0)
    assert not regression.kernel.any() and not regression.bias.any()


def test_a_functional_that_is_constant_in_training_is_not_amplified():
    functionals, labels = points(2)
    functionals[:, 0] = 1.0 + np.random.default_rng(1).normal(size=len(labels)) * 1e-7
    regression = fit(functionals.copy(), np.eye(2)[labels], 1.0)
    assert np.abs(regression.kernel[0] / np.sqrt(regression.variance[0])).max() < 1


def test_another_mean_changes_no_logit():
    functionals, labels = points(3)
    regression = fit(functionals.copy(), np.eye(3)[labels], 10.0)
    mean = regression.mean + np.random.default_rng(0).normal(size=6)
    moved = regression.centred_on(mean)
    np.testing.assert_array_equal(moved.mean, mean)
    np.testing.assert_allclose(logits(moved, functionals), logits(regression, functionals), atol=1e-9)


def test_unreliable_functionals_change_neither_moments_nor_weights():
    """Of two kinds of functionals the second is undefined, and far away, for every third clip."""
    functionals, labels = points(3)
    undefined = np.arange(len(labels)) % 3 == 0
    reliability = np.stack([np.ones(len(labels)), ~undefined], axis=1).astype(np.float32)
    given = functionals.copy()
    given[undefined, 3:] = -1e6
    regression = logistic_regression(given.copy(), np.eye(3)[labels], 10.0, reliability)
    np.testing.assert_allclose(regression.mean[:3], functionals[:, :3].mean(axis=0))
    np.testing.assert_allclose(regression.mean[3:], functionals[~undefined, 3:].mean(axis=0))
    np.testing.assert_allclose(np.sqrt(regression.variance[3:]), functionals[~undefined, 3:].std(axis=0))
    scaled = (given - regression.mean) / np.sqrt(regression.variance) * np.repeat(reliability, 3, axis=1)
    reference = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000).fit(scaled, labels)
    np.testing.assert_allclose(regression.kernel.T, reference.coef_, atol=1e-3)
