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
from ser_keras.pipeline.clips import Clip, ClipRules, fingerprint


class FileCache:
    """A folder with one NumPy file for each clip, named by a hash of its source.

    The name is a hash of the recording's bytes and of every setting that shapes the samples, so that a changed file
    or setting never meets stale samples, and runs can share a folder at the same time. A hash of the samples follows
    them in the file: a damaged or missing file is made again. That is why it is read in Python and not by
    `tf.io.read_file`, which ends the pipeline there.

    Args:
        folder: made where it does not exist.
        rules: make the clips.

    Raises:
        InputError: the folder cannot be made.
    """

    def __init__(self, folder: Path, rules: ClipRules):
        self._folder, self._rules = folder, rules
        self._files: dict[Utterance, Path] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made ({error.strerror}); give another cache folder") from error

    def knows(self, utterances: Sequence[Utterance]) -> bool:
        """Tell whether the clips of utterances that share one file are there, as that file is now."""
        try:
            with utterances[0].path.open("rb") as file:  # a video may be larger than the memory
                source = hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()
        except OSError:
            return False
        self._files |= {each: self._file(source, each) for each in utterances}
        return all(self._files[each].is_file() for each in utterances)

    def clips(self, utterances: Sequence[Utterance]) -> list[Clip]:
        """Return the clips of utterances that share one known file; a damaged one is made again."""
        found = [_read(self._files[each]) for each in utterances]
        if any(samples is None for samples in found):
            return self.add(self._rules.decode([utterances])[0])
        clips = [self._rules.check(*pair) for pair in zip(utterances, found, strict=True)]
        return [replace(clip, samples=None) for clip in clips]

    def add(self, clips: Sequence[Clip]) -> list[Clip]:
        """Write clips that `knows` was asked for; return them without their samples.

        Raises:
            InputError: the folder cannot be written; the next run uses what is there.
        """
        try:
            for clip in clips:
                if not clip.error:
                    self._write(clip)
        except FileNotFoundError:  # another process is clearing the folder; `samples` makes the clips again
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self._folder}: cannot be written ({error.strerror}); make room or give another cache folder, and "
                "start again: the clips that are there already are used"
            ) from error
        return [replace(clip, samples=None) for clip in clips]

    def samples(self, clip: Clip) -> np.ndarray:
        """Return the samples of a clip that `clips` or `add` returned.

        Raises:
            InputError: they are gone from the cache, and the recording cannot be read again or has changed.
        """
        samples = _read(self._files[clip.utterance])
        if samples is not None:
            return samples
        again = self._rules.decode([[clip.utterance]])[0][0]
        if again.fingerprint != clip.fingerprint:
            reason = again.error or "has changed since it was first read"
            raise InputError(f"{clip.utterance.path}: {reason}; start again")
        with suppress(InputError):  # the disk may be full by now, and the samples are here
            self.add([again])
        return again.samples

    def _write(self, clip: Clip) -> None:
        with whole_file(self._files[clip.utterance]) as part, part.open("wb") as file:
            np.save(file, clip.samples, allow_pickle=False)
            file.write(clip.fingerprint.encode())

    def _file(self, source: str, utterance: Utterance) -> Path:
        key = f"{source} {utterance.start_seconds} {utterance.end_seconds} {self._rules.recipe}"
        return self._folder / f"{fingerprint(key.encode())}.npy"


def _read(file: Path) -> np.ndarray | None:
    """Return the samples of a file that is as it was written."""
    try:
        with file.open("rb") as opened:
            samples = np.load(opened, allow_pickle=False)
            return samples if opened.read() == fingerprint(samples).encode() else None
    except (OSError, ValueError, EOFError, MemoryError):
        return None
