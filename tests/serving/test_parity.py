"""Every way to run a model gives the same; `make parity` prints the table for a trained one."""

import c_runtime
import parity
import pytest


@pytest.fixture(scope="module")
def table(restless_model, exported):
    return parity.parity(restless_model, exported, parity.made_up_clips(12), num_alone=1)


@pytest.mark.parametrize(
    "way",
    [
        *("live model", ".keras, loaded again", "SavedModel, Python without Keras", "SavedModel, C"),
        *("SavedModel, REST", "SavedModel, gRPC"),
    ],
)
def test_a_way_to_run_the_model_gives_the_same(table, way):
    if way == "SavedModel, C" and (reason := c_runtime.why_not()):
        pytest.skip(reason)
    assert max(table[way].values()) <= 1e-5


def test_every_way_is_tried_alone_padded_and_in_a_batch(table):
    assert {tuple(row) for row in table.values()} == {("alone", "padded", "batch of 12")}
