"""Clips of different lengths side by side in one array, in memory that is used again."""

import math
import weakref
from collections import deque
from collections.abc import Sequence

import numpy as np

from ser_keras.audio_io.sound_files import FULL_SCALE

_ALIGNMENT = 64
"""Bytes: TensorFlow's tensors begin at multiples of it, and an array that begins elsewhere it copies."""

_MOST_SPARE = 6
"""Arrays kept for batches to come: as many as are read, wait and are computed on at a time."""

_LARGEST_SPARE_BYTES = 2**25
"""A larger one goes back to the system: 32 clips of 16 s at 16 kHz fit."""


def pad_clips(clips: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Lay clips into one array.

    Args:
        clips: int16 or float32 samples, each `(time,)`.

    Returns:
        float32 `(batch, samples)`, full scale 1, zero behind each clip, as long as the longest; and the clips'
        own lengths, int32 `(batch,)`.

    Example:
        >>> pad_clips([np.array([1.0, 2.0], np.float32), np.array([2**14], np.int16)])[0].tolist()
        [[1.0, 2.0], [0.5, 0.0]]
    """
    num_samples = np.array([len(clip) for clip in clips], np.int32)
    waveform = _memory.empty(len(clips), int(num_samples.max()))
    for row, clip in zip(waveform, clips, strict=True):
        scale = 1 / FULL_SCALE if clip.dtype == np.int16 else 1.0
        np.multiply(clip, np.float32(scale), out=row[: len(clip)])
        row[len(clip) :] = 0
    return waveform, num_samples


class _BatchMemory:
    """Gives a new batch the memory of one that is gone: what comes from the system is cleared first, page by page."""

    def __init__(self):
        self._spare: deque[np.ndarray] = deque()  # threads may push and pop at the same time

    def empty(self, *shape: int) -> np.ndarray:
        """Return an uninitialised float32 array whose memory comes back once no view of it is left."""
        num_bytes = 4 * math.prod(shape)
        memory = self._take(num_bytes + _ALIGNMENT)
        whole = np.frombuffer(memoryview(memory), np.uint8)  # not a view of `memory`: its own views keep it alive
        weakref.finalize(whole, self._take_back, memory).atexit = False
        start = -whole.ctypes.data % _ALIGNMENT
        return whole[start : start + num_bytes].view(np.float32).reshape(shape)

    def _take(self, num_bytes: int) -> np.ndarray:
        try:
            memory = self._spare.pop()
        except IndexError:
            memory = None
        return memory if memory is not None and memory.nbytes >= num_bytes else np.empty(num_bytes, np.uint8)

    def _take_back(self, memory: np.ndarray) -> None:
        if len(self._spare) < _MOST_SPARE and memory.nbytes <= _LARGEST_SPARE_BYTES:
            self._spare.append(memory)


_memory = _BatchMemory()
