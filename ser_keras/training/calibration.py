"""Calibration of the probabilities: temperature scaling on validation data."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from ser_keras.errors import InputError
from ser_keras.pipeline.batches import check_clips, labelled_batches

TEMPERATURE_BOUNDS = (0.1, 10.0)
"""Range of the search: below 1 the network was underconfident, above 1 overconfident."""


def calibrate_temperature(model: keras.Model, val_data: Any) -> float:
    """Fit the temperature of a trained model, so that predictions with probability 0.9 are right nine times out of ten.

    Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", 2017): the logits z are divided by
    the T with the least mean negative log-likelihood Σ -log softmax(z / T)_label / n on recordings that were not
    trained on. No predicted label changes. The calibration holds on average over recordings like these; on another
    corpus the probabilities can be as far off as before.

    One clip is added whose label is equally likely each of them. It keeps T finite if all of a few clips are right;
    with many clips its weight vanishes.

    Args:
        model: trained `ParallelModel`; its temperature is changed in place.
        val_data: of other speakers than the training data, as `train_model` takes them.

    Returns:
        The temperature, within `TEMPERATURE_BOUNDS`.

    Raises:
        InputError: there is no clip, a label is outside the classes, or the model's logits are NaN or infinite.

    Example:
        ```python
        calibrate_temperature(model, val_data)
        ```
    """
    batches = labelled_batches(val_data, model.num_emotions)
    for inputs, one_hot, *_ in batches:
        check_clips(inputs, one_hot, model.num_emotions)
    return fit_temperature(model, batches)


def fit_temperature(model: keras.Model, batches: tf.data.Dataset) -> float:
    """Fit the temperature as `calibrate_temperature` does, to batches that are checked.

    Args:
        model: trained `ParallelModel`; its temperature is changed in place.
        batches: of `labelled_batches`, or of the same clips encoded.
    """
    layer = model.parts.temperature
    logits, targets = _logits_and_targets(model, batches)
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        raise InputError(
            f"the logits of {np.count_nonzero(~finite)} of {len(finite)} validation clips are NaN or infinite: the "
            "model's weights are unusable; train it anew, with a lower learning_rate"
        )
    layer.set(best_temperature(logits, targets))
    return float(layer.temperature.numpy())


def best_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """Return the temperature with the least negative log-likelihood.

    The likelihood is concave in 1 / T, so that there is one best value, which a bounded search of
    Brent's over log T finds to 1e-6.

    Args:
        logits: finite numbers `(clips, classes)`.
        targets: one-hot `(clips, classes)`.

    Returns:
        A number within `TEMPERATURE_BOUNDS`.

    Example:
        >>> logits = 3 * np.log([[0.9, 0.1]] * 1000)  # confidence 0.999, accuracy 0.9
        >>> round(best_temperature(logits, np.eye(2)[[0] * 900 + [1] * 100]), 1)
        3.0
    """
    num_clips, num_classes = targets.shape
    weights = targets + 1 / (num_clips * num_classes)  # the additional clip, spread over all classes

    def loss(log_temperature: float) -> float:
        return -float((weights * log_softmax(logits / np.exp(log_temperature), axis=1)).sum())

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURE_BOUNDS), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def _logits_and_targets(model: keras.Model, batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays `(clips, classes)`: the logits, and the labels as one-hot rows."""
    signature = batches.element_spec[0]
    raw = keras.Model({name: model.parts.inputs[name] for name in signature}, model.parts.fused_logits)
    logits_of = tf.function(lambda inputs: raw(inputs, training=False), input_signature=[signature], autograph=False)
    logits, targets = [], []
    for inputs, one_hot, *_ in batches:
        logits.append(logits_of(inputs).numpy())
        targets.append(one_hot.numpy())
    if not logits:
        raise InputError("the validation data holds no clip: give at least one")
    return np.concatenate(logits).astype(np.float64), np.concatenate(targets).astype(np.float64)
