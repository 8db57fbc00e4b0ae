"""An audit that names everything on two sides of a split that should be on one."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ser_keras.corpora import Utterance
from ser_keras.splits.split import SIDES, Split, origins_of, sort_utterances
from ser_keras.terminal import shown

LEAK_KINDS = ("speaker", "audio", "derived")
_NUM_SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """One thing that the audit found.

    `kind` is one of "speaker", "audio" and "derived" (leaks), "label" (identical audio with different labels),
    "unknown speaker" and "class" (limits of what the score can say); `sides` names the sides concerned.
    """

    kind: str
    message: str
    sides: tuple[str, ...]


@dataclass(frozen=True)
class SplitAudit:
    """What `audit_split` found; iterate over it for the findings, print it to read them."""

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
        """True where nothing at all was found."""
        return not self.findings

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """The findings that make a score too good: not a class that a side lacks, say."""
        return tuple(finding for finding in self.findings if finding.kind in LEAK_KINDS)


def audit_split(split: Split, *, fingerprints: Mapping[Utterance, str] | None = None) -> SplitAudit:
    """Everything that stands on two sides of a split and should not, and every class that a side lacks.

    It finds speakers; identical audio (by fingerprint, or overlapping segments of one file); clips made
    from one recording (`x.wav` and `x_aug1.wav`, `x-noise.wav`, `x_pitch+2.wav`, `x_speed0.9.wav`,
    `x_copy.wav` or `x (1).wav`; segments of one file); identical audio with different labels, within one set too;
    clips without a speaker; and missing classes.

    Args:
        split: Three sides, from here or from elsewhere.
        fingerprints: A hash of each clip's decoded audio; without it identical files with other names
            are not found.

    Returns:
        The findings, leaks first; `.ok` where there is none.

    Example:
        >>> from pathlib import Path
        >>> sides = [(Utterance(Path(f"{name}.wav"), "sad", "a", "own"),) for name in ("1", "2", "1_aug")]
        >>> print(audit_split(Split(*sides)))
        Split audit: 2 leaks, 2 findings.
          speaker: own/a is in train (1 clip), val (1 clip) and test (1 clip)
          derived: made from one recording: 1.wav (train) and 1_aug.wav (test)
    """
    split = Split(*map(sort_utterances, split))
    return SplitAudit(
        (
            *_speakers_on_two_sides(split),
            *_audio_on_two_sides(split, fingerprints or {}),
            *_files_on_two_sides(split),
            *_derived_on_two_sides(split),
            *_labels_of_identical_audio(split, fingerprints or {}),
            *_unknown_speakers(split),
            *_missing_classes(split),
        )
    )


def _speakers_on_two_sides(split: Split) -> Iterator[Finding]:
    for _, places in _shared(split, lambda clip: clip.speaker_key):
        where = [f"{side} ({len(clips)} clip{'s' * (len(clips) > 1)})" for side, clips in places.items()]
        names = " = ".join(dict.fromkeys(clip.speaker_id for clips in places.values() for clip in clips))
        yield Finding("speaker", f"{names} is in {', '.join(where[:-1])} and {where[-1]}", tuple(places))


def _audio_on_two_sides(split: Split, fingerprints: Mapping[Utterance, str]) -> Iterator[Finding]:
    for _, places in _shared(split, fingerprints.get):
        if _num_files(places) > 1:  # else see _files_on_two_sides
            yield Finding("audio", f"identical audio: {_first_of_each(places)}", tuple(places))


def _files_on_two_sides(split: Split) -> Iterator[Finding]:
    for path, places in _shared(split, lambda clip: clip.path):
        kind, what = ("audio", "overlapping parts") if _overlap(places) else ("derived", "segments")
        yield Finding(kind, f"{what} of one file, {path}, are in {' and '.join(places)}", tuple(places))


def _overlap(places: Mapping[str, Sequence[Utterance]]) -> bool:
    """Whether segments of two sides overlap in time; a sweep in the order of their starts."""
    segments = sorted(
        (clip.start_seconds or 0.0, np.inf if clip.end_seconds is None else clip.end_seconds, side)
        for side, clips in places.items()
        for clip in clips
    )
    latest_end = dict.fromkeys(places, -np.inf)
    for start, end, side in segments:
        if any(latest > start for other, latest in latest_end.items() if other != side):
            return True
        latest_end[side] = max(latest_end[side], end)
    return False


def _derived_on_two_sides(split: Split) -> Iterator[Finding]:
    origins = origins_of(clip.path for side in split for clip in side)
    for _, places in _shared(split, lambda clip: origins[clip.path]):
        if _num_files(places) > 1:
            yield Finding("derived", f"made from one recording: {_first_of_each(places)}", tuple(places))


def _labels_of_identical_audio(split: Split, fingerprints: Mapping[Utterance, str]) -> Iterator[Finding]:
    first, others = {}, defaultdict(dict)  # by sound; the clips of further labels by label
    for side, clip in ((side, clip) for side, clips in zip(SIDES, split, strict=True) for clip in clips):
        sound = fingerprints.get(clip)
        known = first.setdefault(sound, (side, clip))
        if sound is not None and known[1].emotion != clip.emotion:
            others[sound].setdefault(clip.emotion, (side, clip))
    for sound, found in others.items():
        places = [first[sound], *found.values()]
        names = " and ".join(f"{clip.path} ({clip.emotion}, {side})" for side, clip in places)
        sides = tuple(side for side in SIDES if side in dict(places))
        yield Finding("label", f"identical audio with different labels: {names}", sides)


def _unknown_speakers(split: Split) -> Iterator[Finding]:
    unknown = {
        side: [clip for clip in clips if clip.speaker_id is None] for side, clips in zip(SIDES, split, strict=True)
    }
    unknown = {side: clips for side, clips in unknown.items() if clips}
    if unknown:
        message = f"no speaker is known for {_first_of_each(unknown)}: speakers may be on two sides"
        yield Finding("unknown speaker", message, tuple(unknown))


def _missing_classes(split: Split) -> Iterator[Finding]:
    present = {side: {clip.emotion for clip in clips} for side, clips in zip(SIDES, split, strict=True)}
    absent = {
        emotion: tuple(side for side in SIDES if emotion not in present[side])
        for emotion in sorted(set().union(*present.values()))
    }
    for emotion, sides in sorted(absent.items(), key=lambda item: "train" not in item[1]):
        if sides:
            effect = ": no model can learn it there, so its clips elsewhere all count as errors" * ("train" in sides)
            yield Finding("class", f"no {emotion} clip in {' and '.join(sides)}{effect}", sides)


def _shared(split: Split, key: Callable[[Utterance], Hashable]) -> list[tuple[Hashable, dict[str, list[Utterance]]]]:
    """The keys found on two sides or more, with each side's clips."""
    places = defaultdict(lambda: defaultdict(list))
    for side, clips in zip(SIDES, split, strict=True):
        for clip in clips:
            if (value := key(clip)) is not None:
                places[value][side].append(clip)
    return [(value, sides) for value, sides in places.items() if len(sides) > 1]


def _first_of_each(places: Mapping[str, Sequence[Utterance]]) -> str:
    named = [
        f"{clips[0].path} ({side})" + (f" and {len(clips) - 1} more" if len(clips) > 1 else "")
        for side, clips in places.items()
    ]
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


def _num_files(places: Mapping[str, Sequence[Utterance]]) -> int:
    return len({clip.path for clips in places.values() for clip in clips})
