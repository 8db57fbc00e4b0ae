"""The three subsets of a split, and the original recording of each file."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ser_keras.corpora import Utterance
from ser_keras.errors import InputError

SUBSETS = ("train", "val", "test")
Utterances = tuple[Utterance, ...]
_DERIVED = re.compile(
    r"([ _.-]+(aug(mented)?|noise|noisy|pitch(ed|[ _-]?shift(ed)?)?|speed|tempo|(time[ _-]?)?stretch(ed)?"
    r"|time[ _-]?shift(ed)?|reverb|echo|perturb(ed)?|copy|duplicate)"
    r"([ _-]?(snr)?[ _+-]?\d+(\.\d+)?(db|st|x)?)?)+$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r" \(\d+\)$")


class OptimisticScoreWarning(UserWarning):
    """The split cannot keep speakers apart, so its score will be better than on new speakers."""


class SpeakerSplitError(InputError):
    """The recordings cannot be split by speaker; a random split may still be possible."""


class Split(NamedTuple):
    """The utterances of the training, validation and test set, each sorted by path."""

    train: Utterances
    val: Utterances
    test: Utterances


@contextmanager
def suggest_if_unsplittable(remedy: str, *, unless: bool) -> Iterator[None]:
    """Add a remedy to a `SpeakerSplitError`, as the functions of this package do not know their caller's settings.

    Args:
        remedy: The setting to choose instead.
        unless: Whether it is chosen already.

    Raises:
        InputError: The recordings cannot be split by speaker.
    """
    try:
        yield
    except SpeakerSplitError as error:
        if unless:
            raise
        raise InputError(f"{error}, or choose {remedy}, whose score is optimistic") from error


def require_two_emotions(split: Split) -> Split:
    """Return a split whose training set has two emotions or more.

    Raises:
        SpeakerSplitError: It has fewer.
    """
    trained_on = sorted({clip.emotion for clip in split.train})
    if len(trained_on) < 2:
        found = sorted({clip.emotion for subset in split for clip in subset})
        raise SpeakerSplitError(
            f"the training set has clips of {len(trained_on)} emotion ({', '.join(trained_on) or 'none'}), the data of "
            f"{len(found)} ({', '.join(found)}): a classifier needs at least 2 to train on; record each emotion from "
            "several speakers, or split in another way"
        )
    return split


def sort_utterances(utterances: Iterable[Utterance]) -> Utterances:
    """Return utterances in an order that does not depend on how they were listed."""
    return tuple(sorted(utterances, key=_order))


def _order(clip: Utterance) -> tuple:
    return clip.path.as_posix(), clip.start_seconds or 0.0, clip.end_seconds or 0.0, clip.emotion, str(clip.speaker_id)


def origins_of(paths: Iterable[Path]) -> dict[Path, tuple[Path, str]]:
    """Return the folder and stem of the recording that each file was made from: for most files their own.

    The recording is in the same folder, or is the only file of that stem elsewhere. Where there is none, `x_aug1` and
    `x_aug2` still belong together; `x (1)` and `x (2)` do not, since people number takes like that.
    """
    folders_of = defaultdict(set)
    for path in (paths := set(paths)):
        folders_of[path.stem].add(path.parent)
    origins = {}
    for path in paths:
        folder, stem, base = path.parent, path.stem, _base_stem(path.stem)
        folders = folders_of.get(base, set())
        if folder in folders or len(folders) != 1:
            origins[path] = folder, base if folder in folders else _DERIVED.sub("", stem)
        else:
            origins[path] = next(iter(folders)), base
    return origins


def _base_stem(stem: str) -> str:
    base = _NUMBERED.sub("", _DERIVED.sub("", stem))
    return stem if not base else base if base == stem else _base_stem(base)
