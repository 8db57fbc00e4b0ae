"""From the samples of a file to the clips of its utterances: cut and checked."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser_keras.audio import read_files
from ser_keras.audio_io.clip_faults import clip_fault
from ser_keras.corpora import Utterance

LONGEST_FILE_SECONDS = 4 * 3600.0
"""A longer file is refused: its samples alone would fill about 1 GB."""

_END_TOLERANCE_SECONDS, _END_TOLERANCE = 0.05, 0.01
"""How far a segment may end after its file, in seconds or as a fraction of the segment, whichever is more.

An end that is rounded to a tenth of a second is 50 ms too late at most, as is that of an MP3 file with its encoder's
padding counted in; lengths that players estimate from the bit rate are off by a part. A wrong unit is off by far more.
"""

_VERSION = 2
"""Increase it with every change of what is decoded from a file, so that no cache returns old samples."""


@dataclass(frozen=True, eq=False)
class Clip:
    """What was decoded of an utterance, or the reason why it cannot be used.

    Attributes:
        utterance: the recording, or a segment of a recording.
        samples: `(time,)`, int16 with a full scale of 2**15 where that is exactly what was decoded, else
            float32 with a full scale of 1; None where a cache keeps them.
        num_samples: their number.
        fingerprint: a hash of them; equal sound, equal hash.
        error: why the utterance cannot be used; empty where it can.
    """

    utterance: Utterance
    samples: np.ndarray | None = None
    num_samples: int = 0
    fingerprint: str = ""
    error: str = ""


@dataclass(frozen=True)
class ClipRules:
    """Which part of a file an utterance is, and which part can be used.

    Attributes:
        sample_rate: rate of the samples, in Hz.
        min_seconds: a shorter clip is rejected.
        max_seconds: of a longer clip the beginning is used.
    """

    sample_rate: int
    min_seconds: float
    max_seconds: float

    @property
    def recipe(self) -> str:
        """The settings that determine the samples, and the version of this code."""
        return f"version {_VERSION}, {self.sample_rate} Hz, {self._max_samples} samples"

    def decode(self, files: Sequence[Sequence[Utterance]]) -> list[list[Clip]]:
        """Return the clips of the utterances of each file."""
        paths = [utterances[0].path for utterances in files]
        read = read_files(paths, sample_rate=self.sample_rate, max_seconds=LONGEST_FILE_SECONDS)
        return [
            [Clip(each, error=error) if error else self._cut(samples, each) for each in utterances]
            for utterances, (samples, error) in zip(files, read, strict=True)
        ]

    def check(self, utterance: Utterance, samples: np.ndarray) -> Clip:
        """Return the clip of these samples, or the reason why they are rejected."""
        if error := clip_fault(samples, self.sample_rate, self.min_seconds):
            return Clip(utterance, error=error)
        return Clip(utterance, samples, len(samples), fingerprint(samples))

    @property
    def _max_samples(self) -> int:
        return round(self.max_seconds * self.sample_rate)

    def _cut(self, samples: np.ndarray, utterance: Utterance) -> Clip:
        length = len(samples)
        start = round((utterance.start_seconds or 0.0) * self.sample_rate)
        end = length if utterance.end_seconds is None else round(utterance.end_seconds * self.sample_rate)
        latest = length + max(_END_TOLERANCE_SECONDS * self.sample_rate, _END_TOLERANCE * (length - start))
        for name, is_behind in (("start_seconds", start and start >= length), ("end_seconds", end > latest)):
            if is_behind and length:
                return Clip(utterance, error=self._behind(name, utterance, length))
        part = samples[start : min(end, start + self._max_samples)]
        return self.check(utterance, part if len(part) == length else part.copy())  # a view would keep all in memory

    def _behind(self, name: str, utterance: Utterance, num_samples: int) -> str:
        return (
            f"{name}={getattr(utterance, name)} is after the end of the file at "
            f"{num_samples / self.sample_rate:.2f} s: is it in milliseconds or samples? Give it in seconds"
        )


def fingerprint(content: bytes | np.ndarray) -> str:
    """Return a hash in hexadecimal digits: equal content, equal hash.

    SHA-1, for which processors have instructions of their own. That two contents can be made to share it matters to
    signatures, not here.
    """
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
