"""Audio files by libsndfile, and the WAV files that a served graph reads. Needs no TensorFlow."""

import io
from collections.abc import Iterator

import numpy as np
import soundfile

from ser_keras.errors import InputError

READ_BY_THE_GRAPH = {"PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}
"""The encodings of WAV files that `ser_keras.wav` reads, by libsndfile's names."""

_SAMPLES_AT_ONCE = 2**20


def open_sound(contents: bytes) -> soundfile.SoundFile:
    """Open the bytes of an audio file.

    Raises:
        soundfile.SoundFileError: libsndfile does not know the format, or the file is damaged.
    """
    return soundfile.SoundFile(_File(contents))


def mono_blocks(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """Yield the mean of a file's channels piece by piece, float32 `(time,)`.

    The length that a header claims proves nothing: who collects the pieces decides when there are too many.
    """
    step = max(_SAMPLES_AT_ONCE // file.channels, 1)
    while len(block := file.read(step, dtype="float32", always_2d=True)):  # (time, channels)
        yield block.mean(axis=1)


def encode_wav(samples: np.ndarray, sample_rate: int, subtype: str | None = None) -> bytes:
    """Make a WAV file.

    Args:
        samples: float with a full scale of 1, or int16; `(time,)` or `(time, channels)`.
        sample_rate: in Hz.
        subtype: libsndfile's name of the encoding; where there is none, that which changes no sample.
    """
    file = io.BytesIO()
    with np.errstate(over="ignore"):  # who reads it says that there are infinite samples
        samples = samples if samples.dtype == np.int16 else samples.astype(np.float32)
    subtype = subtype or ("PCM_16" if samples.dtype == np.int16 else "FLOAT")
    soundfile.write(file, samples, sample_rate, format="WAV", subtype=subtype)
    return file.getvalue()


def as_wav(contents: bytes, *, most_bytes: int) -> bytes:
    """Make a WAV file that the served graph reads; one that is so already is left alone.

    Args:
        contents: the bytes of an audio file of any format.
        most_bytes: of the WAV file.

    Raises:
        InputError: libsndfile cannot read it, or there would be more bytes. A WAV file that libsndfile
            cannot read is left alone: the graph reads more damaged ones, and says what is wrong.
    """
    is_wav = contents[:4] in (b"RIFF", b"RF64", b"BW64") and contents[8:12] == b"WAVE"
    try:
        with open_sound(contents) as file:
            if is_wav and file.subtype in READ_BY_THE_GRAPH:
                return contents
            return encode_wav(_mono(file, most_bytes), file.samplerate)
    except InputError:
        raise
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        if is_wav:
            return contents
        reason = str(error).partition(": ")[2].strip() or str(error)
        raise InputError(
            f"not audio that can be read ({reason}); expected WAV, FLAC, MP3, Ogg or AIFF, whole and undamaged"
        ) from error


def check_size(num_bytes: int, most_bytes: int) -> None:
    """Refuse a recording that no message holds.

    Raises:
        InputError: it is larger.
    """
    if num_bytes > most_bytes:
        raise InputError(f"too long: more than {most_bytes // 2**20} MB as WAV; send a part of it")


def _mono(file: soundfile.SoundFile, most_bytes: int) -> np.ndarray:
    blocks = [np.zeros(0, np.float32)]
    for block in mono_blocks(file):
        blocks.append(block)
        check_size(4 * sum(map(len, blocks)), most_bytes)
    return np.concatenate(blocks)


class _File(io.BytesIO):
    """Bytes in which a place before the first, as damaged headers ask for, is the first."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return super().seek(max(offset, 0) if whence == io.SEEK_SET else offset, whence)
