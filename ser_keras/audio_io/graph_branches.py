"""Seldom taken branches of a graph, at little cost to the others."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def kept_apart(branch: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose operations stay in one call, wherever it is used in a graph.

    TensorFlow inlines the branches of `tf.cond` and `tf.switch_case` into the graph around them, and skips each
    operation of those that are not taken, in every run. A call is skipped at once. The call itself
    costs some microseconds, so this is for long branches that are seldom taken.

    Args:
        branch: function of tensors, and of plain values that are the same in all runs, to tensors.

    Example:
        >>> halved = kept_apart(lambda values: values / 2)
        >>> float(tf.cond(tf.constant(True), lambda: halved(tf.constant(6.0)), lambda: tf.constant(0.0)))
        3.0
    """
    return tf.function(branch, autograph=False, reduce_retracing=True, experimental_attributes={"_noinline": True})
