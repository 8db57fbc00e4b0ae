"""Decoded clips in a folder, for corpora that are larger than the memory."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.files import whole_file
from ser_keras.pipeline.clips import Clip, ClipDecoder, fingerprint


class ClipCache:
    """A folder with one NumPy file for each clip, named by what it was made from.

    The name is a hash of the recording's bytes and of every setting that shapes the samples, so that a
    changed file or setting never meets stale samples, and runs can share a folder at the same time. Behind
    the samples stands a hash of them: a file that is damaged in any way, or gone, is made again.

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
            InputError: the folder cannot be written; what lies in it is used again by the next run.
        """
        try:
            with utterances[0].path.open("rb") as file:  # a video may be larger than the memory
                source = hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()
        except OSError:
            return self._decoder.decode(utterances)  # which says what is wrong
        self._files |= {each: self._file(source, each) for each in utterances}
        found = [_read(self._files[each]) for each in utterances]
        if all(samples is not None for samples in found):
            clips = [self._decoder.check(*pair) for pair in zip(utterances, found, strict=True)]
        else:
            clips = self._decoder.decode(utterances)
            self._write(clips)
        return [replace(clip, samples=None) for clip in clips]

    def samples(self, clip: Clip) -> np.ndarray:
        """Return the samples of a clip that `clips` gave.

        Raises:
            InputError: they are gone from the cache, and the recording cannot be read again or has changed.
        """
        samples = _read(self._files[clip.utterance])
        if samples is not None:
            return samples
        again = self._decoder.decode([clip.utterance])[0]
        if again.fingerprint != clip.fingerprint:
            reason = again.error or "has changed since it was first read"
            raise InputError(f"{clip.utterance.path}: {reason}; start again")
        with suppress(InputError):  # the disk may be full by now, and the samples are here
            self._write([again])
        return again.samples

    def _write(self, clips: Sequence[Clip]) -> None:
        try:
            for clip in clips:
                if not clip.error:
                    self._write_one(clip)
        except FileNotFoundError:  # somebody is clearing the folder; `samples` makes the clips again
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self._folder}: cannot be written ({error.strerror}); make room or give another cache folder, and "
                "start again: what lies there already is used"
            ) from error

    def _write_one(self, clip: Clip) -> None:
        with whole_file(self._files[clip.utterance]) as part, part.open("wb") as file:
            np.save(file, clip.samples, allow_pickle=False)
            file.write(fingerprint(clip.samples).encode())

    def _file(self, source: str, utterance: Utterance) -> Path:
        key = f"{source} {utterance.start_seconds} {utterance.end_seconds} {self._decoder.recipe}"
        return self._folder / f"{fingerprint(key.encode())}.npy"


def _read(file: Path) -> np.ndarray | None:
    """Return the samples of a file that is as it was written."""
    try:
        with file.open("rb") as opened:
            samples = np.load(opened, allow_pickle=False)
            return samples if opened.read() == fingerprint(samples).encode() else None
    except (OSError, ValueError, EOFError, MemoryError):
        return None
