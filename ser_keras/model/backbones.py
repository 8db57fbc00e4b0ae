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
from ser_keras.layers.masking import (
    HideSilence,
    MaskedAveragePooling,
    MaskTime,
    MeanRemoval,
    PadTime,
    PoolMask,
    StartAtSpeech,
    StatisticsPooling,
    TrimSilence,
)
from ser_keras.model.encoders import WhisperEncoder

_SILENCE_FRAMES, _PAUSE_FRAMES = 4, 10
"""Frames of silence, of 10 ms, that are left at either end of the speech for the encoder, and of each pause."""


@dataclass(frozen=True)
class Encoded:
    """Tensors between a frozen encoder and the layers that are trained.

    Attributes:
        steps: `(batch, steps, features)`, one for each ``2 * encoder_pool`` frames.
        mask: of the steps, bool `(batch, steps)`.
        functionals: of the encoder's features over time, `(batch, functionals)`.
        reliability: of each kind of functional, `(batch, kinds)`, that of the mean first.
    """

    steps: Any
    mask: Any
    functionals: Any
    reliability: Any


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


def encoder_features(log_mel, frame_mask, config: ModelConfig) -> tuple[Encoded, Any]:
    """Return what a frozen encoder of `config` gives of the speech in a spectrogram, and the steps before the speech.

    Silence at both ends is hidden from it, and pauses from the functionals. Its weights are random until they are set.
    """
    log_mel = PadTime(config.frames_multiple, name="pad_image")(log_mel)
    mask = PadTime(config.frames_multiple, name="pad_mask")(frame_mask)
    if config.trim_db:
        mask = TrimSilence(config.trim_db, margin=_SILENCE_FRAMES, name="trim_silence")(log_mel, mask)
    log_mel, mask, start = StartAtSpeech(config.frames_per_step, name="start_at_speech")(log_mel, mask)
    speech = mask
    if config.trim_db:
        speech = HideSilence(config.trim_db, margin=_PAUSE_FRAMES, name="hide_silence")(log_mel, mask)
    options = {"blocks": config.encoder_blocks, "window": config.encoder_window}
    encoder = WhisperEncoder(config.encoder_size, **options, trainable=False, name="encoder")
    steps = encoder(log_mel, mask)  # (batch, frames / 2, features)
    functionals, reliability = functionals_of(steps, PoolMask(2, name="speech_steps")(speech), config)
    mask = PoolMask(2, name="encoder_steps")(mask)
    steps, mask = MaskedAveragePooling(config.encoder_pool, name="encoder_pool")(steps, mask)
    encoded = Encoded(steps, mask, functionals, reliability)
    for name, tensor in vars(encoded).items():
        tensor.name = name  # of an entry of the head's input dictionary
    return encoded, start


def two_channels(normalized, mask, config: ModelConfig):
    """Return an image of two channels, the spectrogram with and without the clip's mean, and its mask."""
    centred = MeanRemoval(name="mean_removal")(normalized, mask)
    image = ops.stack([normalized, centred], axis=-1)  # (batch, frames, mels, 2)
    multiple = config.frames_multiple
    image, mask = masked_image(image, mask, config), PadTime(multiple, name="pad_mask")(mask)
    return PadTime(multiple, name="pad_image")(image), mask


def masked_image(image, mask, config: ModelConfig):
    """Return an image `(batch, frames, bands, channels)` with zeros outside the mask; SpecAugment hides more of it."""
    spec_augment = SpecAugment(config.time_mask, config.band_mask, num_masks=config.num_masks, name="spec_augment")
    return MaskTime(name="mask_image")(spec_augment(image, mask), mask)


def conv_stem(x, mask, config: ModelConfig):
    """Return the features of the Conv2D blocks, `(batch, steps, bands * filters)`, and the mask of the steps."""
    pools = zip(config.conv_time_pools, config.conv_band_pools, strict=True)
    blocks = zip(config.conv_filters, config.conv_kernels, config.conv_strides, pools, strict=True)
    for index, (filters, kernel, stride, pool) in enumerate(blocks, 1):
        mask = PoolMask(stride * pool[0], name=f"mask_{index}")(mask)
        kernel = (kernel, min(kernel, x.shape[2]))  # an encoder's features are channels of a single band
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


def low_level_descriptors(log_mel, normalized, mask, config: ModelConfig):
    """Return the descriptors of each frame, `(batch, frames, mels + cepstra + 13)`, and the mask of the speech."""
    float32 = {"dtype": "float32"}
    cepstra = Cepstra(min(config.num_cepstra, normalized.shape[-1]), **float32, name="cepstra")(normalized)
    shape = SpectralShape(**float32, name="spectral_shape")(log_mel)
    if config.trim_db:
        mask = TrimSilence(config.trim_db, name="trim_silence")(log_mel, mask)
    return ops.concatenate([normalized, cepstra, shape], axis=-1), mask


def functionals_of(descriptors, mask, config: ModelConfig):
    """Return functionals `(batch, kinds * descriptors)` of descriptors over time, and their reliability."""
    window = config.encoder_window // 2 if config.encoder_blocks else 0
    kinds = {"lags": config.functional_lags, "trends": config.functional_trends, "dtype": "float32"}
    functionals = Functionals(**kinds, window=window, name="functionals")(descriptors, mask)
    reliability = Reliability(**kinds, name="reliability")(mask)  # (batch, kinds)
    return functionals, reliability


def functionals_branch(functionals, reliability, num_emotions: int) -> FunctionalsBranch:
    """Return the branch from functionals, of one size for each kind, to logits of its own.

    `ser_keras.model.functionals_branch.fit_functionals_branch` fits it, not `fit`.
    """
    float32 = {"dtype": "float32"}
    normalization = keras.layers.Normalization(**float32, name="functionals_normalization")
    num_descriptors = functionals.shape[-1] // reliability.shape[-1]
    weighted = normalization(functionals) * ops.repeat(reliability, num_descriptors, axis=-1)
    head = keras.layers.Dense(
        num_emotions, kernel_initializer="zeros", trainable=False, **float32, name="functionals_logits"
    )
    return FunctionalsBranch(functionals, reliability, normalization, head, head(weighted))
