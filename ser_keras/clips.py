"""From an utterance to its samples, ready to be kept: decoded, cut, checked."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_keras.audio import read_audio
from ser_keras.config import DataConfig
from ser_keras.corpora import Utterance
from ser_keras.sound_files import FULL_SCALE, as_int16_if_exact, read_plain_int16

LONGEST_FILE_SECONDS = 4 * 3600.0
"""A longer file is refused: its samples alone would fill about 1 GB."""

SILENCE_PEAK = 1e-4
"""A clip whose largest sample lies below this (-80 dB of full scale) counts as silent."""

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
        if start and start >= len(whole):
            seconds = len(whole) / self._sample_rate
            error = f"start_seconds={utterance.start_seconds} lies behind the end of the file at {seconds:.2f} s"
            return Clip(utterance, error=error)
        part = whole[start : min(end, start + self._max_samples)]
        return self.check(utterance, part if len(part) == len(whole) else part.copy())  # a view keeps all in memory


def fingerprint(content: bytes | np.ndarray) -> str:
    """Return a hash in hexadecimal digits: equal content, equal hash.

    SHA-1, for which processors have instructions of their own. That two contents can be made to share it matters to
    signatures, not here.
    """
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def clip_fault(samples: np.ndarray, sample_rate: int, min_seconds: float) -> str:
    """Say why a waveform is no clip: empty, too short or silent; nothing where it is one.

    Args:
        samples: `(time,)`, int16 with a full scale of 2**15, or float with one of 1.
        sample_rate: of the samples, in Hz.
        min_seconds: the shortest clip.

    Example:
        >>> clip_fault(np.zeros(16_000), 16_000, 0.1)
        'silent: no sample above 0.0001 of full scale'
    """
    seconds = len(samples) / sample_rate
    if len(samples) == 0:
        return "empty: no samples"
    if seconds < min_seconds:
        return f"too short: {seconds:.3f} s, at least {min_seconds} s expected"
    silence = SILENCE_PEAK * (FULL_SCALE if samples.dtype == np.int16 else 1.0)
    if float(samples.max()) < silence and float(samples.min()) > -silence:  # floats, that all versions of NumPy agree
        return f"silent: no sample above {SILENCE_PEAK} of full scale"
    return ""
