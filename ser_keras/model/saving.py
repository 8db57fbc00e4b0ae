"""Save and load a model; only plain settings and arrays are read from its `.keras` file.

Such a file is a ZIP archive: settings from which Keras builds objects by the names of their classes, and an
array for each weight. `keras.models.load_model` builds any object that the settings name, and some of Keras's own
layers read other files. Here nothing is built by name: the settings have to be those of a `ParallelModel`, which are
plain values, and `load_model` passes them to its `from_config`. Settings of `compile` are ignored.
"""

import json
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from ser_keras.errors import InputError
from ser_keras.files import whole_file
from ser_keras.model.parallel_model import ParallelModel
from ser_keras.runs.reading import read_json

_MODEL = "ser_keras>ParallelModel"
_WEIGHTS = "model.weights.h5"
_MEMBERS = ["config.json", "metadata.json", _WEIGHTS]
_NAMES = ("class_name", "registered_name", "module")
"""Keys by which Keras finds a class."""
_LARGEST_RATIO = 20
"""Keras stores without compression; archives packed again shrink a little, zip bombs by 1,000."""


def save_model(model: keras.Model, path: str | Path) -> None:
    """Save a model as a `.keras` file, completely or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    if getattr(model, "has_workers", False):
        model = model.copy()  # Keras would save the metrics, which this process cannot read without the others
    with whole_file(path) as part:
        model.save(part)


def load_model(path: str | Path) -> ParallelModel:
    """Load a model that `save_model` or `ser-keras train` wrote.

    Args:
        path: a ``.keras`` file, or a run directory with a ``model.keras``.

    Raises:
        InputError: there is no such file, it is damaged, it holds another kind of model, or a newer version
            of this package wrote the run directory.

    Example:
        ```python
        model = load_model("runs/ravdess")
        ```
    """
    path = Path(path)
    if path.is_dir():
        if (path / "config.json").exists():
            read_json(path / "config.json", "a run directory of `ser-keras train`")
        path = path / "model.keras"
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a .keras file or a run directory of `ser-keras train`")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        settings, weights = unpack_model_file(path, Path(folder))
        try:
            model = ParallelModel.from_config(settings)
            model.load_weights(weights)
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            reason = str(error).strip().split("\n")[0]
            raise InputError(f"{path}: cannot be loaded ({reason}); expected a model that save_model wrote") from error
    return model


def unpack_model_file(path: Path, folder: Path) -> tuple[dict[str, Any], Path]:
    """Unpack a `.keras` file of a `ParallelModel`.

    Args:
        path: the `.keras` file.
        folder: where the weights are extracted.

    Returns:
        The arguments of `ParallelModel.from_config`, and the path of the weights.

    Raises:
        InputError: it is no ZIP archive, has members of other names or impossible sizes, or its settings
            are not the plain values of a `ParallelModel`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive.infolist())
            settings = _model_settings(path, json.loads(archive.read("config.json")))
            return settings, Path(archive.extract(_WEIGHTS, folder))
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


def _model_settings(path: Path, description: Any) -> dict[str, Any]:
    """Return the settings of a model from Keras's description, if they contain no other object."""
    is_ours = isinstance(description, dict) and description.get("registered_name") == _MODEL
    settings = description.get("config") if is_ours else None
    if not isinstance(settings, dict):
        raise InputError(f"{path}: holds a {_name(description)}; expected a ParallelModel; it was not loaded")
    for value in _dictionaries(settings):
        if any(name in value for name in _NAMES):
            raise InputError(
                f"{path}: its settings hold a {_name(value)}; those of a ParallelModel are plain values; "
                "it was not loaded"
            )
    return settings


def _name(value: Any) -> str:
    if not isinstance(value, dict):
        return type(value).__name__
    return f"{value.get('module')}.{value.get('class_name')}"[:100]


def _dictionaries(settings: Any) -> Iterator[dict[str, Any]]:
    """Yield every dictionary at any depth, without recursion."""
    waiting = [settings]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
