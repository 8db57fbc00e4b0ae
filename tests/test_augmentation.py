import keras
import numpy as np
import pytest

from ser_keras.augmentation import RandomGain, SpecAugment

LAYERS = [RandomGain(6.0, seed=1), SpecAugment(seed=1)]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_nothing_happens_outside_training(layer):
    features = np.random.default_rng(0).normal(size=(3, 40, 20)).astype(np.float32)
    np.testing.assert_array_equal(layer(features, training=False), features)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_each_clip_is_disturbed_differently_in_training(layer):
    changed = layer(np.ones((8, 100, 40), np.float32), training=True).numpy()
    assert len(np.unique(changed.reshape(8, -1), axis=0)) == 8


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_config_round_trip(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()


def test_gain_adds_one_number_to_a_clip():
    change = RandomGain(3.0, seed=2)(np.zeros((64, 5, 7), np.float32), training=True).numpy()
    assert np.ptp(change, axis=(1, 2)).max() == 0
    assert np.abs(change).max() <= 3
    assert change.min() < -2 and change.max() > 2


def test_masks_cover_whole_bands_of_at_most_their_fraction():
    masked = SpecAugment(0.2, 0.3, num_masks=1, seed=3)(np.ones((200, 100, 40, 2), np.float32), training=True)
    gone = masked.numpy()[..., 0] == 0
    frames, bands = gone.all(axis=2).sum(axis=1), gone.all(axis=1).sum(axis=1)
    assert frames.max() <= 20 + 1 and bands.max() <= 12 + 1  # a band may touch one more step than its width
    assert frames.max() > 15 and bands.max() > 9
    np.testing.assert_array_equal(gone, gone.all(axis=2)[:, :, None] | gone.all(axis=1)[:, None, :])
