"""export_model: a SavedModel that takes encoded audio and answers with an emotion.

The exported graph holds the decoder, the features, the normalisation, the network and the names of the
emotions: nothing has to be rebuilt where it is served, and it runs without Keras and without this
package. It consists of core TensorFlow ops only, so that TF Serving loads it as it is.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf

from ser_keras.audio import wav_to_waveform
from ser_keras.errors import InputError
from ser_keras.model import ParallelModel

MAX_SECONDS = 600.0
"""A longer recording is answered with an error, so that memory for a request is bounded."""


def export_model(model: ParallelModel, directory: str | Path) -> Path:
    """Write a SavedModel with the signatures `serving_default` and `waveform`.

    `serving_default` takes ``audio_bytes``, string `(batch,)`: WAV files of any common encoding, rate
    and number of channels. `waveform` takes ``waveform``, float32 `(batch, time)` at the model's sample
    rate, zero-padded at the end, and ``num_samples``, int32 `(batch,)`. Both answer with ``label``,
    string `(batch,)`; ``confidence``, float32 `(batch,)`; ``probabilities``, float32 `(batch,
    emotions)`; ``emotions``, string `(batch, emotions)` in the same order; and ``error``, string
    `(batch,)`, empty where all is well. An item with an error has an empty label and NaN
    probabilities, and its neighbours are what they are without it.

    Args:
        model: trained model that knows its emotions.
        directory: where to write it; for TF Serving the last part is a version number, as in
            ``exports/ser/1``. It must not exist yet.

    Returns:
        The directory.

    Raises:
        InputError: the model does not know its emotions, `directory` exists, or it cannot be written.

    Example:
        ```python
        export_model(model, "exports/ser/1")
        served = tf.saved_model.load("exports/ser/1").signatures["serving_default"]
        served(audio_bytes=tf.constant([wav_bytes]))["label"]
        ```
    """
    directory = Path(directory)
    if model.emotions is None:
        raise InputError(
            "the model does not know the names of its emotions: train it with train_model on data of "
            "preprocess_data, or build it with ParallelModel(num_emotions, emotions=[...])"
        )
    if directory.exists():
        raise InputError(f"{directory}: exists already; a version is never overwritten, give another directory")
    module = _ServedModel(model)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    except OSError as error:
        raise InputError(f"{directory}: cannot be written ({error.strerror}); give another directory") from error
    try:
        with _quiet():
            tf.saved_model.save(module, str(part), signatures=module.signatures())
        _write_assets(model, part)
        part.chmod(0o755)
        part.rename(directory)
    except tf.errors.OpError as error:  # how TensorFlow reports a full disk
        reason = str(error.message).rpartition(";")[2].strip()
        raise InputError(f"{directory}: cannot be written ({reason}); give another directory") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)  # gone already where all went well
    return directory


class _ServedModel(tf.Module):
    """The graph behind the signatures."""

    def __init__(self, model: ParallelModel):
        super().__init__(name="ser_keras")
        self._predict = lambda inputs: model(inputs, training=False)
        self._sample_rate = model.audio.sample_rate
        self._names = tf.constant(model.emotions)
        self.weights = [variable.value for variable in model.variables]

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Trace both signatures."""
        audio_bytes = tf.TensorSpec([None], tf.string, "audio_bytes")
        waveform = tf.TensorSpec([None, None], tf.float32, "waveform")
        num_samples = tf.TensorSpec([None], tf.int32, "num_samples")
        return {
            "serving_default": self.from_bytes.get_concrete_function(audio_bytes),
            "waveform": self.from_waveform.get_concrete_function(waveform, num_samples),
        }

    @tf.function
    def from_bytes(self, audio_bytes):
        """Decode each item by itself, so that none can harm another, and classify them together."""
        waveforms, errors = tf.map_fn(
            lambda contents: tuple(wav_to_waveform(contents, sample_rate=self._sample_rate, max_seconds=MAX_SECONDS)),
            audio_bytes,
            fn_output_signature=(tf.RaggedTensorSpec([None], tf.float32, 0), tf.TensorSpec([], tf.string)),
        )
        return self._answer(waveforms.to_tensor(), tf.cast(waveforms.row_lengths(), tf.int32), errors)

    @tf.function
    def from_waveform(self, waveform, num_samples):
        """Classify waveforms at the model's rate."""
        inside = tf.sequence_mask(num_samples, tf.shape(waveform)[1])
        finite = tf.reduce_all(tf.math.is_finite(waveform) | ~inside, axis=1)
        found = tf.strings.as_string(num_samples)
        length = tf.strings.as_string(tf.shape(waveform)[1])
        fits = (num_samples > 0) & (num_samples <= tf.shape(waveform)[1])
        errors = tf.where(finite, "", "the waveform holds NaN or infinite samples")
        errors = tf.where(
            fits, errors, "num_samples=" + found + ": expected 1 to " + length + ", the waveform's length"
        )
        return self._answer(waveform, num_samples, errors)

    def _answer(self, waveform, num_samples, errors):
        good = tf.equal(errors, "")
        num_samples = tf.where(good, num_samples, 0)  # a bad item is classified as silence, then blanked
        probabilities = self._predict({"waveform": waveform, "num_samples": num_samples})
        emotions = tf.repeat(self._names[None], tf.shape(probabilities)[0], axis=0)  # (batch, emotions)
        labels = tf.gather(self._names, tf.argmax(probabilities, axis=1))
        probabilities = tf.where(good[:, None], probabilities, float("nan"))
        return {
            "label": tf.where(good, labels, ""),
            "confidence": tf.reduce_max(probabilities, axis=1),
            "probabilities": probabilities,
            "emotions": emotions,
            "error": errors,
        }


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep TensorFlow from announcing the temporary folder's name."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)


def _write_assets(model: ParallelModel, directory: Path) -> None:
    """Put names and recipe beside the graph, for people and programs that do not load it."""
    card = {
        "emotions": model.emotions,
        "audio": model.audio.to_dict(),
        "model": model.config.to_dict(),
        "max_seconds": MAX_SECONDS,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }
    extra = directory / "assets.extra"
    extra.mkdir()
    (extra / "model.json").write_text(json.dumps(card, indent=2) + "\n")
