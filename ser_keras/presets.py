"""Presets: a network, its settings for audio and training, and the weights of a pretrained encoder."""

from dataclasses import dataclass, field
from pathlib import Path

from ser_keras.config import AudioConfig, Config, DataConfig, ModelConfig, TrainConfig
from ser_keras.errors import InputError

WHISPER_AUDIO = AudioConfig(
    frame_length=400, frame_step=160, fft_length=400, num_mel_bins=80, min_hz=0.0, max_hz=8_000.0, log_offset=1e-10
)
"""Recipe of the log-mel spectrogram that Whisper was trained on."""

_PACKAGED = Path(__file__).parent / "weights"

WHISPER_LICENCE = _PACKAGED / "LICENSE.whisper"
"""The licence of Whisper's weights, which goes with every copy of them."""


@dataclass(frozen=True)
class HubFile:
    """A file of the Hugging Face Hub.

    Attributes:
        repository: its owner and name.
        revision: commit.
        name: of the file.
    """

    repository: str
    revision: str
    name: str = "model.safetensors"

    def fetch(self) -> Path:
        """Return the path of the file in the Hub's cache; download it where it is not there.

        `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` mean what they mean to the Hub's own tools.

        Raises:
            InputError: it cannot be downloaded.
        """
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HTTPError  # of the HTTP client, where it is no OSError

        try:
            return Path(hf_hub_download(self.repository, self.name, revision=self.revision))
        except (OSError, ValueError, HTTPError) as error:
            reason = str(error).strip().split("\n")[0]
            raise InputError(
                f"{self.repository}, {self.name}: cannot be downloaded ({reason}); connect this machine to the Hub, or "
                "give a file of the encoder's weights"
            ) from error


@dataclass(frozen=True)
class Preset:
    """What `ParallelModel.from_preset` builds, and how it is trained.

    Attributes:
        data, audio, model, training: the settings.
        weights: of the encoder; None where there is none.
        digest: of the encoder's tensors, see `ser_keras.model.encoders.fill_whisper`.
    """

    data: DataConfig = field(default_factory=DataConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    weights: Path | HubFile | None = None
    digest: str = ""

    def configs(self) -> dict[str, Config]:
        """Return the settings by their names in `ser_keras.runs.CONFIGS`."""
        return {"data": self.data, "audio": self.audio, "model": self.model, "training": self.training}

    def encoder_weights(self) -> Path:
        """Return the path of the encoder's weights, which are downloaded where they have to be.

        Raises:
            InputError: they cannot be downloaded.
        """
        return self.weights.fetch() if isinstance(self.weights, HubFile) else self.weights


_ENCODER_DATA = DataConfig(crop_seconds=30.0)  # whole clips: each is encoded once

_ENCODER_MODEL = ModelConfig(
    encoder_blocks=(1, 2, 3),
    conv_filters=(96, 96),
    conv_kernels=(1, 3),
    conv_strides=(1, 1),
    conv_time_pools=(1, 1),
    conv_band_pools=(1, 1),
    lstm_inputs=96,
    dropout=0.4,
    fusion_weight=0.6,
    functional_lags=(),
    functional_trends=False,
)

_ENCODER_TRAINING = TrainConfig(
    epochs=12, learning_rate=2e-3, functionals_regularization=333.0, functionals_draws=1, refit_fraction=0.0
)

PRESETS = {
    "light": Preset(),
    "whisper-tiny.en": Preset(
        _ENCODER_DATA,
        WHISPER_AUDIO,
        _ENCODER_MODEL,
        _ENCODER_TRAINING,
        _PACKAGED / "whisper-tiny.en.safetensors",
        "055294ed882a760e9a9ad0095eaf4733cb611362c1793f8226d8af92aa194586",
    ),
    "whisper-base": Preset(
        _ENCODER_DATA,
        WHISPER_AUDIO,
        _ENCODER_MODEL.replace(encoder_size=512),
        _ENCODER_TRAINING,
        HubFile("openai/whisper-base", "e37978b90ca9030d5170a5c07aadb050351a65bb"),
        "b01b90019008eaaf815395a3568019c269203c8cefa68b17cb3e5637542abd0e",
    ),
}
"""The presets by their names; those of the encoders are those of their weights."""

DEFAULT_PRESET = "whisper-tiny.en"
"""That of the command line."""


def find_preset(name: str) -> Preset:
    """Return the preset of a name.

    Raises:
        InputError: there is none.
    """
    if name not in PRESETS:
        raise InputError(f"preset={name!r}: expected {', '.join(PRESETS)}")
    return PRESETS[name]


def default_training(config: ModelConfig) -> TrainConfig:
    """Return the settings with which `train_model` trains a model of this shape, where it is given none."""
    return _ENCODER_TRAINING if config.encoder_blocks else TrainConfig()
