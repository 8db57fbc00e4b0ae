"""The served graph: the outputs of each signature, and no item that changes another."""

import base64
import json

import numpy as np
import pytest
import requests
import tensorflow as tf
from serving_double import ServingDouble

from ser_keras.audio import wav_to_waveform
from ser_keras.config import ExportConfig
from ser_keras.serving.signatures import ServedModel

EMOTIONS = [b"neutral", b"sad", b"angry"]
CLASSIFICATION = {
    "label",
    "confidence",
    "abstained",
    "probabilities",
    "emotions",
    "attention",
    "attention_seconds",
    "error",
}
TIMELINE = {"label", "confidence", "abstained", "probabilities", "emotions", "error"}
TIMELINE |= {"start_seconds", "end_seconds", "num_windows"}


@pytest.fixture
def live(restless_model):
    """Return a function from samples at 16 kHz to the live model's details of them alone."""

    def ask(samples):
        inputs = {"waveform": samples[None], "num_samples": np.array([len(samples)], np.int32)}
        return {name: np.asarray(value)[0] for name, value in restless_model.details(inputs, training=False).items()}

    return ask


@pytest.fixture
def ask_waveform(served):
    def ask(waveform, num_samples, sample_rate=16_000):
        rates = np.full(len(num_samples), sample_rate) if np.isscalar(sample_rate) else sample_rate
        return served(
            "waveform",
            waveform=np.asarray(waveform, np.float32),
            num_samples=np.array(num_samples, np.int32),
            sample_rate=np.array(rates, np.int32),
        )

    return ask


def test_every_signature_has_the_inputs_and_outputs_that_it_says(served):
    shapes = {
        name: {key: (each.dtype.name, each.shape.as_list()) for key, each in signature.structured_outputs.items()}
        for name, signature in served.signatures.items()
    }
    assert set(shapes) == {"serving_default", "waveform", "timeline", "embedding"}
    assert shapes["serving_default"] == shapes["waveform"]
    assert set(shapes["waveform"]) == CLASSIFICATION and set(shapes["timeline"]) == TIMELINE
    assert set(shapes["embedding"]) == {"embedding", "error"}
    for outputs in shapes.values():
        assert all(shape[0] is None for _, shape in outputs.values())  # a server splits batches along it
    assert shapes["waveform"]["probabilities"] == ("float32", [None, 3])
    assert shapes["timeline"]["probabilities"] == ("float32", [None, None, 3])
    inputs = served.signatures["waveform"].structured_input_signature[1]
    assert {name: each.dtype.name for name, each in inputs.items()} == {
        "waveform": "float32",
        "num_samples": "int32",
        "sample_rate": "int32",
    }


def test_bytes_and_waveforms_are_answered_as_by_the_live_model(served, ask_waveform, live, noise, wav_bytes):
    samples = noise(20_000)
    wanted = live(samples)
    behind = np.concatenate([samples, np.full(5_000, 9.0, np.float32)])
    for answer in (served("serving_default", audio_bytes=[wav_bytes(samples)]), ask_waveform([behind], [20_000])):
        np.testing.assert_allclose(answer["probabilities"][0], wanted["probabilities"], atol=1e-5)


def test_answers_name_the_most_probable_emotion(served, noise, wav_bytes):
    answer = served("serving_default", audio_bytes=[wav_bytes(noise(9_000, seed=seed)) for seed in range(3)])
    assert answer["emotions"].tolist() == [EMOTIONS] * 3
    assert answer["label"].tolist() == [EMOTIONS[index] for index in answer["probabilities"].argmax(axis=1)]
    np.testing.assert_array_equal(answer["confidence"], answer["probabilities"].max(axis=1))
    assert answer["error"].tolist() == [b""] * 3


def test_answers_below_the_threshold_are_marked_and_keep_their_label(restless_model, served, noise, wav_bytes):
    files = [wav_bytes(noise(16_000, seed)) for seed in range(4)] + [b"RIFF"]
    plain = served("serving_default", audio_bytes=files)
    threshold = float(np.median(plain["confidence"][:4]))
    config = ExportConfig(max_seconds=20.0, max_timeline_seconds=60.0, abstain_below=threshold)
    module = ServedModel(restless_model, config)
    answer = {name: value.numpy() for name, value in module.classify_wav(tf.constant(files)).items()}
    assert not plain["abstained"].any()
    np.testing.assert_array_equal(answer["abstained"][:4], plain["confidence"][:4] < threshold)
    assert answer["abstained"].sum() == 2
    np.testing.assert_array_equal(answer["label"], plain["label"])
    windows = module.timeline(tf.constant(files[:1]))
    np.testing.assert_array_equal(windows["abstained"], windows["confidence"].numpy() < threshold)


def test_attention_lies_within_the_clip(served, live, noise, wav_bytes):
    long, short = noise(40_000), noise(9_000)
    answer = served("serving_default", audio_bytes=[wav_bytes(long), wav_bytes(short)])
    steps = 1 + 9_000 // (8 * 320)  # one for 8 frames of 320 samples
    np.testing.assert_allclose(answer["attention"].sum(axis=1), 1, atol=1e-5)
    assert (answer["attention"][1, :steps] > 0).all() and (answer["attention"][1, steps:] == 0).all()
    np.testing.assert_allclose(answer["attention"][1, :steps], live(short)["attention"][:steps], atol=1e-5)
    seconds = answer["attention_seconds"]
    np.testing.assert_allclose(seconds[:, 0], 3.5 * 0.02)  # the middle of frames 0 to 7, 20 ms apart
    np.testing.assert_allclose(np.diff(seconds), 0.16, atol=1e-5)


def test_the_sample_rate_of_a_waveform_counts(served, ask_waveform, noise, wav_bytes):
    samples = noise(48_000)
    by_bytes = served("serving_default", audio_bytes=[wav_bytes(samples, rate) for rate in (16_000, 48_000)])
    by_waveform = ask_waveform([samples, samples], [48_000, 48_000], [16_000, 48_000])
    np.testing.assert_allclose(by_waveform["probabilities"], by_bytes["probabilities"], atol=1e-6)
    assert np.abs(np.diff(by_bytes["probabilities"], axis=0)).max() > 1e-3  # else the rate would not matter


def test_embeddings_are_the_inputs_of_the_last_layer(served, live, noise, wav_bytes):
    answer = served("embedding", audio_bytes=[wav_bytes(noise(20_000)), b"no audio"])
    np.testing.assert_allclose(answer["embedding"][0], live(noise(20_000))["embedding"], atol=1e-4)
    assert not answer["embedding"][1].any() and answer["error"][1].startswith(b"not a WAV file")


def test_a_timeline_equals_the_predictions_of_its_windows(served, noise, wav_bytes):
    samples = noise(16_000 * 5 + 4_000)  # 5.25 s: windows of 3 s at 0, 1, 2 and, shorter, at 3 s
    answer = served("timeline", audio_bytes=[wav_bytes(samples)])
    assert answer["num_windows"].tolist() == [4]
    np.testing.assert_allclose(answer["start_seconds"], [[0, 1, 2, 3]])
    np.testing.assert_allclose(answer["end_seconds"], [[3, 4, 5, 5.25]])
    parts = [wav_bytes(samples[start : start + 48_000]) for start in range(0, 64_000, 16_000)]
    alone = served("serving_default", audio_bytes=parts)
    np.testing.assert_allclose(answer["probabilities"][0], alone["probabilities"], atol=1e-6)
    assert answer["label"][0].tolist() == alone["label"].tolist()


@pytest.mark.parametrize(
    ("seconds", "num_windows"), [(0.2, 1), (2.9999, 1), (3.0, 1), (3.0001, 2), (4.0, 2), (4.5, 3), (59.9, 58)]
)
def test_windows_cover_the_recording_and_no_more(served, noise, wav_bytes, seconds, num_windows):
    samples = noise(round(seconds * 16_000))
    answer = served("timeline", audio_bytes=[wav_bytes(samples, subtype="PCM_16")])
    assert answer["num_windows"][0] == num_windows
    assert answer["end_seconds"][0, -1] == pytest.approx(len(samples) / 16_000)


def test_timelines_of_a_batch_end_where_each_recording_ends(served, noise, wav_bytes):
    files = [wav_bytes(noise(80_000)), b"no audio", wav_bytes(noise(9_000))]
    answer = served("timeline", audio_bytes=files)
    assert answer["num_windows"].tolist() == [3, 0, 1]
    assert answer["label"][1].tolist() == [b"", b"", b""] and answer["label"][2, 0] in EMOTIONS
    assert not answer["probabilities"][2, 1:].any() and (answer["probabilities"][0] > 0).all()
    assert not answer["end_seconds"][2, 1:].any() and not answer["confidence"][1].any()


def test_a_window_of_silence_has_no_label_and_is_no_error(served, noise, wav_bytes):
    talk = np.concatenate([noise(80_000), np.full(96_000, 0.2, np.float32), noise(64_000)])
    answer = served("timeline", audio_bytes=[wav_bytes(talk)])
    silent = np.array([5 <= start <= 8 for start in answer["start_seconds"][0]])
    assert answer["error"] == [b""] and silent.any() and not silent.all()
    assert [label == b"" for label in answer["label"][0]] == silent.tolist()
    assert ((answer["confidence"][0] == 0) == silent).all()
    assert ((answer["probabilities"][0] == 0).all(axis=1) == silent).all()


def _absurd(contents, position, value):
    return contents[:position] + value + contents[position + len(value) :]


@pytest.fixture
def bad_files(noise, wav_bytes):
    good = wav_bytes(noise(9_000), subtype="PCM_16")
    damaged = noise(9_000)
    damaged[77] = np.nan
    return {
        "nothing": (b"", b"empty: 0 bytes"),
        "text": (b"this is no audio", b"not a WAV file: begins with 'this'"),
        "MP3": (b"\xff\xfb\x90\x00" + bytes(400), b"not a WAV file: begins with '????'"),
        "MP3 with a tag": (b"ID3\x04\x00" + bytes(200), b"not a WAV file: begins with 'ID3?'"),
        "header only": (good[:12], b"no 'fmt ' chunk"),
        "no samples": (good[:44], b"cut off: 0.00 s of 0.56 s"),
        "0 channels": (_absurd(good, 22, b"\0\0"), b"0 channels"),
        "an absurd rate": (_absurd(good, 24, b"\xff\xff\xff\x7f"), b"sample rate 2147483647 Hz is outside"),
        "NaN": (wav_bytes(damaged), b"holds NaN or infinite samples"),
        "too long": (wav_bytes(np.zeros(16_000 * 20 + 1), subtype="PCM_U8"), b"too long: 20.0 s, at most 20.0 s"),
    }


def test_a_bad_file_is_an_error_of_its_own(served, noise, wav_bytes, bad_files):
    good = wav_bytes(noise(9_000))
    alone = served("serving_default", audio_bytes=[good])
    contents = [good, *(each for each, _ in bad_files.values()), good]
    answer = served("serving_default", audio_bytes=contents)
    for row, (name, (_, error)) in enumerate(bad_files.items(), 1):
        assert answer["error"][row].startswith(error), name
        assert answer["label"][row] == b"" and not answer["abstained"][row]
        for name in ("confidence", "probabilities", "attention"):
            assert not answer[name][row].any(), name
    for row in (0, -1):
        assert answer["label"][row] == alone["label"][0] and answer["error"][row] == b""
        np.testing.assert_allclose(answer["probabilities"][row], alone["probabilities"][0], atol=1e-6)


def test_good_recordings_beside_bad_ones_are_predicted_in_strict_json(exported, noise, wav_bytes):
    def refuse(token):
        raise ValueError(f"{token} is no JSON")

    damaged = np.where(np.arange(16_000) == 99, np.nan, noise(16_000))
    files = [wav_bytes(noise(64_000)), b"no WAV", wav_bytes(damaged), wav_bytes(noise(16_000))]
    encoded = [{"b64": base64.b64encode(each).decode()} for each in files]
    with ServingDouble(exported) as server, requests.Session() as session:
        session.trust_env = False
        for signature in ("serving_default", "timeline", "embedding"):
            body = {"signature_name": signature, "inputs": encoded}
            response = session.post(f"{server.rest_url}/v1/models/ser:predict", json=body, timeout=100)
            outputs = json.loads(response.content, parse_constant=refuse)["outputs"]
            assert [bool(error) for error in outputs["error"]] == [False, True, True, False]


def test_outputs_of_the_network_are_finite_or_an_error(restless_model, noise, wav_bytes):
    module = ServedModel(restless_model, ExportConfig())
    details = module._details
    module._details = lambda inputs: {
        **details(inputs),
        "embedding": details(inputs)["embedding"] / tf.constant([[1.0], [0.0]]),
    }
    answer = module.embed_wav(tf.constant([wav_bytes(noise(9_000))] * 2))
    assert answer["error"][0] == b"" and "not finite" in answer["error"][1].numpy().decode()
    assert np.isfinite(answer["embedding"]).all()


def test_more_channels_than_bytes_are_read_as_far_as_they_go(served, noise, wav_bytes):
    contents = _absurd(wav_bytes(noise(9_000), subtype="PCM_16"), 22, b"\xff\xff")  # 65,535 channels
    assert served("serving_default", audio_bytes=[contents])["error"] == [b"empty: no samples"]


@pytest.mark.parametrize("signature", ["serving_default", "timeline", "embedding"])
def test_a_batch_of_nothing_but_bad_files_has_outputs(served, signature):
    answer = served(signature, audio_bytes=[b"", b"x"])
    assert [bool(error) for error in answer["error"]] == [True, True]


@pytest.mark.parametrize("signature", ["serving_default", "timeline", "embedding"])
def test_an_empty_batch_of_files_gives_empty_outputs(served, signature):
    answer = served(signature, audio_bytes=np.zeros(0, object))
    assert {name: len(value) for name, value in answer.items()} == dict.fromkeys(answer, 0)
    if signature == "serving_default":
        assert answer["probabilities"].shape == (0, 3)


def test_an_empty_batch_of_waveforms_gives_empty_outputs(ask_waveform):
    answer = ask_waveform(np.zeros((0, 100)), [])
    assert answer["probabilities"].shape == (0, 3) and answer["label"].shape == (0,)


@pytest.mark.parametrize(
    ("num_samples", "sample_rate", "error"),
    [
        (0, 16_000, b"num_samples=0: expected 1 to 2000"),
        (-5, 16_000, b"num_samples=-5: expected 1 to 2000"),
        (2_001, 16_000, b"num_samples=2001: expected 1 to 2000"),
        (1_000, 0, b"sample_rate=0: expected 4000 to 384000 Hz"),
        (1_000, -16_000, b"sample_rate=-16000: expected 4000 to 384000 Hz"),
        (1_000, 2**31 - 1, b"sample_rate=2147483647: expected"),
    ],
)
def test_a_wrong_number_is_an_error_of_its_waveform(ask_waveform, noise, num_samples, sample_rate, error):
    both = np.stack([noise(2_000), noise(2_000)])
    answer = ask_waveform(both, [2_000, num_samples], [16_000, sample_rate])
    assert answer["error"][0] == b"" and answer["error"][1].startswith(error)
    alone = ask_waveform(both[:1], [2_000])
    np.testing.assert_allclose(answer["probabilities"][0], alone["probabilities"][0], atol=1e-6)


@pytest.mark.parametrize(
    ("value", "error"),
    [(np.nan, b"holds NaN or infinite"), (np.inf, b"holds NaN or infinite"), (-23_000, b"too loud: a peak of 23000")],
)
def test_a_damaged_sample_is_an_error_of_its_waveform(ask_waveform, noise, value, error):
    waveform = np.stack([noise(2_000), noise(2_000), noise(2_000)])
    waveform[1:, 1_800] = value
    answer = ask_waveform(waveform, [2_000, 2_000, 1_700])  # the third ends before
    assert [bool(error) for error in answer["error"]] == [False, True, False]
    assert answer["error"][1].startswith(error)
    assert answer["probabilities"].any(axis=1).tolist() == [True, False, True]


def test_a_waveform_that_is_too_long_is_an_error(ask_waveform):
    answer = ask_waveform(np.zeros((1, 16_000 * 21)), [16_000 * 21])
    assert answer["error"] == [b"too long: 21.0 s, at most 20.0 s"]


def test_groups_change_no_prediction(served, restless_model, noise, wav_bytes):
    """A batch of long and short recordings is run in groups; the order is that of the request."""
    lengths = [9_000, 16_000 * 19, 30_000, 12_000, 16_000 * 12, 5_000]
    files = [wav_bytes(noise(length, seed=length), subtype="PCM_16") for length in lengths]
    together = served("serving_default", audio_bytes=files)
    for row, contents in enumerate(files):
        alone = served("serving_default", audio_bytes=[contents])
        np.testing.assert_allclose(together["probabilities"][row], alone["probabilities"][0], atol=1e-5)
        steps = alone["attention"].shape[1]
        np.testing.assert_allclose(together["attention"][row, :steps], alone["attention"][0], atol=1e-5)


@pytest.mark.parametrize(("num_short", "num_groups"), [(3, 4), (0, 1)])
def test_a_group_is_padded_to_no_more_than_the_longest_recording(
    restless_model, noise, wav_bytes, num_short, num_groups
):
    """One long recording must not pad all short ones to its length."""
    module = ServedModel(restless_model, ExportConfig(max_seconds=2.0))
    padded = []
    original = module._details

    def watch(inputs):
        padded.append(inputs["waveform"].shape)
        return original(inputs)

    module._details = watch
    files = [wav_bytes(noise(30_000)), *[wav_bytes(noise(8_000))] * num_short]
    with tf.init_scope():
        tf.config.run_functions_eagerly(True)
        try:
            module.classify_wav(tf.constant(files))
        finally:
            tf.config.run_functions_eagerly(False)
    assert len(padded) == num_groups and all(rows * time <= 32_000 for rows, time in padded)


def test_the_reader_of_the_served_graph_is_that_of_training(served, live, noise, wav_bytes):
    contents = wav_bytes(noise(44_100), 44_100, subtype="PCM_24")
    samples = wav_to_waveform(tf.constant(contents)).samples.numpy()
    answer = served("serving_default", audio_bytes=[contents])
    np.testing.assert_allclose(answer["probabilities"][0], live(samples)["probabilities"], atol=1e-6)
