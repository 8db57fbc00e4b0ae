"""The resampler against soxr, and where it could go wrong: edges, seams, awkward rates."""

import numpy as np
import pytest
import soxr
import tensorflow as tf

from ser_keras.audio_io.resampling import resample

TARGET = 16_000
RATES = [4_000, 8_000, 11_025, 22_050, 24_000, 24_414, 32_000, 44_100, 48_000, 96_000, 384_000, 44_099]

_compiled = tf.function(resample, input_signature=[tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int32)])


def convert(waveform, rate):
    return _compiled(tf.constant(waveform, tf.float32), tf.constant(rate)).numpy()


def noise(num_samples):
    return 0.1 * np.random.default_rng(1).standard_normal(num_samples)


def below(waveform, max_hz):
    """The part of a waveform at 16 kHz that lies below a frequency, with room for its edges."""
    waveform = np.pad(waveform, 1_000)
    spectrum = np.fft.rfft(waveform)
    spectrum[np.fft.rfftfreq(len(waveform), 1 / TARGET) > max_hz] = 0
    return np.fft.irfft(spectrum, len(waveform))


def signal_to_noise_db(expected, found):
    return 10 * np.log10(np.sum(expected**2) / np.sum((found - expected) ** 2))


@pytest.mark.parametrize("rate", RATES)
def test_noise_sounds_as_soxr_renders_it_from_the_first_sample_to_the_last(rate):
    waveform = noise(int(1.7137 * rate))
    expected = soxr.resample(waveform, rate, TARGET, quality="HQ")
    found = convert(waveform, rate)[: len(expected)]
    # Above 0.9 of the lower Nyquist frequency the two low-passes may differ. A lost or delayed sample
    # would give less than 20 dB.
    max_hz = 0.45 * min(rate, TARGET)
    assert signal_to_noise_db(below(expected, max_hz), below(found, max_hz)) > 60


@pytest.mark.parametrize("rate", RATES)
def test_the_low_pass_is_that_of_soxr(rate):
    waveform = noise(2 * rate)
    expected = soxr.resample(waveform, rate, TARGET, quality="HQ")
    # The whole band: with a cutoff one hundredth higher or lower there would be 26 dB.
    assert signal_to_noise_db(expected, convert(waveform, rate)[: len(expected)]) > 35


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_keeps_its_phase_and_its_size(rate):
    def tone(sample_rate):
        return 0.5 * np.cos(2 * np.pi * 997 * np.arange(sample_rate) / sample_rate)

    inside = slice(2_000, -2_000)
    np.testing.assert_allclose(convert(tone(rate), rate)[inside], tone(TARGET)[inside], atol=2e-6)


@pytest.mark.parametrize("hz", [8_100, 12_000, 20_000])
def test_what_the_lower_rate_cannot_hold_is_removed(hz):
    tone = np.sin(2 * np.pi * hz * np.arange(48_000) / 48_000)
    assert np.abs(convert(tone, 48_000)[1_000:-1_000]).max() < 1e-4


@pytest.mark.parametrize("rate", RATES)
def test_a_constant_stays_constant(rate):
    converted = convert(np.full(rate, 0.25), rate)
    np.testing.assert_allclose(converted[2_000:-2_000], 0.25, atol=1e-6)


@pytest.mark.parametrize(("num_samples", "rate"), [*zip([0, 1, 2, 479, 480, 5_001] * 2, RATES, strict=True)])
def test_the_length_is_rounded_up(num_samples, rate):
    converted = convert(noise(num_samples), rate)
    assert len(converted) == -(-num_samples * TARGET // rate)
    assert np.all(np.isfinite(converted))


def test_the_same_rate_changes_nothing():
    waveform = np.float32([0.1, -3e-39, 1.5, -0.0])
    assert convert(waveform, TARGET).tobytes() == waveform.tobytes()


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 44_099])
def test_a_long_recording_has_no_seams(rate):
    waveform = noise(21 * rate)
    whole = convert(waveform, rate)
    for second in (0, 7, 13):
        # Far enough from the ends of the piece: there the low-pass hears silence instead of the rest.
        piece = convert(waveform[second * rate : (second + 8) * rate], rate)[1_000:-1_000]
        start = second * TARGET + 1_000
        np.testing.assert_allclose(whole[start : start + len(piece)], piece, atol=3e-6)


def test_the_target_rate_is_free():
    waveform = noise(44_100)
    expected = soxr.resample(waveform, 44_100, 22_050, quality="HQ")
    found = resample(tf.constant(waveform, tf.float32), 44_100, 22_050).numpy()
    found, expected = below(found, 0.45 * TARGET), below(expected, 0.45 * TARGET)
    assert signal_to_noise_db(expected, found) > 60


def test_an_item_of_a_map_is_converted_as_if_alone():
    waveforms = np.stack([noise(3_000), noise(3_000)[::-1]]).astype(np.float32)
    rates = np.int32([8_000, 44_100])
    together = tf.map_fn(
        lambda item: resample(*item),
        (waveforms, rates),
        fn_output_signature=tf.RaggedTensorSpec([None], tf.float32, 0),
    )
    for waveform, rate, row in zip(waveforms, rates, together, strict=True):
        # Not to the bit: a compiled graph may round otherwise than one that runs step by step.
        np.testing.assert_allclose(row.numpy(), convert(waveform, rate), rtol=0, atol=1e-6)
