"""The parts of `ParallelModel`, in the order in which a recording goes through them.

Each takes symbolic tensors and returns symbolic tensors. A mask is bool `(batch, steps)`; see
`ser_keras.layers.masking`.
"""

import math

from keras import layers, ops

from ser_keras.config import AudioConfig, ModelConfig
from ser_keras.layers.augmentation import RandomFilter, RandomNoise, RandomRoom, RandomWarp, SpecAugment
from ser_keras.layers.batch_norm import FusedBatchNormalization
from ser_keras.layers.functionals import LongTermStatistics, Reliability
from ser_keras.layers.log_mel import FrameMask, LevelNormalization, LogMelSpectrogram
from ser_keras.layers.low_level_descriptors import Cepstra, SpectralShape
from ser_keras.layers.lstm import FusedLSTM
from ser_keras.layers.masking import MaskTime, MeanRemoval, PadTime, PoolMask, TrimSilence


def front_end(waveform, num_samples, audio: AudioConfig):
    """Return the log-mel spectrogram `(batch, frames, mels)` in dB, and the mask of its frames."""
    recipe = audio.to_dict()
    waveform = LevelNormalization(audio.frame_step, name="level")(waveform, num_samples)
    log_mel = LogMelSpectrogram(**recipe, name="log_mel")(waveform, num_samples)  # (batch, frames, mels)
    mask = FrameMask(audio.frame_step, name="frame_mask")(log_mel, num_samples)  # (batch, frames)
    return log_mel, mask


def disturbed(log_mel, mask, audio: AudioConfig, config: ModelConfig):
    """Return the spectrogram as another voice in another place would have given it, in training only."""
    if config.band_warp or config.time_warp:
        log_mel, mask = RandomWarp(config.band_warp, config.time_warp, name="random_warp")(log_mel, mask)
    if config.room:
        room = RandomRoom(config.room, frames_per_second=audio.frames_per_second, name="random_room")
        log_mel = room(log_mel)
    if config.noise:
        log_mel = RandomNoise(config.noise, name="random_noise")(log_mel)
    if config.filter_db:
        log_mel = RandomFilter(config.filter_db, name="random_filter")(log_mel)
    return log_mel, mask


def two_channels(scaled, mask, config: ModelConfig):
    """Return two channels, `(batch, frames, mels, 2)`: as recorded, and without the clip's mean."""
    centred = MeanRemoval(name="mean_removal")(scaled, mask)
    image = ops.stack([scaled, centred], axis=-1)
    masks = SpecAugment(config.time_mask, config.band_mask, num_masks=config.num_masks, name="spec_augment")
    image = masks(image, mask)
    image = MaskTime(name="mask_image")(image, mask)
    multiple = math.lcm(config.time_pooling, 2 * config.frames_per_step)  # 2: attention over one step is none
    return PadTime(multiple, name="pad_image")(image), PadTime(multiple, name="pad_mask")(mask)


def conv_blocks(x, mask, config: ModelConfig):
    """Return what the blocks found, `(batch, steps, bands * filters)`, and the mask of the steps."""
    pools = zip(config.conv_time_pools, config.conv_band_pools, strict=True)
    shapes = zip(config.conv_filters, config.conv_kernels, config.conv_strides, pools, strict=True)
    for index, (filters, kernel, stride, pool) in enumerate(shapes, 1):
        mask = PoolMask(stride * pool[0], name=f"mask_{index}")(mask)
        x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False, name=f"conv_{index}")(x)
        x = layers.MaxPooling2D(pool, name=f"pool_{index}")(x)  # before the rest, which then costs less
        x = FusedBatchNormalization(momentum=0.9, name=f"norm_{index}")(x)
        x = layers.ReLU(name=f"relu_{index}")(x)
        x = MaskTime(name=f"masked_{index}")(x, mask)
        if index > 1:
            x = layers.Dropout(config.conv_dropout, name=f"dropout_{index}")(x)  # (batch, steps, bands, filters)
    return layers.Reshape((-1, x.shape[2] * x.shape[3]), name="flatten_bands")(x), mask


def averaged_steps(image, mask, config: ModelConfig):
    """Return the image averaged to the steps of the LSTM, `(batch, steps, bands * channels)`, and their mask."""
    steps = layers.AveragePooling2D((config.lstm_pool, 1), name="lstm_pool")(image)
    steps = layers.Reshape((-1, steps.shape[2] * steps.shape[3]), name="lstm_steps")(steps)
    return steps, PoolMask(config.lstm_pool, name="lstm_mask")(mask)


def lstm_branch(x, mask, config: ModelConfig):
    """Return the pooled context `(batch, 2 * lstm_units)` of steps `(batch, steps, features)`, and the attention."""
    if not config.lstm_pool:
        x = layers.Dense(config.lstm_inputs, activation="relu", name="lstm_inputs")(x)
    lstm = FusedLSTM(config.lstm_units, return_sequences=True, name="lstm")
    x = layers.Bidirectional(lstm, name="lstm")(x, mask=mask)  # (batch, steps, 2 * lstm_units)
    x = MaskTime(name="lstm_masked")(x, mask)
    query = layers.GlobalAveragePooling1D(keepdims=True, dtype="float32", name="lstm_mean")(x, mask=mask)
    context, weights = layers.AdditiveAttention(name="attention")(
        [
            layers.Dense(config.attention_units, name="attention_query")(query),
            x,
            layers.Dense(config.attention_units, name="attention_key")(x),
        ],
        mask=[None, mask],
        return_attention_scores=True,
    )
    return layers.Flatten(name="context")(context), ops.squeeze(weights, axis=1)


def linear_model(log_mel, scaled, mask, num_emotions: int, config: ModelConfig):
    """Return the logits of a linear model of the clip's statistics, which `fit_linear_model` fits, and its reliability.

    The latter is that of the mean over time, `(batch, 1)`.
    """
    cepstra = Cepstra(min(config.num_cepstra, scaled.shape[-1]), dtype="float32", name="cepstra")(scaled)
    shape = SpectralShape(dtype="float32", name="spectral_shape")(log_mel)
    descriptors = ops.concatenate([scaled, cepstra, shape], axis=-1)  # (batch, frames, mels + cepstra + 13)
    if config.trim_db:
        mask = TrimSilence(config.trim_db, name="trim_silence")(log_mel, mask)
    long_term = LongTermStatistics(config.statistics_lags, dtype="float32", name="long_term_statistics")
    statistics = long_term(descriptors, mask)  # (batch, statistics)
    reliability = Reliability(config.statistics_lags, dtype="float32", name="reliability")(mask)
    standardised = layers.Normalization(dtype="float32", name="statistics_normalization")(statistics)
    relied_on = standardised * ops.repeat(reliability, descriptors.shape[-1], axis=-1)
    linear = layers.Dense(
        num_emotions, kernel_initializer="zeros", trainable=False, dtype="float32", name="statistics_logits"
    )
    return linear(relied_on), reliability[:, :1]
