"""ParallelModel: a Conv2D branch, a recurrent branch and a functionals branch over one log-mel spectrogram."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from keras import ops

from ser_keras.config import AudioConfig, ModelConfig
from ser_keras.errors import InputError
from ser_keras.layers.augmentation import RandomFilter
from ser_keras.layers.fusion import LateFusion, Temperature
from ser_keras.layers.masking import UndoStart
from ser_keras.model import backbones
from ser_keras.model.encoders import fill_whisper
from ser_keras.model.train_step import BaseModel
from ser_keras.presets import DEFAULT_PRESET, WHISPER_AUDIO, find_preset


@dataclass(frozen=True)
class ModelParts:
    """Tensors and layers of a `ParallelModel` that other modules read or set.

    Attributes:
        log_mel: float32 `(batch, frames, mels)`, in dB.
        frame_mask: bool `(batch, frames)`, the frames of each clip.
        inputs: of the model, and of its head, by their names.
        encoder: from the inputs to what a frozen encoder gives, `ser_keras.model.backbones.Encoded` as a dictionary;
            None in a model without an encoder.
        head: from there to the probabilities; without an encoder the whole model. It is what is trained.
        normalization: of the mel bands, or of the encoder's features, see `ParallelModel.adapt_normalization`.
        attention: weights over the time of the clip, `(batch, steps)`.
        embedding: input of the classifier, `(batch, features)`.
        logits: of the network alone, `(batch, num_emotions)`.
        functionals: the functionals branch; None with ``fusion_weight=0``.
        fusion: of the two; None with ``fusion_weight=0``.
        fused_logits: in front of the temperature, `(batch, num_emotions)`.
        temperature: divides the fused logits.
    """

    log_mel: Any
    frame_mask: Any
    inputs: dict[str, Any]
    encoder: keras.Model | None
    head: keras.Model
    normalization: keras.layers.Normalization
    attention: Any
    embedding: Any
    logits: Any
    functionals: backbones.FunctionalsBranch | None
    fusion: LateFusion | None
    fused_logits: Any
    temperature: Temperature


class InputSelection(BaseModel):
    """A functional model that ignores further entries of its input dictionary, such as descriptions of utterances."""

    def call(self, inputs, training=None, mask=None):
        """Return the outputs of the functional model."""
        if isinstance(inputs, dict):
            inputs = {name: inputs[name] for name in self.input}
        return super().call(inputs, training=training, mask=mask)

    def finalize_normalization(self) -> None:
        """Let the layers that normalise use weights that were set; Keras keeps the constants computed before."""
        for layer in self.layers:
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()


@keras.saving.register_keras_serializable(package="ser_keras")
class ParallelModel(InputSelection):
    """Speech emotion classifier: waveforms in, one probability for each emotion out.

    A functional Keras model over one log-mel spectrogram, of clips that are scaled to one level.

    - Shared: a stem of Conv2D blocks (convolution, max-pooling, batch normalisation, ReLU, dropout).
    - In parallel, both from the stem's output: the Conv2D branch, mean and standard deviation of its features over
      time; and the recurrent branch, a bidirectional LSTM pooled by additive attention. They are concatenated to
      the embedding, on which the classifier of the network is trained.
    - In parallel, from the spectrogram: the functionals branch, a logistic regression on functionals of low-level
      descriptors, which `train_model` fits before the network is trained.

    Network and functionals branch are combined by late fusion (`LateFusion`). The fused logits are divided by a
    temperature, which `train_model` fits to the validation data.

    Training and inference run the same graph, except for augmentation, dropout, the moments of batch normalisation,
    and the fusion: with ``training=True`` the probabilities are those of the network alone. So the loss and
    the metrics of `fit` on training data are of the network, those on validation data of the fused model.

    Inputs, as a dictionary: ``waveform``, float32 `(batch, samples)`, mono at ``audio.sample_rate``,
    zero-padded at the end; ``num_samples``, int32 `(batch,)`, the true lengths. Other entries are ignored. Output:
    probabilities, float32 `(batch, num_emotions)`. Every step is masked: neither the padding nor the
    other clips of a batch change a clip's probabilities.

    Args:
        num_emotions: number of classes.
        emotions: names of the classes in the order of the outputs; `train_model` takes them from
            the data where they are not given.
        audio: recipe of the features.
        config: shape of the network.
        adaptation: how `ser_keras.adaptation.adapt_normalization` adapted the model, if it did.

    Attributes:
        parts: tensors and layers of the network by name, see `ModelParts`.

    Raises:
        InputError: fewer than two emotions, another number of names than of emotions, too few mel bands for the
            pools, or an unknown argument.

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
        config = ModelConfig.from_dict(config) if isinstance(config, dict) else config or ModelConfig()
        audio = AudioConfig.from_dict(audio) if isinstance(audio, dict) else audio
        audio = audio or (WHISPER_AUDIO if config.encoder_blocks else AudioConfig())
        _check_keras_arguments(kwargs)
        _check_classes(num_emotions, emotions)
        _check_features(audio, config)

        # === Inputs, features ===
        waveform = keras.Input((None,), dtype="float32", name="waveform")  # (batch, samples)
        num_samples = keras.Input((), dtype="int32", name="num_samples")  # (batch,)
        log_mel, frame_mask = backbones.front_end(waveform, num_samples, audio)  # (batch, frames, mels) and its mask
        normalization = keras.layers.Normalization(name="normalization")
        encoded = None
        if config.encoder_blocks:
            # === Behind a frozen encoder: its features are channels of an image of one band ===
            encoded, start = backbones.encoder_features(log_mel, frame_mask, config)
            image = ops.expand_dims(normalization(encoded.steps), axis=2)  # (batch, steps, 1, features)
            image, mask = backbones.masked_image(image, encoded.mask, config), encoded.mask  # and its mask
            functionals, reliability = encoded.functionals, encoded.reliability  # (batch, functionals), (batch, kinds)
        else:
            # === From scratch ===
            augmented = RandomFilter(config.filter_db, name="random_filter")(log_mel)  # (batch, frames, mels)
            normalized = normalization(augmented)  # (batch, frames, mels)
            image, mask = backbones.two_channels(normalized, frame_mask, config)  # (batch, frames, mels, 2), its mask
            described, speech = backbones.low_level_descriptors(augmented, normalized, frame_mask, config)
            functionals, reliability = backbones.functionals_of(described, speech, config)

        # === Network: a Conv2D stem, then two branches ===
        steps, step_mask = backbones.conv_stem(image, mask, config)  # (batch, steps, bands * filters) and its mask
        conv = backbones.conv_branch(steps, step_mask)  # (batch, 2 * bands * filters)
        lstm, attention = backbones.lstm_branch(steps, step_mask, config)  # (batch, 2 * lstm_units), (batch, steps)
        if encoded is not None:
            attention = UndoStart(name="attention_over_time")(attention, start)
        embedding = keras.layers.Concatenate(name="embedding")([conv, lstm])  # (batch, features)
        dropped = keras.layers.Dropout(config.dropout, name="dropout")(embedding)
        logits = keras.layers.Dense(num_emotions, dtype="float32", name="logits")(dropped)  # (batch, num_emotions)

        # === Functionals branch, late fusion, calibration ===
        branch, fusion, fused = None, None, logits
        if config.fusion_weight:
            branch = backbones.functionals_branch(functionals, reliability, num_emotions)
            fusion = LateFusion(dtype="float32", name="fusion")
            fused = fusion(logits, branch.logits, reliability[:, :1])  # (batch, num_emotions)
        temperature = Temperature(dtype="float32", name="temperature")
        probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(temperature(fused))
        super().__init__({"waveform": waveform, "num_samples": num_samples}, probabilities, **kwargs)

        self.num_emotions = num_emotions
        self.emotions = None if emotions is None else tuple(emotions)
        self.audio = audio
        self.config = config
        self.adaptation = adaptation
        self.parts = ModelParts(
            log_mel=log_mel,
            frame_mask=frame_mask,
            inputs=self.input if encoded is None else {**self.input, **vars(encoded)},
            encoder=None if encoded is None else InputSelection(self.input, vars(encoded), name="encoder"),
            head=self if encoded is None else InputSelection(vars(encoded), probabilities, name="head"),
            normalization=normalization,
            attention=attention,
            embedding=embedding,
            logits=logits,
            functionals=branch,
            fusion=fusion,
            fused_logits=fused,
            temperature=temperature,
        )

    @classmethod
    def from_preset(
        cls,
        preset: str = DEFAULT_PRESET,
        num_emotions: int = 8,
        *,
        emotions: Sequence[str] | None = None,
        config: ModelConfig | None = None,
        audio: AudioConfig | None = None,
        encoder_weights: str | Path | None = None,
    ) -> "ParallelModel":
        """Return a model whose encoder is pretrained; the layers behind it are to be trained by `train_model`.

        Args:
            preset: name in `ser_keras.presets.PRESETS`: "whisper-tiny.en" (its weights are part of this
                package), "whisper-base" (downloaded from the Hugging Face Hub), or "light" (without an encoder).
            num_emotions: as in `ParallelModel`.
            emotions: as in `ParallelModel`.
            config: shape of the network instead of the preset's.
            audio: recipe of the features instead of the preset's; an encoder has one only.
            encoder_weights: safetensors file of the encoder's weights instead of the preset's, under the names of
                Hugging Face's Whisper; of any origin.

        Raises:
            InputError: there is no such preset; the weights cannot be read or downloaded, or are not those that the
                preset expects.

        Example:
            >>> ParallelModel.from_preset("whisper-tiny.en", num_emotions=7).output_shape
            (None, 7)
        """
        found = find_preset(preset)
        config = config or found.model
        model = cls(num_emotions, emotions=emotions, audio=audio or found.audio, config=config)
        if config.encoder_blocks:
            own = encoder_weights is not None
            path = encoder_weights if own else found.encoder_weights()
            is_whole = config.encoder_blocks == found.model.encoder_blocks  # the digest is of all tensors
            fill_whisper(model.get_layer("encoder"), path, digest=found.digest if is_whole and not own else "")
        elif encoder_weights is not None:
            raise InputError(f"encoder_weights={str(encoder_weights)!r}: the preset {preset!r} has no encoder")
        return model

    def copy(self, *, adaptation: dict[str, Any] | None = None) -> "ParallelModel":
        """Return a copy with the same weights that is not compiled and on one device.

        `keras.models.clone_model` would return a plain functional model.

        Args:
            adaptation: of the copy, if it differs from this model's.
        """
        copy = ParallelModel.from_config({**self.get_config(), "adaptation": adaptation or self.adaptation})
        copy.set_weights(self.get_weights())
        copy.finalize_normalization()
        return copy

    @property
    def details(self) -> keras.Model:
        """The same network with intermediate values as outputs; the weights are shared.

        A dictionary of `probabilities` `(batch, emotions)`, `attention` `(batch, steps)` (weights that
        sum to 1 over the time of the clip, one for each ``config.frames_per_step`` frames), `embedding`
        `(batch, features)` and `log_mel` `(batch, frames, mels)` in dB.
        """
        outputs = {name: getattr(self.parts, name) for name in ("attention", "embedding", "log_mel")}
        return InputSelection(self.input, {"probabilities": self.output, **outputs}, name="details")

    def adapt_normalization(self, batches) -> None:
        """Fit the normalisation of the network's features, those of mel bands or of an encoder; on training data only.

        Args:
            batches: iterable of inputs, or of tuples that begin with inputs; each a dictionary as ``parts.head``
                takes it.
        """
        if self.parts.encoder is None:
            outputs = {"steps": self.parts.log_mel, "mask": self.parts.frame_mask}
            front_end = InputSelection(self.input, outputs)
        else:
            front_end = dict  # they are encoded

        def steps(batch):
            features = front_end(batch[0] if isinstance(batch, tuple) else batch)
            return features["steps"][features["mask"]][None]  # (1, steps, features)

        self.parts.normalization.adapt(map(steps, batches))

    def known_emotions(self) -> tuple[str, ...]:
        """Return the names of the emotions, in the order of the outputs.

        Raises:
            InputError: the model has no names.
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


def _check_keras_arguments(arguments: dict[str, Any]) -> None:
    if "dtype" in arguments:
        raise InputError(
            f"dtype={arguments['dtype']!r}: call keras.mixed_precision.set_global_policy before the model is built"
        )
    if unknown := sorted(set(arguments) - {"name", "trainable"}):  # Keras would ignore them
        raise InputError(f"ParallelModel has no argument {', '.join(unknown)}: check the spelling")


def _check_classes(num_emotions: int, emotions: Sequence[str] | None) -> None:
    if num_emotions < 2:
        raise InputError(f"num_emotions={num_emotions}: a classifier needs at least 2 emotions")
    if emotions is not None and len(emotions) != num_emotions:
        raise InputError(
            f"num_emotions={num_emotions}, but there are {len(emotions)} emotions ({', '.join(emotions)}): "
            f"num_emotions={len(emotions)} fits"
        )


def _check_features(audio: AudioConfig, config: ModelConfig) -> None:
    if config.encoder_blocks:
        if audio != WHISPER_AUDIO:
            raise InputError(
                f"audio={audio}: a pretrained encoder reads the spectrogram that it was trained on, {WHISPER_AUDIO}; "
                "leave the settings of the audio as they are, or take the preset 'light'"
            )
    elif audio.num_mel_bins < config.bands_per_step:
        raise InputError(
            f"num_mel_bins={audio.num_mel_bins}: conv_strides and conv_band_pools shrink the bands "
            f"{config.bands_per_step} times; take more bands or smaller pools"
        )
