"""The blocks of `ParallelModel`, in the order in which a recording passes through them.

Each takes and returns symbolic tensors. A mask is bool `(batch, steps)`; see `ser_keras.layers.masking`.
"""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from ser_keras.config import AudioConfig, ModelConfig
from ser_keras.layers.augmentation import SpecAugment
from ser_keras.layers.batch_norm import FusedBatchNormalization
from ser_keras.layers.functionals import Functionals, Reliability
from ser_keras.layers.log_mel import FrameMask, LevelNormalization, LogMelSpectrogram
from ser_keras.layers.low_level_descriptors import Cepstra, SpectralShape
from ser_keras.layers.lstm import FusedLSTM
from ser_keras.layers.masking import MaskTime, MeanRemoval, PadTime, PoolMask, StatisticsPooling, TrimSilence


@dataclass(frozen=True)
class FunctionalsBranch:
    """Tensors and layers of the functionals branch.

    Attributes:
        values: the functionals, `(batch, functionals)`.
        reliability: of each kind of functional, `(batch, kinds)`, that of the mean first.
        normalization: standardises the functionals.
        head: from the standardised functionals to the logits; gradients do not train it.
        logits: `(batch, num_emotions)`.
    """

    values: Any
    reliability: Any
    normalization: keras.layers.Normalization
    head: keras.layers.Dense
    logits: Any


def front_end(waveform, num_samples, audio: AudioConfig):
    """Return the log-mel spectrogram in dB of clips at one level, and the mask of its frames."""
    waveform = LevelNormalization(audio.frame_step, name="level")(waveform, num_samples)  # (batch, samples)
    log_mel = LogMelSpectrogram(**audio.to_dict(), name="log_mel")(waveform, num_samples)  # (batch, frames, mels)
    mask = FrameMask(audio.frame_step, name="frame_mask")(log_mel, num_samples)  # (batch, frames)
    return log_mel, mask


def two_channels(normalized, mask, config: ModelConfig):
    """Return an image of two channels, the spectrogram with and without the clip's mean, and its mask.

    In training SpecAugment masks it.
    """
    centred = MeanRemoval(name="mean_removal")(normalized, mask)
    image = ops.stack([normalized, centred], axis=-1)  # (batch, frames, mels, 2)
    spec_augment = SpecAugment(config.time_mask, config.band_mask, num_masks=config.num_masks, name="spec_augment")
    image = MaskTime(name="mask_image")(spec_augment(image, mask), mask)
    multiple = config.frames_multiple
    return PadTime(multiple, name="pad_image")(image), PadTime(multiple, name="pad_mask")(mask)


def conv_stem(x, mask, config: ModelConfig):
    """Return the features of the Conv2D blocks, `(batch, steps, bands * filters)`, and the mask of the steps."""
    pools = zip(config.conv_time_pools, config.conv_band_pools, strict=True)
    blocks = zip(config.conv_filters, config.conv_kernels, config.conv_strides, pools, strict=True)
    for index, (filters, kernel, stride, pool) in enumerate(blocks, 1):
        mask = PoolMask(stride * pool[0], name=f"mask_{index}")(mask)
        conv = keras.layers.Conv2D(
            filters, kernel, strides=stride, padding="same", use_bias=False, name=f"conv_{index}"
        )
        x = conv(x)
        x = keras.layers.MaxPooling2D(pool, name=f"pool_{index}")(x)  # first, so that the rest costs less
        x = FusedBatchNormalization(momentum=0.9, name=f"norm_{index}")(x)
        x = keras.layers.ReLU(name=f"relu_{index}")(x)
        x = MaskTime(name=f"masked_{index}")(x, mask)
        if index > 1:
            x = keras.layers.Dropout(config.conv_dropout, name=f"dropout_{index}")(x)  # (batch, steps, bands, filters)
    return keras.layers.Reshape((-1, x.shape[2] * x.shape[3]), name="flatten_bands")(x), mask


def conv_branch(steps, mask):
    """Return mean and standard deviation over time of the stem's features, `(batch, 2 * features)`."""
    return StatisticsPooling(name="conv_summary")(steps, mask)


def lstm_branch(steps, mask, config: ModelConfig):
    """Return the context of additive attention over a BiLSTM, `(batch, 2 * lstm_units)`, and the attention weights."""
    x = keras.layers.Dense(config.lstm_inputs, activation="relu", name="lstm_inputs")(steps)
    lstm = FusedLSTM(config.lstm_units, return_sequences=True, name="lstm")
    x = keras.layers.Bidirectional(lstm, name="lstm")(x, mask=mask)  # (batch, steps, 2 * lstm_units)
    x = MaskTime(name="lstm_masked")(x, mask)
    mean = keras.layers.GlobalAveragePooling1D(keepdims=True, dtype="float32", name="lstm_mean")(x, mask=mask)
    query = keras.layers.Dense(config.attention_units, name="attention_query")(mean)  # (batch, 1, attention_units)
    key = keras.layers.Dense(config.attention_units, name="attention_key")(x)  # (batch, steps, attention_units)
    attention = keras.layers.AdditiveAttention(name="attention")
    context, weights = attention([query, x, key], mask=[None, mask], return_attention_scores=True)
    return keras.layers.Flatten(name="context")(context), ops.squeeze(weights, axis=1)


def functionals_branch(log_mel, normalized, mask, num_emotions: int, config: ModelConfig) -> FunctionalsBranch:
    """Return the branch from low-level descriptors over their functionals to logits of its own.

    `ser_keras.model.functionals_branch.fit_functionals_branch` fits it, not `fit`.
    """
    float32 = {"dtype": "float32"}
    cepstra = Cepstra(min(config.num_cepstra, normalized.shape[-1]), **float32, name="cepstra")(normalized)
    shape = SpectralShape(**float32, name="spectral_shape")(log_mel)
    descriptors = ops.concatenate([normalized, cepstra, shape], axis=-1)  # (batch, frames, mels + cepstra + 13)
    if config.trim_db:
        mask = TrimSilence(config.trim_db, name="trim_silence")(log_mel, mask)
    functionals = Functionals(config.functional_lags, **float32, name="functionals")(descriptors, mask)
    reliability = Reliability(config.functional_lags, **float32, name="reliability")(mask)  # (batch, kinds)
    normalization = keras.layers.Normalization(**float32, name="functionals_normalization")
    weighted = normalization(functionals) * ops.repeat(reliability, descriptors.shape[-1], axis=-1)
    head = keras.layers.Dense(
        num_emotions, kernel_initializer="zeros", trainable=False, **float32, name="functionals_logits"
    )
    return FunctionalsBranch(functionals, reliability, normalization, head, head(weighted))
