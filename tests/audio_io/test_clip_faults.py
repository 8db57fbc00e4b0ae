"""What is usable: one judgement, by whatever way a recording comes in."""

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from ser_keras.audio_io import clip_faults as usable
from ser_keras.audio_io import clip_faults_graph as usable_graph
from ser_keras.config import DataConfig
from ser_keras.corpora import Utterance
from ser_keras.inference import Predictor
from ser_keras.pipeline.recordings import load_recordings

RATE = 16_000


def spoilt(samples, value):
    return np.where(np.arange(len(samples)) == len(samples) // 2, value, samples).astype(np.float32)


def unusable(noise):
    """Return samples, their rate and the beginning of the reason, by name."""
    speech = noise(48_000)
    return {
        "silence": (0 * speech, RATE, "silent: "),
        "a constant offset": (0 * speech + 0.3, RATE, "silent: "),
        "an offset at 48 kHz": (0 * speech + 0.3, 48_000, "silent: "),
        "an offset at 44.1 kHz": (0 * speech - 0.9, 44_100, "silent: "),
        "an offset at 8 kHz": (0 * speech + 0.3, 8_000, "silent: "),
        "an offset and a hum of -90 dB": (1e-4 * speech + 0.3, RATE, "silent: "),
        "too short": (noise(1_500), RATE, "too short: 0.093 s, at least 0.1 s"),
        "too short at 48 kHz": (noise(2_400), 48_000, "too short: 0.050 s, at least 0.1 s"),
        "no samples": (noise(0), RATE, "empty: no samples"),
        "NaN": (spoilt(speech, np.nan), RATE, "holds NaN or infinite samples"),
        "infinite": (spoilt(speech, -np.inf), RATE, "holds NaN or infinite samples"),
        "integers as floats": (np.clip(speech, -0.5, 0.7) * 32_768, RATE, "too loud: a peak of "),
        "8 bits as floats": (speech * 1_000, RATE, "too loud: a peak of "),
    }


def usable_clips(noise):
    """Return samples by name."""
    speech = noise(48_000)
    return {
        "speech": speech,
        "a faint voice": speech * 1e-3,
        "a voice on an offset": speech * 1e-2 + 0.5,
        "24 dB over full scale": speech * 35,
        "a tenth of a second": noise(1_600),
        "a voice in a pause": np.concatenate([0 * speech, noise(800), 0 * speech]),
    }


@pytest.fixture(scope="module")
def predictor(exported):
    return Predictor(exported)


def test_the_graph_judges_as_numpy_does(noise):
    grid = [samples for samples, _, _ in unusable(noise).values()] + list(usable_clips(noise).values())
    grid += [noise(1_600) * scale for scale in (1e-5, 1e-4, 3e-4, 1e-3, 10, 70, 80, 1e3, 1e20)]
    grid += [np.zeros(length, np.float32) for length in (1, 2, 3, 1_599, 1_600)]
    judge = tf.function(lambda samples: usable_graph.clip_fault(samples, RATE), input_signature=[tf.TensorSpec([None])])
    for samples in (each.astype(np.float32) for each in grid):
        assert judge(samples).numpy().decode() == usable.clip_fault(samples, RATE)


def test_good_clips_are_usable(noise):
    for name, samples in usable_clips(noise).items():
        assert usable.clip_fault(samples.astype(np.float32), RATE) == "", name


def test_integers_are_judged_as_the_floats_that_they_are(noise):
    for samples in (noise(16_000), 1e-5 * noise(16_000), 0 * noise(16_000) + 0.5):
        integers = np.round(samples * 2**15).astype(np.int16)
        assert usable.clip_fault(integers, RATE) == usable.clip_fault(integers / np.float32(2**15), RATE)


def test_a_longer_least_length_is_that_of_training(noise):
    assert usable.clip_fault(noise(8_000), RATE, 1.0).startswith("too short: 0.500 s, at least 1.0 s")
    assert usable.clip_fault(noise(800), RATE, 0.0).startswith("too short: 0.050 s, at least 0.1 s")


def test_training_prediction_and_serving_give_the_same_reason(predictor, served, noise, tmp_path):
    cases = {tmp_path / f"{name}.wav": case for name, case in unusable(noise).items()}
    for path, (samples, rate, _) in cases.items():
        soundfile.write(path, samples, rate, subtype="FLOAT")
    good = tmp_path / "good.wav"
    soundfile.write(good, noise(16_000), RATE)
    utterances = [Utterance(path, "sad", None, "x") for path in (*cases, good)]
    rejected = load_recordings(utterances, sample_rate=RATE, config=DataConfig()).rejected
    in_training = {each.path: each.reason for each in rejected}
    predicted, along = predictor.predict([*cases, good]), predictor.timeline([*cases, good])
    by_bytes = served("serving_default", audio_bytes=[path.read_bytes() for path in cases])["error"]
    assert set(in_training) == set(cases) and not predicted[-1].error and not along[-1].error
    for path, whole, windows, error in zip(cases, predicted, along, by_bytes, strict=False):
        reasons = {in_training[path], whole.error, windows.error, error.decode()}
        assert len(reasons) == 1 and reasons.pop().startswith(cases[path][2]), path.name


def test_waveforms_are_judged_as_files_are(served, noise):
    for name, (samples, rate, reason) in unusable(noise).items():
        if len(samples) == 0:  # num_samples=0 has a reason of its own
            continue
        numbers = {"num_samples": np.array([len(samples)], np.int32), "sample_rate": np.array([rate], np.int32)}
        answer = served("waveform", waveform=samples[None].astype(np.float32), **numbers)
        assert answer["error"][0].decode().startswith(reason), name
        assert not answer["probabilities"].any() and answer["label"] == [b""]


def test_stereo_of_opposite_phase_is_speech(predictor, served, noise, wav_bytes, tmp_path):
    speech = (noise(48_000) * 2**15).astype(np.int16) / np.float32(2**15)
    stereo = np.stack([speech, -speech], axis=1)
    soundfile.write(tmp_path / "stereo.flac", stereo, RATE)
    alone, by_bytes = served("serving_default", audio_bytes=[wav_bytes(speech), wav_bytes(stereo)])["probabilities"]
    by_file = list(predictor.predict(tmp_path / "stereo.flac").probabilities.values())
    np.testing.assert_allclose(by_bytes, alone, atol=1e-6)
    np.testing.assert_allclose(by_file, alone, atol=1e-5)
