"""The difference of a conversion from the live model, and its speed."""

import math
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np

from ser_keras.corpora.synthesis import STYLES, draw_voice, synthesize_clip
from ser_keras.errors import InputError
from ser_keras.model import ParallelModel

TOLERANCES = {"float32": 1e-4, "float16": 2e-2, "int8": math.inf}
"""Largest difference of a probability from the model's by precision. For int8 it depends on the weights, and is
reported, not checked."""

_SECONDS = (0.5, 1.0, 1.7, 2.4, 3.0, 4.3, 6.0)  # lengths of the clips that are compared
_RUNS = 20

Classify = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Probabilities `(emotions,)` of a waveform `(1, time)` and its true length `(1,)`."""


class Trial:
    """Test clips, and the probabilities of the live model for them."""

    def __init__(self, model: ParallelModel):
        self._clips = list(_clips(model.audio.sample_rate))
        self._expected = np.concatenate(
            [model({"waveform": waveform, "num_samples": length}, training=False) for waveform, length in self._clips]
        )
        self._long = np.resize(self._clips[1][0], (1, 3 * model.audio.sample_rate))

    def figures(self, classify: Classify, precision: str) -> dict[str, float]:
        """Compare a conversion with the live model, and measure its time.

        Raises:
            InputError: the probabilities differ from the model's.
        """
        given = np.stack([classify(*clip) for clip in self._clips])
        difference = float(np.abs(given - self._expected).max())
        if not np.isfinite(difference) or difference > TOLERANCES[precision]:
            allowed = f"at most {TOLERANCES[precision]:g} is allowed"
            raise InputError(f"its probabilities differ from the model's by {difference:.2g}, {allowed}")
        agreement = (given.argmax(axis=1) == self._expected.argmax(axis=1)).mean()
        return {
            "max_difference": difference,
            "label_agreement": float(agreement),
            "latency_ms": self._latency_ms(classify),
        }

    def _latency_ms(self, classify: Classify) -> float:
        length = np.array([self._long.shape[1]], np.int32)
        seconds = []
        for _ in range(_RUNS + 1):
            start = time.perf_counter()
            classify(self._long, length)
            seconds.append(time.perf_counter() - start)
        return 1e3 * statistics.median(seconds[1:])  # the first run allocates memory


def _clips(sample_rate: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield silence, noise, a tone and speech in every emotion; every second one has noise as padding."""
    random = np.random.default_rng(0)
    noise = random.normal(size=6 * sample_rate).astype(np.float32) * 0.1
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(sample_rate) / sample_rate)
    voices = [draw_voice(gender, random) for gender in ("female", "male")]
    speech = [
        synthesize_clip(emotion, voices[index % 2], random, sample_rate=sample_rate)
        for index, emotion in enumerate(STYLES)
    ]
    for index, sound in enumerate([np.zeros(sample_rate), noise, tone, *speech]):
        length = round(_SECONDS[index % len(_SECONDS)] * sample_rate)
        clip = np.resize(sound, length).astype(np.float32)  # repeats what is too short
        behind = noise[: index % 2 * sample_rate // 3]
        yield np.concatenate([clip, behind])[None], np.array([length], np.int32)
