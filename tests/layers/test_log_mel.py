import keras
import librosa
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

from ser_keras.config import AudioConfig
from ser_keras.errors import InputError
from ser_keras.layers.log_mel import FrameMask, LevelNormalization, LogMelSpectrogram

RECIPES = [
    AudioConfig(),
    AudioConfig(
        sample_rate=22_050, frame_length=1024, frame_step=256, fft_length=1024, num_mel_bins=128, max_hz=11_025
    ),
    AudioConfig(frame_length=401, frame_step=100, fft_length=1024, min_hz=0.0, log_offset=1e-4),
]
NEEDS_NO_KERNEL = {"Placeholder", "Const", "NoOp", "Identity", "StatefulPartitionedCall", "PartitionedCall"}


def log_mel(waveform, num_samples=None, **recipe):
    layer = LogMelSpectrogram(**recipe)
    lengths = [waveform.shape[1]] * len(waveform) if num_samples is None else num_samples
    return layer(waveform, np.array(lengths, np.int32)).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe.sample_rate}-{recipe.fft_length}")
@pytest.mark.parametrize("num_samples", [16_000, 16_001, 5_119, 1_025])
def test_equals_librosa(recipe, num_samples, noise):
    waveform = noise(num_samples)
    power = librosa.feature.melspectrogram(
        y=waveform,
        sr=recipe.sample_rate,
        n_fft=recipe.fft_length,
        win_length=recipe.frame_length,
        hop_length=recipe.frame_step,
        center=True,
        pad_mode="constant",
        n_mels=recipe.num_mel_bins,
        fmin=recipe.min_hz,
        fmax=recipe.max_hz,
        htk=False,
        norm="slaney",
    )
    expected = librosa.power_to_db(power.T + recipe.log_offset, ref=1.0, amin=1e-30, top_db=None)
    actual = log_mel(waveform[None], **recipe.to_dict())[0]
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, atol=1e-3)  # float32: about 1e-5 dB were seen


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe.sample_rate}-{recipe.fft_length}")
@pytest.mark.parametrize("num_samples", [0, 1, 159, 5_119, 16_000])
def test_a_convolution_gives_what_the_fft_gives(recipe, num_samples, noise):
    fading = (noise(num_samples) * np.exp(-np.arange(num_samples) / 2_000)).astype(np.float32)[None]
    by_convolution = log_mel(fading, fourier="convolution", **recipe.to_dict())
    np.testing.assert_allclose(by_convolution, log_mel(fading, **recipe.to_dict()), atol=1e-3)  # 1e-4 dB was seen


def test_silence_has_the_level_of_the_floor():
    np.testing.assert_allclose(log_mel(np.zeros((1, 800), np.float32), log_offset=1e-5), -50.0, atol=1e-4)


@pytest.mark.parametrize("frequency", [200.0, 1_000.0, 4_000.0])
def test_a_tone_is_loudest_in_its_band(frequency):
    tone = np.sin(2 * np.pi * frequency * np.arange(16_000) / 16_000).astype(np.float32)
    spectrogram = log_mel(tone[None])[0, 50]
    edges = librosa.mel_frequencies(AudioConfig.num_mel_bins + 2, fmin=AudioConfig.min_hz, fmax=AudioConfig.max_hz)
    loudest = spectrogram.argmax()
    assert edges[loudest] < frequency < edges[loudest + 2]


def test_samples_behind_the_clip_are_ignored(noise):
    clip = noise(4_000)
    garbage = np.concatenate([clip, np.full(3_000, np.nan, np.float32)])
    zeros = np.concatenate([clip, np.zeros(3_000, np.float32)])
    np.testing.assert_array_equal(log_mel(garbage[None], [4_000]), log_mel(zeros[None], [4_000]))
    np.testing.assert_allclose(log_mel(zeros[None], [4_000])[:, :13], log_mel(clip[None]), atol=1e-5)


def test_a_loud_clip_leaves_its_batch_mates_alone(noise):
    quiet, loud = noise(8_000) * 1e-3, noise(8_000, seed=1) * 10
    np.testing.assert_allclose(log_mel(np.stack([quiet, loud]))[0], log_mel(quiet[None])[0], atol=1e-5)


@pytest.mark.parametrize("num_samples", [0, 1, 319, 320, 321, 16_000])
def test_symbolic_and_real_shapes_agree(num_samples):
    layer = LogMelSpectrogram()
    assert layer.compute_output_shape((1, num_samples)) == tuple(log_mel(np.zeros((1, num_samples), np.float32)).shape)


def test_mask_counts_the_frames_of_each_clip():
    mask = FrameMask(160)(np.zeros((4, 11, 64)), np.array([0, 159, 160, 1_600]))
    assert mask.numpy().sum(axis=1).tolist() == [1, 1, 2, 11]


def test_float32_under_a_half_precision_policy(noise):
    waveform = noise(8_000)[None]
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        half = log_mel(waveform)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert half.dtype == np.float32
    np.testing.assert_array_equal(half, log_mel(waveform))


def test_every_op_has_a_gpu_kernel():
    """No GPU is needed: the wheel's registry lists the kernels that it was built with."""
    layer = LogMelSpectrogram()
    function = tf.function(lambda waveform, num_samples: layer(waveform, num_samples))
    graph = function.get_concrete_function(
        tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.int32)
    ).graph.as_graph_def()
    nodes = [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]
    ops = {node.op for node in nodes} - NEEDS_NO_KERNEL
    devices = {op: {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(op).kernel} for op in ops}
    assert "RFFT" in ops
    assert {op for op in ops if "GPU" not in devices[op]} == set()


def test_no_product_is_one_that_a_gpu_rounds_to_tf32():
    layer = LogMelSpectrogram()
    function = tf.function(lambda waveform, num_samples: layer(waveform, num_samples))
    graph = function.get_concrete_function(tf.TensorSpec([1, 16_000], tf.float32), tf.TensorSpec([1], tf.int32)).graph
    products = [each for each in graph.get_operations() if "MatMul" in each.type or "Conv" in each.type]
    assert products and all(each.get_attr("T") == tf.float64 for each in products)


def test_config_round_trip(noise):
    layer = LogMelSpectrogram(num_mel_bins=40, log_offset=1e-5)
    again = LogMelSpectrogram.from_config(layer.get_config())
    waveform, lengths = noise(4_000)[None], np.array([4_000])
    np.testing.assert_array_equal(layer(waveform, lengths), again(waveform, lengths))


def test_the_fourier_form_is_part_of_the_config():
    again = LogMelSpectrogram.from_config(LogMelSpectrogram(fourier="convolution").get_config())
    assert again.fourier == "convolution" and LogMelSpectrogram().fourier == "fft"


def test_an_unknown_fourier_form_is_refused():
    with pytest.raises(InputError, match="fourier='dft': expected fft or convolution"):
        LogMelSpectrogram(fourier="dft")


def test_a_recipe_that_cannot_work_is_refused():
    with pytest.raises(InputError, match="fft_length=256: expected an even number of at least frame_length=512"):
        LogMelSpectrogram(fft_length=256)


def speech_like(seconds=1.0, seed=0):
    """Noise whose level moves, with a pause of digital silence in the middle."""
    random = np.random.default_rng(seed)
    size = round(16_000 * seconds)
    waveform = random.normal(size=size) * np.interp(np.arange(size), [0, size / 3, size / 2, size], [0.1, 1, 0, 0.6])
    waveform[size // 2 : size * 5 // 8] = 0
    return (0.2 * waveform / np.abs(waveform).max()).astype(np.float32)


@pytest.mark.parametrize("gain_db", [-60, -40, -20, 14])
def test_the_level_of_a_clip_does_not_reach_its_features(gain_db):
    """From -60 dB to the edge of clipping, where the clip peaks at full scale."""
    waveform, num_samples = speech_like()[None], np.array([16_000])
    given = LevelNormalization()(waveform * np.float32(10 ** (gain_db / 20)), num_samples)
    np.testing.assert_allclose(given, LevelNormalization()(waveform, num_samples), rtol=1e-4, atol=1e-7)


def test_pauses_do_not_raise_the_level_of_the_speech():
    waveform = speech_like()
    with_pause = np.concatenate([np.zeros(16_000, np.float32), waveform, 1e-3 * waveform])
    alone = LevelNormalization()(waveform[None], np.array([16_000]))[0]
    given = LevelNormalization()(with_pause[None], np.array([48_000]))[0, 16_000:32_000]
    np.testing.assert_allclose(given, alone, rtol=1e-4, atol=1e-7)


def test_neither_padding_nor_other_clips_change_the_level():
    first, second = speech_like(), speech_like(0.63, seed=1)
    batch = np.full((2, 20_000), 0.9, np.float32)  # the padding is not silent
    batch[0, : len(first)], batch[1, : len(second)] = first, second
    together = LevelNormalization()(batch, np.array([len(first), len(second)])).numpy()
    for given, clip in zip(together, (first, second), strict=True):
        alone = LevelNormalization()(clip[None], np.array([len(clip)])).numpy()[0]
        np.testing.assert_allclose(given[: len(clip)], alone, rtol=1e-5, atol=1e-8)
        assert not given[len(clip) :].any()


@pytest.mark.parametrize("num_samples", [0, 1, 100])
def test_silence_and_clips_of_no_sample_have_a_finite_level(num_samples):
    for size in (num_samples, num_samples + 50):
        given = LevelNormalization()(np.zeros((1, size), np.float32), np.array([num_samples])).numpy()
        assert given.shape == (1, size) and not given.any()


@pytest.mark.parametrize("gain_db", [-40, 13])
def test_a_quiet_clip_has_the_probabilities_of_a_loud_one(restless_model, gain_db):
    waveform, num_samples = speech_like()[None], np.array([16_000], np.int32)
    loud, quiet = (
        restless_model({"waveform": waveform * np.float32(gain), "num_samples": num_samples}, training=False)
        for gain in (1, 10 ** (gain_db / 20))
    )
    np.testing.assert_allclose(loud, quiet, atol=1e-4)
