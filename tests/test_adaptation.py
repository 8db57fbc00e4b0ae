"""The normalisation follows new recordings, by the weight that their number gives them."""

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from ser_keras.adaptation import PRIOR_CLIPS, adapt_normalization
from ser_keras.errors import InputError
from ser_keras.model import save_model


def statistics(model):
    layer = model.get_layer("normalization")
    return layer.adapt_mean.numpy(), layer.adapt_variance.numpy()


def log_mel(model, waveforms):
    """The frames of all clips, `(frames, mels)`."""
    frames = []
    for waveform in waveforms:
        size = np.array([len(waveform)], np.int32)
        spectrogram = model.get_layer("log_mel")(waveform[None], size)
        frames.append(spectrogram.numpy()[model.get_layer("frame_mask")(spectrogram, size).numpy()])
    return np.concatenate(frames)


@pytest.fixture(scope="module")
def clips(noise):
    """Six clips of different lengths, from a quiet place."""
    return [noise(4_000 + 900 * seed, seed) * 0.01 for seed in range(6)]


@pytest.fixture(scope="module")
def adapted(restless_model, clips):
    return adapt_normalization(restless_model, clips)


def test_mean_and_variance_are_those_of_the_pool(restless_model, adapted, clips):
    """As if the training data were κ clips: against the moments of such a pool."""
    weight = len(clips) / (len(clips) + PRIOR_CLIPS)
    frames = log_mel(restless_model, clips)
    old_mean, old_variance = statistics(restless_model)
    mean = (1 - weight) * old_mean + weight * frames.mean(axis=0)
    second_moment = (1 - weight) * (old_variance + old_mean**2) + weight * (frames**2).mean(axis=0)
    np.testing.assert_allclose(statistics(adapted)[0], mean, rtol=1e-3)
    np.testing.assert_allclose(statistics(adapted)[1], second_moment - mean**2, rtol=1e-2)  # of large squares


def test_the_original_stays_as_it_was(restless_model, clips):
    before = restless_model.get_weights()
    inputs = {"waveform": clips[0][None], "num_samples": np.array([4_000], np.int32)}
    answer = restless_model(inputs).numpy()
    adapt_normalization(restless_model, clips)
    for old, new in zip(before, restless_model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(restless_model(inputs), answer)


def test_nothing_but_the_normalisation_changes(restless_model, adapted):
    for old, new in zip(restless_model.weights, adapted.weights, strict=True):
        assert np.array_equal(old, new) != any(name in old.path for name in ("normalization/mean", "normalization/var"))


def test_the_answers_change(restless_model, adapted, clips):
    inputs = {"waveform": clips[0][None], "num_samples": np.array([4_000], np.int32)}
    assert np.abs(adapted(inputs) - restless_model(inputs)).max() > 1e-2


def test_the_adapted_model_is_saved_with_what_it_was_made_from(adapted, clips, tmp_path):
    save_model(adapted, tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.adaptation == {"num_recordings": 6, "prior_clips": PRIOR_CLIPS, "weight": 6 / (6 + PRIOR_CLIPS)}
    inputs = {"waveform": clips[1][None], "num_samples": np.array([4_900], np.int32)}
    np.testing.assert_allclose(loaded(inputs), adapted(inputs), atol=1e-6)


def test_more_recordings_have_more_weight(restless_model, clips):
    few, many = (adapt_normalization(restless_model, clips[:1] * number) for number in (1, 50))
    assert few.adaptation["weight"] == pytest.approx(1 / (1 + PRIOR_CLIPS))
    target = log_mel(restless_model, clips[:1]).mean(axis=0)
    distances = [np.abs(statistics(each)[0] - target).mean() for each in (restless_model, few, many)]
    assert distances[0] > distances[1] > 3 * distances[2]


def test_recordings_of_the_training_change_next_to_nothing(restless_model, corpus):
    adapted = adapt_normalization(restless_model, corpus)
    assert adapted.adaptation["num_recordings"] == 48
    shift = np.abs(statistics(adapted)[0] - statistics(restless_model)[0]) / np.sqrt(statistics(restless_model)[1])
    assert shift.max() < 0.1


@pytest.mark.parametrize("form", ["folder", "files", "texts", "dataset", "padded dataset", "labelled dataset"])
def test_every_form_of_recordings_gives_the_same(restless_model, clips, adapted, tmp_path, form):
    for number, clip in enumerate(clips):
        (tmp_path / "deep").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "deep" / f"{number}.wav", clip, 16_000, subtype="FLOAT")
    files = sorted((tmp_path / "deep").iterdir())
    sizes = [len(clip) for clip in clips]
    padded = np.stack([np.pad(clip, (0, max(sizes) - len(clip))) for clip in clips])
    inputs = {"waveform": padded, "num_samples": np.array(sizes, np.int32)}
    recordings = {
        "folder": tmp_path,
        "files": files,
        "texts": [str(file) for file in files],
        "dataset": tf.data.Dataset.from_generator(lambda: iter(clips), output_signature=tf.TensorSpec([None])).batch(1),
        "padded dataset": tf.data.Dataset.from_tensor_slices(inputs).batch(4),
        "labelled dataset": tf.data.Dataset.from_tensor_slices((inputs, np.zeros(6))).batch(4),
    }[form]
    for ours, expected in zip(
        statistics(adapt_normalization(restless_model, recordings)), statistics(adapted), strict=True
    ):
        np.testing.assert_allclose(ours, expected, rtol=2e-3)


def test_files_that_cannot_be_used_are_named_and_left_out(restless_model, clips, tmp_path, caplog):
    soundfile.write(tmp_path / "good.wav", clips[0], 16_000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    assert adapt_normalization(restless_model, tmp_path).adaptation["num_recordings"] == 1
    assert "broken.wav" in caplog.text


@pytest.mark.parametrize(
    ("recordings", "message"),
    [
        ([], "there is no recording to adapt to: give at least one"),
        (["nowhere.wav"], r"nowhere\.wav: does not exist; expected a folder of recordings or an audio file"),
        ([np.zeros((2, 3))], r"a waveform of shape \(2, 3\): expected finite samples"),
        ([np.array([np.nan])], "expected finite samples"),
        (["a.wav", np.zeros(3)], "a list of paths and arrays: give either"),
    ],
)
def test_what_is_no_recording_is_refused(restless_model, recordings, message):
    with pytest.raises(InputError, match=message):
        adapt_normalization(restless_model, recordings)


def test_a_folder_without_audio_is_refused(restless_model, tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}: an empty folder"):
        adapt_normalization(restless_model, tmp_path)
