"""Several channels become one without losing what is said in them."""

import numpy as np
import pytest
import tensorflow as tf

from ser_keras.audio_io.sound_files import mix_channels
from ser_keras.audio_io.wav import decode_wav


@pytest.mark.parametrize("num_channels", [1, 2, 6])
def test_channels_are_averaged(noise, num_channels):
    samples = noise(num_channels * 8_000).reshape(-1, num_channels)
    np.testing.assert_array_equal(mix_channels(samples), samples.mean(axis=1))


def test_one_active_channel_of_many_is_averaged_too(noise):
    samples = np.zeros((8_000, 6), np.float32)
    samples[:, 2] = noise(8_000)
    np.testing.assert_array_equal(mix_channels(samples), samples.mean(axis=1))


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_of_channels_that_cancel_the_stronger_one_is_taken(noise, offset):
    speech = noise(8_000)
    samples = np.stack([speech * 0.9, -speech], axis=1) + np.float32(offset)
    np.testing.assert_array_equal(mix_channels(samples), samples[:, 1])


def some_channels(noise):
    """Return samples `(time, channels)` in which channels are alike, unrelated, absent, or cancel."""
    one, other, silence = noise(8_000), noise(8_000, seed=1), np.zeros(8_000, np.float32)
    columns = [[one, one], [one, other], [one, silence], [one, -one], [0.5 * one, -one], [one, -0.6 * one]]
    columns += [[one, -one, other], [silence, silence], [one, -one, silence, silence], [one + 0.3, 0.3 - one]]
    return [np.stack(each, axis=1).astype(np.float32) for each in columns]


def test_the_graph_mixes_as_every_other_reader_does(noise, wav_bytes):
    for samples in some_channels(noise):
        decoded = decode_wav(tf.constant(wav_bytes(samples)))
        np.testing.assert_allclose(decoded.waveform, mix_channels(samples), atol=1e-6)


def test_no_samples_are_mixed_to_none():
    assert mix_channels(np.zeros((0, 2), np.float32)).shape == (0,)
