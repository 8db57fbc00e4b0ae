"""Windows of a recording that arrives in blocks: the same as those of the served timeline.

soxr.ResampleStream would resample the blocks, but its samples differ from the graph's by up to 4e-3 of full scale;
training, serving and streaming agree within 1e-6.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from ser_keras.audio_io.resampling import StreamResampler
from ser_keras.audio_io.sound_files import as_float32, mix_channels
from ser_keras.audio_io.wav_header import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE
from ser_keras.errors import InputError, require

_SAMPLES_AT_ONCE = 2**20


def resampled_pieces(blocks: Iterable[np.ndarray], sample_rate: int, target_rate: int) -> Iterator[np.ndarray]:
    """Convert the blocks of a recording to one channel and another rate, without a seam.

    Args:
        blocks: samples, float with a full scale of 1, or int16; `(time,)` or `(time, channels)`.
        sample_rate: of the blocks, in Hz.
        target_rate: wanted, in Hz.

    Yields:
        The waveform, float32 `(time,)`, in pieces of at most about a million samples before resampling.

    Raises:
        InputError: the rate is out of range, or a block is not audio.
    """
    rates = f"a whole number of {LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE} Hz"
    is_rate = int(sample_rate) == sample_rate and LOWEST_SAMPLE_RATE <= sample_rate <= HIGHEST_SAMPLE_RATE
    require(is_rate, "sample_rate", sample_rate, rates)
    resampler = StreamResampler(int(sample_rate), target_rate)
    for samples in map(_mono, blocks):
        for first in range(0, len(samples), _SAMPLES_AT_ONCE):
            yield resampler.push(samples[first : first + _SAMPLES_AT_ONCE])
    yield resampler.finish()


def cut_windows(pieces: Iterable[np.ndarray], window: int, hop: int) -> Iterator[tuple[int, np.ndarray]]:
    """Cut a waveform that arrives in pieces into overlapping windows, each as soon as it is full.

    The last window is shorter if the end of the recording does not fill it.

    Args:
        pieces: the waveform, float32 `(time,)` each.
        window: length of a window, in samples.
        hop: distance between windows, in samples.

    Yields:
        The start of the first window, in samples, and the windows, float32 `(windows, time)`.

    Example:
        >>> [(start, windows.tolist()) for start, windows in cut_windows([np.arange(3), np.arange(3, 6)], 3, 2)]
        [(0, [[0, 1, 2]]), (2, [[2, 3, 4]]), (4, [[4, 5]])]
    """
    held, start = np.zeros(0, np.float32), 0
    for piece in pieces:
        held = np.concatenate([held, piece]) if len(held) else piece
        if len(held) >= window:
            windows = np.lib.stride_tricks.sliding_window_view(held, window)[::hop]
            yield start, windows
            held, start = held[len(windows) * hop :].copy(), start + len(windows) * hop
    num_covered = window - hop if start else 0
    if len(held) > num_covered:
        yield start, held[None]


def _mono(block: np.ndarray) -> np.ndarray:
    """Return a block as one channel, float32 `(time,)`."""
    block = np.asarray(block)
    if block.dtype.kind != "f" and block.dtype != np.int16:
        raise InputError(f"a block of {block.dtype}: expected float with a full scale of 1, or int16")
    if block.ndim not in (1, 2) or 0 in block.shape[1:]:
        raise InputError(f"a block of shape {block.shape}: expected (time,) or (time, channels)")
    samples = as_float32(block).astype(np.float32)
    return samples if samples.ndim == 1 else mix_channels(samples)
