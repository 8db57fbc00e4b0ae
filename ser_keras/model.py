"""ParallelModel: convolutions and a recurrent layer side by side over one log-mel spectrogram."""

import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from ser_keras.augmentation import RandomGain, RandomNoise, RandomRoom, RandomWarp, SpecAugment
from ser_keras.batch_norm import FusedBatchNormalization
from ser_keras.branches import AnswerAverage
from ser_keras.calibration import Temperature
from ser_keras.config import AudioConfig, ModelConfig
from ser_keras.distribution import has_workers
from ser_keras.errors import InputError
from ser_keras.features import FrameMask, LogMelSpectrogram
from ser_keras.long_term import LongTermStatistics, fit_linear_model
from ser_keras.masking import MaskTime, MeanRemoval, PadTime, PoolMask, StatisticsPooling
from ser_keras.model_file import check_model_file
from ser_keras.stored import read_json


@keras.saving.register_keras_serializable(package="ser_keras")
class ParallelModel(keras.Model):
    """Speech emotion classifier: waveforms in, one probability for each emotion out.

    A functional Keras model over one log-mel spectrogram: blocks of Conv2D, max-pooling, batch
    normalisation, ReLU and dropout, and behind them two branches side by side, one that takes the mean
    and spread of what they found over time, and a bidirectional LSTM pooled by additive attention. Beside
    them a linear model, which `train_model` fits before the rest is trained, reads long-term statistics of
    the spectrogram. It errs on other recordings than the network, and both answers are averaged
    (`AnswerAverage`), divided by a temperature that `train_model` fits to the validation data, and go
    through a softmax. With ``config.lstm_pool`` the LSTM reads the spectrogram.

    Inputs, as a dictionary: ``waveform``, float32 `(batch, samples)`, mono at ``audio.sample_rate``,
    zero-padded at the end; ``num_samples``, int32 `(batch,)`, the true lengths. Output:
    probabilities, float32 `(batch, num_emotions)`. Every step is masked: neither the padding nor the
    other clips of a batch change a clip's probabilities.

    Args:
        num_emotions: number of classes.
        emotions: names of the classes in the order of the outputs; `train_model` fills them in from
            the data where they are not given.
        audio: recipe of the features.
        config: shape of the network.
        adaptation: what `ser_keras.adaptation.adapt_normalization` says of a model that it made.

    Raises:
        InputError: fewer than two emotions, as many names as do not fit, or too few mel bands for the
            pools.

    Example:
        >>> model = ParallelModel(num_emotions=8)
        >>> model.output_shape
        (None, 8)
    """

    def __init__(
        self,
        num_emotions: int = 8,
        *,
        emotions: Sequence[str] | None = None,
        audio: AudioConfig | dict[str, Any] | None = None,
        config: ModelConfig | dict[str, Any] | None = None,
        adaptation: dict[str, Any] | None = None,
        **kwargs,
    ):
        # === Settings ===
        _check_classes(num_emotions, emotions)
        audio = AudioConfig.from_dict(audio) if isinstance(audio, dict) else audio or AudioConfig()
        config = ModelConfig.from_dict(config) if isinstance(config, dict) else config or ModelConfig()

        _check_bands(audio, config)

        # === Functional model ===
        waveform = keras.Input((None,), dtype="float32", name="waveform")
        num_samples = keras.Input((), dtype="int32", name="num_samples")
        log_mel, frame_mask = _front_end(waveform, num_samples, audio)
        disturbed, frame_mask = _disturbed(log_mel, frame_mask, audio, config)
        scaled = layers.Normalization(axis=-1, name="normalization")(disturbed)
        image, mask = _image(scaled, frame_mask, config)
        found, found_mask = _conv_blocks(image, mask, config)
        summary = StatisticsPooling(name="conv_summary")(found, found_mask)
        steps, step_mask = _lstm_steps(image, mask, config) if config.lstm_pool else (found, found_mask)
        context, attention = _lstm_branch(steps, step_mask, config)
        embedding = layers.Concatenate(name="embedding")([summary, context])
        dropped = layers.Dropout(config.dropout, name="dropout")(embedding)
        logits = layers.Dense(num_emotions, dtype="float32", name="logits")(dropped)
        if config.statistics_share:
            second = _second_opinion(scaled, frame_mask, num_emotions, config)
            logits = AnswerAverage(config.statistics_share, dtype="float32", name="average")(logits, second)
        calibrated = Temperature(dtype="float32", name="temperature")(logits)
        probabilities = layers.Softmax(dtype="float32", name="probabilities")(calibrated)
        super().__init__(inputs={"waveform": waveform, "num_samples": num_samples}, outputs=probabilities, **kwargs)

        # === Config ===
        self.num_emotions = num_emotions
        self.emotions = None if emotions is None else tuple(emotions)
        self.audio = audio
        self.config = config
        self.adaptation = adaptation
        self._attention = attention
        self._disturb: Callable[[tuple, Any], tuple] | None = None

    @contextmanager
    def disturbed(self, disturb: Callable[[tuple, Any], tuple]) -> Iterator[None]:
        """Let `fit` change each training batch within a `with` block, as a part of its compiled step.

        Args:
            disturb: function from a batch, as `fit` takes it, and the number of steps done to what is
                trained on instead.
        """
        self._disturb = disturb
        try:
            yield
        finally:
            self._disturb = None

    def train_step(self, data: tuple) -> dict[str, Any]:
        """Train on one batch, as in `keras.Model`."""
        data = self._disturb(data, self.optimizer.iterations) if self._disturb else data
        return self._reducible(super().train_step(data))

    def test_step(self, data: tuple) -> dict[str, Any]:
        """Evaluate one batch, as in `keras.Model`."""
        return self._reducible(super().test_step(data))

    def _reducible(self, logs: dict[str, Any]) -> dict[str, Any]:
        """Give Keras what it can average over the replicas of several workers: no scalars."""
        if not has_workers(self.distribute_strategy):
            return logs
        return {name: ops.reshape(each, (1,)) for name, each in logs.items()}

    def _maybe_symbolic_build(self, *arguments: Any, **named: Any) -> None:
        """Leave out, once all is built, what Keras cannot do with parts of a batch that are not of one shape."""
        if self.optimizer is None or not self.optimizer.built:
            super()._maybe_symbolic_build(*arguments, **named)

    def copy(self, *, adaptation: dict[str, Any] | None = None) -> "ParallelModel":
        """Return a model of its own with the same weights; it is not compiled, and on one device.

        Args:
            adaptation: that of the copy, where it is not this model's.
        """
        copy = ParallelModel.from_config({**self.get_config(), "adaptation": adaptation or self.adaptation})
        copy.set_weights(self.get_weights())
        copy.get_layer("normalization").finalize_state()  # set_weights alone leaves the layer with old numbers
        return copy

    @property
    def details(self) -> keras.Model:
        """The same network with its inner values as outputs; the weights are shared.

        A dictionary of `probabilities` `(batch, emotions)`, `attention` `(batch, steps)` (weights that
        sum to 1 over the time of the clip, one for each ``config.frames_per_step`` frames), `embedding`
        `(batch, features)` and `log_mel` `(batch, frames, mels)` in dB.
        """
        outputs = {
            "probabilities": self.output,
            "attention": self._attention,
            "embedding": self.get_layer("embedding").output,
            "log_mel": self.get_layer("log_mel").output,
        }
        return keras.Model(self.input, outputs, name="details")

    def adapt_normalization(self, batches) -> None:
        """Fit the normalisation of the features to recordings; call it on training data only.

        Args:
            batches: iterable of inputs, or of tuples that begin with inputs; each a dictionary of
                `waveform` and `num_samples` as the model takes it.
        """
        log_mel, mask = self.get_layer("log_mel"), self.get_layer("frame_mask")

        def frames(batch):
            inputs = batch[0] if isinstance(batch, tuple) else batch
            spectrogram = log_mel(inputs["waveform"], inputs["num_samples"])
            return spectrogram[mask(spectrogram, inputs["num_samples"])][None]  # (1, frames, mels)

        self.get_layer("normalization").adapt(map(frames, batches))

    def fit_statistics(self, batches, regularization: float) -> None:
        """Fit the linear model of the clips' statistics; call it on training data, after `adapt_normalization`.

        Args:
            batches: dataset of inputs, as the model takes them, and one-hot labels `(batch, num_emotions)`; see
                `ser_keras.batches.labelled_batches`.
            regularization: as in `ser_keras.long_term.fit_linear_model`.
        """
        if not self.config.statistics_share:
            return
        statistics_of = keras.Model(self.input, self.get_layer("long_term_statistics").output)
        compute = tf.function(
            lambda inputs: statistics_of(inputs, training=False),
            input_signature=[batches.element_spec[0]],
            autograph=False,
        )
        pairs = [(compute(inputs).numpy(), labels.numpy()) for inputs, labels, *_ in batches]
        statistics, labels = (np.concatenate(column) for column in zip(*pairs, strict=True))
        self.get_layer("statistics_logits").set_weights(fit_linear_model(statistics, labels, regularization))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor as plain values."""
        return {
            "name": self.name,
            "num_emotions": self.num_emotions,
            "emotions": self.emotions,
            "audio": self.audio.to_dict(),
            "config": self.config.to_dict(),
            "adaptation": self.adaptation,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects=None) -> "ParallelModel":
        """Build the model that `get_config` describes."""
        return cls(**config)


def load_model(path: str | Path) -> ParallelModel:
    """Load a model that `save_model` or `ser-keras train` wrote.

    Args:
        path: a ``.keras`` file, or a run directory, whose ``model.keras`` is taken.

    Raises:
        InputError: there is no such file, it is damaged, it holds another kind of model, or a newer version
            of this package wrote the run directory.

    Example:
        ```python
        model = load_model("runs/ravdess")
        ```
    """
    path = Path(path)
    if path.is_dir():
        if (path / "config.json").exists():
            read_json(path / "config.json", "a run directory of `ser-keras train`")
        path = path / "model.keras"
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a .keras file or a run directory of `ser-keras train`")
    check_model_file(path)
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{path}: cannot be loaded ({reason}); expected a model that save_model wrote") from error
    if not isinstance(model, ParallelModel):
        raise InputError(f"{path}: holds a {type(model).__name__}; expected a ParallelModel")
    return model


def _front_end(waveform, num_samples, audio: AudioConfig):
    recipe = audio.to_dict()
    log_mel = LogMelSpectrogram(**recipe, name="log_mel")(waveform, num_samples)  # (batch, frames, mels)
    mask = FrameMask(audio.frame_step, name="frame_mask")(log_mel, num_samples)  # (batch, frames)
    return log_mel, mask


def _disturbed(log_mel, mask, audio: AudioConfig, config: ModelConfig):
    """Return the spectrogram as another voice in another place would have given it, in training only."""
    if config.band_warp or config.time_warp:
        log_mel, mask = RandomWarp(config.band_warp, config.time_warp, name="random_warp")(log_mel, mask)
    if config.room:
        room = RandomRoom(config.room, frames_per_second=audio.frames_per_second, name="random_room")
        log_mel = room(log_mel)
    if config.noise:
        log_mel = RandomNoise(config.noise, name="random_noise")(log_mel)
    return RandomGain(config.gain_db, name="random_gain")(log_mel), mask


def _image(scaled, mask, config: ModelConfig):
    """Return two channels, `(batch, frames, mels, 2)`: as recorded, and without the clip's mean."""
    centred = MeanRemoval(name="mean_removal")(scaled, mask)
    image = ops.stack([scaled, centred], axis=-1)
    masks = SpecAugment(config.time_mask, config.band_mask, num_masks=config.num_masks, name="spec_augment")
    image = masks(image)
    image = MaskTime(name="mask_image")(image, mask)
    multiple = math.lcm(config.time_pooling, 2 * config.frames_per_step)  # 2: attention over one step is none
    return PadTime(multiple, name="pad_image")(image), PadTime(multiple, name="pad_mask")(mask)


def _conv_blocks(x, mask, config: ModelConfig):
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


def _lstm_steps(image, mask, config: ModelConfig):
    """Return the image averaged to the steps of the LSTM, `(batch, steps, bands * channels)`, and their mask."""
    steps = layers.AveragePooling2D((config.lstm_pool, 1), name="lstm_pool")(image)
    steps = layers.Reshape((-1, steps.shape[2] * steps.shape[3]), name="lstm_steps")(steps)
    return steps, PoolMask(config.lstm_pool, name="lstm_mask")(mask)


def _lstm_branch(x, mask, config: ModelConfig):
    """Return the pooled context `(batch, 2 * lstm_units)` of steps `(batch, steps, features)`, and the attention."""
    if not config.lstm_pool:
        x = layers.Dense(config.lstm_inputs, activation="relu", name="lstm_inputs")(x)
    lstm = layers.LSTM(config.lstm_units, return_sequences=True)
    x = layers.Bidirectional(lstm, name="lstm")(x, mask=mask)  # (batch, steps, 2 * lstm_units)
    x = MaskTime(name="lstm_masked")(x, mask)
    query = layers.GlobalAveragePooling1D(keepdims=True, name="lstm_mean")(x, mask=mask)
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


def _second_opinion(scaled, mask, num_emotions: int, config: ModelConfig):
    """Return the logits of a linear model of the clip's statistics, which `fit_statistics` fits."""
    statistics = LongTermStatistics(
        config.num_cepstra, config.statistics_lags, dtype="float32", name="long_term_statistics"
    )(scaled, mask)
    linear = layers.Dense(
        num_emotions, kernel_initializer="zeros", trainable=False, dtype="float32", name="statistics_logits"
    )
    return linear(statistics)


def _check_classes(num_emotions: int, emotions: Sequence[str] | None) -> None:
    if num_emotions < 2:
        raise InputError(f"num_emotions={num_emotions}: a classifier needs at least 2 emotions")
    if emotions is not None and len(emotions) != num_emotions:
        raise InputError(
            f"num_emotions={num_emotions}, but there are {len(emotions)} emotions ({', '.join(emotions)}): "
            f"num_emotions={len(emotions)} fits"
        )


def _check_bands(audio: AudioConfig, config: ModelConfig) -> None:
    """Some band must be left."""
    if audio.num_mel_bins < config.band_pooling:
        raise InputError(
            f"num_mel_bins={audio.num_mel_bins}: conv_strides and conv_band_pools shrink the bands "
            f"{config.band_pooling} times; take more bands or smaller pools"
        )
