"""Consistency of a dataset's labels: folders against file names, spellings of speakers, rows of one clip."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ser_keras.corpora.layout import known_emotion, role_of
from ser_keras.corpora.utterance import CorpusScan, Utterance
from ser_keras.errors import InputError
from ser_keras.spelling import tidy

_logger = logging.getLogger(__name__)
_NUM_SHOWN = 5
_LEAST_LAMBDA = 0.5

_FACTS: dict[str, Callable[[Utterance], str | None]] = {
    "emotions": lambda each: each.emotion,
    "speakers": lambda each: each.speaker_id,
    "splits": lambda each: each.split,
}
"""The values in which all rows of one clip must agree."""


def contradicting_folder(root: Path, utterances: Sequence[Utterance]) -> tuple[Utterance, str] | None:
    """Return a recording whose folder contradicts the label in its name, with the folder; None if there is none.

    A folder contradicts if it is named after another emotion, or if the folders of its level group emotions into
    classes such as "negative" and "positive". Folders of speakers, splits or copies do neither.
    """
    folders = [each.path.relative_to(root).parts[:-1] for each in utterances]
    for each, names in zip(utterances, folders, strict=True):
        for name in names:
            if known_emotion(name) not in (None, each.emotion):
                return each, name
    for depth in range(max(map(len, folders), default=0)):
        level = [(each, names[depth]) for each, names in zip(utterances, folders, strict=True) if len(names) > depth]
        if role_of({name for _, name in level}) != "split" and _groups_emotions(level):
            num_emotions = Counter(folder for _, folder in {(each.emotion, folder) for each, folder in level})
            return max(level, key=lambda pair: num_emotions[pair[1]])
    return None


def reconcile(scan: CorpusScan) -> CorpusScan:
    """Return a scan with one spelling per speaker and one utterance per clip.

    A warning names the spellings that were joined. A clip that is listed several times is used once; it is skipped if
    its rows contradict each other.

    Raises:
        InputError: The rows of every clip contradict each other.
    """
    utterances, joined = _join_speakers(scan.utterances)
    used, skipped = [], []
    for rows in _rows_of_clips(utterances).values():
        if len(rows) > 1 and (reason := _contradiction(rows)):
            skipped.append((rows[0].path, reason))
        else:
            used.append(rows[0])
    if skipped and not used:
        raise InputError(f"{skipped[0][0]}: {skipped[0][1]}; it is the same with all {len(skipped)} clips")
    return CorpusScan(tuple(used), tuple(sorted((*scan.skipped, *skipped), key=lambda item: str(item[0]))), joined)


def _groups_emotions(level: Sequence[tuple[Utterance, str]]) -> bool:
    """Return whether the emotion determines the folder, and a folder has several emotions.

    By Goodman and Kruskal's lambda (1954): the share of the errors in guessing a recording's folder that knowing its
    emotion removes. Folders that depend on the speaker, or have one emotion each, are no classes.
    """
    pairs = Counter((each.emotion, folder) for each, folder in level)
    sizes = Counter(folder for _, folder in level)
    speakers = {(each.speaker_id, folder) for each, folder in level}
    depends_on_speaker = len(speakers) == len({speaker for speaker, _ in speakers if speaker})
    if len(pairs) == len(sizes) or depends_on_speaker:
        return False
    emotions = {emotion for emotion, _ in pairs}
    explained = sum(max(pairs[emotion, folder] for folder in sizes) for emotion in emotions)
    errors = len(level) - max(sizes.values())
    return explained - max(sizes.values()) >= _LEAST_LAMBDA * errors > 0


def _rows_of_clips(utterances: Sequence[Utterance]) -> dict[tuple, list[Utterance]]:
    """Group the rows about one file, or about one segment of a file."""
    rows_of: dict[tuple, list[Utterance]] = {}
    for each in utterances:
        path = os.path.abspath(each.path)  # noqa: PTH100  (100,000 files)
        end = None if each.end_seconds is None else round(each.end_seconds, 3)  # tables round in different ways
        rows_of.setdefault((path, round(each.start_seconds or 0.0, 3), end), []).append(each)
    return rows_of


def _contradiction(rows: Sequence[Utterance]) -> str:
    """Return in which value the rows of one clip differ; an empty text if they agree."""
    start, end = rows[0].start_seconds or 0.0, rows[0].end_seconds
    segment = "" if not start and end is None else f" ({start:g} s to {'the end' if end is None else f'{end:g} s'})"
    for name, value_of in _FACTS.items():
        if len(values := dict.fromkeys(map(value_of, rows))) > 1:
            found = " and ".join(value or "none" for value in values)
            return f"conflicting: listed {len(rows)} times{segment}, with the {name} {found}; keep the right row"
    return ""


def _join_speakers(utterances: Sequence[Utterance]) -> tuple[list[Utterance], tuple[tuple[str, ...], ...]]:
    """Return the utterances with each speaker's first spelling, and the spellings that were joined."""
    spellings: dict[str, dict[str, Utterance]] = {}
    for each in utterances:
        if each.speaker:
            spellings.setdefault(each.speaker_key, {}).setdefault(each.speaker_id, each)
    joined = tuple(tuple(spelled) for spelled in spellings.values() if len(spelled) > 1)
    if joined:
        names = "; ".join(map(_equation, joined[:_NUM_SHOWN])) + ("; ..." if len(joined) > _NUM_SHOWN else "")
        _logger.warning("%d speakers are spelled in several ways and count as one each: %s", len(joined), names)
    first = {key: next(iter(spelled.values())) for key, spelled in spellings.items()}
    return [_spelled_as(first[each.speaker_key], each) if each.speaker else each for each in utterances], joined


def _spelled_as(first: Utterance, each: Utterance) -> Utterance:
    names = {"corpus": first.corpus, "speaker": tidy(first.speaker)}
    return each if (each.corpus, each.speaker) == tuple(names.values()) else replace(each, **names)


def _equation(spellings: tuple[str, ...]) -> str:
    """Return spellings as one line, with escapes in those that look like the first."""
    first = tidy(spellings[0])
    return " = ".join([first, *(ascii(each) if tidy(each) == first else each for each in spellings[1:])])
