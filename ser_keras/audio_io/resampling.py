"""Sample-rate conversion inside the graph, with the rate as a tensor.

A served model learns the rate of a recording from the client's header, so neither the time nor the
memory of the conversion may depend on the ratio of the rates. Hence no filter bank per rate: short
overlapping blocks go through an FFT, lose or gain the upper part of their spectrum and come back
(overlap-save). Only for the rates in simple ratios to the target, 8,000 and 48,000 Hz among them, is a
bank so small that one convolution with it is quicker. Core TensorFlow operations only.
"""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ser_keras.audio_io.graph_branches import kept_apart

_CUTOFF = 0.957  # of the lower Nyquist frequency: there soxr's HQ quality passes half

_GUARD = 128  # samples at the lower of the two rates; the low-pass below has died away (-100 dB) by then
_BLOCKS_PER_SECOND = 8  # about 6,000 samples of a 48 kHz recording: an FFT that stays in the cache
_BLOCKS_AT_ONCE = 64

_SIMPLE_RATIOS = ((1, 2), (3, 2), (2, 1), (3, 1))  # rate that comes in to rate that goes out
_BANK = 32  # filters, as many samples go out at a time
_REACH = 64  # half length of a filter, in samples at the lower rate
_KAISER_BETA = 9.0  # -90 dB beside the pass band
_ROWS_AT_ONCE = 64


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
    ratios = [ratio for ratio in _SIMPLE_RATIOS if target_rate * ratio[0] % ratio[1] == 0]
    rates = [0, target_rate, *(target_rate * step_in // step_out for step_in, step_out in ratios)]
    ways = [
        lambda: _by_fft(waveform, sample_rate, target_rate),
        lambda: waveform,
        *(functools.partial(_by_bank, waveform, *ratio) for ratio in ratios),
    ]
    # Where no rate is equal, the first of all those zeros is the largest.
    way = tf.argmax(tf.cast(tf.equal(sample_rate, rates), tf.int32), output_type=tf.int32)
    return tf.switch_case(way, ways)


def resampled_length(num_samples: tf.Tensor, sample_rate: tf.Tensor, target_rate: int = 16_000) -> tf.Tensor:
    """Returns how many samples `resample` makes of so many, int64 of the shape of its arguments.

    Example:
        >>> int(resampled_length(44_101, 44_100))
        16001
    """
    scaled = tf.cast(num_samples, tf.int64) * target_rate
    return -(-scaled // tf.cast(sample_rate, tf.int64))


class StreamResampler:
    """Resamples a waveform that comes piece by piece, as `resample` does.

    The blocks of the conversion are those of `resample`, whatever the pieces are, so that the concatenated output is
    that of `resample`. It holds back about 0.15 s at the common rates, and up to 4 s at rates such as 44,099 Hz.

    Args:
        sample_rate: rate of the pieces that go in, in Hz, 4,000 to 384,000.
        target_rate: rate wanted, in Hz.

    Example:
        >>> stream = StreamResampler(48_000)
        >>> pieces = [stream.push(np.ones(30_000, np.float32)) for _ in range(2)] + [stream.finish()]
        >>> whole = resample(np.ones(60_000, np.float32), 48_000)
        >>> bool(np.allclose(np.concatenate(pieces), whole, atol=1e-6))
        True
    """

    def __init__(self, sample_rate: int, target_rate: int = 16_000):
        self._rates = sample_rate, target_rate
        self._plan = _Plan(*(int(size) for size in _plan(tf.constant(sample_rate), target_rate)))
        self._response = _response(self._plan)
        self._ratio = _simple_ratio(sample_rate, target_rate)
        self._held = np.zeros(self._plan.guard_in, np.float32)
        self._num_taken = self._num_given = 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take a piece, float32 `(time,)`, and give what is complete by now, of the same type."""
        self._num_taken += len(samples)
        return samples if self._rates[0] == self._rates[1] else self._convert(samples)

    def finish(self) -> np.ndarray:
        """Give the rest, float32 `(time,)`; nothing may be pushed afterwards."""
        if self._rates[0] == self._rates[1]:
            return np.zeros(0, np.float32)
        plan = self._plan
        num_missing = int(resampled_length(self._num_taken, *self._rates)) - self._num_given
        needed = -(-num_missing // plan.hop_out) * plan.hop_in + 2 * plan.guard_in
        return self._convert(np.zeros(max(needed - len(self._held), 0), np.float32))[: max(num_missing, 0)]

    def _convert(self, samples: np.ndarray) -> np.ndarray:
        """Convert the blocks that are complete with these samples, and hold what belongs to the next."""
        plan, held = self._plan, np.concatenate([self._held, samples])
        num_blocks = max((len(held) - 2 * plan.guard_in) // plan.hop_in, 0)
        self._held = held[num_blocks * plan.hop_in :].copy()
        if num_blocks == 0:
            return np.zeros(0, np.float32)
        if self._ratio:
            whole = _by_bank(tf.constant(held[: num_blocks * plan.hop_in + 2 * plan.guard_in]), *self._ratio)
            converted = whole[plan.guard_out : plan.guard_out + num_blocks * plan.hop_out].numpy()
        else:
            hops = np.resize(held, (num_blocks + 1, plan.hop_in))  # of the last row only the guard is used
            converted = _convert_blocks(tf.constant(hops), self._response, plan).numpy().ravel()
        self._num_given += len(converted)
        return converted


def _simple_ratio(sample_rate: int, target_rate: int) -> tuple[int, int] | None:
    return next((each for each in _SIMPLE_RATIOS if sample_rate * each[1] == target_rate * each[0]), None)


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


@kept_apart
def _by_fft(waveform: tf.Tensor, sample_rate: tf.Tensor, target_rate: int) -> tf.Tensor:
    plan = _plan(sample_rate, target_rate)
    num_blocks = tf.maximum(-(-tf.size(waveform) // plan.hop_in), 1)
    num_groups = -(-num_blocks // _BLOCKS_AT_ONCE)
    blocks_at_once = tf.minimum(num_blocks, _BLOCKS_AT_ONCE)
    hops = _hops(waveform, plan, num_groups * blocks_at_once)
    response = _response(plan)

    def convert_group(first: tf.Tensor) -> tf.Tensor:
        return _convert_blocks(hops[first : first + blocks_at_once + 1], response, plan)

    def convert_groups() -> tf.Tensor:
        starts = tf.range(num_groups) * blocks_at_once
        spec = tf.TensorSpec([None, None], tf.float32)
        return tf.map_fn(convert_group, starts, fn_output_signature=spec, parallel_iterations=1)

    # The loop alone costs as much as an FFT; a short recording does without.
    converted = tf.cond(
        num_groups > 1,
        lambda: tf.reshape(convert_groups(), [-1]),  # of (groups, blocks, hop)
        lambda: tf.reshape(_convert_blocks(hops, response, plan), [-1]),  # of (blocks, hop)
    )
    return converted[: resampled_length(tf.size(waveform), sample_rate, target_rate)]


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
    return tf.gather(_smooth_sizes(max(target_rate // _BLOCKS_PER_SECOND, 8 * _GUARD)), size)


@functools.cache
def _smooth_sizes(limit: int) -> np.ndarray:
    """For each size up to a limit, the next product of 2, 3 and 5."""
    exponents = range(limit.bit_length() + 1)
    products = sorted(2**a * 3**b * 5**c for a in exponents for b in exponents for c in exponents)
    return np.array(products)[np.searchsorted(products, np.arange(limit + 1))].astype(np.int32)


def _hops(waveform: tf.Tensor, plan: _Plan, num_blocks: tf.Tensor) -> tf.Tensor:
    """The waveform after a guard of silence, cut into one row more than there are blocks."""
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
    distance = frequency - _CUTOFF
    gain = 0.5 * tf.math.erfc(59.3 * distance * (1 + 98 * distance**2))
    scale = tf.cast(plan.block_out, tf.float32) / tf.cast(plan.block_in, tf.float32)
    return tf.complex(gain * scale, 0.0)


def _by_bank(waveform: tf.Tensor, step_in: int, step_out: int) -> tf.Tensor:
    """Row by row of samples: each that goes out is the product of a filter with the rows around."""
    filters = _filters(step_in, step_out)
    size, row = tf.size(waveform), filters.shape[1]
    num_rows = (size // (row * _ROWS_AT_ONCE) + 1) * _ROWS_AT_ONCE  # few shapes: oneDNN prepares for each
    rows = tf.reshape(tf.pad(waveform, [[0, num_rows * row - size]]), [1, num_rows, row])
    with tf.device("CPU"):  # GPUs round the factors of a convolution to 11 bits
        converted = tf.nn.conv1d(rows, filters, 1, "SAME")  # (1, rows, bank)
    return tf.reshape(converted, [-1])[: resampled_length(size, step_in, step_out)]


@functools.cache
def _filters(step_in: int, step_out: int) -> np.ndarray:
    """Kaiser-windowed sinc for each sample of a row that goes out: `(rows around, row, bank)`."""
    row = _BANK * step_in // step_out
    lower = min(1.0, step_out / step_in)  # of the two rates, where the one that comes in is 1
    rows_beside = round(_REACH / lower) // row
    time_in = np.arange(-rows_beside * row, (rows_beside + 1) * row)
    time_out = np.arange(_BANK) * step_in / step_out
    distance = (time_in[:, np.newaxis] - time_out) * lower  # (time, bank)
    window = np.i0(_KAISER_BETA * np.sqrt(np.maximum(1 - (distance / _REACH) ** 2, 0)))
    filters = np.where(np.abs(distance) < _REACH, np.sinc(_CUTOFF * distance) * window, 0)
    return (filters / filters.sum(axis=0)).reshape(-1, row, _BANK).astype(np.float32)
