"""The form of every dataset here: batches of waveforms with their labels, and the recording of each clip as JSON."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ser_keras.config import DataConfig
from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.pipeline.shuffling import shuffled


@dataclass(frozen=True)
class Description:
    """The recordings of a dataset.

    Attributes:
        emotions: names of the labels, in their order; None where the data do not name them.
        utterances: the recording of each clip, in the order of the data; empty where any is unknown.
    """

    emotions: tuple[str, ...] | None = None
    utterances: tuple[Utterance, ...] = ()


def utterance_as_json(utterance: Utterance, emotions: Sequence[str]) -> str:
    """Return a clip's element ``utterance``: the fields of `Utterance` and the names of all labels, as JSON."""
    return json.dumps({**vars(utterance), "path": str(utterance.path), "emotions": list(emotions)})


def as_description(texts: Sequence[bytes]) -> Description:
    """Return the description of clips from their elements ``utterance``, of which an empty one is unknown.

    Example:
        >>> text = utterance_as_json(Utterance(Path("a.wav"), "sad", "03", "emodb"), ["happy", "sad"])
        >>> as_description([text]).emotions
        ('happy', 'sad')
    """
    if not texts or not all(texts):
        return Description()
    objects = [json.loads(text) for text in texts]
    emotions = [tuple(fields.pop("emotions")) for fields in objects]
    return Description(emotions[0], tuple(Utterance(**fields | {"path": Path(fields["path"])}) for fields in objects))


def describe(data: Any) -> Description:
    """Read the element ``utterance`` of all data, in one pass; data without it are not read.

    Args:
        data: as `labelled_batches` takes it.
    """
    return as_description([text for batch in _utterance_texts(data) for text in batch])


def emotions_of(data: Any) -> tuple[str, ...] | None:
    """Return the names of the labels from the first batch; None where the data do not name them."""
    return as_description([*next(_utterance_texts(data), [])[:1]]).emotions


def labelled_batches(
    data: Any,
    num_emotions: int,
    *,
    class_weights: np.ndarray | None = None,
    batch_size: int = DataConfig.batch_size,
    keep_utterances: bool = False,
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
        keep_utterances: leave the element ``utterance`` in the inputs where the data have it.

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
        kept = {"utterance": inputs["utterance"]} if keep_utterances and _has_utterances(data) else {}
        return as_inputs(inputs) | kept, one_hot, *weights

    return data.map(convert)


def shuffled_batches(
    arrays: tuple, *, batch_size: int = DataConfig.batch_size, seed: int = DataConfig.seed
) -> tf.data.Dataset:
    """Make training batches of arrays: in each epoch in another order, as those of `Splits.train`.

    Args:
        arrays: pair of inputs and labels, or a triple with sample weights.
        batch_size: most clips in a batch; the sizes of the batches differ by at most one.
        seed: of the order.

    Example:
        >>> batches = shuffled_batches((np.zeros((5, 10)), np.arange(5)), batch_size=2)
        >>> [len(labels) for _, labels in batches]
        [1, 2, 2]
    """
    arrays = tf.data.Dataset.from_tensors(arrays).get_single_element()

    def read(places, _):
        return tf.nest.map_structure(lambda each: tf.gather(each, places), arrays)

    return shuffled(len(tf.nest.flatten(arrays)[0]), read, batch_size=batch_size, seed=seed)


def check_clips(inputs: dict[str, tf.Tensor], one_hot: tf.Tensor, num_emotions: int) -> None:
    """Refuse a batch of `labelled_batches` that cannot be learnt from or scored.

    Raises:
        InputError: an index is that of no class, so that its row has no 1; or samples are no numbers.
    """
    if not np.isclose(one_hot.numpy().sum(axis=1), 1).all():
        raise InputError(f"a label is outside 0 to {num_emotions - 1}: num_emotions={num_emotions} does not fit")
    finite = np.isfinite(inputs["waveform"].numpy()).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{np.count_nonzero(~finite)} of the {len(finite)} clips of a batch hold NaN or infinite samples: "
            "repair or remove them"
        )


def as_inputs(inputs: Any) -> dict[str, tf.Tensor]:
    """Bring a batch of waveforms, alone or as `ParallelModel` takes them, into the form that it takes."""
    if isinstance(inputs, dict):
        return {"waveform": inputs["waveform"], "num_samples": tf.cast(inputs["num_samples"], tf.int32)}
    batch, samples = tf.unstack(tf.shape(inputs))
    return {"waveform": tf.cast(inputs, tf.float32), "num_samples": tf.repeat(samples, batch)}


def _utterance_texts(data: Any) -> Iterator[np.ndarray]:
    """Yield the element ``utterance`` of each batch, `(batch,)` bytes; nothing where the data have none."""
    if _has_utterances(data):
        only = tf.autograph.experimental.do_not_convert(lambda inputs, *_: inputs["utterance"])
        yield from data.map(only).as_numpy_iterator()


def _has_utterances(data: Any) -> bool:
    spec = data.element_spec if isinstance(data, tf.data.Dataset) else None
    return isinstance(spec, tuple) and isinstance(spec[0], dict) and "utterance" in spec[0]


def _one_hot(labels: tf.Tensor, num_emotions: int) -> tf.Tensor:
    if labels.shape.rank == 2:
        return tf.cast(labels, tf.float32)
    return tf.one_hot(tf.cast(labels, tf.int32), num_emotions)
