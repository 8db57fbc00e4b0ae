import numpy as np
import pytest
import tensorflow as tf

from ser_keras.errors import InputError
from ser_keras.pipeline.batches import labelled_batches, shuffled_batches


def test_arrays_become_batches_of_dictionary_and_one_hot():
    batches = labelled_batches((np.ones((5, 100), np.float32), np.array([0, 1, 2, 1, 0])), 3, batch_size=2)
    inputs, labels = next(iter(batches))
    assert inputs["num_samples"].numpy().tolist() == [100, 100]
    assert labels.numpy().tolist() == [[1, 0, 0], [0, 1, 0]]
    assert sum(len(labels) for _, labels in batches) == 5


def test_arrays_are_shuffled_anew_in_each_epoch_and_a_last_batch_that_is_not_full_is_dropped():
    waveforms = np.repeat(np.arange(7, dtype=np.float32)[:, None], 5, axis=1)
    batches = shuffled_batches((waveforms, list(range(7))), batch_size=3)
    passes = [[(inputs[:, 0].numpy().tolist(), labels.numpy().tolist()) for inputs, labels in batches] for _ in "ab"]
    assert passes[0] != passes[1]
    for inputs, labels in passes[0] + passes[1]:
        assert inputs == labels and len(set(labels)) == 3
    assert len(set(passes[0][0][1] + passes[0][1][1])) == 6


def test_one_hot_labels_and_weights_pass_through():
    data = tf.data.Dataset.from_tensor_slices((np.ones((2, 8), np.float32), np.eye(2), np.array([1.0, 3.0]))).batch(2)
    _, labels, weights = next(iter(labelled_batches(data, 2)))
    np.testing.assert_array_equal(labels, np.eye(2))
    assert weights.numpy().tolist() == [1.0, 3.0]


def test_a_clip_that_comes_without_a_weight_gets_that_of_its_class():
    waveforms, of_classes = np.ones((3, 8), np.float32), np.array([1.0, 3.0, 0.5])
    batches = labelled_batches((waveforms, np.array([1, 0, 2])), 3, class_weights=of_classes)
    assert next(iter(batches))[2].numpy().tolist() == [3.0, 1.0, 0.5]
    own = np.array([7.0, 8.0, 9.0])
    batches = labelled_batches((waveforms, np.array([1, 0, 2]), own), 3, class_weights=of_classes)
    assert next(iter(batches))[2].numpy().tolist() == own.tolist()


def test_other_data_is_an_error():
    with pytest.raises(InputError, match="data of type list: expected a"):
        labelled_batches([1, 2], 2)
