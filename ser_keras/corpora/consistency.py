"""What holds for a whole listing, whatever it was read from: one spelling a speaker, one row a clip."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from ser_keras.corpora.utterance import CorpusScan, Utterance
from ser_keras.errors import InputError
from ser_keras.spelling import tidy

_logger = logging.getLogger(__name__)
_NUM_SHOWN = 5

_FACTS: dict[str, Callable[[Utterance], str | None]] = {
    "emotions": lambda each: each.emotion,
    "speakers": lambda each: each.speaker_id,
    "splits": lambda each: each.split,
}
"""What several rows about one clip have to agree in."""


def reconcile(scan: CorpusScan) -> CorpusScan:
    """Return a scan in which each speaker is spelled in one way, and each clip is listed once or is rejected.

    One logged line says which spellings were joined. A clip that is listed several times is used once, unless its rows
    contradict each other.

    Raises:
        InputError: The rows of every clip contradict each other.
    """
    utterances, joined = _join_speakers(scan.utterances)
    used, refused = [], []
    for rows in _rows_of_clips(utterances).values():
        if len(rows) > 1 and (reason := _contradiction(rows)):
            refused.append((rows[0].path, reason))
        else:
            used.append(rows[0])
    if refused and not used:
        raise InputError(f"{refused[0][0]}: {refused[0][1]}; it is the same with all {len(refused)} clips")
    left_out = sorted((*scan.left_out, *refused), key=lambda item: str(item[0]))
    return CorpusScan(tuple(used), tuple(left_out), joined)


def _rows_of_clips(utterances: Sequence[Utterance]) -> dict[tuple, list[Utterance]]:
    """Group what is said of one file, or of one segment of a file."""
    rows_of: dict[tuple, list[Utterance]] = {}
    for each in utterances:
        path = os.path.abspath(each.path)  # noqa: PTH100  (100,000 files)
        end = None if each.end_seconds is None else round(each.end_seconds, 3)  # tables round in different ways
        rows_of.setdefault((path, round(each.start_seconds or 0.0, 3), end), []).append(each)
    return rows_of


def _contradiction(rows: Sequence[Utterance]) -> str:
    """Say in what the rows of one clip contradict each other; nothing where they agree."""
    start, end = rows[0].start_seconds or 0.0, rows[0].end_seconds
    segment = "" if not start and end is None else f" ({start:g} s to {'the end' if end is None else f'{end:g} s'})"
    for name, value_of in _FACTS.items():
        if len(values := dict.fromkeys(map(value_of, rows))) > 1:
            found = " and ".join(value or "none" for value in values)
            return f"conflicting: listed {len(rows)} times{segment}, with the {name} {found}; keep the right row"
    return ""


def _join_speakers(utterances: Sequence[Utterance]) -> tuple[list[Utterance], tuple[tuple[str, ...], ...]]:
    """Give each speaker the first spelling; return the spellings that were joined as well."""
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
    """Return an utterance with the speaker as another one spells it."""
    names = {"corpus": first.corpus, "speaker": tidy(first.speaker)}
    return each if (each.corpus, each.speaker) == tuple(names.values()) else replace(each, **names)


def _equation(spellings: tuple[str, ...]) -> str:
    """Return spellings as one line, with escapes in those that look like the first."""
    first = tidy(spellings[0])
    return " = ".join([first, *(ascii(each) if tidy(each) == first else each for each in spellings[1:])])
