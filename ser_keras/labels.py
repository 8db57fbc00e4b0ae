"""The ordered emotion vocabulary, and the ordinary spellings of its words.

The order is fixed here, in code: a model's outputs are in this order, whatever the folders are called
and in whatever order a file system lists them.
"""

import re
from collections.abc import Iterable

from ser_keras.errors import InputError
from ser_keras.spelling import is_missing, tidy
from ser_keras.terminal import UNPRINTABLE

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised", "bored")

_SPELLINGS = {
    "neutral": "neutrality neu",
    "calm": "calmness serene",
    "happy": "happiness joy joyful hap",
    "sad": "sadness sorrow",
    "angry": "anger ang",
    "fearful": "fear feared afraid scared anxiety anxious fea",
    "disgust": "disgusted dis",
    "surprised": "surprise sur ps pleasantsurprise pleasantsurprised pleasantlysurprised",
    "bored": "boredom",
}
_ALIASES = {
    spelling: emotion for emotion, spellings in _SPELLINGS.items() for spelling in (emotion, *spellings.split())
}


def canonical_emotion(name: str) -> str:
    """Give the vocabulary's word for an emotion, however it is ordinarily spelt.

    Upper and lower case, spaces, hyphens and underscores, invisible characters and Unicode's form make no
    difference. A label outside the vocabulary is the user's own and is kept, in lower case, with one space between
    its words.

    Args:
        name: An emotion as a folder, a file name or a manifest spells it.

    Returns:
        A word of `EMOTIONS`, or the user's own label.

    Raises:
        InputError: The name is empty, stands for a missing value (`nan`, `None`), or holds characters that are no
            text.

    Example:
        >>> canonical_emotion("Anger"), canonical_emotion("pleasant_surprise")
        ('angry', 'surprised')
        >>> canonical_emotion(" Sarcastic ")
        'sarcastic'
    """
    label = tidy(tidy(name).lower())
    if not label:
        raise InputError(f"an empty emotion {name!r}; expected a name such as {', '.join(EMOTIONS[:3])}")
    if is_missing(label):
        raise InputError(
            f"an emotion {name!r}, which programs write for a missing value; give the recordings their label or take "
            "them away, and write neutral if no emotion is meant"
        )
    if UNPRINTABLE.search(label):
        raise InputError(f"an emotion with characters that are no text, {name!r}; rename it in UTF-8")
    return _ALIASES.get(re.sub(r"[\s_-]+", "", label), label)


def order_emotions(labels: Iterable[str]) -> tuple[str, ...]:
    """Put labels into the order in which a model's outputs stand.

    The vocabulary's words come first, in its order; the user's own labels follow, sorted. Each label
    appears once.

    Args:
        labels: Emotions in any order and ordinary spelling, repeated or not.

    Returns:
        The distinct canonical labels in order.

    Example:
        >>> order_emotions(["tired", "sad", "happy", "sad", "ironic"])
        ('happy', 'sad', 'ironic', 'tired')
    """
    found = {canonical_emotion(label) for label in labels}
    own = sorted(found.difference(EMOTIONS))
    return tuple(emotion for emotion in EMOTIONS if emotion in found) + tuple(own)
