"""The directory of a cross-validation: what is done stays done, also after a stop at any moment.

`config.json` and `folds.csv` say what was begun, and a file for each fold and seed what is finished. Each
is written whole or not at all, and what a file does not say has not happened: to go on is to read.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ser_keras.crossval.results import FoldResult, FoldRow
from ser_keras.errors import InputError
from ser_keras.evaluation import Report
from ser_keras.files import write_csv, write_json
from ser_keras.recordings import Recordings
from ser_keras.splits import Split
from ser_keras.stored import refuse_changes

_FOLD_COLUMNS = ("path", "start_seconds", "end_seconds", "emotion", "speaker", "fold", "fingerprint")


class Journal:
    """Reads and writes the directory of one cross-validation.

    Args:
        directory: it exists.
        settings: what `config.json` holds, or is going to hold.

    Raises:
        InputError: the directory was begun with other settings, or holds something else.
    """

    def __init__(self, directory: Path, settings: Mapping[str, Any]):
        self._directory, self._settings = directory, settings
        path = directory / "config.json"
        if path.is_file():
            refuse_changes(path, _read_json(path), json.loads(json.dumps(settings)))
        elif any(each for each in directory.iterdir() if not each.name.startswith(".")):
            raise InputError(f"{directory}: holds no cross-validation that could be resumed; give another --output-dir")

    def begin(self, recordings: Recordings, splits: Sequence[Split]) -> None:
        """Write the settings, and which recording is tested in which fold; or compare that with what is there.

        Raises:
            InputError: the recordings or the folds have changed.
        """
        path, rows = self._directory / "folds.csv", list(_fold_rows(recordings, splits))
        if not path.exists():
            write_json(self._directory / "config.json", self._settings)
            write_csv(path, _FOLD_COLUMNS, rows)
        elif difference := _first_difference(_read_table(path), _as_text(rows)):
            raise InputError(
                f"{path}: the recordings or their folds have changed since the run was begun, first {difference}; "
                "bring them back, or give another --output-dir"
            )

    def load(self, seed: int, fold: int, split: Split) -> FoldResult | None:
        """Return a finished fold, or None where it is not finished."""
        path = self._path(seed, fold)
        if not path.is_file():
            return None
        content = _read_json(path)
        try:
            row = {name: tuple(v) if isinstance(v, list) else v for name, v in content["row"].items()}
            return FoldResult(FoldRow(**row), split.test, _report(content["predictions"], split))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: is damaged ({error!r}); remove it, and the fold is trained again") from error

    def save(self, result: FoldResult) -> None:
        """Write a finished fold."""
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

    def _path(self, seed: int, fold: int) -> Path:
        return self._directory / "folds" / f"seed_{seed}_fold_{fold:02d}.json"


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


def _as_text(rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    return [["" if value is None else str(value) for value in row] for row in rows]


def _first_difference(begun: list[list[str]], now: list[list[str]]) -> str:
    for old, new in zip(begun, now, strict=False):
        if old != new:
            return f"{old[0]}" if old[0] == new[0] else f"{old[0]}, where {new[0]} is now"
    return "" if len(begun) == len(now) else f"{len(begun)} clips, where {len(now)} are now"


def _read_table(path: Path) -> list[list[str]]:
    text = path.read_bytes().decode(errors="surrogateescape")
    return list(csv.reader(io.StringIO(text, newline="")))[1:]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes().decode(errors="surrogateescape"))
    except ValueError as error:
        raise InputError(f"{path}: is damaged ({error}); remove it, or give another --output-dir") from error
