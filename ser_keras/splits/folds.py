"""Folds: each recording is in the test set of one split, for scores over all speakers."""

import csv
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.spelling import spelling_key
from ser_keras.splits.holdout import (
    distribute_groups,
    group_by_speaker,
    recordings_by_emotion,
    shuffle,
    split_off_random_validation,
    split_off_validation,
)
from ser_keras.splits.split import OptimisticScoreWarning, Split, Utterances, sort_utterances

PUBLISHED_FOLDS = {"ravdess": Path(__file__).parents[1] / "protocols" / "ravdess_6_folds.csv"}
"""Folds of published protocols by name; protocols/README.md cites the sources."""

_NUM_SHOWN = 20
_PATH_OR_SPEAKER = {
    "path": (lambda clip: clip.path.as_posix(), partial(unicodedata.normalize, "NFC")),
    "speaker": (lambda clip: clip.speaker_id, spelling_key),
}
"""For each column of a folds file a function from a clip to its name, and one from a name to a key of all spellings."""


def leave_one_speaker_out(utterances: Iterable[Utterance], *, val_fraction: float = 0.1, seed: int = 0) -> list[Split]:
    """Return one split for each speaker, who is its test set; for corpora of a few speakers (EmoDB: 10).

    Args:
        utterances: The labelled clips, each with its speaker.
        val_fraction: Share of the other speakers' clips for validation, in (0, 1).
        seed: The same seed gives the same validation speakers.

    Returns:
        The splits, in the order of the speakers' names.

    Raises:
        InputError: A clip has no speaker, or there are fewer than three speakers.

    Example:
        >>> from pathlib import Path
        >>> clips = [Utterance(Path(f"{s}.wav"), "sad", s, "own") for s in "abc"]
        >>> [split.test[0].speaker for split in leave_one_speaker_out(clips)]
        ['a', 'b', 'c']
    """
    return _rotate(list(group_by_speaker(utterances, at_least=3).values()), val_fraction, seed)


def speaker_folds(
    utterances: Iterable[Utterance],
    *,
    num_folds: int = 5,
    val_fraction: float = 0.1,
    seed: int = 0,
    val_seed: int | None = None,
) -> list[Split]:
    """Return one split for each of several groups of speakers, which is its test set.

    Args:
        utterances: The labelled clips, each with its speaker.
        num_folds: Number of folds, 2 or more, at most the number of speakers.
        val_fraction: Share of the other folds' clips for validation, in (0, 1).
        seed: The same seed gives the same folds.
        val_seed: The same value gives the same validation speakers; `seed` if None.

    Raises:
        InputError: A clip has no speaker, or there are fewer speakers than folds.

    Example:
        >>> from pathlib import Path
        >>> clips = [Utterance(Path(f"{s}.wav"), "sad", s, "own") for s in "abcdef"]
        >>> [len(split.test) for split in speaker_folds(clips, num_folds=3)]
        [2, 2, 2]
    """
    _require_two_folds(num_folds)
    speakers = group_by_speaker(utterances, at_least=max(3, num_folds))
    folds = distribute_groups(speakers, [1 / num_folds] * num_folds, seed)
    return _rotate(folds, val_fraction, seed if val_seed is None else val_seed)


def random_folds(
    utterances: Iterable[Utterance],
    *,
    num_folds: int = 5,
    val_fraction: float = 0.1,
    seed: int = 0,
    val_seed: int | None = None,
) -> list[Split]:
    """Return folds by emotion alone, with every speaker in all subsets; it warns.

    Use them to measure the effect of such a leak, or for data without known speakers. As in `random_split` the
    validation clips are random too, and clips made from one recording stay together.

    Arguments are those of `speaker_folds`.

    Raises:
        InputError: There are fewer recordings than folds.

    Example:
        >>> from pathlib import Path
        >>> clips = [Utterance(Path(f"{n}{e}.wav"), e, "a", "own") for n in range(6) for e in ("angry", "sad")]
        >>> with warnings.catch_warnings(action="ignore"):
        ...     [sorted(clip.emotion for clip in split.test) for split in random_folds(clips, num_folds=3)][0]
        ['angry', 'angry', 'sad', 'sad']
    """
    _require_two_folds(num_folds)
    rng = np.random.default_rng(seed)
    by_emotion = recordings_by_emotion(sort_utterances(utterances), at_least=max(3, num_folds))
    recordings = [recording for group in by_emotion for recording in shuffle(group, rng)]
    folds = [[clip for recording in recordings[start::num_folds] for clip in recording] for start in range(num_folds)]
    warnings.warn(
        "random folds: every speaker can be in train and in test, so the score will be optimistic, better than on "
        "new speakers",
        OptimisticScoreWarning,
        stacklevel=2,
    )
    val_seed = seed if val_seed is None else val_seed
    return _rotate(folds, val_fraction, val_seed, split_off=split_off_random_validation)


def fixed_folds(
    utterances: Iterable[Utterance],
    folds_path: str | Path,
    *,
    val_fraction: float = 0.1,
    seed: int = 0,
    skipped: Iterable[Path] = (),
) -> list[Split]:
    r"""Return the folds of a CSV file, to compare with published figures.

    The file has the columns `speaker,fold` (a speaker as `03` or `emodb/03`) or `path,fold` (a path, or
    as much of its end as is unique). A warning reports a speaker in two folds.

    Args:
        utterances: The labelled clips.
        folds_path: The CSV file in UTF-8, or a name of `PUBLISHED_FOLDS`.
        val_fraction: Share of the other folds' clips for validation, in (0, 1).
        seed: The same seed gives the same validation speakers.
        skipped: Files that could not be used; the CSV file may name them.

    Returns:
        The splits, in the order of the folds' names.

    Raises:
        InputError: The file cannot be read, lacks a column, has fewer than two folds, names a speaker or
            path that the data does not have, or lacks a clip.

    Example:
        >>> from pathlib import Path
        >>> import tempfile
        >>> clips = [Utterance(Path(f"{s}.wav"), "sad", s, "own") for s in "abc"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "folds.csv")
        ...     _ = path.write_text("speaker,fold\na,1\nb,2\nc,3\n")
        ...     [split.test[0].speaker for split in fixed_folds(clips, path)]
        ['a', 'b', 'c']
    """
    clips = sort_utterances(utterances)
    folds_path = PUBLISHED_FOLDS.get(str(folds_path), Path(folds_path))
    fold_of = _read_folds(clips, folds_path, skipped)
    folds = defaultdict(list)
    for clip in clips:
        if clip not in fold_of:
            raise InputError(f"{clip.path} (speaker {clip.speaker_id}) has no fold: add its row to {folds_path}")
        folds[fold_of[clip]].append(clip)
    if len(folds) < 2:
        raise InputError(f"{folds_path} has {len(folds)} fold; cross-validation needs 2 or more")
    names = sorted(folds, key=lambda name: (len(name), name))  # so that fold 10 follows fold 9
    _warn_of_shared_speakers(folds, folds_path)
    return _rotate([tuple(folds[name]) for name in names], val_fraction, seed)


def _require_two_folds(num_folds: int) -> None:
    if num_folds < 2:
        raise InputError(f"num_folds is {num_folds}; cross-validation needs 2 or more")


def _rotate(
    folds: Sequence[Iterable[Utterance]],
    val_fraction: float,
    seed: int,
    split_off: Callable[..., list[Utterances]] = split_off_validation,
) -> list[Split]:
    """Return a split for each fold as the test set, with a validation set from the others."""
    splits = []
    for index, test in enumerate(folds):
        others = [clip for fold in (*folds[:index], *folds[index + 1 :]) for clip in fold]
        splits.append(Split(*split_off(others, val_fraction, seed), sort_utterances(test)))
    return splits


def _read_folds(clips: Utterances, folds_path: Path, skipped: Iterable[Path]) -> dict[Utterance, str]:
    column, rows = _fold_rows(folds_path)
    find = _finder(clips, *_PATH_OR_SPEAKER[column], [each.as_posix() for each in skipped if column == "path"])
    fold_of: dict[Utterance, str] = {}
    for line, row in rows:
        where, fold = f"{folds_path}, line {line}", (row["fold"] or "").strip()
        if not fold:
            raise InputError(f"{where}: the fold of {row[column]!r} is empty")
        for clip in find((row[column] or "").strip(), f"{where}: {column}"):
            if fold_of.setdefault(clip, fold) != fold:
                raise InputError(f"{where}: {row[column]} is in fold {fold_of[clip]} already; {fold} is another")
    return fold_of


def _fold_rows(folds_path: Path) -> tuple[str, list[tuple[int, dict[str, str]]]]:
    try:
        with folds_path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{folds_path} cannot be read as a CSV file in UTF-8: {error}") from error
    columns = reader.fieldnames or []
    for column in _PATH_OR_SPEAKER:
        if column in columns and "fold" in columns:
            return column, rows
    found = ", ".join(columns) or "none"
    raise InputError(f"{folds_path} has the columns {found}; needed: speaker,fold or path,fold")


def _finder(
    clips: Utterances,
    name_of: Callable[[Utterance], str | None],
    key_of: Callable[[str], str],
    names_without_clips: Iterable[str],
) -> Callable[[str, str], Sequence[Utterance]]:
    """Return a look-up of clips by a name, or by as much of its end (complete parts between slashes) as is unique."""
    names = {key_of(name): name for name in names_without_clips}
    clips_of, keys_of = defaultdict(list), defaultdict(list)
    for clip in clips:
        if (name := name_of(clip)) is not None:
            clips_of[key_of(name)].append(clip)
            names.setdefault(key_of(name), name)
    for key in names:
        keys_of[PurePosixPath(key).name].append(key)

    def find(asked: str, where: str) -> Sequence[Utterance]:
        tail = PurePosixPath("/", key_of(asked.replace("\\", "/")))
        found = [key for key in keys_of[tail.name] if f"/{key}".endswith(str(tail))]
        if len(found) != 1:
            problem = "ambiguous; it may be" if found else "not in the data, which has"
            known = [names[key] for key in found] or sorted(map(names.get, clips_of))
            raise InputError(f"{where} {asked!r} is {problem} {', '.join(known[:_NUM_SHOWN])}")
        return clips_of[found[0]]

    return find


def _warn_of_shared_speakers(folds: Mapping[str, Sequence[Utterance]], folds_path: str | Path) -> None:
    names = {clip.speaker_key: clip.speaker_id for clips in folds.values() for clip in clips}
    num_folds = Counter(speaker for clips in folds.values() for speaker in {clip.speaker_key for clip in clips})
    unknown = num_folds.pop(None, 0)
    shared = sorted(names[speaker] for speaker, count in num_folds.items() if count > 1)
    if shared or unknown:
        what = f"speakers in two folds or more: {', '.join(shared)}" if shared else "clips without a speaker"
        warnings.warn(
            f"{folds_path} has {what}, so the score can be better than on new speakers",
            OptimisticScoreWarning,
            stacklevel=3,
        )
