"""What printing a report shows."""

from collections.abc import Sequence
from typing import Any

Report = Any
"""A `ser_keras.evaluation.Report`; that module is built on this one."""


def report_text(report: Report) -> str:
    """Return the scores, and tables of emotions, mistakes and speakers, as lines of text."""
    return "\n".join(
        [
            f"UAR       {report.unweighted_average_recall:.3f}   {report.interval_note}",
            f"accuracy  {report.accuracy:.3f}   {len(report.labels)} clips",
            f"ECE       {report.expected_calibration_error:.3f}   expected calibration error, 15 bins",
            *(f"caveat    {caveat}" for caveat in report.caveats),
            "",
            *_table("emotion", ("recall", "precision", "f1", "clips"), report.classes),
            "",
            *_confusion_lines(report),
            *_speaker_lines(report),
        ]
    )


def _confusion_lines(report: Report) -> list[str]:
    width = max(len("true"), *map(len, report.emotions))
    header = "".join(f"{emotion[:7]:>8}" for emotion in report.emotions)
    rows = [
        f"{emotion:<{width}}" + "".join(f"{count:>8d}" for count in counts)
        for emotion, counts in zip(report.emotions, report.confusion_matrix, strict=True)
    ]
    return [f"{'true':<{width}}{header}  (predicted)", *rows]


def _speaker_lines(report: Report) -> list[str]:
    if not report.speakers:
        return []
    rows = {
        name: {"UAR": row["unweighted_average_recall"], "clips": row["clips"]}
        for name, row in report.per_speaker.items()
    }
    return ["", *_table("speaker", ("UAR", "clips"), rows)]


def _table(name: str, columns: Sequence[str], rows: dict[str, dict[str, float]]) -> list[str]:
    width = max(len(name), *map(len, rows))
    lines = [f"{name:<{width}}" + "".join(f"{column:>11}" for column in columns)]
    for label, row in rows.items():
        cells = (f"{row[c]:>11d}" if isinstance(row[c], int) else f"{row[c]:>11.3f}" for c in columns)
        lines.append(f"{label:<{width}}" + "".join(cells))
    return lines
