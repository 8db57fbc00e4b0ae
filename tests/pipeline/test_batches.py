import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.pipeline.batches import (
    Description,
    as_description,
    describe,
    emotions_of,
    labelled_batches,
    shuffled_batches,
    utterance_as_json,
)


def test_arrays_become_batches_of_dictionary_and_one_hot():
    batches = labelled_batches((np.ones((5, 100), np.float32), np.array([0, 1, 2, 1, 0])), 3, batch_size=2)
    inputs, labels = next(iter(batches))
    assert inputs["num_samples"].numpy().tolist() == [100, 100]
    assert labels.numpy().tolist() == [[1, 0, 0], [0, 1, 0]]
    assert sum(len(labels) for _, labels in batches) == 5


def test_arrays_are_shuffled_anew_in_each_epoch_and_none_is_dropped():
    waveforms = np.repeat(np.arange(7, dtype=np.float32)[:, None], 5, axis=1)
    batches = shuffled_batches((waveforms, list(range(7))), batch_size=3)
    passes = [[(inputs[:, 0].numpy().tolist(), labels.numpy().tolist()) for inputs, labels in batches] for _ in "ab"]
    assert passes[0] != passes[1]
    for batches in passes:
        assert all(inputs == labels for inputs, labels in batches)
        assert sorted(len(labels) for _, labels in batches) == [2, 2, 3]
        assert sorted(label for _, labels in batches for label in labels) == list(range(7))


def test_data_of_others_tell_nothing_and_are_not_read():
    def fail():
        pytest.fail("read")

    signature = (tf.TensorSpec([None, 8]), tf.TensorSpec([None], tf.int32))
    assert describe(tf.data.Dataset.from_generator(fail, output_signature=signature)) == Description()
    assert describe((np.ones((2, 8)), np.zeros(2))) == Description() and emotions_of((1, 2)) is None


def test_a_name_that_is_no_utf8_is_described(tmp_path):
    utterance = Utterance(Path(os.fsdecode(b"lang\xe9.wav")), "sad", None, "test", start_seconds=0.5)
    assert as_description([utterance_as_json(utterance, ["sad"])]) == Description(("sad",), (utterance,))


def test_what_is_fitted_has_no_utterances(splits):
    inputs, _ = labelled_batches(splits.test, 3).element_spec
    assert set(inputs) == {"waveform", "num_samples"}


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
