"""Fit the linear model beside the network: by scikit-learn, into layers of the model.

`ser_keras.model.network.linear_model` builds these layers. They are not trained by gradients, and
`fit` leaves them alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

_NEVER = 10.0
"""How far the logit of a class that was not in training lies below."""

_LEAST_SPREAD = 0.01
"""A statistic that hardly varies in training is not scaled up beyond this: it may vary elsewhere."""


def fit_linear_model(model: keras.Model, batches, regularization: float, *, draws: int = 1) -> None:
    """Fit a model's linear model of the clips' statistics to training data, after its `adapt_normalization`.

    It is fitted to the clips as the network is trained on them, augmented. The means that their statistics are taken
    from are those of the clips as they are, which `centre_statistics` moves. From then on it has its part in what the
    model predicts; where there is nothing to fit, one class alone, it has none.

    Args:
        model: a `ParallelModel`; with ``statistics_share=0`` it has no linear model, and stays as it is.
        batches: dataset of inputs, as the model takes them, and one-hot labels `(batch, num_emotions)`; see
            `ser_keras.pipeline.batches.labelled_batches`.
        regularization: as in `logistic_regression`.
        draws: times that each clip is taken, each time augmented anew.
    """
    if not model.config.statistics_share:
        return
    augmented, labels, reliability = _statistics_of(model, training=True), [], []

    def each_clip():
        for _ in range(draws):
            for inputs, one_hot, *_ in batches:
                statistics, weights = augmented(inputs)
                labels.append(one_hot.numpy())
                reliability.append(weights.numpy())
                yield from statistics.numpy()

    size = model.get_layer("long_term_statistics").output.shape[-1]
    statistics = np.fromiter(each_clip(), np.dtype((np.float32, size)))  # no list beside it: these can be GBs
    linear = logistic_regression(statistics, np.concatenate(labels), regularization, np.concatenate(reliability))
    linear = linear.taken_from(_mean_statistics(model, batches, unknown=linear.mean))
    model.get_layer("statistics_logits").set_weights([linear.kernel, linear.bias])
    _set_moments(model, linear.mean, linear.variance)
    model.get_layer("fusion").set(model.config.statistics_share if linear.kernel.any() else 0.0)


def centre_statistics(model: keras.Model, batches, *, weight: float) -> None:
    """Move the means that a model takes the clips' statistics from towards those of other recordings.

    Kinds of statistics for which all recordings are too short stay as they are.

    Args:
        model: a `ParallelModel` that has a linear model.
        batches: iterable as `ParallelModel.adapt_normalization` takes it.
        weight: of the recordings against what the means are now, 0 to 1.
    """
    layer = model.get_layer("statistics_normalization")
    mean = layer.adapt_mean.numpy()
    found = _mean_statistics(model, batches, unknown=mean)
    _set_moments(model, mean + weight * (found - mean), layer.adapt_variance)


class LinearModel(NamedTuple):
    """Logistic regression on standardised statistics.

    Attributes:
        mean: of each statistic over the clips, `(statistics,)`.
        variance: the same.
        kernel: `(statistics, classes)`, of statistics less their mean, in parts of their standard deviation.
        bias: `(classes,)`.
    """

    mean: np.ndarray
    variance: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray

    def taken_from(self, mean: np.ndarray) -> Self:
        """Return the same model with another mean, for which its bias makes up."""
        moved = (mean - self.mean) / np.sqrt(self.variance)
        return self._replace(mean=mean, bias=self.bias + moved @ self.kernel)


def logistic_regression(
    statistics: np.ndarray, labels: np.ndarray, regularization: float, reliability: np.ndarray
) -> LinearModel:
    """Fit scikit-learn's logistic regression, with balanced classes, on standardised statistics.

    Args:
        statistics: floating-point numbers `(clips, statistics)`, which are standardised in place: of a large corpus
            they are most of what training holds in memory.
        labels: one-hot `(clips, classes)`.
        regularization: L2 penalty of the weights, the inverse of scikit-learn's ``C``.
        reliability: by which the standardised statistics are multiplied, 0 to 1, `(clips, kinds)`: one for each of as
            many equal stretches of the statistics. Those with 0 have no part in the moments.

    Returns:
        The model. A class without a clip is never the answer; with fewer than two classes kernel and bias are zero.
    """
    targets, classes = labels.argmax(axis=1), labels.shape[1]
    mean = _mean(statistics, reliability)
    statistics -= mean
    spread = np.maximum(np.sqrt(_mean(statistics, reliability, power=2)), _LEAST_SPREAD)
    statistics /= spread
    by_kind = statistics.reshape(*reliability.shape, -1)  # a view
    by_kind *= reliability[..., None]
    kernel, bias = np.zeros((statistics.shape[1], classes)), np.zeros(classes)
    present = np.unique(targets)
    if len(present) < 2:
        return LinearModel(mean, spread**2, kernel, bias)
    regression = LogisticRegression(C=1 / regularization, class_weight="balanced", max_iter=1000)
    regression.fit(statistics, targets)
    # For two classes scikit-learn gives one row, the logit of the second.
    sign = np.array([[-0.5], [0.5]]) if len(present) == 2 else 1
    kernel[:, present] = (sign * regression.coef_).T
    bias[:] = -_NEVER
    bias[present] = np.squeeze(sign) * regression.intercept_
    return LinearModel(mean, spread**2, kernel, bias)


def _mean_statistics(model: keras.Model, batches, *, unknown: np.ndarray) -> np.ndarray:
    """Return the mean of each statistic over clips that are not augmented, `(statistics,)`, where any clip has it."""
    compute, total, weight = _statistics_of(model, training=False), 0.0, 0.0
    for batch in batches:
        statistics, reliability = (each.numpy() for each in compute(batch[0] if isinstance(batch, tuple) else batch))
        total, weight = total + _weighted_sum(statistics, reliability), weight + reliability.sum(axis=0)
    return _shares(total, weight, unknown)


def _mean(values: np.ndarray, reliability: np.ndarray, power: int = 1) -> np.ndarray:
    """Return the mean `(statistics,)` of values `(clips, statistics)`, weighted by kind; 0 where nothing is known."""
    return _shares(_weighted_sum(values, reliability, power), reliability.sum(axis=0), np.zeros(values.shape[1]))


def _weighted_sum(values: np.ndarray, reliability: np.ndarray, power: int = 1) -> np.ndarray:
    by_kind = values.reshape(*reliability.shape, -1)  # (clips, kinds, descriptors)
    factors = ("ckd," * power)[:-1]
    return np.einsum(f"{factors},ck->kd", *[by_kind] * power, reliability, dtype=np.float64)


def _shares(total: np.ndarray, weight: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    weight = np.asarray(weight, np.float64)[:, None]
    return np.divide(total, weight, out=np.reshape(unknown, total.shape).astype(np.float64), where=weight > 0).ravel()


def _statistics_of(model: keras.Model, *, training: bool) -> Callable[[dict[str, Any]], list[tf.Tensor]]:
    """Return a function from inputs to the statistics of each clip, `(clips, statistics)`, and their reliability."""
    outputs = [model.get_layer(name).output for name in ("long_term_statistics", "reliability")]
    network = keras.Model(model.input, outputs)
    signature = {"waveform": tf.TensorSpec([None, None]), "num_samples": tf.TensorSpec([None], tf.int32)}
    return tf.function(
        lambda inputs: network(inputs, training=training), input_signature=[signature], autograph=False
    ).get_concrete_function()


def _set_moments(model: keras.Model, mean: np.ndarray, variance: np.ndarray) -> None:
    """Let a model take the clips' statistics from these means, in parts of the roots of these variances."""
    layer = model.get_layer("statistics_normalization")
    layer.adapt_mean.assign(mean)
    layer.adapt_variance.assign(variance)
    layer.finalize_state()
