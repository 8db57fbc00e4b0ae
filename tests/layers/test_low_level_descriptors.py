import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.fft import dct
from scipy.stats import entropy

from ser_keras.layers.low_level_descriptors import Cepstra, SpectralShape

FRAMES = np.random.default_rng(0).normal(-40, 15, (2, 30, 64)).astype(np.float32)
"""Two log-mel spectrograms, in dB."""

PLACE = np.linspace(0, 1, 64)


def by_name(log_mel):
    names = ["centroid", "variance", "skewness", "kurtosis", *range(4), "entropy", "log", "root", "loudness", "flux"]
    return dict(zip(names, np.moveaxis(SpectralShape()(log_mel).numpy(), -1, 0), strict=True))


def bands(*powers):
    """A frame `(1, 1, 64)` that has power in some bands alone."""
    power = np.full((1, 1, 64), 1e-7)
    for band, value in powers:
        power[..., band] = value
    return 10 * np.log10(power)


def test_cepstra_are_scipys():
    expected = dct(FRAMES, axis=-1, norm="ortho")[..., 1:24]
    np.testing.assert_allclose(Cepstra(24)(FRAMES).numpy()[..., 1:], expected, atol=1e-3)


def test_moments_and_entropy_are_those_of_the_power_as_a_distribution():
    shape = by_name(FRAMES)
    power = 10 ** (FRAMES.astype(float) / 10)
    density = power / power.sum(axis=-1, keepdims=True)
    centroid = density @ PLACE
    variance = (density * (PLACE - centroid[..., None]) ** 2).sum(axis=-1) + 1e-4
    distance = (PLACE - centroid[..., None]) / np.sqrt(variance)[..., None]
    for name, expected in {
        "centroid": centroid,
        "variance": np.log(variance),
        "skewness": (density * distance**3).sum(axis=-1),
        "kurtosis": np.log((density * distance**4).sum(axis=-1) + 1),
        "entropy": entropy(density, axis=-1),
        "log": np.log(power.sum(axis=-1)),
        "root": power.sum(axis=-1) ** 0.25,
        "loudness": (power**0.23).sum(axis=-1),
    }.items():
        np.testing.assert_allclose(shape[name], expected, rtol=1e-3, atol=1e-4, err_msg=name)


def test_a_roll_off_has_that_fraction_of_the_power_below_it():
    shape = by_name(bands((9, 0.3), (31, 0.3), (50, 0.4)))
    bands_below = [shape[index][0, 0] * 64 for index in range(4)]
    expected = [9 + 0.25 / 0.3, 31 + 0.2 / 0.3, 50 + 0.15 / 0.4, 50 + 0.3 / 0.4]
    np.testing.assert_allclose(bands_below, expected, atol=1e-3)


def test_flux_tells_how_much_the_amplitudes_changed_since_the_frame_before():
    twice = np.concatenate([bands((9, 1.0)), bands((9, 1.0)), bands((9, 4.0), (20, 4.0))], axis=1)
    flux = by_name(twice)["flux"][0]
    np.testing.assert_allclose(flux, [0.03, 0.03, ((2 - 1) ** 2 + 2**2) ** 0.25], atol=1e-2)


@pytest.mark.parametrize("decibels", [-70.0, 60.0])
def test_silence_and_noise_have_finite_descriptors_and_gradients(decibels):
    log_mel = tf.fill([1, 5, 64], decibels)
    with tf.GradientTape() as tape:
        tape.watch(log_mel)
        shape = SpectralShape()(log_mel)
    assert np.isfinite(shape).all() and np.isfinite(tape.gradient(shape, log_mel)).all()


@pytest.mark.parametrize("layer", [Cepstra(5), SpectralShape()], ids=lambda layer: layer.name)
def test_config_round_trip(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
    assert again(keras.KerasTensor(FRAMES.shape)).shape == tuple(again(FRAMES).shape)
