"""The ordered emotion vocabulary, and the ordinary spellings of its words.

The order of a model's outputs is fixed here; it does not depend on how folders are named or listed.
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
    """Return the vocabulary's word for any ordinary spelling of an emotion.

    Case, spaces, hyphens, underscores, invisible characters and Unicode's form are ignored. Any other label is kept,
    in lower case, with one space between its words.

    Args:
        name: An emotion as spelled by a folder, a file name or a manifest.

    Returns:
        A word of `EMOTIONS`, or the user's own label.

    Raises:
        InputError: The name is empty, a missing value (`nan`, `None`), or contains characters that are no text.

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
    """Return the distinct labels in the order of a model's outputs.

    The vocabulary's words come first, in its order; the user's own labels follow, sorted.

    Args:
        labels: Emotions in any order and ordinary spelling, repeated or not.

    Example:
        >>> order_emotions(["tired", "sad", "happy", "sad", "ironic"])
        ('happy', 'sad', 'ironic', 'tired')
    """
    found = {canonical_emotion(label) for label in labels}
    own = sorted(found.difference(EMOTIONS))
    return tuple(emotion for emotion in EMOTIONS if emotion in found) + tuple(own)
