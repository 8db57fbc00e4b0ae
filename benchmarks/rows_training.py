"""Rows on two cores: a training step, an epoch, and how much of the machine the step uses."""

import os
import tempfile
from pathlib import Path

import numpy as np
import ours
import tensorflow as tf
from clips import find_corpus, noise, quiet
from lines import Measured
from timing import medians, module_or_reason

from ser_keras.pipeline.batches import labelled_batches
from ser_keras.preprocessing import preprocess_data

BATCH = 32
EPOCHS = 3  # in one call of fit, as in training: what it does before and after them is no part of an epoch
MATRICES = (1024, 2048, 4096)


def step() -> list[Measured]:
    torch = module_or_reason("torch", "pip install torch (its CPU build is enough)")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    from original import training_step

    times = medians(ours.training_step(ours.batch_of_noise(BATCH)), training_step(BATCH))
    return [Measured(*times, "the original in PyTorch, from ready features")]


def epoch() -> list[Measured]:
    """`fit` on what `train_model` feeds it, beside the same compiled step on the same batches held in memory."""
    quiet()
    with tempfile.TemporaryDirectory() as scratch:
        corpus = find_corpus(Path(scratch), ["emodb"])
        splits = preprocess_data(corpus.path)
        train = labelled_batches(splits.train, len(splits.emotions), class_weights=np.ones(len(splits.emotions)))
        model = ours.ParallelModel(len(splits.emotions))
        trainer = ours.compiled(model, train)
        batches = list(train)
        one_step = ours.step_on_tensors(trainer, train)
        times = medians(
            lambda: model.fit(train, epochs=EPOCHS, steps_per_epoch=len(batches), shuffle=False, verbose=0),
            lambda: [one_step(batch) for _ in range(EPOCHS) for batch in batches],
            repeats=15,  # of seven the ratio moves by a point
        )
    times = [seconds / EPOCHS for seconds in times]
    return [Measured(*times, "the same steps on tensors in memory", note=f"{corpus.title}, {len(batches)} steps")]


def share_of_peak() -> list[Measured]:
    """The step beside the time in which one large product does as many multiply-adds."""
    model, batch = ours.build(), ours.batch_of_noise(BATCH)
    count = 3 * ours.multiply_adds(model, batch[0])
    products = [_product(size) for size in MATRICES]
    mine, *theirs = medians(ours.training_step(batch, model), *products)
    rate = max(size**3 / seconds for size, seconds in zip(MATRICES, theirs, strict=True))
    note = f"{count / 1e9:.2f} G, {count / mine / 1e9:.0f} of {rate / 1e9:.0f} G a second"
    return [Measured(mine, count / rate, "as many in one tf.matmul", note=note)]


def _product(size: int):
    matrix = tf.constant(noise(size, size))
    product = tf.function(tf.matmul)
    return lambda: product(matrix, matrix)
