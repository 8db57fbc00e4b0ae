"""Command-line flags from the fields of the settings classes, and settings from flags."""

import argparse
import dataclasses
import re
import shlex
import types
import typing
from collections.abc import Collection
from typing import Any, TypeVar

from ser_keras.config import Config

ConfigType = TypeVar("ConfigType", bound=Config)

SETTING = re.compile(r"`(\w+)(?:=([^`]*))?`")
"""A setting or argument in a message, with or without its value."""

_QUOTES = "'\""

COMMON = {
    *("split", "batch_size", "cache", "strict", "seed"),
    *("epochs", "patience", "learning_rate", "refit_fraction"),
    *("protocol", "folds", "seeds", "validation_only"),
    *("max_timeline_seconds", "window_seconds", "hop_seconds", "batch_sizes", "abstain_below"),
}
"""Settings that `--help` shows; the others are for `--help-all`."""


def add_config_flags(
    parser: argparse.ArgumentParser, config_class: type[Config], title: str, *, without: Collection[str] = ()
) -> None:
    """Add a group with one flag for each field, with its help, unit and default.

    Args:
        parser: The parser.
        config_class: The settings class.
        title: Heading of the group.
        without: Fields without a flag, which keep their default.

    Example:
        >>> from ser_keras.config import TrainConfig
        >>> parser = argparse.ArgumentParser()
        >>> add_config_flags(parser, TrainConfig, "training")
        >>> config_from_flags(TrainConfig, parser.parse_args(["--epochs", "3", "--no-class-weights"])).epochs
        3
    """
    group = parser.add_argument_group(title)
    hints = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        if field.name in without:
            continue
        flag = "--" + field.name.replace("_", "-")
        help_text = (field.metadata["help"] + _shown(field.default)).replace("%", "%%")
        action = group.add_argument(flag, default=field.default, help=help_text, **_parsing(hints[field.name], field))
        action.minor = field.name not in COMMON


def name_flags(message: str, parser: argparse.ArgumentParser) -> str:
    """Replace the settings and arguments in backquotes in a message by the flags of a verb, where it has them.

    Args:
        message: Text of an error or a warning.
        parser: Parser of the verb.

    Example:
        >>> from ser_keras.config import DataConfig
        >>> parser = argparse.ArgumentParser()
        >>> add_config_flags(parser, DataConfig, "data")
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


def config_from_flags(config_class: type[ConfigType], options: argparse.Namespace) -> ConfigType:
    """Return the settings of the parsed flags.

    Raises:
        InputError: A value is not allowed.
    """
    names = [field.name for field in dataclasses.fields(config_class)]
    values = {name: getattr(options, name) for name in names if hasattr(options, name)}
    return config_class(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


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
