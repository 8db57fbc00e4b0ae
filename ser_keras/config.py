"""The settings of the package: one frozen dataclass per stage.

A field has its default and, in its metadata, the help text (with the unit) for the flags of the command line.
Values are checked when the object is created.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from ser_keras.errors import InputError, require

SPLITS = ("auto", "speaker", "random", "manifest")
PROTOCOLS = ("loso", "folds", "random")


def _setting(default: Any, help: str, choices: tuple[str, ...] | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


class Config:
    """The base of all settings: copies with changes, and conversion to and from JSON."""

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed.

        Raises:
            InputError: A name is no field, or a value is not allowed.

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
            InputError: A name is no field, or a value is not allowed.
        """
        return cls().replace(
            **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        )

    def _check(self, expected: str, is_allowed: Callable[[Any], bool], *names: str) -> None:
        """Raise an `InputError` if one of the named fields has a value that is not allowed."""
        for name in names:
            require(is_allowed(getattr(self, name)), name, getattr(self, name), expected)


@dataclass(frozen=True)
class AudioConfig(Config):
    """From a waveform to a log-mel spectrogram, in training and in serving.

    Example:
        >>> AudioConfig().frames_per_second
        50.0
    """

    sample_rate: int = _setting(16_000, "sample rate of the model; all audio is resampled to it, in Hz")
    frame_length: int = _setting(512, "analysis window, in samples")
    frame_step: int = _setting(320, "distance between frames, in samples")
    fft_length: int = _setting(512, "transform size, in samples; at least frame_length")
    num_mel_bins: int = _setting(64, "number of mel bands")
    min_hz: float = _setting(50.0, "lower edge of the lowest mel band, in Hz")
    max_hz: float = _setting(8_000.0, "upper edge of the highest mel band, in Hz")
    log_offset: float = _setting(1e-7, "added to the mel power before the logarithm")

    def __post_init__(self) -> None:
        self._check("4000 to 384000 Hz", lambda value: 4_000 <= value <= 384_000, "sample_rate")
        self._check("more than 0", lambda value: value > 0, "frame_length", "num_mel_bins", "log_offset")
        self._check("1 to frame_length", lambda value: 0 < value <= self.frame_length, "frame_step")
        expected = f"an even number of at least frame_length={self.frame_length}"
        self._check(expected, lambda value: value % 2 == 0 and value >= self.frame_length, "fft_length")
        self._check(f"0 to max_hz={self.max_hz}", lambda value: 0 <= value < self.max_hz, "min_hz")
        nyquist = self.sample_rate / 2
        self._check(f"at most half of sample_rate, {nyquist} Hz", lambda value: value <= nyquist, "max_hz")

    @property
    def frames_per_second(self) -> float:
        """Frames in a second of audio, in Hz."""
        return self.sample_rate / self.frame_step


@dataclass(frozen=True)
class DataConfig(Config):
    """How a folder of recordings becomes batches of waveforms."""

    corpus: str | None = _setting(None, "name of the corpus, instead of recognising it")
    layout: str | None = _setting(
        None, "meaning of the folders, instead of finding it by their names, such as '{speaker}/{emotion}/*'"
    )
    allow_outside: bool = _setting(False, "allow a manifest to name files outside its folder")
    split: str = _setting(
        "auto", "how to split the recordings; auto: the split of the manifest, else by speaker", SPLITS
    )
    val_fraction: float = _setting(0.1, "share of the recordings for validation, 0 to 1")
    test_fraction: float = _setting(0.2, "share of the recordings for the test, 0 to 1")
    batch_size: int = _setting(32, "clips per batch")
    min_seconds: float = _setting(0.1, "shorter recordings are rejected, in seconds; at least 0.1")
    max_seconds: float = _setting(30.0, "longer recordings are cut to this length, in seconds")
    crop_seconds: float = _setting(3.0, "random crop of longer recordings in training, in seconds")
    cache: str = _setting("memory", "cache of decoded audio: 'memory' or a folder")
    strict: bool = _setting(False, "stop at the first bad file instead of rejecting it")
    seed: int = _setting(0, "seed of the split, the weights and the order of the clips")

    def __post_init__(self) -> None:
        self._check(" or ".join(SPLITS), lambda value: value in SPLITS, "split")
        self._check("more than 0 and less than 1", lambda value: 0 < value < 1, "val_fraction", "test_fraction")
        total = self.val_fraction + self.test_fraction
        require(total < 1, "val_fraction + test_fraction", total, "less than 1, so that a part is left for training")
        self._check("more than 0", lambda value: value > 0, "batch_size", "crop_seconds")
        self._check("0 or more", lambda value: value >= 0, "min_seconds")
        self._check("more than min_seconds", lambda value: value > self.min_seconds, "max_seconds")
        self._check("'memory' or a folder", bool, "cache")
        self._check("0 to 2**32 - 1", lambda value: 0 <= value < 2**32, "seed")


@dataclass(frozen=True)
class ModelConfig(Config):
    """The shape of `ParallelModel`.

    With `encoder_blocks` the network stands behind a pretrained encoder, see `ParallelModel.from_preset`.

    Example:
        >>> ModelConfig().frames_per_step, ModelConfig().bands_per_step
        (8, 16)
    """

    encoder_blocks: tuple[int, ...] = _setting(
        (), "blocks of the pretrained encoder whose outputs are used side by side, counted from 1; empty: no encoder"
    )
    encoder_size: int = _setting(384, "features of each step of the encoder")
    encoder_window: int = _setting(400, "frames, of 10 ms, that the encoder encodes together; an even number")
    encoder_pool: int = _setting(8, "steps of the encoder, of 20 ms, averaged into one step of the two branches")
    conv_filters: tuple[int, ...] = _setting((32, 64, 96, 128), "filters of each Conv2D block")
    conv_kernels: tuple[int, ...] = _setting((5, 3, 3, 3), "width and height of the filters of each block")
    conv_strides: tuple[int, ...] = _setting((2, 1, 1, 1), "stride of the filters of each block, in time and frequency")
    conv_time_pools: tuple[int, ...] = _setting((2, 1, 2, 1), "max-pooling over time in each block")
    conv_band_pools: tuple[int, ...] = _setting((2, 2, 1, 2), "max-pooling over frequency in each block")
    conv_dropout: float = _setting(0.05, "dropout after each Conv2D block but the first, 0 to 1")
    lstm_inputs: int = _setting(128, "features to which a Dense layer reduces each input step of the LSTM")
    lstm_units: int = _setting(64, "units of the LSTM in each direction")
    attention_units: int = _setting(64, "width of the additive attention")
    dropout: float = _setting(0.3, "dropout of the embedding, 0 to 1")
    filter_db: float = _setting(3.0, "standard deviation of the random filter on each clip in training, in dB; 0: off")
    time_mask: float = _setting(0.15, "largest fraction of a clip's frames that a mask covers in training, 0 to 1")
    band_mask: float = _setting(0.15, "largest fraction of the bands that a mask covers in training, 0 to 1")
    num_masks: int = _setting(1, "masks over time and masks over bands on each clip in training")
    fusion_weight: float = _setting(
        0.4, "weight of the functionals branch in the late fusion, 0 to 1; 0: no such branch"
    )
    num_cepstra: int = _setting(24, "cepstra among the low-level descriptors; at most the number of mel bands")
    functional_lags: tuple[int, ...] = _setting(
        (1, 2, 4, 8, 16), "lags of the structure functions among the functionals, in frames"
    )
    functional_trends: bool = _setting(True, "whether trends over the time of a clip are among the functionals")
    trim_db: float = _setting(
        30.0, "silence trimmed from both ends before the functionals: below the loudest frame by this, in dB; 0: off"
    )

    def __post_init__(self) -> None:
        require(len(self.conv_filters) > 0, "conv_filters", self.conv_filters, "at least one block")
        for name in ("conv_filters", "conv_kernels", "conv_strides", "conv_time_pools", "conv_band_pools"):
            values = getattr(self, name)
            fits = len(values) == len(self.conv_filters)
            require(fits, name, values, f"one for each of conv_filters={self.conv_filters}")
            require(min(values) > 0, name, values, "numbers above 0")
        require(min(self.encoder_blocks, default=1) > 0, "encoder_blocks", self.encoder_blocks, "numbers above 0")
        for name in ("encoder_size", "encoder_pool", "lstm_inputs", "lstm_units", "attention_units"):
            require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        require(self.num_cepstra > 0, "num_cepstra", self.num_cepstra, "more than 0")
        require(min(self.functional_lags, default=1) > 0, "functional_lags", self.functional_lags, "numbers above 0")
        for name in ("filter_db", "trim_db"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 dB or more")
        require(self.num_masks >= 0, "num_masks", self.num_masks, "0 or more")
        for name in ("conv_dropout", "dropout", "time_mask", "band_mask", "fusion_weight"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "0 or more and less than 1")

    @property
    def frames_per_step(self) -> int:
        """Frames of the spectrogram behind one step of the LSTM and of the attention."""
        pooled = math.prod(self.conv_strides) * math.prod(self.conv_time_pools)
        return pooled * 2 * self.encoder_pool if self.encoder_blocks else pooled  # the encoder takes every second frame

    @property
    def frames_multiple(self) -> int:
        """Multiple to which the frames of a batch are padded: two steps, as attention over one has no effect."""
        return 2 * self.frames_per_step

    @property
    def bands_per_step(self) -> int:
        """Mel bands that the Conv2D blocks pool into one band."""
        return math.prod(self.conv_strides) * math.prod(self.conv_band_pools)


@dataclass(frozen=True)
class TrainConfig(Config):
    """The training by `train_model`."""

    epochs: int = _setting(60, "maximum number of passes over the training recordings")
    patience: int = _setting(
        0, "stop after this number of epochs without a better validation UAR, and keep the best; 0: never"
    )
    learning_rate: float = _setting(3e-3, "peak learning rate, between warm-up and cosine decay")
    warmup_fraction: float = _setting(0.1, "share of the steps with a rising learning rate, 0 to 1")
    weight_decay: float = _setting(1e-2, "decoupled weight decay of AdamW")
    label_smoothing: float = _setting(0.1, "share of the target spread over all emotions, 0 to 1")
    mixup: float = _setting(0.3, "alpha of the Beta distribution that mixes two clips and their labels; 0: off")
    ema_momentum: float = _setting(0.97, "momentum of the running average of the weights; 0: off")
    functionals_regularization: float = _setting(
        100.0, "L2 penalty of the functionals branch, 1 / C of LogisticRegression"
    )
    functionals_draws: int = _setting(4, "augmented copies of each training clip for fitting the functionals branch")
    encoded_crop: int = _setting(
        25, "random crop of longer clips behind a pretrained encoder, in steps of the two branches, of 160 ms"
    )
    encoded_copies: int = _setting(0, "augmented copies of each training clip that a pretrained encoder encodes")
    class_weights: bool = _setting(True, "weight each emotion by the inverse of its frequency")
    refit: bool = _setting(True, "train further on training and validation clips together, after the calibration")
    refit_fraction: float = _setting(
        0.25, "share of the epochs that this adds; 0: the functionals branch alone is fitted anew"
    )
    refit_learning_rate: float = _setting(1e-3, "peak learning rate of these epochs")
    steps_per_execution: int = _setting(5, "batches per call of the compiled training function, on one device")

    def __post_init__(self) -> None:
        positive = ("epochs", "learning_rate", "refit_learning_rate", "steps_per_execution")
        for name in (*positive, "encoded_crop", "functionals_regularization", "functionals_draws"):
            require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        for name in ("warmup_fraction", "label_smoothing", "ema_momentum"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "0 or more and less than 1")
        for name in ("patience", "weight_decay", "mixup", "encoded_copies", "refit_fraction"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")

    @property
    def refit_epochs(self) -> int:
        """Epochs that `refit_model` adds: at least one, unless ``refit_fraction`` is 0."""
        return math.ceil(self.refit_fraction * self.epochs)


@dataclass(frozen=True)
class CrossvalConfig(Config):
    """The folds and seeds of `cross_validate`.

    Example:
        >>> CrossvalConfig(seeds=(0, 1)).protocol
        'loso'
    """

    protocol: str = _setting(
        "loso",
        "loso: each speaker is a fold; folds: groups of speakers; random: shared speakers, an optimistic score",
        PROTOCOLS,
    )
    folds: str | None = _setting(
        None,
        "for the protocol folds: a CSV file (speaker,fold or path,fold), or ravdess for the published ones",
    )
    num_folds: int = _setting(5, "number of folds, for random, and for folds without a file")
    seeds: tuple[int, ...] = _setting((0, 1, 2), "each seed trains every fold once, from its own weights")
    adapt_clips: int = _setting(
        0, "clips of each test speaker, without their labels, that the model is adapted to before it is scored; 0: none"
    )
    validation_only: bool = _setting(False, "score validation speakers only, to compare settings")

    def __post_init__(self) -> None:
        self._check(" or ".join(PROTOCOLS), lambda value: value in PROTOCOLS, "protocol")
        expected = f"none with protocol={self.protocol!r}, or protocol='folds'"
        self._check(expected, lambda value: value is None or self.protocol == "folds", "folds")
        self._check("2 or more", lambda value: value > 1, "num_folds")
        self._check("0 or more", lambda value: value >= 0, "adapt_clips")
        distinct = len(set(self.seeds)) == len(self.seeds) > 0
        self._check("different numbers of 0 or more", lambda value: distinct and min(value) >= 0, "seeds")


@dataclass(frozen=True)
class ExportConfig(Config):
    """The limits of an exported model, and the batches of its server."""

    max_seconds: float = _setting(600.0, "longest recording for one prediction, in seconds")
    max_timeline_seconds: float = _setting(3_600.0, "longest recording for a timeline, in seconds")
    window_seconds: float = _setting(3.0, "length of a timeline's window, in seconds")
    hop_seconds: float = _setting(1.0, "distance between the windows of a timeline, in seconds")
    batch_sizes: tuple[int, ...] = _setting((1, 8, 32), "batch sizes of the server, ascending")
    abstain_below: float = _setting(0.0, "predictions of lower confidence are marked as abstained, 0 to 1; 0: none")

    def __post_init__(self) -> None:
        self._check("more than 0", lambda value: value > 0, "max_seconds", "window_seconds")
        expected = f"more than 0 and at most window_seconds={self.window_seconds}"
        self._check(expected, lambda value: 0 < value <= self.window_seconds, "hop_seconds")
        self._check("at most a day", lambda value: value <= 3_600 * 24, "window_seconds", "max_timeline_seconds")
        expected = f"at least window_seconds={self.window_seconds}"
        self._check(expected, lambda value: value >= self.window_seconds, "max_timeline_seconds")
        ascending = list(self.batch_sizes) == sorted(set(self.batch_sizes)) != []
        self._check("numbers above 0, ascending", lambda value: ascending and value[0] > 0, "batch_sizes")
        self._check("0 to 1", lambda value: 0 <= value <= 1, "abstain_below")
