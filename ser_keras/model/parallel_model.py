"""ParallelModel: convolutions and a recurrent layer side by side over one log-mel spectrogram."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import layers, ops

from ser_keras.config import AudioConfig, ModelConfig
from ser_keras.distribution import has_workers
from ser_keras.errors import InputError
from ser_keras.layers.fusion import LateFusion, Temperature
from ser_keras.layers.masking import StatisticsPooling
from ser_keras.model import network


@keras.saving.register_keras_serializable(package="ser_keras")
class ParallelModel(keras.Model):
    """Speech emotion classifier: waveforms in, one probability for each emotion out.

    A functional Keras model over one log-mel spectrogram: blocks of Conv2D, max-pooling, batch
    normalisation, ReLU and dropout, and behind them two branches side by side, one that takes the mean
    and spread of what they found over time, and a bidirectional LSTM pooled by additive attention. Beside
    them a linear model, which `train_model` fits before the rest is trained, reads long-term statistics of
    the spectrogram. It errs on other recordings than the network, and both predictions are averaged
    (`LateFusion`), divided by a temperature that `train_model` fits to the validation data, and go
    through a softmax. Every clip is brought to one level first (`LevelNormalization`). With ``config.lstm_pool``
    the LSTM reads the spectrogram.

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
        if "dtype" in kwargs:
            raise InputError(
                f"dtype={kwargs['dtype']!r}: call keras.mixed_precision.set_global_policy before the model is built"
            )
        if unknown := sorted(set(kwargs) - {"name", "trainable"}):  # Keras would ignore them
            raise InputError(f"ParallelModel has no argument {', '.join(unknown)}: check the spelling")
        _check_classes(num_emotions, emotions)
        audio = AudioConfig.from_dict(audio) if isinstance(audio, dict) else audio or AudioConfig()
        config = ModelConfig.from_dict(config) if isinstance(config, dict) else config or ModelConfig()

        _check_bands(audio, config)

        # === Functional model ===
        waveform = keras.Input((None,), dtype="float32", name="waveform")
        num_samples = keras.Input((), dtype="int32", name="num_samples")
        log_mel, frame_mask = network.front_end(waveform, num_samples, audio)
        disturbed, frame_mask = network.disturbed(log_mel, frame_mask, audio, config)
        scaled = layers.Normalization(axis=-1, name="normalization")(disturbed)
        image, mask = network.two_channels(scaled, frame_mask, config)
        found, found_mask = network.conv_blocks(image, mask, config)
        summary = StatisticsPooling(name="conv_summary")(found, found_mask)
        steps, step_mask = network.averaged_steps(image, mask, config) if config.lstm_pool else (found, found_mask)
        context, attention = network.lstm_branch(steps, step_mask, config)
        embedding = layers.Concatenate(name="embedding")([summary, context])
        dropped = layers.Dropout(config.dropout, name="dropout")(embedding)
        logits = layers.Dense(num_emotions, dtype="float32", name="logits")(dropped)
        if config.statistics_share:
            functionals, reliability = network.linear_model(disturbed, scaled, frame_mask, num_emotions, config)
            logits = LateFusion(dtype="float32", name="fusion")(logits, functionals, reliability)
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
        self._disturb, self.train_function = disturb, None
        try:
            yield
        finally:
            self._disturb = None
            self.train_function = None  # Keras would go on with the compiled step, which has the change in it

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
        """Skip, once all is built, what Keras cannot do with parts of a batch that are not of one shape.

        Keras averages the first batch over the replicas before it looks whether anything has to be built, and has no
        public way to leave that out (https://github.com/keras-team/keras/issues/20585).
        """
        if self.optimizer is None or not self.optimizer.built:
            super()._maybe_symbolic_build(*arguments, **named)

    def copy(self, *, adaptation: dict[str, Any] | None = None) -> "ParallelModel":
        """Return a model of its own with the same weights; it is not compiled, and on one device.

        Args:
            adaptation: that of the copy, where it is not this model's.
        """
        copy = ParallelModel.from_config({**self.get_config(), "adaptation": adaptation or self.adaptation})
        copy.set_weights(self.get_weights())
        copy.finalize_normalization()
        return copy

    def finalize_normalization(self) -> None:
        """Let the layers that normalise go on with weights that were set; Keras leaves them with old numbers."""
        for layer in self.layers:
            if isinstance(layer, layers.Normalization):
                layer.finalize_state()

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
        layers_of = (self.get_layer(name).output for name in ("log_mel", "frame_mask"))
        front_end = keras.Model(self.input, list(layers_of))

        def frames(batch):
            spectrogram, mask = front_end(batch[0] if isinstance(batch, tuple) else batch)
            return spectrogram[mask][None]  # (1, frames, mels)

        self.get_layer("normalization").adapt(map(frames, batches))

    def known_emotions(self) -> tuple[str, ...]:
        """Return the names of the emotions, in the order of the outputs.

        Raises:
            InputError: the model was never told them.
        """
        if self.emotions is None:
            raise InputError(
                "the model does not know the names of its emotions: train it with train_model on data of "
                "preprocess_data, or build it with ParallelModel(num_emotions, emotions=[...])"
            )
        return self.emotions

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
