"""Predictor: files in, labels and timelines out, by the exported graph."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from ser_keras.audio import load_audio
from ser_keras.errors import InputError
from ser_keras.graph_check import check_graph
from ser_keras.prediction import Prediction, Timeline, predictions_of, timelines_of
from ser_keras.sound_files import encode_wav
from ser_keras.stored import read_recipe


class Predictor:
    """An exported model that predicts files of any format.

    WAV goes into the graph as bytes, exactly as a server gets it; other formats are decoded first.

    Args:
        directory: of the SavedModel, as `export_model` returned it.

    Raises:
        InputError: there is no SavedModel in `directory`, or not one of `export_model`.

    Example:
        ```python
        predictor = Predictor("exports/ser/1")
        predictor.predict("clip.wav").label
        ```
    """

    def __init__(self, directory: str | Path):
        if not tf.saved_model.contains_saved_model(str(directory)):
            raise InputError(f"{directory}: holds no SavedModel; give a directory that export_model wrote")
        facts = read_recipe(directory)
        check_graph(directory)
        self._model = tf.saved_model.load(str(directory))
        self.emotions = tuple(facts["emotions"])
        self.sample_rate = facts["audio"]["sample_rate"]
        self._max_seconds = max(facts["serving"]["max_seconds"], facts["serving"]["max_timeline_seconds"])

    def predict(self, path: str | Path) -> Prediction:
        """Return the emotion of one recording.

        Raises:
            InputError: the file cannot be decoded; the message names it and says why.
            FileNotFoundError: there is no such file.
        """
        return predictions_of(self._ask("serving_default", Path(path)), [Path(path)])[0]

    def predict_each(self, paths: Iterable[str | Path]) -> Iterator[Prediction]:
        """Yield the emotion of each recording, in order; one that cannot be used has its reason in ``error``."""
        for path in paths:
            try:
                yield self.predict(path)
            except (InputError, OSError) as error:
                yield Prediction(path, error=str(error).removeprefix(f"{path}: "))

    def timeline(self, path: str | Path) -> Timeline:
        """Return the emotions along one recording, window by window.

        Raises:
            InputError: the file cannot be decoded; the message names it and says why.
            FileNotFoundError: there is no such file.
        """
        return timelines_of(self._ask("timeline", Path(path)), [Path(path)])[0]

    def _ask(self, signature: str, path: Path) -> dict[str, np.ndarray]:
        answer = self._run(signature, path.read_bytes())
        if answer["error"][0] != b"":  # no plain WAV
            waveform = load_audio(path, sample_rate=self.sample_rate, max_seconds=self._max_seconds)
            answer = self._run(signature, encode_wav(waveform, self.sample_rate))
        if error := answer["error"][0].decode():
            raise InputError(f"{path}: {error}")
        return answer

    def _run(self, signature: str, contents: bytes) -> dict[str, np.ndarray]:
        outputs = self._model.signatures[signature](audio_bytes=tf.constant([contents]))
        return {name: value.numpy() for name, value in outputs.items()}
