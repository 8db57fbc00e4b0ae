"""Every setting of the package: frozen dataclasses, one a stage.

A field holds its default and, in its metadata, the help text (with the unit) from which the command
line's flags are made. A value that cannot work is refused when the object is made, so that no later
stage has to look again.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Self

from ser_keras.errors import InputError, require

SPLITS = ("auto", "speaker", "random", "manifest")
PROTOCOLS = ("loso", "folds", "random")


def _setting(default: Any, help: str, choices: tuple[str, ...] | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


class Config:
    """What every settings class can do: be changed, be written as JSON, be read back."""

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed.

        Raises:
            InputError: a name is no field, or a value cannot work.

        Example:
            >>> DataConfig().replace(batch_size=8).batch_size
            8
        """
        known = {field.name for field in dataclasses.fields(self)}
        if unknown := sorted(set(changes) - known):
            raise InputError(f"{type(self).__name__} has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values for JSON (tuples become lists)."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the settings that `to_dict` wrote.

        Raises:
            InputError: a name is no field, as in the file of a newer version, or a value cannot work.
        """
        return cls().replace(
            **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        )


@dataclass(frozen=True)
class AudioConfig(Config):
    """The recipe from a waveform to a log-mel spectrogram; training and serving share it.

    Example:
        >>> AudioConfig().frames_per_second
        50.0
    """

    sample_rate: int = _setting(16_000, "rate to which all audio is resampled, in Hz")
    frame_length: int = _setting(512, "analysis window, in samples")
    frame_step: int = _setting(320, "distance between frames, in samples")
    fft_length: int = _setting(512, "transform size, in samples; at least frame_length")
    num_mel_bins: int = _setting(64, "number of mel bands")
    min_hz: float = _setting(50.0, "lower edge of the lowest mel band, in Hz")
    max_hz: float = _setting(8_000.0, "upper edge of the highest mel band, in Hz")
    log_offset: float = _setting(1e-7, "added to the mel power before the logarithm: the floor of the scale")

    def __post_init__(self) -> None:
        require(4_000 <= self.sample_rate <= 384_000, "sample_rate", self.sample_rate, "4000 to 384000 Hz")
        require(self.frame_length > 0, "frame_length", self.frame_length, "more than 0 samples")
        require(0 < self.frame_step <= self.frame_length, "frame_step", self.frame_step, "1 to frame_length")
        even = self.fft_length % 2 == 0
        require(
            even and self.fft_length >= self.frame_length,
            "fft_length",
            self.fft_length,
            f"an even number of at least frame_length={self.frame_length}",
        )
        require(self.num_mel_bins > 0, "num_mel_bins", self.num_mel_bins, "more than 0 bands")
        nyquist = self.sample_rate / 2
        require(0 <= self.min_hz < self.max_hz, "min_hz", self.min_hz, f"0 to max_hz={self.max_hz}")
        require(self.max_hz <= nyquist, "max_hz", self.max_hz, f"at most half of sample_rate, {nyquist} Hz")
        require(self.log_offset > 0, "log_offset", self.log_offset, "more than 0")

    @property
    def frames_per_second(self) -> float:
        """Frames in a second of audio, in Hz."""
        return self.sample_rate / self.frame_step


@dataclass(frozen=True)
class DataConfig(Config):
    """How a folder of recordings becomes batches of waveforms."""

    corpus: str | None = _setting(None, "name of the corpus, where it should not be recognised by itself")
    layout: str | None = _setting(
        None, "which folder is what, where that should not be found by their names, such as '{speaker}/{emotion}/*'"
    )
    allow_outside: bool = _setting(False, "let a manifest name files outside its own folder")
    split: str = _setting("auto", "how to divide the recordings; auto: the manifest's own, else by speaker", SPLITS)
    val_fraction: float = _setting(0.1, "fraction of the recordings for validation, 0 to 1")
    test_fraction: float = _setting(0.2, "fraction of the recordings for the test, 0 to 1")
    batch_size: int = _setting(32, "most clips in a batch")
    min_seconds: float = _setting(0.1, "a shorter recording is rejected, in seconds; at least 0.1")
    max_seconds: float = _setting(30.0, "of a longer recording only the beginning is used, in seconds")
    crop_seconds: float = _setting(
        3.0, "in training a random crop of this length is taken of a longer recording, in seconds"
    )
    cache: str = _setting("memory", "where decoded audio is kept: 'memory' or a folder")
    strict: bool = _setting(False, "stop at the first bad file instead of rejecting it")
    seed: int = _setting(0, "seed of the split, the weights and the order of training")

    def __post_init__(self) -> None:
        require(self.split in SPLITS, "split", self.split, " or ".join(SPLITS))
        for name in ("val_fraction", "test_fraction"):
            require(0 < getattr(self, name) < 1, name, getattr(self, name), "more than 0 and less than 1")
        total = self.val_fraction + self.test_fraction
        require(total < 1, "val_fraction + test_fraction", total, "less than 1, so that something is left to train on")
        require(self.batch_size > 0, "batch_size", self.batch_size, "more than 0 clips")
        require(self.min_seconds >= 0, "min_seconds", self.min_seconds, "0 or more")
        require(self.max_seconds > self.min_seconds, "max_seconds", self.max_seconds, "more than min_seconds")
        require(self.crop_seconds > 0, "crop_seconds", self.crop_seconds, "more than 0")
        require(bool(self.cache), "cache", self.cache, "'memory' or a folder")
        require(0 <= self.seed < 2**32, "seed", self.seed, "0 to 2**32 - 1")


@dataclass(frozen=True)
class ModelConfig(Config):
    """The shape of `ParallelModel`.

    Example:
        >>> ModelConfig().time_pooling, ModelConfig().band_pooling
        (8, 16)
    """

    conv_filters: tuple[int, ...] = _setting((32, 64, 96, 128), "filters of each Conv2D block")
    conv_kernels: tuple[int, ...] = _setting((5, 3, 3, 3), "width and height of the filters of each block")
    conv_strides: tuple[int, ...] = _setting((2, 1, 1, 1), "step of the filters of each block, in time and frequency")
    conv_time_pools: tuple[int, ...] = _setting((2, 1, 2, 1), "max-pooling over time in each block")
    conv_band_pools: tuple[int, ...] = _setting((2, 2, 1, 2), "max-pooling over frequency in each block")
    conv_dropout: float = _setting(0.05, "dropout after each Conv2D block but the first, 0 to 1")
    lstm_pool: int = _setting(0, "frames averaged into a step of the LSTM; 0: it reads the last Conv2D block instead")
    lstm_inputs: int = _setting(128, "values to which a step of the last Conv2D block is reduced for the LSTM")
    lstm_units: int = _setting(64, "units of the LSTM in each direction")
    attention_units: int = _setting(64, "width of the additive attention")
    dropout: float = _setting(0.3, "dropout of what convolutions and LSTM found, 0 to 1")
    filter_db: float = _setting(
        3.0,
        "in training each clip goes through a random smooth filter of this standard deviation, in dB",
    )
    time_mask: float = _setting(0.15, "in training each mask hides at most this part of a clip's frames, 0 to 1")
    band_mask: float = _setting(0.15, "in training each mask hides at most this part of the bands, 0 to 1")
    num_masks: int = _setting(1, "masks over time and masks over bands on each clip, in training")
    band_warp: float = _setting(0.0, "in training the bands move up or down by at most this part, 0 to 1; 0: not")
    time_warp: float = _setting(0.0, "in training a clip gets faster or slower by at most this part, 0 to 1; 0: not")
    noise: float = _setting(0.0, "part of the clips that get noise of random level and slope in training, 0 to 1")
    room: float = _setting(0.0, "part of the clips that get the echo of a random room in training, 0 to 1")
    statistics_share: float = _setting(
        0.4,
        "weight of a linear model of each clip's long-term statistics beside the network, 0 to 1; 0: none",
    )
    num_cepstra: int = _setting(24, "cepstra among what these statistics are taken of; no more than there are bands")
    statistics_lags: tuple[int, ...] = _setting(
        (1, 2, 4, 8, 16), "frames within which changes are taken for these statistics"
    )
    trim_db: float = _setting(
        30.0,
        "what is softer than the loudest by this at beginning and end is not in these statistics, in dB; 0: all is",
    )

    def __post_init__(self) -> None:
        require(len(self.conv_filters) > 0, "conv_filters", self.conv_filters, "at least one block")
        for name in ("conv_filters", "conv_kernels", "conv_strides", "conv_time_pools", "conv_band_pools"):
            values = getattr(self, name)
            fits = len(values) == len(self.conv_filters)
            require(fits, name, values, f"one for each of conv_filters={self.conv_filters}")
            require(min(values) > 0, name, values, "numbers above 0")
        require(self.lstm_pool >= 0, "lstm_pool", self.lstm_pool, "0 or more")
        for name in ("lstm_inputs", "lstm_units", "attention_units"):
            require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        require(self.num_cepstra > 0, "num_cepstra", self.num_cepstra, "more than 0")
        require(min(self.statistics_lags, default=1) > 0, "statistics_lags", self.statistics_lags, "numbers above 0")
        for name in ("filter_db", "trim_db"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 dB or more")
        require(self.num_masks >= 0, "num_masks", self.num_masks, "0 or more")
        for name in ("noise", "room"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 to 1")
        parts = ("time_mask", "band_mask", "band_warp", "time_warp", "statistics_share")
        for name in ("conv_dropout", "dropout", *parts):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "0 or more and less than 1")

    @classmethod
    def original(cls) -> Self:
        """Return the shape of the two-branch network that this family of models goes back to.

        Use it with `AudioConfig(num_mel_bins=128, ...)` as the baseline of a comparison.
        """
        return cls(
            conv_filters=(16, 32, 64, 64),
            conv_kernels=(3, 3, 3, 3),
            conv_strides=(1, 1, 1, 1),
            conv_time_pools=(2, 4, 4, 4),
            conv_band_pools=(2, 4, 4, 4),
            conv_dropout=0.3,
            lstm_pool=4,
            lstm_units=64,
            attention_units=64,
            dropout=0.1,
            statistics_share=0.0,
        )

    @property
    def time_pooling(self) -> int:
        """Frames that end in one step of the last Conv2D block."""
        return math.prod(self.conv_strides) * math.prod(self.conv_time_pools)

    @property
    def band_pooling(self) -> int:
        """Mel bands that end in one band of the last Conv2D block."""
        return math.prod(self.conv_strides) * math.prod(self.conv_band_pools)

    @property
    def frames_per_step(self) -> int:
        """Frames that end in one step of the LSTM, and so of the attention."""
        return self.lstm_pool or self.time_pooling


@dataclass(frozen=True)
class TrainConfig(Config):
    """How `train_model` trains."""

    epochs: int = _setting(60, "most passes over the training recordings")
    patience: int = _setting(
        0, "stop after so many epochs without a better validation UAR, and take the best; 0: never"
    )
    learning_rate: float = _setting(3e-3, "highest learning rate, between warm-up and cosine")
    warmup_fraction: float = _setting(0.1, "part of all steps in which the learning rate rises, 0 to 1")
    weight_decay: float = _setting(1e-2, "decoupled weight decay of AdamW")
    label_smoothing: float = _setting(0.1, "part of the target spread over all emotions, 0 to 1")
    mixup: float = _setting(0.3, "alpha of the Beta distribution that mixes two clips and their labels; 0: off")
    ema_momentum: float = _setting(0.97, "share of the past in the running average of the weights; 0: off")
    statistics_regularization: float = _setting(
        100.0, "L2 penalty of the linear model of the clips' statistics, 1 / C of scikit-learn"
    )
    statistics_draws: int = _setting(
        2,
        "times that each training clip is taken for this linear model, each time augmented anew",
    )
    class_weights: bool = _setting(True, "weigh each emotion by the inverse of its frequency")
    refit_fraction: float = _setting(0.25, "part of the epochs added with the validation clips")
    refit_learning_rate: float = _setting(1e-3, "highest learning rate of these epochs")
    steps_per_execution: int = _setting(
        5,
        "on one device, batches between two looks of Python at callbacks and Ctrl-C",
    )

    def __post_init__(self) -> None:
        positive = ("epochs", "learning_rate", "refit_learning_rate", "steps_per_execution")
        for name in (*positive, "statistics_regularization", "statistics_draws"):
            require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        for name in ("warmup_fraction", "label_smoothing", "ema_momentum"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "0 or more and less than 1")
        for name in ("patience", "weight_decay", "mixup", "refit_fraction"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")

    @property
    def refit_epochs(self) -> int:
        """Epochs of `refit_model`: at least one, unless ``refit_fraction`` is 0."""
        return math.ceil(self.refit_fraction * self.epochs)


@dataclass(frozen=True)
class CrossvalConfig(Config):
    """Which parts of a corpus `cross_validate` scores, and how often.

    Example:
        >>> CrossvalConfig(seeds=(0, 1)).protocol
        'loso'
    """

    protocol: str = _setting(
        "loso",
        "loso: each speaker is a fold; folds: groups of speakers; random: shared speakers, a score too good",
        PROTOCOLS,
    )
    folds: str | None = _setting(
        None,
        "for the protocol folds: a CSV file (speaker,fold or path,fold), or ravdess for the published ones",
    )
    num_folds: int = _setting(5, "folds to make, for random, and for folds without a file")
    seeds: tuple[int, ...] = _setting((0, 1, 2), "each trains every fold once, from weights of its own")
    validation_only: bool = _setting(False, "score validation speakers alone, to choose settings by")

    def __post_init__(self) -> None:
        require(self.protocol in PROTOCOLS, "protocol", self.protocol, " or ".join(PROTOCOLS))
        with_file = self.folds is None or self.protocol == "folds"
        require(with_file, "folds", self.folds, f"none with protocol={self.protocol!r}, or protocol='folds'")
        require(self.num_folds > 1, "num_folds", self.num_folds, "2 or more")
        distinct = len(self.seeds) > 0 and len(set(self.seeds)) == len(self.seeds)
        require(distinct and min(self.seeds) >= 0, "seeds", self.seeds, "different numbers of 0 or more")


@dataclass(frozen=True)
class ExportConfig(Config):
    """What an exported model accepts, and what its server is made ready for.

    Example:
        >>> ExportConfig().max_batch_size
        32
    """

    max_seconds: float = _setting(600.0, "longest recording that is answered as a whole, in seconds")
    max_timeline_seconds: float = _setting(3_600.0, "longest recording that gets a timeline, in seconds")
    window_seconds: float = _setting(3.0, "length of a timeline's window, in seconds")
    hop_seconds: float = _setting(1.0, "distance between the windows of a timeline, in seconds")
    batch_sizes: tuple[int, ...] = _setting((1, 8, 32), "sizes to which the server fills its batches, ascending")
    abstain_below: float = _setting(0.0, "an answer of lower confidence is marked as abstained, 0 to 1; 0: none is")

    def __post_init__(self) -> None:
        require(self.max_seconds > 0, "max_seconds", self.max_seconds, "more than 0")
        require(self.window_seconds > 0, "window_seconds", self.window_seconds, "more than 0")
        require(
            0 < self.hop_seconds <= self.window_seconds,
            "hop_seconds",
            self.hop_seconds,
            f"more than 0 and at most window_seconds={self.window_seconds}",
        )
        for name in ("window_seconds", "max_timeline_seconds"):
            require(getattr(self, name) <= 3_600 * 24, name, getattr(self, name), "at most a day")
        require(
            self.window_seconds <= self.max_timeline_seconds,
            "max_timeline_seconds",
            self.max_timeline_seconds,
            f"at least window_seconds={self.window_seconds}",
        )
        ascending = len(self.batch_sizes) > 0 and list(self.batch_sizes) == sorted(set(self.batch_sizes))
        require(ascending and self.batch_sizes[0] > 0, "batch_sizes", self.batch_sizes, "numbers above 0, ascending")
        require(0 <= self.abstain_below <= 1, "abstain_below", self.abstain_below, "0 to 1")

    @property
    def max_batch_size(self) -> int:
        """Most items that a server puts into one batch."""
        return self.batch_sizes[-1]
