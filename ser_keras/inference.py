"""Predictor: files in, labels and timelines out, by the exported graph."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from ser_keras.audio import load_audio
from ser_keras.config import ExportConfig
from ser_keras.errors import InputError
from ser_keras.model import ParallelModel
from ser_keras.prediction import Prediction, Timeline, predictions_of, timelines_of
from ser_keras.serving import ServedModel
from ser_keras.sound_files import encode_wav


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
        recipe = Path(directory) / "assets" / "model.json"
        if not recipe.is_file():
            raise InputError(f"{recipe}: no such file; expected an export of this version of ser_keras")
        facts = json.loads(recipe.read_text())
        self._model = tf.saved_model.load(str(directory))
        self._signatures = self._model.signatures
        self.emotions = tuple(facts["emotions"])
        self.sample_rate = facts["audio"]["sample_rate"]
        self._max_seconds = max(facts["serving"]["max_seconds"], facts["serving"]["max_timeline_seconds"])

    @classmethod
    def of_model(cls, model: ParallelModel, config: ExportConfig | None = None) -> "Predictor":
        """Return a predictor that runs a live model by the graph that its export would hold.

        Args:
            model: trained model that knows its emotions.
            config: lengths that are accepted, windows of the timeline, threshold of abstention.
        """
        config = config or ExportConfig()
        predictor = cls.__new__(cls)
        predictor._model = ServedModel(model, config)
        predictor._signatures = {
            "serving_default": predictor._model.classify_wav,
            "timeline": predictor._model.timeline,
        }
        predictor.emotions = model.emotions
        predictor.sample_rate = model.audio.sample_rate
        predictor._max_seconds = max(config.max_seconds, config.max_timeline_seconds)
        return predictor

    def predict(self, path: str | Path) -> Prediction:
        """Return the emotion of one recording.

        Raises:
            InputError: the file cannot be decoded; the message names it and says why.
            FileNotFoundError: there is no such file.
        """
        return predictions_of(self._ask("serving_default", Path(path)), [Path(path)])[0]

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
        outputs = self._signatures[signature](audio_bytes=tf.constant([contents]))
        return {name: value.numpy() for name, value in outputs.items()}
