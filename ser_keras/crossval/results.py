"""What came of one fold, and what all folds and seeds say together."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ser_keras.config import CrossvalConfig
from ser_keras.corpora import Utterance
from ser_keras.evaluation.report import Report, prediction_columns, prediction_rows
from ser_keras.files import write_csv, write_json
from ser_keras.predictions.notebook import table_html

OPTIMISTIC = "optimistic: voices of the test sides can have been heard in training; expect less on new speakers"

_SPEAKERS_WIDTH = 32
HEADER = f"seed  fold  {'test speakers':<{_SPEAKERS_WIDTH}}      n    UAR  accuracy  val UAR  epochs  seconds"
"""Names of the columns of `table_line`."""


@dataclass(frozen=True)
class FoldRow:
    """One line of the table: a fold trained from one seed.

    Attributes:
        seed: from which weights, draws and validation speakers came.
        fold: number of the fold, from 1.
        speakers: of the test side.
        validation_speakers: of the validation side.
        num_clips: clips of the test side.
        num_leaks: how much the audit found that the test side shares, or can share, with another.
        num_weights: of the model.
        validation_uar: UAR of the epoch that was kept on the validation side, 0 to 1.
        epochs: how many were trained.
        kept_epoch: number of the one whose weights were kept, from 1.
        seconds: that training and scoring took.
        uar: unweighted average recall of the test side, 0 to 1; None where it was not scored.
        accuracy: part of the test side that is right, 0 to 1; None where it was not scored.
    """

    seed: int
    fold: int
    speakers: tuple[str, ...]
    validation_speakers: tuple[str, ...]
    num_clips: int
    num_leaks: int
    num_weights: int
    validation_uar: float
    epochs: int
    kept_epoch: int
    seconds: float
    uar: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True, eq=False)
class FoldResult:
    """One fold trained from one seed: its line of the table, and its predictions where it was scored.

    Attributes:
        row: the figures.
        utterances: the test side.
        report: what the model made of the test side; None where it was not scored.
    """

    row: FoldRow
    utterances: tuple[Utterance, ...]
    report: Report | None


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What `cross_validate` found; print it to read it.

    Every figure but `mean_fold_uar` pools: the predictions of all folds of one seed are put together
    before the recall is taken, because some speakers lack a class.

    Attributes:
        config: protocol, folds and seeds.
        emotions: names of the classes.
        folds: one result for each seed and fold, seed by seed.
    """

    config: CrossvalConfig
    emotions: tuple[str, ...]
    folds: tuple[FoldResult, ...]

    @property
    def rows(self) -> tuple[FoldRow, ...]:
        """The table of the folds."""
        return tuple(each.row for each in self.folds)

    @property
    def is_scored(self) -> bool:
        """False where only the validation side was scored."""
        return not self.config.validation_only

    @cached_property
    def reports(self) -> dict[int, Report]:
        """For each seed the report on the predictions of all its folds; empty where nothing was scored."""
        seeds = self.config.seeds if self.is_scored else ()
        return {seed: _pool([each.report for each in self.folds if each.row.seed == seed]) for seed in seeds}

    @cached_property
    def report(self) -> Report | None:
        """The report on the predictions of all seeds: each clip counts once for each seed.

        Its UAR is the mean of the seeds' pooled UARs, since every seed scores the same clips.
        """
        return _pool(list(self.reports.values())) if self.is_scored else None

    @property
    def pooled_uar(self) -> float | None:
        """Mean over the seeds of the pooled UAR, 0 to 1."""
        return self.report.unweighted_average_recall if self.is_scored else None

    @property
    def accuracy(self) -> float | None:
        """Mean over the seeds of the part of all clips that is right, 0 to 1."""
        return self.report.accuracy if self.is_scored else None

    @property
    def mean_fold_uar(self) -> float | None:
        """Mean of the folds' UARs, over folds and seeds; 0 to 1."""
        return float(np.mean([row.uar for row in self.rows])) if self.is_scored else None

    @property
    def mean_validation_uar(self) -> float:
        """Mean of the kept epochs' UARs on the validation sides, over folds and seeds; 0 to 1."""
        return float(np.mean([row.validation_uar for row in self.rows]))

    @property
    def std_over_seeds(self) -> float | None:
        """Standard deviation (n - 1) over the seeds of the pooled UAR; None with one seed.

        Where nothing but validation sides was scored, of the mean validation UAR.
        """
        values = [report.unweighted_average_recall for report in self.reports.values()] or [
            np.mean([row.validation_uar for row in self.rows if row.seed == seed]) for seed in self.config.seeds
        ]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    @cached_property
    def interval_95(self) -> tuple[float, float] | None:
        """95 % interval of the pooled UAR over speakers, each with the predictions of all seeds; None where none is."""
        return self.report.interval if self.is_scored else None

    @property
    def is_optimistic(self) -> bool:
        """Whether a voice or a recording of a test side can have been heard in training."""
        return self.config.protocol == "random" or any(row.num_leaks for row in self.rows)

    @property
    def _clips(self) -> list[Utterance]:
        """The clips of all folds, as every seed scores them."""
        first = self.config.seeds[0]
        return [clip for each in self.folds if each.row.seed == first for clip in each.utterances]

    def to_dict(self) -> dict[str, Any]:
        """Return every figure as plain values for JSON."""
        pooled = {} if self.report is None else self.report.to_dict()
        return {
            "protocol": self.config.protocol,
            "validation_only": self.config.validation_only,
            "optimistic": self.is_optimistic,
            **({"warning": OPTIMISTIC} if self.is_optimistic else {}),
            "pooled_uar": self.pooled_uar,
            "mean_fold_uar": self.mean_fold_uar,
            "std_over_seeds": self.std_over_seeds,
            "interval_95": None if self.interval_95 is None else list(self.interval_95),
            "interval_note": pooled.get("interval_note"),
            "accuracy": self.accuracy,
            "mean_validation_uar": self.mean_validation_uar,
            "num_clips": len(self._clips),
            "num_weights": self.rows[0].num_weights,
            "emotions": list(self.emotions),
            "seeds": [
                {"seed": seed, "pooled_uar": report.unweighted_average_recall, "accuracy": report.accuracy}
                for seed, report in self.reports.items()
            ],
            **{name: pooled[name] for name in ("classes", "confusion_matrix", "speakers") if pooled},
            "folds": [asdict(row) for row in self.rows],
        }

    def save(self, directory: str | Path) -> None:
        """Write `metrics.json` and, where test sides were scored, `predictions.csv` and the confusion matrix.

        The matrix, as the figures of classes and speakers, counts each clip once for each seed.
        """
        directory = Path(directory)
        if self.report is not None:
            columns = ("seed", "fold", *prediction_columns(self.emotions))
            write_csv(directory / "predictions.csv", columns, self._prediction_rows())
            self.report.draw(directory / "confusion_matrix.png")
            self.report.save_html(directory / "report.html", title=f"Cross-validation: {self.config.protocol}")
        write_json(directory / "metrics.json", self.to_dict())

    def _prediction_rows(self) -> Iterator[tuple[Any, ...]]:
        for each in self.folds:
            for row in prediction_rows(each.report, each.utterances):
                yield each.row.seed, each.row.fold, *row

    def __str__(self) -> str:
        lines = [
            *(self._test_lines() if self.is_scored else ()),
            f"validation UAR  {self.mean_validation_uar:.3f}   mean over folds and seeds",
            *(
                []
                if self.std_over_seeds is None
                else [f"over seeds      {self.std_over_seeds:.3f}   standard deviation"]
            ),
            *([f"The score is {OPTIMISTIC}."] if self.is_optimistic else []),
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the folds and the figures made from them for Jupyter."""
        columns = ("seed", "fold", "test speakers", "clips", "UAR", "accuracy", "validation UAR")
        return table_html(columns, map(_cells, self.rows), str(self))

    def _test_lines(self) -> tuple[str, ...]:
        return (
            f"pooled UAR      {self.pooled_uar:.3f}   {self.report.interval_note}",
            f"mean fold UAR   {self.mean_fold_uar:.3f}   over {len(self.rows)} trainings",
            f"accuracy        {self.accuracy:.3f}   {len(self._clips)} clips, {len(self.config.seeds)} seeds",
        )


def _cells(row: FoldRow) -> tuple[Any, ...]:
    """Return a line of the table for Jupyter; dashes where the test side was not scored."""
    scores = ("-" if value is None else value for value in (row.uar, row.accuracy, row.validation_uar))
    return row.seed, row.fold, ", ".join(row.speakers) or "unknown", row.num_clips, *scores


def _pool(reports: Sequence[Report]) -> Report:
    """Put the predictions of several reports together."""
    every = all(report.speakers for report in reports)
    known = all(report.utterances for report in reports)
    return Report(
        reports[0].emotions,
        np.concatenate([report.labels for report in reports]),
        np.concatenate([report.probabilities for report in reports]),
        tuple(speaker for report in reports for speaker in report.speakers) if every else (),
        tuple(utterance for report in reports for utterance in report.utterances) if known else (),
    )


def speakers_of(utterances: Sequence[Utterance]) -> tuple[str, ...]:
    """Return the speakers of a side, sorted; those that are not known are left out."""
    return tuple(sorted(Counter(each.speaker_id for each in utterances if each.speaker_id)))


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
