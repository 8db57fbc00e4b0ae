"""What the name of a corpus' file tells: who speaks, which emotion, which words."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

Groups = dict[str, str]


def _not_told(groups: Groups) -> None:
    return None


@dataclass(frozen=True)
class Corpus:
    """How one publisher names the files of a corpus, and what the names mean.

    Attributes:
        name: The name in `Utterance.corpus` and in the `corpus` argument.
        title: The name in messages.
        source: Where the corpus and its naming are described.
        example: A file as the publisher names it.
        naming: A pattern of the name without extension (and its folder, where the folder matters),
            with the groups `speaker`, `emotion`, `text` and `gender` as far as the name tells them.
        medium: A pattern of what comes before the naming, and differs between copies of one recording.
        codes: The emotion of each code; None for labels that are left out by design.
        gender: The gender, from the pattern's groups.
        speaker: A template of the speaker's code.
        speaker_case: The publisher's case of that code.
        text: A template of the sentence's code; None where the name does not tell the words.
        text_case: The publisher's case of that code.
    """

    name: str
    title: str
    source: str
    example: str
    naming: str
    codes: dict[str, str | None]
    medium: str = ""
    gender: Callable[[Groups], str | None] = _not_told
    speaker: str = "{speaker}"
    speaker_case: Callable[[str], str] = str.upper
    text: str | None = None
    text_case: Callable[[str], str] = str.lower

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The compiled naming: matches `folder/name`, in any case."""
        return re.compile(rf"(?:[^/]*/)?{self.medium}(?P<key>{self.naming})", re.IGNORECASE)

    @cached_property
    def emotions(self) -> dict[str, str | None]:
        """The codes in lower case."""
        return {code.lower(): emotion for code, emotion in self.codes.items()}


def folder_and_name(root: Path, file: str) -> str:
    """The last folder and the name without extension; in the root itself the root's own name."""
    folder, _, name = file.rpartition("/")
    return f"{folder.rpartition('/')[2] or root.absolute().name}/{name.rpartition('.')[0]}"


def emotion_code(match: re.Match[str], labels: dict[str, str]) -> str:
    """The emotion's code in the file's name or else in the labels; empty if in neither."""
    return match.groupdict().get("emotion") or labels.get(recording_key(match), "")


def recording_key(match: re.Match[str]) -> str:
    """Return what the copies of one published file have in common."""
    return match["key"].lower().replace("/", "_")


def squash(text: str) -> str:
    """Return the letters and digits of a text, in lower case."""
    return re.sub(r"[^a-z0-9]", "", text.lower())
