"""Small files as phones, browsers and cameras write them: a tone, encoded by PyAV."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

PITCH = 440.0  # Hz

KINDS = {
    "m4a": ("ipod", "aac", 48_000),
    "m4a, lossless": ("ipod", "alac", 48_000),
    "webm": ("webm", "libopus", 48_000),
    "webm, streamed": ("webm", "libopus", 48_000, {"live": "1"}),
    "3gp": ("3gp", "libopencore_amrnb", 8_000),
    "amr": ("amr", "libopencore_amrnb", 8_000),
    "mp4 video": ("mp4", "aac", 44_100, {}, "mpeg4"),
    "avi video": ("avi", "libmp3lame", 48_000, {}, "mpeg4"),
    "mpeg transport stream": ("mpegts", "aac", 48_000),
    "wma": ("asf", "wmav2", 44_100),
    "aac": ("adts", "aac", 48_000),
    "caf, lossless": ("caf", "alac", 48_000),
    "wav, G.722": ("wav", "g722", 16_000),
    "wav, G.723": ("wav", "g723_1", 8_000),
    "wav, G.726": ("wav", "g726", 8_000),
    "ogg, FLAC": ("ogg", "flac", 48_000),
}
"""Container, encoding, sample rate in Hz, options of the container, encoding of the pictures; as FFmpeg calls them."""

_BIT_RATES = {"libopencore_amrnb": 12_200, "g723_1": 6_300, "g726": 32_000}


def tone(seconds, rate):
    return 0.3 * np.sin(2 * np.pi * PITCH * np.arange(round(seconds * rate)) / rate)


def media_file(kind, seconds=1.0, samples=None):
    """The bytes of a file of a kind; by default it holds a tone."""
    container, codec, rate, *more = KINDS[kind]
    return encoded(container, codec, tone(seconds, rate) if samples is None else samples, rate, *more)


def encoded(container, codec, samples, rate, options=None, pictures=None, title=None):
    """The bytes of a file: samples `(time,)` with a full scale of 1, or None, and pictures, or none."""
    for name in filter(None, (codec, pictures)):
        if name not in av.codecs_available:
            pytest.skip(f"this FFmpeg has no {name}")
    file = io.BytesIO()
    seconds = 1.0 if samples is None else len(samples) / rate
    with av.open(file, "w", format=container, options=options or {}) as out:
        out.metadata.update({"title": title} if title else {})
        streams = []
        if pictures:
            streams.append((_picture_stream(out, pictures), _pictures(seconds)))
        if codec:
            streams.append((_sound_stream(out, codec, rate), [_frame(samples, rate)]))
        for stream, frames in streams:
            for frame in [*frames, None]:
                out.mux(stream.encode(frame))
    return file.getvalue()


def _sound_stream(out, codec, rate):
    stream = out.add_stream(codec, rate=rate, layout="mono")
    stream.bit_rate = _BIT_RATES.get(codec, 96_000)
    return stream


def _picture_stream(out, codec):
    stream = out.add_stream(codec, rate=10)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    return stream


def _frame(samples, rate):
    frame = av.AudioFrame.from_ndarray(np.round(samples * 32_767).astype(np.int16)[np.newaxis], "s16", "mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    return frame


def _pictures(seconds):
    for number in range(round(10 * seconds)):
        frame = av.VideoFrame(64, 64, "yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, 10)
        yield frame
