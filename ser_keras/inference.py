"""Predictor: labels and timelines of audio files, by the exported graph.

Files go through the graph in batches of similar length. A file that is longer than the graph accepts is read in blocks
and predicted window by window, like a stream, so that memory does not grow with its length.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ser_keras.audio import decode_audio
from ser_keras.audio_io.clip_faults import damage
from ser_keras.audio_io.sound_files import (
    UNREADABLE,
    SoundFacts,
    encode_wav,
    look_at_sound,
    mono_blocks,
    not_audio,
    open_file,
)
from ser_keras.audio_io.wav_header import CUT_OFF, read_headers
from ser_keras.audio_io.windows import cut_windows, resampled_pieces
from ser_keras.config import ExportConfig
from ser_keras.errors import InputError
from ser_keras.model import ParallelModel
from ser_keras.predictions import Prediction, Timeline, Window, mean_prediction
from ser_keras.predictions.outputs import PREDICTION, TIMELINE, Signature, parse_predictions
from ser_keras.runs.reading import find_export, read_recipe
from ser_keras.serving.allowed_ops import check_graph
from ser_keras.serving.signatures import ServedModel

BATCH_SIZE = 32
"""Maximum number of files, or windows, per call of the graph."""

_HEADER_BYTES = 2**20  # that are searched for the header of a WAV file
_MOST_BYTES = 2**30  # in a file whose length libsndfile does not know

_FILES_AT_ONCE = 4 * BATCH_SIZE
"""Files that are sorted by length at a time."""


class Predictor:
    """An exported model for files of any format and any length.

    WAV files that the graph can read are passed to it as bytes, exactly as on a server; others are decoded first.

    A file longer than `ExportConfig.max_seconds` (10 minutes by default) is read block by block and predicted in
    windows; its label is that of the mean of their probabilities, without the windows of silence, and it has no
    attention.

    Args:
        directory: A run directory, a model's folder, of which the newest version is used, or a version.

    Raises:
        InputError: `directory` has no SavedModel, or not one of `export_model`.

    Example:
        ```python
        predictor = Predictor("runs/ravdess")
        predictor.predict("clip.wav").label
        for prediction in predictor.predict(sorted(Path("clips").iterdir())):
            print(prediction)
        ```
    """

    def __init__(self, directory: str | Path):
        directory = find_export(directory)
        facts = read_recipe(directory)
        check_graph(directory)
        self._model = tf.saved_model.load(str(directory))
        self._signatures = self._model.signatures
        self._describe(facts["emotions"], facts["audio"]["sample_rate"], ExportConfig.from_dict(facts["serving"]))

    def _describe(self, emotions: Sequence[str], sample_rate: int, config: ExportConfig) -> None:
        self.emotions = tuple(emotions)
        self.sample_rate = sample_rate
        self._most_seconds = {
            "serving_default": config.max_seconds,
            "timeline": min(config.max_timeline_seconds, config.max_seconds),
        }
        self._abstain_below = config.abstain_below
        self._window, self._hop = (round(each * sample_rate) for each in (config.window_seconds, config.hop_seconds))

    @classmethod
    def of_model(cls, model: ParallelModel, config: ExportConfig | None = None) -> "Predictor":
        """Return a predictor that runs a live model by the graph of its export.

        Args:
            model: Trained model that knows its emotions.
            config: Maximum lengths, windows of the timeline, threshold of abstention.
        """
        config = config or ExportConfig()
        predictor = cls.__new__(cls)
        predictor._model = ServedModel(model, config)
        predictor._signatures = {
            "serving_default": predictor._model.classify_wav,
            "waveform": predictor._model.classify_waveform,
            "timeline": predictor._model.timeline,
        }
        predictor._describe(model.emotions, model.audio.sample_rate, config)
        return predictor

    def predict(self, audio: str | Path | Sequence[str | Path]) -> Prediction | list[Prediction]:
        """Return the emotion of one recording, or of each in a list.

        Args:
            audio: The path of a file, or a list of them.

        Returns:
            A prediction; for a list, a list of them in the same order. In a list, a file that cannot be used
            has its reason in ``error``.

        Raises:
            InputError: The one file cannot be used; the message names it with the reason.
            FileNotFoundError: The one file does not exist.
        """
        return self._one_or_many(PREDICTION, audio)

    def timeline(self, audio: str | Path | Sequence[str | Path]) -> Timeline | list[Timeline]:
        """Return the emotions along one recording, or along each in a list, window by window.

        Arguments and errors are those of `predict`.

        Returns:
            A timeline; for a list, a list of them in the same order.
        """
        return self._one_or_many(TIMELINE, audio)

    def predict_each(self, paths: Iterable[str | Path]) -> Iterator[Prediction]:
        """Yield what `predict` gives for a list, one by one."""
        return self._predictions(PREDICTION, paths)

    def timeline_each(self, paths: Iterable[str | Path]) -> Iterator[Timeline]:
        """Yield what `timeline` gives for a list, one by one."""
        return self._predictions(TIMELINE, paths)

    def predict_stream(self, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[Window]:
        """Predict a recording while it is made, window by window: from a microphone, a socket, a file.

        The windows and predictions are those of `timeline`: a window of silence has no label, and is no error. Each is
        yielded as soon as it is complete; the rest at the end is a last, shorter window. Memory contains one block and
        one window. The rate is converted as in the graph, across the blocks' borders.

        Args:
            blocks: Samples in order, of any length: float with a full scale of 1, or int16; `(time,)` or
                `(time, channels)`.
            sample_rate: Rate of the blocks, in Hz; a whole number.

        Yields:
            A window with its start and end in the recording, in seconds.

        Raises:
            InputError: The rate is not allowed, a block is no audio, or contains NaN or samples far above full scale.

        Example:
            ```python
            def microphone():
                with sounddevice.InputStream(samplerate=48_000, channels=1) as stream:
                    while True:
                        yield stream.read(4_800)[0]

            for window in predictor.predict_stream(microphone(), 48_000):
                print(window)
            ```
        """
        pieces = resampled_pieces(blocks, sample_rate, self.sample_rate)
        for start, windows in cut_windows(pieces, self._window, self._hop):
            for first in range(0, len(windows), BATCH_SIZE):
                yield from self._windows(start + first * self._hop, windows[first : first + BATCH_SIZE])

    def _windows(self, start: int, samples: np.ndarray) -> Iterator[Window]:
        """Predict neighbouring windows `(windows, time)`, the first of which begins at sample `start`."""
        sizes = np.full(len(samples), samples.shape[1], np.int32)
        rates = np.full(len(samples), self.sample_rate, np.int32)
        outputs = self._run("waveform", waveform=samples, num_samples=sizes, sample_rate=rates)
        for index, each in enumerate(parse_predictions(outputs, [None] * len(samples))):
            begin = start + index * self._hop
            seconds = begin / self.sample_rate, (begin + samples.shape[1]) / self.sample_rate
            if each.error and damage(samples[index]):
                raise InputError(f"from {seconds[0]:.1f} to {seconds[1]:.1f} s: {each.error}")
            probabilities = each.probabilities or dict.fromkeys(self.emotions, 0.0)
            yield Window(*seconds, each.label, each.confidence, probabilities, each.abstained)

    def _one_or_many(self, signature: Signature, audio: str | Path | Sequence[str | Path]) -> Any:
        if not isinstance(audio, str | Path):
            return list(self._predictions(signature, audio))
        Path(audio).stat()  # raises FileNotFoundError
        (prediction,) = self._predictions(signature, [audio])
        if prediction.error:
            raise InputError(f"{audio}: {prediction.error}")
        return prediction

    def _predictions(self, signature: Signature, paths: Iterable[str | Path]) -> Iterator[Any]:
        """Yield a prediction for each file, in order: long ones in windows, the others in batches."""
        paths, most_seconds = iter(paths), self._most_seconds[signature.name]
        while files := [
            _File(Path(each), look_at_sound(Path(each))) for each in itertools.islice(paths, _FILES_AT_ONCE)
        ]:
            short = [file for file in files if file.seconds <= most_seconds]
            predictions: dict[int, Any] = {}
            for batch in _batches(short, most_seconds):
                predictions |= zip(map(id, batch), self._batch(signature, batch), strict=True)
            for file in files:
                yield predictions.pop(id(file), None) or self._long(signature, file)

    def _batch(self, signature: Signature, files: Sequence["_File"]) -> Iterator[Any]:
        """Predict files of similar length in one call of the graph; one that cannot be read gets its error."""
        read = self._read(files, self._most_seconds[signature.name])
        contents = [each for each in read if isinstance(each, bytes)]
        sources = [file.path for file, each in zip(files, read, strict=True) if isinstance(each, bytes)]
        outputs = self._run(signature.name, audio_bytes=contents) if contents else {}
        predictions = iter(signature.parse(outputs, sources) if contents else [])
        for file, each in zip(files, read, strict=True):
            yield next(predictions) if isinstance(each, bytes) else signature.result(file.path, error=each)

    def _read(self, files: Sequence["_File"], most_seconds: float) -> list[bytes | str]:
        """Return for each file a WAV file that the graph reads, or an error."""
        read = [_contents(file) for file in files]
        with tf.device("CPU"):
            wav = tf.constant([each if isinstance(each, bytes) else b"" for each in read])
            headers = read_headers(wav, max_seconds=most_seconds)
        return [
            each if isinstance(each, str) or not error else self._as_wav(each, most_seconds)
            for each, error in zip(read, headers.error.numpy(), strict=True)
        ]

    def _as_wav(self, contents: bytes, most_seconds: float) -> bytes | str:
        with tf.device("CPU"):
            samples, error = decode_audio(contents, sample_rate=self.sample_rate, max_seconds=most_seconds)
        return error.numpy().decode(errors="replace") or encode_wav(samples.numpy(), self.sample_rate)

    def _long(self, signature: Signature, file: "_File") -> Any:
        """Predict a file in windows; memory does not grow with its length."""
        if error := _cut_off(file.path):
            return signature.result(file.path, error=error)
        try:
            with open_file(file.path) as opened:
                windows = self.predict_stream(mono_blocks(opened), opened.samplerate)
                if signature is TIMELINE:
                    return Timeline(file.path, tuple(windows))
                return mean_prediction(file.path, windows).abstain(self._abstain_below)
        except InputError as error:
            return signature.result(file.path, error=str(error))
        except (OSError, *UNREADABLE) as error:
            return signature.result(file.path, error=not_audio(error))

    def _run(self, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        outputs = self._signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}


class _File(NamedTuple):
    """A file and its properties."""

    path: Path
    facts: SoundFacts | None

    @property
    def seconds(self) -> float:
        """Its length; 0 if unknown."""
        return self.facts.seconds if self.facts else 0.0


def _contents(file: _File) -> bytes | str:
    """Return the bytes of a file, or an error."""
    try:
        if file.facts is None and file.path.stat().st_size > _MOST_BYTES:
            return "not audio that can be read; expected a file that has sound, whole and undamaged"
        return file.path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}; expected an audio file"


def _cut_off(path: Path) -> str:
    """Return the error of a WAV file that is cut off; empty if it is complete."""
    with path.open("rb") as file, tf.device("CPU"):
        begin = tf.constant([file.read(_HEADER_BYTES)])
        header = read_headers(begin, max_seconds=math.inf, lengths=tf.constant([path.stat().st_size], tf.int64))
    error = header.error.numpy()[0].decode()
    return error if error.startswith(CUT_OFF) else ""


def _batches(files: Sequence[_File], most_seconds: float) -> Iterator[list[_File]]:
    """Yield files of similar length, as many as the graph runs at once."""
    batch: list[_File] = []
    for file in sorted(files, key=lambda each: each.seconds):
        if batch and (len(batch) == BATCH_SIZE or (len(batch) + 1) * file.seconds > most_seconds):
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch
