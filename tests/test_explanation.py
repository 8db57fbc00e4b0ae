"""Explanations: the axioms of each view, and that it agrees with the predictions of the model."""

import keras
import numpy as np
import pytest
from conftest import SMALL

from ser_keras import explanation
from ser_keras.config import AudioConfig
from ser_keras.errors import InputError
from ser_keras.explanation import attention_over_time, integrated_gradients, log_mel_of, occlusion
from ser_keras.model import ParallelModel

VIEWS = [attention_over_time, integrated_gradients, log_mel_of, occlusion]
MAPS = [integrated_gradients, occlusion]
PATCHES = {"patch_seconds": 0.6, "patch_bands": 40}  # 30 frames: 4 patches in time, 2 in frequency


@pytest.fixture(scope="module")
def clip(noise):
    """Two seconds of low noise that swell: 101 frames."""
    low = np.convolve(noise(32_000), np.ones(40) / 8, "same")
    return (low * np.linspace(0.1, 1, 32_000)).astype(np.float32)


@pytest.fixture(scope="module")
def predicted(restless_model, clip):
    return int(probabilities_of(restless_model, clip).argmax())


@pytest.fixture(scope="module")
def attributions(restless_model, clip):
    """Integrated gradients of the predicted emotion; to trace them takes seconds."""
    return integrated_gradients(restless_model, clip, num_steps=200)


@pytest.fixture(scope="module")
def losses(restless_model, clip):
    """Occlusion of the predicted emotion."""
    return occlusion(restless_model, clip, **PATCHES)


def probabilities_of(model, waveform):
    return model({"waveform": waveform[None], "num_samples": np.array([len(waveform)])}).numpy()[0]


def probabilities_of_mean(model, num_frames):
    """Probabilities of a spectrogram that is the mean of the training data throughout."""
    mean = np.reshape(model.parts.normalization.mean, (1, 1, -1))
    network = keras.Model([model.parts.log_mel, model.input["num_samples"]], model.output)
    spectrogram = keras.ops.convert_to_tensor(np.repeat(mean, num_frames, axis=1))
    return network([spectrogram, keras.ops.convert_to_tensor([(num_frames - 1) * 320])]).numpy()[0]


# === log-mel ===


def test_the_spectrogram_is_that_of_the_model(restless_model, clip):
    inputs = {"waveform": clip[None], "num_samples": np.array([32_000])}
    np.testing.assert_allclose(
        log_mel_of(restless_model, clip), restless_model.details(inputs)["log_mel"][0], atol=1e-5
    )


# === attention ===


@pytest.mark.parametrize("num_samples", [1_600, 2_559, 2_560, 16_000, 40_000])
def test_attention_is_that_of_the_served_model(restless_model, served, noise, num_samples):
    waveform = noise(num_samples)
    outputs = served(
        "waveform",
        waveform=waveform[None],
        num_samples=np.array([num_samples], np.int32),
        sample_rate=np.array([16_000], np.int32),
    )
    attention = attention_over_time(restless_model, waveform)
    np.testing.assert_allclose(attention.weights, outputs["attention"][0], atol=1e-5)
    np.testing.assert_allclose(attention.seconds, outputs["attention_seconds"][0], atol=1e-6)


def test_attention_sums_to_one(restless_model, clip):
    assert attention_over_time(restless_model, clip).weights.sum() == pytest.approx(1, abs=1e-5)


def test_a_step_of_attention_has_the_frames_that_the_conv_blocks_pool(clip):
    audio = AudioConfig(frame_step=80)
    model = ParallelModel(2, audio=audio, config=SMALL.replace(conv_time_pools=(5, 1)))
    seconds = attention_over_time(model, clip).seconds
    np.testing.assert_allclose(np.diff(seconds), 10 * 80 / 16_000, atol=1e-6)
    assert len(seconds) == 41  # 401 frames


# === integrated gradients ===


def test_attributions_sum_to_the_difference_from_the_training_mean(restless_model, clip, attributions, predicted):
    probabilities, mean = probabilities_of(restless_model, clip), probabilities_of_mean(restless_model, 101)
    assert abs(probabilities - mean)[predicted] > 0.05  # or the sum would prove nothing
    assert attributions.sum() == pytest.approx((probabilities - mean)[predicted], abs=5e-3)  # kinks, and 200 points


def test_attributions_have_the_shape_of_the_spectrogram(attributions):
    assert attributions.shape == (101, 64) and attributions.dtype == np.float32


# === occlusion ===


def test_a_patch_has_the_difference_of_the_probability_without_it(restless_model, clip):
    whole = occlusion(restless_model, clip, emotion="angry", patch_seconds=10, patch_bands=64)
    expected = probabilities_of(restless_model, clip)[2] - probabilities_of_mean(restless_model, 101)[2]
    assert abs(expected) > 1e-3
    np.testing.assert_allclose(whole, np.full((101, 64), expected), atol=1e-5)


def test_patches_cover_the_spectrogram_side_by_side(losses):
    for frames in (slice(0, 30), slice(30, 60), slice(60, 90), slice(90, 101)):
        for bands in (slice(0, 40), slice(40, 64)):
            assert np.ptp(losses[frames, bands]) == 0
    assert losses.shape == (101, 64) and len(np.unique(losses)) == 8


def test_a_patch_that_holds_the_training_mean_has_no_effect(restless_model, clip, monkeypatch):
    spectrogram = log_mel_of(restless_model, clip)
    spectrogram[:30, :40] = np.reshape(restless_model.parts.normalization.mean, -1)[:40]
    monkeypatch.setattr(explanation, "log_mel_of", lambda *_: spectrogram)
    losses = occlusion(restless_model, clip, **PATCHES)
    assert np.abs(losses[:30, :40]).max() < 1e-6 < np.abs(losses).max()


@pytest.mark.parametrize(("frames_at_once", "sizes"), [(250, [2, 2, 2, 2]), (100, [1] * 8)], ids=["few", "alone"])
def test_no_more_runs_together_than_memory_holds(restless_model, clip, losses, monkeypatch, frames_at_once, sizes):
    stacked, stack = [], np.stack
    monkeypatch.setattr(explanation, "_FRAMES_AT_ONCE", frames_at_once)
    monkeypatch.setattr(explanation.np, "stack", lambda batch: stacked.append(len(batch)) or stack(batch))
    np.testing.assert_allclose(occlusion(restless_model, clip, **PATCHES), losses, atol=1e-6)
    assert stacked == sizes


def test_an_emotion_is_named_or_counted(restless_model, clip, losses, predicted):
    for emotion in (predicted, np.int64(predicted), restless_model.emotions[predicted]):
        np.testing.assert_allclose(occlusion(restless_model, clip, emotion=emotion, **PATCHES), losses, atol=1e-6)


# === all ===


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros(0), r"a waveform of shape \(0,\): expected one dimension, mono, with at least one sample"),
        (np.zeros((1, 8_000)), r"a waveform of shape \(1, 8000\): expected one dimension"),
        (np.full(8_000, np.nan), "samples that are not finite"),
        (np.zeros(601 * 16_000), "a waveform of 601.0 s: expected at most 600 s"),
    ],
    ids=["empty", "batch", "NaN", "too long"],
)
def test_a_waveform_that_cannot_be_explained_is_refused(restless_model, view, waveform, message):
    with pytest.raises(InputError, match=message):
        view(restless_model, waveform)


@pytest.mark.parametrize("view", MAPS)
@pytest.mark.parametrize("emotion", ["bored", 3, -1])
def test_an_emotion_that_the_model_does_not_have_is_refused(restless_model, clip, view, emotion):
    with pytest.raises(InputError, match=f"emotion={emotion!r}: expected neutral or sad or angry or 0 to 2"):
        view(restless_model, clip, emotion=emotion)


def test_settings_that_cannot_work_are_refused(restless_model, clip):
    with pytest.raises(InputError, match="num_steps=0: expected at least 1"):
        integrated_gradients(restless_model, clip, num_steps=0)
    with pytest.raises(InputError, match="patch_seconds=0: expected more than 0"):
        occlusion(restless_model, clip, patch_seconds=0)
    with pytest.raises(InputError, match="patch_bands=0: expected at least 1"):
        occlusion(restless_model, clip, patch_bands=0)
