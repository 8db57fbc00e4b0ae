"""Read a dataset by its manifest, by the file names of published corpora, or by its folders."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ser_keras.corpora.consistency import reconcile
from ser_keras.corpora.folders import read_folders
from ser_keras.corpora.layout import Layout, splits_by_folder
from ser_keras.corpora.listing import ARCHIVE_REASON, Listing, list_files, no_audio_message
from ser_keras.corpora.manifest import find_manifest, find_metadata, read_manifest
from ser_keras.corpora.naming import CORPORA, CORPORA_BY_NAME, squash
from ser_keras.corpora.published import Match, match_corpora, read_published
from ser_keras.corpora.utterance import CorpusScan, Utterance, join_scans
from ser_keras.errors import InputError
from ser_keras.labels import EMOTIONS

_logger = logging.getLogger(__name__)

_TABLE_ENDINGS = (".csv", ".tsv", ".jsonl", ".xls", ".xlsx")


def read_corpus(path: str | Path | Sequence[str | Path], corpus: str | None = None, **options: Any) -> list[Utterance]:
    """Return the utterances of `scan_corpus`; one logged warning counts the skipped files.

    Arguments and errors are those of `scan_corpus`.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("03a01Fa.wav", "08b02Wb.wav"):
        ...     (folder / name).touch()
        >>> [(u.emotion, u.speaker_id, u.gender, u.text) for u in read_corpus(folder)]
        [('happy', 'emodb/03', 'male', 'a01'), ('angry', 'emodb/08', 'female', 'b02')]
    """
    scan = scan_corpus(path, corpus, **options)
    if scan.skipped:
        first = "; ".join(f"{file} ({reason})" for file, reason in scan.skipped[:3])
        _logger.warning("%s: %d files skipped, first: %s", path, len(scan.skipped), first)
    return list(scan.utterances)


def scan_corpus(
    path: str | Path | Sequence[str | Path],
    corpus: str | None = None,
    *,
    layout: str | None = None,
    allow_outside: bool = False,
) -> CorpusScan:
    """Read the labels of a folder, a manifest, or several of them; audio is not opened.

    A `manifest.csv`, a `manifest.jsonl` or the `metadata.csv` of Hugging Face's audiofolder is read where there is
    one. Otherwise published corpora are recognised by their file names, also side by side in subfolders; otherwise
    the names of folders give the emotion, the speaker and the split. One logged line describes the result.

    Args:
        path: A folder or a manifest, or a list of such paths.
        corpus: Overrides the recognition: a name of `CORPORA`, "folders" or "manifest".
        layout: Meaning of the folders, such as "{speaker}/{emotion}/*" (see `Layout`); implies "folders".
        allow_outside: Whether a manifest may name files outside its folder.

    Returns:
        The utterances, and each skipped file with the reason.

    Raises:
        InputError: There is nothing usable, a label is unknown, a manifest is wrong, or it is not clear which
            folder is the emotion.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("03a01Fa.wav", "08b02Wb.wav", "applause.wav"):
        ...     (folder / name).touch()
        >>> [(file.name, reason) for file, reason in scan_corpus(folder).skipped]
        [('applause.wav', 'not named as EmoDB names its files, such as wav/03a01Fa.wav')]
    """
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    if not paths:
        raise InputError("an empty list of paths; expected at least one folder or manifest")
    name, layout = _corpus_name(corpus), None if layout is None else Layout(layout)
    if layout and name not in (None, "folders"):
        raise InputError(f"layout {layout.pattern!r} with corpus {corpus!r}: give one of them; a layout is for folders")
    roots = [Path(each).expanduser() for each in paths]
    name = "folders" if layout else name
    return reconcile(join_scans(_scan_path(root, name, layout, allow_outside=allow_outside) for root in roots))


def _corpus_name(corpus: str | None) -> str | None:
    if corpus is None:
        return None
    names = {squash(known.title): known.name for known in CORPORA}
    names |= {name: name for name in (*CORPORA_BY_NAME, "folders", "manifest")}
    if squash(corpus) not in names:
        raise InputError(
            f"corpus {corpus!r} is unknown; expected {', '.join(CORPORA_BY_NAME)}, folders or manifest,"
            " or nothing to have it recognised"
        )
    return names[squash(corpus)]


def _scan_path(root: Path, name: str | None, layout: Layout | None, *, allow_outside: bool) -> CorpusScan:
    if not root.exists():
        raise InputError(f"{root}: does not exist; expected a folder of audio files or a manifest")
    if manifest := find_manifest(root, name):
        return _scan_tables(root, [manifest], allow_outside=allow_outside)
    files = list_files(root)
    if name in (None, "manifest") and (tables := find_metadata(root, files.others)):
        return _scan_tables(root, tables, allow_outside=allow_outside)
    if name == "manifest":
        raise InputError(
            f"{root}: no manifest; expected manifest.csv or manifest.jsonl in it, metadata.csv, or its own path"
        )
    if not files.audio:
        raise InputError(no_audio_message(root, files))
    archives = CorpusScan((), tuple((root / file, ARCHIVE_REASON) for file in files.archives))
    return join_scans([_scan_files(root, files, name, layout), archives])


def _scan_tables(root: Path, tables: Sequence[Path], *, allow_outside: bool) -> CorpusScan:
    """Read a manifest, or the tables of an audiofolder, whose folders may be named after splits."""
    rows = [Utterance(**row) for table in tables for row in read_manifest(table, allow_outside=allow_outside)]
    if tables[0].stem == "metadata" and not any(each.split for each in rows):
        rows = _with_splits(rows, [Path(os.path.relpath(each.path, root)).as_posix() for each in rows])
    names = " and ".join(str(table.relative_to(root)) if table != root else table.name for table in tables)
    _logger.info("%s: %d recordings by %s", root, len(rows), names)
    return join_scans([CorpusScan(tuple(rows))])


def _scan_files(root: Path, files: Listing, name: str | None, layout: Layout | None) -> CorpusScan:
    if name in CORPORA_BY_NAME:
        matches = [Match(CORPORA_BY_NAME[name], files.audio, len(files.audio))]
    else:
        matches = [] if name == "folders" else match_corpora(root, files.audio)
    if not matches:
        scan, description = read_folders(root, files.audio, layout)
        if name is None:
            _refuse_names_beside_a_table(root, files, scan)
        _logger.info("%s: %d recordings by their folders; %s", root, len(scan.utterances), description)
        return scan
    scan = read_published(root, files.audio, files.others, matches, is_chosen=name is not None)
    paths = [each.path.relative_to(root).as_posix() for each in scan.utterances]
    scan = replace(scan, utterances=tuple(_with_splits(scan.utterances, paths)))
    counts = Counter(CORPORA_BY_NAME[each.corpus].title for each in scan.utterances)
    corpora = ", ".join(f"{number} recordings of {title}" for title, number in counts.items())
    how = "as chosen" if name else "recognised by their file names"
    how += ", split by their folders" if any(each.split for each in scan.utterances) else ""
    _logger.info("%s: %s, %s", root, corpora, how)
    return scan


def _with_splits(utterances: Sequence[Utterance], paths: Sequence[str]) -> list[Utterance]:
    """Return the utterances with the splits that their folders are named after, if they are."""
    return [replace(each, split=split) for each, split in zip(utterances, splits_by_folder(paths), strict=True)]


def _refuse_names_beside_a_table(root: Path, files: Listing, scan: CorpusScan) -> None:
    """Refuse folders as labels if none is a known emotion and a table may contain the labels."""
    tables = [file for file in files.others if file.lower().endswith(_TABLE_ENDINGS)]
    labels = {each.emotion for each in scan.utterances}
    if tables and not labels.intersection(EMOTIONS):
        raise InputError(
            f"{root}: no folder is named after an emotion (found {', '.join(sorted(labels)[:4])}), and {tables[0]} may "
            "hold the labels; make it a manifest.csv with the columns path and emotion, or choose `corpus='folders'` "
            "for the folders' names"
        )
