"""Find and read back what this package wrote, whatever has become of it, and whichever version wrote it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ser_keras import __version__
from ser_keras.errors import InputError

FORMAT_VERSION = 1
"""Of run directories and exports. It becomes one higher when a version writes what those before it would
misread; the code that reads the older ones stays, and tests/golden gets a run of each."""


def stamp() -> dict[str, Any]:
    """Return what a run directory and an export say of who wrote them."""
    return {"format_version": FORMAT_VERSION, "versions": {"ser_keras": __version__}}


def read_json(path: str | Path, expected: str) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: the file.
        expected: what to give instead, for the message.

    Raises:
        InputError: there is no such file, it holds something else, or a newer version of this package wrote
            it and says that this one would misread it.

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
    """Return the SavedModel that is meant by a run directory, a model's folder, or a version in it.

    Raises:
        InputError: there is none.
    """
    directory = Path(directory)
    places = (directory / "export", directory)
    versions = [each for place in places for each in place.glob("*") if each.name.isdecimal() and _is_saved(each)]
    newest = max(versions, key=lambda each: int(each.name), default=directory)
    if not _is_saved(newest):
        raise InputError(
            f"{directory}: holds no SavedModel; give a run directory of `ser-keras train`, or what export_model wrote"
        )
    return newest


def read_recipe(directory: str | Path) -> dict[str, Any]:
    """Read what an export says of itself.

    Args:
        directory: of the SavedModel, as `export_model` returned it.

    Returns:
        `emotions`, a list of names, and by their fields `audio`, `serving` and more, plain values.

    Raises:
        InputError: it is no export, or its recipe is damaged.
    """
    path = Path(directory) / "assets" / "model.json"
    facts = read_json(path, "an export of ser_keras")
    for name, kind in (("emotions", list), ("audio", dict), ("serving", dict)):
        if not isinstance(facts.get(name), kind):
            raise InputError(f"{path}: lacks its {name}; expected an export of ser_keras")
    return facts


def refuse_changes(path: str | Path, begun: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to go on with other settings, or by another version, than those that a run was begun with.

    Another version may compute something in another way, or know other settings: half of a run by each would be
    a run that nobody can repeat.

    Args:
        path: where the first ones were written, for the message.
        begun: `stamp` and plain values, or groups of them; no name is in two groups.
        asked: the same, of now.

    Raises:
        InputError: one differs; it is named.

    Example:
        >>> refuse_changes("config.json", {"training": {"epochs": 9}}, {"training": {"epochs": 8}})
        Traceback (most recent call last):
        ser_keras.errors.InputError: config.json: epochs was 9 when the run was begun and is 8 now; ...
    """
    begun, asked = dict(_flat(begun)), dict(_flat(asked))
    if (writer := begun.get("ser_keras")) != asked.get("ser_keras"):
        raise InputError(
            f"{path}: ser_keras {writer or 'of an earlier version'} began this run, and this is {__version__}; "
            "go on with that version, or give another output directory"
        )
    for name in [*asked, *(name for name in begun if name not in asked)]:
        if begun.get(name) != asked.get(name):
            raise InputError(
                f"{path}: {name} was {begun.get(name)!r} when the run was begun and is {asked.get(name)!r} now; "
                "give the first value, or another output directory"
            )


def _is_saved(directory: Path) -> bool:
    return (directory / "saved_model.pb").is_file()


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from value.items()
        else:
            yield name, value


def _check_format(path: str | Path, value: dict[str, Any]) -> None:
    version = value.get("format_version", 0)  # there was none before the first
    if isinstance(version, int) and version <= FORMAT_VERSION:
        return
    versions = value.get("versions")
    writer = versions.get("ser_keras") if isinstance(versions, dict) else None
    raise InputError(
        f"{path}: format_version {version!r}, and ser_keras {__version__} reads up to {FORMAT_VERSION}; "
        f"use ser_keras {writer or 'of the version that wrote it'} or newer"
    )
