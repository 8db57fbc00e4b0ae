"""A branch that is kept apart: one call in the graph, whatever is around it, and the same values."""

import numpy as np
import tensorflow as tf

from ser_keras.audio_io.graph_branches import kept_apart
from ser_keras.audio_io.resampling import resample
from ser_keras.audio_io.wav_header import read_headers


def functions_kept_whole(function, *specs):
    """Return the names of the functions that TensorFlow may not lay out in the graph of a traced one."""
    traced = tf.function(function, autograph=False).get_concrete_function(*specs)
    library = traced.graph.as_graph_def().library.function
    return [each.signature.name for each in library if each.attr["_noinline"].b]


def test_a_call_stays_a_call():
    function = kept_apart(lambda values: values + 1)
    assert len(functions_kept_whole(lambda x: function(x) * 2, tf.TensorSpec([None]))) == 1


def test_lengths_of_all_kinds_share_one_trace():
    traced = []
    function = kept_apart(lambda values: traced.append(values.shape) or values + 1)
    for length in range(1, 9):
        np.testing.assert_array_equal(function(tf.zeros([length])), np.ones(length))
    assert len(traced) <= 2, traced


def test_unusual_headers_and_rates_are_kept_apart():
    assert functions_kept_whole(lambda files: read_headers(files), tf.TensorSpec([None], tf.string))
    assert functions_kept_whole(resample, tf.TensorSpec([None]), tf.TensorSpec([], tf.int32))
