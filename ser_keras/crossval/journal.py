"""The directory of a cross-validation, from which a stopped one resumes.

`config.json` and `folds.csv` hold the settings and the folds, and one file for each seed and fold its result. Each file
is written whole or not at all. The fold in training has a hidden folder with its checkpoint. Seeds can be added later:
`config.json` is written again at the end.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ser_keras.crossval.results import FoldResult, FoldRow
from ser_keras.errors import InputError
from ser_keras.evaluation import Report
from ser_keras.files import write_json
from ser_keras.pipeline.recordings import Recordings
from ser_keras.runs import begin_table
from ser_keras.runs.reading import read_json, refuse_changes
from ser_keras.splits import Split

_FOLD_COLUMNS = ("path", "start_seconds", "end_seconds", "emotion", "speaker", "fold", "fingerprint")
_EXPECTED = "a directory of `ser-keras crossval`; give another `output_dir`"


class Journal:
    """Reads and writes the directory of one cross-validation.

    Args:
        directory: it exists.
        settings: the content of `config.json`.

    Raises:
        InputError: the directory was begun with other settings, or with seeds that are not among the present ones.
    """

    def __init__(self, directory: Path, settings: Mapping[str, Any]):
        self._directory, self._settings = directory, json.loads(json.dumps(settings))
        self._config = directory / "config.json"
        if self._config.is_file():
            begun = read_json(self._config, _EXPECTED)
            refuse_changes(self._config, _with_more_seeds(begun, self._settings), self._settings)

    def begin(self, recordings: Recordings, splits: Sequence[Split]) -> None:
        """Write the settings and the test fold of each recording, or compare them with the files of the first start.

        Raises:
            InputError: the recordings or the folds have changed.
        """
        if not self._config.exists():
            self.write_settings()
        begin_table(self._directory / "folds.csv", _FOLD_COLUMNS, _fold_rows(recordings, splits))

    def write_settings(self) -> None:
        """Write `config.json`; at the end again, with seeds that were added."""
        write_json(self._config, self._settings)

    def load(self, seed: int, fold: int, split: Split) -> FoldResult | None:
        """Return the result of a fold, or None if it is not complete."""
        path = self._path(seed, fold)
        if not path.is_file():
            return None
        shutil.rmtree(self.workplace(seed, fold), ignore_errors=True)  # of a run that was killed just then
        content = read_json(path, "one fold of this run; remove it, and the fold is trained again")
        try:
            row = {name: tuple(v) if isinstance(v, list) else v for name, v in content["row"].items()}
            return FoldResult(FoldRow(**row), split.test, _report(content["predictions"], split))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: is damaged ({error!r}); remove it, and the fold is trained again") from error

    def save(self, result: FoldResult) -> None:
        """Write the result of a fold."""
        report, predictions = result.report, None
        if report is not None:
            predictions = {
                "emotions": report.emotions,
                "labels": report.labels.tolist(),
                "probabilities": [[float(str(value)) for value in row] for row in report.probabilities],
            }
        path = self._path(result.row.seed, result.row.fold)
        path.parent.mkdir(exist_ok=True)
        write_json(path, {"row": asdict(result.row), "predictions": predictions})
        shutil.rmtree(self.workplace(result.row.seed, result.row.fold), ignore_errors=True)

    def workplace(self, seed: int, fold: int) -> Path:
        """Return the folder with the checkpoint of a fold in training."""
        return self._path(seed, fold).with_name(f".seed_{seed}_fold_{fold:02d}")

    def _path(self, seed: int, fold: int) -> Path:
        return self._directory / "folds" / f"seed_{seed}_fold_{fold:02d}.json"


def _with_more_seeds(begun: Mapping[str, Any], asked: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings that a run began with, with the present seeds if these include the first ones."""
    match begun.get("crossval"):
        case {"seeds": [*seeds]} as crossval if set(seeds) <= set(asked["crossval"]["seeds"]):
            return {**begun, "crossval": {**crossval, "seeds": asked["crossval"]["seeds"]}}
    return begun


def _report(predictions: dict[str, Any] | None, split: Split) -> Report | None:
    if predictions is None:
        return None
    speakers = tuple(each.speaker_id for each in split.test)
    return Report(
        tuple(predictions["emotions"]),
        np.array(predictions["labels"]),
        np.array(predictions["probabilities"], np.float32),
        speakers if all(speakers) else (),
        split.test,
    )


def _fold_rows(recordings: Recordings, splits: Sequence[Split]) -> Iterator[tuple[Any, ...]]:
    for fold, split in enumerate(splits, 1):
        for each in split.test:
            where = (each.path, each.start_seconds, each.end_seconds)
            yield *where, each.emotion, each.speaker_id, fold, recordings.fingerprints[each]
