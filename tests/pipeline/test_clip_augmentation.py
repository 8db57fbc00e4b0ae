"""Augmented copies of waveforms."""

import numpy as np
import pytest

from ser_keras.pipeline.augmentation import Augmentation

NOTHING = {"speed": 0.0, "filter_db": 0.0, "snr_db": None}


KNOTS_HZ = 700 * np.expm1(np.linspace(0, np.log1p(8_000 / 700), 6))


def augment(samples, seed=0, **changes):
    return Augmentation(**NOTHING | changes)(samples, np.random.default_rng(seed))


def tone(hz, num_samples=16_000):
    return np.sin(2 * np.pi * hz * np.arange(num_samples) / 16_000).astype(np.float32)


def peak_hz(samples):
    return np.abs(np.fft.rfft(samples)).argmax() * 16_000 / len(samples)


def test_without_any_change_a_clip_stays_as_it_is(noise):
    np.testing.assert_array_equal(augment(noise(5_000)), noise(5_000))


@pytest.mark.parametrize("seed", range(4))
def test_another_speed_changes_length_and_pitch_alike(seed):
    changed = augment(tone(1_000), seed, speed=0.1)
    factor = len(changed) / 16_000
    assert 0.9 - 1e-3 <= factor <= 1.1 + 1e-3 and abs(factor - 1) > 1e-3
    assert peak_hz(changed) == pytest.approx(1_000 / factor, rel=0.002)


def test_a_filter_keeps_the_length_and_changes_the_spectrum(noise):
    """Nothing is delayed."""
    clip = noise(16_000)
    changed = augment(clip, filter_db=6.0)
    assert len(changed) == len(clip)
    gains = 20 * np.log10(np.abs(np.fft.rfft(changed)) / np.abs(np.fft.rfft(clip)))
    bands = [np.median(gains[round(hz) - 50 : round(hz) + 50]) for hz in KNOTS_HZ[1:-1]]
    assert np.ptp(bands) > 3
    correlation = np.correlate(changed, clip[500:-500], "valid")
    assert correlation.argmax() == 500


def test_the_gain_of_the_filter_varies_as_asked_for():
    """At a knot of its curve, over many draws."""
    clip = tone(KNOTS_HZ[2], 4_000)
    levels = [20 * np.log10(augment(clip, seed, filter_db=4.0)[1_000:3_000].std() / 0.7071) for seed in range(200)]
    assert np.std(levels) == pytest.approx(4.0, rel=0.2) and abs(np.mean(levels)) < 1


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_noise_has_the_ratio_asked_for_and_is_white_or_pink(noise, snr_db):
    clip, slopes = tone(440), []
    for seed in range(6):
        added = augment(clip, seed, snr_db=(snr_db, snr_db)) - clip
        assert 10 * np.log10(np.square(clip).mean() / np.square(added).mean()) == pytest.approx(snr_db, abs=0.01)
        power = np.square(np.abs(np.fft.rfft(added)))
        slopes.append(10 * np.log10(power[50:150].mean() / power[5_000:].mean()))
    white, pink = ([each for each in slopes if (each > 10) == is_pink] for is_pink in (False, True))
    assert white and pink and max(map(abs, white)) < 3


def test_ratios_are_drawn_between_both_limits():
    clip, ratios = tone(440), []
    for seed in range(50):
        added = augment(clip, seed, snr_db=(10.0, 40.0)) - clip
        ratios.append(10 * np.log10(np.square(clip).mean() / np.square(added).mean()))
    assert 10 - 0.1 < min(ratios) < 15 and 35 < max(ratios) < 40 + 0.1


@pytest.mark.parametrize("num_samples", [0, 1, 200, 8_000])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_silence_and_short_clips_stay_finite(noise, num_samples, level):
    for seed in range(4):  # white and pink noise
        changed = Augmentation()(level * noise(num_samples), np.random.default_rng(seed))
        assert changed.dtype == np.float32 and np.isfinite(changed).all()
        assert abs(len(changed) - num_samples) <= 0.1 * num_samples + 1
        assert level or not changed.any()


def test_the_same_draws_give_the_same_copy(noise):
    first, again, other = (Augmentation()(noise(8_000), np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or np.abs(first - other).max() > 0.01
