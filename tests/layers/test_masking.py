"""Masks of padded clips."""

import keras
import numpy as np
from conftest import SMALL

from ser_keras.layers.masking import TrimSilence
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


def test_config_round_trip():
    layer = TrimSilence(20.0, margin=3)
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
