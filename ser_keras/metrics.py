"""Metrics of a classifier: unweighted average recall, its confidence interval, and calibration error.

They are in NumPy for reports; the recall is also a Keras metric for training.
"""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops
from scipy.special import expit, logit, stdtrit

from ser_keras.errors import require

MIN_SPEAKERS = 6
"""With fewer speakers there is no interval: it would be as wide as the scale."""

NUM_BINS = 15
"""Bins of the calibration error, as in Guo et al. (2017)."""


def unweighted_average_recall(confusion_matrix: np.ndarray) -> np.ndarray:
    """Return the mean of the per-class recalls (UAR).

    It equals scikit-learn's `balanced_accuracy_score`: a class without clips is ignored.

    Args:
        confusion_matrix: Counts, `(..., classes, classes)`, true classes in rows.

    Returns:
        0 to 1, `(...)`; NaN without clips.

    Example:
        >>> float(unweighted_average_recall(np.array([[8, 0], [1, 1]])))
        0.75
    """
    hits = np.diagonal(confusion_matrix, axis1=-2, axis2=-1)
    true = np.sum(confusion_matrix, axis=-1)
    recalls = np.divide(hits, true, out=np.zeros(true.shape), where=true > 0)
    classes = np.sum(true > 0, axis=-1)
    return np.divide(recalls.sum(axis=-1), classes, out=np.full(classes.shape, np.nan), where=classes > 0)


def speaker_interval(matrices: np.ndarray) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of the UAR for new speakers: a jackknife over speakers on the logit scale.

    Clips of one speaker are not independent, and neither are the predictions of several models for one clip, so
    the speaker is the unit. With the UAR u of all S speakers, and u_i of all but speaker i,

        se² = (S - 1) / S · Σ (u_i - mean u_i)²,    logit u ± t(0.975, S - 1) · se / (u (1 - u)).

    The variance is that of Efron & Stein (1981, eq. 1.4); Student's t with S - 1 degrees of freedom accounts for the
    small number of speakers, and the logit keeps the limits within 0 and 1. `benchmarks/interval.py` measures a
    coverage of 94 to 97 % from 6 speakers on, where a percentile bootstrap over speakers covers 85 to 90 %.

    Args:
        matrices: Confusion counts of each speaker, `(speakers, classes, classes)`, true classes in rows.

    Returns:
        The limits, 0 to 1; None with fewer than `MIN_SPEAKERS` speakers, or if all have the same score.

    Example:
        >>> hits = np.array([8, 7, 9, 6, 8, 9])  # of ten clips of each class
        >>> speakers = [np.array([[n, 10 - n], [10 - n, n]]) for n in hits]
        >>> print("{:.3f} to {:.3f}".format(*speaker_interval(np.stack(speakers))))
        0.637 to 0.882
    """
    count = len(matrices)
    if count < MIN_SPEAKERS:
        return None
    uar = unweighted_average_recall(matrices.sum(axis=0))
    without = unweighted_average_recall(matrices.sum(axis=0) - matrices)  # (speakers,)
    error = np.sqrt((count - 1) / count * np.sum(np.square(without - without.mean())))
    if not (error > 1e-12 and 0 < uar < 1):
        return None
    half = stdtrit(count - 1, 0.975) * error / (uar * (1 - uar))
    low, high = expit(logit(uar) + np.array([-half, half]))
    return float(low), float(high)


class ReliabilityBins(NamedTuple):
    """Clips in bins of equal width by their confidence, the probability of the predicted emotion.

    Attributes:
        edges: Limits of the bins, float64 `(bins + 1,)`, from 0 to 1; a bin includes its upper limit.
        counts: Clips in each bin, int64 `(bins,)`.
        confidence: Mean confidence in each bin, float64 `(bins,)`; NaN for an empty bin.
        accuracy: Share of correct clips in each bin, float64 `(bins,)`; NaN for an empty bin.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def reliability_bins(labels: np.ndarray, probabilities: np.ndarray, *, num_bins: int = NUM_BINS) -> ReliabilityBins:
    """Return confidence and accuracy in bins, for a reliability diagram.

    Args:
        labels: True classes, int `(clips,)`.
        probabilities: Predictions, float `(clips, classes)`.
        num_bins: Number of bins.

    Raises:
        InputError: There is less than one bin.

    Example:
        >>> bins = reliability_bins(np.array([0, 1]), np.array([[0.9, 0.1], [0.7, 0.3]]), num_bins=2)
        >>> bins.counts, bins.accuracy
        (array([0, 2]), array([nan, 0.5]))
    """
    require(num_bins > 0, "num_bins", num_bins, "at least 1")
    edges = np.linspace(0, 1, num_bins + 1)
    top = np.max(probabilities, axis=1).astype(np.float64)
    hits = np.argmax(probabilities, axis=1) == labels
    places = np.clip(np.searchsorted(edges, top) - 1, 0, num_bins - 1)  # rounded sums may be above 1
    counts = np.bincount(places, minlength=num_bins)
    sums = (np.bincount(places, weights=values, minlength=num_bins) for values in (top, hits))
    means = (np.divide(each, counts, out=np.full(num_bins, np.nan), where=counts > 0) for each in sums)
    return ReliabilityBins(edges, counts, *means)


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray, *, num_bins: int = NUM_BINS) -> float:
    """Return the mean distance between confidence and accuracy (ECE).

    Guo et al., "On Calibration of Modern Neural Networks", 2017, eq. 3: the mean over `reliability_bins`, each bin
    weighted by its clips. With few clips in a bin chance alone makes it larger than 0.

    Args:
        labels: True classes, int `(clips,)`.
        probabilities: Predictions, float `(clips, classes)`.
        num_bins: Number of bins of equal width.

    Returns:
        0 (calibrated) to 1; NaN without clips.

    Raises:
        InputError: There is less than one bin.

    Example:
        >>> expected_calibration_error(np.array([0, 1]), np.array([[0.75, 0.25], [0.75, 0.25]]))
        0.25
    """
    bins = reliability_bins(labels, probabilities, num_bins=num_bins)
    distances = np.abs(bins.accuracy - bins.confidence)
    return float(np.nansum(bins.counts * distances) / bins.counts.sum()) if len(labels) else float("nan")


@keras.saving.register_keras_serializable(package="ser_keras")
class UnweightedAverageRecall(keras.metrics.Metric):
    """Unweighted average recall (UAR) over all batches since the last reset.

    Use it in `model.compile(metrics=[...])` with one-hot targets. Sample weights are ignored, since the metric is
    balanced by itself.

    Args:
        num_classes: Number of classes.
        name: Name in the logs.

    Example:
        >>> metric = UnweightedAverageRecall(num_classes=2)
        >>> metric.update_state([[1, 0], [1, 0], [0, 1]], [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])
        >>> float(metric.result())
        0.75
    """

    def __init__(self, num_classes: int, name: str = "uar", **kwargs):
        super().__init__(name=name, **kwargs)
        self.num_classes = num_classes
        self._hits = self.add_variable((num_classes,), initializer="zeros", name="hits")
        self._counts = self.add_variable((num_classes,), initializer="zeros", name="counts")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count a batch of one-hot targets and probabilities, both `(batch, classes)`."""
        y_true = ops.cast(y_true, "float32")
        hit = ops.equal(ops.argmax(y_true, axis=-1), ops.argmax(y_pred, axis=-1))
        self._hits.assign_add(ops.sum(y_true * ops.cast(hit, "float32")[:, None], axis=0))
        self._counts.assign_add(ops.sum(y_true, axis=0))

    def result(self):
        """Return the mean recall of the classes so far; 0 without any."""
        present = ops.cast(self._counts > 0, "float32")
        recalls = self._hits / ops.maximum(self._counts, 1)
        return ops.sum(recalls * present) / ops.maximum(ops.sum(present), 1)

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "num_classes": self.num_classes}
