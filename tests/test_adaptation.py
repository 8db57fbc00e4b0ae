"""The normalisation follows new recordings, by the weight that their number gives them."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from conftest import SMALL

from ser_keras.adaptation import PRIOR_CLIPS, adapt_normalization, evaluate_by_speaker
from ser_keras.errors import InputError
from ser_keras.model import ParallelModel, save_model
from ser_keras.model.functionals_branch import fit_functionals_branch
from ser_keras.pipeline.batches import labelled_batches
from ser_keras.pipeline.clips import fingerprint
from ser_keras.preprocessing import preprocess_data, read_recordings


def means(model):
    """The means that the functionals branch subtracts."""
    return model.parts.functionals.normalization.adapt_mean.numpy()


def mean_functionals(model, waveforms):
    """The mean of each functional over clips, by reliability; that of the model where no clip has any."""
    branch = model.parts.functionals
    network, found, weights = keras.Model(model.input, [branch.values, branch.reliability]), [], []
    for waveform in waveforms:
        functionals, reliability = network({"waveform": waveform[None], "num_samples": np.array([len(waveform)])})
        found.append(functionals[0])
        weights.append(np.repeat(reliability[0], len(found[0]) // reliability.shape[1]))
    total, weight = np.einsum("cs,cs->s", found, weights), np.sum(weights, axis=0)
    return np.where(weight > 0, total / np.maximum(weight, 1e-9), means(model))


@pytest.fixture(scope="module")
def model(restless_model, corpus):
    """A model with a functionals branch that was fitted."""
    model = restless_model.copy()
    fit_functionals_branch(model, [labelled_batches(preprocess_data(corpus).train, 3)], 100.0)
    return model


@pytest.fixture(scope="module")
def clips(noise):
    """Six clips of different lengths, from a quiet place."""
    return [noise(4_000 + 900 * seed, seed) * 0.01 for seed in range(6)]


@pytest.fixture(scope="module")
def adapted(model, clips):
    return adapt_normalization(model, clips)


def test_the_means_of_the_functionals_are_those_of_the_pool(model, adapted, clips):
    """As if the training data were κ clips."""
    weight = len(clips) / (len(clips) + PRIOR_CLIPS)
    expected = (1 - weight) * means(model) + weight * mean_functionals(model, clips)
    np.testing.assert_allclose(means(adapted), expected, rtol=1e-4, atol=1e-4)


def test_the_original_stays_as_it_was(model, clips):
    before = model.get_weights()
    inputs = {"waveform": clips[0][None], "num_samples": np.array([4_000], np.int32)}
    before_adapting = model(inputs).numpy()
    adapt_normalization(model, clips)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(model(inputs), before_adapting)


def test_nothing_but_the_normalisation_changes(model, adapted):
    for old, new in zip(model.weights, adapted.weights, strict=True):
        fitted = "functionals_normalization/mean" in old.path
        assert np.array_equal(old, new) != fitted, old.path


def test_the_predictions_change(model, adapted, clips):
    inputs = {"waveform": clips[0][None], "num_samples": np.array([4_000], np.int32)}
    assert np.abs(adapted(inputs) - model(inputs)).max() > 1e-2


def test_the_adapted_model_is_saved_with_what_it_was_made_from(adapted, clips, tmp_path):
    save_model(adapted, tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.adaptation == {
        "num_recordings": 6,
        "prior_clips": PRIOR_CLIPS,
        "weight": 6 / (6 + PRIOR_CLIPS),
        "fingerprints": [fingerprint(clip) for clip in clips],
    }
    inputs = {"waveform": clips[1][None], "num_samples": np.array([4_900], np.int32)}
    np.testing.assert_allclose(loaded(inputs), adapted(inputs), atol=1e-6)


def test_more_recordings_have_more_weight(model, clips):
    few, many = (adapt_normalization(model, clips[:1] * number) for number in (1, 50))
    assert few.adaptation["weight"] == pytest.approx(1 / (1 + PRIOR_CLIPS))
    target = mean_functionals(model, clips[:1])
    distances = [np.abs(means(each) - target).mean() for each in (model, few, many)]
    assert distances[0] > distances[1] > 3 * distances[2]


def test_recordings_of_the_training_hardly_move_the_means_of_the_functionals(model, corpus):
    trained_on = [clip.path for clip in preprocess_data(corpus).split.train]
    spread = np.sqrt(model.parts.functionals.normalization.adapt_variance)
    assert np.abs((means(adapt_normalization(model, trained_on)) - means(model)) / spread).max() < 0.1


@pytest.mark.parametrize("form", ["folder", "files", "texts", "dataset", "padded dataset", "labelled dataset"])
def test_every_form_of_recordings_gives_the_same(model, clips, adapted, tmp_path, form):
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
    np.testing.assert_allclose(means(adapt_normalization(model, recordings)), means(adapted), rtol=2e-3, atol=1e-3)


def test_files_that_cannot_be_used_are_named_and_skipped(model, clips, tmp_path, caplog):
    soundfile.write(tmp_path / "good.wav", clips[0], 16_000)
    for name in ("broken.wav", "unknown.xyz"):
        (tmp_path / name).write_bytes(b"RIFF\0")
    assert adapt_normalization(model, tmp_path).adaptation["num_recordings"] == 1
    assert "broken.wav" in caplog.text and "unknown.xyz" in caplog.text


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
def test_input_that_is_no_recording_is_refused(model, recordings, message):
    with pytest.raises(InputError, match=message):
        adapt_normalization(model, recordings)


def test_a_folder_without_audio_is_refused(model, tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}: an empty folder"):
        adapt_normalization(model, tmp_path)


def test_a_model_that_has_nothing_to_adapt_is_refused(clips):
    network = ParallelModel(3, config=SMALL.replace(fusion_weight=0.0))
    with pytest.raises(InputError, match="fusion_weight=0"):
        adapt_normalization(network, clips)


# === each speaker by its own clips ===


def test_each_speaker_is_scored_by_the_model_adapted_to_its_own_clips(model, corpus):
    recordings = read_recordings(corpus)
    some = recordings.utterances[::3]
    report = evaluate_by_speaker(model, recordings, some)
    assert f"these {len(some)} of the {len(some)} clips are scored too" in report.caveats[0]
    assert report.utterances == some and report.speakers == tuple(each.speaker_id for each in some)
    index = next(place for place, each in enumerate(some) if each.speaker_id == some[-1].speaker_id)
    own = [
        recordings.waveform(recordings.utterances.index(each))
        for each in some
        if each.speaker_id == some[-1].speaker_id
    ]
    adapted = adapt_normalization(model, own)
    alone = adapted({"waveform": own[0][None], "num_samples": np.array([len(own[0])])})
    np.testing.assert_allclose(report.probabilities[index], alone[0], atol=1e-5)


def test_a_clip_without_a_speaker_cannot_be_scored_by_speaker(model, corpus):
    recordings = read_recordings(corpus)
    nameless = [replace(each, speaker=None) for each in recordings.utterances[:2]]
    with pytest.raises(InputError, match=r"speaker is unknown"):
        evaluate_by_speaker(model, recordings, nameless)


# === behind an encoder ===


def test_behind_an_encoder_the_network_subtracts_means_that_move_as_far(encoder_model, clips):
    model = encoder_model.copy()
    fit_functionals_branch(model, [_encoded(model, clips)], 100.0)
    adapted = adapt_normalization(model, [10 * each for each in clips[:3]])
    shift = means(adapted) - means(model)
    network = [each.parts.normalization.adapt_mean.numpy().ravel() for each in (adapted, model)]
    assert np.abs(shift).max() > 1e-3
    np.testing.assert_allclose(network[0] - network[1], shift[: len(network[0])], atol=1e-5)


def _encoded(model, clips):
    """Yield each clip as the encoder gives it, with labels in turn."""
    for index, clip in enumerate(clips):
        inputs = {"waveform": clip[None], "num_samples": np.array([len(clip)])}
        yield model.parts.encoder(inputs), tf.one_hot([index % model.num_emotions], model.num_emotions)
