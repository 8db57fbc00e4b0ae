"""Sound files by libsndfile and FFmpeg, and the WAV files that a served graph reads. Needs no TensorFlow."""

import functools
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from ser_keras.audio_io.libsndfile import UNREADABLE, PlainSoundFile, Source, bytes_of, reason_of
from ser_keras.audio_io.media import MediaFile
from ser_keras.errors import InputError

READ_BY_THE_GRAPH = {"PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}
"""The encodings of WAV files that `ser_keras.audio_io.wav` reads, by libsndfile's names."""

WAV_BEGINNINGS = (b"RIFF", b"RF64", b"BW64")
"""With one of them a WAV file begins."""

FULL_SCALE = 2**15
"""Of int16 samples; that of float samples is 1."""

SoundFile = PlainSoundFile | MediaFile
"""A file that is open, by either reader."""

CANCELLED = 0.1
"""Channels cancel where their sum has a smaller part of the energy than this that unrelated channels would give it."""

_EXPECTED = "send WAV, FLAC, MP3, Ogg, MP4, WebM or any other file that has sound, whole and undamaged"
_SAMPLES_AT_ONCE = 2**20
_DESCRIBED_BYTES = 64
_BEGINNINGS = {
    "a PDF document": b"%PDF",
    "a ZIP archive or an Office document": b"PK\x03\x04",
    "a gzip archive": b"\x1f\x8b",
    "a 7-Zip archive": b"7z\xbc\xaf",
    "a RAR archive": b"Rar!",
    "a PNG picture": b"\x89PNG",
    "a JPEG picture": b"\xff\xd8\xff",
    "a GIF picture": b"GIF8",
    "a web page": (b"<!DOCTYPE", b"<!doctype", b"<html", b"<HTML"),
    "a Git LFS pointer in place of the recording": b"version https://git-lfs",
    "a MIDI file, notes without sound": b"MThd",
    "only zeros at its beginning": bytes(_DESCRIBED_BYTES),
    "a damaged or cut off WAV file": WAV_BEGINNINGS,
    "a damaged or cut off FLAC file": b"fLaC",
    "a damaged or cut off Ogg file": b"OggS",
    "a damaged or cut off MP3 file": (b"ID3", b"\xff\xfb", b"\xff\xf3"),
    "a damaged or cut off AIFF file": b"FORM",
    "a damaged or cut off AU file": b".snd",
    "a damaged or cut off CAF file": b"caff",
    "a damaged or cut off AMR file": b"#!AMR",
    "a damaged or cut off WebM or Matroska file": b"\x1aE\xdf\xa3",
    "a damaged or cut off Windows Media file": b"0&\xb2u\x8ef\xcf\x11",
}
"""Files that no reader opens: their name, and the first bytes."""


@dataclass(frozen=True)
class SoundFacts:
    """What is known of a file without its samples.

    Attributes:
        seconds: its length; 0 where that is not known.
    """

    seconds: float


class UnreadableError(InputError):
    """No reader knows the format of a file, or the file is damaged."""


def look_at_sound(path: Path) -> SoundFacts | None:
    """Read the header of a file; None where it cannot be read.

    Packets are counted where the header has no length.
    """
    try:
        with open_file(path) as file:
            frames = file.known_frames or file.count_frames()
            return SoundFacts(frames / file.samplerate)
    except (OSError, *UNREADABLE):
        return None


def is_plain_wav(file: SoundFile) -> bool:
    """Tell whether a file is WAV of an encoding that a served graph reads."""
    return file.format in ("WAV", "WAVEX", "RF64") and file.subtype in READ_BY_THE_GRAPH


def open_file(source: Source) -> SoundFile:
    """Open a file that has sound, recognised by its content; it may be of any length.

    Args:
        source: its path, or its bytes.

    Raises:
        InputError: it has no sound, or is damaged or cut off; the message says which.
        OSError: it cannot be opened.
    """
    try:
        return PlainSoundFile(source)
    except InputError:
        raise
    except UNREADABLE:
        file = bytes_of(source)
    try:
        return MediaFile(file)
    except InputError:
        file.close()
        raise
    except (ImportError, *UNREADABLE) as error:
        file.seek(0)
        what = describe_beginning(file.read(_DESCRIBED_BYTES))
        file.close()
        remedy = "; to read MP4, WebM, 3GP, WMA and AMR: pip install av" if isinstance(error, ImportError) else ""
        raise UnreadableError(f"not audio that can be read: {what}; {_EXPECTED}{remedy}") from error


def mono_blocks(file: SoundFile) -> Iterator[np.ndarray]:
    """Yield one channel of a file block by block, float32 `(time,)`.

    The length in a header is not trusted: the caller decides when there are too many blocks.

    Raises:
        InputError: the file is damaged or cut off; what can be read before is yielded first.
    """
    step = max(_SAMPLES_AT_ONCE // file.channels, 1)
    while len(block := file.read(step, dtype="float32", always_2d=True)):  # (time, channels)
        yield mix_channels(block)


def mix_channels(samples: np.ndarray) -> np.ndarray:
    """Make one channel of several: their mean, or the strongest of them where they cancel in the mean.

    One microphone connected with the wrong polarity gives two channels of opposite phase; the speech is in both
    and cancels in their mean. The sum of unrelated channels has the sum of their energies (variances, so that
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
    with np.errstate(all="ignore"):  # damaged samples are checked by the caller
        mean, energies = samples.mean(axis=1), samples.var(axis=0)
        cancels = num_channels**2 * mean.var() < CANCELLED * energies.sum()
    return samples[:, energies.argmax()] if cancels else mean


def read_plain_flac(file: BinaryIO, sample_rate: int, max_seconds: float) -> np.ndarray | None:
    """Read a mono FLAC file of 16 bits by dr_flac, which takes half of libsndfile's time.

    Args:
        file: open for reading, seekable.
        sample_rate: rate wanted, in Hz.
        max_seconds: a longer recording is not read.

    Returns:
        int16 `(time,)`, exactly the samples that libsndfile gives; None where the file is anything else or damaged,
        or dr_flac is not installed.
    """
    file.seek(0)
    begin = file.read(26)
    facts = int.from_bytes(begin[18:])  # 20 bits rate, 3 channels - 1, 5 bits - 1, 36 samples (RFC 9639, 8.2)
    kind, num_samples = divmod(facts, 2**36)
    is_plain = begin[:4] == b"fLaC" and kind == (sample_rate << 8) + 15
    if not is_plain or not 0 < num_samples <= max_seconds * sample_rate or not (decode := _flac_decoder()):
        return None
    file.seek(0)
    try:
        samples = decode(file.read())  # no more than there should be
    except ValueError:
        return None
    return samples if len(samples) == num_samples else None


def as_int16_if_exact(samples: np.ndarray) -> np.ndarray:
    """Return float samples as int16 where that loses nothing, which halves their memory; else as they are.

    Example:
        >>> as_int16_if_exact(np.array([0.5, -1.0], np.float32))
        array([ 16384, -32768], dtype=int16)
        >>> as_int16_if_exact(np.array([1e-6], np.float32)).dtype
        dtype('float32')
    """
    if np.any(samples[:100] * FULL_SCALE % 1):  # as after a conversion of the rate: without a look at the rest
        return samples
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
        subtype: libsndfile's name of the encoding; by default the one that changes no sample.
    """
    file = io.BytesIO()
    with np.errstate(over="ignore"):  # the reader reports infinite samples
        samples = samples if samples.dtype == np.int16 else samples.astype(np.float32)
    subtype = subtype or ("PCM_16" if samples.dtype == np.int16 else "FLOAT")
    soundfile.write(file, samples, sample_rate, format="WAV", subtype=subtype)
    return file.getvalue()


def as_wav(contents: bytes, *, most_bytes: int) -> bytes:
    """Make a WAV file that the served graph reads; one that is so already is left alone.

    Args:
        contents: the bytes of any file that has sound.
        most_bytes: of the WAV file.

    Raises:
        InputError: it cannot be read, or there would be more bytes. A WAV file that no reader here opens is left
            alone: the graph reads more damaged ones, and reports what is wrong.
    """
    contents = _without_tags(contents)
    try:
        with open_file(contents) as file:
            if is_plain_wav(file):
                return contents
            return encode_wav(_mono(file, most_bytes), file.samplerate)
    except UnreadableError:
        if begins_as_wav(contents):
            return contents
        raise


def begins_as_wav(contents: bytes) -> bool:
    """Tell whether bytes begin as a WAV file does."""
    return contents.startswith(WAV_BEGINNINGS) and contents[8:12] == b"WAVE"


def _without_tags(contents: bytes) -> bytes:
    """Remove the ID3v2 tags before a WAV file: after them libsndfile loses the end of the samples."""
    start = 0
    while contents[start : start + 3] == b"ID3" and len(contents) >= start + 10:
        has_footer = contents[start + 5] >> 4 & 1
        size = sum((byte & 127) << 7 * place for place, byte in enumerate(contents[start + 9 : start + 5 : -1]))
        start += 10 * (1 + has_footer) + size
    return contents[start:] if contents[start : start + 4] in (b"RIFF", b"RF64", b"BW64") else contents


def not_audio(error: Exception) -> str:
    """Return why a file is not read."""
    if isinstance(error, InputError):
        return str(error)
    return f"not audio that can be read ({reason_of(error)}); {_EXPECTED}"


def check_size(num_bytes: int, most_bytes: int) -> None:
    """Refuse a recording that is too large for a message.

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


def _mono(file: SoundFile, most_bytes: int) -> np.ndarray:
    blocks = [np.zeros(0, np.float32)]
    for block in mono_blocks(file):
        blocks.append(block)
        check_size(4 * sum(map(len, blocks)), most_bytes)
    return np.concatenate(blocks)


def describe_beginning(contents: bytes) -> str:
    """Name the kind of a file that no reader opens, by its first bytes; or return these bytes.

    Example:
        >>> describe_beginning(b"%PDF-1.7")
        'a PDF document'
        >>> describe_beginning(b"hello")
        "begins with 'hell'"
    """
    if not contents:
        return "an empty file"
    for name, magic in _BEGINNINGS.items():
        if contents.startswith(magic):
            return name
    if contents[4:8] == b"ftyp":
        return "an MP4 file that is cut off or was never finished: it has no index, which is mostly at its end"
    begins = "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in contents[:4])
    return f"begins with '{begins}'"
