"""evaluate_model: an honest score, with its uncertainty, in one frozen Report."""

import logging
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.evaluation.report import Report
from ser_keras.pipeline.batches import as_description, check_clips, emotions_of, labelled_batches

__all__ = ["Report", "evaluate_model"]

logger = logging.getLogger(__name__)


def evaluate_model(model: keras.Model, test_data: Any, *, utterances: Sequence[Utterance] | None = None) -> Report:
    """Score a model on recordings of speakers that it was not trained on; read the test data once, at the end.

    Args:
        model: trained `ParallelModel`.
        test_data: dataset of `preprocess_data`, or any `tf.data.Dataset` or pair of arrays that
            `train_model` takes.
        utterances: the recordings in the order of the data, for their speakers. Datasets of `preprocess_data` carry
            their own.

    Returns:
        The frozen report.

    Raises:
        InputError: the data's emotions are not the model's, there is no clip, or there are not as many utterances.

    Example:
        ```python
        report = evaluate_model(model, test_data)
        print(report)
        report.save("metrics.json")
        ```
    """
    emotions = _shared_emotions(model, emotions_of(test_data))
    labels, probabilities, texts = [], [], []
    batches = labelled_batches(test_data, model.num_emotions, keep_utterances=True)
    signature = [{name: batches.element_spec[0][name] for name in ("waveform", "num_samples")}]
    predict = tf.function(lambda inputs: model(inputs, training=False), input_signature=signature, autograph=False)
    for inputs, one_hot, *_ in batches:
        texts.extend(inputs.pop("utterance", tf.constant([])).numpy())
        check_clips(inputs, one_hot, model.num_emotions)
        probabilities.append(predict(inputs).numpy())
        labels.append(one_hot.numpy().argmax(axis=1))
    if not labels:
        raise InputError("the test data holds no clip: give at least one")
    labels = np.concatenate(labels)
    utterances = tuple(as_description(texts).utterances if utterances is None else utterances)
    if not utterances and isinstance(test_data, tf.data.Dataset):
        logger.warning("the speakers of this dataset are unknown: give utterances= in its order for their scores")
    elif utterances and len(utterances) != len(labels):
        raise InputError(
            f"{len(utterances)} utterances for {len(labels)} clips: give one for each, in the order of the data"
        )
    speakers = tuple(each.speaker_id for each in utterances)
    return Report(emotions, labels, np.concatenate(probabilities), speakers if all(speakers) else (), utterances)


def _shared_emotions(model: keras.Model, named: tuple[str, ...] | None) -> tuple[str, ...]:
    known = getattr(model, "emotions", None)
    if named and len(named) != model.num_emotions:
        raise InputError(
            f"the model has num_emotions={model.num_emotions}, but the data has {len(named)} "
            f"({', '.join(named)}): evaluate on data with the same emotions"
        )
    if known and named and named != tuple(known):
        raise InputError(
            f"the model's emotions are {', '.join(known)}, the data's {', '.join(named)}: "
            "evaluate on data with the same emotions"
        )
    return tuple(known or named or map(str, range(model.num_emotions)))
