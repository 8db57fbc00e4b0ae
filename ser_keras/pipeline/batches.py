"""What `fit` takes, in the one form that everything here works with: batches of inputs and one-hot labels."""

from typing import Any

import numpy as np
import tensorflow as tf

from ser_keras.config import DataConfig
from ser_keras.errors import InputError
from ser_keras.pipeline.shuffling import EpochOrder, ordered_batches


def labelled_batches(
    data: Any,
    num_emotions: int,
    *,
    class_weights: np.ndarray | None = None,
    batch_size: int = DataConfig.batch_size,
) -> tf.data.Dataset:
    """Bring whatever `model.fit` takes into one form: input dictionary, one-hot label, and a weight where there is one.

    Args:
        data: batched `tf.data.Dataset` of ``(inputs, labels)`` or ``(inputs, labels, sample_weights)``,
            or a pair of arrays. Inputs are a dictionary of `waveform` `(batch, samples)` and
            `num_samples` `(batch,)`, or the waveforms alone where nothing is padded; labels are
            indices `(batch,)` or one-hot `(batch, num_emotions)`.
        num_emotions: number of classes.
        class_weights: one for each class, given to clips that come without a weight. It is what `fit` does
            with ``class_weight``, which it cannot do with distributed data.
        batch_size: clips in a batch, for arrays.

    Raises:
        InputError: `data` is neither.
    """
    if not isinstance(data, tf.data.Dataset):
        if not isinstance(data, tuple) or len(data) not in (2, 3):
            raise InputError(
                f"data of type {type(data).__name__}: expected a tf.data.Dataset or a pair (inputs, labels)"
            )
        data = tf.data.Dataset.from_tensor_slices(data).batch(batch_size)

    @tf.autograph.experimental.do_not_convert
    def convert(inputs, labels, *weights):
        one_hot = _one_hot(labels, num_emotions)
        if class_weights is not None and not weights:
            weights = (tf.gather(tf.constant(class_weights, tf.float32), tf.argmax(one_hot, axis=1)),)
        return as_inputs(inputs), one_hot, *weights

    return data.mapped(convert) if hasattr(data, "mapped") else data.map(convert, 2)  # as `preprocess_data` makes them


def shuffled_batches(
    arrays: tuple, *, batch_size: int = DataConfig.batch_size, seed: int = DataConfig.seed
) -> tf.data.Dataset:
    """Make training batches of arrays: in each epoch in another order, as those of `Splits.train`.

    A last batch that is not full is dropped, where it is not the only one.

    Args:
        arrays: pair of inputs and labels, or a triple with sample weights.
        batch_size: clips in a batch.
        seed: of the order.

    Example:
        >>> batches = shuffled_batches((np.zeros((5, 10)), np.arange(5)), batch_size=2)
        >>> [len(set(labels.numpy())) for _, labels in batches]
        [2, 2]
    """
    arrays = tf.data.Dataset.from_tensors(arrays).get_single_element()
    order = EpochOrder(len(tf.nest.flatten(arrays)[0]), seed)

    @tf.autograph.experimental.do_not_convert
    def read(places, _):
        return tf.nest.map_structure(lambda each: tf.gather(each, places), arrays)

    dataset = ordered_batches(order, batch_size).map(read)
    dataset.order = order
    return dataset


def check_clips(inputs: dict[str, tf.Tensor], one_hot: tf.Tensor, num_emotions: int) -> None:
    """Refuse a batch of `labelled_batches` that cannot be learnt from or scored.

    Raises:
        InputError: an index is that of no class, so that its row has no 1; or samples are no numbers.
    """
    if not np.isclose(one_hot.numpy().sum(axis=1), 1).all():
        raise InputError(f"a label lies outside 0 to {num_emotions - 1}: num_emotions={num_emotions} does not fit")
    finite = np.isfinite(inputs["waveform"].numpy()).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{np.count_nonzero(~finite)} of the {len(finite)} clips of a batch hold NaN or infinite samples: "
            "mend them, or leave them out"
        )


def as_inputs(inputs: Any) -> dict[str, tf.Tensor]:
    """Bring a batch of waveforms, alone or as `ParallelModel` takes them, into the form that it takes."""
    if isinstance(inputs, dict):
        return {"waveform": inputs["waveform"], "num_samples": tf.cast(inputs["num_samples"], tf.int32)}
    batch, samples = tf.unstack(tf.shape(inputs))
    return {"waveform": tf.cast(inputs, tf.float32), "num_samples": tf.repeat(samples, batch)}


def _one_hot(labels: tf.Tensor, num_emotions: int) -> tf.Tensor:
    if labels.shape.rank == 2:
        return tf.cast(labels, tf.float32)
    return tf.one_hot(tf.cast(labels, tf.int32), num_emotions)
