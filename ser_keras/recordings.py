"""Decode every recording once, find the bad ones, keep the waveforms.

This is the long part of reading a corpus, and it is the same whatever the split: load once, then cut
as many splits from the result as an evaluation needs.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from ser_keras.audio import decode_audio
from ser_keras.config import DataConfig
from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.files import write_bytes

logger = logging.getLogger(__name__)

LONGEST_FILE_SECONDS = 4 * 3600.0
"""A longer file is refused: its samples alone would fill about 1 GB."""

SILENCE_PEAK = 1e-4
"""A clip whose largest sample lies below this (-80 dB of full scale) counts as silent."""


@dataclass(frozen=True)
class Rejected:
    """A recording that was left out, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Recordings:
    """Decoded recordings: what was read, where its samples are, what was left out.

    Attributes:
        utterances: the recordings that can be used.
        rejected: those that cannot, each with its reason.
        fingerprints: for each utterance a hash of its decoded samples; equal sound, equal hash.
        seconds: for each utterance its length.
        sample_rate: rate of the samples, in Hz.
        read: TensorFlow function from an index into `utterances` to the samples, float32 `(time,)`.
    """

    utterances: tuple[Utterance, ...]
    rejected: tuple[Rejected, ...]
    fingerprints: dict[Utterance, str]
    seconds: dict[Utterance, float]
    sample_rate: int
    read: Callable[[tf.Tensor], tf.Tensor]


def load_recordings(
    utterances: Sequence[Utterance], *, sample_rate: int, config: DataConfig | None = None
) -> Recordings:
    """Decode recordings in parallel and sort out those that cannot be used.

    Args:
        utterances: the recordings, or parts of recordings.
        sample_rate: rate of the waveforms, in Hz.
        config: limits of length, and where the waveforms are kept.

    Returns:
        The usable recordings in the order of their paths, and the rejected ones: unreadable, empty,
        silent or too short.

    Raises:
        InputError: a recording cannot be used and ``config.strict``; none can be used; the cache
            folder cannot be written.
    """
    config = config or DataConfig()
    store = _MemoryStore() if config.cache == "memory" else _DiskStore(Path(config.cache), sample_rate, config)
    kept, rejected, fingerprints, seconds = [], [], {}, {}
    decoded = _decode_all(utterances, sample_rate, store)
    for utterance, samples, error in tqdm(decoded, "Decoding", len(utterances), unit="clip", disable=None):
        samples = _part(samples, 0, round(config.max_seconds * sample_rate))
        reason = error or _fault(samples, len(samples) / sample_rate, config.min_seconds)
        if reason:
            rejected.append(Rejected(utterance.path, reason))
            _stop_if_strict(rejected[-1], config)
            continue
        store.keep(utterance, samples)
        kept.append(utterance)
        fingerprints[utterance] = hashlib.blake2b(samples, digest_size=16).hexdigest()
        seconds[utterance] = len(samples) / sample_rate
    if not kept:
        raise InputError(_nothing_left(rejected))
    if num_cut := sum(each >= config.max_seconds for each in seconds.values()):
        logger.warning("%d recordings: only the first %g s are used (max_seconds)", num_cut, config.max_seconds)
    return Recordings(tuple(kept), tuple(rejected), fingerprints, seconds, sample_rate, store.reader())


class _MemoryStore:
    """Waveforms in one tensor, end to end."""

    def __init__(self):
        self._clips = []

    def load(self, utterance: Utterance) -> None:
        return None

    def keep(self, utterance: Utterance, samples: np.ndarray) -> None:
        self._clips.append(samples)

    def reader(self) -> Callable[[tf.Tensor], tf.Tensor]:
        with tf.device("CPU"):
            bounds = tf.constant(np.cumsum([0, *map(len, self._clips)]))
            samples = tf.concat(self._clips, axis=0)
        self._clips.clear()
        return lambda index: samples[bounds[index] : bounds[index + 1]]


class _DiskStore:
    """Waveforms as one file of raw float32 each, named by what it was made from.

    The name is a hash of the recording's bytes and of every setting that shapes the samples, so that
    a changed file or setting never meets a stale waveform, and runs can share a folder.
    """

    def __init__(self, folder: Path, sample_rate: int, config: DataConfig):
        self._folder = folder
        self._recipe = f"float32 {sample_rate} Hz {config.max_seconds} s"
        self._files: list[str] = []
        self._digests: dict[Path, str] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made ({error.strerror}); give another cache folder") from error

    def load(self, utterance: Utterance) -> np.ndarray | None:
        file = self._file(utterance)
        return np.fromfile(file, np.float32) if file.is_file() else None

    def keep(self, utterance: Utterance, samples: np.ndarray) -> None:
        file = self._file(utterance)
        self._files.append(str(file))
        if not file.is_file():
            write_bytes(file, samples.tobytes())

    def reader(self) -> Callable[[tf.Tensor], tf.Tensor]:
        files = tf.constant(self._files)
        return lambda index: tf.io.decode_raw(tf.io.read_file(files[index]), tf.float32)

    def _file(self, utterance: Utterance) -> Path:
        if utterance.path not in self._digests:
            self._digests[utterance.path] = hashlib.blake2b(utterance.path.read_bytes(), digest_size=16).hexdigest()
        source = self._digests[utterance.path]
        key = f"{source} {utterance.start_seconds} {utterance.end_seconds} {self._recipe}"
        return self._folder / f"{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.f32"


def _decode_all(
    utterances: Sequence[Utterance], sample_rate: int, store: _MemoryStore | _DiskStore
) -> Iterator[tuple[Utterance, np.ndarray, str]]:
    """Yield each utterance with its samples and an error; a file with many utterances is decoded once."""
    ordered = sorted(utterances, key=lambda each: (each.path, each.start_seconds or 0.0, each.end_seconds or 0.0))
    files = {path: list(group) for path, group in groupby(ordered, key=lambda each: each.path)}
    readable = [path for path in files if os.access(path, os.R_OK) and path.is_file()]
    missing = [path for path in readable if any(store.load(each) is None for each in files[path])]
    decoder = _decode_files(missing, sample_rate)
    missing, readable = set(missing), set(readable)
    nothing = np.zeros(0, np.float32)
    for path, group in files.items():
        if path in missing:
            samples, error = next(decoder)
            yield from ((each, *_cut(samples, error, each, sample_rate)) for each in group)
        elif path in readable:
            yield from ((each, store.load(each), "") for each in group)
        else:
            yield from ((each, nothing, "cannot be opened: no such file, or no right to read it") for each in group)


def _decode_files(paths: Sequence[Path], sample_rate: int) -> Iterator[tuple[np.ndarray, str]]:
    """Yield the samples and the error of each file, in order; decoded in parallel."""

    @tf.autograph.experimental.do_not_convert  # which would take longer than to decode a thousand clips
    def decode(path):
        return decode_audio(tf.io.read_file(path), sample_rate=sample_rate, max_seconds=LONGEST_FILE_SECONDS)

    if not paths:
        return
    files = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    decoded = files.map(decode, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)
    for samples, error in decoded.as_numpy_iterator():
        yield samples, error.decode(errors="replace")


def _cut(samples: np.ndarray, error: str, utterance: Utterance, sample_rate: int) -> tuple[np.ndarray, str]:
    """Return the part of a file's samples that is this utterance."""
    start = round((utterance.start_seconds or 0.0) * sample_rate)
    end = len(samples) if utterance.end_seconds is None else round(utterance.end_seconds * sample_rate)
    if start and start >= len(samples) and not error:
        seconds = len(samples) / sample_rate
        error = f"start_seconds={utterance.start_seconds} lies behind the end of the file at {seconds:.2f} s"
    return _part(samples, start, end), error


def _part(samples: np.ndarray, start: int, end: int) -> np.ndarray:
    """Return a part that does not keep the whole in memory."""
    part = samples[start:end]
    return part if len(part) == len(samples) else part.copy()


def _fault(samples: np.ndarray, seconds: float, min_seconds: float) -> str:
    """Return why a decoded clip cannot be used, or nothing."""
    if len(samples) == 0:
        return "empty: no samples"
    if seconds < min_seconds:
        return f"too short: {seconds:.3f} s, at least {min_seconds} s expected"
    if max(samples.max(), -samples.min()) < SILENCE_PEAK:
        return f"silent: no sample above {SILENCE_PEAK} of full scale"
    return ""


def _stop_if_strict(rejected: Rejected, config: DataConfig) -> None:
    if config.strict:
        raise InputError(f"{rejected.path}: {rejected.reason}; mend or remove it, or leave out strict")


def _nothing_left(rejected: Sequence[Rejected]) -> str:
    first = rejected[0]
    return (
        f"none of {len(rejected)} recordings can be used; the first is {first.path}: {first.reason}; "
        "expected are WAV, FLAC, MP3, Ogg or AIFF files with sound"
    )
