"""The vocabulary's order, its spellings, and other labels."""

import pytest

from ser_keras.errors import InputError
from ser_keras.labels import EMOTIONS, canonical_emotion, order_emotions


def test_the_vocabulary_keeps_its_order():
    assert EMOTIONS == (
        "neutral",
        "calm",
        "happy",
        "sad",
        "angry",
        "fearful",
        "disgust",
        "surprised",
        "bored",
    )


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_a_word_of_the_vocabulary_is_kept(emotion):
    assert canonical_emotion(emotion) == canonical_emotion(f" {emotion.upper()}\n") == emotion


@pytest.mark.parametrize(
    ("spellings", "emotion"),
    [
        ("anger", "angry"),
        ("Fear anxiety", "fearful"),
        ("happiness joy", "happy"),
        ("sadness", "sad"),
        ("boredom", "bored"),
        ("disgusted", "disgust"),
        ("surprise ps pleasant_surprise pleasant-surprised", "surprised"),
    ],
)
def test_an_ordinary_spelling_is_recognised(spellings, emotion):
    assert {canonical_emotion(each) for each in spellings.split()} == {emotion}


def test_an_own_label_is_kept_stripped_and_in_lower_case():
    assert canonical_emotion("  Very Ironic ") == "very ironic"


@pytest.mark.parametrize(
    "spelling",
    [
        "fro\u0308hlich",
        "FR\u00d6HLICH",
        "fr\u00f6h\u00adlich",
        "\ufefffr\u00f6hlich\u200b",
        "fr\u00f6hlich\u200e\u00a0",
    ],
)
def test_spellings_that_look_alike_are_one_label(spelling):
    assert canonical_emotion(spelling) == "fr\u00f6hlich"


@pytest.mark.parametrize("spelling", ["J\u030coy", "\u0130ronic", "\uff33ad", "\u212bngstlich"])
def test_a_label_is_its_own_canonical_form(spelling):
    assert canonical_emotion(canonical_emotion(spelling)) == canonical_emotion(spelling)


@pytest.mark.parametrize("name", ["NaN", "None", "N/A", "<NA>", " nan\u200b"])
def test_a_missing_value_is_no_label(name):
    with pytest.raises(InputError, match="neutral"):
        canonical_emotion(name)


@pytest.mark.parametrize("name", ["", "\t", "\u200b"])
def test_an_empty_emotion_is_refused(name):
    with pytest.raises(InputError, match="empty"):
        canonical_emotion(name)


def test_labels_are_ordered_by_the_vocabulary_then_own_labels_by_name():
    labels = ["tired", "bored", "Anger", "neutral", "ironic", "angry"]
    assert order_emotions(labels) == ("neutral", "angry", "bored", "ironic", "tired")


def test_no_labels_give_an_empty_order():
    assert order_emotions([]) == ()
