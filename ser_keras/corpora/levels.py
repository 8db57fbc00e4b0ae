"""What the names of folders side by side say: emotions, speakers, splits, women and men, or nothing known."""

import functools
import re
from collections.abc import Collection

from ser_keras.errors import InputError
from ser_keras.labels import EMOTIONS, canonical_emotion

_SPLITS = {
    "train": "train training",
    "val": "val valid validation dev devel development eval evaluation",
    "test": "test testing",
}
_SPLIT_OF = {word: split for split, words in _SPLITS.items() for word in words.split()}

_GENDERS = {"female": "female f woman women", "male": "male m man men"}
GENDER_OF = {word: gender for gender, words in _GENDERS.items() for word in words.split()}

_SPEAKER = re.compile(r"(?:actor|speaker|spk|spkr|subject|subj|participant|talker)s?[ _-]*\w*|\d+")

_ENOUGH_EMOTIONS = 3


def role_of(names: Collection[str]) -> str | None:
    """Say what the folders of one level are, by their names.

    Args:
        names: The distinct names.

    Returns:
        "emotion" where half of the names, or three, are known emotions (own labels may be among them); "split",
        "gender" or "speaker" where all of them are words for that, or numbers; "mixed" where some of them are splits;
        None where the names say nothing.

    Example:
        >>> role_of(["Angry", "Happy", "Sleepy"]), role_of(["train", "dev"]), role_of(["anna", "ben"])
        ('emotion', 'split', None)
    """
    if not names:
        return None
    num_emotions = sum(known_emotion(name) is not None for name in names)
    if 2 * num_emotions >= len(names) or num_emotions >= _ENOUGH_EMOTIONS:
        return "emotion"
    words = [name.strip().lower() for name in names]
    is_split = [_split_word(word) in _SPLIT_OF for word in words]
    if any(is_split):
        return "split" if all(is_split) else "mixed"
    if all(word in GENDER_OF for word in words):
        return "gender"
    return "speaker" if all(map(_SPEAKER.fullmatch, words)) else None


def _split_word(name: str) -> str:
    """Return a name in lower case without what people put behind the word for a split."""
    return re.sub(r"[ _-]*(?:set|data|split)$", "", name.strip().lower())


@functools.lru_cache(maxsize=10_000)
def known_emotion(name: str) -> str | None:
    """Return the vocabulary's word for a name; None where the name is no known emotion."""
    try:
        emotion = canonical_emotion(name)
    except InputError:
        return None
    return emotion if emotion in EMOTIONS else None


def splits_of(names: Collection[str]) -> dict[str, str]:
    """Return the split, "train", "val" or "test", that each name of a level stands for.

    Where no name stands for a test, what stands for validation is the test: a part of the training becomes the
    validation then.

    Raises:
        InputError: A name is no word for a split.

    Example:
        >>> splits_of(["train", "evaluation", "test"])
        {'train': 'train', 'evaluation': 'val', 'test': 'test'}
        >>> splits_of(["train", "valid"])
        {'train': 'train', 'valid': 'test'}
    """
    splits = {name: _SPLIT_OF.get(_split_word(name)) for name in names}
    if unknown := [name for name, split in splits.items() if split is None]:
        raise InputError(f"split {unknown[0]!r} is unknown; expected one of {', '.join(_SPLIT_OF)}")
    if "test" not in splits.values():
        return {name: "test" if split == "val" else split for name, split in splits.items()}
    return splits
