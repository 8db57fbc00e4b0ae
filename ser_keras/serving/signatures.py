"""The served graph: signatures around a trained model, in core TensorFlow operations.

A request may mix recordings of any length, and one of them may be ten minutes long: padding all to the longest would
let one client use up a server's memory. So a batch is run in groups, each padded to no more audio than the longest
recording allowed, and each decoded only before it is run. An invalid item gets an error text; it is run as an empty
clip, and its outputs become empty and zero. Each clip is checked as in training (`ser_keras.audio_io.clip_faults`),
right before the network. So is each window of a timeline; a window of silence has an empty label and zeros, and is no
error. No output is ever NaN or infinite, since TensorFlow Serving's REST interface would write invalid JSON for the
complete batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ser_keras.audio import Waveform, frames_to_waveform
from ser_keras.audio_io.clip_faults_graph import clip_fault
from ser_keras.audio_io.resampling import resample, resampled_length
from ser_keras.audio_io.wav_header import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE, read_headers
from ser_keras.config import ExportConfig
from ser_keras.model import ParallelModel

_AUDIO_BYTES = tf.TensorSpec([None], tf.string, "audio_bytes")
_WAVEFORM = tf.TensorSpec([None, None], tf.float32, "waveform")
_NUM_SAMPLES = tf.TensorSpec([None], tf.int32, "num_samples")
_SAMPLE_RATE = tf.TensorSpec([None], tf.int32, "sample_rate")

_MIN_HALVED = 1024  # smaller weights are not worth a cast

_MODEL_INPUTS = {"waveform": _WAVEFORM, "num_samples": _NUM_SAMPLES}

_FLOATS = ("probabilities", "attention", "embedding")  # outputs of the network
_NOT_FINITE = "the model's output is not finite for it; try another precision, or another model"

_DECODED = tuple(
    tf.TensorSpec(shape, dtype) for shape, dtype in (([None], tf.float32), ([], tf.int32), ([], tf.string))
)


class _Recordings(NamedTuple):
    """A batch that is not yet decoded.

    Attributes:
        items: Tensors, or tuples of them, with the batch as first axis.
        lengths: Samples at the model's rate, int64 `(batch,)`; 0 for an item with an error.
        read: Function from one item to its `Waveform`.
    """

    items: Any
    lengths: tf.Tensor
    read: Callable[[Any], Waveform]


class ServedModel:
    """A trained model with the signatures that `export_model` describes.

    Args:
        model: Trained model that knows its emotions.
        config: Maximum lengths, windows of the timeline.
    """

    def __init__(self, model: ParallelModel, config: ExportConfig):
        details, rate = model.details, model.audio.sample_rate
        # One function for all signatures, like `_run_wav` for two: it is traced, written and loaded once.
        stored = [(variable, _stored(variable)) for variable in model.variables]
        self._details = tf.function(
            lambda inputs: _with_weights(stored, details, inputs), input_signature=[_MODEL_INPUTS], autograph=False
        )
        self._config = config
        self._sample_rate = rate
        self._names = tf.constant(model.known_emotions())
        self._step_samples = model.config.frames_per_step * model.audio.frame_step  # of one weight of the attention
        self._frame_step = model.audio.frame_step
        self._num_features = details.output["embedding"].shape[-1]
        self._group_samples = round(config.max_seconds * rate)
        self._window, self._hop = round(config.window_seconds * rate), round(config.hop_seconds * rate)
        self.weights = [weights for _, weights in stored]

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Trace every signature."""
        return {
            "serving_default": self.classify_wav.get_concrete_function(),
            "waveform": self.classify_waveform.get_concrete_function(),
            "timeline": self.timeline.get_concrete_function(),
            "embedding": self.embed_wav.get_concrete_function(),
        }

    @tf.function(input_signature=[_AUDIO_BYTES], autograph=False)
    def classify_wav(self, audio_bytes):
        """Classify WAV files."""
        return self._classify(self._run_wav(audio_bytes))

    @tf.function(input_signature=[_WAVEFORM, _NUM_SAMPLES, _SAMPLE_RATE], autograph=False)
    def classify_waveform(self, waveform, num_samples, sample_rate):
        """Classify waveforms, each at its own rate."""
        return self._classify(self._run(self._waveforms(waveform, num_samples, sample_rate)))

    @tf.function(input_signature=[_AUDIO_BYTES], autograph=False)
    def embed_wav(self, audio_bytes):
        """Return the inputs of the last layer for WAV files."""
        outputs = self._run_wav(audio_bytes)
        return {"embedding": outputs["embedding"], "error": outputs["error"]}

    @tf.function(input_signature=[_AUDIO_BYTES], autograph=False)
    def timeline(self, audio_bytes):
        """Classify the windows of each WAV file, one file after the other."""
        headers = read_headers(audio_bytes, max_seconds=self._config.max_timeline_seconds)
        num_emotions = self._names.shape[0]
        specs = (tf.RaggedTensorSpec([None, num_emotions], tf.float32, 0), tf.TensorSpec([], tf.string))
        specs += (tf.RaggedTensorSpec([None], tf.int32, 0),) * 2
        probabilities, errors, starts, ends = tf.map_fn(
            self._windows_of, (audio_bytes, headers), fn_output_signature=specs, parallel_iterations=1
        )
        probabilities = probabilities.with_values(tf.reshape(probabilities.values, [-1, num_emotions]))
        label, confidence = self._most_probable(probabilities.values)
        return {
            "label": probabilities.with_values(label).to_tensor(""),
            "confidence": probabilities.with_values(confidence).to_tensor(),
            "abstained": probabilities.with_values(self._abstained(confidence)).to_tensor(False),
            "probabilities": probabilities.to_tensor(),
            "start_seconds": self._seconds(starts).to_tensor(),
            "end_seconds": self._seconds(ends).to_tensor(),
            "num_windows": tf.cast(probabilities.row_lengths(), tf.int32),
            "emotions": self._emotions(audio_bytes),
            "error": errors,
        }

    def _windows_of(self, file):
        """Probabilities `(windows, emotions)` of one file, its error, and where the windows start and end."""
        waveform, error = self._checked(*frames_to_waveform(*file, sample_rate=self._sample_rate))
        length = tf.size(waveform)
        last = -(-tf.maximum(length - self._window, 0) // self._hop) * self._hop
        starts = tf.range(0, tf.where(length > 0, last + 1, 0), self._hop)
        ends = tf.minimum(starts + self._window, length)

        def read(window):
            return Waveform(waveform[window[0] : window[1]], tf.constant(""))

        outputs = self._run(_Recordings((starts, ends), tf.cast(ends - starts, tf.int64), read))
        return outputs["probabilities"], error, starts, ends

    @tf.function(input_signature=[_AUDIO_BYTES], autograph=False)
    def _run_wav(self, audio_bytes):
        return self._run(self._wav_files(audio_bytes))

    def _wav_files(self, audio_bytes) -> _Recordings:
        headers = read_headers(audio_bytes, max_seconds=self._config.max_seconds)
        rate = tf.maximum(headers.sample_rate, 1)  # 0 where there is an error, and no frames
        lengths = resampled_length(headers.num_frames, rate, self._sample_rate)
        return _Recordings(
            (audio_bytes, headers), lengths, lambda file: frames_to_waveform(*file, sample_rate=self._sample_rate)
        )

    def _waveforms(self, waveform, num_samples, sample_rate) -> _Recordings:
        errors = _waveform_errors(waveform, num_samples, sample_rate, self._config.max_seconds)
        good = tf.equal(errors, "")
        num_samples = tf.where(good, num_samples, 0)
        sample_rate = tf.where(good, sample_rate, self._sample_rate)
        lengths = resampled_length(num_samples, sample_rate, self._sample_rate)

        def read(item):
            samples, size, rate, error = item
            return Waveform(resample(samples[:size], rate, self._sample_rate), error)

        return _Recordings((waveform, num_samples, sample_rate, errors), lengths, read)

    def _classify(self, outputs):
        label, confidence = self._most_probable(outputs["probabilities"])
        attention = outputs["attention"]  # (batch, steps)
        step = tf.cast(tf.range(tf.shape(attention)[1]), tf.float32)
        middle = self._seconds(step * self._step_samples + (self._step_samples - self._frame_step) / 2)
        return {
            "label": label,
            "confidence": confidence,
            "abstained": self._abstained(confidence),
            "probabilities": outputs["probabilities"],
            "emotions": self._emotions(label),
            "attention": attention,
            "attention_seconds": tf.repeat(middle[None], tf.shape(attention)[0], axis=0),
            "error": outputs["error"],
        }

    def _seconds(self, samples):
        return tf.cast(tf.cast(samples, tf.float64) / self._sample_rate, tf.float32)

    def _most_probable(self, probabilities):
        """Label and confidence of `(n, emotions)`; an empty label where the probabilities are zero."""
        confidence = tf.reduce_max(probabilities, axis=1)
        label = tf.gather(self._names, tf.argmax(probabilities, axis=1))
        return tf.where(confidence > 0, label, ""), confidence

    def _abstained(self, confidence):
        """Return where the confidence is too low; it is 0 where there is no label."""
        return (confidence > 0) & (confidence < self._config.abstain_below)

    def _emotions(self, batch):
        return tf.repeat(self._names[None], tf.shape(batch)[0], axis=0)  # (batch, emotions)

    def _checked(self, samples, error):
        """Return samples without an error, or an error without samples."""
        good = tf.equal(error, "")
        error = tf.cond(good, lambda: clip_fault(samples, self._sample_rate), lambda: error)
        return samples[: tf.where(tf.equal(error, ""), tf.size(samples), 0)], error

    def _run(self, recordings: _Recordings):
        """Run the network group by group: a dictionary of `(batch, ...)`."""
        longest = tf.maximum(tf.reduce_max(recordings.lengths), 1)
        size = tf.cast(tf.maximum(self._group_samples // longest, 1), tf.int32)
        outputs = tf.map_fn(
            lambda start: self._run_group(recordings, start, size),
            tf.range(0, tf.size(recordings.lengths), size),
            fn_output_signature={
                "probabilities": tf.RaggedTensorSpec([None, self._names.shape[0]], tf.float32, 0),
                "attention": tf.RaggedTensorSpec([None, None], tf.float32, 1),
                "embedding": tf.RaggedTensorSpec([None, self._num_features], tf.float32, 0),
                "error": tf.RaggedTensorSpec([None], tf.string, 0),
            },
            parallel_iterations=1,
        )
        outputs = {name: groups.values for name, groups in outputs.items()}
        return {
            **outputs,
            "probabilities": tf.reshape(outputs["probabilities"], [-1, self._names.shape[0]]),  # where nothing was run,
            "embedding": tf.reshape(outputs["embedding"], [-1, self._num_features]),  # the rank is lost
            "attention": outputs["attention"].to_tensor(),
        }

    def _run_group(self, recordings: _Recordings, start, size):
        part = slice(start, start + size)
        items = tf.nest.map_structure(lambda values: values[part], recordings.items)
        longest = tf.cast(tf.reduce_max(recordings.lengths[part]), tf.int32)

        def read(item):
            samples, error = self._checked(*recordings.read(item))
            length = tf.size(samples)
            return tf.pad(samples, [[0, longest - length]]), length, error

        waveform, num_samples, errors = tf.map_fn(read, items, fn_output_signature=_DECODED)
        details = self._details({"waveform": waveform, "num_samples": num_samples})
        details = {name: tf.cast(value, tf.float32) for name, value in details.items()}  # of mixed precision
        is_finite = [tf.reduce_all(tf.math.is_finite(details[name]), axis=1) for name in _FLOATS]
        errors = tf.where(tf.equal(errors, "") & ~tf.reduce_all(is_finite, axis=0), _NOT_FINITE, errors)
        good = tf.equal(errors, "")
        blanked = {name: tf.where(good[:, None], details[name], 0.0) for name in _FLOATS}
        num_steps = tf.where(good, 1 + num_samples // self._step_samples, 0)
        attention = tf.RaggedTensor.from_tensor(blanked["attention"], num_steps)
        return {**blanked, "attention": attention, "error": errors}


def _stored(variable: keras.Variable) -> tf.Variable:
    """Return the weights to write: in 16 bits where that loses nothing, as with those of encoders published so."""
    exact = variable.value.numpy()
    with np.errstate(over="ignore"):  # of a value that 16 bits do not hold
        half = exact.astype(np.float16) if exact.dtype == np.float32 and exact.size >= _MIN_HALVED else exact
    if half.dtype == np.float16 and np.array_equal(half.astype(np.float32), exact):
        return tf.Variable(half, trainable=False)
    return variable.value


def _with_weights(stored: list[tuple[keras.Variable, tf.Variable]], model: keras.Model, inputs: dict[str, tf.Tensor]):
    """Run a model on the weights that are written, in place of its own."""
    mapping = [(variable, tf.cast(weights, variable.dtype)) for variable, weights in stored]
    with keras.StatelessScope(state_mapping=mapping):
        return model(inputs, training=False)


def _waveform_errors(waveform, num_samples, sample_rate, max_seconds: float):
    """Return the error of each item's numbers, `(batch,)`; the last one found is reported."""
    time, text = tf.shape(waveform)[1], tf.strings.as_string
    seconds = tf.cast(num_samples, tf.float64) / tf.cast(tf.maximum(sample_rate, 1), tf.float64)
    has_rate = (sample_rate >= LOWEST_SAMPLE_RATE) & (sample_rate <= HIGHEST_SAMPLE_RATE)
    fits = (num_samples > 0) & (num_samples <= time)
    too_long = tf.strings.join(["too long: ", text(seconds, precision=1), f" s, at most {max_seconds:.1f} s"])
    wrong_rate = tf.strings.join(
        ["sample_rate=", text(sample_rate), f": expected {LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE} Hz"]
    )
    wrong_size = tf.strings.join(
        ["num_samples=", text(num_samples), ": expected 1 to ", text(time), ", the waveform's length"]
    )
    errors = tf.where(seconds <= max_seconds, "", too_long)
    errors = tf.where(has_rate, errors, wrong_rate)
    return tf.where(fits, errors, wrong_size)
