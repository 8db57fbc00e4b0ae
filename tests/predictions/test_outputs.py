"""Outputs of an export's signatures become answers: nothing is mixed up, padding is gone."""

from pathlib import Path

import numpy as np
import pytest

from ser_keras.predictions import Embedding, Prediction, Timeline, Window
from ser_keras.predictions.outputs import parse_embeddings, parse_predictions, parse_timelines


def answers(text):
    """Return what `serving_default` gives for three recordings, the second of them bad."""
    return {
        "label": text(["sad", "", "calm"]),
        "confidence": np.array([0.75, 0, 0.5], np.float32),
        "probabilities": np.array([[0.25, 0.75], [0, 0], [0.5, 0.5]], np.float32),
        "emotions": text([["calm", "sad"]] * 3),
        "attention": np.array([[0.0, 0.25, 0.75, 0.0], [0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]], np.float32),
        "attention_seconds": np.tile(np.array([0.1, 0.3, 0.5, 0.7], np.float32), (3, 1)),
        "abstained": np.zeros(3, bool),
        "error": text(["", "not a WAV file: ü", ""]),
    }


def as_bytes(values):
    return np.array(np.vectorize(str.encode, otypes=[object])(values), object)


@pytest.mark.parametrize("text", [as_bytes, np.array], ids=["bytes", "str"])
def test_a_batch_becomes_a_prediction_each(text):
    first, bad, last = parse_predictions(answers(text), ["a.wav", Path("b.wav"), None])
    assert first == Prediction("a.wav", "sad", 0.75, {"calm": 0.25, "sad": 0.75})
    assert bad.error == "not a WAV file: ü"
    assert last == Prediction(None, "calm", 0.5, {"calm": 0.5, "sad": 0.5})


def test_emotions_keep_the_order_of_the_model():
    outputs = answers(np.array) | {"emotions": np.array([["sad", "calm"]] * 3)}
    assert list(parse_predictions(outputs, [None] * 3)[0].probabilities) == ["sad", "calm"]


def test_attention_ends_with_the_recording():
    first, bad, last = parse_predictions(answers(as_bytes), [None] * 3)
    np.testing.assert_array_equal(first.attention, np.array([0, 0.25, 0.75], np.float32))
    np.testing.assert_array_equal(first.attention_seconds, np.array([0.1, 0.3, 0.5], np.float32))
    assert len(last.attention) == len(last.attention_seconds) == 4
    assert len(bad.attention) == len(bad.attention_seconds) == 0


def test_a_recording_with_an_error_has_no_label():
    bad = parse_predictions(answers(as_bytes), [None] * 3)[1]
    assert (bad.label, bad.confidence, bad.probabilities) == ("", 0, {})


def test_answers_that_are_lists_are_read_too():
    outputs = {name: value.tolist() for name, value in answers(np.array).items()}
    assert parse_predictions(outputs, [None] * 3)[0].label == "sad"


def timeline_answers():
    return {
        "label": as_bytes([["sad", "calm", ""], ["", "", ""], ["calm", "", ""]]),
        "confidence": np.array([[0.75, 0.5, 0.0], [0.0] * 3, [0.5, 0.0, 0.0]]),
        "probabilities": np.array(
            [[[0.25, 0.75], [0.5, 0.5], [0.0, 0.0]], [[0.0, 0.0]] * 3, [[0.5, 0.5], [0.0, 0.0], [0.0, 0.0]]]
        ),
        "start_seconds": np.array([[0.0, 1.0, 0.0], [0.0] * 3, [0.0, 0.0, 0.0]]),
        "end_seconds": np.array([[2.0, 2.5, 0.0], [0.0] * 3, [0.8, 0.0, 0.0]]),
        "abstained": np.zeros((3, 3), bool),
        "num_windows": np.array([2, 0, 1], np.int32),
        "emotions": as_bytes([["calm", "sad"]] * 3),
        "error": as_bytes(["", "too short", ""]),
    }


def test_a_timeline_has_the_windows_of_its_recording():
    assert parse_timelines(timeline_answers(), ["a.wav", "b.wav", None]) == [
        Timeline(
            "a.wav",
            (
                Window(0.0, 2.0, "sad", 0.75, {"calm": 0.25, "sad": 0.75}),
                Window(1.0, 2.5, "calm", 0.5, {"calm": 0.5, "sad": 0.5}),
            ),
        ),
        Timeline("b.wav", error="too short"),
        Timeline(None, (Window(0.0, 0.8, "calm", 0.5, {"calm": 0.5, "sad": 0.5}),)),
    ]


def test_a_batch_without_a_single_window_is_read():
    empty = {name: value[1:2, :0] for name, value in timeline_answers().items() if value.ndim > 1}
    rest = {"num_windows": np.array([0]), "error": np.array([""]), "emotions": np.array([["calm", "sad"]])}
    assert parse_timelines(empty | rest, ["a.wav"]) == [Timeline("a.wav")]


def test_a_batch_becomes_an_embedding_each():
    outputs = {"embedding": np.array([[1.0, 2.0], [0.0, 0.0]]), "error": as_bytes(["", "silent"])}
    good, bad = parse_embeddings(outputs, ["a.wav", None])
    assert good == Embedding("a.wav")
    np.testing.assert_array_equal(good.features, np.array([1, 2], np.float32))
    assert bad.error == "silent"


def test_a_missing_output_is_named():
    outputs = answers(as_bytes)
    del outputs["confidence"]
    with pytest.raises(KeyError, match="confidence"):
        parse_predictions(outputs, [None] * 3)


def test_another_number_of_rows_is_refused():
    with pytest.raises(ValueError, match="shorter"):
        parse_predictions(answers(as_bytes), [None] * 4)


def test_abstention_comes_with_the_answers_and_keeps_the_label():
    outputs = answers(as_bytes) | {"abstained": np.array([False, False, True])}
    first, bad, last = parse_predictions(outputs, ["a.wav", "b.wav", "c.wav"])
    assert (first.abstained, bad.abstained, last.abstained) == (False, False, True)
    assert last.label == "calm" and str(last) == "c.wav: abstained, most probably calm (0.50)"


def test_windows_abstain_each_for_itself():
    outputs = timeline_answers() | {"abstained": np.array([[False, True, False], [False] * 3, [True, False, False]])}
    first, _, last = parse_timelines(outputs, ["a.wav", "b.wav", "c.wav"])
    assert [window.abstained for window in first.windows] == [False, True]
    assert [window.abstained for window in last.windows] == [True]
