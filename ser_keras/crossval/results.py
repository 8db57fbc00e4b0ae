"""Results of one fold, and of all folds and seeds together."""

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

OPTIMISTIC = "optimistic: the model may be trained on speakers of the test sets; expect less on new speakers"

_SPEAKERS_WIDTH = 32
HEADER = f"seed  fold  {'test speakers':<{_SPEAKERS_WIDTH}}      n    UAR  accuracy  val UAR  epochs  seconds"
"""Names of the columns of `table_line`, which is printed while later folds still train: so no Rich table."""


@dataclass(frozen=True)
class FoldRow:
    """One line of the table: a fold trained from one seed.

    Attributes:
        seed: of the weights, the shuffling and the validation speakers.
        fold: number of the fold, from 1.
        speakers: of the test set.
        validation_speakers: of the validation set.
        num_clips: clips in the test set.
        num_leaks: number of the audit's findings that the test set shares, or can share, data with another subset.
        num_weights: of the model.
        validation_uar: UAR of the kept epoch on the validation set, 0 to 1.
        epochs: number of trained epochs.
        kept_epoch: number of the epoch whose weights were kept, from 1.
        seconds: duration of training and scoring.
        uar: unweighted average recall on the test set, 0 to 1; None if it was not scored.
        accuracy: on the test set, 0 to 1; None if it was not scored.
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
    """One fold trained from one seed: its line of the table, and its predictions.

    Attributes:
        row: the figures.
        utterances: the test set.
        report: on the test set; None if it was not scored.
    """

    row: FoldRow
    utterances: tuple[Utterance, ...]
    report: Report | None


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Result of `cross_validate`; print it to read it.

    Every figure but `mean_fold_uar` pools the predictions of all folds of one seed before the recall is computed,
    because some speakers lack a class.

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
        """False if only the validation sets were scored."""
        return not self.config.validation_only

    @cached_property
    def reports(self) -> dict[int, Report]:
        """For each seed the report on the predictions of all its folds; empty if no test set was scored."""
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
        """Mean over the seeds of the accuracy on all clips, 0 to 1."""
        return self.report.accuracy if self.is_scored else None

    @property
    def mean_fold_uar(self) -> float | None:
        """Mean of the folds' UARs, over folds and seeds; 0 to 1."""
        return float(np.mean([row.uar for row in self.rows])) if self.is_scored else None

    @property
    def mean_validation_uar(self) -> float:
        """Mean over folds and seeds of the kept epoch's UAR on the validation set, 0 to 1."""
        return float(np.mean([row.validation_uar for row in self.rows]))

    @property
    def std_over_seeds(self) -> float | None:
        """Standard deviation (n - 1) of the pooled or validation UAR over the seeds; None with one seed."""
        values = [report.unweighted_average_recall for report in self.reports.values()] or [
            np.mean([row.validation_uar for row in self.rows if row.seed == seed]) for seed in self.config.seeds
        ]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    @cached_property
    def interval_95(self) -> tuple[float, float] | None:
        """95 % interval of the pooled UAR over speakers; None if there is none."""
        return self.report.interval if self.is_scored else None

    @property
    def is_optimistic(self) -> bool:
        """Whether a speaker or a recording of a test set can be in the training data."""
        return self.config.protocol == "random" or any(row.num_leaks for row in self.rows)

    @property
    def _clips(self) -> list[Utterance]:
        """The clips of all folds of one seed."""
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
            **({"adapt_clips": self.config.adapt_clips} if self.config.adapt_clips else {}),
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
        """Write `metrics.json` and, if the test sets were scored, `predictions.csv`, the confusion matrix and the page.

        The matrix and the figures of classes and speakers count each clip once for each seed.
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
        lines = []
        if self.is_scored:
            lines += [
                f"pooled UAR      {self.pooled_uar:.3f}   {self.report.interval_note}",
                f"mean fold UAR   {self.mean_fold_uar:.3f}   over {len(self.rows)} trainings",
                f"accuracy        {self.accuracy:.3f}   {len(self._clips)} clips, {len(self.config.seeds)} seeds",
            ]
        lines.append(f"validation UAR  {self.mean_validation_uar:.3f}   mean over folds and seeds")
        if self.std_over_seeds is not None:
            lines.append(f"over seeds      {self.std_over_seeds:.3f}   standard deviation")
        if self.config.adapt_clips:
            clips = f"{self.config.adapt_clips} clips of each test speaker without their labels"
            lines.append(f"Adapted to {clips}, which are scored too.")
        if self.is_optimistic:
            lines.append(f"The score is {OPTIMISTIC}.")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the folds and the figures made from them for Jupyter."""
        columns = ("seed", "fold", "test speakers", "clips", "UAR", "accuracy", "validation UAR")
        return table_html(columns, map(_cells, self.rows), str(self))


def _cells(row: FoldRow) -> tuple[Any, ...]:
    """Return a line of the table for Jupyter, with dashes if the test set was not scored."""
    scores = ("-" if value is None else value for value in (row.uar, row.accuracy, row.validation_uar))
    return row.seed, row.fold, ", ".join(row.speakers) or "unknown", row.num_clips, *scores


def _pool(reports: Sequence[Report]) -> Report:
    """Concatenate the predictions of several reports."""
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
    """Return the known speakers of a subset, sorted."""
    return tuple(sorted({each.speaker_id for each in utterances if each.speaker_id}))


def table_line(row: FoldRow) -> str:
    """Return one fold as a line, with dashes if the test set was not scored."""
    uar, accuracy = ("-" if value is None else f"{value:.3f}" for value in (row.uar, row.accuracy))
    speakers = ", ".join(row.speakers) or "unknown"
    if len(speakers) > _SPEAKERS_WIDTH:
        speakers = f"{speakers[: _SPEAKERS_WIDTH - 3]}..."
    return (
        f"{row.seed:>4}  {row.fold:>4}  {speakers:<{_SPEAKERS_WIDTH}}  {row.num_clips:>5}  {uar:>5}  {accuracy:>8}  "
        f"{row.validation_uar:>7.3f}  {row.epochs:>6}  {row.seconds:>7.1f}"
    )
