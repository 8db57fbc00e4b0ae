"""Command-line flags from the fields of the settings classes, and settings from flags."""

import argparse
import dataclasses
import re
import shlex
import types
import typing
from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from ser_keras.config import Config, CrossvalConfig
from ser_keras.presets import DEFAULT_PRESET, PRESETS

ConfigType = TypeVar("ConfigType", bound=Config)

SETTING = re.compile(r"`(\w+)(?:=([^`]*))?`")
"""A setting or argument in a message, with or without its value."""

_QUOTES = "'\""

COMMON = {
    *("split", "batch_size", "cache", "seed"),
    *("epochs", "refit"),
    *("protocol", "folds", "seeds", "validation_only"),
    *("max_timeline_seconds", "window_seconds", "hop_seconds", "batch_sizes", "abstain_below"),
}
"""Settings that `--help` shows; the others are for `--help-all`."""


OF_PRESETS = ("encoder_blocks", "encoder_size", "encoder_window", "encoder_pool")
"""Settings without a flag: a preset has them together with its weights."""


def add_config_flags(
    parser: argparse.ArgumentParser, defaults: Config, title: str, *, without: Collection[str] = ()
) -> None:
    """Add a group with one flag for each field, with its help, unit and default.

    Args:
        parser: The parser.
        defaults: The settings where no flag is given.
        title: Heading of the group.
        without: Fields without a flag, which keep their default.

    Example:
        >>> from ser_keras.config import TrainConfig
        >>> parser = argparse.ArgumentParser()
        >>> add_config_flags(parser, TrainConfig(), "training")
        >>> config_from_flags(TrainConfig(), parser.parse_args(["--epochs", "3", "--no-class-weights"])).epochs
        3
    """
    group = parser.add_argument_group(title)
    hints = typing.get_type_hints(type(defaults))
    for field in dataclasses.fields(defaults):
        if field.name in without or field.name in OF_PRESETS:
            continue
        flag = "--" + field.name.replace("_", "-")
        help_text = (field.metadata["help"] + _shown(getattr(defaults, field.name))).replace("%", "%%")
        action = group.add_argument(
            flag, default=argparse.SUPPRESS, help=help_text, **_parsing(hints[field.name], field)
        )
        action.minor = field.name not in COMMON


def add_preset_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose the model."""
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default=DEFAULT_PRESET,
        help=f"pretrained encoder; light: a small network without one (default: {DEFAULT_PRESET}, as in what follows)",
    )
    weights = parser.add_argument(
        "--encoder-weights", metavar="FILE", help="safetensors file of the encoder's weights instead of the preset's"
    )
    weights.minor = True


def configs_from_flags(titles: Iterable[str], options: argparse.Namespace) -> dict[str, Config]:
    """Return the settings of the flags by their names; where a flag was not given those of the preset.

    Raises:
        InputError: A value is not allowed.
    """
    defaults = preset_configs(options.preset)
    return {title: config_from_flags(defaults[title], options) for title in titles}


def preset_configs(preset: str = DEFAULT_PRESET) -> dict[str, Config]:
    """Return the settings of `train` and `crossval` under a preset, by their names."""
    return {"crossval": CrossvalConfig(), **PRESETS[preset].configs()}


def name_flags(message: str, parser: argparse.ArgumentParser) -> str:
    """Replace the settings and arguments in backquotes in a message by the flags of a verb, where it has them.

    Args:
        message: Text of an error or a warning.
        parser: Parser of the verb.

    Example:
        >>> from ser_keras.config import DataConfig
        >>> parser = argparse.ArgumentParser()
        >>> add_config_flags(parser, DataConfig(), "data")
        >>> name_flags("choose `split='random'`, `strict=False` or another `cache`", parser)
        'choose --split random, --no-strict or another --cache'
    """
    actions = {action.dest: action for action in parser._actions if action.option_strings}

    def flag_of(named: re.Match[str]) -> str:
        name, value = named.groups()
        if name not in actions:
            return named[0]
        flag = "--" + name.replace("_", "-")
        flag = flag if flag in actions[name].option_strings else actions[name].option_strings[0]
        if value is None or actions[name].nargs == 0:
            return flag if value != "False" else f"--no-{flag.removeprefix('--')}"
        return f"{flag} {shlex.quote(value.strip(_QUOTES))}"

    return SETTING.sub(flag_of, message)


def config_from_flags(default: ConfigType, options: argparse.Namespace) -> ConfigType:
    """Return settings with the values of the flags that were given.

    Raises:
        InputError: A value is not allowed.
    """
    names = [field.name for field in dataclasses.fields(default)]
    values = {name: getattr(options, name) for name in names if hasattr(options, name)}
    return default.replace(**{name: tuple(each) if isinstance(each, list) else each for name, each in values.items()})


def _parsing(hint: Any, field: dataclasses.Field) -> dict[str, Any]:
    """Return the options of argparse for a value of this type."""
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    if field.metadata["choices"]:
        return {"choices": field.metadata["choices"]}
    metavar = "TEXT"
    if typing.get_origin(hint) is tuple:
        return {"type": typing.get_args(hint)[0], "nargs": "+", "metavar": "N"}
    if isinstance(hint, types.UnionType):
        hint = next(member for member in typing.get_args(hint) if member is not type(None))
    if hint in (int, float):
        metavar = "N" if hint is int else "X"
    return {"type": hint, "metavar": metavar}


def _shown(default: Any) -> str:
    if default is None:
        return ""
    return f" (default: {' '.join(map(str, default)) if isinstance(default, tuple) else default})"
