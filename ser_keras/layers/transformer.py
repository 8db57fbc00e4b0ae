"""A block of a Transformer encoder whose attention is masked per clip, and its positions."""

import keras
import numpy as np
from keras import ops

_FINE = 64
"""Neighbouring steps whose positions are constants in the graph."""

_EPSILON = 1e-5
_HIDDEN = -3e4
"""Added to the attention scores of steps that do not belong to the clip: their weights become exactly 0.

Float16 holds it: with an infinite value the weights of a row in which all steps are hidden would be NaN.
"""


@keras.saving.register_keras_serializable(package="ser_keras")
class TransformerBlock(keras.layers.Layer):
    """Self-attention and a feed-forward network, each behind a layer normalisation and beside a shortcut.

    The pre-norm block of Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022: exact
    GELU, four times as many hidden units as features, and keys without a bias. The projections to queries, keys and
    values are one matrix product.

    Args:
        num_heads: heads of the attention; they share the features.

    Example:
        >>> TransformerBlock(num_heads=2)(np.zeros((1, 5, 8), "float32"), np.ones((1, 5), bool)).shape
        TensorShape([1, 5, 8])
    """

    def __init__(self, num_heads: int, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, steps_shape, mask_shape=None):
        """Create the weights."""
        size = steps_shape[-1]
        dense = {"dtype": self.dtype_policy}
        self.attention_norm = keras.layers.LayerNormalization(epsilon=_EPSILON, **dense, name="attention_norm")
        self.qkv = keras.layers.Dense(3 * size, **dense, name="qkv")
        self.attention_output = keras.layers.Dense(size, **dense, name="attention_output")
        self.hidden_norm = keras.layers.LayerNormalization(epsilon=_EPSILON, **dense, name="hidden_norm")
        self.hidden = keras.layers.Dense(4 * size, **dense, name="hidden")
        self.hidden_output = keras.layers.Dense(size, **dense, name="hidden_output")
        for layer in (self.attention_norm, self.qkv, self.attention_output, self.hidden_norm, self.hidden):
            layer.build(steps_shape)
        self.hidden_output.build((*steps_shape[:-1], 4 * size))

    def call(self, steps, mask):
        """Return `(batch, steps, features)` for `steps` of that shape and their mask `(batch, steps)`."""
        steps = steps + self.attention_output(self._attention(self.attention_norm(steps), mask))
        hidden = ops.gelu(self.hidden(self.hidden_norm(steps)), approximate=False)
        return steps + self.hidden_output(hidden)

    def _attention(self, steps, mask):
        batch, length, size = ops.shape(steps)
        heads = (batch, length, 3, self.num_heads, size // self.num_heads)
        query, key, value = ops.unstack(ops.transpose(ops.reshape(self.qkv(steps), heads), (2, 0, 3, 1, 4)), 3)
        scores = ops.matmul(query * (size // self.num_heads) ** -0.5, ops.transpose(key, (0, 1, 3, 2)))
        hidden = ops.expand_dims(ops.where(mask, 0.0, _HIDDEN), (1, 2))  # (batch, 1, 1, steps)
        weights = ops.softmax(scores + ops.cast(hidden, scores.dtype), axis=-1)  # (batch, heads, steps, steps)
        context = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
        return ops.reshape(context, (batch, length, size))

    def get_config(self):
        """Return the arguments of the constructor."""
        return {**super().get_config(), "num_heads": self.num_heads}


def sinusoidal_positions(num_steps, size: int, *, most_steps: int):
    """Return the fixed positions that are added to the first block's input, float32 `(num_steps, size)`.

    Sines, then cosines, of wavelengths from 2π to 20,000π steps; see Vaswani et al., "Attention Is All You Need",
    2017, section 3.5, with the order of OpenAI's Whisper. The constants in the graph are the angles of the first 64
    steps and of every 64th, which are added by the sum formulas: a table of all would be larger than the graph.

    Args:
        num_steps: an integer or a tensor of one.
        size: features; even.
        most_steps: largest `num_steps`.
    """
    rates = np.exp(-np.log(10_000) / (size // 2 - 1) * np.arange(size // 2))
    angles = [
        np.arange(count)[:, None] * stride * rates for count, stride in ((-(-most_steps // _FINE), _FINE), (_FINE, 1))
    ]
    (sin, fine_sin), (cos, fine_cos) = (
        [table(each).astype(np.float32) for each in angles] for table in (np.sin, np.cos)
    )
    blocks = (num_steps + _FINE - 1) // _FINE
    sin, cos = (ops.expand_dims(ops.convert_to_tensor(each)[:blocks], 1) for each in (sin, cos))
    halves = [sin * fine_cos + cos * fine_sin, cos * fine_cos - sin * fine_sin]
    return ops.reshape(ops.concatenate(halves, axis=-1), (-1, size))[:num_steps]
