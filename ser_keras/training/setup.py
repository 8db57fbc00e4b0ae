"""A model and the data that it is fitted to; `train_model` and `refit_model` share it."""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ser_keras.config import TrainConfig
from ser_keras.distribution.replicas import Batches, Replicas
from ser_keras.errors import InputError
from ser_keras.layers.augmentation import mix_up
from ser_keras.metrics import UnweightedAverageRecall
from ser_keras.model import ParallelModel
from ser_keras.model.functionals_branch import fit_functionals_branch
from ser_keras.pipeline.batches import emotions_of, labelled_batches, shuffled_batches
from ser_keras.pipeline.encoded import EncodedClips
from ser_keras.pipeline.shuffling import epochs_numbered
from ser_keras.training.data import contents, waveforms
from ser_keras.training.data import encoded as encode

logger = logging.getLogger(__name__)


class Trainer:
    """Fits a model to labelled recordings, wherever its replicas are.

    Args:
        model: the model; it is changed in place, and takes the names of the emotions from the data.
        data: training data, as `train_model` takes them.
        config: how to train.
        val_data: validation data, as `train_model` takes them.
        subset: name of the training data in errors.
        encoded: clips that were encoded before, for a model with a frozen encoder.

    Attributes:
        head: what is trained: the model, or what follows its frozen encoder.
        replicas: where the model is trained.
        source: the batches.

    Raises:
        InputError: the data's emotions are not the model's, all training clips have one emotion, there is no clip, or
            a clip holds NaN or infinite samples.
    """

    def __init__(
        self,
        model: ParallelModel,
        data: Any,
        config: TrainConfig,
        *,
        val_data: Any = None,
        subset: str = "training",
        encoded: EncodedClips | None = None,
    ):
        self.model, self.head, self.config = model, model.parts.head, config
        self.replicas = Replicas(model.distribute_strategy)
        data = shuffled_batches(data) if isinstance(data, tuple) else data
        for each in (data,) if val_data is None else (data, val_data):
            _adopt_emotions(model, each)
        with epochs_numbered():
            found = contents(self._labelled(data), subset)
        _check_classes(model, found.counts, subset)
        validation = None if val_data is None else self._labelled(val_data)
        self._validation = None if val_data is None else contents(validation, "validation")
        training = self._labelled(data, class_weights(found.counts) if config.class_weights else None)
        if model.parts.encoder is None:
            sizes = {"sizes": found.batch_sizes, "validation_sizes": self._validation and self._validation.batch_sizes}
            self.source = waveforms(training, validation, **sizes, num_draws=config.functionals_draws)
        else:
            options = {
                "batch_size": max(found.batch_sizes),
                "copies": config.encoded_copies,
                "crop": config.encoded_crop,
            }
            self.source = encode(encoded or encoded_clips(model), training, validation, **options)

    def fit_normalization(self) -> None:
        """Fit the normalisation of the features to the clips of the first epoch."""
        self.model.adapt_normalization(next(self.source.draws()))

    def fit_functionals(self) -> None:
        """Fit the functionals branch to the clips in all their draws."""
        fit_functionals_branch(self.model, self.source.draws(), self.config.functionals_regularization)

    def fit(
        self, *, mixup_seed: Sequence[int], callbacks: Sequence[keras.callbacks.Callback] = (), **options: Any
    ) -> keras.callbacks.History:
        """Compile the model, and run `model.fit`.

        Args:
            mixup_seed: two integers; the same give the same mixtures.
            callbacks: of the training.
            **options: of `model.fit`.

        Raises:
            WorkerLostError: another worker is gone.
        """
        self.compile()
        batches = self._training_batches()
        with epochs_numbered() as epochs, self.mixed(mixup_seed), self.replicas.naming_lost_workers():
            set_epoch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: setattr(epochs, "epoch", epoch))
            return self.head.fit(
                batches,
                validation_data=self._validation_batches(),
                steps_per_epoch=steps_per_epoch(batches),
                shuffle=False,  # the dataset shuffles itself
                callbacks=[set_epoch, *callbacks],
                **options,
            )

    def mixed(self, seed: Sequence[int]) -> AbstractContextManager:
        """Let `model.fit` mix the clips of each batch (see `mix_up`) within a `with` block; `fit` does this itself."""
        if not self.config.mixup:
            return nullcontext()

        def mix(data, num_steps):
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group  # 0 on one device
            own_seed = tf.constant(seed, tf.int64) + tf.stack([0, tf.cast(replica, tf.int64)])
            return mix_up(data, self.config.mixup, own_seed + tf.cast(num_steps, tf.int64))

        return self.head.batch_augmentation(mix)

    def compile(self) -> None:
        """Compile the model with optimiser, loss and metrics; `fit` does this itself."""
        head, config = self.head, self.config
        with head.distribute_strategy.scope():
            head.compile(
                optimizer=self._optimizer(),
                loss=keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing),
                metrics=[
                    UnweightedAverageRecall(self.model.num_emotions),
                    keras.metrics.CategoricalAccuracy("accuracy"),
                ],
                # Keras's loop over steps fails on a distributed iterator.
                steps_per_execution=config.steps_per_execution if self.replicas.number == 1 else 1,
            )
            head.optimizer.build(head.trainable_variables)

    def _training_batches(self) -> Batches:
        return self.replicas.share_training(self.source.training, self.source.batch_sizes)

    def _validation_batches(self) -> Batches | None:
        source, found = self.source, self._validation
        if found is None:
            return None
        return self.replicas.share_validation(source.validation, source.validation_sizes, found.checksum)

    def _labelled(self, data: Any, weights: np.ndarray | None = None) -> tf.data.Dataset:
        return labelled_batches(data, self.model.num_emotions, class_weights=weights)

    def _optimizer(self) -> keras.optimizers.Optimizer:
        config, total_steps = self.config, len(self.source.batch_sizes) * self.config.epochs
        warmup = max(1, round(config.warmup_fraction * total_steps))
        schedule = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=config.learning_rate / 100,
            warmup_target=config.learning_rate,
            warmup_steps=warmup,
            decay_steps=max(1, total_steps - warmup),
            alpha=0.01,
        )
        optimizer = keras.optimizers.AdamW(
            schedule,
            weight_decay=config.weight_decay,
            global_clipnorm=1.0 / self.replicas.number,  # of each replica's share of the gradient
            use_ema=config.ema_momentum > 0,
            ema_momentum=config.ema_momentum or 0.99,
        )
        optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
        return optimizer


def _adopt_emotions(model: ParallelModel, data: Any) -> None:
    """Take the names of the labels from the data, and refuse data whose names differ from the model's.

    Raises:
        InputError: the names differ, or their number does.
    """
    names = emotions_of(data)
    if names is None:
        if isinstance(data, tf.data.Dataset) and model.emotions is not None:
            logger.warning("the data do not name their labels: label 0 is taken for %s, and so on", model.emotions[0])
        return
    if len(names) != model.num_emotions:
        raise InputError(
            f"the model has num_emotions={model.num_emotions}, but the data has {len(names)} "
            f"({', '.join(names)}): build it with ParallelModel(num_emotions={len(names)})"
        )
    if model.emotions is not None and names != model.emotions:
        raise InputError(
            f"the model's emotions are {', '.join(model.emotions)}, the data's {', '.join(names)}: "
            "they must be the same, in the same order"
        )
    model.emotions = names


def encoded_clips(model: ParallelModel) -> EncodedClips:
    """Return an empty store of clips encoded by a model's frozen encoder."""
    config, encoder = model.config, model.parts.encoder
    return EncodedClips(encoder, multiple=config.frames_multiple // (2 * config.encoder_pool))


def steps_per_epoch(batches: Any) -> int | None:
    """Return the number of batches in an epoch; `fit` begins each pass over the data twice if it is not told.

    None where it is unknown: for distributed data, and for a dataset without a cardinality.

    Example:
        >>> steps_per_epoch(tf.data.Dataset.range(5).batch(2))
        3
    """
    steps = int(batches.cardinality()) if isinstance(batches, tf.data.Dataset) else -1
    return steps if steps > 0 else None


def class_weights(counts: np.ndarray) -> np.ndarray:
    """Return for each class the weight that makes all classes count alike, `(classes,)`.

    It is scikit-learn's "balanced": ``n / (classes * count)``; a class without a clip gets 0.

    Example:
        >>> class_weights(np.array([30, 10])).round(2).tolist()
        [0.67, 2.0]
    """
    share = counts.sum() / np.count_nonzero(counts)
    return np.divide(share, counts, out=np.zeros(len(counts)), where=counts > 0)


def _check_classes(model: ParallelModel, counts: np.ndarray, subset: str) -> None:
    """Refuse training data of a single emotion: a model trained on them predicts nothing else."""
    if np.count_nonzero(counts) > 1:
        return
    (index,) = np.flatnonzero(counts)
    name = model.emotions[index] if model.emotions else f"class {index}"
    raise InputError(
        f"all {counts[index]:.0f} clips of the {subset} data are labelled {name!r}: training needs 2 emotions or more; "
        "split so that each emotion has a speaker in training, or record more speakers for each emotion"
    )
