"""Settings: what is refused and in which words, and the way to JSON and back."""

import dataclasses
import json

import pytest

from ser_keras.config import AudioConfig, Config, CrossvalConfig, DataConfig, ExportConfig, ModelConfig, TrainConfig
from ser_keras.errors import InputError
from ser_keras.runs import CROSSVAL_CONFIGS

CONFIGS = (AudioConfig, DataConfig, ModelConfig, TrainConfig, CrossvalConfig, ExportConfig)
each_config = pytest.mark.parametrize("config_class", CONFIGS)


@each_config
def test_the_defaults_are_accepted(config_class):
    assert config_class() == config_class()


@each_config
def test_settings_cannot_be_changed_in_place(config_class):
    config = config_class()
    field = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, field, None)


@each_config
def test_every_field_has_a_help_text(config_class):
    assert all(field.metadata["help"] for field in dataclasses.fields(config_class))


def test_no_two_classes_of_the_crossval_command_share_a_field():
    names = [field.name for config_class in CROSSVAL_CONFIGS.values() for field in dataclasses.fields(config_class)]
    assert len(names) == len(set(names))  # each is a flag


@each_config
def test_a_dictionary_comes_back_through_json(config_class):
    config = config_class()
    assert config_class.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_changed_values_come_back_too():
    config = ModelConfig(conv_filters=(4, 4, 4, 4), dropout=0.5)
    assert ModelConfig.from_dict(config.to_dict()) == config != ModelConfig()


def test_a_dictionary_holds_lists_in_place_of_tuples():
    assert ModelConfig().to_dict()["conv_filters"] == list(ModelConfig().conv_filters)


@pytest.mark.parametrize(
    ("config_class", "changes", "message"),
    [
        (AudioConfig, {"sample_rate": 3_999}, "sample_rate=3999: expected 4000 to 384000 Hz"),
        (AudioConfig, {"sample_rate": 384_001}, "sample_rate=384001: expected 4000 to 384000 Hz"),
        (AudioConfig, {"frame_length": 0}, "frame_length=0: expected more than 0 samples"),
        (AudioConfig, {"frame_step": 0}, "frame_step=0: expected 1 to frame_length"),
        (AudioConfig, {"frame_step": 513}, "frame_step=513: expected 1 to frame_length"),
        (
            AudioConfig,
            {"fft_length": 513},
            "fft_length=513: expected an even number of at least frame_length=512",
        ),
        (
            AudioConfig,
            {"fft_length": 510},
            "fft_length=510: expected an even number of at least frame_length=512",
        ),
        (AudioConfig, {"num_mel_bins": 0}, "num_mel_bins=0: expected more than 0 bands"),
        (AudioConfig, {"min_hz": -1.0}, "min_hz=-1.0: expected 0 to max_hz=8000.0"),
        (AudioConfig, {"min_hz": 8_000.0}, "min_hz=8000.0: expected 0 to max_hz=8000.0"),
        (AudioConfig, {"max_hz": 8_001.0}, "max_hz=8001.0: expected at most half of sample_rate, 8000.0 Hz"),
        (AudioConfig, {"log_offset": 0.0}, "log_offset=0.0: expected more than 0"),
        (
            DataConfig,
            {"split": "speakers"},
            "split='speakers': expected auto or speaker or random or manifest",
        ),
        (DataConfig, {"val_fraction": 0}, "val_fraction=0: expected more than 0 and less than 1"),
        (DataConfig, {"val_fraction": 1.0}, "val_fraction=1.0: expected more than 0 and less than 1"),
        (DataConfig, {"test_fraction": 0}, "test_fraction=0: expected more than 0 and less than 1"),
        (DataConfig, {"test_fraction": 20}, "test_fraction=20: expected more than 0 and less than 1"),
        (
            DataConfig,
            {"val_fraction": 0.5, "test_fraction": 0.5},
            r"val_fraction \+ test_fraction=1.0: expected less than 1, so that something is left to train on",
        ),
        (DataConfig, {"batch_size": 0}, "batch_size=0: expected more than 0 clips"),
        (DataConfig, {"min_seconds": -0.1}, "min_seconds=-0.1: expected 0 or more"),
        (
            DataConfig,
            {"min_seconds": 2.0, "max_seconds": 2.0},
            "max_seconds=2.0: expected more than min_seconds",
        ),
        (DataConfig, {"crop_seconds": 0.0}, "crop_seconds=0.0: expected more than 0"),
        (DataConfig, {"cache": ""}, "cache='': expected 'memory' or a folder"),
        (ModelConfig, {"conv_filters": ()}, r"conv_filters=\(\): expected at least one block"),
        (
            ModelConfig,
            {"conv_kernels": (3,)},
            r"conv_kernels=\(3,\): expected one for each of conv_filters=\(32, ",
        ),
        (
            ModelConfig,
            {"conv_filters": (4, 0, 4, 4)},
            r"conv_filters=\(4, 0, 4, 4\): expected numbers above 0",
        ),
        (
            ModelConfig,
            {"conv_kernels": (3, 3, 0, 3)},
            r"conv_kernels=\(3, 3, 0, 3\): expected numbers above 0",
        ),
        (
            ModelConfig,
            {"conv_strides": (0, 1, 1, 1)},
            r"conv_strides=\(0, 1, 1, 1\): expected numbers above 0",
        ),
        (
            ModelConfig,
            {"conv_strides": (1, 1)},
            r"conv_strides=\(1, 1\): expected one for each of conv_filters",
        ),
        (ModelConfig, {"conv_time_pools": (2, 2, 2, -1)}, r"conv_time_pools=\(2, 2, 2, -1\): expected numbers above 0"),
        (ModelConfig, {"conv_band_pools": (2,) * 5}, r"conv_band_pools=\(2, 2, 2, 2, 2\): expected one for each of"),
        (ModelConfig, {"lstm_inputs": 0}, "lstm_inputs=0: expected more than 0"),
        (ModelConfig, {"lstm_units": 0}, "lstm_units=0: expected more than 0"),
        (ModelConfig, {"attention_units": 0}, "attention_units=0: expected more than 0"),
        (ModelConfig, {"conv_dropout": 1.0}, "conv_dropout=1.0: expected 0 or more and less than 1"),
        (ModelConfig, {"dropout": -0.1}, "dropout=-0.1: expected 0 or more and less than 1"),
        (TrainConfig, {"epochs": 0}, "epochs=0: expected more than 0"),
        (TrainConfig, {"patience": -1}, "patience=-1: expected 0 or more"),
        (ModelConfig, {"fusion_weight": 1.0}, "fusion_weight=1.0: expected 0 or more and less than 1"),
        (ModelConfig, {"functional_lags": (0, 1)}, r"functional_lags=\(0, 1\): expected numbers above 0"),
        (TrainConfig, {"learning_rate": 0.0}, "learning_rate=0.0: expected more than 0"),
        (TrainConfig, {"learning_rate": float("nan")}, "learning_rate=nan: expected more than 0"),
        (TrainConfig, {"warmup_fraction": 1.0}, "warmup_fraction=1.0: expected 0 or more and less than 1"),
        (TrainConfig, {"label_smoothing": -0.1}, "label_smoothing=-0.1: expected 0 or more and less than 1"),
        (TrainConfig, {"weight_decay": -1e-3}, "weight_decay=-0.001: expected 0 or more"),
        (CrossvalConfig, {"protocol": "kfold"}, "protocol='kfold': expected loso or folds or random"),
        (CrossvalConfig, {"folds": "a.csv"}, "folds='a.csv': expected none with protocol='loso', or protocol='folds'"),
        (CrossvalConfig, {"num_folds": 1}, "num_folds=1: expected 2 or more"),
        (CrossvalConfig, {"seeds": ()}, r"seeds=\(\): expected different numbers of 0 or more"),
        (CrossvalConfig, {"seeds": (0, 0)}, r"seeds=\(0, 0\): expected different numbers"),
        (CrossvalConfig, {"seeds": (0, -1)}, r"seeds=\(0, -1\): expected different numbers"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(config_class, changes, message):
    with pytest.raises(InputError, match=f"^{message}"):
        config_class(**changes)


CONV_PARTS = ("filters", "kernels", "strides", "time_pools", "band_pools")


@pytest.mark.parametrize(
    ("config_class", "changes"),
    [
        (AudioConfig, {"sample_rate": 4_000, "max_hz": 2_000.0}),
        (AudioConfig, {"sample_rate": 384_000}),
        (AudioConfig, {"frame_step": 512, "fft_length": 512}),
        (AudioConfig, {"min_hz": 0.0}),
        (DataConfig, {"min_seconds": 0.0, "batch_size": 1}),
        (DataConfig, {"split": "manifest"}),
        (ModelConfig, dict.fromkeys((f"conv_{part}" for part in CONV_PARTS), (1,))),
        (ModelConfig, {"conv_dropout": 0.0, "dropout": 0.0}),
        (CrossvalConfig, {"protocol": "folds", "folds": "a.csv", "seeds": (7,)}),
        (TrainConfig, {"epochs": 1, "patience": 1, "weight_decay": 0.0}),
        (TrainConfig, {"warmup_fraction": 0.0, "label_smoothing": 0.0}),
    ],
)
def test_a_value_at_the_edge_is_accepted(config_class, changes):
    config = config_class(**changes)
    assert {name: getattr(config, name) for name in changes} == changes


def test_replace_changes_a_copy():
    config = DataConfig()
    assert config.replace(batch_size=8, seed=1) == DataConfig(batch_size=8, seed=1)
    assert config == DataConfig()


def test_replace_without_changes_gives_equal_settings():
    assert TrainConfig(epochs=3).replace() == TrainConfig(epochs=3)


def test_replace_refuses_a_name_that_is_no_field_and_lists_those_that_are():
    with pytest.raises(InputError, match=r"TrainConfig has no batch_size, epoch; it has .*epochs.*, weight_decay"):
        TrainConfig().replace(epoch=3, batch_size=8)


def test_replace_refuses_a_value_that_cannot_work():
    with pytest.raises(InputError, match="epochs=0: expected more than 0"):
        TrainConfig().replace(epochs=0)


def test_frames_per_second_follow_rate_and_step():
    assert AudioConfig(sample_rate=8_000, max_hz=4_000.0, frame_step=80).frames_per_second == 100.0


def test_a_step_pools_frames_and_bands_by_the_product_of_strides_and_pools():
    parts = {"conv_filters": (4, 4), "conv_kernels": (3, 3), "conv_strides": (3, 1)}
    config = ModelConfig(**parts, conv_time_pools=(2, 5), conv_band_pools=(1, 2))
    assert (config.frames_per_step, config.bands_per_step) == (30, 6)


def test_every_settings_class_is_tested_here():
    assert set(CONFIGS) == set(Config.__subclasses__())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_seconds": 0}, "max_seconds=0: expected more than 0"),
        ({"hop_seconds": 4.0}, "hop_seconds=4.0: expected more than 0 and at most window_seconds=3.0"),
        ({"hop_seconds": 0.0}, "hop_seconds=0.0: expected more than 0"),
        ({"max_timeline_seconds": 1.0}, "max_timeline_seconds=1.0: expected at least window_seconds=3.0"),
        ({"batch_sizes": (8, 1)}, r"batch_sizes=\(8, 1\): expected numbers above 0, ascending"),
        ({"batch_sizes": ()}, r"batch_sizes=\(\): expected"),
        ({"abstain_below": 1.5}, "abstain_below=1.5: expected 0 to 1"),
        ({"abstain_below": -0.1}, "abstain_below=-0.1: expected 0 to 1"),
    ],
)
def test_an_export_that_cannot_work_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        ExportConfig(**values)
