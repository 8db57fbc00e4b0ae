"""Every way to run a model gives the same; `make parity` prints the table for a trained one."""

import c_runtime
import parity
import pytest

pytestmark = pytest.mark.slow


def test_every_way_gives_the_same_alone_padded_and_in_a_batch(restless_model, exported):
    table = parity.parity(restless_model, exported, parity.made_up_clips(12), num_alone=1)
    ways = {"live model", ".keras, loaded again", "SavedModel, Python without Keras", "SavedModel, REST"}
    ways |= {"SavedModel, gRPC"} if c_runtime.why_not() else {"SavedModel, gRPC", "SavedModel, C"}
    assert set(table) == ways
    for row in table.values():
        assert set(row) == {"alone", "padded", "batch of 12"} and max(row.values()) <= 1e-5
