"""Recall and calibration: by hand, against scikit-learn, and in Keras the same as in NumPy."""

import keras
import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from ser_keras.errors import InputError
from ser_keras.metrics import (
    UnweightedAverageRecall,
    expected_calibration_error,
    reliability_bins,
    unweighted_average_recall,
)


def draw_predictions(seed, num_classes=5, size=60):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, size)
    return labels, np.where(rng.random(size) < 0.5, labels, rng.integers(0, num_classes, size))


def one_hot(labels, num_classes=5):
    return np.eye(num_classes, dtype="float32")[labels]


def test_the_recall_of_a_rare_class_counts_as_much_as_that_of_a_frequent_one():
    matrix = np.array([[90, 10], [1, 1]])  # recalls 0.9 and 0.5
    assert unweighted_average_recall(matrix) == pytest.approx(0.7)


def test_rows_are_the_true_classes():
    assert unweighted_average_recall(np.array([[1, 3], [0, 4]])) == pytest.approx((1 / 4 + 4 / 4) / 2)


def test_a_class_that_never_occurs_does_not_count():
    assert unweighted_average_recall(np.array([[3, 1, 0], [0, 0, 0], [0, 2, 2]])) == pytest.approx(0.625)


def test_nothing_counted_gives_nan():
    assert np.isnan(unweighted_average_recall(np.zeros((3, 3), int)))


@pytest.mark.parametrize("missing", [None, 2])
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_it_is_balanced_accuracy(missing):
    labels, predictions = draw_predictions(0)
    labels, predictions = labels[labels != missing], predictions[labels != missing]
    matrix = confusion_matrix(labels, predictions, labels=range(5))
    assert unweighted_average_recall(matrix) == pytest.approx(balanced_accuracy_score(labels, predictions))


def test_a_stack_of_matrices_gives_the_recall_of_each():
    stack = np.random.default_rng(0).integers(0, 4, (2, 3, 4, 4))
    stack[0, 0] = 0
    expected = [[unweighted_average_recall(matrix) for matrix in row] for row in stack]
    np.testing.assert_allclose(unweighted_average_recall(stack), expected)


def test_the_keras_metric_over_batches_equals_numpy():
    labels, predictions = draw_predictions(0)
    metric = UnweightedAverageRecall(5)
    for batch in np.array_split(np.arange(len(labels)), 7):
        metric.update_state(one_hot(labels[batch]), one_hot(predictions[batch]))
    expected = unweighted_average_recall(confusion_matrix(labels, predictions))
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)  # float32


def test_the_keras_metric_ignores_a_class_that_never_occurs():
    metric = UnweightedAverageRecall(3)
    metric.update_state(one_hot([0, 0, 2], 3), one_hot([0, 1, 2], 3))
    assert float(metric.result()) == pytest.approx(0.75)


def test_the_keras_metric_takes_the_most_probable_class():
    metric = UnweightedAverageRecall(3)
    metric.update_state(one_hot([0, 1], 3), [[0.2, 0.5, 0.3], [0.3, 0.4, 0.3]])
    assert float(metric.result()) == pytest.approx(0.5)


def test_the_keras_metric_ignores_sample_weights():
    metric = UnweightedAverageRecall(2)
    metric.update_state(one_hot([0, 0, 1], 2), one_hot([0, 1, 1], 2), sample_weight=[100.0, 1.0, 0.0])
    assert float(metric.result()) == pytest.approx(0.75)


def test_the_keras_metric_begins_anew_after_a_reset():
    metric = UnweightedAverageRecall(2)
    metric.update_state(one_hot([0, 1], 2), one_hot([1, 0], 2))
    metric.reset_state()
    metric.update_state(one_hot([0, 1], 2), one_hot([0, 1], 2))
    assert float(metric.result()) == 1.0


def test_the_keras_metric_is_zero_before_the_first_batch():
    assert float(UnweightedAverageRecall(3).result()) == 0.0


def test_the_keras_metric_is_saved_and_loaded_with_a_compiled_model(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    model.compile(loss="categorical_crossentropy", metrics=[UnweightedAverageRecall(3)])
    inputs, targets = np.random.default_rng(0).normal(size=(12, 4)), one_hot([0, 1, 2] * 4, 3)
    model.fit(inputs, targets, verbose=0)
    scores = model.evaluate(inputs, targets, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(inputs, targets, verbose=0, return_dict=True)["uar"] == pytest.approx(scores["uar"])


# === Calibration ===


def probabilities_of(tops):
    """Return rows of two classes whose first, the larger, is `tops`."""
    tops = np.array(tops, np.float64)
    return np.stack([tops, 1 - tops], axis=1)


def draw_confident(seed=0, size=400, num_classes=4):
    """Return labels and probabilities that are right less often than they are sure."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(num_classes, 0.4), size)
    return np.array(
        [rng.choice(num_classes, p=0.5 * each + 0.5 / num_classes) for each in probabilities]
    ), probabilities


def test_the_calibration_error_is_the_distance_of_confidence_from_accuracy():
    labels = np.array([0, 0, 0, 1, 0, 1])  # three of four right at 0.9, one of two at 0.6
    assert expected_calibration_error(labels, probabilities_of([0.9] * 4 + [0.6] * 2), num_bins=10) == pytest.approx(
        (4 * 0.15 + 2 * 0.1) / 6
    )


def test_errors_of_bins_do_not_cancel_each_other():
    labels = np.array([0, 1, 1, 0, 0, 0])  # at 0.9 one of three right, at 0.6 all
    error = expected_calibration_error(labels, probabilities_of([0.9] * 3 + [0.6] * 3), num_bins=10)
    assert error == pytest.approx((3 * (0.9 - 1 / 3) + 3 * 0.4) / 6)


def test_the_calibration_error_is_between_0_and_1():
    assert expected_calibration_error(np.array([0, 1]), np.eye(2)) == 0
    assert expected_calibration_error(np.array([1, 0]), np.eye(2)) == 1


def test_without_clips_there_is_no_calibration_error():
    assert np.isnan(expected_calibration_error(np.zeros(0, int), np.zeros((0, 3))))


@pytest.mark.parametrize("num_bins", [1, 5, 15])
def test_the_bins_are_those_of_scikit_learn(num_bins):
    labels, probabilities = draw_confident()
    hits = probabilities.argmax(axis=1) == labels
    accuracy, confidence = calibration_curve(hits, probabilities.max(axis=1), n_bins=num_bins)
    bins = reliability_bins(labels, probabilities, num_bins=num_bins)
    np.testing.assert_allclose(bins.accuracy[bins.counts > 0], accuracy)
    np.testing.assert_allclose(bins.confidence[bins.counts > 0], confidence)


def test_the_calibration_error_has_fifteen_bins_by_default():
    labels, probabilities = draw_confident()
    with_15 = expected_calibration_error(labels, probabilities, num_bins=15)
    assert expected_calibration_error(labels, probabilities) == with_15
    assert expected_calibration_error(labels, probabilities, num_bins=10) != with_15


def test_a_bin_holds_its_upper_limit():
    np.testing.assert_array_equal(
        reliability_bins(np.zeros(2), probabilities_of([0.5, 1.0]), num_bins=2).counts, [1, 1]
    )


def test_a_probability_rounded_above_one_falls_into_the_last_bin():
    bins = reliability_bins(np.zeros(1), np.array([[1.0000001, 0.0]], np.float32), num_bins=4)
    np.testing.assert_array_equal(bins.counts, [0, 0, 0, 1])


def test_an_empty_bin_has_neither_confidence_nor_accuracy():
    bins = reliability_bins(np.zeros(1), probabilities_of([0.9]), num_bins=2)
    assert np.isnan(bins.confidence[0]) and np.isnan(bins.accuracy[0])


def test_less_than_one_bin_is_refused():
    with pytest.raises(InputError, match="num_bins=0"):
        reliability_bins(np.zeros(1), probabilities_of([0.9]), num_bins=0)
