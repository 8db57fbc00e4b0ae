"""Read back the JSON files that this package wrote, whatever has become of them."""

import json
from pathlib import Path
from typing import Any

from ser_keras.errors import InputError


def read_json(path: str | Path, expected: str) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: the file.
        expected: what to give instead, for the message.

    Raises:
        InputError: there is no such file, or it holds something else.

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
    return value


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
