"""EmotionClient: recordings to a model behind TF Serving, labels back, without TensorFlow.

    client = EmotionClient("http://localhost:8501")
    print(client.predict("clip.wav"))

Recordings go over the wire as WAV files. What is no WAV, or one of an encoding that the served graph does
not read, is made one here; every other WAV goes as it is, byte for byte.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from ser_keras.audio_io.sound_files import as_wav, check_size, encode_wav
from ser_keras.errors import InputError, require
from ser_keras.predictions import Embedding, Prediction, Source, Timeline
from ser_keras.predictions.outputs import ALONG, FEATURES, WHOLE, Question
from ser_keras.transports import Server, ServingError, connect

__all__ = ["EmotionClient", "Recording", "ServingError"]

logger = logging.getLogger(__name__)

Recording = str | Path | bytes | np.ndarray
"""A path, the bytes of an audio file, or samples: float or int16, `(time,)` or `(time, channels)`."""

MOST_RETRIES = 4
"""gRPC itself makes no more than five attempts."""

REQUEST_BYTES = 32 * 2**20
"""Recordings share a request up to this; a larger one travels alone."""

RECORDING_BYTES = 2**30
"""A recording whose WAV file is larger is refused: no message can hold 2 GB."""

_MOST_CHANNELS = 64


class EmotionClient:
    """Asks a served model about recordings.

    Recordings are sent in requests of up to `batch_size`, one request after the other, read as they are
    needed. A broken connection is tried again, with growing pauses; an answer of the server, good or
    bad, is final.

    Args:
        address: ``http://host:8501`` or ``https://...`` for REST; ``grpc://host:8500`` or ``host:8500`` for
            gRPC, ``grpcs://...`` for gRPC over TLS.
        model: its name on the server.
        version: of the model; the newest where there is none.
        timeout_seconds: longest wait for an answer, in seconds; over gRPC for all attempts together.
        retries: attempts after the first, 0 to 4, where the server cannot be reached.
        batch_size: most recordings in a request; no more than the largest batch that the server allows.

    Raises:
        InputError: an argument cannot work, or the library of the transport is not installed.

    Example:
        ```python
        with EmotionClient("grpc://localhost:8500") as client:
            print(client.predict("clip.wav").label)
            for prediction in client.predict(sorted(Path("clips").iterdir())):
                print(prediction)
        ```
    """

    def __init__(
        self,
        address: str,
        model: str = "ser",
        *,
        version: int | None = None,
        timeout_seconds: float = 30.0,
        retries: int = 3,
        batch_size: int = 32,
    ):
        require(bool(model), "model", model, "the model's name on the server")
        require(timeout_seconds > 0, "timeout_seconds", timeout_seconds, "more than 0 seconds")
        require(0 <= retries <= MOST_RETRIES, "retries", retries, f"0 to {MOST_RETRIES}")
        require(batch_size > 0, "batch_size", batch_size, "more than 0 recordings")
        require(version is None or version >= 0, "version", version, "0 or more, or None for the newest")
        self._batch_size = batch_size
        self._server = Server(address, model, version, timeout_seconds, retries)
        self._transport = connect(self._server)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def predict(
        self, audio: Recording | Sequence[Recording], *, sample_rate: int | None = None
    ) -> Prediction | list[Prediction]:
        """Ask for the emotion of one recording, or of each in a list.

        Args:
            audio: a path, the bytes of an audio file, an array of samples, or a list of these.
            sample_rate: of the arrays, in Hz; files say theirs themselves.

        Returns:
            A prediction; for a list, a list of them in the same order. In a list, a recording that
            cannot be used has its reason in ``error``, and its neighbours are answered.

        Raises:
            FileNotFoundError: the one recording does not exist.
            InputError: the one recording cannot be used, or the arguments make no sense.
            ServingError: the server could not be asked, or its answer is of no use.
        """
        return self._ask(WHOLE, audio, sample_rate)

    def timeline(
        self, audio: Recording | Sequence[Recording], *, sample_rate: int | None = None
    ) -> Timeline | list[Timeline]:
        """Ask for the emotions along one recording, or along each in a list.

        Arguments and errors are those of `predict`.

        Returns:
            A timeline; for a list, a list of them in the same order.
        """
        return self._ask(ALONG, audio, sample_rate)

    def embed(
        self, audio: Recording | Sequence[Recording], *, sample_rate: int | None = None
    ) -> np.ndarray | list[np.ndarray]:
        """Ask for the features of one recording, or of each in a list.

        Arguments and errors are those of `predict`.

        Returns:
            Float32 `(features,)`; for a list, a list of them in the same order. In a list, a recording
            that cannot be used has NaN in all of them, and its reason is logged as a warning.
        """
        answers = self._ask(FEATURES, audio, sample_rate)
        if isinstance(answers, Embedding):
            return answers.features
        width = max((len(each.features) for each in answers), default=0) or 1  # unknown where nothing was sent
        for position, each in enumerate(answers):
            if each.error:
                logger.warning("%s: %s", each.source or f"audio[{position}]", each.error)
        return [np.full(width, np.nan, np.float32) if each.error else each.features for each in answers]

    def _ask(self, question: Question, audio: Recording | Sequence[Recording], sample_rate: int | None) -> Any:
        is_many = isinstance(audio, list | tuple)
        recordings = list(audio) if is_many else [audio]
        _check(recordings, sample_rate)
        if not is_many and isinstance(audio, str | Path):
            Path(audio).stat()  # what is missing is a FileNotFoundError, which names it
        answers = list(self._answers(question, recordings, sample_rate))
        if not is_many and answers[0].error:
            raise InputError(f"{answers[0].source or 'the recording'}: {answers[0].error}")
        return answers if is_many else answers[0]

    def _answers(self, question: Question, recordings: list[Recording], sample_rate: int | None) -> Iterator[Any]:
        """Yield an answer for each recording, in order; what cannot be sent is answered here."""
        for batch in _batches((_parcel(each, sample_rate) for each in recordings), self._batch_size):
            answers = iter(self._request(question, [each for each in batch if not each.error]))
            for each in batch:
                yield question.answer(each.source, error=each.error) if each.error else next(answers)

    def _request(self, question: Question, parcels: list["_Parcel"]) -> list[Any]:
        if not parcels:
            return []
        outputs = self._transport.outputs(question.signature, [each.wav for each in parcels])
        try:
            return question.read(outputs, [each.source for each in parcels])
        except (KeyError, ValueError, TypeError) as error:
            raise self._server.strange(question.signature, error) from error


@dataclass(frozen=True)
class _Parcel:
    """A recording as it is sent, or why it is not."""

    source: Source
    wav: bytes = b""
    error: str = ""


def _check(recordings: list[Recording], sample_rate: int | None) -> None:
    """Refuse what could never be a recording, before anything is sent."""
    for each in recordings:
        if not isinstance(each, Recording):
            raise InputError(
                f"{type(each).__name__} is no recording; expected a path, bytes, an array or a list of these"
            )
        if isinstance(each, np.ndarray):
            is_rate = sample_rate is not None and 0 < sample_rate < 2**31
            require(is_rate, "sample_rate", sample_rate, "the rate of the array, in Hz")
            is_audio = each.dtype.kind == "f" or each.dtype == np.int16
            require(is_audio, "array of type", str(each.dtype), "float with a full scale of 1, or int16")
            is_audio = each.ndim == 1 or (each.ndim == 2 and 0 < each.shape[1] <= _MOST_CHANNELS)
            require(is_audio, "array of shape", each.shape, f"(time,) or (time, channels), {_MOST_CHANNELS} at most")


def _parcel(recording: Recording, sample_rate: int | None) -> _Parcel:
    source = recording if isinstance(recording, str | Path) else None
    try:
        if isinstance(recording, np.ndarray):
            wav = encode_wav(recording, int(sample_rate))
        else:
            wav = as_wav(recording if source is None else _contents(Path(source)), most_bytes=RECORDING_BYTES)
        check_size(len(wav), RECORDING_BYTES)
    except OSError as error:
        return _Parcel(source, error=f"cannot be read: {error.strerror or error}; expected an audio file")
    except InputError as error:
        return _Parcel(source, error=str(error))
    return _Parcel(source, wav)


def _contents(path: Path) -> bytes:
    check_size(path.stat().st_size, RECORDING_BYTES)
    return path.read_bytes()


def _batches(parcels: Iterable[_Parcel], batch_size: int) -> Iterator[list[_Parcel]]:
    batch: list[_Parcel] = []
    for parcel in parcels:
        if batch and (len(batch) == batch_size or sum(len(each.wav) for each in [*batch, parcel]) > REQUEST_BYTES):
            yield batch
            batch = []
        batch.append(parcel)
    if batch:
        yield batch
