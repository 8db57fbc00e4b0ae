"""Decode every recording once, reject the unusable ones, keep the waveforms: the same for every split of a corpus."""

import logging
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from ser_keras.audio_io.sound_files import as_float32
from ser_keras.config import DataConfig
from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.pipeline.clip_cache import FileCache
from ser_keras.pipeline.clips import Clip, ClipRules

logger = logging.getLogger(__name__)

_FILES_AT_ONCE = 16  # a thread that hands over after every file waits for Python's lock each time


@dataclass(frozen=True)
class Rejected:
    """A file that cannot be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Recordings:
    """Decoded recordings: what was read, where its samples are, which files were rejected.

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
    rules = ClipRules(sample_rate, config.min_seconds, config.max_seconds)
    cache = None if config.cache == "memory" else FileCache(Path(config.cache), rules)
    clips, rejected = [], []
    for clip in _decoded(dict.fromkeys(utterances), rules, cache):
        if not clip.error:
            clips.append(clip)
            continue
        rejected.append(Rejected(clip.utterance.path, clip.error))
        if config.strict:
            raise InputError(f"{clip.utterance.path}: {clip.error}; repair or remove it")
    if not clips:
        raise InputError(
            f"none of {len(rejected)} recordings can be used; the first is {rejected[0].path}: {rejected[0].reason}"
        )
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


def _decoded(utterances: Collection[Utterance], rules: ClipRules, cache: FileCache | None) -> Iterator[Clip]:
    """Yield the clip of each utterance, in the order of their paths; a file with many utterances is read once.

    An element of the dataset is some files, which one call of Python reads; it calls the compiled graph of the WAV
    reader and of the resampler. As a part of the dataset that graph takes 0.3 s to begin, and three times as long for
    each file.
    """
    ordered = sorted(utterances, key=lambda each: (each.path, each.start_seconds or 0.0, each.end_seconds or 0.0))
    files = [list(group) for _, group in groupby(ordered, key=lambda each: each.path)]
    groups = [files[start : start + _FILES_AT_ONCE] for start in range(0, len(files), _FILES_AT_ONCE)]
    decoded: dict[int, list[Clip] | InputError] = {}

    def decode(index):
        try:
            decoded[int(index)] = _clips_of(groups[index], rules, cache)
        except InputError as error:  # TensorFlow would make an error of its own of it
            decoded[int(index)] = error
        return index

    @tf.autograph.experimental.do_not_convert
    def decode_in_python(index):
        return tf.numpy_function(decode, [index], tf.int64)

    options = tf.data.Options()
    options.autotune.enabled = False  # AUTOTUNE then means as many calls at a time as there are cores
    done = tf.data.Dataset.range(len(groups)).map(decode_in_python, tf.data.AUTOTUNE).with_options(options)
    with tqdm(desc="Decoding", total=len(utterances), unit="clip", disable=None) as progress:
        for index in done.as_numpy_iterator():
            clips = decoded.pop(int(index))
            if isinstance(clips, InputError):
                raise clips
            yield from clips
            progress.update(len(clips))


def _clips_of(files: Sequence[Sequence[Utterance]], rules: ClipRules, cache: FileCache | None) -> list[Clip]:
    """Return the clips of the utterances of some files."""
    clips: dict[Path, list[Clip]] = {}
    to_decode = []
    for file in files:
        path = file[0].path
        if not path.is_file() or not os.access(path, os.R_OK):
            error = "cannot be opened: no such file, or no right to read it"
            clips[path] = [Clip(each, error=error) for each in file]
        elif cache and cache.knows(file):
            clips[path] = cache.clips(file)
        else:
            to_decode.append(file)
    for file, decoded in zip(to_decode, rules.decode(to_decode) if to_decode else (), strict=True):
        clips[file[0].path] = cache.add(decoded) if cache else decoded
    return [clip for file in files for clip in clips[file[0].path]]
