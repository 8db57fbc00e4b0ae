"""Fit the functionals branch: logistic regression by scikit-learn, stored in layers of the model.

`ser_keras.model.backbones.functionals_branch` builds these layers; gradients do not train them.
"""

from collections.abc import Iterable
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple, Self

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression

_ABSENT_LOGIT = -10.0
"""Logit of a class without training clips."""

_LEAST_SPREAD = 0.01
"""Least standard deviation: a functional that hardly varies in training may vary more elsewhere."""


def fit_functionals_branch(model: keras.Model, draws: Iterable[Any], regularization: float) -> None:
    """Fit a model's functionals branch to training data, after its `adapt_normalization`.

    The regression is fitted to clips augmented as in training. The means that it subtracts are those of the clips
    without the augmentation inside the model, which `centre_functionals` moves. Then the fusion gets its weight; with
    a single class in the data it stays 0.

    Args:
        model: a `ParallelModel`; one with ``fusion_weight=0`` stays as it is.
        draws: datasets of the training clips, each with other crops or augmented copies. A dataset is an iterable of
            inputs as ``model.parts.head`` takes them and one-hot labels `(batch, num_emotions)`, see
            `ser_keras.pipeline.batches.labelled_batches`; each is consumed once.
        regularization: as in `logistic_regression`.
    """
    branch = model.parts.functionals
    if branch is None:
        return
    if model.parts.encoder is None:
        augmented, plain = _functionals_of(model, training=True), _functionals_of(model, training=False)
    else:
        augmented = plain = itemgetter("functionals", "reliability")
    labels, reliability, means = [], [], _Means()

    def each_clip():
        for inputs, one_hot, *_ in chain.from_iterable(draws):
            means.add(*plain(inputs))
            functionals, weights = augmented(inputs)
            labels.append(one_hot.numpy())
            reliability.append(weights.numpy())
            yield from functionals.numpy()

    size = branch.values.shape[-1]
    functionals = np.fromiter(each_clip(), np.dtype((np.float32, size)))  # without a list beside it: up to GBs
    regression = logistic_regression(functionals, np.concatenate(labels), regularization, np.concatenate(reliability))
    regression = regression.centred_on(means.result(default=regression.mean))
    branch.head.set_weights([regression.kernel, regression.bias])
    _set_moments(model, regression.mean, regression.variance)
    model.parts.fusion.set(model.config.fusion_weight if regression.kernel.any() else 0.0)


def centre_functionals(model: keras.Model, batches, *, weight: float) -> None:
    """Move the means that the functionals branch subtracts towards those of other recordings.

    Behind an encoder the network subtracts means of the same features, which move as far. The means of functionals for
    which all recordings are too short stay as they are.

    Args:
        model: a `ParallelModel` that has a functionals branch.
        batches: iterable as `ParallelModel.adapt_normalization` takes it.
        weight: of the recordings against the present means, 0 to 1.
    """
    normalization = model.parts.functionals.normalization
    mean = normalization.adapt_mean.numpy()
    compute, means = _functionals_of(model, training=False), _Means()
    for batch in batches:
        means.add(*compute(batch[0] if isinstance(batch, tuple) else batch))
    found = means.result(default=mean)
    shift = weight * (found - mean)
    _set_moments(model, mean + shift, normalization.adapt_variance)
    if model.parts.encoder is not None:
        network = model.parts.normalization
        size = model.parts.encoder.output["steps"].shape[-1]
        of_features = shift[:size]  # the means come first among the functionals
        network.adapt_mean.assign_add(np.reshape(of_features, network.adapt_mean.shape))
        network.finalize_state()


class StandardizedRegression(NamedTuple):
    """Logistic regression on standardised functionals.

    Attributes:
        mean: of each functional over the clips, `(functionals,)`.
        variance: the same.
        kernel: `(functionals, classes)`, of functionals less their mean in units of their standard deviation.
        bias: `(classes,)`.
    """

    mean: np.ndarray
    variance: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray

    def centred_on(self, mean: np.ndarray) -> Self:
        """Return the same function with another mean, and a bias that compensates for it."""
        shift = (mean - self.mean) / np.sqrt(self.variance)
        return self._replace(mean=mean, bias=self.bias + shift @ self.kernel)


def logistic_regression(
    functionals: np.ndarray, labels: np.ndarray, regularization: float, reliability: np.ndarray
) -> StandardizedRegression:
    """Fit scikit-learn's logistic regression, with balanced classes, to standardised functionals.

    The moments are weighted by the reliability of each clip, for which `sklearn.preprocessing.StandardScaler` has
    no option.

    Args:
        functionals: floating-point numbers `(clips, functionals)`, which are standardised in place: for a large
            corpus they are most of the memory that training needs.
        labels: one-hot `(clips, classes)`.
        regularization: L2 penalty of the weights, the inverse of scikit-learn's ``C``.
        reliability: factor of the standardised functionals, 0 to 1, `(clips, kinds)`: one for each kind, which are
            stretches of equal size. Those with 0 do not enter the moments.

    Returns:
        The regression. A class without a clip is never predicted; with fewer than two classes kernel and bias are 0.
    """
    targets, classes = labels.argmax(axis=1), labels.shape[1]
    by_kind = functionals.reshape(*reliability.shape, -1)  # (clips, kinds, descriptors), a view
    mean = _weighted_mean(by_kind, reliability)
    by_kind -= mean
    spread = np.maximum(np.sqrt(_weighted_mean(by_kind, reliability, power=2)), _LEAST_SPREAD)
    by_kind /= spread
    by_kind *= reliability[..., None]
    kernel, bias = np.zeros((functionals.shape[1], classes)), np.zeros(classes)
    present = np.unique(targets)
    if len(present) > 1:
        regression = LogisticRegression(C=1 / regularization, class_weight="balanced", max_iter=1000)
        regression.fit(functionals, targets)
        # For two classes scikit-learn has one row, the logit of the second class.
        sign = np.array([[-0.5], [0.5]]) if len(present) == 2 else 1
        kernel[:, present] = (sign * regression.coef_).T
        bias[:] = _ABSENT_LOGIT
        bias[present] = np.squeeze(sign) * regression.intercept_
    return StandardizedRegression(mean.ravel(), spread.ravel() ** 2, kernel, bias)


class _Means:
    """The mean of each functional over batches of clips, weighted by reliability."""

    def __init__(self):
        self._total, self._weight = 0.0, 0.0

    def add(self, functionals, reliability) -> None:
        weights = reliability.numpy()  # (clips, kinds)
        self._total = self._total + _weighted_sum(functionals.numpy().reshape(*weights.shape, -1), weights)
        self._weight = self._weight + weights.sum(axis=0)

    def result(self, *, default: np.ndarray) -> np.ndarray:
        """Return the means, `(functionals,)`; those for which every clip is too short from `default`."""
        return _quotient(self._total, self._weight, default.reshape(self._total.shape)).ravel()


def _weighted_mean(values: np.ndarray, reliability: np.ndarray, power: int = 1) -> np.ndarray:
    """Return the mean of values `(clips, kinds, descriptors)`, weighted by kind; 0 where all weights are 0."""
    total = _weighted_sum(values, reliability, power)
    return _quotient(total, reliability.sum(axis=0), np.zeros_like(total))


def _weighted_sum(values: np.ndarray, reliability: np.ndarray, power: int = 1) -> np.ndarray:
    factors = ("ckd," * power)[:-1]
    return np.einsum(f"{factors},ck->kd", *[values] * power, reliability, dtype=np.float64)


def _quotient(total: np.ndarray, weight: np.ndarray, default: np.ndarray) -> np.ndarray:
    weight = np.asarray(weight, np.float64)[:, None]  # (kinds, 1)
    return np.divide(total, weight, out=default.astype(np.float64), where=weight > 0)


def _functionals_of(model: keras.Model, *, training: bool):
    """Return a function from waveforms to functionals, `(clips, functionals)`, and their reliability."""
    import tensorflow as tf

    branch = model.parts.functionals
    network = keras.Model(model.input, [branch.values, branch.reliability])
    signature = {"waveform": tf.TensorSpec([None, None]), "num_samples": tf.TensorSpec([None], tf.int32)}
    return tf.function(
        lambda inputs: network(inputs, training=training), input_signature=[signature], autograph=False
    ).get_concrete_function()


def _set_moments(model: keras.Model, mean: np.ndarray, variance: np.ndarray) -> None:
    """Let the functionals branch subtract these means and divide by the roots of these variances."""
    normalization = model.parts.functionals.normalization
    normalization.adapt_mean.assign(mean)
    normalization.adapt_variance.assign(variance)
    normalization.finalize_state()
