"""From the outputs of an exported graph to predictions, timelines and embeddings.

The graph outputs arrays with the batch in front, padded to the longest recording. Here they become one small object
for each recording, without the padding, the same for a server and for the graph in this process.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ser_keras.predictions import Embedding, Prediction, Source, Timeline, Window

Outputs = Mapping[str, np.ndarray]
"""Outputs of a signature for a batch: arrays by name, the batch in front, strings as bytes or str."""


@dataclass(frozen=True)
class Signature:
    """A signature of an exported graph: `PREDICTION`, `TIMELINE` or `EMBEDDING`.

    Attributes:
        name: in the graph.
        result: class of the results, which takes a source and an error.
        parse: makes results from the outputs and the sources of their rows.
    """

    name: str
    result: type
    parse: Callable[[Outputs, Sequence[Source]], list[Any]]


def parse_predictions(outputs: Outputs, sources: Sequence[Source]) -> list[Prediction]:
    """Return a prediction for each row of `serving_default` or `waveform`.

    Args:
        outputs: arrays by name: ``label``, ``confidence``, ``probabilities``, ``emotions``,
            ``attention``, ``attention_seconds``, ``abstained`` and ``error``.
        sources: the path of each recording, or None.

    Returns:
        One prediction for each recording, in order; attention ends where the recording ends.

    Raises:
        KeyError: an output is missing.
        ValueError: there are not as many rows as sources.

    Example:
        >>> outputs = {"label": [b"sad"], "confidence": [0.75], "probabilities": [[0.25, 0.75]],
        ...     "emotions": [[b"calm", b"sad"]], "attention": [[0.5, 0.5, 0.0]],
        ...     "attention_seconds": [[0.1, 0.3, 0.5]], "abstained": [False], "error": [b""]}
        >>> parse_predictions(outputs, ["clip.wav"])
        [Prediction(source='clip.wav', label='sad', confidence=0.75,
            probabilities={'calm': 0.25, 'sad': 0.75}, error='', abstained=False)]
    """
    names = ("label", "confidence", "probabilities", "emotions", "attention", "attention_seconds", "abstained", "error")
    return [_prediction(source, *row) for source, row in _rows(outputs, names, sources)]


def parse_timelines(outputs: Outputs, sources: Sequence[Source]) -> list[Timeline]:
    """Return a timeline for each row of `timeline`, with the windows that the recording has.

    Arguments and errors are those of `parse_predictions`; the arrays are ``label``, ``confidence``, ``probabilities``,
    ``start_seconds``, ``end_seconds``, ``abstained``, ``num_windows``, ``emotions`` and ``error``.
    """
    names = ("start_seconds", "end_seconds", "label", "confidence", "probabilities", "abstained")
    rows = _rows(outputs, (*names, "num_windows", "emotions", "error"), sources)
    return [_timeline(source, *row) for source, row in rows]


def parse_embeddings(outputs: Outputs, sources: Sequence[Source]) -> list[Embedding]:
    """Return an embedding for each row of `embedding`.

    Arguments and errors are those of `parse_predictions`; the arrays are ``embedding`` and ``error``.
    """
    rows = _rows(outputs, ("embedding", "error"), sources)
    return [Embedding(source, np.asarray(features, np.float32), _text(error)) for source, (features, error) in rows]


PREDICTION = Signature("serving_default", Prediction, parse_predictions)
TIMELINE = Signature("timeline", Timeline, parse_timelines)
EMBEDDING = Signature("embedding", Embedding, parse_embeddings)


def _rows(outputs: Outputs, names: Sequence[str], sources: Sequence[Source]) -> Iterator[tuple[Source, tuple]]:
    """Pair each source with its row of every output."""
    columns = (outputs[name] for name in names)
    return zip(sources, zip(*columns, strict=True), strict=True)


def _prediction(
    source, label, confidence, probabilities, emotions, attention, attention_seconds, abstained, error
) -> Prediction:
    if error := _text(error):
        return Prediction(source, error=error)
    attention = np.trim_zeros(np.asarray(attention, np.float32), "b")
    seconds = np.asarray(attention_seconds, np.float32)[: len(attention)]
    probabilities = _by_name(emotions, probabilities)
    return Prediction(
        source, _text(label), float(confidence), probabilities, attention, seconds, abstained=bool(abstained)
    )


def _timeline(
    source, starts, ends, labels, confidences, probabilities, abstained, num_windows, emotions, error
) -> Timeline:
    if error := _text(error):
        return Timeline(source, error=error)
    rows = zip(starts, ends, labels, confidences, probabilities, abstained, strict=True)
    windows = [
        Window(float(start), float(end), _text(label), float(confidence), _by_name(emotions, each), bool(unsure))
        for start, end, label, confidence, each, unsure in rows
    ]
    return Timeline(source, tuple(windows[: int(num_windows)]))


def _by_name(emotions: Sequence[bytes | str], probabilities: Sequence[float]) -> dict[str, float]:
    return {_text(name): float(value) for name, value in zip(emotions, probabilities, strict=True)}


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
