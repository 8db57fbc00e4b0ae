"""How results show themselves in a notebook: plain HTML, predictions with the recording where it is at hand.

Nothing but the standard library, no scripts and no style sheet: it shows wherever a notebook is shown.
"""

import base64
import itertools
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

MOST_AUDIO_BYTES = 2**20
"""Of a file that is written into the notebook, so that it can be heard there."""

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

_BAR = '<div style="background:{colour};width:{width:.1f}%;min-width:1px;height:0.9em"></div>'
_PART = '<div title="{title}" style="background:{colour};flex:{seconds:.3f} 0 0"></div>'
_KEY = '<span style="margin-right:1em"><span style="color:{colour}">&#9632;</span> {name}</span>'


def prediction_html(source: str | Path | None, probabilities: Mapping[str, float], error: str) -> str:
    """Show one recording: a player and a bar for each emotion, the most probable first.

    Args:
        source: the recording's path, or None.
        probabilities: of each emotion, 0 to 1.
        error: why there are none.
    """
    ordered = sorted(probabilities.items(), key=lambda item: -item[1])
    colours = emotion_colours(probabilities)
    rows = (
        f'<tr><td style="text-align:left">{escape(name)}</td><td>{value:.3f}</td><td style="width:12em">'
        + _BAR.format(colour=colours[name], width=100 * value)
        + "</td></tr>"
        for name, value in ordered
    )
    return _around(source, error or f"<table>{''.join(rows)}</table>", is_error=bool(error))


def timeline_html(source: str | Path | None, stretches: Iterable[tuple[float, float, str]], error: str) -> str:
    """Show the emotions along a recording: a player and a strip of colours under it.

    Args:
        source: the recording's path, or None.
        stretches: where each begins and ends, in seconds, and its emotion; in order, without gaps.
        error: why there are none.
    """
    parts = joined_stretches(stretches)
    colours = emotion_colours(label for _, _, label in parts if label)
    strip = (
        _PART.format(
            title=escape(f"{start:.1f} to {end:.1f} s: {label or 'nothing to label'}"),
            colour=colours.get(label, "transparent"),
            seconds=max(end - start, 0),
        )
        for start, end, label in parts
    )
    keys = (_KEY.format(colour=colour, name=escape(name)) for name, colour in colours.items())
    length = f"0 to {parts[-1][1]:.1f} s" if parts else "no windows"
    body = f'<div style="display:flex;height:1.6em;max-width:40em">{"".join(strip)}</div>{"".join(keys)}{length}'
    return _around(source, error or body, is_error=bool(error))


def table_html(columns: Sequence[str], rows: Iterable[Sequence[object]], *notes: str) -> str:
    """Show a table, and lines of text under it.

    Args:
        columns: its header.
        rows: its cells; numbers with a fraction are shown to three places.
        notes: texts of one line or more; empty ones are left out.
    """
    head = "".join(f'<th style="text-align:left">{escape(name)}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    below = "".join(f'<pre style="white-space:pre-wrap">{escape(note)}</pre>' for note in notes if note)
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}</div>"


def _cell(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return f'<td style="text-align:left">{escape(text)}</td>'


def joined_stretches(stretches: Iterable[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Make one of neighbours with the same emotion: an hour stays a small picture.

    Example:
        >>> joined_stretches([(0.0, 2.0, "sad"), (2.0, 3.0, "sad"), (3.0, 5.0, "calm")])
        [(0.0, 3.0, 'sad'), (3.0, 5.0, 'calm')]
    """
    groups = (list(group) for _, group in itertools.groupby(stretches, key=lambda each: each[2]))
    return [(group[0][0], group[-1][1], group[0][2]) for group in groups]


def emotion_colours(emotions: Iterable[str]) -> dict[str, str]:
    """Give each emotion its colour, the same in every picture; one without a colour of its own gets a spare one.

    Example:
        >>> emotion_colours(["sad", "wistful"])
        {'sad': '#4a7dbd', 'wistful': '#17becf'}
    """
    spare = itertools.cycle(_SPARE_COLOURS)
    return {name: _COLOURS.get(name) or next(spare) for name in dict.fromkeys(emotions)}


def _around(source: str | Path | None, body: str, *, is_error: bool) -> str:
    if is_error:
        body = f'<span style="color:#b00020">{escape(body)}</span>'
    title = f"<div><b>{escape(str(source))}</b></div>" if source is not None else ""
    return f"<div>{title}{_player(source)}{body}</div>"


def _player(source: str | Path | None) -> str:
    """Return an audio element that holds a short file whole; nothing where there is none that a browser plays."""
    if source is None or (kind := _MIME_TYPES.get(Path(source).suffix.lower())) is None:
        return ""
    try:
        contents = Path(source).read_bytes() if Path(source).stat().st_size <= MOST_AUDIO_BYTES else b""
    except OSError:  # it has been moved since
        return ""
    data = base64.b64encode(contents).decode()
    return f'<div><audio controls src="data:audio/{kind};base64,{data}"></audio></div>' if data else ""
