"""TF_CONFIG is read as TensorFlow reads it, and what is wrong with it is one line."""

import json

import pytest

from ser_keras.distribution.cluster import Cluster
from ser_keras.errors import InputError


@pytest.fixture
def tf_config(monkeypatch):
    def set_config(jobs, kind, index):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}}))

    return set_config


def test_the_first_worker_is_the_chief(tf_config):
    for index in (0, 1):
        tf_config({"worker": ["a:1", "b:1"]}, "worker", index)
        cluster = Cluster.from_environment()
        assert (cluster.workers, cluster.index, cluster.is_chief) == (("a:1", "b:1"), index, index == 0)


def test_a_chief_by_name_comes_before_the_workers(tf_config):
    jobs = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    tf_config(jobs, "worker", 0)
    worker = Cluster.from_environment()
    tf_config(jobs, "chief", 0)
    assert (worker.index, worker.is_chief, Cluster.from_environment().is_chief) == (1, False, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "TF_CONFIG is not set: with several workers each needs it, such as {"),
        ("{", "TF_CONFIG={: Expecting property name"),
        ("[]", "TF_CONFIG=.*; expected a value such as {"),
        ('{"cluster": {"worker": ["a:1"]}}', "'task' is missing"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "there is no worker 1;"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}', "ps: not a task"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "evaluator", "index": 0}}', "evaluator: not a task"),
    ],
)
def test_what_cannot_be_used_is_one_line(monkeypatch, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=message) as error:
        Cluster.from_environment()
    assert "\n" not in str(error.value)
