import keras
import numpy as np
import pytest
import tensorflow as tf

from ser_keras.layers.augmentation import RandomFilter, SpecAugment, mix_up

LAYERS = [RandomFilter(3.0, seed=1), SpecAugment(seed=1)]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_nothing_happens_outside_training(layer):
    features = np.random.default_rng(0).normal(size=(3, 40, 20)).astype(np.float32)
    np.testing.assert_array_equal(layer(features, training=False), features)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_each_clip_is_augmented_differently_in_training(layer):
    features = np.zeros((8, 100, 40), np.float32) - 60
    features[:, 20:30] = 1
    changed = layer(features, training=True).numpy()
    assert len(np.unique(changed.reshape(8, -1), axis=0)) == 8


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_config_round_trip(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()


def test_a_filter_is_a_curve_over_the_bands_that_is_linear_between_its_knots():
    curve = RandomFilter(3.0, knots=4, seed=2)(np.zeros((2000, 5, 31), np.float32), training=True).numpy()
    assert np.ptp(curve, axis=1).max() == 0  # the same in every frame
    bends = np.abs(np.diff(curve[:, 0], n=2)).max(axis=0) > 1e-4
    assert np.flatnonzero(bends).tolist() == [9, 19]  # at the bands 10 and 20, the inner knots
    np.testing.assert_allclose(curve[:, 0, ::10].std(axis=0), 3.0, rtol=0.1)
    np.testing.assert_allclose(np.corrcoef(curve[:, 0, ::10].T), np.eye(4), atol=0.1)


def test_masks_cover_whole_bands_of_at_most_their_fraction():
    masked = SpecAugment(0.2, 0.3, num_masks=1, seed=3)(np.ones((200, 100, 40, 2), np.float32), training=True)
    gone = masked.numpy()[..., 0] == 0
    frames, bands = gone.all(axis=2).sum(axis=1), gone.all(axis=1).sum(axis=1)
    assert frames.max() <= 20 + 1 and bands.max() <= 12 + 1  # a band may touch one more step than its width
    assert frames.max() > 15 and bands.max() > 9
    np.testing.assert_array_equal(gone, gone.all(axis=2)[:, :, None] | gone.all(axis=1)[:, None, :])


def test_a_mask_over_time_is_a_part_of_its_own_clip_whatever_the_others_are():
    features, lengths = np.ones((300, 150, 4), np.float32), np.where(np.arange(300) % 2, 150, 50)
    mask = np.arange(150) < lengths[:, None]
    masked = SpecAugment(0.2, 0.0, num_masks=1, seed=4)(features, mask, training=True).numpy()
    hidden = (masked[..., 0] == 0) & mask
    assert not ((masked[..., 0] == 0) & ~mask).any()
    for length in (50, 150):
        shares = hidden[lengths == length].sum(axis=1) / length
        assert 0.15 < shares.max() <= 0.2 + 1 / length and shares.mean() == pytest.approx(0.1, abs=0.02)


def clips_to_mix():
    """Two clips that say what they are: ones and twos, of different length, label and weight."""
    waveform = tf.constant([[1.0, 1.0, 1.0, 0.0], [2.0, 2.0, 0.0, 0.0]])
    inputs = {"waveform": waveform, "num_samples": tf.constant([3, 2])}
    return inputs, tf.eye(2), tf.constant([1.0, 2.0])


def test_mixing_shares_samples_labels_and_weights_alike():
    shares = []
    for step in range(50):
        inputs, labels, weights = mix_up(clips_to_mix(), 0.5, tf.constant([1, step]))
        share = labels.numpy()[:, [0]]  # of the clip of ones
        np.testing.assert_allclose(inputs["waveform"][:, :2], np.repeat(share + 2 * (1 - share), 2, axis=1), atol=1e-5)
        np.testing.assert_allclose(weights, (share + 2 * (1 - share))[:, 0], atol=1e-5)
        np.testing.assert_allclose(tf.reduce_sum(labels, axis=1), 1.0, atol=1e-6)
        assert inputs["num_samples"].numpy().tolist() == [3, 3]
        shares.append(share[0])
    assert np.mean(shares) == pytest.approx(0.5, abs=0.15) and np.std(shares) > 0.2


def test_mixing_needs_no_weights():
    *_, weights = mix_up(clips_to_mix()[:2], 0.5, tf.constant([1, 2]))
    assert weights is None


def test_mixing_repeats_with_the_seed_and_differs_with_another():
    first, again, other = (mix_up(clips_to_mix(), 0.5, tf.constant([1, step]))[1].numpy() for step in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
