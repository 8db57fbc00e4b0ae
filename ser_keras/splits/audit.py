"""An audit that names every leak between the subsets of a split."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ser_keras.corpora import Utterance
from ser_keras.splits.split import SUBSETS, Split, origins_of, sort_utterances
from ser_keras.terminal import shown

LEAK_KINDS = ("speaker", "audio", "derived")
_NUM_SHOWN = 20

_Places = Mapping[str, Sequence[Utterance]]  # clips by subset


@dataclass(frozen=True)
class Finding:
    """One result of the audit.

    Attributes:
        kind: "speaker", "audio" or "derived" (leaks), "label" (identical audio with different labels),
            "unknown speaker" or "class" (limits of the score).
        message: The speakers, files or classes concerned.
        subsets: The subsets concerned.
    """

    kind: str
    message: str
    subsets: tuple[str, ...]


@dataclass(frozen=True)
class SplitAudit:
    """The findings of `audit_split`; iterate over it, or print it."""

    findings: tuple[Finding, ...]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __str__(self) -> str:
        if self.ok:
            return "Split audit: nothing found."
        lines = [f"  {finding.kind}: {shown(finding.message)}" for finding in self.findings[:_NUM_SHOWN]]
        if len(self.findings) > _NUM_SHOWN:
            lines.append(f"  ... and {len(self.findings) - _NUM_SHOWN} more")
        return "\n".join([f"Split audit: {len(self.leaks)} leaks, {len(self.findings)} findings.", *lines])

    @property
    def ok(self) -> bool:
        """True if there is no finding."""
        return not self.findings

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """The findings that make a score too good."""
        return tuple(finding for finding in self.findings if finding.kind in LEAK_KINDS)


def audit_split(split: Split, *, fingerprints: Mapping[Utterance, str] | None = None) -> SplitAudit:
    """Find leaks between the subsets of a split, and classes that a subset lacks.

    Leaks are speakers in two subsets; identical audio (by fingerprint, or overlapping segments of one file); and clips
    made from one recording (`x.wav` and `x_aug1.wav`, `x-noise.wav`, `x_pitch+2.wav`, `x_speed0.9.wav`,
    `x_copy.wav` or `x (1).wav`; segments of one file). Further findings are identical audio with different labels,
    within one subset too; clips without a speaker; and missing classes.

    Args:
        split: Training, validation and test set, from this package or from elsewhere.
        fingerprints: A hash of each clip's decoded audio; without it identical files with other names
            are not found.

    Returns:
        The findings, leaks first; `.ok` if there is none.

    Example:
        >>> from pathlib import Path
        >>> subsets = [(Utterance(Path(f"{name}.wav"), "sad", "a", "own"),) for name in ("1", "2", "1_aug")]
        >>> print(audit_split(Split(*subsets)))
        Split audit: 2 leaks, 2 findings.
          speaker: own/a is in train (1 clip), val (1 clip) and test (1 clip)
          derived: made from one recording: 1.wav (train) and 1_aug.wav (test)
    """
    split, fingerprints = Split(*map(sort_utterances, split)), fingerprints or {}
    return SplitAudit(
        (
            *_shared_speakers(split),
            *_shared_audio(split, fingerprints),
            *_shared_files(split),
            *_shared_origins(split),
            *_labels_of_identical_audio(split, fingerprints),
            *_unknown_speakers(split),
            *_missing_classes(split),
        )
    )


def _shared_speakers(split: Split) -> Iterator[Finding]:
    for places in _shared(split, lambda clip: clip.speaker_key):
        where = [f"{subset} ({len(clips)} clip{'s' * (len(clips) > 1)})" for subset, clips in places.items()]
        names = " = ".join(dict.fromkeys(clip.speaker_id for clips in places.values() for clip in clips))
        yield Finding("speaker", f"{names} is in {', '.join(where[:-1])} and {where[-1]}", tuple(places))


def _shared_audio(split: Split, fingerprints: Mapping[Utterance, str]) -> Iterator[Finding]:
    for places in _shared(split, fingerprints.get):
        if _num_files(places) > 1:  # one file: see _shared_files
            yield Finding("audio", f"identical audio: {_first_of_each(places)}", tuple(places))


def _shared_files(split: Split) -> Iterator[Finding]:
    for places in _shared(split, lambda clip: clip.path):
        kind, what = ("audio", "overlapping segments") if _overlap(places) else ("derived", "segments")
        path = next(iter(places.values()))[0].path
        yield Finding(kind, f"{what} of one file, {path}, are in {' and '.join(places)}", tuple(places))


def _overlap(places: _Places) -> bool:
    """Return whether segments of two subsets overlap in time, by a sweep in the order of their starts."""
    segments = sorted(
        (clip.start_seconds or 0.0, np.inf if clip.end_seconds is None else clip.end_seconds, subset)
        for subset, clips in places.items()
        for clip in clips
    )
    latest_end = dict.fromkeys(places, -np.inf)
    for start, end, subset in segments:
        if any(latest > start for other, latest in latest_end.items() if other != subset):
            return True
        latest_end[subset] = max(latest_end[subset], end)
    return False


def _shared_origins(split: Split) -> Iterator[Finding]:
    origins = origins_of(clip.path for subset in split for clip in subset)
    for places in _shared(split, lambda clip: origins[clip.path]):
        if _num_files(places) > 1:
            yield Finding("derived", f"made from one recording: {_first_of_each(places)}", tuple(places))


def _labels_of_identical_audio(split: Split, fingerprints: Mapping[Utterance, str]) -> Iterator[Finding]:
    labelled = defaultdict(dict)  # by sound the first clip of each label
    for subset, clips in split._asdict().items():
        for clip in clips:
            if clip in fingerprints:
                labelled[fingerprints[clip]].setdefault(clip.emotion, (subset, clip))
    for places in (list(found.values()) for found in labelled.values() if len(found) > 1):
        names = " and ".join(f"{clip.path} ({clip.emotion}, {subset})" for subset, clip in places)
        subsets = tuple(subset for subset in SUBSETS if subset in dict(places))
        yield Finding("label", f"identical audio with different labels: {names}", subsets)


def _unknown_speakers(split: Split) -> Iterator[Finding]:
    unknown = {subset: [clip for clip in clips if clip.speaker_id is None] for subset, clips in split._asdict().items()}
    unknown = {subset: clips for subset, clips in unknown.items() if clips}
    if unknown:
        message = f"no speaker is known for {_first_of_each(unknown)}: speakers may be in two subsets"
        yield Finding("unknown speaker", message, tuple(unknown))


def _missing_classes(split: Split) -> Iterator[Finding]:
    present = {subset: {clip.emotion for clip in clips} for subset, clips in split._asdict().items()}
    absent = {
        emotion: tuple(subset for subset in SUBSETS if emotion not in present[subset])
        for emotion in sorted(set().union(*present.values()))
    }
    for emotion, subsets in sorted(absent.items(), key=lambda item: "train" not in item[1]):
        if subsets:
            effect = ": no model can learn it there, so its clips elsewhere all count as errors" * ("train" in subsets)
            yield Finding("class", f"no {emotion} clip in {' and '.join(subsets)}{effect}", subsets)


def _shared(split: Split, key: Callable[[Utterance], Hashable]) -> list[_Places]:
    """Return the clips by subset for each key that is in two subsets or more."""
    places = defaultdict(lambda: defaultdict(list))
    for subset, clips in split._asdict().items():
        for clip in clips:
            if (value := key(clip)) is not None:
                places[value][subset].append(clip)
    return [subsets for subsets in places.values() if len(subsets) > 1]


def _first_of_each(places: _Places) -> str:
    named = [
        f"{clips[0].path} ({subset})" + (f" and {len(clips) - 1} more" if len(clips) > 1 else "")
        for subset, clips in places.items()
    ]
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


def _num_files(places: _Places) -> int:
    return len({clip.path for clips in places.values() for clip in clips})
