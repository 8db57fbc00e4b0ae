"""The checks of a waveform, the same in training, prediction and the served graph.

Here they are in NumPy, in `ser_keras.audio_io.clip_faults_graph` in TensorFlow's operations. They check the waveform
that is the network's input: mono, at the model's rate.
"""

import numpy as np

SHORTEST_SECONDS = 0.1
"""A shorter clip holds no syllable."""

SILENCE = 1e-4
"""Samples that stay this near to a constant value (-80 dB of full scale) are silent."""

HIGHEST_PEAK = 32.0
"""Float samples may exceed full scale, 1, by 30 dB. No recording does; integers that were kept as floats do."""

EDGE_SECONDS = 0.03
"""At each end, where a constant offset rings after a conversion of the rate: not checked for silence."""

EMPTY = "empty: no samples"
DAMAGED = "holds NaN or infinite samples; repair or convert the recording"
SILENT = f"silent: no sample above {SILENCE} of full scale, beside a constant offset"
TOO_SHORT = "too short: ", " s, at least ", " s expected"
TOO_LOUD = "too loud: a peak of ", f", full scale is 1; divide by it what was integers (of 16 bits by {2**15})"


def clip_fault(samples: np.ndarray, sample_rate: int, min_seconds: float = SHORTEST_SECONDS) -> str:
    """Return why a waveform is rejected: empty, too short, damaged, too loud or silent; empty where it is not.

    Args:
        samples: `(time,)`, int16 with a full scale of 2**15, or float with one of 1.
        sample_rate: of the samples, in Hz.
        min_seconds: the shortest clip; `SHORTEST_SECONDS` where that is more.

    Example:
        >>> clip_fault(np.zeros(16_000), 16_000)
        'silent: no sample above 0.0001 of full scale, beside a constant offset'
    """
    seconds, min_seconds = len(samples) / sample_rate, max(min_seconds, SHORTEST_SECONDS)
    if len(samples) == 0:
        return EMPTY
    if seconds < min_seconds:
        return f"{TOO_SHORT[0]}{len(samples) * 1000 // sample_rate / 1000:.3f}{TOO_SHORT[1]}{min_seconds}{TOO_SHORT[2]}"
    return damage(samples) or (SILENT if _is_silent(samples, sample_rate) else "")


def damage(samples: np.ndarray) -> str:
    """Return what is wrong with samples: NaN, infinite or far above full scale; empty where nothing is.

    Args:
        samples: int16 with a full scale of 2**15, or float with one of 1, of any shape but empty.

    Example:
        >>> damage(np.float32([0.5, 23_000.0]))
        'too loud: a peak of 23000, full scale is 1; divide by it what was integers (of 16 bits by 32768)'
    """
    low, high = _range(samples)
    if not (np.isfinite(low) and np.isfinite(high)):
        return DAMAGED
    peak = max(high, -low)
    return f"{TOO_LOUD[0]}{peak:.0f}{TOO_LOUD[1]}" if peak > HIGHEST_PEAK else ""


def _is_silent(samples: np.ndarray, sample_rate: int) -> bool:
    edge = min(round(EDGE_SECONDS * sample_rate), len(samples) // 4)
    low, high = _range(samples[edge : len(samples) - edge])
    return high - low < 2 * SILENCE


def _range(samples: np.ndarray) -> tuple[float, float]:
    """Return the lowest and the highest sample, full scale 1; floats, that all versions of NumPy agree."""
    unit = 2.0**-15 if samples.dtype == np.int16 else 1.0
    return float(samples.min()) * unit, float(samples.max()) * unit
