"""What every directory of results has in common: made before the work, with settings and surroundings."""

import contextlib
import importlib.metadata
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_keras import __version__
from ser_keras.config import AudioConfig, Config, CrossvalConfig, DataConfig, ModelConfig, TrainConfig
from ser_keras.errors import InputError
from ser_keras.files import write_json

if TYPE_CHECKING:
    pass

CONFIGS = {"data": DataConfig, "audio": AudioConfig, "model": ModelConfig, "training": TrainConfig}
"""The settings of a training, by the name under which `config.json` holds them."""

CROSSVAL_CONFIGS = {"crossval": CrossvalConfig, **CONFIGS}
"""The settings of a cross-validation."""

SET_BY_FOLDS = ("split", "test_fraction", "seed")
"""Fields of `DataConfig` that have no say in a cross-validation: its folds and seeds have."""

_PACKAGES = ("tensorflow", "tensorflow-io", "keras", "librosa", "numpy", "scikit-learn", "soundfile")


@contextmanager
def new_directory(directory: str | Path) -> Iterator[Path]:
    """Make a directory before the work begins; take it away again if nothing came to lie in it.

    Yields:
        The directory, which is empty.

    Raises:
        InputError: it exists and is not empty, or is a file.
    """
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"{directory}: exists already; a run is never overwritten, give another --output-dir")
    made = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    try:
        yield directory
    except OSError as error:
        if error.filename is None:  # as of a full disk under a file that was open
            raise OSError(error.errno, error.strerror or str(error), str(directory)) from error
        raise
    finally:
        for each in made:
            if not each.is_dir() or any(each.iterdir()):
                break
            each.rmdir()


def settings_of(dataset_path: Any, configs: Mapping[str, Config]) -> dict[str, Any]:
    """Return what `config.json` of a run holds, as plain values."""
    return {"dataset_path": dataset_path, **{title: config.to_dict() for title, config in configs.items()}}


def write_environment(directory: Path, seconds: float) -> None:
    """Write what a run ran on and what it took: `environment.json`.

    Args:
        directory: of the run.
        seconds: that the run took.
    """
    import tensorflow as tf

    environment = {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [device.name for device in tf.config.list_logical_devices()],
        "packages": {"ser-keras": __version__, **{package: _version(package) for package in _PACKAGES}},
        "seconds": round(seconds, 1),
        "peak_memory_mib": _peak_memory_mib(),
    }
    write_json(directory / "environment.json", environment)


def _version(package: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def _peak_memory_mib() -> int:
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
