"""Training by several replicas is training by one: the same weights everywhere, and each clip counted once."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from clusters import exit_codes, start_workers
from command_line import NETWORK, fails

from ser_keras.distribution import make_strategy
from ser_keras.distribution.replicas import Replicas
from ser_keras.distribution.sharding import equal_shares, even_shares
from ser_keras.errors import InputError
from ser_keras.model import ParallelModel

QUICK = ["--epochs", "2", "--batch-size", "7", *NETWORK]  # 7 is no multiple of the replicas


def batches_of(num_clips, size):
    """Batches of clips, each with its number for a label and as many samples."""
    clips = [({"waveform": np.full(n + 1, n, np.float32), "num_samples": n + 1}, n) for n in range(num_clips)]
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(clips),
        output_signature=(
            {"waveform": tf.TensorSpec([None], tf.float32), "num_samples": tf.TensorSpec([], tf.int32)},
            tf.TensorSpec([], tf.int64),
        ),
    )
    return dataset.padded_batch(size)


def labels_of(parts):
    """The labels of each part, after a look at the waveforms."""
    found = []
    for inputs, labels in parts:
        np.testing.assert_array_equal(inputs["num_samples"], labels + 1)
        np.testing.assert_array_equal(inputs["waveform"][:, 0], tf.cast(labels, tf.float32))
        found.append(labels.numpy().tolist())
    return found


@pytest.mark.parametrize(("num_clips", "size", "num_replicas"), [(20, 6, 2), (19, 6, 4), (5, 32, 3), (9, 4, 4)])
def test_each_validation_clip_is_in_one_part_and_every_replica_has_as_many_parts(num_clips, size, num_replicas):
    num_parts = max(1, num_clips // size) * num_replicas
    shares = [
        labels_of(even_shares(num_clips, num_parts, batches_of(num_clips, size), num_replicas, range(r, r + 1)))
        for r in range(num_replicas)
    ]
    assert {len(share) for share in shares} == {num_parts // num_replicas}
    assert all(part for share in shares for part in share)
    assert sorted(clip for share in shares for part in share for clip in part) == list(range(num_clips))


def test_replicas_of_one_process_take_their_parts_in_turn():
    alone = [labels_of(even_shares(20, 12, batches_of(20, 6), 4, range(r, r + 1))) for r in (2, 3)]
    together = labels_of(even_shares(20, 12, batches_of(20, 6), 4, range(2, 4)))
    assert together == [part for pair in zip(*alone, strict=True) for part in pair]


def test_training_parts_are_equal_and_leave_out_fewer_clips_than_replicas():
    parts = [labels_of(equal_shares(batches_of(17, 7), 3, range(r, r + 1))) for r in range(3)]
    assert [[len(part) for part in share] for share in parts] == [[2, 2, 1]] * 3  # of batches of 7, 7 and 3
    used = sorted(clip for share in parts for part in share for clip in part)
    assert used == [*range(6), *range(7, 13), *range(14, 17)]


def test_fit_is_told_the_steps_of_an_epoch_of_distributed_data():
    """It fails where TensorFlow renames the private attribute that `cardinality` reads."""
    replicas = Replicas(tf.distribute.MirroredStrategy(["CPU:0"]))
    replicas.number = 2  # a single device does not share
    assert int(replicas.share_validation(batches_of(20, 6), [6, 6, 6, 2], 0).cardinality) == 3


def test_fit_asks_the_model_before_it_averages_a_distributed_batch(small_model, monkeypatch):
    """It fails where Keras renames the private method that `ParallelModel` overrides."""
    asked = []
    monkeypatch.setattr(ParallelModel, "_maybe_symbolic_build", lambda *_, **__: asked.append(True))
    small_model.compile(loss="categorical_crossentropy")
    inputs = {"waveform": np.zeros((2, 4_000), np.float32), "num_samples": np.full(2, 4_000, np.int32)}
    small_model.fit(inputs, np.eye(3)[:2], verbose=0)
    assert asked and callable(keras.Model._maybe_symbolic_build)


def test_a_strategy_of_another_name_is_refused():
    with pytest.raises(InputError, match="strategy='many': expected one of mirrored, multiworker"):
        make_strategy("many")


def test_without_tf_config_multiworker_is_one_line(corpus, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    words = ("train", "--dataset-path", corpus, "--output-dir", tmp_path / "run", "--strategy", "multiworker")
    assert "TF_CONFIG is not set" in fails(capsys, *words)
    assert not (tmp_path / "run").exists()


def command(cpus, run, corpus, strategy):
    program = Path(__file__).parents[1] / "workers.py"
    return [
        sys.executable,
        program,
        cpus,
        "--dataset-path",
        corpus,
        "--output-dir",
        run,
        "--strategy",
        strategy,
        *QUICK,
    ]


def facts_in(out):
    """What a training printed about its weights."""
    return json.loads(out.partition("FACTS ")[2].partition("\n")[0])


def check_facts(*facts):
    """All replicas have the same weights and their own draws, and count each validation clip once."""
    assert len({each for one in facts for each in one["weights"]}) == 1
    seeds = [values for one in facts for values in zip(*one["seeds"], strict=True)]
    assert len(seeds) == 2 and all(first != second for first, second in zip(*seeds, strict=True))
    for one in facts:
        assert one["together"] == pytest.approx(one["alone"], abs=1e-6)
        assert 0 < one["alone"][0] < 1
        assert one["epochs"] == 2


@pytest.mark.slow
def test_two_devices_train_one_model(corpus, tmp_path):
    words = [*map(str, command(2, tmp_path / "run", corpus, "mirrored"))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4_000:]
    check_facts(facts_in(done.stdout))
    assert (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.slow
def test_two_processes_train_one_model_and_the_chief_alone_writes(corpus, tmp_path):
    log, run = tmp_path / "log", tmp_path / "run"
    workers = start_workers(command(1, run, corpus, "multiworker"), 2, log)
    assert exit_codes(workers, 1_800) == [0, 0], [path.read_text()[-4_000:] for path in log.glob("*.err")]
    check_facts(*(facts_in((log / f"{index}.out").read_text()) for index in range(2)))
    written = {path.relative_to(run).parts[0] for path in run.rglob("*")}
    assert {"config.json", "metrics.json", "model.keras", "history.csv", "predictions.csv"} <= written
    assert {path.name for path in tmp_path.iterdir()} == {"log", "run"}
    assert len(list((run / "tensorboard").rglob("events.*"))) == 2  # the chief's, of training and of validation


@pytest.mark.slow
def test_workers_that_read_other_data_all_stop_with_one_line(tmp_path):
    program = tmp_path / "compare.py"
    program.write_text(
        "from ser_keras.distribution.cluster import Cluster\n"
        "from ser_keras.distribution import make_strategy\n"
        "from ser_keras.distribution.replicas import Replicas\n"
        "replicas = Replicas(make_strategy('multiworker'))\n"
        "replicas.check_same('number of batches', [7, 8])\n"
        "replicas.check_same('training data', [7, Cluster.from_environment().index])\n"
    )
    assert exit_codes(start_workers([sys.executable, program], 2, tmp_path / "log"), 1_800) == [1, 1]
    for index in range(2):
        error = (tmp_path / "log" / f"{index}.err").read_text().rstrip().splitlines()[-1]
        assert "InputError: the training data of replica 1 and of the chief differ: give every worker the" in error
