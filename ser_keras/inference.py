"""Predictor: files in, labels out, by the exported graph."""

import json
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from ser_keras.audio import load_audio
from ser_keras.errors import InputError


@dataclass(frozen=True)
class Prediction:
    """What the model says of one recording.

    Attributes:
        path: the file.
        label: the most probable emotion.
        confidence: its probability, 0 to 1.
        probabilities: probability of each emotion, in the model's order.
    """

    path: Path
    label: str
    confidence: float
    probabilities: dict[str, float]


class Predictor:
    """An exported model that predicts files of any format.

    WAV goes into the graph as bytes, exactly as a server gets it; other formats are decoded first.

    Args:
        directory: of the SavedModel, as `export_model` returned it.

    Raises:
        InputError: there is no SavedModel in `directory`.

    Example:
        ```python
        predictor = Predictor("exports/ser/1")
        predictor.predict("clip.wav").label
        ```
    """

    def __init__(self, directory: str | Path):
        if not tf.saved_model.contains_saved_model(str(directory)):
            raise InputError(f"{directory}: holds no SavedModel; give a directory that export_model wrote")
        self._model = tf.saved_model.load(str(directory))
        self._signatures = self._model.signatures
        card = json.loads((Path(directory) / "assets.extra" / "model.json").read_text())
        self.emotions = tuple(card["emotions"])
        self.sample_rate = card["audio"]["sample_rate"]

    def predict(self, path: str | Path) -> Prediction:
        """Return the emotion of one recording.

        Raises:
            InputError: the file cannot be decoded; the message names it and says why.
            FileNotFoundError: there is no such file.
        """
        path = Path(path)
        answer = self._signatures["serving_default"](audio_bytes=tf.constant([path.read_bytes()]))
        if answer["error"][0] != b"":  # no plain WAV
            waveform = load_audio(path, sample_rate=self.sample_rate)
            answer = self._signatures["waveform"](
                waveform=tf.constant(waveform[None]), num_samples=tf.constant([len(waveform)], tf.int32)
            )
        if error := answer["error"][0].numpy().decode():
            raise InputError(f"{path}: {error}")
        names = [name.decode() for name in answer["emotions"][0].numpy()]
        probabilities = dict(zip(names, answer["probabilities"][0].numpy().tolist(), strict=True))
        return Prediction(path, answer["label"][0].numpy().decode(), max(probabilities.values()), probabilities)
