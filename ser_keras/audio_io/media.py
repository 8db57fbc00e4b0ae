"""The sound of MP4, WebM, 3GP, WMA, AMR and other files of phones, browsers and cameras, by FFmpeg. No TensorFlow.

FFmpeg comes with PyAV. It also reads playlists that name other files and addresses: only formats
on a list are opened, and none can open another file.
"""

import io
import itertools
from collections.abc import Iterator
from types import ModuleType
from typing import Any, BinaryIO, Self

import numpy as np

from ser_keras.audio_io.libsndfile import SEND_WHOLE, TOLERATED_SECONDS, UNKNOWN_BYTES, ends_within_ogg_page
from ser_keras.errors import InputError

_WITH_LENGTH = {
    "mov,mp4,m4a,3gp,3g2,mj2": "MP4",
    "matroska,webm": "WebM or Matroska",
    "asf": "Windows Media",
    "avi": "AVI",
    "flv": "Flash video",
    "caf": "CAF",
    "wav": "WAV",
    "w64": "Wave64",
    "aiff": "AIFF",
    "au": "AU",
    "ogg": "Ogg",
    "wv": "WavPack",
    "tta": "True Audio",
    "ape": "Monkey's Audio",
    "rm": "RealMedia",
    "nistsphere": "NIST SPHERE",
    "voc": "VOC",
}
"""FFmpeg's name of each format whose header has the length, and the name to print."""

_WITHOUT_LENGTH = {
    "aac": "AAC",
    "loas": "AAC",
    "amr": "AMR",
    "ac3": "AC-3",
    "eac3": "E-AC-3",
    "mpegts": "MPEG transport stream",
    "mpeg": "MPEG video",
    "dss": "DSS",
    "qcp": "QCP",
    "shn": "Shorten",
}
"""The same for formats that are streams: their length in FFmpeg is a guess by the bit rate."""

_NAMES = _WITH_LENGTH | _WITHOUT_LENGTH
_OPTIONS = {"format_whitelist": ",".join(_NAMES), "protocol_whitelist": "none"}
# libsndfile reads these unless they are damaged, which FFmpeg would ignore.
_JUDGED_ELSEWHERE = {"wav": ("pcm_",), "caf": ("pcm_",), "aiff": ("pcm_",), "au": ("pcm_",), "ogg": ("vorbis", "opus")}
_ENCRYPTED = ("enca", "drms", "aavd")  # MPEG's Common Encryption, iTunes, Audible
_MOST_PACKETS = 10**7  # of 20 ms: two days; real recordings have fewer
_FULL_SCALES = {"u1": 2.0**7, "i2": 2.0**15, "i4": 2.0**31, "i8": 2.0**63}


class MediaFile:
    """The first audio stream of a media file, with as much of `soundfile.SoundFile`'s interface as is needed here.

    Samples are those of FFmpeg, without the priming that encoders put before the sound.

    Args:
        file: opened for reading, seekable; it is closed with this.

    Attributes:
        samplerate: in Hz.
        channels: their number.
        known_frames: samples of each channel that the header claims; 0 where it claims none.

    Raises:
        InputError: it is a media file, but without sound that can be decoded; the message says why.
        ValueError: FFmpeg does not know the format.
        ImportError: PyAV is not installed.
    """

    format = "FFmpeg"
    subtype = ""

    def __init__(self, file: BinaryIO):
        self._av = _pyav()
        self._file = file
        try:
            self._container = self._av.open(file, container_options=_OPTIONS, **_reading_titles(self._av))
        except _errors(self._av) as error:
            raise ValueError(str(error)) from error
        self._end_seconds, self._num_decoded = 0.0, 0
        self._stream = self._first_stream()
        self._blocks = self._decode()
        if self._is_cut_off():
            raise InputError(f"cut off; {SEND_WHOLE}")
        first = next(self._blocks, None)
        if first is None:
            raise InputError("no samples in the file")
        self._rest = first
        self.channels = first.shape[1]
        claimed = self._claimed_seconds(self._stream.duration, self._stream.time_base)
        self.known_frames = round(claimed * self.samplerate)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()
        self._file.close()

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """Return the next samples, float32 `(time, channels)`: as many as asked for, fewer at the end.

        Raises:
            InputError: the file is damaged or cut off.
        """
        parts, count = [self._rest], len(self._rest)
        while count < frames and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            count += len(block)
        whole = np.concatenate(parts)
        self._rest = whole[frames:].copy()
        return whole[:frames]

    def count_frames(self) -> int:
        """Return the number of samples by the packets, without decoding them; nothing can be read afterwards."""
        packets = itertools.islice(self._container.demux(self._stream), _MOST_PACKETS)
        try:
            seconds = sum(float((packet.duration or 0) * packet.time_base) for packet in packets if packet.size)
        except _errors(self._av):
            return 0
        return round(seconds * self.samplerate) + self._num_decoded

    def _first_stream(self) -> Any:
        name = self._container.format.name
        if not self._container.streams.audio:
            kind = "video" if self._container.streams.video else "file"
            raise InputError(f"{_NAMES.get(name, name)} {kind} without sound; expected a recording that has sound")
        stream = self._container.streams.audio[0]
        if _tag(stream) in _ENCRYPTED:
            raise InputError(f"encrypted {_NAMES.get(name, name)} file; expected one without copy protection")
        if stream.codec_context is None:
            raise InputError(f"{_NAMES.get(name, name)} file with sound of an unknown encoding; convert it to WAV")
        if stream.codec_context.name.startswith(_JUDGED_ELSEWHERE.get(name, "-")):
            raise ValueError("damaged")
        return stream

    def _is_cut_off(self) -> bool:
        ends_early = {"ogg": ends_within_ogg_page, "avi": _ends_within_riff}.get(self._container.format.name)
        place = self._file.tell()
        is_cut_off = ends_early is not None and ends_early(self._file)
        self._file.seek(place)  # where FFmpeg is
        return is_cut_off

    def _decode(self) -> Iterator[np.ndarray]:
        """Yield the samples of each frame, float32 `(time, channels)`."""
        try:
            for packet in self._container.demux():  # of all streams: the longest shows whether the file is complete
                self._end_seconds = max(self._end_seconds, _end_of(packet))
                if packet.stream.index == self._stream.index:
                    yield from map(self._samples, packet.decode())
        except InputError:
            raise
        except _errors(self._av) as error:
            raise InputError(f"damaged or cut off at {self._seconds_decoded:.1f} s; {SEND_WHOLE}") from error
        claimed = self._claimed_seconds(self._container.duration, 1 / self._av.time_base)
        found = max(self._end_seconds - (self._container.start_time or 0) / self._av.time_base, self._seconds_decoded)
        if found < claimed - TOLERATED_SECONDS:
            raise InputError(f"cut off: {found:.1f} s of {claimed:.1f} s; {SEND_WHOLE}")

    def _samples(self, frame: Any) -> np.ndarray:
        if not self._num_decoded:
            self.samplerate = frame.sample_rate
        elif (frame.sample_rate, len(frame.layout.channels)) != (self.samplerate, self.channels):
            raise InputError("its sample rate or number of channels changes on the way; convert it to WAV")
        samples = frame.to_ndarray()
        samples = samples.T if frame.format.is_planar else samples.reshape(-1, len(frame.layout.channels))
        scale = _FULL_SCALES.get(samples.dtype.str[1:])
        if scale:
            samples = samples / scale - (samples.dtype.kind == "u")
        self._num_decoded += len(samples)
        return samples.astype(np.float32)

    @property
    def _seconds_decoded(self) -> float:
        return self._num_decoded / self.samplerate if self._num_decoded else 0.0

    def _claimed_seconds(self, duration: int | None, time_base: Any) -> float:
        """Return a duration of the header; that of the whole file where the stream has none, 0 where it is a guess."""
        if self._container.format.name not in _WITH_LENGTH:
            return 0.0
        if duration is None:
            duration, time_base = self._container.duration or 0, 1 / self._av.time_base
        seconds = max(float(duration * time_base), 0.0)
        num_bytes = seconds * (self._stream.bit_rate or 0) / 8
        return 0.0 if self._container.format.name == "wav" and num_bytes >= UNKNOWN_BYTES else seconds  # streamed


def _pyav() -> ModuleType:
    import av

    return av


def _reading_titles(av: ModuleType) -> dict[str, str]:
    """Return the option with which PyAV before version 19 reads titles and artists that are not UTF-8."""
    return {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}


def _errors(av: ModuleType) -> tuple[type[Exception], ...]:
    """Return the exceptions of PyAV for damaged files."""
    return (av.FFmpegError, ValueError, LookupError, RuntimeError, ArithmeticError, MemoryError)


def _ends_within_riff(file: BinaryIO) -> bool:
    """Tell whether a file is shorter than its RIFF header claims; FFmpeg corrects the duration of an AVI header."""
    file.seek(4)
    size = int.from_bytes(file.read(4), "little")
    return file.seek(0, io.SEEK_END) - 8 < size < UNKNOWN_BYTES


def _tag(stream: Any) -> str:
    try:
        return stream.codec_context.codec_tag if stream.codec_context else ""
    except UnicodeDecodeError:  # a number, as in WAV
        return ""


def _end_of(packet: Any) -> float:
    """Return where a packet ends, in seconds; 0 where that is not known."""
    start = packet.dts if packet.pts is None else packet.pts
    return 0.0 if start is None else float((start + (packet.duration or 0)) * packet.time_base)
