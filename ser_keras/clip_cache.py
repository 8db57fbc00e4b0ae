"""Decoded clips in a folder, for corpora that are larger than the memory."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ser_keras.clips import Clip, ClipDecoder
from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.files import whole_file


class ClipCache:
    """A folder with one NumPy file for each clip, named by what it was made from.

    The name is a hash of the recording's bytes and of every setting that shapes the samples, so that a
    changed file or setting never meets stale samples, and runs can share a folder at the same time. A
    file that is damaged or gone is made again.

    Args:
        folder: made where it does not exist.
        decoder: makes the clips that are not there.

    Raises:
        InputError: the folder cannot be made.
    """

    def __init__(self, folder: Path, decoder: ClipDecoder):
        self._folder = folder
        self._decoder = decoder
        self._files: dict[Utterance, Path] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made ({error.strerror}); give another cache folder") from error

    def clips(self, utterances: Sequence[Utterance]) -> list[Clip]:
        """Return the clips of utterances that share one file; their samples are in the cache then.

        Raises:
            OSError: the folder cannot be written.
        """
        try:
            source = _hash(utterances[0].path.read_bytes())
        except OSError:
            return self._decoder.decode(utterances)  # which says what is wrong
        self._files |= {each: self._file(source, each) for each in utterances}
        found = [_read(self._files[each]) for each in utterances]
        if all(samples is not None for samples in found):
            clips = [self._decoder.check(*pair) for pair in zip(utterances, found, strict=True)]
        else:
            clips = self._decoder.decode(utterances)
            for clip in clips:
                self._write(clip)
        return [replace(clip, samples=None) for clip in clips]

    def samples(self, clip: Clip) -> np.ndarray:
        """Return the samples of a clip that `clips` gave.

        Raises:
            InputError: they are gone from the cache, and the recording cannot be read again or has changed.
            OSError: the folder cannot be written.
        """
        samples = _read(self._files[clip.utterance])
        if samples is not None and len(samples) == clip.num_samples:
            return samples
        again = self._decoder.decode([clip.utterance])[0]
        if again.fingerprint != clip.fingerprint:
            reason = again.error or "has changed since it was first read"
            raise InputError(f"{clip.utterance.path}: {reason}; start again")
        self._write(again)
        return again.samples

    def _write(self, clip: Clip) -> None:
        if not clip.error:
            with whole_file(self._files[clip.utterance]) as part, part.open("wb") as file:
                np.save(file, clip.samples, allow_pickle=False)

    def _file(self, source: str, utterance: Utterance) -> Path:
        key = f"{source} {utterance.start_seconds} {utterance.end_seconds} {self._decoder.recipe}"
        return self._folder / f"{_hash(key.encode())}.npy"


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _read(file: Path) -> np.ndarray | None:
    """Return the samples of a file that is whole."""
    try:
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
