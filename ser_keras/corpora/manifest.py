"""Labels from a table: a CSV or JSONL manifest, or the metadata of Hugging Face's audiofolder.

The columns `path` (relative to the manifest's folder) and `emotion` are required; `speaker`, `split`,
`start_seconds`, `end_seconds`, `text`, `gender` and `corpus` are optional. Several rows may name segments of one
file. A path that does not exist is also tried with `/` in place of the separators of Windows, and in Unicode's
other form. An audiofolder calls its columns `file_name` and `label`:
https://huggingface.co/docs/datasets/audio_load

A manifest may come from somebody else, so a path that leads out of its folder is refused unless that is allowed.
Links in the folder are followed: who can put a link there could also put the file there.
"""

import csv
import io
import json
import logging
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ser_keras.errors import InputError
from ser_keras.labels import canonical_emotion
from ser_keras.spelling import is_missing, tidy
from ser_keras.terminal import UNPRINTABLE

_logger = logging.getLogger(__name__)

REQUIRED_COLUMNS = ("path", "emotion")
OPTIONAL_COLUMNS = ("speaker", "split", "start_seconds", "end_seconds", "text", "gender", "corpus")

_IsFile = Callable[[Path], bool]
_MANIFESTS = ("manifest.csv", "manifest.jsonl")
_METADATA = ("metadata.csv", "metadata.jsonl")
_METADATA_COLUMNS = {"file_name": "path", "label": "emotion", "speaker_id": "speaker"}
_WINDOWS_ROOT = re.compile(r"[A-Za-z]:[\\/]|\\")
_GENDERS = {"": None, "male": "male", "m": "male", "female": "female", "f": "female"}
_SPLITS = {"": None, "train": "train", "val": "val", "test": "test"}


def read_manifest(path: str | Path, *, allow_outside: bool = False) -> list[dict[str, Any]]:
    r"""Read and check a manifest; every error is found before any audio is opened.

    Args:
        path: A `.csv` or `.jsonl` file in UTF-8, with or without a byte order mark.
        allow_outside: Whether its paths may lead out of its folder.

    Returns:
        The keyword arguments of an `Utterance` for each row, in the file's order.

    Raises:
        InputError: A column, a value or an audio file is missing or wrong; the message names the
            manifest, the line and the value.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> (folder / "a.wav").touch()
        >>> _ = (folder / "manifest.csv").write_text("path,emotion,speaker\na.wav,Anger,anna\n")
        >>> row, = read_manifest(folder / "manifest.csv")
        >>> row["emotion"], row["speaker"], row["split"]
        ('angry', 'anna', None)
    """
    path = Path(path)
    read_rows = _json_rows if path.suffix.lower() == ".jsonl" else _csv_rows
    is_file = cache(os.path.isfile)  # accepts names of any length; many rows can name one file
    rows = [(line, _check_row(row, path, line, is_file, allow_outside=allow_outside)) for line, row in read_rows(path)]
    if not rows:
        raise InputError(f"{path}: no rows; expected one utterance a line ({', '.join(REQUIRED_COLUMNS)})")
    _check_files(path, rows, is_file)
    return [row for _, row in rows]


def find_manifest(root: Path, name: str | None) -> Path | None:
    """Return the manifest at a path or in a folder; None if the corpus is read without one.

    Raises:
        InputError: The path is another file, or the folder has two manifests.
    """
    is_wanted = name in (None, "manifest")
    if root.is_file():
        if is_wanted and root.suffix.lower() in (".csv", ".jsonl"):
            return root
        raise InputError(f"{root}: a file; expected a folder of audio files, or a manifest (.csv or .jsonl)")
    found = sorted(each for each in root.iterdir() if each.name.lower() in _MANIFESTS and each.is_file())
    if is_wanted and len(found) > 1:
        raise InputError(
            f"{root}: two manifests, {' and '.join(each.name for each in found)}; give the path of the right one"
        )
    return found[0] if found and is_wanted else None


def find_metadata(root: Path, others: list[str]) -> list[Path]:
    """Return the tables of an audiofolder that contain labels, among the files below a folder.

    Raises:
        InputError: A table has other separators than commas.
    """
    found = []
    for file in (root / other for other in others if other.rpartition("/")[2].lower() in _METADATA):
        columns = _standard_columns(_first_columns(file))
        if {"path", "emotion"} <= set(columns):
            found.append(file)
        elif "path" in columns:
            _logger.warning("%s: skipped, since it has no column label", file)
        elif len(columns) == 1 and "file_name" in columns[0].lower():
            raise InputError(
                f"{file}: its first line does not name columns separated by commas; expected file_name and label; save "
                "it as CSV with commas, or choose `corpus='folders'` for the labels of the folders"
            )
    return found


def _first_columns(path: Path) -> list[str]:
    """Return the columns named in the first line; none if the file is no such table."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline()
    try:
        return list(json.loads(first).keys() if path.suffix.lower() == ".jsonl" else next(csv.reader([first]), []))
    except (ValueError, AttributeError, RecursionError, csv.Error):
        return []


def _standard_columns(names: Sequence[str]) -> list[str]:
    """Return an audiofolder's columns under a manifest's names; other columns stay as they are.

    Example:
        >>> _standard_columns(["file_name", "label", "text"]), _standard_columns(["path", "label"])
        (['path', 'emotion', 'text'], ['path', 'label'])
    """
    known = [name.strip().lower() for name in names]
    if "file_name" not in known:
        return list(names)
    ours = {name: ours for name, ours in _METADATA_COLUMNS.items() if ours not in known}
    return [ours.get(name, given) for name, given in zip(known, names, strict=True)]


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(_read_text(path), newline=""), strict=True)
    try:
        reader.fieldnames = _standard_columns(reader.fieldnames or [])
        _check_columns(path, reader.fieldnames)
        for row in reader:
            yield reader.line_num, _tidy_row(row, f"{path}, line {reader.line_num}")
    except csv.Error as error:
        line = reader.line_num + 1  # `line_num` is that of the last good row
        raise InputError(f"{path}, line {line}: not readable as CSV ({error}); quote it properly") from error


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if line.strip():
            where = f"{path}, line {number}"
            row = _json_object(line, where)
            yield number, _tidy_row(dict(zip(_standard_columns(list(row)), row.values(), strict=True)), where)


def _read_text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        value = data.splitlines()[line - 1][:40]
        raise InputError(f"{path}, line {line}: {value!r} is not UTF-8; save the file as UTF-8") from error


def _check_columns(path: Path, names: Iterable[str]) -> None:
    columns = list(map(_column, names))
    _refuse_repeated(columns, f"{path}, line 1")
    if missing := [name for name in REQUIRED_COLUMNS if name not in columns]:
        raise InputError(
            f"{path}, line 1: no column {' and no column '.join(missing)}, found {', '.join(columns)};"
            f" the first line must name the columns, separated by commas: {', '.join(REQUIRED_COLUMNS)}"
            f" and, where known, {', '.join(OPTIONAL_COLUMNS)}"
        )


def _column(name: str) -> str:
    return tidy(name).lower()


def _refuse_repeated(columns: Iterable[str], where: str) -> None:
    counts = Counter(columns)
    for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS):
        if counts[name] > 1:
            raise InputError(f"{where}: column {name} occurs {counts[name]} times; keep the right one")


def _json_object(line: str, where: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _refuse_repeated((_column(name) for name, _ in pairs), where)
        return dict(pairs)

    try:
        row = json.loads(line, object_pairs_hook=unique)
    except InputError:
        raise
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise InputError(
            f'{where}: {line.strip()[:40]!r} is not a JSON object; expected {{"path": ..., "emotion": ...}}'
        )
    return row


def _tidy_row(row: dict[str, Any], where: str) -> dict[str, str]:
    if None in row:
        raise InputError(f"{where}: more values than columns: {row[None]}; quote values with commas")
    values = {_column(name): "" if value is None else str(value).strip() for name, value in row.items()}
    as_given = {name: values.pop(name, "") for name in ("path", "speaker")}  # a file may have any name
    texts = {name: tidy(value) for name, value in values.items()}
    for name, text in {**texts, "speaker": tidy(as_given["speaker"])}.items():
        if UNPRINTABLE.search(text):
            raise InputError(f"{where}: {name} {text[:40]!r} has characters that are no text; remove them")
    return as_given | texts


def _check_row(row: dict[str, str], path: Path, line: int, is_file: _IsFile, *, allow_outside: bool) -> dict[str, Any]:
    where = f"{path}, line {line}"
    for name in REQUIRED_COLUMNS:
        if not row.get(name):
            raise InputError(f"{where}: {name} is empty {row.get(name, '')!r}; give each row its {name}")
    _refuse_missing(row, where)
    start, end = (_seconds(row, name, where) for name in ("start_seconds", "end_seconds"))
    if end is not None and (start or 0.0) >= end:
        raise InputError(
            f"{where}: start_seconds {start or 0.0:g} is not before end_seconds {end:g}; correct the segment"
        )
    return {
        "path": _find_file(row["path"], path.parent, where, is_file, allow_outside=allow_outside),
        "emotion": canonical_emotion(row["emotion"]),
        "speaker": row["speaker"] if tidy(row["speaker"]) else None,  # `reconcile` tidies it and reports joined ones
        "corpus": row.get("corpus", "").lower() or "manifest",
        "text": row.get("text") or None,
        "gender": _one_of(row, "gender", _GENDERS, where),
        "split": _one_of(row, "split", _SPLITS, where),
        "start_seconds": start,
        "end_seconds": end,
    }


def _refuse_missing(row: dict[str, str], where: str) -> None:
    """Refuse texts such as "nan": as a name they would join all clips whose value is unknown."""
    remedies = {"emotion": "remove the row", "speaker": "leave it empty", "corpus": "leave it empty"}
    for name, remedy in remedies.items():
        if is_missing(row.get(name, "")):
            raise InputError(
                f"{where}: {name} is {row[name]!r}, which programs write for a missing value; {remedy} where it is not "
                "known, or give another name"
            )


def _find_file(name: str, folder: Path, where: str, is_file: _IsFile, *, allow_outside: bool) -> Path:
    """Return the path of the first spelling that exists; of the name itself if none does."""
    for spelling in (*_spellings(name), name):
        path = _audio_path(spelling, folder, where, allow_outside=allow_outside)
        if is_file(path):
            break
    return path


def _spellings(name: str) -> Iterator[str]:
    for text in (name, name if _WINDOWS_ROOT.match(name) else name.replace("\\", "/")):
        yield text
        for form in ("NFC", "NFD"):
            yield unicodedata.normalize(form, text)


def _audio_path(name: str, folder: Path, where: str, *, allow_outside: bool) -> Path:
    path, root = Path(os.path.normpath(name)), folder.absolute()
    is_inside = path.is_relative_to(root) if path.is_absolute() else ".." not in path.parts
    if not (is_inside or allow_outside):
        raise InputError(
            f"{where}: {path} is outside {root}; move the file or the manifest, or allow it with `allow_outside=True`"
        )
    return folder / path


def _seconds(row: dict[str, str], name: str, where: str) -> float | None:
    value = row.get(name, "")
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise InputError(f"{where}: {name} is {value!r}; expected seconds from the file's start, such as 1.5")
    return seconds


def _one_of(row: dict[str, str], name: str, allowed: dict[str, str | None], where: str) -> str | None:
    value = row.get(name, "")
    if value.lower() not in allowed:
        names = ", ".join(sorted({known for known in allowed.values() if known}))
        raise InputError(f"{where}: {name} {value!r} is unknown; expected {names}, or nothing")
    return allowed[value.lower()]


def _check_files(path: Path, rows: list[tuple[int, dict[str, Any]]], is_file: _IsFile) -> None:
    if missing := [(line, row["path"]) for line, row in rows if not is_file(row["path"])]:
        names = [f"{audio} (line {line})" for line, audio in missing[:3]] + ["..."] * (len(missing) > 3)
        raise InputError(
            f"{path}: {len(missing)} of {len(rows)} audio files are missing: {', '.join(names)}; paths are relative to "
            f"{path.parent}{_windows_remedy([audio for _, audio in missing], path.parent)}"
        )


def _windows_remedy(missing: list[Path], folder: Path) -> str:
    """Return a remedy for paths that were written on Windows, on another system."""
    names = [str(audio.relative_to(folder)) for audio in missing if audio.is_relative_to(folder)]
    if os.sep == "\\":
        return ""
    if any(map(_WINDOWS_ROOT.match, names)):
        return "; paths with a drive of Windows do not exist here: make them relative, such as wav/x.wav"
    if any("\\" in name for name in names):
        return "; their separators are those of Windows (\\), and / does not lead to a file either: correct the folders"
    return ""
