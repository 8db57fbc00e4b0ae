"""A folder of audio -> a sorted list of `Utterance(path, emotion, speaker, ...)`.

A published corpus is recognised by its publisher's file names (`CORPORA`, one row a corpus). Own
recordings are read from a folder per emotion ("folders") or from a table ("manifest").
"""

import logging
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ser_keras.errors import InputError
from ser_keras.labels import EMOTIONS, canonical_emotion
from ser_keras.manifest import read_evaluations, read_manifest
from ser_keras.naming import CORPORA, Corpus, Groups

AUDIO_EXTENSIONS = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc")

_LOSSY_EXTENSIONS = (".mp3", ".ogg", ".oga", ".opus")
_MANIFESTS = ("manifest.csv", "manifest.jsonl")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Utterance:
    """One recording, or one segment of a recording, and what is known of it.

    Attributes:
        path: The audio file.
        emotion: A word of `ser_keras.labels.EMOTIONS`, or the user's own label.
        speaker: The publisher's own number or code of the speaker, such as "03", "DC" or "1001".
        corpus: A name of `CORPORA`, "folders", "manifest", or what the manifest says.
        text: The publisher's code of the sentence: the same code, the same words.
        gender: "male" or "female".
        split: "train", "val" or "test", where a manifest says so.
        start_seconds: The segment's start in the file, in seconds; None is the file's start.
        end_seconds: The segment's end in the file, in seconds; None is the file's end.

    Example:
        >>> Utterance(Path("wav/03a01Fa.wav"), "happy", "03", "emodb").speaker_id
        'emodb/03'
    """

    path: Path
    emotion: str
    speaker: str | None
    corpus: str
    text: str | None = None
    gender: str | None = None
    split: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None

    @property
    def speaker_id(self) -> str | None:
        """The speaker, told apart across corpora: number 03 of two corpora is two people."""
        return f"{self.corpus}/{self.speaker}" if self.speaker else None


@dataclass(frozen=True)
class CorpusScan:
    """What a folder holds: the utterances, and every audio file that is none, with the reason."""

    utterances: tuple[Utterance, ...]
    left_out: tuple[tuple[Path, str], ...] = ()


@dataclass(frozen=True)
class _Guess:
    """A corpus that explains the names of some files."""

    corpus: Corpus
    audio: list[str]
    num_explained: int
    rivals: tuple[str, ...] = ()
    is_named: bool = True


_BY_NAME = {corpus.name: corpus for corpus in CORPORA}
_EVALUATION_FILE = re.compile(r"(?:.*/)?dialog/EmoEvaluation/[^/]+\.txt", re.IGNORECASE)


def read_corpus(path: str | Path | Sequence[str | Path], corpus: str | None = None) -> list[Utterance]:
    """List the utterances of a folder, a manifest, or several of them.

    A `manifest.csv` or `manifest.jsonl` in the folder is read where there is one. Else published corpora
    are recognised by their file names, also side by side in subfolders; else the immediate subfolders'
    names are the emotions. Audio files that fit nowhere, and second copies of a published file, are
    counted in one logged warning; `scan_corpus` lists them.

    Args:
        path: A folder or a manifest, or a list of such paths.
        corpus: Overrules the recognition: a name of `CORPORA`, "folders" or "manifest".

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
    scan = scan_corpus(path, corpus)
    if scan.left_out:
        first = "; ".join(f"{file} ({reason})" for file, reason in scan.left_out[:3])
        _logger.warning("%s: %d audio files left out, first: %s", path, len(scan.left_out), first)
    return list(scan.utterances)


def scan_corpus(path: str | Path | Sequence[str | Path], corpus: str | None = None) -> CorpusScan:
    """Do what `read_corpus` does, and list the audio files that were left out.

    Args:
        path: A folder or a manifest, or a list of such paths.
        corpus: Overrules the recognition: a name of `CORPORA`, "folders" or "manifest".

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
    return _joined(_scan_path(Path(each).expanduser(), name) for each in paths)


def _corpus_name(corpus: str | None) -> str | None:
    if corpus is None:
        return None
    names = {_squash(known.title): known.name for known in CORPORA}
    names |= {name: name for name in (*_BY_NAME, "folders", "manifest")}
    if _squash(corpus) not in names:
        raise InputError(
            f"corpus {corpus!r} is unknown; expected {', '.join(_BY_NAME)}, folders or manifest,"
            " or nothing to have it recognised"
        )
    return names[_squash(corpus)]


def _squash(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _joined(scans: Iterable[CorpusScan]) -> CorpusScan:
    scans = list(scans)
    utterances = (utterance for scan in scans for utterance in scan.utterances)
    left_out = (item for scan in scans for item in scan.left_out)
    return CorpusScan(
        tuple(sorted(utterances, key=lambda each: (str(each.path), each.start_seconds or 0.0))),
        tuple(sorted(left_out, key=lambda item: str(item[0]))),
    )


def _scan_path(root: Path, name: str | None) -> CorpusScan:
    if not root.exists():
        raise InputError(f"{root}: does not exist; expected a folder of audio files or a manifest")
    manifest = _find_manifest(root, name)
    if manifest:
        return CorpusScan(tuple(Utterance(**row) for row in read_manifest(manifest)))
    audio, others = _list_files(root)
    if not audio:
        raise InputError(_no_audio(root, others))
    if name == "folders":
        return _read_folders(root, audio)
    plan = [_Guess(_BY_NAME[name], audio, len(audio))] if name else _plan(root, audio)
    return _read_plan(root, audio, others, plan) if plan else _read_folders(root, audio)


def _find_manifest(root: Path, name: str | None) -> Path | None:
    if root.is_file():
        if name in (None, "manifest") and root.suffix.lower() in (".csv", ".jsonl"):
            return root
        raise InputError(f"{root}: a file; expected a folder of audio files, or a manifest (.csv or .jsonl)")
    found = [root / file for file in _MANIFESTS if (root / file).is_file()]
    if name == "manifest" and not found:
        raise InputError(f"{root}: no manifest; expected {' or '.join(_MANIFESTS)} in it, or its own path")
    if name in (None, "manifest") and len(found) > 1:
        raise InputError(f"{root}: two manifests, {' and '.join(_MANIFESTS)}; give the path of the right one")
    return found[0] if found and name in (None, "manifest") else None


def _list_files(root: Path) -> tuple[list[str], list[str]]:
    """The audio files and the other files below a folder: sorted POSIX paths relative to it."""
    audio, others, linked = [], [], {root.resolve()}
    for folder, names, files in os.walk(root, followlinks=True, onerror=_refuse):
        names[:] = [name for name in names if not _is_hidden(name) and _is_new(Path(folder, name), linked)]
        prefix = folder[len(str(root)) :].replace(os.sep, "/").strip("/")
        for file in files:
            if not _is_hidden(file):
                known = os.path.splitext(file)[1].lower() in AUDIO_EXTENSIONS  # noqa: PTH122  (100,000 files)
                (audio if known else others).append(f"{prefix}/{file}" if prefix else file)
    return sorted(audio), sorted(others)


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be listed ({error.strerror}); make the folder readable") from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_new(folder: Path, linked: set[Path]) -> bool:
    """Whether to enter a folder: yes, unless it is a link that leads round in a circle."""
    if not folder.is_symlink():
        return True
    target = folder.resolve()
    is_new = target not in linked
    linked.add(target)
    return is_new


def _no_audio(root: Path, others: list[str]) -> str:
    expected = f"expected audio files ({', '.join(AUDIO_EXTENSIONS)}) or a manifest.csv"
    if not others:
        return f"{root}: an empty folder; {expected}"
    suffixes = sorted({Path(file).suffix.lower() or "no extension" for file in others})
    return f"{root}: {len(others)} files, none of them audio (found {', '.join(suffixes[:8])}); {expected}"


def _plan(root: Path, audio: list[str], depth: int = 0) -> list[_Guess]:
    """Which files belong to which published corpus; nothing if they are of none."""
    guess = _recognise(root, audio)
    num_explained = guess.num_explained if guess else 0
    if guess and num_explained == len(audio) and not guess.rivals:
        return [guess]
    parts = _plan_subfolders(root, audio, depth)
    is_better = sum(part.num_explained for part in parts) >= num_explained + (not (guess and guess.rivals))
    if is_better and len({part.corpus.name for part in parts}) > 1:
        return parts
    return [guess] if guess else []


def _plan_subfolders(root: Path, audio: list[str], depth: int) -> list[_Guess]:
    parts: list[_Guess] = []
    for files in _by_folder(audio, depth).values():
        part = _plan(root, files, depth + 1)
        if not part:
            return []
        parts += part
    return parts


def _recognise(root: Path, audio: list[str]) -> _Guess | None:
    """The corpus whose naming explains most of the files, if it explains at least half of them.

    Corpora that explain equally many are told apart by their names in the path, then by their order.
    """
    names = [_folder_and_name(root, file) for file in audio]
    where = _squash(f"{root.absolute()}/{audio[0]}")
    scores: dict[tuple[int, bool, int], _Guess] = {}
    for order, corpus in enumerate(CORPORA):
        matches = [match for match in map(corpus.pattern.fullmatch, names) if match]
        if 2 * len(matches) >= len(audio):
            num_known = sum(_code(match, {}).lower() in {"", *corpus.emotions} for match in matches)
            scores[num_known, corpus.name in where, -order] = _Guess(corpus, audio, len(matches))
    if not scores:
        return None
    best = max(scores)
    rivals = [guess.corpus.title for score, guess in scores.items() if score[0] == best[0] and score != best]
    return replace(scores[best], rivals=tuple(rivals), is_named=best[1])


def _folder_and_name(root: Path, file: str) -> str:
    """The last folder and the name without extension; in the root itself the root's own name."""
    folder, _, name = file.rpartition("/")
    return f"{folder.rpartition('/')[2] or root.absolute().name}/{name.rpartition('.')[0]}"


def _by_folder(audio: list[str], depth: int) -> dict[str, list[str]]:
    """The files in subfolders, by the name of the subfolder at a depth."""
    folders: dict[str, list[str]] = {}
    for file in audio:
        parts = file.split("/", depth + 1)
        if len(parts) > depth + 1:
            folders.setdefault(parts[depth], []).append(file)
    return folders


def _read_plan(root: Path, audio: list[str], others: list[str], plan: list[_Guess]) -> CorpusScan:
    files_of: dict[str, list[str]] = {}
    for guess in plan:
        _warn_of_rivals(root, guess)
        files_of.setdefault(guess.corpus.name, []).extend(guess.audio)
    scans = [_read_named(root, files, others, _BY_NAME[name]) for name, files in files_of.items()]
    rest = set(audio).difference(*files_of.values())
    scans.append(CorpusScan((), tuple((root / file, "outside the corpora's folders") for file in rest)))
    return _joined(scans)


def _warn_of_rivals(root: Path, guess: _Guess) -> None:
    if guess.rivals and not guess.is_named:
        text = "%s: files named as in %s and in %s; read as %s, pass corpus= if that is wrong"
        title = guess.corpus.title
        _logger.warning(text, root, title, " and ".join(guess.rivals), title)


def _read_named(root: Path, audio: list[str], others: list[str], corpus: Corpus) -> CorpusScan:
    labels = _read_iemocap_labels(root, others) if corpus.name == "iemocap" else {}
    found: dict[str, Path] = {}
    utterances, left_out = [], []
    for file in sorted(audio, key=_best_copy_first):
        path = root / file
        match = corpus.pattern.fullmatch(_folder_and_name(root, file))
        reason = _why_not(corpus, match, labels, path)
        if not reason and (copy := found.setdefault(_key(match), path)) != path:
            reason = f"another copy of {copy}"
        if reason:
            left_out.append((path, reason))
        else:
            utterances.append(_named_utterance(corpus, match.groupdict(), _code(match, labels), path))
    if not utterances:
        raise InputError(f"{root}: {len(audio)} audio files, all left out; {left_out[0][0].name} is {left_out[0][1]}")
    return CorpusScan(tuple(utterances), tuple(left_out))


def _read_iemocap_labels(root: Path, others: list[str]) -> dict[str, str]:
    labels = read_evaluations(root / file for file in others if _EVALUATION_FILE.fullmatch(file))
    if not labels:
        raise InputError(
            f"{root}: IEMOCAP's labels are missing; expected Session1/dialog/EmoEvaluation/*.txt and so on,"
            " so give the folder that holds Session1 to Session5"
        )
    return {turn.lower(): label for turn, label in labels.items()}


def _best_copy_first(file: str) -> tuple[bool, int, str]:
    """Lossless before lossy, then the least nested: archives often hold their files twice."""
    return file.lower().endswith(_LOSSY_EXTENSIONS), file.count("/"), file


def _why_not(corpus: Corpus, match: re.Match[str] | None, labels: dict[str, str], path: Path) -> str | None:
    if not match:
        return f"not named as {corpus.title} names its files, such as {corpus.example}"
    code = _code(match, labels)
    if not code:
        return f"without a line in {corpus.title}'s evaluation files"
    if code.lower() not in corpus.emotions:
        raise InputError(
            f"{path}: unknown label {code!r}; {corpus.title} knows {', '.join(corpus.codes)};"
            " correct the name, take the file away, or pass corpus= if it is another corpus"
        )
    if corpus.emotions[code.lower()] is None:
        return f"labelled {code!r}, which is left out by design"
    return None


def _code(match: re.Match[str], labels: dict[str, str]) -> str:
    """The emotion's code in the file's name or else in the labels; empty if in neither."""
    return match.groupdict().get("emotion") or labels.get(_key(match), "")


def _key(match: re.Match[str]) -> str:
    return match["key"].lower().replace("/", "_")


def _named_utterance(corpus: Corpus, groups: Groups, code: str, path: Path) -> Utterance:
    return Utterance(
        path=path,
        emotion=corpus.emotions[code.lower()],
        speaker=corpus.speaker_case(corpus.speaker.format(**groups)),
        corpus=corpus.name,
        text=corpus.text_case(corpus.text.format(**groups)) if corpus.text else None,
        gender=corpus.gender(groups),
    )


def _read_folders(root: Path, audio: list[str]) -> CorpusScan:
    folders = _by_folder(audio, depth=0)
    if not folders:
        raise InputError(
            f"{root}: {len(audio)} audio files whose names tell no emotion (first: {audio[0]}); put each"
            " emotion's files in a folder of its name, or write manifest.csv with the columns path and"
            f" emotion, or keep the file names of a published corpus ({', '.join(_BY_NAME)})"
        )
    emotions = {folder: canonical_emotion(folder) for folder in folders}
    if not set(emotions.values()).intersection(EMOTIONS):
        text = "%s: no subfolder is named after an emotion; the labels are taken from the subfolders' names: %s"
        _logger.warning(text, root, ", ".join(sorted(emotions.values())))
    utterances = (
        Utterance(root / file, emotions[folder], None, "folders") for folder in folders for file in folders[folder]
    )
    left_out = ((root / file, "in no emotion's folder") for file in audio if "/" not in file)
    return _joined([CorpusScan(tuple(utterances), tuple(left_out))])
