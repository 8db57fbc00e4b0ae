"""Encoded bytes in, a mono float32 waveform at one sample rate out.

`wav_to_waveform` is made of core TensorFlow operations: it is part of every exported model.
`decode_audio` begins with the same reader and adds, for training and for files on disk, what
tensorflow-io, libsndfile and FFmpeg can read. Neither raises: a recording that cannot be used gives an error
text and an empty waveform, and its neighbours in the batch or the pipeline remain.
"""

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ser_keras.audio_io.foreign import read_foreign
from ser_keras.audio_io.resampling import resample
from ser_keras.audio_io.sound_files import (
    WAV_BEGINNINGS,
    as_float32,
    as_int16_if_exact,
    read_plain_flac,
)
from ser_keras.audio_io.wav import DecodedAudio, decode_wav, read_frames
from ser_keras.audio_io.wav_header import CUT_OFF, WavHeader, begin_as_riff
from ser_keras.errors import InputError

_SMALL_BYTES = 2**20  # of a file that is read together with others; at the lowest rate 16 MB of samples


class Waveform(NamedTuple):
    """A recording in the form of the model's input, or the reason why there is none.

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
    """Turns a WAV file whose header was read before into a waveform, as `wav_to_waveform` does.

    Args:
        contents: the file's bytes, string scalar.
        header: from `ser_keras.audio_io.wav_header.read_headers`.
        sample_rate: rate of the waveform that comes out, in Hz.

    Returns:
        The samples and an error text, see `Waveform`.
    """
    return _at_rate(read_frames(contents, header), sample_rate)


def decode_audio(contents: tf.Tensor, *, sample_rate: int = 16_000, max_seconds: float = 600.0) -> Waveform:
    """Turns the bytes of a file that has sound into a waveform.

    Use it in `tf.data` pipelines and on files. The format is recognised by the bytes, never by a file's name.
    WAV takes the path of `wav_to_waveform`, so that training and serving read the same samples. What libsndfile
    opens (FLAC, MP3, Ogg, AIFF, WAV with mu-law, A-law, ADPCM, ...) it decodes too, block by block, but for short
    MP3 and Ogg Vorbis, which tensorflow-io decodes where its native library loads: that one decodes whole files, and
    its decoder of FLAC never returns from some damaged ones. All else (MP4, WebM, 3GP, WMA, AMR, G.722, ...) is
    decoded by FFmpeg: of several audio streams the first.

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
    """Read an audio file as a waveform.

    Args:
        path: the file; its format is recognised by its content.
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
    """Read an audio file as `load_audio` does, without raising.

    Returns:
        Mono samples, float32, shape (time,), and why there are none; empty where all is well.
    """
    samples, error = read_samples(path, sample_rate=sample_rate, max_seconds=max_seconds)
    return as_float32(samples), error


def read_samples(path: str | Path, *, sample_rate: int, max_seconds: float) -> tuple[np.ndarray, str]:
    """Read an audio file as `read_audio` does, into int16 with a full scale of 2**15 where that is exact."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            begin = file.read(4)
            if begin == b"fLaC" and (samples := read_plain_flac(file, sample_rate, max_seconds)) is not None:
                return samples, ""
        if begin.startswith((*WAV_BEGINNINGS, b"ID3")):
            samples, _, (error,) = _compiled_decoder(sample_rate, max_seconds)(_as_tensor([path]))
            return as_int16_if_exact(samples.numpy()), error.numpy().decode(errors="replace")
        samples, rate, error = read_foreign(path, "", max_seconds)  # a video may be larger than the memory
    except (OSError, tf.errors.OpError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.message
        return np.zeros(0, np.float32), f"cannot be read: {reason}; expected an audio file"
    if rate not in (0, sample_rate):
        samples = _compiled_resampler(sample_rate)(tf.constant(samples), tf.constant(rate)).numpy()
    return as_int16_if_exact(samples), error


def read_files(paths: Sequence[Path], *, sample_rate: int, max_seconds: float) -> list[tuple[np.ndarray, str]]:
    """Read several files, each as `read_samples` does; together small WAV files take half the time.

    Args:
        paths: the files; one that cannot be read changes nothing for the others.
        sample_rate: of the samples, in Hz.
        max_seconds: longer recordings are an error.

    Returns:
        For each file mono samples `(time,)`, and why there are none; empty where all is well.
    """
    limits = {"sample_rate": sample_rate, "max_seconds": max_seconds}
    small = [path for path in paths if _is_small_wav(path)]
    read = _read_small_wavs(small, **limits) if small else {}
    return [read.get(path) or read_samples(path, **limits) for path in paths]


def _read_small_wavs(paths: Sequence[Path], sample_rate: int, max_seconds: float) -> dict[Path, tuple[np.ndarray, str]]:
    try:
        decoded = _compiled_decoder(sample_rate, max_seconds)(_as_tensor(paths))
    except tf.errors.OpError:  # one of them cannot be read: each is read by itself
        return {}
    samples, lengths, errors = (each.numpy() for each in decoded)
    parts = np.split(samples, np.cumsum(lengths)[:-1])
    return {
        path: (as_int16_if_exact(part.copy()), error.decode(errors="replace"))  # a view would keep all in memory
        for path, part, error in zip(paths, parts, errors, strict=True)
    }


def _is_small_wav(path: Path) -> bool:
    """Whether a file may be read together with others; whatever its name, its content decides how."""
    try:
        return path.suffix.lower() == ".wav" and path.stat().st_size <= _SMALL_BYTES
    except OSError:
        return False


def _as_tensor(paths: Sequence[Path]) -> tf.Tensor:
    return tf.constant([os.fsencode(path) for path in paths], tf.string)


@functools.cache
def _compiled_decoder(sample_rate: int, max_seconds: float) -> tf.types.experimental.ConcreteFunction:
    """Return a function from paths to the samples of all files, their numbers and their errors."""

    def decode(paths):
        number = tf.size(paths)
        samples = tf.TensorArray(tf.float32, number, infer_shape=False, element_shape=[None])
        lengths, errors = tf.TensorArray(tf.int32, number), tf.TensorArray(tf.string, number)

        def decode_next(place, samples, lengths, errors):
            contents = tf.io.read_file(paths[place])
            waveform = decode_audio(contents, sample_rate=sample_rate, max_seconds=max_seconds)
            return (
                place + 1,
                samples.write(place, waveform.samples),
                lengths.write(place, tf.size(waveform.samples)),
                errors.write(place, waveform.error),
            )

        state = (0, samples, lengths, errors)
        _, *arrays = tf.while_loop(lambda place, *_: place < number, decode_next, state, parallel_iterations=1)
        return arrays[0].concat(), arrays[1].stack(), arrays[2].stack()

    return _compiled(decode, tf.TensorSpec([None], tf.string))


@functools.cache
def _compiled_resampler(sample_rate: int) -> tf.types.experimental.ConcreteFunction:
    resampler = functools.partial(resample, target_rate=sample_rate)
    return _compiled(resampler, tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.int32))


def _compiled(function: Callable, *signature: tf.TensorSpec) -> tf.types.experimental.ConcreteFunction:
    def on_cpu(*inputs):
        with tf.device("CPU"):
            return function(*inputs)

    traced = tf.function(on_cpu, input_signature=signature, autograph=False)
    return traced.get_concrete_function()  # to choose it at each call takes 0.2 ms


def _at_rate(decoded: DecodedAudio, sample_rate: int) -> Waveform:
    rate = tf.where(decoded.sample_rate > 0, decoded.sample_rate, sample_rate)
    return Waveform(resample(decoded.waveform, rate, sample_rate), decoded.error)


def _decode_riff(contents: tf.Tensor, max_seconds: float) -> DecodedAudio:
    wav = decode_wav(contents, max_seconds=max_seconds)
    # libsndfile would read a file that was cut off without an error.
    is_final = tf.equal(wav.error, "") | tf.equal(tf.strings.substr(wav.error, 0, len(CUT_OFF)), CUT_OFF)
    return tf.cond(is_final, lambda: wav, lambda: _decode_foreign(contents, wav.error, max_seconds))


def _decode_foreign(contents: tf.Tensor, wav_error: tf.Tensor, max_seconds: float) -> DecodedAudio:
    def read(contents, wav_error):
        contents = np.asarray(contents, object).item()  # eagerly it comes as an array
        waveform, rate, error = read_foreign(contents, np.asarray(wav_error, object).item().decode(), max_seconds)
        return waveform, rate, error.encode()

    waveform, sample_rate, error = tf.numpy_function(read, [contents, wav_error], [tf.float32, tf.int32, tf.string])
    return DecodedAudio(tf.ensure_shape(waveform, [None]), tf.ensure_shape(sample_rate, []), tf.ensure_shape(error, []))
