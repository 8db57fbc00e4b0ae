"""Predictions and timelines as text: a table to read, JSON, CSV, audformat tables and Praat TextGrids.

Each result is written as it comes, and none is kept. So a table has columns of fixed width, where Rich and pandas
would need all rows first, and no format needs a package (pandas, praatio) beyond the standard library and Jinja.

A recording with an error has a row too: its label is missing and, where the format has a place for it, the reason is
given. In a window of silence label, confidence and probabilities are missing values.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TextIO

from ser_keras.predictions import Prediction, Timeline, Window
from ser_keras.templates import render
from ser_keras.terminal import shown

Result = Prediction | Timeline

ENDINGS = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".textgrid": "textgrid"}
"""The format of a file by its ending, in lower case."""


def write_results(stream: TextIO, results: Iterable[Result], format: str, emotions: Sequence[str]) -> None:
    """Write results in one of `FORMATS`.

    `json` is one list with an object for each recording; `jsonl` has one object a line. `csv` has a row for each
    recording, or window. `audformat` is a table for `audformat.utils.read_csv` with a filewise index, or for timelines
    a segmented one. `textgrid` is one TextGrid for each timeline.

    Args:
        stream: receives the text, each result at once.
        results: predictions, or timelines.
        format: one of `FORMATS`.
        emotions: in the model's order; a column each.

    Example:
        >>> import sys
        >>> result = Prediction("a.wav", "sad", 0.75, {"calm": 0.25, "sad": 0.75})
        >>> write_results(sys.stdout, [result, Prediction("b.wav", error="empty")], "table", ["calm", "sad"])
        label  confidence  file
        sad         0.750  a.wav
        -               -  b.wav: empty
        >>> write_results(sys.stdout, [result], "csv", ["calm", "sad"])
        file,label,confidence,calm,sad,error
        a.wav,sad,0.75,0.25,0.75,
    """
    for text in _WRITERS[format](results, emotions):
        stream.write(text)
        stream.flush()


def result_to_dict(result: Result) -> dict[str, Any]:
    """Return a result as plain values, with the same names whether there is an error or not.

    Example:
        >>> result_to_dict(Prediction("b.wav", error="empty"))
        {'file': 'b.wav', 'label': None, 'confidence': None, 'probabilities': None, 'error': 'empty'}
    """
    values: dict[str, Any] = {"file": None if result.source is None else str(result.source)}
    if isinstance(result, Timeline):
        values["windows"] = [
            {"start_seconds": round(each.start_seconds, 6), "end_seconds": round(each.end_seconds, 6), **_facts(each)}
            for each in result.windows
        ]
    else:
        values |= _facts(result)
    return {**values, "error": result.error or None}


def timeline_to_textgrid(timeline: Timeline) -> str:
    """Return a timeline as Praat's TextGrid (its manual: "TextGrid file formats", the long text format).

    Intervals of a tier cannot overlap as windows do: each window's interval is its stretch of `Timeline.stretches`.

    Args:
        timeline: with at least one window.

    Returns:
        A tier with the emotions, and one with their confidence.
    """
    stretches = timeline.stretches()
    windows = [window for *_, window in stretches]
    tiers = {
        "emotion": [window.label for window in windows],
        "confidence": [f"{window.confidence:.3f}" if window.label else "" for window in windows],
    }
    span = {"start": stretches[0][0], "end": stretches[-1][1]}
    return render(
        "timeline.TextGrid", stretches=stretches, tiers=tiers, zip=zip, seconds=lambda value: f"{value:.6f}", **span
    ).decode()


def _table(results: Iterable[Result], emotions: Sequence[str]) -> Iterator[str]:
    """Columns of fixed width, the file last, since its length is not known beforehand."""
    width = max(map(len, (*emotions, "abstained")))
    for index, result in enumerate(results):
        is_timeline = isinstance(result, Timeline)
        if not index:
            yield ("   start      end  " if is_timeline else "") + f"{'label':<{width}}  confidence  file\n"
        for row in _rows(result):
            times = f"{row.start_seconds:8.2f} {row.end_seconds:8.2f}  " if is_timeline else ""
            label = "abstained" if row.abstained else row.label
            confidence = f"{row.confidence:.3f}" if row.label else "-"
            yield f"{times}{label or '-':<{width}}  {confidence:>10}  {shown(result.source)}\n"
        if result.error:
            times = f"{'-':>8} {'-':>8}  " if is_timeline else ""
            yield f"{times}{'-':<{width}}  {'-':>10}  {shown(result.source)}: {shown(result.error)}\n"


def _json(results: Iterable[Result], emotions: Sequence[str]) -> Iterator[str]:
    yield "["
    for index, text in enumerate(_jsonl(results, emotions)):
        yield (",\n  " if index else "\n  ") + text.removesuffix("\n")
    yield "\n]\n"


def _jsonl(results: Iterable[Result], emotions: Sequence[str]) -> Iterator[str]:
    return (json.dumps(result_to_dict(result), ensure_ascii=False) + "\n" for result in results)


def _csv(results: Iterable[Result], emotions: Sequence[str]) -> Iterator[str]:
    for index, result in enumerate(results):
        times = ("start_seconds", "end_seconds") if isinstance(result, Timeline) else ()
        if not index:
            yield _csv_line("file", *times, "label", "confidence", *emotions, "error")
        for row in _rows(result):
            yield _csv_line(
                result.source, *(round(getattr(row, time), 6) for time in times), *_cells(row, emotions), ""
            )
        if result.error:
            yield _csv_line(result.source, *[""] * (len(times) + 2 + len(emotions)), result.error)


def _audformat(results: Iterable[Result], emotions: Sequence[str]) -> Iterator[str]:
    """The index first, its times as pandas reads them; there is no column for errors."""
    for index, result in enumerate(results):
        is_timeline = isinstance(result, Timeline)
        if not index:
            yield _csv_line("file", *(("start", "end") if is_timeline else ()), "emotion", "confidence", *emotions)
        for row in _rows(result):
            times = (_timedelta(row.start_seconds), _timedelta(row.end_seconds)) if is_timeline else ()
            yield _csv_line(result.source, *times, *_cells(row, emotions))
        if result.error:
            times = (_timedelta(0.0), "") if is_timeline else ()
            yield _csv_line(result.source, *times, *[""] * (2 + len(emotions)))


def _textgrid(results: Iterable[Result], emotions: Sequence[str]) -> Iterator[str]:
    return (timeline_to_textgrid(result) for result in results if not result.error)


_WRITERS: dict[str, Callable[[Iterable[Result], Sequence[str]], Iterator[str]]] = {
    "table": _table,
    "json": _json,
    "jsonl": _jsonl,
    "csv": _csv,
    "audformat": _audformat,
    "textgrid": _textgrid,
}

FORMATS = tuple(_WRITERS)
"""Names of the formats."""


def _rows(result: Result) -> Sequence[Prediction | Window]:
    if result.error:
        return ()
    return result.windows if isinstance(result, Timeline) else (result,)


def _cells(row: Prediction | Window, emotions: Sequence[str]) -> list[Any]:
    """Return label, confidence and the probability of each emotion."""
    if not row.label:
        return [""] * (2 + len(emotions))
    return [row.label, round(row.confidence, 6), *(round(row.probabilities[name], 6) for name in emotions)]


def _csv_line(*values: Any) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)  # before Python 3.13 "\r" is quoted only then
    return line.getvalue().removesuffix("\r\n") + "\n"


def _timedelta(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds, 6)))


def _facts(row: Prediction | Window) -> dict[str, Any]:
    if not row.label:
        return dict.fromkeys(("label", "confidence", "probabilities"))
    probabilities = {name: round(value, 6) for name, value in row.probabilities.items()}
    facts = {"label": row.label, "confidence": round(row.confidence, 6), "probabilities": probabilities}
    return {**facts, "abstained": True} if row.abstained else facts
