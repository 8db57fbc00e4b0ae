"""Predictions and timelines as text: a table to read, JSON, CSV, and the formats of audformat and Praat.

Answers are written as they come, so that nothing waits for the last one, and none is kept. A recording with
an error has a row too: its label is missing, and where the format has a place for it, so is the reason. In a window of
silence there is nothing to label: label, confidence and probabilities are missing values.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO

from ser_keras.predictions import Prediction, Timeline, Window
from ser_keras.terminal import shown

Answer = Prediction | Timeline

FORMATS = ("table", "json", "jsonl", "csv", "audformat", "textgrid")
"""Names of the formats."""

ENDINGS = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".textgrid": "textgrid"}
"""The format that a file's ending asks for, in lower case."""


def write_answers(stream: TextIO, answers: Iterable[Answer], format: str, emotions: Sequence[str]) -> None:
    """Write answers in one of `FORMATS`.

    `json` is one list with an object a recording; `jsonl` has one object a line. `csv` has a row a
    recording, or a window. `audformat` is a table as `audformat.utils.read_csv` reads it, with a filewise
    index, or for timelines a segmented one. `textgrid` is one TextGrid a timeline.

    Args:
        stream: receives the text, each answer at once.
        answers: predictions, or timelines.
        format: one of `FORMATS`.
        emotions: in the model's order; a column each.

    Example:
        >>> import sys
        >>> answer = Prediction("a.wav", "sad", 0.75, {"calm": 0.25, "sad": 0.75})
        >>> write_answers(sys.stdout, [answer, Prediction("b.wav", error="empty")], "table", ["calm", "sad"])
        label  confidence  file
        sad         0.750  a.wav
        -               -  b.wav: empty
        >>> write_answers(sys.stdout, [answer], "csv", ["calm", "sad"])
        file,label,confidence,calm,sad,error
        a.wav,sad,0.75,0.25,0.75,
    """
    for text in _WRITERS[format](answers, emotions):
        stream.write(text)
        stream.flush()


def answer_to_dict(answer: Answer) -> dict[str, Any]:
    """Return an answer as plain values, with the same names whether there is an error or not.

    Example:
        >>> answer_to_dict(Prediction("b.wav", error="empty"))
        {'file': 'b.wav', 'label': None, 'confidence': None, 'probabilities': None, 'error': 'empty'}
    """
    value: dict[str, Any] = {"file": None if answer.source is None else str(answer.source)}
    if isinstance(answer, Timeline):
        value["windows"] = [
            {"start_seconds": round(each.start_seconds, 6), "end_seconds": round(each.end_seconds, 6), **_facts(each)}
            for each in answer.windows
        ]
    else:
        value |= _facts(answer)
    return {**value, "error": answer.error or None}


def timeline_to_textgrid(timeline: Timeline) -> str:
    """Write a timeline as Praat's TextGrid (its manual: "TextGrid file formats", the long text format).

    Intervals of a tier cannot overlap as windows do: each window's is the stretch of `Timeline.stretches`.

    Args:
        timeline: with one window at least.

    Returns:
        A tier with the emotions, and one with their probabilities.
    """
    stretches = timeline.stretches()
    start, end = stretches[0][0], stretches[-1][1]
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", f"xmin = {start:.6f}", f"xmax = {end:.6f}"]
    lines += ["tiers? <exists>", "size = 2", "item []:"]
    tiers: dict[str, Callable[[Window], str]] = {
        "emotion": lambda window: window.label,
        "confidence": lambda window: f"{window.confidence:.3f}" if window.label else "",
    }
    for number, (name, text) in enumerate(tiers.items(), 1):
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += [f"        xmin = {start:.6f}", f"        xmax = {end:.6f}"]
        lines += [f"        intervals: size = {len(stretches)}"]
        for index, (left, right, window) in enumerate(stretches, 1):
            quoted = text(window).replace('"', '""')
            lines += [f"        intervals [{index}]:", f"            xmin = {left:.6f}"]
            lines += [f"            xmax = {right:.6f}", f'            text = "{quoted}"']
    return "\n".join(lines) + "\n"


def _table(answers: Iterable[Answer], emotions: Sequence[str]) -> Iterator[str]:
    """Columns of fixed width, the file last: its length is not known beforehand."""
    width = max(map(len, (*emotions, "abstained")))
    for first, answer in _numbered(answers):
        times = isinstance(answer, Timeline)
        if first:
            yield ("   start      end  " if times else "") + f"{'label':<{width}}  confidence  file\n"
        for row in _rows(answer):
            place = f"{row.start_seconds:8.2f} {row.end_seconds:8.2f}  " if isinstance(row, Window) else ""
            label = "abstained" if row.abstained else row.label
            confidence = f"{row.confidence:.3f}" if row.label else "-"
            yield f"{place}{label or '-':<{width}}  {confidence:>10}  {shown(answer.source)}\n"
        if answer.error:
            place = f"{'-':>8} {'-':>8}  " if times else ""
            yield f"{place}{'-':<{width}}  {'-':>10}  {shown(answer.source)}: {shown(answer.error)}\n"


def _json(answers: Iterable[Answer], emotions: Sequence[str]) -> Iterator[str]:
    yield "["
    for first, answer in _numbered(answers):
        yield ("\n  " if first else ",\n  ") + _dumped(answer)
    yield "\n]\n"


def _jsonl(answers: Iterable[Answer], emotions: Sequence[str]) -> Iterator[str]:
    return (_dumped(answer) + "\n" for answer in answers)


def _csv(answers: Iterable[Answer], emotions: Sequence[str]) -> Iterator[str]:
    for first, answer in _numbered(answers):
        places = ["start_seconds", "end_seconds"] if isinstance(answer, Timeline) else []
        if first:
            yield _csv_line(["file", *places, "label", "confidence", *emotions, "error"])
        for row in _rows(answer):
            numbers = [round(getattr(row, name), 6) for name in places]
            yield _csv_line([answer.source, *numbers, *_columns(row, emotions), ""])
        if answer.error:
            yield _csv_line([answer.source, *([""] * (len(places) + 2 + len(emotions))), answer.error])


def _audformat(answers: Iterable[Answer], emotions: Sequence[str]) -> Iterator[str]:
    """The index first, its times as pandas writes them; a missing answer is a missing value."""
    for first, answer in _numbered(answers):
        is_segmented = isinstance(answer, Timeline)
        if first:
            yield _csv_line(["file", *(["start", "end"] if is_segmented else []), "emotion", "confidence", *emotions])
        for row in _rows(answer):
            times = [_timedelta(row.start_seconds), _timedelta(row.end_seconds)] if is_segmented else []
            yield _csv_line([answer.source, *times, *_columns(row, emotions)])
        if answer.error:
            times = [_timedelta(0.0), ""] if is_segmented else []
            yield _csv_line([answer.source, *times, *([""] * (2 + len(emotions)))])


def _textgrid(answers: Iterable[Answer], emotions: Sequence[str]) -> Iterator[str]:
    return (timeline_to_textgrid(answer) for answer in answers if not answer.error)


_WRITERS: dict[str, Callable[[Iterable[Answer], Sequence[str]], Iterator[str]]] = {
    "table": _table,
    "json": _json,
    "jsonl": _jsonl,
    "csv": _csv,
    "audformat": _audformat,
    "textgrid": _textgrid,
}


def _numbered(answers: Iterable[Answer]) -> Iterator[tuple[bool, Answer]]:
    """Say of each answer whether it is the first."""
    return ((number == 0, answer) for number, answer in enumerate(answers))


def _rows(answer: Answer) -> Sequence[Prediction | Window]:
    if answer.error:
        return ()
    return answer.windows if isinstance(answer, Timeline) else (answer,)


def _columns(row: Prediction | Window, emotions: Sequence[str]) -> list[Any]:
    """Return label, confidence and the probability of each emotion."""
    if not row.label:
        return [""] * (2 + len(emotions))
    return [row.label, round(row.confidence, 6), *(round(row.probabilities[name], 6) for name in emotions)]


def _csv_line(values: Sequence[Any]) -> str:
    lines: list[str] = []
    csv.writer(_Lines(lines), lineterminator="\r\n").writerow(values)  # before Python 3.13 "\r" is quoted only then
    return lines[0].removesuffix("\r\n") + "\n"


class _Lines:
    """What `csv.writer` writes to."""

    def __init__(self, lines: list[str]):
        self.write = lines.append


def _timedelta(seconds: float) -> str:
    """Write a length of time as pandas does.

    Example:
        >>> _timedelta(90_061.5)
        '1 days 01:01:01.500000'
    """
    microseconds = round(seconds * 1e6)
    seconds, fraction = divmod(microseconds, 1_000_000)
    minutes, hours, days = seconds // 60, seconds // 3_600, seconds // 86_400
    return f"{days} days {hours % 24:02}:{minutes % 60:02}:{seconds % 60:02}.{fraction:06}"


def _dumped(answer: Answer) -> str:
    return json.dumps(answer_to_dict(answer), ensure_ascii=False)


def _facts(row: Prediction | Window) -> dict[str, Any]:
    if not row.label:
        return dict.fromkeys(("label", "confidence", "probabilities"))
    probabilities = {name: round(value, 6) for name, value in row.probabilities.items()}
    facts = {"label": row.label, "confidence": round(row.confidence, 6), "probabilities": probabilities}
    return {**facts, "abstained": True} if row.abstained else facts
