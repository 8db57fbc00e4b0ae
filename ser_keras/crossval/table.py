"""The table that a cross-validation prints while it goes."""

from ser_keras.crossval.results import FoldRow

_SPEAKERS_WIDTH = 32
HEADER = f"seed  fold  {'test speakers':<{_SPEAKERS_WIDTH}}      n    UAR  accuracy  val UAR  epochs  seconds"
"""Names of the columns of `table_line`."""


def table_line(row: FoldRow) -> str:
    """Return one fold as a line; dashes where the test side was not scored."""
    uar, accuracy = ("-" if value is None else f"{value:.3f}" for value in (row.uar, row.accuracy))
    speakers = _shortened(", ".join(row.speakers) or "unknown")
    return (
        f"{row.seed:>4}  {row.fold:>4}  {speakers:<{_SPEAKERS_WIDTH}}  {row.num_clips:>5}  {uar:>5}  {accuracy:>8}  "
        f"{row.validation_uar:>7.3f}  {row.epochs:>6}  {row.seconds:>7.1f}"
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _SPEAKERS_WIDTH else f"{text[: _SPEAKERS_WIDTH - 3]}..."
