"""EmotionClient: predictions by a model behind TF Serving, without TensorFlow.

    client = EmotionClient("http://localhost:8501")
    print(client.predict("clip.wav"))

Recordings are sent as WAV files. Other formats, and WAV encodings that the served graph does not read, are converted
here; every other WAV file is sent as it is, byte for byte.
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
from ser_keras.predictions.outputs import EMBEDDING, PREDICTION, TIMELINE, Signature
from ser_keras.transports import Server, ServingError, connect

__all__ = ["EmotionClient", "Recording", "ServingError"]

logger = logging.getLogger(__name__)

Recording = str | Path | bytes | np.ndarray
"""A path, the bytes of an audio file, or samples: float or int16, `(time,)` or `(time, channels)`."""

MOST_RETRIES = 4
"""gRPC itself makes no more than five attempts."""

REQUEST_BYTES = 32 * 2**20
"""Recordings share a request up to this size; a larger one is sent alone."""

RECORDING_BYTES = 2**30
"""A recording with a larger WAV file is refused: no message can hold 2 GB."""

_MOST_CHANNELS = 64


class EmotionClient:
    """Client of a served model.

    Recordings are read as they are needed, and sent in requests of up to `batch_size`, one after the other. A broken
    connection is tried again, with growing pauses; a response of the server, good or bad, is final.

    Args:
        address: ``http://host:8501`` or ``https://...`` for REST; ``grpc://host:8500`` or ``host:8500`` for
            gRPC, ``grpcs://...`` for gRPC over TLS.
        model: its name on the server.
        version: of the model; the newest where there is none.
        timeout_seconds: longest wait for a response, in seconds; over gRPC for all attempts together.
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
        """Predict the emotion of one recording, or of each in a list.

        Args:
            audio: a path, the bytes of an audio file, an array of samples, or a list of these.
            sample_rate: of the arrays, in Hz; files hold theirs.

        Returns:
            A prediction; for a list, a list of them in the same order. In a list, a recording that
            cannot be used has its reason in ``error``, and the others are predicted.

        Raises:
            FileNotFoundError: the one recording does not exist.
            InputError: the one recording cannot be used, or the arguments make no sense.
            ServingError: the server cannot be reached, or its response is of no use.
        """
        return self._one_or_many(PREDICTION, audio, sample_rate)

    def timeline(
        self, audio: Recording | Sequence[Recording], *, sample_rate: int | None = None
    ) -> Timeline | list[Timeline]:
        """Predict the emotions along one recording, or along each in a list.

        Arguments and errors are those of `predict`.

        Returns:
            A timeline; for a list, a list of them in the same order.
        """
        return self._one_or_many(TIMELINE, audio, sample_rate)

    def embed(
        self, audio: Recording | Sequence[Recording], *, sample_rate: int | None = None
    ) -> np.ndarray | list[np.ndarray]:
        """Compute the features of one recording, or of each in a list.

        Arguments and errors are those of `predict`.

        Returns:
            Float32 `(features,)`; for a list, a list of them in the same order. In a list, a recording
            that cannot be used has NaN in all of them, and its reason is logged as a warning.
        """
        results = self._one_or_many(EMBEDDING, audio, sample_rate)
        if isinstance(results, Embedding):
            return results.features
        width = max((len(each.features) for each in results), default=0) or 1  # unknown where nothing was sent
        for position, each in enumerate(results):
            if each.error:
                logger.warning("%s: %s", each.source or f"audio[{position}]", each.error)
        return [np.full(width, np.nan, np.float32) if each.error else each.features for each in results]

    def _one_or_many(
        self, signature: Signature, audio: Recording | Sequence[Recording], sample_rate: int | None
    ) -> Any:
        is_many = isinstance(audio, list | tuple)
        recordings = list(audio) if is_many else [audio]
        for each in recordings:
            _check(each, sample_rate)
        if not is_many and isinstance(audio, str | Path):
            Path(audio).stat()  # raises FileNotFoundError, which names the path
        results = list(self._results(signature, recordings, sample_rate))
        if not is_many and results[0].error:
            raise InputError(f"{results[0].source or 'the recording'}: {results[0].error}")
        return results if is_many else results[0]

    def _results(self, signature: Signature, recordings: list[Recording], sample_rate: int | None) -> Iterator[Any]:
        """Yield a result for each recording, in order; one that cannot be sent has its reason."""
        for batch in _batches((_upload(each, sample_rate) for each in recordings), self._batch_size):
            results = iter(self._request(signature, [each for each in batch if not each.error]))
            for each in batch:
                yield signature.result(each.source, error=each.error) if each.error else next(results)

    def _request(self, signature: Signature, uploads: list["_Upload"]) -> list[Any]:
        if not uploads:
            return []
        outputs = self._transport.outputs(signature.name, [each.wav for each in uploads])
        try:
            return signature.parse(outputs, [each.source for each in uploads])
        except (KeyError, ValueError, TypeError) as error:
            raise self._server.strange(signature.name, error) from error


@dataclass(frozen=True)
class _Upload:
    """A recording as it is sent, or why it is not."""

    source: Source
    wav: bytes = b""
    error: str = ""


def _check(recording: Recording, sample_rate: int | None) -> None:
    """Refuse an argument that can never be a recording, before anything is sent."""
    if not isinstance(recording, Recording):
        raise InputError(
            f"{type(recording).__name__} is no recording; expected a path, bytes, an array or a list of these"
        )
    if isinstance(recording, np.ndarray):
        shape, dtype = recording.shape, recording.dtype
        is_rate = sample_rate is not None and 0 < sample_rate < 2**31
        require(is_rate, "sample_rate", sample_rate, "the rate of the array, in Hz")
        is_audio = dtype.kind == "f" or dtype == np.int16
        require(is_audio, "array of type", str(dtype), "float with a full scale of 1, or int16")
        is_audio = len(shape) == 1 or (len(shape) == 2 and 0 < shape[1] <= _MOST_CHANNELS)
        require(is_audio, "array of shape", shape, f"(time,) or (time, channels), {_MOST_CHANNELS} at most")


def _upload(recording: Recording, sample_rate: int | None) -> _Upload:
    source = recording if isinstance(recording, str | Path) else None
    try:
        if isinstance(recording, np.ndarray):
            wav = encode_wav(recording, int(sample_rate))
        else:
            wav = as_wav(recording if source is None else _contents(Path(source)), most_bytes=RECORDING_BYTES)
        check_size(len(wav), RECORDING_BYTES)
    except OSError as error:
        return _Upload(source, error=f"cannot be read: {error.strerror or error}; expected an audio file")
    except InputError as error:
        return _Upload(source, error=str(error))
    return _Upload(source, wav)


def _contents(path: Path) -> bytes:
    check_size(path.stat().st_size, RECORDING_BYTES)
    return path.read_bytes()


def _batches(uploads: Iterable[_Upload], batch_size: int) -> Iterator[list[_Upload]]:
    batch: list[_Upload] = []
    for upload in uploads:
        if batch and (len(batch) == batch_size or sum(len(each.wav) for each in [*batch, upload]) > REQUEST_BYTES):
            yield batch
            batch = []
        batch.append(upload)
    if batch:
        yield batch
