"""A network of YAMNet's shape: MobileNet-v1 over patches of a log-mel spectrogram, random weights.

Plakal and Ellis, YAMNet, 2020; Howard et al., "MobileNets", 2017. About 3.7 million weights.
"""

import keras
import tensorflow as tf
from keras import layers

RATE, WINDOW, STEP, FFT = 16_000, 400, 160, 512
PATCH_FRAMES, PATCH_STEP, MELS, CLASSES = 96, 48, 64, 521
BLOCKS = ((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *[(1, 512)] * 5, (2, 1024), (1, 1024))


def compiled():
    """Return a compiled function from samples `(time,)` to scores `(patches, classes)`."""
    network = _network()
    return tf.function(
        lambda waveform: network(_patches(waveform), training=False),
        input_signature=[tf.TensorSpec([None], tf.float32)],
    )


def _network() -> keras.Model:
    patches = keras.Input((PATCH_FRAMES, MELS, 1))
    x = _norm(layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False)(patches))
    for stride, filters in BLOCKS:
        x = _norm(layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x))
        x = _norm(layers.Conv2D(filters, 1, padding="same", use_bias=False)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(patches, layers.Dense(CLASSES, activation="sigmoid")(x))


def _norm(x):
    return layers.ReLU()(layers.BatchNormalization(scale=False, epsilon=1e-4)(x))


def _patches(waveform: tf.Tensor) -> tf.Tensor:
    """Return `(patches, frames, mels, 1)`; the waveform is padded to whole patches, as YAMNet does."""
    whole = WINDOW + (PATCH_FRAMES - 1) * STEP
    hop = PATCH_STEP * STEP
    rest = tf.maximum(tf.size(waveform) - whole, 0)
    padded = tf.pad(waveform, [[0, whole + -(-rest // hop) * hop - tf.size(waveform)]])
    spectrum = tf.abs(tf.signal.stft(padded, WINDOW, STEP, FFT))  # (frames, bins)
    filters = tf.signal.linear_to_mel_weight_matrix(MELS, FFT // 2 + 1, RATE, 125.0, 7_500.0)
    log_mel = tf.math.log(tf.matmul(spectrum, filters) + 0.001)  # (frames, mels)
    return tf.signal.frame(log_mel, PATCH_FRAMES, PATCH_STEP, axis=0)[..., None]
