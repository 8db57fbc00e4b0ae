"""Hugging Face's audiofolder: a table `metadata.csv` or `metadata.jsonl` beside the recordings, or one in each split.

Its columns are `file_name` and `label`: https://huggingface.co/docs/datasets/audio_load
"""

import csv
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from ser_keras.errors import InputError

_logger = logging.getLogger(__name__)

_TABLES = ("metadata.csv", "metadata.jsonl")
_OUR_NAMES = {"file_name": "path", "label": "emotion", "speaker_id": "speaker"}


def standard_columns(names: Sequence[str]) -> list[str]:
    """Return the columns of a table under our names, where they are those of an audiofolder; else as they are.

    Example:
        >>> standard_columns(["file_name", "label", "text"]), standard_columns(["path", "label"])
        (['path', 'emotion', 'text'], ['path', 'label'])
    """
    known = [name.strip().lower() for name in names]
    if "file_name" not in known:
        return list(names)
    ours = {name: ours for name, ours in _OUR_NAMES.items() if ours not in known}
    return [ours.get(name, given) for name, given in zip(known, names, strict=True)]


def find_metadata(root: Path, others: list[str]) -> list[Path]:
    """Return the tables of an audiofolder that label its recordings.

    Args:
        root: The dataset's folder.
        others: The files below it that are no recordings.

    Raises:
        InputError: A table of an audiofolder has other separators than commas.
    """
    found = []
    for file in others:
        if file.rpartition("/")[2].lower() not in _TABLES:
            continue
        columns = standard_columns(_columns(root / file))
        if {"path", "emotion"} <= set(columns):
            found.append(root / file)
        elif "path" in columns:
            _logger.warning("%s: not read, for it has no column label", root / file)
        elif len(columns) == 1 and "file_name" in columns[0].lower():
            raise InputError(
                f"{root / file}: its first line does not name columns separated by commas; expected file_name and "
                "label; save it as CSV with commas, or choose `corpus='folders'` for the labels of the folders"
            )
    return found


def _columns(path: Path) -> list[str]:
    """Return the columns that the first line names; none where it is no such table."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline()
    try:
        return list(json.loads(first).keys() if path.suffix.lower() == ".jsonl" else next(csv.reader([first]), []))
    except (ValueError, AttributeError, RecursionError, csv.Error):
        return []
