"""One split into training, validation and test set: by speaker, or at random where no speaker is known."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.splits.split import (
    SUBSETS,
    OptimisticScoreWarning,
    SpeakerSplitError,
    Split,
    Utterances,
    origins_of,
    sort_utterances,
)

_NUM_CANDIDATES = 512


def default_split(
    utterances: Iterable[Utterance], *, val_fraction: float = 0.1, test_fraction: float = 0.2, seed: int = 0
) -> Split:
    """Return the most honest split that the data allows.

    This is the dataset's own `split` where it has one (with validation speakers taken from its training set if it
    names none), else `speaker_split`, else, where no speaker is known at all, `random_split`.

    Args:
        utterances: The labelled clips, in any order.
        val_fraction: Share of the clips for validation, in (0, 1).
        test_fraction: Share of the clips for the test, in (0, 1).
        seed: The same seed gives the same split.

    Raises:
        InputError: Only some clips have a split, or only some a speaker; or there are too few speakers.

    Example:
        >>> from pathlib import Path
        >>> clips = [Utterance(Path(f"{s}{e}.wav"), e, s, "own") for s in "abcd" for e in ("angry", "sad")]
        >>> train, val, test = default_split(clips)
        >>> {clip.speaker for clip in test} & {clip.speaker for clip in train}
        set()
    """
    clips = sort_utterances(utterances)
    if any(clip.split is not None for clip in clips):
        return _given_split(clips, val_fraction, seed)
    split = speaker_split if any(clip.speaker_id for clip in clips) else random_split
    return split(clips, val_fraction=val_fraction, test_fraction=test_fraction, seed=seed)


def speaker_split(
    utterances: Iterable[Utterance], *, val_fraction: float = 0.1, test_fraction: float = 0.2, seed: int = 0
) -> Split:
    """Return a split with no speaker in two subsets, and each emotion spread as evenly as its speakers allow.

    Of 512 seeded ways to distribute the speakers it takes the one with the smallest
    Σ (share - fraction)² / fraction over subsets and emotions: Pearson's chi-square of the split.

    Arguments are those of `default_split`.

    Raises:
        InputError: A clip has no speaker, or there are fewer than three speakers.

    Example:
        >>> from pathlib import Path
        >>> clips = [Utterance(Path(f"{s}{e}.wav"), e, s, "own") for s in "abcde" for e in ("angry", "sad")]
        >>> [len(subset) for subset in speaker_split(clips)]
        [6, 2, 2]
    """
    fractions = _fractions(val_fraction, test_fraction)
    return Split(*distribute_groups(group_by_speaker(utterances, at_least=3), fractions, seed))


def random_split(
    utterances: Iterable[Utterance], *, val_fraction: float = 0.1, test_fraction: float = 0.2, seed: int = 0
) -> Split:
    """Return a split by emotion alone, for data without known speakers; it warns.

    The segments of one file, and the copies made from it (see `audit_split`), stay together. An emotion
    with one clip is in the training set, one with two in the training and the test set.

    Arguments are those of `default_split`.

    Raises:
        InputError: There are fewer than three recordings.

    Example:
        >>> from pathlib import Path
        >>> names = [f"{number}{emotion}" for number in range(20) for emotion in ("angry", "sad")]
        >>> clips = [Utterance(Path(f"{name}.wav"), name.lstrip("0123456789"), None, "own") for name in names]
        >>> with warnings.catch_warnings(action="ignore"):
        ...     [len(subset) for subset in random_split(clips)]
        [28, 4, 8]
    """
    fractions = _fractions(val_fraction, test_fraction)
    split = Split(*_distribute_randomly(sort_utterances(utterances), fractions, seed))
    warnings.warn(
        "random split: the speakers are unknown or ignored, so one speaker can be in train and in test and "
        "the score will be optimistic, better than on new speakers; name the speakers in a manifest for an "
        "honest one",
        OptimisticScoreWarning,
        stacklevel=2,
    )
    return split


def _given_split(clips: Utterances, val_fraction: float, seed: int) -> Split:
    subsets = {subset: [] for subset in SUBSETS}
    for clip in clips:
        if clip.split not in SUBSETS:
            raise InputError(
                f"{clip.path} has the split {clip.split!r}, but other clips name theirs: "
                "give each clip train, val or test, or give none of them any"
            )
        subsets[clip.split].append(clip)
    for subset in ("train", "test"):
        if not subsets[subset]:
            raise InputError(f"the split column puts no clip into {subset}; the first clip is {clips[0].path}")
    if not subsets["val"]:
        subsets["train"], subsets["val"] = split_off_validation(subsets["train"], val_fraction, seed)
    return Split(*map(sort_utterances, subsets.values()))


def split_off_validation(clips: Sequence[Utterance], val_fraction: float, seed: int) -> list[Utterances]:
    """Return training and validation set: by speaker, or by emotion alone where no speaker is known."""
    if any(clip.speaker_id for clip in clips):
        return distribute_groups(group_by_speaker(clips, at_least=2), _fractions(val_fraction), seed)
    return split_off_random_validation(clips, val_fraction, seed)


def split_off_random_validation(clips: Sequence[Utterance], val_fraction: float, seed: int) -> list[Utterances]:
    """Return training and validation set by emotion alone."""
    return _distribute_randomly(sort_utterances(clips), _fractions(val_fraction), seed)


def _fractions(*held_out: float) -> list[float]:
    if not (all(fraction > 0 for fraction in held_out) and sum(held_out) < 1):
        raise InputError(
            f"the fractions held out for val and test are {held_out}: each must be above 0 and their sum "
            "below 1, so that a part is left for training"
        )
    return [1 - sum(held_out), *held_out]


def group_by_speaker(utterances: Iterable[Utterance], *, at_least: int) -> dict[str, Utterances]:
    """Return each speaker's utterances, in the order of the speakers' names.

    Raises:
        SpeakerSplitError: An utterance has no speaker, or there are fewer speakers than `at_least`.
    """
    groups = defaultdict(list)
    for clip in sort_utterances(utterances):
        if clip.speaker_id is None:
            raise SpeakerSplitError(f"{clip.path} names no speaker: name every clip's speaker in the manifest")
        groups[clip.speaker_key].append(clip)
    groups = {clips[0].speaker_id: tuple(clips) for clips in groups.values()}
    if len(groups) < at_least:
        found = f"{len(groups)} found ({', '.join(sorted(groups)) or 'none'})"
        raise SpeakerSplitError(
            f"too few speakers: {found}, {at_least} needed for sets that share no speaker; record more speakers, or "
            "name them in a manifest"
        )
    return dict(sorted(groups.items()))


def distribute_groups(groups: Mapping[str, Utterances], fractions: Sequence[float], seed: int) -> list[Utterances]:
    """Return subsets of about these fractions, each of whole groups: the best of many seeded trials."""
    shares = _emotion_shares(groups)  # (groups, emotions + 1)
    trials = _trials(shares[:, -1], fractions, seed)  # (trials, groups)
    subset_of = trials[np.argmin(_misfit(trials, shares, fractions))]
    subsets = [[] for _ in fractions]
    for subset, clips in zip(subset_of, groups.values(), strict=True):
        subsets[subset].extend(clips)
    return [sort_utterances(subset) for subset in subsets]


def _emotion_shares(groups: Mapping[str, Utterances]) -> np.ndarray:
    """Return each group's share of each emotion's clips, and in the last column of all clips."""
    counts = [Counter(clip.emotion for clip in clips) for clips in groups.values()]
    emotions = sorted(set().union(*counts))
    table = np.array([[*(count[emotion] for emotion in emotions), count.total()] for count in counts], float)
    return table / table.sum(axis=0)


def _trials(sizes: np.ndarray, fractions: Sequence[float], seed: int) -> np.ndarray:
    """Return the subset of each group in each trial: the groups come in random order, each to the least full subset."""
    order = np.random.default_rng(seed).random((_NUM_CANDIDATES, len(sizes))).argsort(axis=1)
    rows = np.arange(_NUM_CANDIDATES)
    filled = np.zeros((_NUM_CANDIDATES, len(fractions)))  # 1 where a subset has its fraction
    subset_of = np.empty(order.shape, int)
    for turn, group in enumerate(order.T):
        # The first groups go one to each subset, so that none is empty.
        subset = np.full(_NUM_CANDIDATES, turn) if turn < len(fractions) else filled.argmin(axis=1)
        subset_of[rows, group] = subset
        filled[rows, subset] += sizes[group] / np.asarray(fractions)[subset]
    return subset_of


def _misfit(trials: np.ndarray, shares: np.ndarray, fractions: Sequence[float]) -> np.ndarray:
    total = 0.0
    for subset, fraction in enumerate(fractions):
        share = (trials == subset) @ shares  # (trials, emotions + 1)
        # A missing emotion counts far beyond its distance in the large subset, train.
        total += ((share - fraction) ** 2 / fraction + 1000 * fraction**3 * (share == 0)).sum(axis=1)
    return total


def _distribute_randomly(clips: Utterances, fractions: Sequence[float], seed: int) -> list[Utterances]:
    """Return subsets of about these fractions of each emotion's recordings."""
    rng = np.random.default_rng(seed)
    subsets = [[] for _ in fractions]
    for recordings in recordings_by_emotion(clips, at_least=len(fractions)):
        shuffled = shuffle(recordings, rng)
        for subset, size in zip(subsets, _sizes(len(recordings), fractions), strict=True):
            subset.extend(shuffled[:size])
            del shuffled[:size]
    for subset in subsets[1:]:
        if not subset:  # only emotions of one or two clips
            subset.append(subsets[0].pop())
    return [sort_utterances(clip for recording in subset for clip in recording) for subset in subsets]


def shuffle(items: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    """Return items in random order."""
    return [items[index] for index in rng.random(len(items)).argsort()]


def recordings_by_emotion(clips: Utterances, *, at_least: int) -> list[list[Utterances]]:
    """Return each emotion's recordings: clips that `origins_of` traces to one file are one recording.

    Raises:
        InputError: There are fewer recordings than `at_least`.
    """
    origins = origins_of(clip.path for clip in clips)
    recordings = defaultdict(list)
    for clip in clips:
        recordings[origins[clip.path]].append(clip)
    if len(recordings) < at_least:
        raise InputError(f"found {len(recordings)} recordings, but {at_least} subsets need one each: add recordings")
    by_emotion = defaultdict(list)
    for recording in recordings.values():
        by_emotion[recording[0].emotion].append(tuple(recording))
    return [by_emotion[emotion] for emotion in sorted(by_emotion)]


def _sizes(count: int, fractions: Sequence[float]) -> list[int]:
    """Return the subsets' sizes for one emotion; where clips are too few, train comes first, then test."""
    held_out = [max(1, round(fraction * count)) for fraction in fractions[1:]]
    while sum(held_out) >= count:
        held_out[held_out.index(max(held_out))] -= 1
    return [count - sum(held_out), *held_out]
