"""How the outputs of an exported graph's signatures become answers.

The graph gives arrays with the batch in front, padded to the longest recording. Here they become one small
object a recording, without the padding. Whoever runs the graph, a server far away or this very process, the
answer is the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ser_keras.predictions import Embedding, Prediction, Source, Timeline, Window

Outputs = Mapping[str, np.ndarray]
"""What a signature gave for a batch: arrays by name, the batch in front, strings as bytes or str."""


@dataclass(frozen=True)
class Question:
    """What can be asked of an exported graph: the emotion (`WHOLE`), the emotions along (`ALONG`), or `FEATURES`.

    Attributes:
        signature: that answers it.
        answer: class of the answers, which takes a source and an error.
        read: makes answers of the signature's outputs and the sources of their rows.
    """

    signature: str
    answer: type
    read: Callable[[Outputs, Sequence[Source]], list[Any]]


def predictions_of(outputs: Outputs, sources: Sequence[Source]) -> list[Prediction]:
    """Read what `serving_default` or `waveform` gave for a batch.

    Args:
        outputs: arrays by name: ``label``, ``confidence``, ``probabilities``, ``emotions``,
            ``attention``, ``attention_seconds`` and ``error``; ``abstained`` where the export has it.
        sources: the path of each recording, or None.

    Returns:
        One prediction a recording, in order; attention ends where the recording ends.

    Raises:
        KeyError: an output is missing.
        ValueError: there are not as many rows as sources.

    Example:
        >>> outputs = {"label": [b"sad"], "confidence": [0.75], "probabilities": [[0.25, 0.75]],
        ...     "emotions": [[b"calm", b"sad"]], "attention": [[0.5, 0.5, 0.0]],
        ...     "attention_seconds": [[0.1, 0.3, 0.5]], "error": [b""]}
        >>> predictions_of(outputs, ["clip.wav"])
        [Prediction(source='clip.wav', label='sad', confidence=0.75,
            probabilities={'calm': 0.25, 'sad': 0.75}, error='', abstained=False)]
    """
    names = ("label", "confidence", "probabilities", "emotions", "attention", "attention_seconds", "error", "abstained")
    return [_prediction(source, *row) for source, row in _rows(_with_abstained(outputs), names, sources)]


def timelines_of(outputs: Outputs, sources: Sequence[Source]) -> list[Timeline]:
    """Read what `timeline` gave for a batch.

    Args:
        outputs: arrays by name: ``label``, ``confidence``, ``probabilities``, ``start_seconds``,
            ``end_seconds``, ``num_windows``, ``emotions`` and ``error``; ``abstained`` where the export has it.
        sources: the path of each recording, or None.

    Returns:
        One timeline a recording, in order, with the windows that it has.

    Raises:
        KeyError: an output is missing.
        ValueError: there are not as many rows as sources.
    """
    names = ("start_seconds", "end_seconds", "label", "confidence", "probabilities", "abstained")
    names += ("num_windows", "emotions", "error")
    return [_timeline(source, *row) for source, row in _rows(_with_abstained(outputs), names, sources)]


def embeddings_of(outputs: Outputs, sources: Sequence[Source]) -> list[Embedding]:
    """Read what `embedding` gave for a batch.

    Args:
        outputs: arrays by name: ``embedding`` and ``error``.
        sources: the path of each recording, or None.

    Returns:
        One embedding a recording, in order.

    Raises:
        KeyError: an output is missing.
        ValueError: there are not as many rows as sources.
    """
    rows = _rows(outputs, ("embedding", "error"), sources)
    return [Embedding(source, np.asarray(features, np.float32), _text(error)) for source, (features, error) in rows]


WHOLE = Question("serving_default", Prediction, predictions_of)
ALONG = Question("timeline", Timeline, timelines_of)
FEATURES = Question("embedding", Embedding, embeddings_of)


def _rows(outputs: Outputs, names: Sequence[str], sources: Sequence[Source]):
    """Pair each source with its row of every output."""
    columns = (outputs[name] for name in names)
    return zip(sources, zip(*columns, strict=True), strict=True)


def _with_abstained(outputs: Outputs) -> Outputs:
    """Add what exports of earlier versions lack: they never abstain."""
    return {"abstained": np.zeros(np.shape(outputs["confidence"]), bool), **outputs}


def _prediction(
    source, label, confidence, probabilities, emotions, attention, attention_seconds, error, abstained
) -> Prediction:
    if error := _text(error):
        return Prediction(source, error=error)
    attention = np.asarray(attention, np.float32)
    steps = len(np.trim_zeros(attention, "b"))
    return Prediction(
        source,
        _text(label),
        float(confidence),
        _by_name(emotions, probabilities),
        attention[:steps],
        np.asarray(attention_seconds, np.float32)[:steps],
        abstained=bool(abstained),
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
