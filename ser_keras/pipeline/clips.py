"""From an utterance to its samples, ready to be kept: decoded, cut, checked."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_keras.audio import read_audio
from ser_keras.audio_io.clip_faults import clip_fault
from ser_keras.audio_io.sound_files import as_int16_if_exact, read_plain_int16
from ser_keras.config import DataConfig
from ser_keras.corpora import Utterance

LONGEST_FILE_SECONDS = 4 * 3600.0
"""A longer file is refused: its samples alone would fill about 1 GB."""

_END_TOLERANCE_SECONDS, _END_TOLERANCE = 0.05, 0.01
"""By how much a segment may end behind its file, in seconds or as a part of the segment, whichever is more.

An end that is rounded to a tenth of a second is 50 ms too late at most, as is that of an MP3 file with its encoder's
padding counted in; lengths that players estimate from the bit rate are off by a part. A wrong unit is off by far more.
"""

_VERSION = 2
"""One more for every change by which a file gives other samples, or none: no cache may answer with the old ones."""


@dataclass(frozen=True, eq=False)
class Clip:
    """What was decoded of an utterance, or the reason why it cannot be used.

    Attributes:
        utterance: the recording, or part of a recording.
        samples: `(time,)`, int16 with a full scale of 2**15 where that is exactly what was decoded, else
            float32 with a full scale of 1; None where a cache keeps them.
        num_samples: their number.
        fingerprint: a hash of them; equal sound, equal hash.
        error: why the utterance cannot be used; empty where all is well.
    """

    utterance: Utterance
    samples: np.ndarray | None = None
    num_samples: int = 0
    fingerprint: str = ""
    error: str = ""


class ClipDecoder:
    """Decodes the utterances of a file as the settings want them; holds no state, so that threads can share it.

    Args:
        sample_rate: rate of the samples, in Hz.
        config: limits of length.
    """

    def __init__(self, sample_rate: int, config: DataConfig):
        self._sample_rate = sample_rate
        self._max_samples = round(config.max_seconds * sample_rate)
        self._min_seconds = config.min_seconds

    @property
    def recipe(self) -> str:
        """Every setting that shapes the samples, and the version of what makes them."""
        return f"version {_VERSION}, {self._sample_rate} Hz, {self._max_samples} samples"

    def decode(self, utterances: Sequence[Utterance]) -> list[Clip]:
        """Return the clips of utterances that share one file; it is read once."""
        path = utterances[0].path
        if not path.is_file() or not os.access(path, os.R_OK):
            return [Clip(each, error="cannot be opened: no such file, or no right to read it") for each in utterances]
        samples, error = self._read(path)
        return [Clip(each, error=error) if error else self._cut(samples, each) for each in utterances]

    def check(self, utterance: Utterance, samples: np.ndarray) -> Clip:
        """Return the clip that these samples make, or the reason why they make none."""
        if error := clip_fault(samples, self._sample_rate, self._min_seconds):
            return Clip(utterance, error=error)
        return Clip(utterance, samples, len(samples), fingerprint(samples))

    def _read(self, path: Path) -> tuple[np.ndarray, str]:
        samples = read_plain_int16(path, self._sample_rate, LONGEST_FILE_SECONDS)
        if samples is not None:
            return samples, ""
        samples, error = read_audio(path, sample_rate=self._sample_rate, max_seconds=LONGEST_FILE_SECONDS)
        return as_int16_if_exact(samples), error

    def _cut(self, whole: np.ndarray, utterance: Utterance) -> Clip:
        start = round((utterance.start_seconds or 0.0) * self._sample_rate)
        end = len(whole) if utterance.end_seconds is None else round(utterance.end_seconds * self._sample_rate)
        latest = len(whole) + max(_END_TOLERANCE_SECONDS * self._sample_rate, _END_TOLERANCE * (len(whole) - start))
        for name, is_behind in (("start_seconds", start and start >= len(whole)), ("end_seconds", end > latest)):
            if is_behind and len(whole):
                return Clip(utterance, error=self._behind(name, utterance, len(whole)))
        part = whole[start : min(end, start + self._max_samples)]
        return self.check(utterance, part if len(part) == len(whole) else part.copy())  # a view keeps all in memory

    def _behind(self, name: str, utterance: Utterance, num_samples: int) -> str:
        return (
            f"{name}={getattr(utterance, name)} lies behind the end of the file at "
            f"{num_samples / self._sample_rate:.2f} s: is it in milliseconds or samples? Give it in seconds"
        )


def fingerprint(content: bytes | np.ndarray) -> str:
    """Return a hash in hexadecimal digits: equal content, equal hash.

    SHA-1, for which processors have instructions of their own. That two contents can be made to share it matters to
    signatures, not here.
    """
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
