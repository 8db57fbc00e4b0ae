"""Decode every recording once, find the bad ones, keep the waveforms.

This is the long part of reading a corpus, and it is the same whatever the split: load once, then cut
as many splits from the result as an evaluation needs.
"""

import logging
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ser_keras.audio_io.sound_files import as_float32
from ser_keras.config import DataConfig
from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.pipeline.clip_cache import ClipCache
from ser_keras.pipeline.clips import Clip, ClipDecoder

logger = logging.getLogger(__name__)

_FILES_AT_ONCE = 16  # a thread that hands over after every file waits for Python's lock each time


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
        samples: function from an index into `utterances` to the samples as they are kept, `(time,)`: int16
            with a full scale of 2**15 where that is exactly what was decoded, else float32.
        joined_speakers: of each speaker who is spelled in several ways, the spellings; they count as one.
    """

    utterances: tuple[Utterance, ...]
    rejected: tuple[Rejected, ...]
    fingerprints: dict[Utterance, str]
    seconds: dict[Utterance, float]
    sample_rate: int
    samples: Callable[[int], np.ndarray]
    joined_speakers: tuple[tuple[str, ...], ...] = ()

    def waveform(self, index: int) -> np.ndarray:
        """Return the samples of one utterance, float32 `(time,)`, full scale 1."""
        return as_float32(self.samples(index))


def load_recordings(
    utterances: Sequence[Utterance], *, sample_rate: int, config: DataConfig | None = None
) -> Recordings:
    """Decode recordings in parallel and sort out those that cannot be used.

    Args:
        utterances: the recordings, or parts of recordings.
        sample_rate: rate of the waveforms, in Hz.
        config: limits of length, and where the waveforms are kept.

    Returns:
        The usable recordings in the order of their paths, each once however often it is given, and the rejected
        ones: unreadable, empty, silent or too short.

    Raises:
        InputError: a recording cannot be used and ``config.strict``; none can be used; the cache
            folder cannot be made or written.
    """
    config = config or DataConfig()
    decoder = ClipDecoder(sample_rate, config)
    cache = None if config.cache == "memory" else ClipCache(Path(config.cache), decoder)
    clips, rejected = [], []
    for clip in _in_parallel(cache.clips if cache else decoder.decode, dict.fromkeys(utterances)):
        if not clip.error:
            clips.append(clip)
            continue
        rejected.append(Rejected(clip.utterance.path, clip.error))
        _stop_if_strict(rejected[-1], config)
    if not clips:
        raise InputError(_nothing_left(rejected))
    seconds = {clip.utterance: clip.num_samples / sample_rate for clip in clips}
    if num_cut := sum(each >= config.max_seconds for each in seconds.values()):
        logger.warning("%d recordings: only the first %g s are used (max_seconds)", num_cut, config.max_seconds)
    return Recordings(
        utterances=tuple(clip.utterance for clip in clips),
        rejected=tuple(rejected),
        fingerprints={clip.utterance: clip.fingerprint for clip in clips},
        seconds=seconds,
        sample_rate=sample_rate,
        samples=(lambda index: cache.samples(clips[index])) if cache else (lambda index: clips[index].samples),
    )


def _in_parallel(decode: Callable[[Sequence[Utterance]], list[Clip]], utterances: Collection[Utterance]):
    """Yield the clip of each utterance, in the order of their paths; a file with many utterances is read once."""
    ordered = sorted(utterances, key=lambda each: (each.path, each.start_seconds or 0.0, each.end_seconds or 0.0))
    files = [list(group) for _, group in groupby(ordered, key=lambda each: each.path)]
    parts = [files[start : start + _FILES_AT_ONCE] for start in range(0, len(files), _FILES_AT_ONCE)]

    def decode_part(files: list[list[Utterance]]) -> list[Clip]:
        return [clip for file in files for clip in decode(file)]

    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(desc="Decoding", total=len(utterances), unit="clip", disable=None) as progress,
    ):
        try:
            for clips in pool.map(decode_part, parts):
                progress.update(len(clips))
                yield from clips
        finally:
            pool.shutdown(cancel_futures=True)


def _stop_if_strict(rejected: Rejected, config: DataConfig) -> None:
    if config.strict:
        raise InputError(f"{rejected.path}: {rejected.reason}; mend or remove it")


def _nothing_left(rejected: Sequence[Rejected]) -> str:
    first = rejected[0]
    return f"none of {len(rejected)} recordings can be used; the first is {first.path}: {first.reason}"
