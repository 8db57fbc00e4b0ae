"""A layout: where the path of a recording says which emotion it is, who speaks, and to which split it belongs."""

import functools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ser_keras.errors import InputError

_FIELDS = {"emotion": "[^/]+?", "speaker": "[^/]+", "split": "[^/]+", "gender": "[^/]+"}
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_NUM_SHOWN = 4


@dataclass(frozen=True)
class Layout:
    """Where the path of a recording says what: a pattern of the path below the dataset's folder, without the ending.

    Attributes:
        pattern: Parts between slashes, the last of which is the file's name. ``{emotion}`` is needed; ``{speaker}``,
            ``{split}`` and ``{gender}`` may be given; ``*`` stands for anything within a part, in the last part for
            further folders too.

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
        """The pattern's parts; the last is that of the file's name."""
        return self.pattern.strip("/").split("/")

    @functools.cached_property
    def _regex(self) -> re.Pattern[str]:
        *folders, name = self.parts
        return re.compile("/".join([*(_part(each, "[^/]*") for each in folders), _part(name, ".*")]), re.DOTALL)

    def read(self, file: str) -> dict[str, str] | None:
        """Return what a path says, by the names of the fields; None where it does not fit."""
        match = self._regex.fullmatch(os.path.splitext(file)[0])  # noqa: PTH122  (100,000 files)
        return match.groupdict() if match else None

    def describe(self, found: Sequence[dict[str, str]], splits: Mapping[str, str]) -> str:
        """Say which part is what, with examples of what was found there.

        Args:
            found: What `read` returned for the files that fit.
            splits: The split of each name in the place of ``{split}``.
        """
        names = {field: {each[field] for each in found} for field in _FIELDS if field in found[0]}
        if "split" in names:
            names["split"] = {name if name == splits[name] else f"{name} as {splits[name]}" for name in names["split"]}
        return ", ".join(f"{field}: {_place(self.parts, field)} ({few(each)})" for field, each in names.items())


def ordinal(depth: int) -> str:
    """Return "first" for 0, and so on."""
    return _ORDINALS[depth] if depth < len(_ORDINALS) else f"{depth + 1}th"


def few(names: Iterable[str]) -> str:
    """Return the first of some names, and how many there are where that is not all."""
    names = sorted(names)
    return ", ".join(names[:_NUM_SHOWN]) + (f", ... {len(names)} in all" if len(names) > _NUM_SHOWN else "")


def _part(text: str, anything: str) -> str:
    """Return the regular expression of a part of a layout."""
    pieces = re.split(r"(\{\w+\}|\*)", text)
    known = {"*": anything, **{f"{{{name}}}": f"(?P<{name}>{value})" for name, value in _FIELDS.items()}}
    return "".join(known.get(piece) or re.escape(piece) for piece in pieces)


def _place(parts: Sequence[str], field: str) -> str:
    depth = next(depth for depth, part in enumerate(parts) if f"{{{field}}}" in part)
    return "file name" if depth == len(parts) - 1 else f"{ordinal(depth)} folder"
