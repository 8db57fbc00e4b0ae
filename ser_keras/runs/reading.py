"""Find and read the files that this package wrote, damaged ones included."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ser_keras import __version__
from ser_keras.errors import InputError

FORMAT_VERSION = 1
"""Version of run directories and exports; it increases when earlier versions would misread what this one writes."""


def stamp() -> dict[str, Any]:
    """Return the versions that a run directory and an export contain."""
    return {"format_version": FORMAT_VERSION, "versions": {"ser_keras": __version__}}


def read_json(path: str | Path, expected: str) -> dict[str, Any]:
    """Read a file that contains one JSON object.

    Args:
        path: The file.
        expected: What to give instead, for the message.

    Raises:
        InputError: The file does not exist, contains something else, or has a newer `format_version`.

    Example:
        >>> path = getfixture("tmp_path") / "config.json"
        >>> _ = path.write_text("[1, 2]")
        >>> read_json(path, "a run directory")
        Traceback (most recent call last):
        ser_keras.errors.InputError: .../config.json: holds no JSON object; expected a run directory
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected {expected}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is damaged, no JSON ({str(error)[:100]}); expected {expected}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds no JSON object; expected {expected}")
    _check_format(path, value)
    return value


def find_export(directory: str | Path) -> Path:
    """Return the SavedModel of a run directory, of a model's folder (its newest version), or of a version.

    Raises:
        InputError: There is none.
    """
    directory = Path(directory)
    places = (directory / "export", directory)
    versions = [each for place in places for each in place.glob("*") if each.name.isdecimal() and _is_saved(each)]
    newest = max(versions, key=lambda each: int(each.name), default=directory)
    if not _is_saved(newest):
        raise InputError(
            f"{directory}: holds no SavedModel; give a run directory of `ser-keras train`, or an export of export_model"
        )
    return newest


def read_recipe(directory: str | Path) -> dict[str, Any]:
    """Read the recipe in an export: `emotions`, a list, `audio` and `serving`, settings by name, and more.

    Raises:
        InputError: The directory is no export, or its recipe is damaged.
    """
    path = Path(directory) / "assets" / "model.json"
    facts = read_json(path, "an export of ser_keras")
    for name, kind in (("emotions", list), ("audio", dict), ("serving", dict)):
        if not isinstance(facts.get(name), kind):
            raise InputError(f"{path}: lacks its {name}; expected an export of ser_keras")
    return facts


def refuse_changes(path: str | Path, begun: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to resume a run with other settings or another version of this package.

    Args:
        path: The file of the settings at the start, for the message.
        begun: `stamp` and plain values, or groups of them; no name is in two groups.
        asked: The same, as they are now.

    Raises:
        InputError: One differs; the message names it.

    Example:
        >>> refuse_changes("config.json", {"training": {"epochs": 9}}, {"training": {"epochs": 8}})
        Traceback (most recent call last):
        ser_keras.errors.InputError: config.json: epochs was 9 when the run was begun and is 8 now; ...
    """
    begun, asked = _flat(begun), _flat(asked)
    if (writer := begun.get("ser_keras")) != asked.get("ser_keras"):
        raise InputError(
            f"{path}: ser_keras {writer} began this run, and this is {__version__}; resume with that version, or give "
            "another output directory"
        )
    for name in [*asked, *(name for name in begun if name not in asked)]:
        if begun.get(name) != asked.get(name):
            raise InputError(
                f"{path}: {name} was {begun.get(name)!r} when the run was begun and is {asked.get(name)!r} now; "
                "give the first value, or another output directory"
            )


def _is_saved(directory: Path) -> bool:
    return (directory / "saved_model.pb").is_file()


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    groups = (value if isinstance(value, Mapping) else {name: value} for name, value in settings.items())
    return {name: value for group in groups for name, value in group.items()}


def _check_format(path: str | Path, value: dict[str, Any]) -> None:
    version = value.get("format_version", FORMAT_VERSION)  # only config.json and model.json contain it
    if isinstance(version, int) and version <= FORMAT_VERSION:
        return
    versions = value.get("versions")
    writer = versions.get("ser_keras") if isinstance(versions, dict) else None
    raise InputError(
        f"{path}: format_version {version!r}, and ser_keras {__version__} reads up to {FORMAT_VERSION}; "
        f"use ser_keras {writer or 'of the version that wrote it'} or newer"
    )
