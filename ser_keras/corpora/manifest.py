"""Labels that are written in a file: a CSV or JSONL manifest, a table with one utterance a row.

`path` (relative to the manifest's folder) and `emotion` are needed; `speaker`, `split`, `start_seconds`,
`end_seconds`, `text`, `gender` and `corpus` may be given. Several rows may cut segments out of one file. A path
that no file has is looked for in other spellings too: with `/` in place of the separators of Windows, and in
Unicode's other form, because file systems write names in either.

A manifest that came with a corpus was written by somebody else: it must not make a run read files that
its folder does not show, so that a path that leads out of the folder is refused unless it is allowed. Links
in the folder are followed wherever they lead. They are how many people lay out their disks, whoever could
put one there could as well have put the file there, and a manifest cannot make one.
"""

import csv
import io
import json
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ser_keras.corpora.audiofolder import standard_columns
from ser_keras.errors import InputError
from ser_keras.labels import canonical_emotion
from ser_keras.spelling import is_missing, tidy
from ser_keras.terminal import UNPRINTABLE

REQUIRED_COLUMNS = ("path", "emotion")
OPTIONAL_COLUMNS = ("speaker", "split", "start_seconds", "end_seconds", "text", "gender", "corpus")
SPLITS = ("train", "val", "test")

_IsFile = Callable[[Path], bool]
_MANIFESTS = ("manifest.csv", "manifest.jsonl")
_WINDOWS_ROOT = re.compile(r"[A-Za-z]:[\\/]|\\")
_GENDERS = {"": None, "male": "male", "m": "male", "female": "female", "f": "female"}


def read_manifest(path: str | Path, *, allow_outside: bool = False) -> list[dict[str, Any]]:
    r"""Read and check a manifest; every fault is found before any audio is touched.

    Args:
        path: A `.csv` or `.jsonl` file in UTF-8, with or without a byte order mark.
        allow_outside: Whether its paths may lead out of its folder.

    Returns:
        For each row the keyword arguments of an `Utterance`, in the file's order.

    Raises:
        InputError: A column, a value or an audio file is missing or wrong; the message names the
            manifest, the line and the value.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.wav").write_bytes(b"")
        >>> _ = (folder / "manifest.csv").write_text("path,emotion,speaker\na.wav,Anger,anna\n")
        >>> row, = read_manifest(folder / "manifest.csv")
        >>> row["emotion"], row["speaker"], row["split"]
        ('angry', 'anna', None)
    """
    path = Path(path)
    read_rows = _json_rows if path.suffix.lower() == ".jsonl" else _csv_rows
    is_file = cache(os.path.isfile)  # of any length of name; many rows can be about one file
    rows = [(line, _check_row(row, path, line, is_file, allow_outside=allow_outside)) for line, row in read_rows(path)]
    if not rows:
        raise InputError(f"{path}: no rows; expected one utterance a line ({', '.join(REQUIRED_COLUMNS)})")
    _check_files(path, rows, is_file)
    return [row for _, row in rows]


def find_manifest(root: Path, name: str | None) -> Path | None:
    """Return the manifest that a path is or that a folder holds; None where the corpus is read without one."""
    if root.is_file():
        if name in (None, "manifest") and root.suffix.lower() in (".csv", ".jsonl"):
            return root
        raise InputError(f"{root}: a file; expected a folder of audio files, or a manifest (.csv or .jsonl)")
    found = sorted(each for each in root.iterdir() if each.name.lower() in _MANIFESTS and each.is_file())
    if name in (None, "manifest") and len(found) > 1:
        raise InputError(
            f"{root}: two manifests, {' and '.join(each.name for each in found)}; give the path of the right one"
        )
    return found[0] if found and name in (None, "manifest") else None


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(_read_text(path), newline=""), strict=True)
    try:
        reader.fieldnames = standard_columns(reader.fieldnames or [])
        _check_columns(path, reader.fieldnames)
        for row in reader:
            yield reader.line_num, _tidy(row, path, reader.line_num)
    except csv.Error as error:
        line = reader.line_num + 1  # of the last good row, so the next one is at fault
        raise InputError(f"{path}, line {line}: not readable as CSV ({error}); quote it properly") from error


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if line.strip():
            row = _json_object(path, number, line)
            yield number, _tidy(dict(zip(standard_columns(list(row)), row.values(), strict=True)), path, number)


def _read_text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        value = data.splitlines()[line - 1][:40]
        raise InputError(f"{path}, line {line}: {value!r} is not UTF-8; save the file as UTF-8") from error


def _check_columns(path: Path, names: Iterable[str]) -> None:
    columns = [_column(name) for name in names]
    _refuse_repeated(columns, f"{path}, line 1")
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing:
        raise InputError(
            f"{path}, line 1: no column {' and no column '.join(missing)}, found {', '.join(columns)};"
            f" the first line must name the columns, separated by commas: {', '.join(REQUIRED_COLUMNS)}"
            f" and, where known, {', '.join(OPTIONAL_COLUMNS)}"
        )


def _column(name: str) -> str:
    return tidy(name).lower()


def _refuse_repeated(columns: Iterable[str], where: str) -> None:
    """Refuse a column that is read and that occurs twice: one of the two would be taken without a word."""
    counts = Counter(columns)
    for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS):
        if counts[name] > 1:
            raise InputError(f"{where}: column {name} occurs {counts[name]} times; keep the right one")


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _refuse_repeated((_column(name) for name, _ in pairs), f"{path}, line {number}")
        return dict(pairs)

    try:
        row = json.loads(line, object_pairs_hook=unique)
    except InputError:
        raise
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise InputError(
            f'{path}, line {number}: {line.strip()[:40]!r} is not a JSON object; expected {{"path": ...,'
            ' "emotion": ...}'
        )
    return row


def _tidy(row: dict[str, Any], path: Path, line: int) -> dict[str, str]:
    if None in row:
        raise InputError(f"{path}, line {line}: more values than columns: {row[None]}; quote values with commas")
    values = {_column(name): "" if value is None else str(value).strip() for name, value in row.items()}
    as_given = {name: values.pop(name, "") for name in ("path", "speaker")}  # a file may be called anything
    texts = {name: tidy(value) for name, value in values.items()}
    for name, text in {**texts, "speaker": tidy(as_given["speaker"])}.items():
        if UNPRINTABLE.search(text):
            raise InputError(f"{path}, line {line}: {name} {text[:40]!r} has characters that are no text; remove them")
    return as_given | texts


def _check_row(row: dict[str, str], path: Path, line: int, is_file: _IsFile, *, allow_outside: bool) -> dict[str, Any]:
    where = f"{path}, line {line}"
    for name in REQUIRED_COLUMNS:
        if not row.get(name):
            raise InputError(f"{where}: {name} is empty {row.get(name, '')!r}; give each row its {name}")
    _refuse_missing(row, where)
    start, end = (_seconds(row, name, where) for name in ("start_seconds", "end_seconds"))
    _check_segment(start, end, where)
    return {
        "path": _find_file(row["path"], path.parent, where, is_file, allow_outside=allow_outside),
        "emotion": canonical_emotion(row["emotion"]),
        "speaker": row["speaker"] if tidy(row["speaker"]) else None,  # `reconcile` tidies it, and reports what it joins
        "corpus": row.get("corpus", "").lower() or "manifest",
        "text": row.get("text") or None,
        "gender": _one_of(row, "gender", _GENDERS, where),
        "split": _one_of(row, "split", {"": None, **{name: name for name in SPLITS}}, where),
        "start_seconds": start,
        "end_seconds": end,
    }


def _refuse_missing(row: dict[str, str], where: str) -> None:
    """Refuse what programs write for a missing value: as a name it would join all whose name is not known."""
    remedies = {"emotion": "remove the row", "speaker": "leave it empty", "corpus": "leave it empty"}
    for name, remedy in remedies.items():
        if is_missing(row.get(name, "")):
            raise InputError(
                f"{where}: {name} is {row[name]!r}, which programs write for a missing value; {remedy} where it is not "
                "known, or give another name"
            )


def _find_file(name: str, folder: Path, where: str, is_file: _IsFile, *, allow_outside: bool) -> Path:
    """Return the path of the first spelling of a name that a file has; of the name as it is where none has."""
    for spelling in _spellings(name):
        if is_file(path := _audio_path(spelling, folder, where, allow_outside=allow_outside)):
            return path
    return _audio_path(name, folder, where, allow_outside=allow_outside)


def _spellings(name: str) -> Iterator[str]:
    for text in (name, name if _WINDOWS_ROOT.match(name) else name.replace("\\", "/")):
        yield text
        for form in ("NFC", "NFD"):
            yield unicodedata.normalize(form, text)


def _audio_path(name: str, folder: Path, where: str, *, allow_outside: bool) -> Path:
    """Return the path as the name spells it: no link is looked at."""
    path, root = Path(os.path.normpath(name)), folder.absolute()
    is_inside = path.is_relative_to(root) if path.is_absolute() else ".." not in path.parts
    if not (is_inside or allow_outside):
        raise InputError(
            f"{where}: {path} lies outside {root}; move the file or the manifest, or allow it with `allow_outside=True`"
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


def _check_segment(start: float | None, end: float | None, where: str) -> None:
    if end is not None and (start or 0.0) >= end:
        raise InputError(
            f"{where}: start_seconds {start or 0.0:g} is not before end_seconds {end:g}; correct the segment"
        )


def _one_of(row: dict[str, str], name: str, allowed: dict[str, str | None], where: str) -> str | None:
    value = row.get(name, "")
    if value.lower() not in allowed:
        names = ", ".join(sorted({known for known in allowed.values() if known}))
        raise InputError(f"{where}: {name} {value!r} is unknown; expected {names}, or nothing")
    return allowed[value.lower()]


def _check_files(path: Path, rows: list[tuple[int, dict[str, Any]]], is_file: _IsFile) -> None:
    missing = [(line, row["path"]) for line, row in rows if not is_file(row["path"])]
    if missing:
        names = [f"{audio} (line {line})" for line, audio in missing[:3]] + ["..."] * (len(missing) > 3)
        raise InputError(
            f"{path}: {len(missing)} of {len(rows)} audio files are missing: {', '.join(names)}; paths are relative to "
            f"{path.parent}{_about_windows([audio for _, audio in missing], path.parent)}"
        )


def _about_windows(missing: list[Path], folder: Path) -> str:
    """Say what is special about paths that were written on Windows, where this is another system."""
    names = [str(audio.relative_to(folder)) for audio in missing if audio.is_relative_to(folder)]
    if os.sep == "\\":
        return ""
    if any(map(_WINDOWS_ROOT.match, names)):
        return "; paths that begin with a drive of Windows lead nowhere here: make them relative, such as wav/x.wav"
    if any("\\" in name for name in names):
        return "; their separators are those of Windows (\\), and / does not lead to a file either: correct the folders"
    return ""
