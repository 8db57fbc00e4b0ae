"""HTML of results for notebooks: no scripts and no style sheets, so that any notebook viewer shows it."""

import base64
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ser_keras.templates import render

MOST_AUDIO_BYTES = 2**20
"""A larger file gets no player, since the player holds the whole file."""

_MIME_TYPES = {".wav": "wav", ".flac": "flac", ".mp3": "mpeg", ".ogg": "ogg", ".oga": "ogg", ".opus": "ogg"}
_COLOURS = {
    "angry": "#d9534f",
    "bored": "#b5a642",
    "calm": "#5bb6c9",
    "disgust": "#7a9a3a",
    "fearful": "#8e6bbf",
    "happy": "#f0ad4e",
    "neutral": "#9aa0a6",
    "sad": "#4a7dbd",
    "surprised": "#e377c2",
}
_SPARE_COLOURS = ("#17becf", "#bcbd22", "#8c564b", "#2ca02c", "#1f77b4", "#ff7f0e")


def prediction_html(source: str | Path | None, probabilities: Mapping[str, float], error: str) -> str:
    """Return a player and a bar for each emotion, the most probable first, or the error."""
    ordered = sorted(probabilities.items(), key=lambda item: -item[1])
    return _cell("prediction", source, error, probabilities=ordered, colours=emotion_colours(probabilities))


def timeline_html(source: str | Path | None, stretches: Iterable[tuple[float, float, str]], error: str) -> str:
    """Return a player and a strip with the colour of each stretch, or the error.

    Args:
        source: the recording's path, or None.
        stretches: start and end, in seconds, and the emotion; in order, without gaps.
        error: why there are none.
    """
    joined = joined_stretches(stretches)
    colours = emotion_colours(label for _, _, label in joined if label)
    return _cell("timeline", source, error, stretches=joined, colours=colours)


def table_html(columns: Sequence[str], rows: Iterable[Sequence[object]], *notes: str) -> str:
    """Return a table whose fractions have three places, and lines of text below it."""
    return render("table_cell.html", columns=columns, rows=list(rows), notes=notes).decode()


def joined_stretches(stretches: Iterable[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Join neighbours with the same emotion, so that the picture of an hour stays small.

    Example:
        >>> joined_stretches([(0.0, 2.0, "sad"), (2.0, 3.0, "sad"), (3.0, 5.0, "calm")])
        [(0.0, 3.0, 'sad'), (3.0, 5.0, 'calm')]
    """
    groups = (list(group) for _, group in itertools.groupby(stretches, key=lambda each: each[2]))
    return [(group[0][0], group[-1][1], group[0][2]) for group in groups]


def emotion_colours(emotions: Iterable[str]) -> dict[str, str]:
    """Return the colour of each emotion, the same in every picture; unknown emotions get spare colours.

    Example:
        >>> emotion_colours(["sad", "wistful"])
        {'sad': '#4a7dbd', 'wistful': '#17becf'}
    """
    spare = itertools.cycle(_SPARE_COLOURS)
    return {name: _COLOURS.get(name) or next(spare) for name in dict.fromkeys(emotions)}


def _cell(kind: str, source: str | Path | None, error: str, **facts: object) -> str:
    return render(f"{kind}_cell.html", source=source, audio=_audio_url(source), error=error, **facts).decode()


def _audio_url(source: str | Path | None) -> str:
    """Return a short file as a data URL; nothing for one that is long, missing, or in a format no browser plays."""
    if source is None or (kind := _MIME_TYPES.get(Path(source).suffix.lower())) is None:
        return ""
    try:
        contents = Path(source).read_bytes() if Path(source).stat().st_size <= MOST_AUDIO_BYTES else b""
    except OSError:  # it was moved
        return ""
    return f"data:audio/{kind};base64,{base64.b64encode(contents).decode()}" if contents else ""
