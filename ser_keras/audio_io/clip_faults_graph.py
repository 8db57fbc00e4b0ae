"""The checks of `ser_keras.audio_io.clip_faults` in core TensorFlow operations, for the served graph."""

import tensorflow as tf

from ser_keras.audio_io.clip_faults import (
    DAMAGED,
    EDGE_SECONDS,
    EMPTY,
    HIGHEST_PEAK,
    SHORTEST_SECONDS,
    SILENCE,
    SILENT,
    TOO_LOUD,
    TOO_SHORT,
)
from ser_keras.audio_io.graph_branches import kept_apart


def clip_fault(samples: tf.Tensor, sample_rate: int) -> tf.Tensor:
    """Checks a waveform as `ser_keras.audio_io.clip_faults.clip_fault` does.

    Args:
        samples: float32 `(time,)`, full scale 1.
        sample_rate: of the samples, in Hz.

    Returns:
        String scalar: why this is rejected; empty where it is not.

    Example:
        >>> clip_fault(tf.zeros([16_000]), 16_000).numpy().decode()
        'silent: no sample above 0.0001 of full scale, beside a constant offset'
    """
    size = tf.size(samples)
    edge = tf.minimum(round(EDGE_SECONDS * sample_rate), size // 4)
    inner = samples[edge : size - edge]
    is_silent = tf.reduce_max(inner) - tf.reduce_min(inner) < 2 * SILENCE
    seconds = tf.cast(size, tf.float64) / sample_rate
    good = (seconds >= SHORTEST_SECONDS) & ~is_silent & _is_undamaged(samples)
    # The text is built only for an error: string operations are slow.
    return tf.cond(good, lambda: tf.constant(""), lambda: _fault(samples, seconds, is_silent))


@kept_apart
def _fault(samples: tf.Tensor, seconds: tf.Tensor, is_silent: tf.Tensor) -> tf.Tensor:
    expected = f"{TOO_SHORT[1]}{SHORTEST_SECONDS}{TOO_SHORT[2]}"
    rounded_down = tf.floor(1000 * seconds + 1e-6) / 1000  # else 0.0999 would be shown as the limit
    too_short = tf.strings.join([TOO_SHORT[0], tf.strings.as_string(rounded_down, precision=3), expected])
    damaged, error = damage(samples), tf.where(is_silent, SILENT, "")
    error = tf.where(tf.equal(damaged, ""), error, damaged)
    error = tf.where(seconds < SHORTEST_SECONDS, too_short, error)
    return tf.where(tf.size(samples) > 0, error, EMPTY)


def damage(samples: tf.Tensor) -> tf.Tensor:
    """Checks samples as `ser_keras.audio_io.clip_faults.damage` does.

    Args:
        samples: float32 `(time,)`, full scale 1.

    Returns:
        String scalar: what is wrong with them; empty where nothing is.
    """

    def tell():
        is_finite = tf.reduce_all(tf.math.is_finite(samples))
        peak = tf.strings.as_string(tf.reduce_max(tf.abs(samples)), precision=0)
        return tf.where(is_finite, tf.strings.join([TOO_LOUD[0], peak, TOO_LOUD[1]]), DAMAGED)

    return tf.cond(_is_undamaged(samples), lambda: tf.constant(""), tell)


def _is_undamaged(samples: tf.Tensor) -> tf.Tensor:
    return tf.reduce_all(tf.abs(samples) <= HIGHEST_PEAK)  # a comparison with NaN is false
