"""Settings: refused values, and conversion to and from JSON."""

import dataclasses
import json
import re

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


REFUSED = [
    (AudioConfig, "sample_rate", [3_999, 384_001]),
    (AudioConfig, "frame_length", [0]),
    (AudioConfig, "frame_step", [0, 513]),
    (AudioConfig, "fft_length", [513, 510]),
    (AudioConfig, "num_mel_bins", [0]),
    (AudioConfig, "min_hz", [-1.0, 8_000.0]),
    (AudioConfig, "max_hz", [8_001.0]),
    (AudioConfig, "log_offset", [0.0]),
    (DataConfig, "split", ["speakers"]),
    (DataConfig, "val_fraction", [0, 1.0]),
    (DataConfig, "test_fraction", [0, 20]),
    (DataConfig, "batch_size", [0]),
    (DataConfig, "min_seconds", [-0.1]),
    (DataConfig, "max_seconds", [0.1]),
    (DataConfig, "crop_seconds", [0.0]),
    (DataConfig, "cache", [""]),
    (DataConfig, "seed", [-1, 2**32]),
    (ModelConfig, "conv_filters", [(), (4, 0, 4, 4)]),
    (ModelConfig, "conv_kernels", [(3,), (3, 3, 0, 3)]),
    (ModelConfig, "conv_strides", [(1, 1), (0, 1, 1, 1)]),
    (ModelConfig, "conv_time_pools", [(2, 2, 2, -1)]),
    (ModelConfig, "conv_band_pools", [(2,) * 5]),
    (ModelConfig, "lstm_inputs", [0]),
    (ModelConfig, "lstm_units", [0]),
    (ModelConfig, "attention_units", [0]),
    (ModelConfig, "conv_dropout", [1.0]),
    (ModelConfig, "dropout", [-0.1]),
    (TrainConfig, "epochs", [0]),
    (TrainConfig, "patience", [-1]),
    (TrainConfig, "learning_rate", [0.0, float("nan")]),
    (TrainConfig, "warmup_fraction", [1.0]),
    (TrainConfig, "label_smoothing", [-0.1]),
    (TrainConfig, "weight_decay", [-1e-3]),
    (CrossvalConfig, "protocol", ["kfold"]),
    (CrossvalConfig, "folds", ["a.csv"]),
    (CrossvalConfig, "num_folds", [1]),
    (CrossvalConfig, "seeds", [(), (0, 0), (0, -1)]),
    (ExportConfig, "max_seconds", [0]),
    (ExportConfig, "window_seconds", [0]),
    (ExportConfig, "hop_seconds", [4.0, 0.0]),
    (ExportConfig, "max_timeline_seconds", [1.0, 100_000.0]),
    (ExportConfig, "batch_sizes", [(8, 1), (), (0, 1)]),
    (ExportConfig, "abstain_below", [1.5, -0.1]),
]


@pytest.mark.parametrize(("config_class", "name", "values"), REFUSED, ids=lambda each: getattr(each, "__name__", None))
def test_a_value_that_is_not_allowed_is_refused_by_name(config_class, name, values):
    for value in values:
        with pytest.raises(InputError, match=f"^{re.escape(f'{name}={value!r}')}: expected "):
            config_class(**{name: value})


def test_fractions_that_leave_nothing_for_training_are_refused():
    with pytest.raises(InputError, match="less than 1"):
        DataConfig(val_fraction=0.5, test_fraction=0.5)


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


def test_replace_refuses_unknown_names_and_lists_the_known_ones():
    with pytest.raises(InputError, match=r"batch_size, epoch;.*epochs.*weight_decay"):
        TrainConfig().replace(epoch=3, batch_size=8)


def test_replace_refuses_a_value_that_is_not_allowed():
    with pytest.raises(InputError, match="epochs=0"):
        TrainConfig().replace(epochs=0)


def test_frames_per_second_follow_rate_and_step():
    assert AudioConfig(sample_rate=8_000, max_hz=4_000.0, frame_step=80).frames_per_second == 100.0


def test_frames_per_step_are_the_product_of_strides_and_pools():
    parts = {"conv_filters": (4, 4), "conv_kernels": (3, 3), "conv_strides": (3, 1)}
    assert ModelConfig(**parts, conv_time_pools=(2, 5), conv_band_pools=(1, 2)).frames_per_step == 30


def test_every_settings_class_is_tested_here():
    assert set(CONFIGS) == set(Config.__subclasses__())
