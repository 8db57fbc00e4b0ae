"""In which precision an export writes its weights."""

import numpy as np
import pytest
import tensorflow as tf

from ser_keras.config import ExportConfig
from ser_keras.pipeline.datasets import pad_clips
from ser_keras.serving.parity_check import sample_clips
from ser_keras.serving.signatures import ServedModel

CONFIG = ExportConfig(max_seconds=20.0)


def stored(model):
    """The weights that are written, by the paths of those of the model."""
    return dict(zip((each.path for each in model.variables), ServedModel(model, CONFIG).weights, strict=True))


def test_large_weights_that_16_bits_hold_are_written_so_and_no_others(encoder_model):
    half = {path for path, each in stored(encoder_model).items() if each.dtype == tf.float16}
    encoder = encoder_model.get_layer("encoder").weights
    assert half == {each.path for each in encoder if np.prod(each.shape) >= 1024}


def test_what_is_written_is_exactly_the_weights(encoder_model):
    written = stored(encoder_model)
    for variable in encoder_model.variables:
        np.testing.assert_array_equal(tf.cast(written[variable.path], variable.dtype), variable)


@pytest.mark.parametrize("value", [1 / 3, 1e6, 1e-9, np.nan])
def test_weights_that_16_bits_do_not_hold_are_written_in_32(encoder_model, value):
    model = encoder_model.copy()
    kernel = model.get_layer("encoder").conv_2.kernel
    values = kernel.numpy()
    values[0, 0, 0] = value
    kernel.assign(values)
    written = stored(model)[kernel.path]
    assert written.dtype == tf.float32
    np.testing.assert_array_equal(written, values)


def test_the_served_probabilities_are_those_of_the_model(encoder_model):
    waveform, num_samples = pad_clips([*sample_clips(16_000).values()])
    model = ServedModel(encoder_model, CONFIG)
    served = model.classify_waveform(tf.constant(waveform), tf.constant(num_samples), tf.fill([len(waveform)], 16_000))
    live = encoder_model({"waveform": waveform, "num_samples": num_samples})
    np.testing.assert_allclose(served["probabilities"], live, atol=1e-5)
