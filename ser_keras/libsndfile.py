"""Files that libsndfile reads (WAV, FLAC, MP3, Ogg, AIFF and others); needs no TensorFlow."""

import io
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from ser_keras.errors import InputError

Source = Path | bytes
"""Where the bytes of a file are."""

UNREADABLE = (soundfile.SoundFileError, RuntimeError, ValueError)
"""What is raised of a file that cannot be read: by libsndfile's binding, and `InputError`."""

SEND_WHOLE = "send it whole"
"""The remedy for a file that is cut off."""
_UNKNOWN_FRAMES = 2**62  # libsndfile's number where a stream tells none is larger


def bytes_of(source: Source) -> BinaryIO:
    """Open the bytes of a file."""
    return source.open("rb") if isinstance(source, Path) else io.BytesIO(source)


class PlainSoundFile(soundfile.SoundFile):
    """A file that libsndfile reads.

    Attributes:
        known_frames: samples of each channel that there are by the header; 0 where it tells none, or where that is
            a guess by the bit rate.
    """

    def __init__(self, source: Source):
        super().__init__(os.fsencode(source) if isinstance(source, Path) else _File(source))
        is_guess = self.subtype.startswith("MPEG") and not _has_length_of_mp3(source)
        self.known_frames = 0 if is_guess or self.frames > _UNKNOWN_FRAMES else self.frames

    def count_frames(self) -> int:
        """Return the best guess at the number of samples; 0 where there is none."""
        return 0 if self.frames > _UNKNOWN_FRAMES else self.frames

    def read(self, *args: Any, **options: Any) -> np.ndarray:
        """Return what `soundfile.SoundFile` does.

        Raises:
            InputError: the file is damaged.
        """
        try:
            return super().read(*args, **options)
        except soundfile.SoundFileError as error:
            seconds = self.known_frames / self.samplerate
            raise InputError(f"damaged or cut off within {seconds:.1f} s ({reason_of(error)}); {SEND_WHOLE}") from error


def reason_of(error: Exception) -> str:
    """Return the words of libsndfile without the name of the file."""
    return str(error).partition(": ")[2].strip(" .\n") or str(error)


def _has_length_of_mp3(source: Source) -> bool:
    """Tell whether the first frame of an MP3 file, behind an ID3v2 tag, is a header that tells the length."""
    with bytes_of(source) as file:
        begin = file.read(10)
        if begin[:3] == b"ID3" and len(begin) == 10:
            high, upper, lower, low = begin[6:]  # seven bits each
            file.seek(high << 21 | upper << 14 | lower << 7 | low, io.SEEK_CUR)
        frame = begin + file.read(200)
    return any(name in frame for name in (b"Xing", b"Info", b"VBRI"))


class _File(io.BytesIO):
    """Bytes in which a place before the first, as damaged headers ask for, is the first."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return super().seek(max(offset, 0) if whence == io.SEEK_SET else offset, whence)
