"""Flags from settings, and settings from flags."""

import argparse
import dataclasses

import pytest

from ser_keras.cli.flags import OF_PRESETS, add_config_flags, config_from_flags
from ser_keras.config import AudioConfig, DataConfig, ModelConfig, TrainConfig
from ser_keras.errors import InputError

CONFIGS = (AudioConfig, DataConfig, ModelConfig, TrainConfig)
each_config = pytest.mark.parametrize("config_class", CONFIGS)


def parser_for(*config_classes):
    parser = argparse.ArgumentParser(prog="program")
    for config_class in config_classes:
        add_config_flags(parser, config_class(), f"settings of {config_class.__name__}")
    return parser


def parse(config_class, *words):
    return config_from_flags(config_class(), parser_for(config_class).parse_args(words))


def help_of(config_class):
    return " ".join(parser_for(config_class).format_help().split())


@each_config
def test_no_flags_give_the_defaults(config_class):
    assert parse(config_class) == config_class()


@each_config
def test_every_field_has_a_flag_whose_help_shows_its_text_and_default_once(config_class):
    text = help_of(config_class)
    for field in dataclasses.fields(config_class):
        if field.name in OF_PRESETS:
            continue
        assert f"--{field.name.replace('_', '-')} " in text + " "
        default = " ".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        shown = "" if default is None else f" (default: {default})"
        assert text.count(field.metadata["help"] + shown) == 1


def test_help_is_grouped_by_title():
    assert "settings of TrainConfig:" in parser_for(TrainConfig).format_help()


def test_all_settings_fit_into_one_parser():
    options = parser_for(*CONFIGS).parse_args(["--epochs", "3", "--batch-size", "8", "--lstm-units", "16"])
    assert config_from_flags(TrainConfig(), options) == TrainConfig(epochs=3)
    assert config_from_flags(DataConfig(), options) == DataConfig(batch_size=8)
    assert config_from_flags(ModelConfig(), options) == ModelConfig(lstm_units=16)
    assert config_from_flags(AudioConfig(), options) == AudioConfig()


@pytest.mark.parametrize(
    ("config_class", "words", "expected"),
    [
        (TrainConfig, ["--epochs", "3"], {"epochs": 3}),
        (TrainConfig, ["--learning-rate", "1e-4"], {"learning_rate": 1e-4}),
        (TrainConfig, ["--no-class-weights"], {"class_weights": False}),
        (TrainConfig, ["--class-weights"], {"class_weights": True}),
        (DataConfig, ["--strict"], {"strict": True}),
        (DataConfig, ["--corpus", "ravdess"], {"corpus": "ravdess"}),
        (DataConfig, ["--split", "random"], {"split": "random"}),
        (DataConfig, ["--cache", "some/folder"], {"cache": "some/folder"}),
        (DataConfig, ["--max-seconds", "10"], {"max_seconds": 10.0}),
        (ModelConfig, ["--conv-filters", "8", "16", "32", "64"], {"conv_filters": (8, 16, 32, 64)}),
    ],
)
def test_a_flag_sets_its_field_and_no_other(config_class, words, expected):
    assert parse(config_class, *words) == config_class(**expected)


def test_types_are_kept():
    assert isinstance(parse(DataConfig, "--max-seconds", "10").max_seconds, float)
    filters = parse(ModelConfig, "--conv-filters", "8", "16", "32", "64").conv_filters
    assert isinstance(filters, tuple) and all(isinstance(number, int) for number in filters)


@pytest.mark.parametrize(
    ("config_class", "words"),
    [
        (DataConfig, ["--split", "speakers"]),
        (TrainConfig, ["--epochs", "1.5"]),
        (ModelConfig, ["--conv-filters", "8", "x"]),
        (ModelConfig, ["--conv-filters"]),
    ],
)
def test_a_word_that_cannot_be_read_is_refused_with_its_flag(config_class, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse(config_class, *words)
    printed = capsys.readouterr().err.splitlines()[-1]
    assert words[0] in printed and words[-1] in printed


def test_a_value_that_is_not_allowed_is_an_input_error():
    with pytest.raises(InputError, match="epochs=0"):
        parse(TrainConfig, "--epochs", "0")


def test_a_percent_sign_in_a_default_does_not_break_the_help():
    @dataclasses.dataclass(frozen=True)
    class Odd(DataConfig):
        cache: str = dataclasses.field(default="100%", metadata={"help": "where", "choices": None})

    assert "where (default: 100%)" in help_of(Odd)
