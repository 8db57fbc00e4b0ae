"""The unweighted average recall and its interval, in NumPy for reports; the recall as a Keras metric for training."""

import keras
import numpy as np
from keras import ops

_NUM_RESAMPLES = 2000


def unweighted_average_recall(confusion_matrix: np.ndarray) -> np.ndarray:
    """Return the mean of the per-class recalls (UAR).

    It is scikit-learn's `balanced_accuracy_score`: a class that never occurs does not count.

    Args:
        confusion_matrix: counts `(..., classes, classes)`, true classes in rows.

    Returns:
        0 to 1, of shape `(...)`; NaN where nothing was counted.

    Example:
        >>> float(unweighted_average_recall(np.array([[8, 0], [1, 1]])))
        0.75
    """
    hits = np.diagonal(confusion_matrix, axis1=-2, axis2=-1)
    true = np.sum(confusion_matrix, axis=-1)
    recalls = np.divide(hits, true, out=np.zeros(true.shape), where=true > 0)
    classes = np.sum(true > 0, axis=-1)
    return np.divide(recalls.sum(axis=-1), classes, out=np.full(classes.shape, np.nan), where=classes > 0)


def bootstrap_interval(matrices: np.ndarray, counts: np.ndarray | None = None) -> tuple[float, float]:
    """Return the 95 % interval of the UAR by bootstrap over groups of clips (Efron, 1979).

    Clips of one speaker are no independent draws, and neither are the answers of several models to one
    clip: what belongs together goes into one group, and whole groups are drawn with replacement.

    Args:
        matrices: confusion counts of each group, `(groups, classes, classes)`, true classes in rows.
        counts: how many groups there are of each, int `(groups,)`; one where it is None.

    Returns:
        The 2.5th and the 97.5th percentile of 2,000 seeded draws, 0 to 1.

    Example:
        >>> bootstrap_interval(np.array([[[2, 0], [0, 2]], [[2, 0], [0, 3]]]))  # two speakers, all right
        (1.0, 1.0)
    """
    counts = np.ones(len(matrices), int) if counts is None else counts
    draws = np.random.default_rng(0).multinomial(counts.sum(), counts / counts.sum(), _NUM_RESAMPLES)
    resampled = np.tensordot(draws, matrices, axes=1)  # (resamples, classes, classes)
    low, high = np.nanpercentile(unweighted_average_recall(resampled), [2.5, 97.5])
    return float(low), float(high)


@keras.saving.register_keras_serializable(package="ser_keras")
class UnweightedAverageRecall(keras.metrics.Metric):
    """Unweighted average recall (UAR) over all batches seen since the last reset.

    For `model.compile(metrics=[...])` with one-hot targets. Sample weights do not change it: the
    metric is balanced by itself.

    Args:
        num_classes: number of classes.
        name: name in the logs.

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
        """Return the mean recall of the classes seen so far; 0 when none was."""
        present = ops.cast(self._counts > 0, "float32")
        recalls = self._hits / ops.maximum(self._counts, 1)
        return ops.sum(recalls * present) / ops.maximum(ops.sum(present), 1)

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "num_classes": self.num_classes}
