import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SMALL
from scipy.special import eval_legendre, softmax

from ser_keras.layers.functionals import Functionals, Reliability
from ser_keras.layers.fusion import LateFusion
from ser_keras.model import ParallelModel
from ser_keras.model.functionals_branch import fit_functionals_branch


def by_hand(frames, lags, trends=True):
    """The functionals of one clip `(frames, descriptors)`, from their definition."""
    ends = np.arange(len(frames) + 1) / len(frames) * 2 - 1
    time = (ends[1:] + ends[:-1]) / 2
    orders = (1, 2) if trends else ()
    trends = [(2 * n + 1) * np.mean(frames * eval_legendre(n, time)[:, None], axis=0) for n in orders]
    spread = log(frames.var(axis=0))
    changes = [log(np.mean((frames[lag:] - frames[:-lag]) ** 2, axis=0)) - spread for lag in lags]
    return np.concatenate([frames.mean(axis=0), spread, *trends, *changes])


def log(variance):
    return np.log(variance + 1e-3)


def test_functionals_are_those_of_their_definition_and_padding_adds_none():
    frames = np.random.default_rng(0).normal(size=(2, 60, 20)).cumsum(axis=1).astype(np.float32)
    mask = np.arange(60) < np.array([[60], [33]])
    functionals = Functionals((1, 5))(frames, mask).numpy()
    np.testing.assert_allclose(functionals[0], by_hand(frames[0], (1, 5)), atol=1e-4)
    np.testing.assert_allclose(functionals[1], by_hand(frames[1, :33], (1, 5)), atol=1e-4)


def test_frames_before_the_mask_are_ignored_as_padding_is():
    frames = np.random.default_rng(0).normal(size=(1, 60, 20)).cumsum(axis=1).astype(np.float32)
    mask = (np.arange(60) >= 17) & (np.arange(60) < 50)
    functionals = Functionals((1, 5))(frames, mask[None]).numpy()
    np.testing.assert_allclose(functionals[0], by_hand(frames[0, 17:50], (1, 5)), atol=1e-4)


def test_without_trends_there_are_mean_variance_and_changes():
    frames = np.random.default_rng(0).normal(size=(1, 60, 20)).astype(np.float32)
    layer = Functionals((1, 5), trends=False)
    functionals = layer(frames, np.ones((1, 60), bool)).numpy()[0]
    np.testing.assert_allclose(functionals, by_hand(frames[0], (1, 5), trends=False), atol=1e-4)
    assert layer.compute_output_shape((1, 60, 20)) == (1, len(functionals)) == (1, 4 * 20)
    assert Reliability((1, 5), trends=False)(np.ones((1, 60), bool)).shape == (1, 4)


@pytest.mark.parametrize(("lags", "trends", "hidden"), [((), False, [2, 3, 41]), ((1, 3), True, [])])
@pytest.mark.parametrize("length", [80, 53, 7])
def test_functionals_of_windows_are_averaged_by_the_frames_in_them(lags, trends, hidden, length):
    """Frames that are hidden do not count, and a window without a frame has no weight."""
    frames = np.random.default_rng(0).normal(size=(1, 80, 5)).cumsum(axis=1).astype(np.float32)
    mask = np.arange(80) < length
    mask[[*hidden, *range(20, 40)]] = False
    windows = [frames[0, first : first + 20][mask[first : first + 20]] for first in (0, 20, 40, 60)]
    windows = [window for window in windows if len(window)]
    counts = np.array([len(window) for window in windows])
    each = [by_hand(window, lags, trends) for window in windows]
    expected = np.average(each, axis=0, weights=counts**2 / (counts + 8))
    functionals = Functionals(lags, trends=trends, window=20)(frames, mask[None]).numpy()[0]
    np.testing.assert_allclose(functionals, expected, atol=1e-4)


def test_a_clip_without_a_frame_has_finite_functionals_of_windows():
    functionals = Functionals((), trends=False, window=8)(np.ones((1, 20, 6), np.float32), np.zeros((1, 20), bool))
    assert np.isfinite(functionals).all()


def test_the_padding_of_windows_changes_nothing():
    frames = np.random.default_rng(0).normal(size=(1, 90, 5)).astype(np.float32)
    layer, mask = Functionals((), trends=False, window=20), np.arange(90)[None] < 33
    np.testing.assert_allclose(layer(frames, mask), layer(frames[:, :33], mask[:, :33]), atol=1e-6)


@pytest.mark.parametrize("num_frames", [0, 1, 3])
def test_a_clip_shorter_than_a_lag_has_finite_functionals(num_frames):
    mask = np.arange(20)[None] < num_frames
    functionals = Functionals((16,))(np.ones((1, 20, 6), np.float32), mask).numpy()
    assert functionals.shape == (1, 5 * 6) and np.isfinite(functionals).all()


@pytest.mark.parametrize(
    "layer",
    [Functionals((2, 3), trends=False, window=9), Reliability((2, 3), prior_frames=4), LateFusion()],
    ids=lambda layer: layer.name,
)
def test_config_round_trip(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()


def test_in_training_the_network_predicts_alone():
    own, other = np.log([[0.7, 0.2, 0.1]]), np.log([[0.1, 0.1, 0.8]])
    fusion, sure = LateFusion(), np.ones((1, 1))
    fusion.build()
    fusion.set(0.5)
    np.testing.assert_allclose(fusion(own, other, sure, training=True), own, atol=1e-6)
    pooled = np.sqrt([0.7 * 0.1, 0.2 * 0.1, 0.1 * 0.8])
    np.testing.assert_allclose(softmax(fusion(own, other, sure).numpy()[0]), pooled / pooled.sum(), atol=1e-6)


@pytest.mark.parametrize("reliability", [0.0, 0.25])
def test_a_clip_that_the_functionals_cannot_rely_on_is_predicted_by_the_network(reliability):
    own, other = np.log([[0.7, 0.3]]), np.log([[0.1, 0.9]])
    fusion = LateFusion()
    fusion.build()
    fusion.set(0.5)
    pooled = np.exp((1 - reliability / 2) * own + reliability / 2 * other)[0]
    given = softmax(fusion(own, other, np.full((1, 1), reliability)).numpy()[0])
    np.testing.assert_allclose(given, pooled / pooled.sum(), atol=1e-6)


def test_functionals_that_a_clip_is_too_short_for_have_no_weight():
    mask = np.arange(40) < np.array([[0], [1], [2], [4], [5], [40]])
    reliability = Reliability((1, 4), prior_frames=8)(mask).numpy()  # mean, variance, two trends, changes
    expected = [[0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 1, 0], [1, 1, 1, 1, 1, 0], [1] * 6, [1] * 6]
    np.testing.assert_array_equal(reliability > 0, expected)
    assert reliability[-1, 0] == pytest.approx(40 / 48) and reliability[-1, -1] == pytest.approx(36 / 44)


def bright_and_dull(seconds, num_clips, quiet_start):
    """Clips of noise whose level moves, by turns with the high and with the low frequencies stronger.

    They are as different as recordings are: how much, how soon and how far the level moves, and how much of the
    beginning is quiet, up to a part.
    """
    random, size = np.random.default_rng(0), round(16_000 * seconds)
    waveforms = np.zeros((num_clips, size), np.float32)
    for index, waveform in enumerate(waveforms):
        noise, tilt = random.normal(size=size + 1), random.uniform(0.5, 0.95) * (1 if index % 2 else -1)
        knots = np.arange(0, size + 4_000, random.integers(300, 4_000))
        level = np.interp(np.arange(size), knots, random.uniform(random.uniform(0.05, 0.9), 1, len(knots)))
        waveform[:] = 0.1 * level * (noise[1:] + tilt * noise[:-1])
        waveform[: round(random.uniform(0, quiet_start) * size)] *= random.uniform(0.01, 0.03)  # which is trimmed
    return {"waveform": waveforms, "num_samples": np.full(num_clips, size, np.int32)}


@pytest.mark.parametrize("quiet_start", [0.0, 0.5], ids=["all frames", "trimmed"])
def test_the_functionals_tell_short_clips_apart_and_predict_no_single_emotion(quiet_start):
    """Statistics that a clip is too short for were 20 standard deviations away, and decided alone."""
    train = bright_and_dull(3.0, 40, quiet_start), np.eye(2, dtype=np.float32)[np.arange(40) % 2]
    train = tf.data.Dataset.from_tensors(train)
    model = ParallelModel(2, config=SMALL)
    model.adapt_normalization(train)
    fit_functionals_branch(model, [train], 100.0)
    functionals = keras.Model(model.input, model.parts.functionals.logits)
    for seconds in (0.1, 0.2, 0.3, 0.4, 0.5):
        predicted = np.argmax(functionals(bright_and_dull(seconds, 40, quiet_start), training=False), axis=1)
        assert np.mean(predicted == np.arange(40) % 2) > 0.9, seconds  # one emotion for all has 0.5
