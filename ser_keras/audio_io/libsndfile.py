"""Files that libsndfile reads (WAV, FLAC, MP3, Ogg, AIFF and others), and whether they are whole. No TensorFlow."""

import io
import os
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from ser_keras.errors import InputError

Source = Path | bytes
"""Where the bytes of a file are."""

UNREADABLE = (soundfile.SoundFileError, RuntimeError, ValueError)
"""What is raised of a file that cannot be read: by libsndfile's binding, and `InputError`."""

TOLERATED_SECONDS = 0.2
"""A file may lack this much of the length in its header: encoders round, and some count what players skip."""

SEND_WHOLE = "send it whole"
"""The remedy for a file that is cut off."""
UNKNOWN_BYTES = 2**31 - 2**16
"""Programs that stream write this size or a larger one where they do not know it yet."""

_UNKNOWN_FRAMES = 2**62  # libsndfile returns a larger number for a stream without a length
_CHUNK_SIZES = re.compile(r"^ *(?:data|SSND|BODY|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
_MP3_LENGTH = re.compile(rb"VBRI|(?:Xing|Info)...[\x01\x03\x05\x07\x09\x0b\x0d\x0f]", re.DOTALL)  # its flags are odd
_LONGEST_OGG_PAGE = 27 + 255 + 255 * 255


def bytes_of(source: Source) -> BinaryIO:
    """Open the bytes of a file."""
    return source.open("rb") if isinstance(source, Path) else io.BytesIO(source)


class PlainSoundFile(soundfile.SoundFile):
    """A file that libsndfile reads, checked for completeness against its header.

    Attributes:
        known_frames: samples of each channel according to the header; 0 where it has no length, or only a guess
            by the bit rate.
    """

    def __init__(self, source: Source):
        super().__init__(os.fsencode(source) if isinstance(source, Path) else _File(source))
        is_guess = self.subtype.startswith("MPEG") and not _has_length_of_mp3(source)
        self.known_frames = 0 if is_guess or self.frames > _UNKNOWN_FRAMES else self.frames
        self._num_read = 0
        self._check_chunks()
        if self.format == "OGG":
            with bytes_of(source) as file:
                if ends_within_ogg_page(file):
                    raise InputError(f"cut off after {self.frames / self.samplerate:.1f} s; {SEND_WHOLE}")

    def count_frames(self) -> int:
        """Return the best guess at the number of samples; 0 where there is none."""
        return 0 if self.frames > _UNKNOWN_FRAMES else self.frames

    def read(self, *args: Any, **options: Any) -> np.ndarray:
        """Read as `soundfile.SoundFile` does.

        Raises:
            InputError: the file is damaged, or ends before the length in its header.
        """
        try:
            block = super().read(*args, **options)
        except soundfile.SoundFileError as error:
            seconds = self.known_frames / self.samplerate
            raise InputError(f"damaged or cut off within {seconds:.1f} s ({reason_of(error)}); {SEND_WHOLE}") from error
        self._num_read += len(block)
        if not len(block):
            self._check_length(self._num_read / self.samplerate, self.known_frames / self.samplerate)
        return block

    def _check_chunks(self) -> None:
        """Compare the size of the samples with that of the file; libsndfile logs both, and reads what is there."""
        sizes = _CHUNK_SIZES.search(self.extra_info)
        claimed, found = map(int, sizes.groups()) if sizes else (0, 0)
        if found < claimed < UNKNOWN_BYTES:
            seconds = self.frames / self.samplerate
            self._check_length(seconds, seconds * claimed / max(found, 1))

    def _check_length(self, found: float, claimed: float) -> None:
        if found < claimed - TOLERATED_SECONDS:
            raise InputError(f"cut off: {found:.1f} s of {claimed:.1f} s; {SEND_WHOLE}")


def reason_of(error: Exception) -> str:
    """Return the message of libsndfile without the name of the file."""
    return str(error).partition(": ")[2].strip(" .\n") or str(error)


def ends_within_ogg_page(file: BinaryIO) -> bool:
    """Tell whether an Ogg file is cut off: Ogg has no total length, but each page has its own.

    Many recorders do not mark the last page, so that a complete page is enough.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(size - _LONGEST_OGG_PAGE, 0))
    end = file.read()
    page = end[end.rfind(b"OggS") :]
    if len(page) < 27:
        return True
    num_segments = page[26]
    return len(page) < 27 + num_segments + sum(page[27 : 27 + num_segments])


def _has_length_of_mp3(source: Source) -> bool:
    """Tell whether the first frame of an MP3 file, after an ID3v2 tag, is a header with the length."""
    with bytes_of(source) as file:
        begin = file.read(10)
        if begin[:3] == b"ID3" and len(begin) == 10:
            high, upper, lower, low = begin[6:]  # seven bits each
            file.seek(high << 21 | upper << 14 | lower << 7 | low, io.SEEK_CUR)
        frame = begin + file.read(200)
    return _MP3_LENGTH.search(frame) is not None


class _File(io.BytesIO):
    """Bytes in which a seek before the beginning, as in damaged headers, goes to the beginning."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return super().seek(max(offset, 0) if whence == io.SEEK_SET else offset, whence)
