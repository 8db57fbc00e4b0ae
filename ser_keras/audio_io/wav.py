"""A RIFF/WAVE reader in core TensorFlow operations: the same graph reads WAV in training and in serving.

It never raises. In a batch of requests one broken item must not take the others with it, so whatever is
wrong comes back as a text beside an empty waveform.
"""

from typing import NamedTuple

import tensorflow as tf

from ser_keras.audio_io.clip_faults_graph import damage
from ser_keras.audio_io.graph_branches import kept_apart
from ser_keras.audio_io.sound_files import CANCELLED
from ser_keras.audio_io.wav_header import WavHeader, read_headers


class DecodedAudio(NamedTuple):
    """A recording at its own rate, or the reason why there is none.

    Attributes:
        waveform: one channel, as `ser_keras.audio_io.sound_files.mix_channels` makes it of several, float32,
            shape (time,); empty where there is an error.
        sample_rate: in Hz, int32 scalar; 0 where there is an error.
        error: string scalar; empty where all is well.
    """

    waveform: tf.Tensor
    sample_rate: tf.Tensor
    error: tf.Tensor


def decode_wav(contents: tf.Tensor, *, max_seconds: float = 600.0) -> DecodedAudio:
    """Reads the bytes of a WAV file.

    Integer PCM of 8 to 32 bits and floats of 32 and 64 bits, plain or WAVE_FORMAT_EXTENSIBLE, in RIFF,
    RF64 or BW64, with any number of channels, after ID3 tags too. Samples of 24 bits may fill 3 bytes or 4,
    as the block align defines. Chunks may come in any order, with or without their pad byte. A data chunk whose
    size was never filled in by the program that streamed it is read to the end of the file, in whole frames;
    one that was cut off is an error. Full scale is 1; float files may exceed it.

    Args:
        contents: the file's bytes, string scalar.
        max_seconds: a longer recording is an error.

    Returns:
        The waveform, its rate and an error text that says what was found and what is expected.

    Example:
        >>> import tensorflow as tf
        >>> contents = tf.audio.encode_wav(tf.constant([[0.0], [0.5], [-1.0]]), 16_000)
        >>> decoded = decode_wav(contents)
        >>> decoded.waveform.numpy().tolist(), int(decoded.sample_rate)
        ([0.0, 0.5, -1.0], 16000)
        >>> decode_wav(tf.constant("ID3...")).error.numpy().decode()
        "not a WAV file: begins with 'ID3.', expected 'RIFF....WAVE'; send WAV"
    """
    headers = read_headers(tf.convert_to_tensor(contents)[tf.newaxis], max_seconds=max_seconds)
    return read_frames(contents, WavHeader(*(tf.squeeze(field, 0) for field in headers)))


def read_frames(contents: tf.Tensor, header: WavHeader) -> DecodedAudio:
    """Reads the samples of a WAV file whose header was read before.

    Args:
        contents: the file's bytes, string scalar.
        header: from `ser_keras.audio_io.wav_header.read_headers`.

    Returns:
        The waveform, its rate and an error text: the header's, or that the samples are damaged.
    """
    is_usual = tf.equal(header.encoding, _INT16) & tf.equal(header.num_channels, 1)
    read = tf.cond(is_usual, lambda: _read_usual(contents, header), lambda: _read_any(contents, header))
    return DecodedAudio(*read)


def _read_usual(contents: tf.Tensor, header: WavHeader) -> DecodedAudio:
    """Reads 16-bit integers of one channel, the most common kind: there is nothing to mix or to check."""
    return DecodedAudio(_read_int16(_body(contents, header)), header.sample_rate, header.error)


@kept_apart
def _read_any(contents: tf.Tensor, header: WavHeader) -> DecodedAudio:
    body = _body(contents, header)
    samples = tf.switch_case(tf.cast(header.encoding, tf.int32), [lambda read=read: read(body) for read in _DECODERS])
    waveform = tf.cond(
        tf.equal(header.num_channels, 1), lambda: samples, lambda: _mix_channels(samples, header.num_channels)
    )
    decoded = DecodedAudio(waveform, header.sample_rate, header.error)
    # Only floats can be damaged.
    return tf.cond(header.encoding >= _FIRST_FLOAT, lambda: _refuse_damaged(decoded), lambda: decoded)


def _body(contents: tf.Tensor, header: WavHeader) -> tf.Tensor:
    """The bytes of the samples."""
    sample_bytes = tf.gather(tf.constant(_SAMPLE_BYTES, tf.int64), header.encoding)
    return tf.strings.substr(contents, header.data, header.num_frames * header.num_channels * sample_bytes)


def _mix_channels(samples: tf.Tensor, num_channels: tf.Tensor) -> tf.Tensor:
    """The graph version of `ser_keras.audio_io.sound_files.mix_channels`."""
    samples = tf.reshape(samples, tf.stack([-1, num_channels]))  # (time, channels)
    mean, energies = tf.reduce_mean(samples, axis=1), tf.math.reduce_variance(samples, axis=0)
    energy = tf.math.reduce_variance(mean) * tf.cast(num_channels, tf.float32) ** 2
    cancels = energy < CANCELLED * tf.reduce_sum(energies)
    return tf.cond(cancels, lambda: tf.gather(samples, tf.argmax(energies), axis=1), lambda: mean)  # (time,)


def _read_uint8(body: tf.Tensor) -> tf.Tensor:
    return (tf.cast(tf.io.decode_raw(body, tf.uint8), tf.float32) - 128.0) * 2.0**-7


def _read_int16(body: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(body, tf.int16), tf.float32) * 2.0**-15


def _read_int24(body: tf.Tensor) -> tf.Tensor:
    triples = tf.reshape(tf.io.decode_raw(body, tf.uint8), [-1, 3])
    numbers = tf.bitcast(tf.pad(triples, [[0, 0], [1, 0]]), tf.int32)  # 256 times the sample
    return tf.cast(numbers, tf.float32) * 2.0**-31


def _read_int32(body: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(body, tf.int32), tf.float32) * 2.0**-31


def _read_float32(body: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_raw(body, tf.float32)


def _read_float64(body: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(body, tf.float64), tf.float32)


_DECODERS = (_read_uint8, _read_int16, _read_int24, _read_int32, _read_float32, _read_float64)
_SAMPLE_BYTES = (1, 2, 3, 4, 4, 8)
_INT16 = 1  # index of its reader
_FIRST_FLOAT = 4


def _refuse_damaged(decoded: DecodedAudio) -> DecodedAudio:
    damaged = damage(decoded.waveform)
    is_sound = tf.equal(damaged, "")
    return DecodedAudio(
        decoded.waveform[: tf.where(is_sound, tf.size(decoded.waveform), 0)],
        tf.where(is_sound, decoded.sample_rate, 0),
        tf.where(is_sound, decoded.error, damaged),
    )
