"""Recognise published corpora by their file names, and read them."""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ser_keras.corpora.consistency import contradicting_folder
from ser_keras.corpora.naming import CORPORA, CORPORA_BY_NAME, Corpus, squash
from ser_keras.corpora.utterance import CorpusScan, Utterance, join_scans
from ser_keras.errors import InputError

_logger = logging.getLogger(__name__)

_LOSSLESS_EXTENSIONS = (".wav", ".wave", ".flac", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64", ".sph")

# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
_EVALUATION = re.compile(r"^\[[\d.]+ - [\d.]+\]\s+(\w+)\s+(\w+)\s+\[", re.MULTILINE)
_EVALUATION_FILE = re.compile(r"(?:.*/)?dialog/EmoEvaluation/[^/]+\.txt", re.IGNORECASE)


@dataclass(frozen=True)
class Match:
    """A corpus whose naming matches some files.

    Attributes:
        corpus: The corpus.
        audio: The files.
        num_matched: The number of files that match; the others are skipped.
        rivals: Titles of corpora that match equally well.
        is_named: Whether the path contains the corpus' name.
    """

    corpus: Corpus
    audio: list[str]
    num_matched: int
    rivals: tuple[str, ...] = ()
    is_named: bool = True


def match_corpora(root: Path, audio: list[str], depth: int = 0) -> list[Match]:
    """Return which files belong to which published corpus; several corpora may be in subfolders."""
    match = _match_corpus(root, audio)
    if match and match.num_matched == len(audio) and not match.rivals:
        return [match]
    parts = _match_subfolders(root, audio, depth)
    num_needed = match.num_matched + (not match.rivals) if match else 1
    if sum(part.num_matched for part in parts) >= num_needed and len({part.corpus.name for part in parts}) > 1:
        return parts
    return [match] if match else []


def read_published(
    root: Path, audio: list[str], others: list[str], matches: list[Match], *, is_chosen: bool = False
) -> CorpusScan:
    """Read each corpus by its file names; files that belong to none are skipped.

    Args:
        root: The dataset's folder.
        audio: The audio files below it.
        others: The other files below it.
        matches: Which files belong to which corpus.
        is_chosen: Whether the user chose the corpus, so that the folders' names are ignored.

    Raises:
        InputError: A label is unknown or missing, or folders and file names contradict each other.
    """
    files_of: dict[str, list[str]] = {}
    for match in matches:
        if match.rivals and not match.is_named:
            text = "%s: files named as in %s and in %s; read as %s; choose another `corpus` if that is wrong"
            _logger.warning(text, root, match.corpus.title, " and ".join(match.rivals), match.corpus.title)
        files_of.setdefault(match.corpus.name, []).extend(match.audio)
    scans = [_read_named(root, files, others, CORPORA_BY_NAME[name]) for name, files in files_of.items()]
    if not is_chosen:
        rivals = {title for match in matches for title in match.rivals}
        for scan in scans:
            _refuse_clash(root, scan.utterances, [corpus.name for corpus in CORPORA if corpus.title in rivals])
    rest = set(audio).difference(*files_of.values())
    return join_scans([*scans, CorpusScan((), tuple((root / file, "outside the corpora's folders") for file in rest))])


def read_evaluations(paths: Iterable[Path]) -> dict[str, str]:
    r"""Return the publisher's label of each turn, by its name, from IEMOCAP's evaluation files.

    Example:
        >>> path = getfixture("tmp_path") / "Ses01F_impro01.txt"
        >>> _ = path.write_text("[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]")
        >>> read_evaluations([path])
        {'Ses01F_impro01_F000': 'neu'}
    """
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in paths)
    return {turn: label for text in texts for turn, label in _EVALUATION.findall(text)}


def _match_subfolders(root: Path, audio: list[str], depth: int) -> list[Match]:
    folders: dict[str, list[str]] = {}
    for file in audio:
        parts = file.split("/", depth + 1)
        if len(parts) > depth + 1:
            folders.setdefault(parts[depth], []).append(file)
    found = [match_corpora(root, files, depth + 1) for files in folders.values()]
    return [match for matches in found for match in matches] if all(found) else []


def _match_corpus(root: Path, audio: list[str]) -> Match | None:
    """Return the corpus whose naming matches most files, at least half of them.

    Among equal ones the name in the path decides, then the order of `CORPORA`.
    """
    names = [_folder_and_name(root, file) for file in audio]
    where = squash(f"{root.absolute()}/{audio[0]}")
    scores: dict[tuple[int, bool, int], Match] = {}
    for order, corpus in enumerate(CORPORA):
        matches = [match for match in map(corpus.pattern.fullmatch, names) if match]
        if 2 * len(matches) >= len(audio):
            num_known = sum(_emotion_code(match, {}) in {"", *corpus.emotions} for match in matches)
            scores[num_known, corpus.name in where, -order] = Match(corpus, audio, len(matches))
    if not scores:
        return None
    best = max(scores)
    rivals = [match.corpus.title for score, match in scores.items() if score[0] == best[0] and score != best]
    return replace(scores[best], rivals=tuple(rivals), is_named=best[1])


def _read_named(root: Path, audio: list[str], others: list[str], corpus: Corpus) -> CorpusScan:
    labels = _read_iemocap_labels(root, others) if corpus.name == "iemocap" else {}
    found: dict[str, Path] = {}
    utterances, skipped = [], []
    for file in sorted(audio, key=_best_copy_first):
        path = root / file
        match = corpus.pattern.fullmatch(_folder_and_name(root, file))
        reason = _reason_to_skip(corpus, match, labels, path)
        if not reason and (copy := found.setdefault(_recording_key(match), path)) != path:
            reason = f"another copy of {copy}"
        if reason:
            skipped.append((path, reason))
        else:
            utterances.append(_named_utterance(corpus, match, labels, path))
    if not utterances:
        raise InputError(f"{root}: {len(audio)} audio files, all skipped; {skipped[0][0].name} is {skipped[0][1]}")
    return CorpusScan(tuple(utterances), tuple(skipped))


def _reason_to_skip(corpus: Corpus, match: re.Match[str] | None, labels: dict[str, str], path: Path) -> str | None:
    if not match:
        return f"not named as {corpus.title} names its files, such as {corpus.example}"
    code = _emotion_code(match, labels)
    if not code:
        return f"without a line in {corpus.title}'s evaluation files"
    if code not in corpus.emotions:
        raise InputError(
            f"{path}: unknown label {code!r}; {corpus.title} has {', '.join(corpus.emotions)};"
            " correct the name, take the file away, or choose another `corpus`"
        )
    return f"labelled {code!r}, which is skipped by design" if corpus.emotions[code] is None else None


def _named_utterance(corpus: Corpus, match: re.Match[str], labels: dict[str, str], path: Path) -> Utterance:
    groups = match.groupdict()
    return Utterance(
        path=path,
        emotion=corpus.emotions[_emotion_code(match, labels)],
        speaker=corpus.speaker_case(corpus.speaker.format(**groups)),
        corpus=corpus.name,
        text=corpus.text_case(corpus.text.format(**groups)) if corpus.text else None,
        gender=corpus.gender(groups),
    )


def _read_iemocap_labels(root: Path, others: list[str]) -> dict[str, str]:
    """Return the label of each turn, by its name in lower case."""
    labels = read_evaluations(root / file for file in others if _EVALUATION_FILE.fullmatch(file))
    if not labels:
        raise InputError(
            f"{root}: files named as in IEMOCAP, whose labels are missing; expected Session1/dialog/EmoEvaluation/*.txt"
            " and so on: give the folder that holds Session1 to Session5 (`corpus='iemocap'`), or choose "
            "`corpus='folders'` for the labels of the folders that the files are in"
        )
    return {turn.lower(): label for turn, label in labels.items()}


def _refuse_clash(root: Path, utterances: Sequence[Utterance], rivals: Sequence[str]) -> None:
    if clash := contradicting_folder(root, utterances):
        file, folder = clash
        corpus = CORPORA_BY_NAME[file.corpus]
        others = "".join(f" (or `corpus={name!r}`, whose files are named alike)" for name in rivals)
        raise InputError(
            f"{file.path}: its name means {file.emotion!r} in {corpus.title}, and its folder is {folder!r}; choose "
            f"`corpus={corpus.name!r}`{others} for the labels of the names, or `corpus='folders'` for those of the "
            "folders"
        )


def _best_copy_first(file: str) -> tuple[bool, int, str]:
    """Sort lossless before lossy, then the least nested: archives often contain their files twice."""
    return not file.lower().endswith(_LOSSLESS_EXTENSIONS), file.count("/"), file


def _folder_and_name(root: Path, file: str) -> str:
    """Return the last folder (or the root's name) and the name without extension."""
    folder, _, name = file.rpartition("/")
    return f"{folder.rpartition('/')[2] or root.absolute().name}/{name.rpartition('.')[0]}"


def _emotion_code(match: re.Match[str], labels: dict[str, str]) -> str:
    """Return the emotion's code in the file's name or else in the labels, in lower case; empty if in neither."""
    return (match.groupdict().get("emotion") or labels.get(_recording_key(match), "")).lower()


def _recording_key(match: re.Match[str]) -> str:
    """Return the same key for all copies of one published file."""
    return match["key"].lower().replace("/", "_")
