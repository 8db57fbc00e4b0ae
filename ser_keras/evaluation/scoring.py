"""score_corpus: the score of a trained model on a corpus that it was not trained on.

The labels of two corpora are seldom the same. Clips whose label the model does not know are counted and not scored.
The others are scored by the model's predictions among all its emotions, as a served model makes them; an emotion that
the corpus lacks is a mistake. A second score chooses among the shared emotions alone:
p(emotion | one of the shared ones) = p(emotion) / Σ p(shared).
"""

import csv
import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ser_keras.config import DataConfig
from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.evaluation import evaluate_model
from ser_keras.evaluation.report import Report, prediction_columns, prediction_rows
from ser_keras.files import read_csv, write_csv, write_json
from ser_keras.labels import order_emotions
from ser_keras.model import ParallelModel
from ser_keras.pipeline.clips import fingerprint
from ser_keras.pipeline.recordings import Recordings, load_recordings
from ser_keras.preprocessing import clip_batches, read_recordings


@dataclass(frozen=True, eq=False)
class CorpusScore:
    """The score of a model on a corpus; print it to read it.

    Attributes:
        report: on the clips whose label the model knows; its emotions are the model's.
        utterances: those clips, in the report's order.
        unknown_labels: for each label that the model does not know, its number of clips.
        seen_in_training: how many of the clips the model's run had (see `seen_in_training`); None where that is not
            known.
        adapted_to: the recordings that the model was adapted to, and how many of the clips are among them (see
            `adapted_to`); None where it was not adapted.
    """

    report: Report
    utterances: tuple[Utterance, ...]
    unknown_labels: dict[str, int]
    seen_in_training: dict[str, Any] | None = None
    adapted_to: dict[str, Any] | None = None

    @cached_property
    def shared(self) -> tuple[str, ...]:
        """The emotions that model and corpus have, in the model's order."""
        present = {each.emotion for each in self.utterances}
        return tuple(emotion for emotion in self.report.emotions if emotion in present)

    @property
    def absent(self) -> tuple[str, ...]:
        """The model's emotions that no clip is labelled with."""
        return tuple(emotion for emotion in self.report.emotions if emotion not in self.shared)

    @cached_property
    def among_shared(self) -> Report:
        """The report where the choice is among the shared emotions, whose probabilities then sum to 1."""
        columns = [self.report.emotions.index(emotion) for emotion in self.shared]
        probabilities = self.report.probabilities[:, columns]
        labels = np.searchsorted(columns, self.report.labels)
        total = np.maximum(probabilities.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return Report(self.shared, labels, probabilities / total, self.report.speakers)

    def to_dict(self) -> dict[str, Any]:
        """Return every figure as plain values for JSON."""
        return {
            **self.report.to_dict(),
            "shared_emotions": list(self.shared),
            "absent_emotions": list(self.absent),
            "unknown_labels": self.unknown_labels,
            "seen_in_training": self.seen_in_training,
            "adapted_to": self.adapted_to,
            "among_shared": {
                "unweighted_average_recall": self.among_shared.unweighted_average_recall,
                "interval_95": self.among_shared.interval and list(self.among_shared.interval),
                "interval_note": self.among_shared.interval_note,
                "accuracy": self.among_shared.accuracy,
            },
        }

    def save(self, directory: str | Path) -> None:
        """Write `metrics.json`, `predictions.csv`, `confusion_matrix.png` and `report.html`."""
        directory = Path(directory)
        rows = prediction_rows(self.report, self.utterances)
        write_csv(directory / "predictions.csv", prediction_columns(self.report.emotions), rows)
        self.report.draw(directory / "confusion_matrix.png")
        self.report.save_html(directory / "report.html")
        write_json(directory / "metrics.json", self.to_dict())

    def __str__(self) -> str:
        return "\n".join([*self._label_lines(), str(self.report), *self._shared_lines()])

    def _label_lines(self) -> list[str]:
        """Return the labels that only the model or only the corpus has."""
        lines = [
            f"{label}: unknown to the model, {number} clips not scored" for label, number in self.unknown_labels.items()
        ]
        lines += [f"{emotion}: no clip has this label; its prediction counts as a mistake" for emotion in self.absent]
        return [*lines, ""] if lines else []

    def _shared_lines(self) -> list[str]:
        if not self.absent:
            return []
        uar, accuracy = self.among_shared.unweighted_average_recall, self.among_shared.accuracy
        return ["", f"Choosing among the {len(self.shared)} shared emotions: UAR {uar:.3f}, accuracy {accuracy:.3f}"]


def score_corpus(
    model: ParallelModel,
    dataset_path: str | Path | Sequence[str | Path],
    *,
    run: str | Path | None = None,
    config: DataConfig | None = None,
    evaluate: Callable[..., Report] | None = None,
) -> CorpusScore:
    """Score a trained model on a corpus.

    Args:
        model: trained model that knows its emotions.
        dataset_path: as `preprocess_data` takes it.
        run: directory of the model's training, whose ``split.csv`` lists its clips.
        config: how to read the corpus; its split is not used.
        evaluate: function from recordings and utterances to a report, in place of `evaluate_model`; such as
            ``partial(evaluate_by_speaker, model)`` of `ser_keras.adaptation`.

    Returns:
        The score, and which clips could not be scored.

    Raises:
        InputError: model and corpus share fewer than two emotions, or the corpus cannot be read.

    Example:
        ```python
        print(score_corpus(load_model("runs/ravdess"), "path/to/emodb", run="runs/ravdess"))
        ```
    """
    emotions = model.known_emotions()
    config = config or DataConfig()
    check = partial(_check_shared, model, dataset_path)
    recordings = read_recordings(dataset_path, config=config, audio=model.audio, check=check)
    known = tuple(each for each in recordings.utterances if each.emotion in emotions)
    check(recordings.utterances)
    unknown = Counter(each.emotion for each in recordings.utterances if each.emotion not in model.emotions)
    seen = seen_in_training(run, recordings, known)
    adapted = adapted_to(model, recordings, known)
    if evaluate is None:
        report = evaluate_model(model, clip_batches(recordings, known, model.emotions, batch_size=config.batch_size))
    else:
        report = evaluate(recordings, known)
    report = dataclasses.replace(report, caveats=(*report.caveats, *_caveats(len(known), seen, adapted)))
    return CorpusScore(report, known, {label: unknown[label] for label in order_emotions(unknown)}, seen, adapted)


def _check_shared(model: ParallelModel, dataset_path: Any, utterances: Sequence[Utterance]) -> None:
    found = order_emotions(each.emotion for each in utterances)
    shared = [emotion for emotion in found if emotion in model.emotions]
    if len(shared) < 2:
        raise InputError(
            f"{dataset_path}: its labels are {', '.join(found)}, the model's {', '.join(model.emotions)}; "
            f"{len(shared)} shared, at least 2 are needed for a score"
        )


def seen_in_training(
    run: str | Path | None, recordings: Recordings, utterances: Sequence[Utterance]
) -> dict[str, Any] | None:
    """Count the clips that a run had, by equal samples, whatever the names of files and speakers.

    A recording that was cut or encoded in another way is not recognised.

    Args:
        run: its directory.
        recordings: decoded audio of at least `utterances`, at the rate of the run.
        utterances: of another corpus, or of the same.

    Returns:
        ``train``, ``val`` and ``test``: how many of the clips are in these sets of the run; ``num_clips``: how many
        are in the first two, which determined its weights; ``speakers``: of those. None where there is no
        ``split.csv``.

    Raises:
        InputError: ``split.csv`` is damaged.
    """
    path = Path(run or "", "split.csv")
    if run is None or not path.is_file():
        return None
    try:
        rows = [(row["fingerprint"], row["subset"]) for row in read_csv(path)]
    except (KeyError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: is damaged ({error!r}); expected what `ser-keras train` wrote") from error
    subset_of = {key: subset for each in ("test", "val", "train") for key, subset in rows if subset == each}
    found = [(subset_of.get(recordings.fingerprints[each]), each.speaker_id) for each in utterances]
    counts = Counter(subset for subset, _ in found)
    return {
        "num_clips": counts["train"] + counts["val"],
        **{subset: counts[subset] for subset in ("train", "val", "test")},
        "speakers": sorted({speaker for subset, speaker in found if subset in ("train", "val") and speaker}),
    }


def adapted_to(model: ParallelModel, recordings: Recordings, utterances: Sequence[Utterance]) -> dict[str, Any] | None:
    """Describe the recordings that a model was adapted to, and count the clips among them by equal samples.

    Args:
        model: of `adapt_normalization`, or another.
        recordings: decoded audio of at least `utterances`.
        utterances: the clips that are scored.

    Returns:
        ``num_recordings`` and their ``weight`` against the training data, ``fingerprint``, one hash of all of them,
        ``num_scored``: how many of the clips are among them or are parts of them, and ``transductive``: whether
        any is. None where the model was not adapted.
    """
    if model.adaptation is None:
        return None
    known = set(model.adaptation["fingerprints"])
    parts = [each for each in utterances if each.start_seconds is not None or each.end_seconds is not None]
    files = _fingerprints_of_files({each.path for each in parts}, recordings.sample_rate)
    num_scored = sum(recordings.fingerprints[each] in known or files.get(each.path) in known for each in utterances)
    return {
        "num_recordings": model.adaptation["num_recordings"],
        "weight": model.adaptation["weight"],
        "fingerprint": fingerprint("\n".join(sorted(known)).encode()),
        "num_scored": num_scored,
        "transductive": num_scored > 0,
    }


def _fingerprints_of_files(paths: Collection[Path], sample_rate: int) -> dict[Path, str]:
    if not paths:
        return {}
    loaded = load_recordings([Utterance(path, "", None, "") for path in paths], sample_rate=sample_rate)
    return {each.path: loaded.fingerprints[each] for each in loaded.utterances}


def _caveats(num_clips: int, seen: dict[str, Any] | None, adapted: dict[str, Any] | None) -> tuple[str, ...]:
    """Return the caveats of a score, a sentence each."""
    caveats = []
    if adapted is not None:
        among = f"{adapted['num_scored']} of the {num_clips} scored clips are among them"
        kind = "transductive" if adapted["transductive"] else "adapted"
        caveats.append(f"{kind}: the model was adapted to {adapted['num_recordings']} recordings, and {among}")
    if seen is None:
        caveats.append("it is not known which clips were in training: give the run directory, with its split.csv")
    elif seen["num_clips"]:
        names = ", ".join(seen["speakers"][:12]) + (", ..." if len(seen["speakers"]) > 12 else "")
        caveats.append(
            f"{seen['num_clips']} of the {num_clips} clips were in training (train {seen['train']}, val {seen['val']}"
            f"{'; speakers ' if names else ''}{names}), so the score can be better than on new speakers"
        )
    return tuple(caveats)
