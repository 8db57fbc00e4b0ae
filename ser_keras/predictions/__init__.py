"""Results for one recording: its emotion, the emotions along it, or its features."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ser_keras.audio_io.clip_faults import EMPTY, SILENT
from ser_keras.predictions.notebook import prediction_html, timeline_html
from ser_keras.terminal import shown

Source = str | Path | None
"""Path of a recording, or None for bytes and arrays."""


def _nothing() -> np.ndarray:
    return np.zeros(0, np.float32)


@dataclass(frozen=True)
class Prediction:
    """The emotion of one recording.

    Attributes:
        source: the recording's path; None where it came as bytes or as an array.
        label: the most probable emotion; empty if there is an error.
        confidence: its probability, 0 to 1; 0 if there is an error.
        probabilities: probability of each emotion, in the model's order; empty if there is an error.
        attention: weight of each step of time, float32 `(steps,)`; they sum to 1.
        attention_seconds: middle of each step, in seconds, float32 `(steps,)`.
        error: why the recording cannot be used; else empty.
        abstained: whether the confidence is below the threshold of the export, or that of `abstain`; the label is
            the most probable emotion all the same.

    Example:
        >>> print(Prediction("clip.wav", "sad", 0.75, {"calm": 0.25, "sad": 0.75}))
        clip.wav: sad (0.75)
        >>> print(Prediction("clip.wav", "sad", 0.75, {"calm": 0.25, "sad": 0.75}).abstain(0.8))
        clip.wav: abstained, most probably sad (0.75)
        >>> print(Prediction("clip.wav", error="no samples in the file"))
        clip.wav: no samples in the file
    """

    source: Source
    label: str = ""
    confidence: float = 0.0
    probabilities: dict[str, float] = field(default_factory=dict)
    attention: np.ndarray = field(default_factory=_nothing, repr=False, compare=False)
    attention_seconds: np.ndarray = field(default_factory=_nothing, repr=False, compare=False)
    error: str = ""
    abstained: bool = False

    def abstain(self, below: float) -> "Prediction":
        """Return a copy with `abstained` by another threshold, 0 to 1."""
        return replace(self, abstained=0 < self.confidence < below)

    def __str__(self) -> str:
        return _about(self.source, self.error or _verdict(self))

    def _repr_html_(self) -> str:
        return prediction_html(self.source, self.probabilities, self.error)


@dataclass(frozen=True)
class Window:
    """The emotion of a part of a recording.

    Attributes:
        start_seconds: its start, in seconds.
        end_seconds: its end, in seconds.
        label: the most probable emotion; empty in silence.
        confidence: its probability, 0 to 1; 0 without a label.
        probabilities: probability of each emotion, in the model's order; 0 without a label.
        abstained: whether the confidence is below the threshold of the export, or that of `abstain`.

    Example:
        >>> print(Window(0.0, 3.0, "sad", 0.75, {"calm": 0.25, "sad": 0.75}))
        0.0 to 3.0 s: sad (0.75)
    """

    start_seconds: float
    end_seconds: float
    label: str
    confidence: float
    probabilities: dict[str, float]
    abstained: bool = False

    def abstain(self, below: float) -> "Window":
        """Return a copy with `abstained` by another threshold, 0 to 1."""
        return replace(self, abstained=0 < self.confidence < below)

    def __str__(self) -> str:
        return f"{self.start_seconds:.1f} to {self.end_seconds:.1f} s: {_verdict(self)}"


@dataclass(frozen=True)
class Timeline:
    """The emotions along one recording.

    Attributes:
        source: the recording's path; None where it came as bytes or as an array.
        windows: in order of time; empty if there is an error.
        error: why the recording cannot be used; else empty.

    Example:
        >>> print(Timeline("talk.wav", (Window(0.0, 3.0, "sad", 0.75, {"calm": 0.25, "sad": 0.75}),)))
        talk.wav:
          0.0 to 3.0 s: sad (0.75)
    """

    source: Source
    windows: tuple[Window, ...] = ()
    error: str = ""

    def __str__(self) -> str:
        if self.error:
            return _about(self.source, self.error)
        return "\n  ".join([f"{shown(self.source or 'recording')}:", *map(str, self.windows)])

    def abstain(self, below: float) -> "Timeline":
        """Return a copy with each window's `abstained` by another threshold, 0 to 1."""
        return replace(self, windows=tuple(window.abstain(below) for window in self.windows))

    def stretches(self) -> list[tuple[float, float, Window]]:
        """Divide the recording among its windows, which overlap: each moment goes to the nearest window.

        Returns:
            For each window the start and end of its stretch, in seconds: halfway between its middle and the
            middles of its neighbours. Together the stretches cover the recording without overlap.

        Example:
            >>> windows = [Window(start, start + 3.0, "sad", 1.0, {}) for start in (0.0, 1.0, 2.0)]
            >>> [(start, end) for start, end, _ in Timeline("talk.wav", tuple(windows)).stretches()]
            [(0.0, 2.0), (2.0, 3.0), (3.0, 5.0)]
        """
        if not self.windows:
            return []
        middles = [(each.start_seconds + each.end_seconds) / 2 for each in self.windows]
        inner = [(left + right) / 2 for left, right in itertools.pairwise(middles)]
        bounds = [self.windows[0].start_seconds, *inner, self.windows[-1].end_seconds]
        return list(zip(bounds[:-1], bounds[1:], self.windows, strict=True))

    def _repr_html_(self) -> str:
        stretches = [(start, end, each.label) for start, end, each in self.stretches()]
        return timeline_html(self.source, stretches, self.error)


@dataclass(frozen=True)
class Embedding:
    """Features of one recording: the input of the model's last layer.

    Attributes:
        source: the recording's path; None where it came as bytes or as an array.
        features: float32 `(features,)`; zeros or empty if there is an error.
        error: why the recording cannot be used; else empty.
    """

    source: Source
    features: np.ndarray = field(default_factory=_nothing, repr=False, compare=False)
    error: str = ""


def mean_prediction(source: Source, windows: Iterable[Window]) -> Prediction:
    """Return one prediction for a recording: the mean of its windows' probabilities.

    Args:
        source: the recording's path, or None.
        windows: of the recording; they are not kept. Those without a label do not count.

    Returns:
        A prediction without attention; it has an error if no window has a label.

    Example:
        >>> first = Window(0.0, 3.0, "sad", 0.75, {"calm": 0.25, "sad": 0.75})
        >>> windows = [first, Window(1.0, 4.0, "calm", 1.0, {"calm": 1.0, "sad": 0.0})]
        >>> print(mean_prediction("talk.wav", windows))
        talk.wav: calm (0.62)
    """
    sums: dict[str, float] = {}
    count, error = 0, EMPTY
    for window in windows:
        count, error = count + bool(window.label), SILENT
        for emotion, probability in window.probabilities.items():
            sums[emotion] = sums.get(emotion, 0.0) + probability
    if not count:
        return Prediction(source, error=error)
    probabilities = {emotion: total / count for emotion, total in sums.items()}
    label = max(probabilities, key=probabilities.__getitem__)
    return Prediction(source, label, probabilities[label], probabilities)


def _verdict(result: Prediction | Window) -> str:
    if not result.label:
        return "nothing to label"
    return f"{'abstained, most probably ' if result.abstained else ''}{result.label} ({result.confidence:.2f})"


def _about(source: Source, text: str) -> str:
    return shown(text if source is None else f"{source}: {text}")
