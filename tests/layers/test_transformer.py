"""The positions of a Transformer encoder."""

import numpy as np
import pytest
import tensorflow as tf

from ser_keras.layers.transformer import sinusoidal_positions


def by_hand(num_steps, size):
    phase = np.arange(num_steps)[:, None] * np.exp(-np.log(10_000) * np.arange(size // 2) / (size // 2 - 1))
    return np.concatenate([np.sin(phase), np.cos(phase)], axis=1)


@pytest.mark.parametrize("num_steps", [1, 63, 64, 65, 1_500])
@pytest.mark.parametrize("size", [64, 384])
def test_positions_are_those_of_the_formula(num_steps, size):
    positions = np.asarray(sinusoidal_positions(num_steps, size, most_steps=1_500))
    assert positions.shape == (num_steps, size) and positions.dtype == np.float32
    np.testing.assert_allclose(positions, by_hand(num_steps, size), atol=1e-6)


def test_their_number_can_be_known_only_when_the_graph_runs():
    """And the graph holds no table of all."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
    def positions(num_steps):
        return sinusoidal_positions(num_steps, 64, most_steps=1_500)

    np.testing.assert_allclose(positions(777), by_hand(777, 64), atol=1e-6)
    graph = positions.get_concrete_function().graph.as_graph_def()
    assert graph.ByteSize() < 1_500 * 64 * 4 / 5
