"""Layouts: which part of a recording's path is the emotion, the speaker, the split or the gender."""

import functools
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ser_keras.errors import InputError
from ser_keras.labels import EMOTIONS, canonical_emotion

_FIELDS = {"emotion": "[^/]+?", "speaker": "[^/]+", "split": "[^/]+", "gender": "[^/]+"}
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_NUM_SHOWN = 4
_ENOUGH_EMOTIONS = 3

_SPLITS = {
    "train": "train training",
    "val": "val valid validation dev devel development eval evaluation",
    "test": "test testing",
}
_SPLIT_OF = {word: split for split, words in _SPLITS.items() for word in words.split()}

_GENDERS = {"female": "female f woman women", "male": "male m man men"}
GENDER_OF = {word: gender for gender, words in _GENDERS.items() for word in words.split()}

_SPEAKER = re.compile(r"(?:actor|speaker|spk|spkr|subject|subj|participant|talker)s?[ _-]*\w*|\d+")


@dataclass(frozen=True)
class Layout:
    """A pattern of the path below the dataset's folder, without the file's extension.

    Attributes:
        pattern: Parts between slashes, the last of which is the file's name. ``{emotion}`` is required; ``{speaker}``,
            ``{split}`` and ``{gender}`` are optional; ``*`` matches anything within a part, in the last part further
            folders too.

    Raises:
        InputError: The pattern has no ``{emotion}``, a field twice, or an unknown field.

    Example:
        >>> Layout("{speaker}/{emotion}/*").read("anna/happy/take 1.wav")
        {'speaker': 'anna', 'emotion': 'happy'}
        >>> Layout("{split}/*_{emotion}").read("train/anna/03_sad.wav")
        {'split': 'train', 'emotion': 'sad'}
    """

    pattern: str

    def __post_init__(self) -> None:
        fields = re.findall(r"\{(.*?)\}", self.pattern)
        if "emotion" not in fields or len(set(fields)) < len(fields) or set(fields) - set(_FIELDS):
            raise InputError(
                f"layout {self.pattern!r}: expected {{emotion}} and at most once {{speaker}}, {{split}}, {{gender}}, "
                "such as '{speaker}/{emotion}/*'"
            )

    @property
    def parts(self) -> list[str]:
        """The parts of the pattern; the last one is the file's name."""
        return self.pattern.strip("/").split("/")

    @functools.cached_property
    def _regex(self) -> re.Pattern[str]:
        *folders, name = self.parts
        return re.compile("/".join([*(_regex_of(each, "[^/]*") for each in folders), _regex_of(name, ".*")]), re.DOTALL)

    def read(self, file: str) -> dict[str, str] | None:
        """Return the fields of a path; None where it does not match."""
        match = self._regex.fullmatch(os.path.splitext(file)[0])  # noqa: PTH122  (100,000 files)
        return match.groupdict() if match else None

    def describe(self, found: Sequence[dict[str, str]], splits: Mapping[str, str]) -> str:
        """Return the place of each field, with examples of its values.

        Args:
            found: The results of `read` for the files that match.
            splits: The split of each name at ``{split}``.
        """
        names = {field: {each[field] for each in found} for field in _FIELDS if field in found[0]}
        if "split" in names:
            names["split"] = {name if name == splits[name] else f"{name} as {splits[name]}" for name in names["split"]}
        return ", ".join(f"{field}: {self._place(field)} ({few(each)})" for field, each in names.items())

    def _place(self, field: str) -> str:
        depth = next(depth for depth, part in enumerate(self.parts) if f"{{{field}}}" in part)
        return "file name" if depth == len(self.parts) - 1 else f"{ordinal(depth)} folder"


def role_of(names: Collection[str]) -> str | None:
    """Return the role of the folders of one level, by their distinct names.

    Returns:
        "emotion" if half of the names, or three, are known emotions (own labels may be among them); "split", "gender"
        or "speaker" if all names are words for that, or numbers; "mixed" if only some are splits; None otherwise.

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


@functools.lru_cache(maxsize=10_000)
def known_emotion(name: str) -> str | None:
    """Return the vocabulary's word for a name; None if the name is no known emotion."""
    try:
        emotion = canonical_emotion(name)
    except InputError:
        return None
    return emotion if emotion in EMOTIONS else None


def splits_of(names: Collection[str]) -> dict[str, str]:
    """Return "train", "val" or "test" for each folder name of a level.

    If no name means test, the folder for validation becomes the test set; a share of the training set then becomes
    the validation set.

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


def splits_by_folder(files: Sequence[str]) -> list[str | None]:
    """Return the split of each file if all folders of one level are named after splits; else None for each."""
    folders = [file.split("/")[:-1] for file in files]
    for depth in range(min(map(len, folders), default=0)):
        names = {each[depth] for each in folders}
        if len(names) > 1 and role_of(names) == "split":
            return [splits_of(names)[each[depth]] for each in folders]
    return [None] * len(files)


def ordinal(depth: int) -> str:
    """Return "first" for 0, and so on."""
    return _ORDINALS[depth] if depth < len(_ORDINALS) else f"{depth + 1}th"


def few(names: Iterable[str]) -> str:
    """Return the first names, and their number if there are more."""
    names = sorted(names)
    return ", ".join(names[:_NUM_SHOWN]) + (f", ... {len(names)} in all" if len(names) > _NUM_SHOWN else "")


def _split_word(name: str) -> str:
    """Return a name in lower case without endings such as "_set" or " data"."""
    return re.sub(r"[ _-]*(?:set|data|split)$", "", name.strip().lower())


def _regex_of(part: str, anything: str) -> str:
    known = {"*": anything, **{f"{{{name}}}": f"(?P<{name}>{value})" for name, value in _FIELDS.items()}}
    return "".join(known.get(piece) or re.escape(piece) for piece in re.split(r"(\{\w+\}|\*)", part))
