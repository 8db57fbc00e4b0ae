"""Files of other formats than plain WAV, by tensorflow-io, libsndfile or FFmpeg, whichever is best for a format."""

import functools
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import tensorflow as tf

from ser_keras.audio_io.clip_faults import EMPTY, damage
from ser_keras.audio_io.libsndfile import UNREADABLE, Source
from ser_keras.audio_io.sound_files import (
    SoundFile,
    UnreadableError,
    is_plain_wav,
    mix_channels,
    mono_blocks,
    not_audio,
    open_file,
)
from ser_keras.audio_io.wav_header import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE
from ser_keras.errors import InputError

_MOST_SAMPLES_AT_ONCE = 2**26  # 256 MB
_MOST_SAMPLES_OF_MP3 = 48  # in a byte: stereo of 24 kHz at the lowest bit rate, 8,000 a second
_TENSORFLOW_IO = {("MP3", "MPEG_LAYER_III"): "decode_mp3", ("OGG", "VORBIS"): "decode_vorbis"}


def read_foreign(source: Source, wav_error: str, max_seconds: float) -> tuple[np.ndarray, np.int32, str]:
    """Read what is not plain WAV: waveform (time,), its rate in Hz, error.

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
    """Read until there is more than allowed."""
    blocks = [np.zeros(0, np.float32)]
    for block in mono_blocks(file):
        blocks.append(block)
        if sum(map(len, blocks)) > max_seconds * file.samplerate:
            break
    return np.concatenate(blocks)


def _read_by_tensorflow_io(source: Source, file: SoundFile, max_seconds: float) -> np.ndarray | None:
    """Read short MP3 and Ogg Vorbis files; None for all others, after an error, and where it is not installed.

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
