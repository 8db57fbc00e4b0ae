import numpy as np
import tensorflow as tf

from ser_keras.pipeline.datasets import pad_clips, random_crop


def test_clips_of_either_kind_are_padded_with_zeros():
    waveform, num_samples = pad_clips([np.full(3, 2**14, np.int16), np.ones(1, np.float32)])
    assert waveform.tolist() == [[0.5, 0.5, 0.5], [1, 0, 0]] and waveform.dtype == np.float32
    assert num_samples.tolist() == [3, 1] and num_samples.dtype == np.int32


def test_a_crop_can_start_anywhere_and_a_short_clip_is_whole():
    samples = np.arange(5)
    assert {tuple(random_crop(samples, draw, 3)) for draw in range(9)} == {(0, 1, 2), (1, 2, 3), (2, 3, 4)}
    assert random_crop(samples, 7, 6).tolist() == samples.tolist()


def test_tensorflow_takes_a_batch_over_without_a_copy():
    waveform, _ = pad_clips([np.ones(16_000, np.int16), np.ones(15_999, np.float32)])
    handed_over = tf.function(lambda: tf.numpy_function(lambda: waveform, [], tf.float32), autograph=False)()
    assert np.shares_memory(handed_over._numpy(), waveform)
