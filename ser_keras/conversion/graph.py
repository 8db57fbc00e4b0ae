"""The function that is converted: the network on waveforms, in a form that converters support."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from ser_keras.layers.log_mel import LogMelSpectrogram
from ser_keras.layers.masking import PadTime
from ser_keras.model import ParallelModel

OUTPUTS = ("attention", "probabilities")
"""Their names, in the order in which TensorFlow flattens a dictionary."""


def signature(batch: int | None) -> list[tf.TensorSpec]:
    """Return the inputs `waveform` and `num_samples`, of any batch size or of a fixed one."""
    return [tf.TensorSpec([batch, None], tf.float32, "waveform"), tf.TensorSpec([batch], tf.int32, "num_samples")]


def classifier(model: ParallelModel, format: str, batch: int | None = None):
    """Return the model as a function of waveforms, with the features in the form that suits a format.

    The waveform is padded instead of the spectrogram: converters lose all shapes behind padding by an unknown
    number of frames.
    """
    details = _rebuild(model, _FRONT_ENDS[format])
    step, multiple = model.audio.frame_step, model.config.frames_multiple

    @tf.function(input_signature=signature(batch), autograph=False)
    def classify(waveform, num_samples):
        length = tf.shape(waveform)[1]
        # rounded up without negative numbers: ONNX divides integers towards 0, not down
        num_frames = (1 + length // step + multiple - 1) // multiple * multiple
        missing = tf.maximum((num_frames - 1) * step - length, 0)
        padded = tf.pad(waveform, [[0, 0], [0, missing]])
        true_lengths = tf.clip_by_value(num_samples, 0, length)
        outputs = details({"waveform": padded, "num_samples": true_lengths}, training=False)
        return {name: outputs[name] for name in OUTPUTS}

    return classify.get_concrete_function()


def _rebuild(model: ParallelModel, front_end: Callable[[dict], keras.layers.Layer]) -> keras.Model:
    """Return the model's network with other features; all other layers are its own."""

    def replace(layer):
        if isinstance(layer, LogMelSpectrogram):
            return front_end(layer.get_config())
        return keras.layers.Identity(name=layer.name) if isinstance(layer, PadTime) else layer

    return keras.models.clone_model(model.details, clone_function=replace)


def freeze(function):
    """Turn variables into constants, and leave loops as loops."""
    return convert_variables_to_constants_v2(function, lower_control_flow=False, aggressive_inlining=True)


class _Float32LogMel(LogMelSpectrogram):
    """Features without float64, for which TensorFlow Lite has no matrix product."""

    def _multiply(self, power, mel_weights):
        return tf.matmul(power, mel_weights)


class _UnroundedLogMel(_Float32LogMel):
    """Features whose constants are hidden from the converter of TensorFlow Lite, which would quantise them.

    It has no list of exceptions. With a power spectrum and mel filters of 8 bits the features of speech
    are off by 12 dB on average, and with constants of 16 bits, the log offset among them, by up to 1 dB.
    """

    def call(self, waveform, num_samples):
        """Return the output of `LogMelSpectrogram`."""
        zero = tf.minimum(num_samples[0], 0)  # unknown before run time, so that nothing is folded
        constants = (self._window, self._mel_weights, self.recipe.log_offset)
        return self._log_mel(waveform, num_samples, *(_at_run_time(each, zero) for each in constants))


def _at_run_time(constant: np.ndarray | float, zero: tf.Tensor) -> tf.Tensor:
    bits = np.asarray(constant, np.float32).view(np.int32)  # integers are not quantised
    return tf.bitcast(bits + zero, tf.float32)


def _fourier_of_tflite(config: dict) -> str:
    """Its FFT has lengths that are powers of two only."""
    return "convolution" if config["fft_length"] & (config["fft_length"] - 1) else "fft"


_FRONT_ENDS = {
    "tensorflow": LogMelSpectrogram.from_config,
    "tflite": lambda config: _UnroundedLogMel.from_config({**config, "fourier": _fourier_of_tflite(config)}),
    "onnx": lambda config: _Float32LogMel.from_config({**config, "fourier": "convolution"}),
}
