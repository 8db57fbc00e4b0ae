"""Encoded bytes in, a mono float32 waveform at one sample rate out.

`wav_to_waveform` is made of core TensorFlow operations: it is part of every exported model.
`decode_audio` begins with the same reader and adds, for training and for files on disk, what
tensorflow-io and libsndfile can read. Neither raises: a recording that cannot be used gives an error
text and an empty waveform, and its neighbours in the batch or the pipeline remain.
"""

import functools
import struct
import warnings
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ser_keras.errors import InputError
from ser_keras.resampling import resample
from ser_keras.usable import EMPTY, damage
from ser_keras.wav import DecodedAudio, decode_wav, read_frames
from ser_keras.wav_header import CUT_OFF, HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE, WavHeader, begin_as_riff

_MP3_RATES = (44_100, 48_000, 32_000)  # of MPEG-1; MPEG-2 has the half of each, MPEG-2.5 the quarter
_MP3_DIVISORS = {3: 1, 2: 2, 0: 4}


class Waveform(NamedTuple):
    """A recording as the model wants it, or the reason why there is none.

    Attributes:
        samples: mono, float32, shape (time,); empty where there is an error.
        error: string scalar; empty where all is well.
    """

    samples: tf.Tensor
    error: tf.Tensor


def wav_to_waveform(contents: tf.Tensor, *, sample_rate: int = 16_000, max_seconds: float = 600.0) -> Waveform:
    """Turns the bytes of a WAV file into a waveform, with operations that every TensorFlow runtime has.

    Use it in a graph that will be served. It never raises, whatever the bytes.

    Args:
        contents: the file's bytes, string scalar.
        sample_rate: rate of the waveform that comes out, in Hz.
        max_seconds: a longer recording is an error.

    Returns:
        The samples and an error text, see `Waveform`.

    Example:
        >>> import tensorflow as tf
        >>> contents = tf.audio.encode_wav(tf.zeros([48_000, 1]), 48_000)
        >>> wav_to_waveform(contents).samples.shape
        TensorShape([16000])
        >>> wav_to_waveform(contents, max_seconds=0.5).error.numpy().decode()
        'too long: 1.0 s, at most 0.5 s'
    """
    return _at_rate(decode_wav(contents, max_seconds=max_seconds), sample_rate)


def frames_to_waveform(contents: tf.Tensor, header: WavHeader, *, sample_rate: int = 16_000) -> Waveform:
    """Does what `wav_to_waveform` does with a file whose header was read before.

    Args:
        contents: the file's bytes, string scalar.
        header: what `ser_keras.wav_header.read_headers` gave for them.
        sample_rate: rate of the waveform that comes out, in Hz.

    Returns:
        The samples and an error text, see `Waveform`.
    """
    return _at_rate(read_frames(contents, header), sample_rate)


def decode_audio(contents: tf.Tensor, *, sample_rate: int = 16_000, max_seconds: float = 600.0) -> Waveform:
    """Turns the bytes of an audio file of any common format into a waveform.

    Use it in `tf.data` pipelines and on files. The format is told by the bytes, never by a file's name.
    WAV takes the path of `wav_to_waveform`, so that training hears what serving hears. MP3 and Ogg
    Vorbis are read by tensorflow-io where its native library loads; all else (FLAC, AIFF, Opus, WAV with
    mu-law, A-law, ADPCM, ...), and what tensorflow-io refuses, is read by libsndfile. FLAC is among
    the latter because tensorflow-io's decoder never returns from some damaged files.

    Args:
        contents: the file's bytes, string scalar.
        sample_rate: rate of the waveform that comes out, in Hz.
        max_seconds: a longer recording is an error.

    Returns:
        The samples and an error text, see `Waveform`.

    Example:
        >>> import io, numpy as np, soundfile
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.zeros(24_000), 24_000, format="FLAC")
        >>> decode_audio(file.getvalue()).samples.shape
        TensorShape([16000])
    """
    contents = tf.convert_to_tensor(contents)
    decoded = tf.cond(
        begin_as_riff(contents[tf.newaxis])[0],
        lambda: _decode_riff(contents, max_seconds),
        lambda: _decode_foreign(contents, tf.constant(""), max_seconds),
    )
    return _at_rate(decoded, sample_rate)


def load_audio(path: str | Path, *, sample_rate: int = 16_000, max_seconds: float = 600.0) -> np.ndarray:
    """Reads an audio file as a waveform.

    Args:
        path: the file; its format is told by its content.
        sample_rate: rate of the waveform, in Hz.
        max_seconds: a longer recording is an error.

    Returns:
        Mono samples, float32, shape (time,).

    Raises:
        InputError: the file cannot be read or used; the message names it and says why.

    Example:
        >>> import numpy as np, soundfile
        >>> folder = getfixture("tmp_path")
        >>> soundfile.write(folder / "hum.wav", np.zeros(8_000), 8_000)
        >>> load_audio(folder / "hum.wav").shape
        (16000,)
    """
    samples, error = read_audio(path, sample_rate=sample_rate, max_seconds=max_seconds)
    if error:
        raise InputError(f"{path}: {error}")
    return samples


def read_audio(path: str | Path, *, sample_rate: int, max_seconds: float) -> tuple[np.ndarray, str]:
    """Reads an audio file as `load_audio` does, without raising.

    Returns:
        Mono samples, float32, shape (time,), and why there are none; empty where all is well.
    """
    try:
        contents = Path(path).read_bytes()
    except OSError as error:
        return np.zeros(0, np.float32), f"cannot be read: {error.strerror}; expected an audio file"
    samples, error = _compiled_decoder(sample_rate, max_seconds)(tf.constant(contents))
    return samples.numpy(), error.numpy().decode(errors="replace")


@functools.cache
def _compiled_decoder(sample_rate: int, max_seconds: float) -> tf.types.experimental.ConcreteFunction:
    def decode(contents):
        with tf.device("CPU"):
            return decode_audio(contents, sample_rate=sample_rate, max_seconds=max_seconds)

    traced = tf.function(decode, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    return traced.get_concrete_function()  # to choose it at each call takes 0.2 ms


def _at_rate(decoded: DecodedAudio, sample_rate: int) -> Waveform:
    rate = tf.where(decoded.sample_rate > 0, decoded.sample_rate, sample_rate)
    return Waveform(resample(decoded.waveform, rate, sample_rate), decoded.error)


def _decode_riff(contents: tf.Tensor, max_seconds: float) -> DecodedAudio:
    wav = decode_wav(contents, max_seconds=max_seconds)
    # Of a file that was cut off libsndfile reads the rest without a word.
    is_final = tf.equal(wav.error, "") | tf.equal(tf.strings.substr(wav.error, 0, len(CUT_OFF)), CUT_OFF)
    return tf.cond(is_final, lambda: wav, lambda: _decode_foreign(contents, wav.error, max_seconds))


def _decode_foreign(contents: tf.Tensor, wav_error: tf.Tensor, max_seconds: float) -> DecodedAudio:
    waveform, sample_rate, error = tf.numpy_function(
        functools.partial(_read_foreign, max_seconds=max_seconds),
        [contents, wav_error],
        [tf.float32, tf.int32, tf.string],
    )
    return DecodedAudio(tf.ensure_shape(waveform, [None]), tf.ensure_shape(sample_rate, []), tf.ensure_shape(error, []))


def _read_foreign(contents: bytes, wav_error: bytes, *, max_seconds: float) -> tuple[np.ndarray, np.int32, bytes]:
    """What is not plain WAV: waveform (time,), its rate in Hz, error."""
    contents = np.asarray(contents, object).item()  # eagerly it comes as an array
    try:
        waveform, rate = _read_by_tensorflow_io(contents) or _read_by_soundfile(contents, max_seconds)
        _check(waveform, rate, max_seconds)
    except _UnusableError as error:
        text = str(error)
    except (RuntimeError, ValueError, OSError) as error:  # libsndfile's own are RuntimeErrors
        text = wav_error or _not_audio(contents, error)
    else:
        return waveform, np.int32(rate), b""
    return np.zeros(0, np.float32), np.int32(0), text


class _UnusableError(Exception):
    """Why a recording that can be read cannot be used."""


def _check(waveform: np.ndarray, rate: int, max_seconds: float) -> None:
    if len(waveform) == 0:
        raise _UnusableError(EMPTY)
    if damaged := damage(waveform):
        raise _UnusableError(damaged)
    _check_length(len(waveform), rate, max_seconds)


def _check_length(num_frames: int, rate: int, max_seconds: float) -> None:
    if not LOWEST_SAMPLE_RATE <= rate <= HIGHEST_SAMPLE_RATE:
        raise _UnusableError(f"sample rate {rate} Hz is outside {LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE} Hz")
    if num_frames > max_seconds * rate:
        raise _UnusableError(f"too long: {num_frames / rate:.1f} s, at most {max_seconds:.1f} s")


def _read_by_soundfile(contents: bytes, max_seconds: float) -> tuple[np.ndarray, int]:
    from ser_keras.sound_files import mono_blocks, open_sound

    blocks = [np.zeros(0, np.float32)]
    with open_sound(contents) as file:
        _check_length(0, file.samplerate, max_seconds)
        for block in mono_blocks(file):
            blocks.append(block)
            if sum(map(len, blocks)) > max_seconds * file.samplerate:
                break
        return np.concatenate(blocks), file.samplerate


def _not_audio(contents: bytes, error: Exception) -> str:
    begins = "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in contents[:4])
    reason = str(error).partition(": ")[2].strip() or str(error)
    return (
        f"not audio that can be read: begins with '{begins}' ({reason}); "
        "send WAV, FLAC, MP3, Ogg or AIFF, whole and undamaged"
    )


def _read_by_tensorflow_io(contents: bytes) -> tuple[np.ndarray, int] | None:
    """MP3 and Ogg Vorbis; None for other formats, for what it refuses, and where it is not installed."""
    decoder, rate = "decode_mp3", _mp3_rate(contents)
    if rate is None:
        decoder, rate = "decode_vorbis", _vorbis_rate(contents)
    library = _tensorflow_io() if rate else None
    if library is None:
        return None
    try:
        # Its operations fail for the whole pipeline: as a part of the graph none could be caught.
        frames = getattr(library.audio, decoder)(contents).numpy()  # (time, channels)
    except tf.errors.OpError:
        return None
    return (frames.mean(axis=1), rate) if frames.size else None


@functools.cache
def _tensorflow_io() -> ModuleType | None:
    """The package, if its native library fits this TensorFlow; importing it proves nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import tensorflow_io
            from tensorflow_io.python.ops import core_ops

            core_ops.io_audio_decode_mp3  # noqa: B018  the library is loaded here
        except (ImportError, NotImplementedError, AttributeError):
            return None
    return tensorflow_io


def _mp3_rate(contents: bytes) -> int | None:
    """Sample rate in Hz from the first frame header behind an ID3v2 tag; None where this is no MP3."""
    start = 0
    if contents[:3] == b"ID3" and len(contents) >= 10:
        high, upper, lower, low = contents[6:10]  # seven bits each
        start = 10 + (high << 21 | upper << 14 | lower << 7 | low)
    header = contents[start : start + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] >> 5 != 7 or (header[1] >> 1) & 3 != 1:
        return None
    version, rate_index = (header[1] >> 3) & 3, (header[2] >> 2) & 3
    if version not in _MP3_DIVISORS or rate_index == 3:
        return None
    return _MP3_RATES[rate_index] // _MP3_DIVISORS[version]


def _vorbis_rate(contents: bytes) -> int | None:
    """Sample rate in Hz from the identification header; None where this is no Ogg Vorbis."""
    packet = contents[28:44]
    if contents[:4] != b"OggS" or packet[:7] != b"\x01vorbis" or len(packet) < 16:
        return None
    return struct.unpack_from("<I", packet, 12)[0]
