"""Encoded bytes in, a mono float32 waveform at one sample rate out.

`wav_to_waveform` is made of core TensorFlow operations: it is part of every exported model.
`decode_audio` begins with the same reader and adds, for training and for files on disk, what
tensorflow-io, libsndfile and FFmpeg can read. Neither raises: a recording that cannot be used gives an error
text and an empty waveform, and its neighbours in the batch or the pipeline remain.
"""

import functools
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ser_keras.audio_io.clip_faults import EMPTY, damage
from ser_keras.audio_io.libsndfile import UNREADABLE, Source
from ser_keras.audio_io.resampling import resample
from ser_keras.audio_io.sound_files import (
    WAV_BEGINNINGS,
    SoundFile,
    UnreadableError,
    as_float32,
    as_int16_if_exact,
    is_plain_wav,
    mix_channels,
    mono_blocks,
    not_audio,
    open_file,
    read_plain_flac,
)
from ser_keras.audio_io.wav import DecodedAudio, decode_wav, read_frames
from ser_keras.audio_io.wav_header import CUT_OFF, HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE, WavHeader, begin_as_riff
from ser_keras.errors import InputError

_SMALL_BYTES = 2**20  # at the lowest rate 16 MB of samples
_MOST_SAMPLES_AT_ONCE = 2**26  # 256 MB
_MOST_SAMPLES_OF_MP3 = 48  # in a byte: stereo of 24 kHz at the lowest bit rate, 8,000 a second
_TENSORFLOW_IO = {("MP3", "MPEG_LAYER_III"): "decode_mp3", ("OGG", "VORBIS"): "decode_vorbis"}


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
    """Reads an audio file as a waveform.

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
    """Reads an audio file as `load_audio` does, without raising.

    Returns:
        Mono samples, float32, shape (time,), and why there are none; empty where all is well.
    """
    samples, error = read_samples(path, sample_rate=sample_rate, max_seconds=max_seconds)
    return as_float32(samples), error


def read_samples(path: str | Path, *, sample_rate: int, max_seconds: float) -> tuple[np.ndarray, str]:
    """Reads an audio file as `read_audio` does, into int16 with a full scale of 2**15 where that is exact."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            begin = file.read(4)
            if begin == b"fLaC" and (samples := read_plain_flac(file, sample_rate, max_seconds)) is not None:
                return samples, ""
        if begin.startswith((*WAV_BEGINNINGS, b"ID3")):
            samples, _, (error,) = _compiled_decoder(sample_rate, max_seconds)(_as_tensor([path]))
            return as_int16_if_exact(samples.numpy()), error.numpy().decode(errors="replace")
        samples, rate, error = _read_foreign(path, "", max_seconds)  # a video may be larger than the memory
    except (OSError, tf.errors.OpError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.message
        return np.zeros(0, np.float32), f"cannot be read: {reason}; expected an audio file"
    if rate not in (0, sample_rate):
        samples = _compiled_resampler(sample_rate)(tf.constant(samples), tf.constant(rate)).numpy()
    return as_int16_if_exact(samples), error


def read_files(paths: Sequence[Path], *, sample_rate: int, max_seconds: float) -> list[tuple[np.ndarray, str]]:
    """Reads several files as `read_samples` does, small WAV files in one call of the graph: it takes half the time."""
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
    """Returns a function from paths to the samples of all files, their numbers and their errors."""

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
        waveform, rate, error = _read_foreign(contents, np.asarray(wav_error, object).item().decode(), max_seconds)
        return waveform, rate, error.encode()

    waveform, sample_rate, error = tf.numpy_function(read, [contents, wav_error], [tf.float32, tf.int32, tf.string])
    return DecodedAudio(tf.ensure_shape(waveform, [None]), tf.ensure_shape(sample_rate, []), tf.ensure_shape(error, []))


def _read_foreign(source: Source, wav_error: str, max_seconds: float) -> tuple[np.ndarray, np.int32, str]:
    """Reads what is not plain WAV: waveform (time,), its rate in Hz, error.

    A WAV file of an encoding that the graph reads keeps the graph's error even if another reader opens it: otherwise
    the file would be used in training and refused by a server.
    """
    try:
        with open_file(source) as file:
            if wav_error and is_plain_wav(file):
                raise InputError(wav_error)
            _check_length(file.known_frames, file.samplerate, max_seconds)
            waveform = _read_by_tensorflow_io(source, file, max_seconds)
            if waveform is None:
                waveform = _read_blocks(file, max_seconds)
            _check(waveform, file.samplerate, max_seconds)
            return waveform, np.int32(file.samplerate), ""
    except UnreadableError as error:
        text = wav_error or str(error)
    except UNREADABLE as error:
        text = not_audio(error)
    return np.zeros(0, np.float32), np.int32(0), text


def _check(waveform: np.ndarray, rate: int, max_seconds: float) -> None:
    if len(waveform) == 0:
        raise InputError(EMPTY)
    if damaged := damage(waveform):
        raise InputError(damaged)
    _check_length(len(waveform), rate, max_seconds)


def _check_length(num_frames: int, rate: int, max_seconds: float) -> None:
    if not LOWEST_SAMPLE_RATE <= rate <= HIGHEST_SAMPLE_RATE:
        raise InputError(f"sample rate {rate} Hz is outside {LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE} Hz")
    if num_frames > max_seconds * rate:
        raise InputError(f"too long: {num_frames / rate:.1f} s, at most {max_seconds:.1f} s")


def _read_blocks(file: SoundFile, max_seconds: float) -> np.ndarray:
    """Reads until there is more than allowed."""
    blocks = [np.zeros(0, np.float32)]
    for block in mono_blocks(file):
        blocks.append(block)
        if sum(map(len, blocks)) > max_seconds * file.samplerate:
            break
    return np.concatenate(blocks)


def _read_by_tensorflow_io(source: Source, file: SoundFile, max_seconds: float) -> np.ndarray | None:
    """Reads short MP3 and Ogg Vorbis files; None for all others, after an error, and where it is not installed.

    It decodes whole files, and does not report that one is cut off. The length of an Ogg file is in its header; that
    of an MP3 file is bounded by its number of bytes.
    """
    decoder = _TENSORFLOW_IO.get((file.format, file.subtype))
    library = _tensorflow_io() if decoder else None
    if library is None:
        return None
    contents = source.read_bytes() if isinstance(source, Path) else source
    is_mp3 = decoder == "decode_mp3"
    num_samples = len(contents) * _MOST_SAMPLES_OF_MP3 if is_mp3 else file.known_frames * file.channels
    if num_samples > min(max_seconds * file.samplerate * file.channels, _MOST_SAMPLES_AT_ONCE):
        return None
    try:
        # Within the graph an error of its operations could not be caught and would end the pipeline.
        frames = getattr(library.audio, decoder)(contents).numpy()  # (time, channels)
    except tf.errors.OpError:
        return None
    return mix_channels(frames) if len(frames) >= max(file.known_frames, 1) else None


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
