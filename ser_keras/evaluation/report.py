"""Report of an evaluation: every score with its uncertainty."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from ser_keras.corpora import Utterance
from ser_keras.evaluation.html_report import report_cell, report_page
from ser_keras.files import whole_file, write_bytes, write_csv, write_json
from ser_keras.metrics import MIN_SPEAKERS, expected_calibration_error, speaker_interval, unweighted_average_recall
from ser_keras.model import ParallelModel
from ser_keras.plots import confusion_matrix_figure
from ser_keras.terminal import text_table


@dataclass(frozen=True, eq=False)
class Report:
    """Scores of a model on recordings that it was not trained on; print it to read them.

    Attributes:
        emotions: names of the classes.
        labels: true classes, int `(clips,)`.
        probabilities: predictions of the model, float32 `(clips, emotions)`.
        speakers: speaker of each clip; empty if unknown.
        utterances: recording of each clip; empty if unknown.
        caveats: sentences that are shown beside the score everywhere.

    Example:
        >>> report = Report(("happy", "sad"), np.array([0, 0, 1]), np.array([[.9, .1], [.2, .8], [.3, .7]]))
        >>> float(report.unweighted_average_recall)
        0.75
    """

    emotions: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    speakers: tuple[str, ...] = ()
    utterances: tuple[Utterance, ...] = ()
    caveats: tuple[str, ...] = ()

    @property
    def predictions(self) -> np.ndarray:
        """The most probable class of each clip, int `(clips,)`."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def confusion_matrix(self) -> np.ndarray:
        """Counts `(emotions, emotions)`, true emotions in rows."""
        return confusion_matrix(self.labels, self.predictions, labels=range(len(self.emotions)))

    @property
    def unweighted_average_recall(self) -> float:
        """Mean of the per-class recalls (UAR), over the classes that occur; 0 to 1."""
        return float(unweighted_average_recall(self.confusion_matrix))

    @property
    def accuracy(self) -> float:
        """Fraction of correct clips ("weighted accuracy" in SER papers); 0 to 1."""
        return float((self.predictions == self.labels).mean())

    @property
    def expected_calibration_error(self) -> float:
        """Mean difference between confidence and accuracy (ECE, 15 bins); 0 to 1, less is better."""
        return expected_calibration_error(self.labels, self.probabilities)

    @cached_property
    def classes(self) -> dict[str, dict[str, float]]:
        """For each emotion its `recall`, `precision`, `f1` and number of `clips`."""
        classes = range(len(self.emotions))
        scores = precision_recall_fscore_support(self.labels, self.predictions, labels=classes, zero_division=0)
        return {
            emotion: {"recall": float(r), "precision": float(p), "f1": float(f), "clips": int(n)}
            for emotion, p, r, f, n in zip(self.emotions, *scores, strict=True)
        }

    @cached_property
    def per_speaker(self) -> dict[str, dict[str, float]]:
        """For each speaker its `unweighted_average_recall` and number of `clips`."""
        return {
            speaker: {
                "unweighted_average_recall": float(unweighted_average_recall(counts)),
                "clips": int(counts.sum()),
            }
            for speaker, counts in self._speaker_matrices.items()
        }

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the UAR over speakers (`ser_keras.metrics.speaker_interval`); None if they are unknown.

        An interval over clips would be too narrow, since the clips of one speaker are not independent.
        """
        return speaker_interval(np.stack(list(self._speaker_matrices.values()))) if self.speakers else None

    @property
    def interval_note(self) -> str:
        """The interval in words, or why there is none."""
        number = len(set(self.speakers))
        if self.interval is not None:
            low, high = self.interval
            return f"95 % interval {low:.3f} to {high:.3f}, over {number} speakers"
        if not number:
            return "no interval: the speakers are unknown"
        if number < MIN_SPEAKERS:
            return f"no interval: {number} speaker{'s' if number > 1 else ''}, at least {MIN_SPEAKERS} are needed"
        return f"no interval: all {number} speakers have the same score"

    def to_dict(self) -> dict[str, Any]:
        """Return every figure as plain values for JSON."""
        return {
            "unweighted_average_recall": self.unweighted_average_recall,
            "interval_95": None if self.interval is None else list(self.interval),
            "interval_note": self.interval_note,
            "accuracy": self.accuracy,
            "caveats": list(self.caveats),
            "expected_calibration_error": self.expected_calibration_error,
            "num_clips": len(self.labels),
            "emotions": list(self.emotions),
            "classes": self.classes,
            "confusion_matrix": self.confusion_matrix.tolist(),
            "speakers": self.per_speaker,
        }

    def save(self, path: str | Path) -> None:
        """Write every figure as JSON."""
        write_json(path, self.to_dict())

    def draw(self, path: str | Path) -> None:
        """Write the confusion matrix as a picture; the ending of `path` names the format."""
        with whole_file(path) as part:
            confusion_matrix_figure(self.confusion_matrix, self.emotions).savefig(part, dpi=120)

    def save_predictions(self, path: str | Path) -> None:
        """Write the prediction of each clip as CSV; `ser_keras.files.read_csv` reads it.

        The columns are `path`, `start_seconds`, `end_seconds`, `speaker`, `label`, `predicted` and for each
        emotion `probability_EMOTION`; unknown values are empty.
        """
        write_csv(path, prediction_columns(self.emotions), prediction_rows(self, self.utterances))

    def save_html(
        self,
        path: str | Path,
        *,
        title: str | None = None,
        model: ParallelModel | None = None,
        history: Mapping[str, Sequence[float]] | None = None,
        about: Mapping[str, str] | None = None,
        num_mistakes: int = 6,
    ) -> None:
        """Write a page of scores, pictures and the most confident errors with their sound.

        It is one file that needs no network. It holds the sound of some recordings: mind their licence
        before you share it.

        Args:
            path: the HTML file to make or replace.
            title: of the page; None for one made from the model and the corpus.
            model: the evaluated model, to show its attention.
            history: the `history` of Keras's History, to show the training.
            about: more facts for the end of the page, by name.
            num_mistakes: number of most confident errors on the page; each takes about 0.4 MB.
        """
        page = report_page(self, title=title, model=model, history=history, about=about, num_mistakes=num_mistakes)
        write_bytes(path, page)

    def _repr_html_(self) -> str:
        """Return the scores and the confusion matrix for Jupyter."""
        return report_cell(self)

    def __str__(self) -> str:
        return report_text(self)

    @cached_property
    def _speaker_matrices(self) -> dict[str, np.ndarray]:
        speakers = np.array(self.speakers)
        classes = range(len(self.emotions))
        return {
            str(speaker): confusion_matrix(
                self.labels[speakers == speaker], self.predictions[speakers == speaker], labels=classes
            )
            for speaker in np.unique(speakers)
        }


def prediction_columns(emotions: Sequence[str]) -> tuple[str, ...]:
    """Return the header of a table of `prediction_rows`."""
    named = (f"probability_{emotion}" for emotion in emotions)
    return ("path", "start_seconds", "end_seconds", "speaker", "label", "predicted", *named)


def prediction_rows(report: Report, utterances: Sequence[Utterance]) -> Iterator[tuple[Any, ...]]:
    """Yield one row for each clip of a report, for `predictions.csv`.

    Args:
        report: the predictions.
        utterances: the clips, in the report's order; empty if unknown.
    """
    clips = zip_longest(utterances, report.speakers, report.labels, report.predictions, report.probabilities)
    for utterance, speaker, label, predicted, probabilities in clips:
        where = (getattr(utterance, name, None) for name in ("path", "start_seconds", "end_seconds"))
        speaker = speaker or getattr(utterance, "speaker_id", None)
        yield *where, speaker, report.emotions[label], report.emotions[predicted], *probabilities


def report_text(report: Report) -> str:
    """Return the scores, and tables of emotions, confusions and speakers, as text."""
    classes = [(emotion, *row.values()) for emotion, row in report.classes.items()]
    confusions = zip(report.emotions, *report.confusion_matrix.T, strict=True)
    speakers = [(speaker, *row.values()) for speaker, row in report.per_speaker.items()]
    sections = [
        "\n".join(
            [
                f"UAR       {report.unweighted_average_recall:.3f}   {report.interval_note}",
                f"accuracy  {report.accuracy:.3f}   {len(report.labels)} clips",
                f"ECE       {report.expected_calibration_error:.3f}   expected calibration error, 15 bins",
                *(f"caveat    {caveat}" for caveat in report.caveats),
            ]
        ),
        text_table(("emotion", "recall", "precision", "f1", "clips"), classes),
        text_table(("true \\ predicted", *report.emotions), confusions),
        *([text_table(("speaker", "UAR", "clips"), speakers)] if speakers else []),
    ]
    return "\n\n".join(sections)
