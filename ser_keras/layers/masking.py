"""Layers that use only the true steps of a padded clip.

A mask is bool `(batch, steps)`, True where a step belongs to its clip. It is passed as an argument, not
by Keras's implicit masks, which convolutions do not support.
"""

import keras
import numpy as np
from keras import ops

_NEPERS = np.log(10) / 10
"""Natural logarithm of a power ratio of 1 dB."""


def sequence_mask(lengths, num_steps):
    """Return bool `(batch, num_steps)`, True for the first `lengths` `(batch,)` steps."""
    return ops.arange(num_steps) < ops.cast(lengths, "int32")[:, None]


def as_windows(values, length):
    """Return `(batch * windows, length, ...)`: the windows of `values` `(batch, steps, ...)`, zeros behind the last."""
    steps, rest = ops.shape(values)[1], list(values.shape[2:])
    missing = (length - steps % length) % length  # ONNX divides negative integers in another way
    padded = ops.pad(values, [[0, 0], [0, missing]] + [[0, 0]] * len(rest))
    return ops.reshape(padded, [-1, length, *rest])


@keras.saving.register_keras_serializable(package="ser_keras")
class MaskTime(keras.layers.Layer):
    """Sets the steps that do not belong to their clip to zero."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, inputs, mask=None):
        """Return None: the layers behind this one get their mask as an argument."""
        return

    def call(self, inputs, mask):
        """Return `inputs` `(batch, steps, ...)` with zeros where `mask` `(batch, steps)` is False."""
        return inputs * ops.cast(_expand_like(mask, inputs), inputs.dtype)


@keras.saving.register_keras_serializable(package="ser_keras")
class PoolMask(keras.layers.Layer):
    """Keeps every n-th step of a mask, for features that were pooled over n steps.

    Args:
        size: steps pooled into one.
    """

    def __init__(self, size: int, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, inputs):
        """Return bool `(batch, ceil(steps / size))` for `(batch, steps)`."""
        return inputs[:, :: self.size]


@keras.saving.register_keras_serializable(package="ser_keras")
class MaskedAveragePooling(keras.layers.Layer):
    """Averages every n neighbouring steps, of which those outside the mask do not count.

    Args:
        size: steps averaged into one; the number of steps has to be a multiple, see `PadTime`.

    Example:
        >>> steps = np.array([[[1.0], [3.0], [5.0], [7.0]]])
        >>> pooled, mask = MaskedAveragePooling(2)(steps, np.array([[True, True, True, False]]))
        >>> print(pooled.numpy().ravel(), mask.numpy())
        [2. 5.] [[ True  True]]
    """

    def __init__(self, size: int, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, steps, mask):
        """Return `(batch, steps / size, features)` and its mask for `(batch, steps, features)` and its mask."""
        batch, num_steps, features = ops.shape(steps)
        weights = ops.reshape(ops.cast(mask, "float32"), (batch, num_steps // self.size, 1, self.size))
        values = ops.reshape(ops.cast(steps, "float32"), (batch, num_steps // self.size, self.size, features))
        count = ops.sum(weights, axis=-1)  # (batch, steps, 1)
        means = ops.squeeze(ops.matmul(weights, values), axis=2) / ops.maximum(count, 1)
        return ops.cast(means, steps.dtype), ops.squeeze(count > 0, axis=-1)

    def compute_output_spec(self, steps, mask):
        """Return the shapes with fewer steps; JAX cannot infer them where the number of steps is unknown."""
        batch, num_steps, features = steps.shape
        pooled = num_steps and num_steps // self.size
        return keras.KerasTensor((batch, pooled, features), steps.dtype), keras.KerasTensor((batch, pooled), "bool")


@keras.saving.register_keras_serializable(package="ser_keras")
class TrimSilence(keras.layers.Layer):
    """Removes silence before and behind the speech from a mask, as `librosa.effects.trim` does.

    The duration of this silence depends on when a recording was started and stopped, and would change every
    functional. Pauses stay.

    Args:
        top_db: a frame is silent where its power is lower than that of the loudest frame by more than this, in dB.
        margin: silent frames kept at either end.

    Example:
        >>> log_mel = np.full((1, 8, 4), -80.0, "float32")
        >>> log_mel[:, [3, 5]] = 0.0
        >>> print(TrimSilence(margin=1)(log_mel, np.ones((1, 8), bool)).numpy().astype(int))
        [[0 0 1 1 1 1 1 0]]
    """

    def __init__(self, top_db: float = 30.0, *, margin: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.top_db = top_db
        self.margin = margin

    def call(self, log_mel, mask):
        """Return bool `(batch, frames)` for `log_mel` `(batch, frames, mels)` in dB and the mask of its frames."""
        near = _near_speech(log_mel, mask, self.top_db, self.margin)
        so_far = ops.cumsum(near, axis=1)
        begun, over = so_far > 0, so_far - near >= ops.max(so_far, axis=1, keepdims=True)
        return ops.squeeze(begun & ~over, axis=-1) & mask


@keras.saving.register_keras_serializable(package="ser_keras")
class HideSilence(keras.layers.Layer):
    """Removes all silence from a mask, pauses too.

    How long a speaker pauses depends on the text and on where a recording was cut, and the features of a silent frame
    on the room.

    Args:
        top_db: as in `TrimSilence`.
        margin: silent frames kept on both sides of the speech.

    Example:
        >>> log_mel = np.full((1, 9, 4), -80.0, "float32")
        >>> log_mel[:, [1, 7]] = 0.0
        >>> print(HideSilence(margin=1)(log_mel, np.ones((1, 9), bool)).numpy().astype(int))
        [[1 1 1 0 0 0 1 1 1]]
    """

    def __init__(self, top_db: float = 30.0, *, margin: int = 10, **kwargs):
        super().__init__(**kwargs)
        self.top_db = top_db
        self.margin = margin

    def call(self, log_mel, mask):
        """Return bool `(batch, frames)` for `log_mel` `(batch, frames, mels)` in dB and the mask of its frames."""
        return ops.squeeze(_near_speech(log_mel, mask, self.top_db, self.margin) > 0, axis=-1) & mask


@keras.saving.register_keras_serializable(package="ser_keras")
class StartAtSpeech(keras.layers.Layer):
    """Moves each clip to its first step in the mask, by whole blocks of steps, so that no position counts silence.

    Args:
        block: steps in a block; the number of steps has to be a multiple, see `PadTime`.

    Example:
        >>> steps, mask = np.arange(8.0).reshape(1, 8, 1), np.arange(8)[None] > 4
        >>> moved, mask, start = StartAtSpeech(2)(steps, mask)
        >>> print(moved.numpy().ravel()[:4], mask.numpy().astype(int), start.numpy())
        [4. 5. 6. 7.] [[0 1 1 1 0 0 0 0]] [2]
    """

    def __init__(self, block: int, **kwargs):
        super().__init__(**kwargs)
        self.block = block

    def call(self, steps, mask):
        """Return the moved steps and their mask, in the shapes of the inputs, and the blocks skipped, int32 `(batch,)`.

        Args:
            steps: `(batch, steps, features)`.
            mask: bool `(batch, steps)`.
        """
        batch, num_steps, features = ops.shape(steps)
        inside = ops.reshape(ops.cast(mask, steps.dtype), (batch, -1, self.block))
        has_any = ops.cast(ops.max(inside, axis=-1), "int32")  # (batch, blocks)
        start = ops.cast(ops.argmax(has_any, axis=-1), "int32")  # the first block with a True
        moved = moved_rows(ops.reshape(steps, (batch, -1, self.block * features)), start)
        inside = moved_rows(inside, start)
        return ops.reshape(moved, (batch, num_steps, features)), ops.reshape(inside, (batch, num_steps)) > 0, start

    def compute_output_spec(self, steps, mask):
        """Return the shapes of the inputs and `(batch,)`; JAX cannot infer them, as the number of blocks is unknown."""
        start = keras.KerasTensor(steps.shape[:1], "int32")
        return keras.KerasTensor(steps.shape, steps.dtype), keras.KerasTensor(mask.shape, "bool"), start


@keras.saving.register_keras_serializable(package="ser_keras")
class UndoStart(keras.layers.Layer):
    """Moves weights over the steps of clips that `StartAtSpeech` moved back to their time in the recording."""

    def call(self, weights, start):
        """Return `(batch, steps)` for weights of that shape, and the steps skipped, `(batch,)`."""
        return ops.squeeze(moved_rows(ops.expand_dims(weights, -1), -start), -1)


def moved_rows(values, start):
    """Return `values` `(batch, rows, features)` from row `start` `(batch,)` on, which may be negative; 0 outside."""
    batch, rows, features = ops.shape(values)
    index = ops.expand_dims(ops.cast(start, "int32"), 1) + ops.arange(rows, dtype="int32")  # (batch, rows)
    known = ops.cast(ops.logical_and(index >= 0, index < rows), values.dtype)
    places = ops.clip(index, 0, rows - 1) + ops.expand_dims(ops.arange(batch, dtype="int32") * rows, 1)
    return ops.take(ops.reshape(values, (-1, features)), places, axis=0) * ops.expand_dims(known, -1)


def _near_speech(log_mel, mask, top_db: float, margin: int):
    """Return `(batch, frames, 1)`, 1 where a frame within `margin` is not silent, else 0."""
    level = ops.logsumexp(ops.cast(log_mel, "float32") * _NEPERS, axis=-1, keepdims=True)  # (batch, frames, 1)
    level = ops.where(ops.expand_dims(mask, -1), level, -np.inf)
    loud = level > ops.max(level, axis=1, keepdims=True) - top_db * _NEPERS
    return ops.max_pool(ops.cast(loud, "float32"), 2 * margin + 1, strides=1, padding="same")


@keras.saving.register_keras_serializable(package="ser_keras")
class PadTime(keras.layers.Layer):
    """Appends zeros (False to a mask) until the number of steps is a multiple.

    All pooling behind it then starts at the same frames, whatever the length of the batch.

    Args:
        multiple: steps.
    """

    def __init__(self, multiple: int, **kwargs):
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, inputs):
        """Return `inputs` `(batch, steps, ...)` with `steps` rounded up."""
        missing = -ops.shape(inputs)[1] % self.multiple
        return ops.pad(inputs, [[0, 0], [0, missing]] + [[0, 0]] * (len(inputs.shape) - 2))


@keras.saving.register_keras_serializable(package="ser_keras")
class MeanRemoval(keras.layers.Layer):
    """Subtracts each clip's own mean over time from every band.

    It removes what a microphone, a room and a voice add to all frames alike, and keeps what changes.
    """

    def call(self, inputs, mask):
        """Return `inputs` `(batch, steps, bands)` less their mean over the steps in `mask`."""
        mean, _ = masked_moments(inputs, mask)
        return inputs - mean[:, None]


@keras.saving.register_keras_serializable(package="ser_keras")
class StatisticsPooling(keras.layers.Layer):
    """Mean and standard deviation over the time of each clip.

    After Snyder et al., "X-vectors", 2018, eq. 1 and 2.
    """

    def call(self, inputs, mask):
        """Return `(batch, 2 * features)` for `inputs` `(batch, steps, features)`."""
        mean, variance = masked_moments(inputs, mask)
        return ops.concatenate([mean, ops.sqrt(variance + 1e-5)], axis=-1)


def masked_moments(inputs, mask):
    """Return mean and variance over the steps in `mask`, both `(batch, features)`, in the dtype of `inputs`.

    They are computed in float32, because sums over a long recording overflow float16.
    """
    values = ops.cast(inputs, "float32")
    weights = ops.cast(_expand_like(mask, inputs), "float32")
    count = ops.maximum(ops.sum(weights, axis=1), 1)
    mean = ops.sum(values * weights, axis=1) / count
    variance = ops.sum(ops.square((values - mean[:, None]) * weights), axis=1) / count
    return ops.cast(mean, inputs.dtype), ops.cast(variance, inputs.dtype)


def _expand_like(mask, inputs):
    return ops.reshape(mask, (*ops.shape(mask), *(1,) * (len(inputs.shape) - 2)))
