"""Mutated files through the served graph; `make fuzz` sends a hundred thousand."""

import fuzzing
import numpy as np
import pytest
import tensorflow as tf


def test_mutated_files_harm_nothing(served):
    worst, refused = fuzzing.fuzz(lambda files: served.signatures["serving_default"](audio_bytes=files), 630)
    assert worst <= fuzzing.TOLERANCE
    assert 100 < refused < 500  # mutants that are all refused, or none, would show little


def test_the_fuzzer_sees_a_good_clip_that_was_harmed(served):
    def harm(files):
        outputs = served.signatures["serving_default"](audio_bytes=files)
        moved = outputs["probabilities"] + 1e-3 * tf.cast(tf.size(files) > 1, tf.float32)
        return {**outputs, "probabilities": moved}

    with pytest.raises(AssertionError, match="the good clip differs by"):
        fuzzing.fuzz(harm, 10)


def test_the_same_seed_makes_the_same_files():
    one, other = (fuzzing.Fuzzer(seed=7) for _ in range(2))
    files = [one.mutant() for _ in range(50)]
    assert files == [other.mutant() for _ in range(50)]
    assert len({*files}) > 40 and np.ptp([len(each) for each in files]) > 1_000
