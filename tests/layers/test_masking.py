"""Masks of padded clips, and the layers that use them."""

import keras
import numpy as np
import pytest
from conftest import SMALL

from ser_keras.layers.masking import (
    HideSilence,
    MaskedAveragePooling,
    StartAtSpeech,
    TrimSilence,
    UndoStart,
    as_windows,
)
from ser_keras.model import ParallelModel

FRAME = 320


def spectrogram(levels):
    """One clip whose frames have these levels in dB."""
    return np.tile(np.array(levels, np.float32)[None, :, None], (1, 1, 4))


def trimmed(levels, num_frames=None, **settings):
    mask = np.arange(len(levels))[None] < (num_frames or len(levels))
    return TrimSilence(**settings)(spectrogram(levels), mask).numpy()[0].astype(int).tolist()


def test_silence_at_both_ends_is_removed_and_pauses_stay():
    assert trimmed([-90, -31, -29, 0, -90, -90, -90, -5, -40], margin=0) == [0, 0, 1, 1, 1, 1, 1, 1, 0]


def test_a_margin_stays_on_either_side_within_the_clip():
    assert trimmed([-90, -90, -90, -90, 0, -90, -90, -90], 7, margin=2) == [0, 0, 1, 1, 1, 1, 1, 0]
    assert trimmed([0, -90, -90, -90], 2, margin=2) == [1, 1, 0, 0]


def test_loud_frames_of_padding_are_ignored():
    assert trimmed([-90, -60, -50, -90, 50, 50], 4, margin=0) == [0, 1, 1, 0, 0, 0]


def test_a_clip_of_one_level_stays_whole():
    assert trimmed([-70] * 5) == [1] * 5


@pytest.mark.parametrize(
    "layer",
    [TrimSilence(20.0, margin=3), HideSilence(20.0, margin=3), MaskedAveragePooling(3), StartAtSpeech(3)],
    ids=lambda layer: type(layer).__name__,
)
def test_config_round_trip(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()


def test_silence_at_both_ends_changes_no_functional(noise):
    """Half a second and two seconds give equal functionals, unless nothing is trimmed."""

    def difference(config):
        network = ParallelModel(2, config=config)
        functionals = keras.Model(network.input, network.parts.functionals.values)
        clips = [np.pad(noise(50 * FRAME), frames * FRAME) for frames in (25, 100)]
        short, long = (
            functionals({"waveform": clip[None], "num_samples": np.array([len(clip)])}).numpy() for clip in clips
        )
        return np.abs(short - long).max()

    assert difference(SMALL) < 1e-3
    assert difference(SMALL.replace(trim_db=0.0)) > 1


def hidden(levels, num_frames=None, **settings):
    mask = np.arange(len(levels))[None] < (num_frames or len(levels))
    return HideSilence(**settings)(spectrogram(levels), mask).numpy()[0].astype(int).tolist()


def test_pauses_are_hidden_too():
    assert hidden([-90, -31, -29, 0, -90, -90, -90, -5, -40], margin=0) == [0, 0, 1, 1, 0, 0, 0, 1, 0]


def test_a_margin_stays_on_both_sides_of_all_speech():
    assert hidden([0, -90, -90, -90, -90, -90, 0, -90], 7, margin=1) == [1, 1, 0, 0, 0, 1, 1, 0]
    assert hidden([0, -90, -90, 0, -90, 50], 5, margin=1) == [1, 1, 1, 1, 1, 0]


def test_a_pause_is_hidden_in_one_window_as_in_the_next():
    """The loudest frame of the clip decides."""
    assert hidden([0, 0, -40, -40, -40, -40], margin=0) == [1, 1, 0, 0, 0, 0]


def test_a_clip_without_a_frame_has_no_speech():
    mask = np.zeros((1, 6), bool)
    assert not HideSilence()(spectrogram([0] * 6), mask).numpy().any()


def test_averages_are_those_of_the_steps_in_the_mask():
    steps = np.random.default_rng(0).normal(size=(2, 12, 5)).astype(np.float32)
    mask = np.random.default_rng(1).random((2, 12)) < 0.6
    mask[0, 4:8] = False
    pooled, pooled_mask = MaskedAveragePooling(4)(np.where(mask[..., None], steps, np.float32(7.0)), mask)
    for row in range(2):
        for index in range(3):
            block = slice(4 * index, 4 * index + 4)
            inside = steps[row, block][mask[row, block]]
            np.testing.assert_allclose(pooled[row, index], inside.mean(axis=0) if len(inside) else 0.0, atol=1e-6)
            assert bool(pooled_mask[row, index]) == (len(inside) > 0)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_averages_keep_the_dtype_of_the_steps(dtype):
    pooled, _ = MaskedAveragePooling(2, dtype=dtype)(np.ones((1, 4, 3), dtype), np.ones((1, 4), bool))
    assert pooled.dtype == dtype


@pytest.fixture
def clips():
    """Steps and masks of three clips: one that begins at once, one later, and one without a step."""
    steps = np.random.default_rng(0).normal(size=(3, 12, 2)).astype(np.float32)
    places = np.arange(12)
    mask = np.stack([places < 8, (places >= 7) & (places < 11), places < 0])
    return steps, mask


def test_each_clip_is_moved_to_the_block_of_its_first_step(clips):
    steps, mask = clips
    moved, moved_mask, start = StartAtSpeech(3)(steps, mask)
    assert start.numpy().tolist() == [0, 2, 0]
    np.testing.assert_array_equal(moved[0], steps[0])
    np.testing.assert_array_equal(moved[1], np.concatenate([steps[1, 6:], np.zeros((6, 2))]))
    np.testing.assert_array_equal(moved_mask[1], np.concatenate([mask[1, 6:], np.zeros(6)]))
    assert not moved_mask.numpy()[2].any()


def test_weights_are_moved_back_to_where_the_steps_were(clips):
    """One weight for each block, in a clip that no weight leaves."""
    steps, mask = clips
    moved, moved_mask, start = StartAtSpeech(3)(steps, mask)
    inside = np.where(moved_mask, moved[..., 0], 0.0).reshape(3, 4, 3).sum(axis=2)
    expected = np.where(mask, steps[..., 0], 0.0).reshape(3, 4, 3).sum(axis=2)
    np.testing.assert_allclose(UndoStart()(inside.astype(np.float32), start), expected, atol=1e-6)


@pytest.mark.parametrize(("num_steps", "length"), [(12, 4), (10, 4), (3, 4), (4, 4), (5, 1)])
@pytest.mark.parametrize("rest", [(), (3,)], ids=["mask", "steps"])
def test_windows_hold_all_steps_in_order_and_zeros_behind_them(num_steps, length, rest):
    values = np.random.default_rng(0).normal(size=(2, num_steps, *rest)).astype(np.float32)
    windows = as_windows(values, length).numpy()
    number = -(-num_steps // length)
    assert windows.shape == (2 * number, length, *rest)
    joined = windows.reshape(2, number * length, *rest)
    np.testing.assert_array_equal(joined[:, :num_steps], values)
    assert not joined[:, num_steps:].any()
