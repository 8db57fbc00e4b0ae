"""From a path to its utterances: by a manifest, by the names of published files, or by its folders."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from ser_keras.corpora.listing import ARCHIVE_REASON, Listing, group_by_folder, list_files, no_audio_message
from ser_keras.corpora.manifest import find_manifest, read_manifest
from ser_keras.corpora.naming import squash
from ser_keras.corpora.published import read_plan
from ser_keras.corpora.recognition import Guess, plan_corpora
from ser_keras.corpora.table import CORPORA, CORPORA_BY_NAME
from ser_keras.corpora.utterance import CorpusScan, Utterance, join_scans
from ser_keras.errors import InputError
from ser_keras.labels import EMOTIONS, canonical_emotion

_logger = logging.getLogger(__name__)


def read_corpus(
    path: str | Path | Sequence[str | Path], corpus: str | None = None, *, allow_outside: bool = False
) -> list[Utterance]:
    """List the utterances of a folder, a manifest, or several of them.

    A `manifest.csv` or `manifest.jsonl` in the folder is read where there is one. Else published corpora
    are recognised by their file names, also side by side in subfolders; else the immediate subfolders'
    names are the emotions. Audio files that fit nowhere, and second copies of a published file, are
    counted in one logged warning; `scan_corpus` lists them.

    Args:
        path: A folder or a manifest, or a list of such paths.
        corpus: Overrules the recognition: a name of `CORPORA`, "folders" or "manifest".
        allow_outside: Whether a manifest's paths may lead out of its folder.

    Returns:
        The utterances, sorted by path.

    Raises:
        InputError: Nothing usable is there, a label is unknown, or a manifest is wrong.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("03a01Fa.wav", "08b02Wb.wav"):
        ...     (folder / name).touch()
        >>> [(u.emotion, u.speaker_id, u.gender, u.text) for u in read_corpus(folder)]
        [('happy', 'emodb/03', 'male', 'a01'), ('angry', 'emodb/08', 'female', 'b02')]
    """
    scan = scan_corpus(path, corpus, allow_outside=allow_outside)
    if scan.left_out:
        first = "; ".join(f"{file} ({reason})" for file, reason in scan.left_out[:3])
        _logger.warning("%s: %d audio files left out, first: %s", path, len(scan.left_out), first)
    return list(scan.utterances)


def scan_corpus(
    path: str | Path | Sequence[str | Path], corpus: str | None = None, *, allow_outside: bool = False
) -> CorpusScan:
    """Do what `read_corpus` does, and list the audio files that were left out.

    Args:
        path: A folder or a manifest, or a list of such paths.
        corpus: Overrules the recognition: a name of `CORPORA`, "folders" or "manifest".
        allow_outside: Whether a manifest's paths may lead out of its folder.

    Returns:
        The utterances, and each audio file left out with the reason, both sorted by path.

    Raises:
        InputError: Nothing usable is there, a label is unknown, or a manifest is wrong.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("03a01Fa.wav", "08b02Wb.wav", "applause.wav"):
        ...     (folder / name).touch()
        >>> [(file.name, reason) for file, reason in scan_corpus(folder).left_out]
        [('applause.wav', 'not named as EmoDB names its files, such as wav/03a01Fa.wav')]
    """
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    if not paths:
        raise InputError("an empty list of paths; expected at least one folder or manifest")
    name = _corpus_name(corpus)
    return join_scans(_scan_path(Path(each).expanduser(), name, allow_outside=allow_outside) for each in paths)


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


def _scan_path(root: Path, name: str | None, *, allow_outside: bool) -> CorpusScan:
    if not root.exists():
        raise InputError(f"{root}: does not exist; expected a folder of audio files or a manifest")
    manifest = find_manifest(root, name)
    if manifest:
        rows = read_manifest(manifest, allow_outside=allow_outside)
        return CorpusScan(tuple(Utterance(**row) for row in rows))
    files = list_files(root)
    if not files.audio:
        raise InputError(no_audio_message(root, files))
    archives = CorpusScan((), tuple((root / file, ARCHIVE_REASON) for file in files.archives))
    return join_scans([_scan_files(root, files, name), archives])


def _scan_files(root: Path, files: Listing, name: str | None) -> CorpusScan:
    if name == "folders":
        return _read_folders(root, files.audio)
    plan = [Guess(CORPORA_BY_NAME[name], files.audio, len(files.audio))] if name else plan_corpora(root, files.audio)
    return read_plan(root, files.audio, files.others, plan) if plan else _read_folders(root, files.audio)


def _read_folders(root: Path, audio: list[str]) -> CorpusScan:
    folders = group_by_folder(audio, depth=0)
    if not folders:
        raise InputError(
            f"{root}: {len(audio)} audio files whose names tell no emotion (first: {audio[0]}); put each"
            " emotion's files in a folder of its name, or write manifest.csv with the columns path and"
            f" emotion, or keep the file names of a published corpus ({', '.join(CORPORA_BY_NAME)})"
        )
    emotions = {folder: canonical_emotion(folder) for folder in folders}
    if not set(emotions.values()).intersection(EMOTIONS):
        text = "%s: no subfolder is named after an emotion; the labels are taken from the subfolders' names: %s"
        _logger.warning(text, root, ", ".join(sorted(emotions.values())))
    utterances = (
        Utterance(root / file, emotions[folder], None, "folders") for folder in folders for file in folders[folder]
    )
    left_out = ((root / file, "in no emotion's folder") for file in audio if "/" not in file)
    return join_scans([CorpusScan(tuple(utterances), tuple(left_out))])
