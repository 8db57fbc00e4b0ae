"""Our model as `train_model` runs it, and as it is served."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from clips import SAMPLE_RATE, SECONDS, noise

from ser_keras.config import TrainConfig
from ser_keras.export import export_model
from ser_keras.labels import EMOTIONS
from ser_keras.model import ParallelModel
from ser_keras.training.setup import Trainer


def build() -> ParallelModel:
    return ParallelModel(8, emotions=EMOTIONS[:8])


def batch_of_noise(size: int, seconds: float = SECONDS) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Return one training batch: waveforms with their lengths, and one-hot labels."""
    waveform = tf.constant(noise(size, round(seconds * SAMPLE_RATE)))
    inputs = {"waveform": waveform, "num_samples": tf.fill([size], waveform.shape[1])}
    return inputs, tf.one_hot(np.arange(size) % 8, 8)


def compiled(model: ParallelModel, batches: tf.data.Dataset) -> Trainer:
    """Compile a model as `train_model` does, and run one step, which builds and traces all of it."""
    trainer = Trainer(model, batches, TrainConfig())
    trainer.compile()
    with trainer.mixed((0, 0)):
        model.fit(batches.take(1), shuffle=False, verbose=0)
    return trainer


def step_on_tensors(trainer: Trainer, batches: tf.data.Dataset) -> Callable[[Any], Any]:
    """Return the same step as a function of a batch, without what `fit` has around it."""
    with trainer.mixed((0, 0)):
        return tf.function(trainer.model.train_step, input_signature=[batches.element_spec]).get_concrete_function()


def training_step(batch: Any, model: ParallelModel | None = None):
    """Return a function without arguments that runs the compiled step of a training on one batch, again and again."""
    batches = tf.data.Dataset.from_tensors(batch)
    step = step_on_tensors(compiled(model or build(), batches), batches)
    return lambda: step(batch)


def served(model: ParallelModel):
    """Export a model, load what was written, return its `serving_default`."""
    with tempfile.TemporaryDirectory() as folder:
        loaded = tf.saved_model.load(str(export_model(model, Path(folder) / "1")))
    signature = loaded.signatures["serving_default"]
    signature.kept = loaded  # its variables live as long as it does
    return signature


def multiply_adds(model: ParallelModel, inputs: dict[str, tf.Tensor]) -> int:
    """Count those of a forward pass: each kernel is applied once at each place of its layer's output."""
    weighted = {
        layer.name: layer for layer in model.layers if any(len(weight.shape) > 1 for weight in layer.trainable_weights)
    }
    outputs = keras.Model(model.input, {name: layer.output for name, layer in weighted.items()})(inputs)
    return sum(_places(outputs[name]) * _kernel_size(layer) for name, layer in weighted.items())


def _places(output: tf.Tensor) -> int:
    return int(np.prod(output.shape[:-1]))


def _kernel_size(layer: keras.layers.Layer) -> int:
    return sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights if len(weight.shape) > 1)
