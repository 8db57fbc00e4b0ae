"""Audio files by libsndfile, and the WAV files that a served graph reads. Needs no TensorFlow."""

import functools
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ser_keras.errors import InputError

READ_BY_THE_GRAPH = {"PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}
"""The encodings of WAV files that `ser_keras.wav` reads, by libsndfile's names."""

FULL_SCALE = 2**15
"""Of int16 samples; that of float samples is 1."""

UNREADABLE = (soundfile.SoundFileError, RuntimeError, ValueError)
"""What libsndfile's binding raises of a file that it does not read."""

CANCELLED = 0.1
"""Channels cancel where their sum has a smaller part of the energy than this that unrelated channels would give it."""

_SAMPLES_AT_ONCE = 2**20


@dataclass(frozen=True)
class SoundFacts:
    """What a file says of itself, without its samples.

    Attributes:
        seconds: its length.
        is_plain_wav: whether a served graph reads it as it is.
    """

    seconds: float
    is_plain_wav: bool


def look_at_sound(path: Path) -> SoundFacts | None:
    """Read what an audio file says of itself; None where libsndfile does not read it."""
    try:
        with open_file(path) as file:
            is_wav = file.format in ("WAV", "WAVEX", "RF64")
            return SoundFacts(file.frames / file.samplerate, is_wav and file.subtype in READ_BY_THE_GRAPH)
    except UNREADABLE:
        return None


def open_file(path: Path) -> soundfile.SoundFile:
    """Open an audio file, whatever bytes its name has: soundfile itself fails on one that is no UTF-8.

    Raises:
        soundfile.SoundFileError: libsndfile does not know the format, or the file is damaged.
    """
    return soundfile.SoundFile(os.fsencode(path))


def open_sound(contents: bytes) -> soundfile.SoundFile:
    """Open the bytes of an audio file.

    Raises:
        soundfile.SoundFileError: libsndfile does not know the format, or the file is damaged.
    """
    return soundfile.SoundFile(_File(contents))


def mono_blocks(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """Yield a file as one channel piece by piece, float32 `(time,)`; `mix_channels` decides for each piece.

    The length that a header claims proves nothing: who collects the pieces decides when there are too many.
    """
    step = max(_SAMPLES_AT_ONCE // file.channels, 1)
    while len(block := file.read(step, dtype="float32", always_2d=True)):  # (time, channels)
        yield mix_channels(block)


def mix_channels(samples: np.ndarray) -> np.ndarray:
    """Make one channel of several: their mean, or the strongest of them where they cancel in the mean.

    One microphone connected with the wrong polarity gives two channels of opposite phase; the speech is in both
    and in their mean is nothing. The sum of unrelated channels has the sum of their energies (variances, so that
    a constant offset does not count). `CANCELLED` of it is the limit.

    Args:
        samples: float `(time, channels)`.

    Returns:
        `(time,)`, of the same type.

    Example:
        >>> left = np.float32([0.5, -0.5, 0.25])
        >>> mix_channels(np.stack([left, -left], axis=1)).tolist()
        [0.5, -0.5, 0.25]
        >>> mix_channels(np.stack([left, 0 * left], axis=1)).tolist()
        [0.25, -0.25, 0.125]
    """
    num_channels = samples.shape[1]
    if num_channels == 1 or len(samples) == 0:
        return samples.mean(axis=1)
    with np.errstate(all="ignore"):  # damaged samples are the business of who reads the result
        mean, energies = samples.mean(axis=1), samples.var(axis=0)
        cancels = num_channels**2 * mean.var() < CANCELLED * energies.sum()
    return samples[:, energies.argmax()] if cancels else mean


def read_plain_int16(path: Path, sample_rate: int, max_seconds: float) -> np.ndarray | None:
    """Read a mono WAV or FLAC file of 16 bits, the most common kind there is, without a detour.

    Args:
        path: the file.
        sample_rate: rate wanted, in Hz.
        max_seconds: a longer recording is not read.

    Returns:
        int16 `(time,)`, exactly the samples that every other reader here gives; None where the file is
        anything else, or anything is wrong with it.
    """
    try:
        with path.open("rb") as file:
            if (begin := file.read(4)) == b"fLaC" and (decoder := _flac_decoder()):
                return _read_flac(begin + file.read(), decoder, sample_rate, max_seconds)
            num_said = int.from_bytes(file.read(4), "little") + 8
            if begin != b"fLaC" and (begin != b"RIFF" or num_said > os.fstat(file.fileno()).st_size):
                return None  # libsndfile loses samples behind ID3 tags, and reads what was cut off without a word
        with open_file(path) as file:
            kind = (file.format, file.subtype, file.channels, file.samplerate)
            if kind not in {(name, "PCM_16", 1, sample_rate) for name in ("WAV", "FLAC")}:
                return None
            if file.frames > max_seconds * sample_rate:
                return None
            samples = file.read(dtype="int16")
            return samples if len(samples) == file.frames > 0 else None
    except (*UNREADABLE, OSError):
        return None


def as_int16_if_exact(samples: np.ndarray) -> np.ndarray:
    """Return float samples as int16 where that loses nothing, which halves their memory; else as they are.

    Example:
        >>> as_int16_if_exact(np.array([0.5, -1.0], np.float32))
        array([ 16384, -32768], dtype=int16)
        >>> as_int16_if_exact(np.array([1e-6], np.float32)).dtype
        dtype('float32')
    """
    scaled = samples * FULL_SCALE
    if not (np.all(scaled >= -FULL_SCALE) and np.all(scaled < FULL_SCALE)):
        return samples
    integers = scaled.astype(np.int16)
    return integers if np.array_equal(integers, scaled) else samples


def as_float32(samples: np.ndarray) -> np.ndarray:
    """Return samples as float32 with a full scale of 1."""
    return samples * np.float32(1 / FULL_SCALE) if samples.dtype == np.int16 else samples


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
    contents = _without_tags(contents)
    is_wav = contents[:4] in (b"RIFF", b"RF64", b"BW64") and contents[8:12] == b"WAVE"
    try:
        with open_sound(contents) as file:
            if is_wav and file.subtype in READ_BY_THE_GRAPH:
                return contents
            return encode_wav(_mono(file, most_bytes), file.samplerate)
    except InputError:
        raise
    except UNREADABLE as error:
        if is_wav:
            return contents
        raise InputError(not_audio(error)) from error


def _without_tags(contents: bytes) -> bytes:
    """Take the ID3v2 tags in front of a WAV file away: behind them libsndfile loses the end of the samples."""
    start = 0
    while contents[start : start + 3] == b"ID3" and len(contents) >= start + 10:
        has_footer = contents[start + 5] >> 4 & 1
        size = sum((byte & 127) << 7 * place for place, byte in enumerate(contents[start + 9 : start + 5 : -1]))
        start += 10 * (1 + has_footer) + size
    return contents[start:] if contents[start : start + 4] in (b"RIFF", b"RF64", b"BW64") else contents


def not_audio(error: Exception) -> str:
    """Tell why libsndfile does not read a file."""
    reason = str(error).partition(": ")[2].strip() or str(error)
    return f"not audio that can be read ({reason}); expected WAV, FLAC, MP3, Ogg or AIFF, whole and undamaged"


def check_size(num_bytes: int, most_bytes: int) -> None:
    """Refuse a recording that no message holds.

    Raises:
        InputError: it is larger.
    """
    if num_bytes > most_bytes:
        raise InputError(f"too long: more than {most_bytes // 2**20} MB as WAV; send a part of it")


@functools.cache
def _flac_decoder() -> Callable[[bytes], np.ndarray] | None:
    """Return dr_flac's decoder, which takes half of libsndfile's time; None where it is not installed."""
    try:
        import miniaudio
    except ImportError:
        return None

    def decode(contents: bytes) -> np.ndarray:
        try:
            return np.frombuffer(miniaudio.flac_read_s16(contents).samples, np.int16)
        except miniaudio.MiniaudioError as error:
            raise ValueError(str(error)) from error

    return decode


def _read_flac(
    contents: bytes, decode: Callable[[bytes], np.ndarray], sample_rate: int, max_seconds: float
) -> np.ndarray | None:
    """Return what `read_plain_int16` does, of the bytes of a FLAC file."""
    facts = int.from_bytes(contents[18:26])  # 20 bits rate, 3 channels - 1, 5 bits - 1, 36 samples (RFC 9639, 8.2)
    kind, num_samples = divmod(facts, 2**36)
    if kind != (sample_rate << 8) + 15 or num_samples > max_seconds * sample_rate:
        return None
    samples = decode(contents)
    return samples if len(samples) == num_samples > 0 else None


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
