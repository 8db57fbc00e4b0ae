"""Sample-rate conversion inside the graph, with the rate as a tensor.

A served model learns the rate of a recording from the client's header, so neither the time nor the
memory of the conversion may depend on how awkward that rate is. Hence no filter bank per rate: short
overlapping blocks go through an FFT, lose or gain the upper part of their spectrum and come back
(overlap-save). Core TensorFlow operations only.
"""

import functools
from typing import NamedTuple

import tensorflow as tf

_GUARD = 128  # samples at the lower of the two rates; the low-pass below has died away (-100 dB) by then
_BLOCKS_PER_SECOND = 8  # about 6,000 samples of a 48 kHz recording: an FFT that stays in the cache
_BLOCKS_AT_ONCE = 64


def resample(waveform: tf.Tensor, sample_rate: tf.Tensor, target_rate: int = 16_000) -> tf.Tensor:
    """Converts a waveform from one sample rate to another, without delay.

    Use it for a rate that is known only when the graph runs; any whole number of Hz will do, 44,099
    as well as 48,000. A waveform that has the target rate already comes back as it is, bit for bit.

    The low-pass is the one of soxr's HQ quality: flat to 0.91 of the lower Nyquist frequency, half at
    0.957, gone at 1. Before its start and after its end the waveform counts as silent.

    Args:
        waveform: samples, float32, shape (time,).
        sample_rate: rate of `waveform` in Hz, an integer scalar, 4,000 to 384,000.
        target_rate: rate wanted, in Hz.

    Returns:
        float32, shape (ceil(time * target_rate / sample_rate),), which is also librosa's length.

    Example:
        >>> import tensorflow as tf
        >>> constant = tf.ones([48_000])
        >>> slower = resample(constant, 48_000)
        >>> slower.shape, round(float(slower[8_000]), 4)
        (TensorShape([16000]), 1.0)
    """
    sample_rate = tf.cast(sample_rate, tf.int32)
    return tf.cond(
        tf.equal(sample_rate, target_rate),
        lambda: waveform,
        lambda: _convert(waveform, sample_rate, target_rate),
    )


def resampled_length(num_samples: tf.Tensor, sample_rate: tf.Tensor, target_rate: int = 16_000) -> tf.Tensor:
    """Returns how many samples `resample` makes of so many, int64 of the shape of its arguments.

    Example:
        >>> int(resampled_length(44_101, 44_100))
        16001
    """
    scaled = tf.cast(num_samples, tf.int64) * target_rate
    return -(-scaled // tf.cast(sample_rate, tf.int64))


class _Plan(NamedTuple):
    """Sizes of a block in samples, at the rate that comes in and at the one that goes out."""

    block_in: tf.Tensor
    guard_in: tf.Tensor
    block_out: tf.Tensor
    guard_out: tf.Tensor

    @property
    def hop_in(self) -> tf.Tensor:
        return self.block_in - 2 * self.guard_in

    @property
    def hop_out(self) -> tf.Tensor:
        return self.block_out - 2 * self.guard_out


def _convert(waveform: tf.Tensor, sample_rate: tf.Tensor, target_rate: int) -> tf.Tensor:
    plan = _plan(sample_rate, target_rate)
    num_blocks = tf.maximum(-(-tf.size(waveform) // plan.hop_in), 1)
    num_groups = -(-num_blocks // _BLOCKS_AT_ONCE)
    blocks_at_once = tf.minimum(num_blocks, _BLOCKS_AT_ONCE)
    hops = _hops(waveform, plan, num_groups * blocks_at_once)
    response = _response(plan)

    def convert_group(first: tf.Tensor) -> tf.Tensor:
        return _convert_blocks(hops[first : first + blocks_at_once + 1], response, plan)

    converted = tf.map_fn(
        convert_group,
        tf.range(num_groups) * blocks_at_once,
        fn_output_signature=tf.TensorSpec([None, None], tf.float32),
        parallel_iterations=1,
    )  # (groups, blocks, hop)
    return tf.reshape(converted, [-1])[: resampled_length(tf.size(waveform), sample_rate, target_rate)]


def _plan(sample_rate: tf.Tensor, target_rate: int) -> _Plan:
    # The shortest stretch that is a whole number of samples at both rates lasts 1 / divisor seconds;
    # blocks and guards are made of such stretches, so that no block begins between two samples.
    divisor = _greatest_common_divisor(sample_rate, target_rate)
    lower_rate = tf.minimum(sample_rate, target_rate)
    guard = -(-_GUARD * divisor // lower_rate)
    block = _without_large_primes(tf.maximum(divisor // _BLOCKS_PER_SECOND, 4 * guard), target_rate)
    step_in, step_out = sample_rate // divisor, target_rate // divisor
    return _Plan(block * step_in, guard * step_in, block * step_out, guard * step_out)


def _greatest_common_divisor(sample_rate: tf.Tensor, target_rate: int) -> tf.Tensor:
    divisors = tf.constant(_divisors(target_rate), tf.int32)
    return tf.reduce_max(tf.where(tf.equal(sample_rate % divisors, 0), divisors, 1))


@functools.cache
def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def _without_large_primes(size: tf.Tensor, target_rate: int) -> tf.Tensor:
    """The next size whose prime factors are 2, 3 and 5, where an FFT is fastest."""
    sizes = tf.constant(_smooth_numbers(max(target_rate, 8 * _GUARD)), tf.int32)
    return sizes[tf.searchsorted(sizes, size[tf.newaxis])[0]]


@functools.cache
def _smooth_numbers(limit: int) -> list[int]:
    """Products of 2, 3 and 5 up to a limit and a little beyond, in order."""
    exponents = range(limit.bit_length() + 1)
    products = {2**a * 3**b * 5**c for a in exponents for b in exponents for c in exponents}
    return sorted(product for product in products if product <= 2 * limit)


def _hops(waveform: tf.Tensor, plan: _Plan, num_blocks: tf.Tensor) -> tf.Tensor:
    """The waveform behind a guard of silence, cut into one row more than there are blocks."""
    after = (num_blocks + 1) * plan.hop_in - plan.guard_in - tf.size(waveform)
    padded = tf.pad(waveform, [[plan.guard_in, after]])
    return tf.reshape(padded, [num_blocks + 1, plan.hop_in])  # (blocks + 1, hop)


def _convert_blocks(hops: tf.Tensor, response: tf.Tensor, plan: _Plan) -> tf.Tensor:
    blocks = tf.concat([hops[:-1], hops[1:, : 2 * plan.guard_in]], axis=1)  # (blocks, block_in)
    spectrum = tf.signal.rfft(blocks, [plan.block_in])[:, : tf.size(response)] * response
    converted = tf.signal.irfft(spectrum, [plan.block_out])  # (blocks, block_out)
    return converted[:, plan.guard_out : plan.guard_out + plan.hop_out]  # (blocks, hop_out)


def _response(plan: _Plan) -> tf.Tensor:
    """Gain of the low-pass in each bin, times the change in FFT length: shape (bins kept,)."""
    lower = tf.minimum(plan.block_in, plan.block_out)
    frequency = tf.cast(tf.range(lower // 2 + 1), tf.float32) / (tf.cast(lower, tf.float32) / 2)
    # Fitted to the response of soxr's HQ quality within 0.002.
    distance = frequency - 0.957
    gain = 0.5 * tf.math.erfc(59.3 * distance * (1 + 98 * distance**2))
    scale = tf.cast(plan.block_out, tf.float32) / tf.cast(plan.block_in, tf.float32)
    return tf.complex(gain * scale, 0.0)
