"""Extensions of `keras.Model.fit` under TensorFlow: augmentation of whole batches, and several workers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops


class TensorFlowModel(keras.Model):
    """A `keras.Model` whose `fit` can change its training batches, and runs on several workers."""

    _augment: Callable[[tuple, Any], tuple] | None = None

    @contextmanager
    def batch_augmentation(self, augment: Callable[[tuple, Any], tuple]) -> Iterator[None]:
        """Let `fit` augment each training batch within a `with` block, as part of its compiled step.

        Args:
            augment: function from a batch, as `fit` takes it, and the number of steps done to the batch
                that is trained on instead.
        """
        self._augment, self.train_function = augment, None
        try:
            yield
        finally:
            self._augment = None
            self.train_function = None  # Keras would keep the compiled step, which contains the augmentation

    def train_step(self, data: tuple) -> dict[str, Any]:
        """Train on one batch, as in `keras.Model`."""
        data = self._augment(data, self.optimizer.iterations) if self._augment else data
        return self._reducible(super().train_step(data))

    def test_step(self, data: tuple) -> dict[str, Any]:
        """Evaluate one batch, as in `keras.Model`."""
        return self._reducible(super().test_step(data))

    @property
    def has_workers(self) -> bool:
        """Whether some replicas are in other processes."""
        from ser_keras.distribution import has_workers

        return has_workers(self.distribute_strategy)

    def _reducible(self, logs: dict[str, Any]) -> dict[str, Any]:
        """Give Keras vectors, which it can average over the replicas of several workers, instead of scalars."""
        return {name: ops.reshape(each, (1,)) for name, each in logs.items()} if self.has_workers else logs

    def _maybe_symbolic_build(self, *arguments: Any, **named: Any) -> None:
        """Skip Keras's symbolic build once all is built: it fails on parts of a batch of different shapes.

        Keras averages the first batch over the replicas before it checks whether anything has to be built, and has
        no public way to skip this (https://github.com/keras-team/keras/issues/20585).
        """
        if self.optimizer is None or not self.optimizer.built:
            super()._maybe_symbolic_build(*arguments, **named)


BaseModel = TensorFlowModel if keras.config.backend() == "tensorflow" else keras.Model
