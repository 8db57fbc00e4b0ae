"""How branches of a graph that are seldom taken stay out of the way of the others."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def kept_apart(branch: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function whose operations stay together in one call, wherever it is used in a graph.

    TensorFlow lays the branches of `tf.cond` and `tf.switch_case` out in the graph around them, and passes over
    each operation of those that are not taken, in every run. A call it passes over at once. The call itself
    costs some microseconds where it is made, so this is for what is long and seldom needed.

    Args:
        branch: function of tensors, and of plain values that are the same in all runs, to tensors.

    Example:
        >>> halved = kept_apart(lambda values: values / 2)
        >>> float(tf.cond(tf.constant(True), lambda: halved(tf.constant(6.0)), lambda: tf.constant(0.0)))
        3.0
    """
    return tf.function(branch, autograph=False, reduce_retracing=True, experimental_attributes={"_noinline": True})
