"""Which published corpus explains the names of the files, in a folder or in several side by side."""

from dataclasses import dataclass, replace
from pathlib import Path

from ser_keras.corpora.listing import group_by_folder
from ser_keras.corpora.naming import Corpus, emotion_code, folder_and_name, squash
from ser_keras.corpora.table import CORPORA


@dataclass(frozen=True)
class Guess:
    """A corpus that explains the names of some files."""

    corpus: Corpus
    audio: list[str]
    num_explained: int
    rivals: tuple[str, ...] = ()
    is_named: bool = True


def plan_corpora(root: Path, audio: list[str], depth: int = 0) -> list[Guess]:
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


def _plan_subfolders(root: Path, audio: list[str], depth: int) -> list[Guess]:
    parts: list[Guess] = []
    for files in group_by_folder(audio, depth).values():
        part = plan_corpora(root, files, depth + 1)
        if not part:
            return []
        parts += part
    return parts


def _recognise(root: Path, audio: list[str]) -> Guess | None:
    """The corpus whose naming explains most of the files, if it explains at least half of them.

    Corpora that explain equally many are told apart by their names in the path, then by their order.
    """
    names = [folder_and_name(root, file) for file in audio]
    where = squash(f"{root.absolute()}/{audio[0]}")
    scores: dict[tuple[int, bool, int], Guess] = {}
    for order, corpus in enumerate(CORPORA):
        matches = [match for match in map(corpus.pattern.fullmatch, names) if match]
        if 2 * len(matches) >= len(audio):
            num_known = sum(emotion_code(match, {}).lower() in {"", *corpus.emotions} for match in matches)
            scores[num_known, corpus.name in where, -order] = Guess(corpus, audio, len(matches))
    if not scores:
        return None
    best = max(scores)
    rivals = [guess.corpus.title for score, guess in scores.items() if score[0] == best[0] and score != best]
    return replace(scores[best], rivals=tuple(rivals), is_named=best[1])
