"""Clips laid into one array, whose memory is used again and never while somebody holds it."""

import numpy as np
import pytest
import tensorflow as tf

from ser_keras.pipeline import padding
from ser_keras.pipeline.padding import pad_clips

CLIPS = [np.ones(16_000, np.int16), np.ones(15_999, np.float32)]


@pytest.fixture(autouse=True)
def memory(monkeypatch):
    """Give each test memory that no other test has used."""
    memory = padding._BatchMemory()
    monkeypatch.setattr(padding, "_memory", memory)
    return memory


def address(array):
    return array.__array_interface__["data"][0]


def test_tensorflow_takes_a_batch_over_without_a_copy():
    """Of arrays that do not begin where its tensors do it makes a copy: a millisecond a batch."""
    waveform, _ = pad_clips(CLIPS)
    handed_over = tf.function(lambda: tf.numpy_function(lambda: waveform, [], tf.float32), autograph=False)()
    assert np.shares_memory(handed_over._numpy(), waveform)


def test_behind_a_shorter_clip_lies_silence_whatever_the_memory_held():
    pad_clips([np.full(3, np.nan, np.float32)] * 2)
    waveform, _ = pad_clips([np.ones(3, np.float32), np.ones(1, np.float32)])
    assert waveform.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_the_memory_of_a_batch_that_is_gone_is_used_again():
    first = address(pad_clips(CLIPS)[0])
    assert address(pad_clips(CLIPS[1:])[0]) == first  # a smaller one fits too


def test_a_batch_that_does_not_fit_gets_memory_of_its_own(memory):
    small = pad_clips(CLIPS)[0].nbytes
    large = pad_clips(CLIPS * 2)[0]
    assert large.nbytes == 2 * small and not memory._spare


@pytest.mark.parametrize("part", [lambda batch: batch, lambda batch: batch[1, 5:]])
def test_memory_that_somebody_holds_is_not_given_away(part):
    held = part(pad_clips(CLIPS)[0])
    before = held.copy()
    others = [pad_clips([np.full(16_000, np.nan, np.float32)] * 2) for _ in range(3)]
    assert not any(np.shares_memory(held, waveform) for waveform, _ in others)
    assert np.array_equal(held, before)


def test_a_batch_of_a_dataset_keeps_its_memory_until_it_is_gone(memory):
    dataset = tf.data.Dataset.range(20).map(
        lambda index: tf.numpy_function(
            lambda index: pad_clips([np.full(1000, index, np.float32)])[0], [index], tf.float32
        ),
        2,
    )
    batches = list(dataset.prefetch(2))
    assert [set(batch.numpy().ravel()) for batch in batches] == [{index} for index in range(20)]
    assert not memory._spare


def test_no_more_memory_is_kept_than_is_used_at_a_time(memory):
    batches = [pad_clips(CLIPS) for _ in range(padding._MOST_SPARE + 3)]
    del batches
    assert len(memory._spare) == padding._MOST_SPARE


def test_the_memory_of_very_long_recordings_goes_back_to_the_system(memory, monkeypatch):
    monkeypatch.setattr(padding, "_LARGEST_SPARE_BYTES", 1000)
    pad_clips(CLIPS)
    assert not memory._spare
