"""The files of recognised corpora -> utterances, each copy once, with a reason for every file left out."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from ser_keras.corpora.agreement import own_classes
from ser_keras.corpora.iemocap import read_iemocap_labels
from ser_keras.corpora.listing import best_copy_first
from ser_keras.corpora.naming import Corpus, Groups, emotion_code, folder_and_name, recording_key
from ser_keras.corpora.recognition import Guess
from ser_keras.corpora.table import CORPORA, CORPORA_BY_NAME
from ser_keras.corpora.utterance import CorpusScan, Utterance, join_scans
from ser_keras.errors import InputError

_logger = logging.getLogger(__name__)


def read_plan(
    root: Path, audio: list[str], others: list[str], plan: list[Guess], *, is_chosen: bool = False
) -> CorpusScan:
    """Read each corpus by the names of its files; files outside the plan are rejected.

    Args:
        root: The dataset's folder.
        audio: The recordings below it.
        others: The other files below it.
        plan: Which recordings are of which corpus.
        is_chosen: Whether the user named the corpus, so that the names count whatever the folders say.

    Raises:
        InputError: A label is unknown or missing, or the folders say something else than the files' names.
    """
    files_of: dict[str, list[str]] = {}
    for guess in plan:
        _warn_of_rivals(root, guess)
        files_of.setdefault(guess.corpus.name, []).extend(guess.audio)
    scans = [_read_named(root, files, others, CORPORA_BY_NAME[name]) for name, files in files_of.items()]
    if not is_chosen:
        rivals = {title for guess in plan for title in guess.rivals}
        for scan in scans:
            _refuse_clash(root, scan.utterances, [corpus.name for corpus in CORPORA if corpus.title in rivals])
    rest = set(audio).difference(*files_of.values())
    scans.append(CorpusScan((), tuple((root / file, "outside the corpora's folders") for file in rest)))
    return join_scans(scans)


def _refuse_clash(root: Path, utterances: Sequence[Utterance], rivals: Sequence[str]) -> None:
    if clash := own_classes(root, utterances):
        file, folder = clash
        corpus = CORPORA_BY_NAME[file.corpus]
        others = "".join(f" (or `corpus={name!r}`, whose files are named alike)" for name in rivals)
        raise InputError(
            f"{file.path}: by its name, as {corpus.title} names files, it is {file.emotion!r}, and its folder says "
            f"{folder!r}; choose `corpus={corpus.name!r}`{others} for the labels of the names, or `corpus='folders'` "
            "for those of the folders"
        )


def _warn_of_rivals(root: Path, guess: Guess) -> None:
    if guess.rivals and not guess.is_named:
        text = "%s: files named as in %s and in %s; read as %s; choose another `corpus` if that is wrong"
        title = guess.corpus.title
        _logger.warning(text, root, title, " and ".join(guess.rivals), title)


def _read_named(root: Path, audio: list[str], others: list[str], corpus: Corpus) -> CorpusScan:
    labels = read_iemocap_labels(root, others) if corpus.name == "iemocap" else {}
    found: dict[str, Path] = {}
    utterances, left_out = [], []
    for file in sorted(audio, key=best_copy_first):
        path = root / file
        match = corpus.pattern.fullmatch(folder_and_name(root, file))
        reason = _why_not(corpus, match, labels, path)
        if not reason and (copy := found.setdefault(recording_key(match), path)) != path:
            reason = f"another copy of {copy}"
        if reason:
            left_out.append((path, reason))
        else:
            utterances.append(_named_utterance(corpus, match.groupdict(), emotion_code(match, labels), path))
    if not utterances:
        raise InputError(f"{root}: {len(audio)} audio files, all left out; {left_out[0][0].name} is {left_out[0][1]}")
    return CorpusScan(tuple(utterances), tuple(left_out))


def _why_not(corpus: Corpus, match: re.Match[str] | None, labels: dict[str, str], path: Path) -> str | None:
    if not match:
        return f"not named as {corpus.title} names its files, such as {corpus.example}"
    code = emotion_code(match, labels)
    if not code:
        return f"without a line in {corpus.title}'s evaluation files"
    if code.lower() not in corpus.emotions:
        raise InputError(
            f"{path}: unknown label {code!r}; {corpus.title} knows {', '.join(corpus.codes)};"
            " correct the name, take the file away, or choose another `corpus`"
        )
    if corpus.emotions[code.lower()] is None:
        return f"labelled {code!r}, which is left out by design"
    return None


def _named_utterance(corpus: Corpus, groups: Groups, code: str, path: Path) -> Utterance:
    return Utterance(
        path=path,
        emotion=corpus.emotions[code.lower()],
        speaker=corpus.speaker_case(corpus.speaker.format(**groups)),
        corpus=corpus.name,
        text=corpus.text_case(corpus.text.format(**groups)) if corpus.text else None,
        gender=corpus.gender(groups),
    )
