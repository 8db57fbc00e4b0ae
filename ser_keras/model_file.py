"""What a `.keras` file may hold, looked at before Keras opens it.

Such a file is a ZIP archive: settings from which Keras builds objects by the names of their classes, and an
array for each weight. Keras refuses Python code in it by itself (`safe_mode`). This look is a second lock: of
what Keras could build from a file, only our own registered classes and Keras's plain parts are let through.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ser_keras.errors import InputError

_MEMBERS = ["config.json", "metadata.json", "model.weights.h5"]
_PACKAGE = "ser_keras>"
_KERAS_MODULES = {"keras", *(f"keras.{name}" for name in ("layers", "optimizers", "losses", "metrics", "initializers"))}
_KERAS_MODULES |= {f"keras.{name}" for name in ("activations", "constraints", "regularizers", "optimizers.schedules")}
_LARGEST_RATIO = 20
"""Keras stores without compression; archives that others packed again shrink a little, bombs by 1,000."""


def check_model_file(path: Path) -> None:
    """Refuse a file that holds anything but the settings and weights of our models.

    Raises:
        InputError: it is no ZIP archive, has members of other names or impossible sizes, or its settings
            name a class that is neither ours nor a plain part of Keras.
    """
    for part in _parts(_read_config(path)):
        if not _is_known(part):
            name = f"{part.get('module')}.{part.get('class_name')}"
            raise InputError(f"{path}: holds a {name[:100]}, which is no part of our models; it was not loaded")


def _read_config(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive.infolist())
            return json.loads(archive.read("config.json"))
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise InputError(f"{path}: cannot be loaded ({reason}); expected a model that save_model wrote") from error


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = sorted(each.filename for each in members)
    if names != _MEMBERS:
        raise InputError(f"{path}: holds {str(names)[:200]}; expected {', '.join(_MEMBERS)}, as save_model writes them")
    claimed, size = sum(each.file_size for each in members), path.stat().st_size
    if claimed > _LARGEST_RATIO * size:
        raise InputError(f"{path}: {size} bytes that claim to be {claimed}; it was not loaded")


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every description of an object, however deep; the settings are no deeper than JSON could be read."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
            if "class_name" in value or "registered_name" in value:
                yield value
        elif isinstance(value, list):
            waiting += value


def _is_known(part: dict[str, Any]) -> bool:
    if str(part.get("registered_name")).startswith(_PACKAGE):
        return str(part.get("module")).partition(".")[0] == "ser_keras"
    return part.get("module") in _KERAS_MODULES and part.get("class_name") not in ("Lambda", "function")
