"""Directories of results: created before the work, with the settings and the environment of the run."""

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ser_keras import __version__
from ser_keras.config import AudioConfig, Config, CrossvalConfig, DataConfig, ModelConfig, TrainConfig
from ser_keras.errors import InputError
from ser_keras.files import read_csv, remove_parts, write_csv, write_json

CONFIGS = {"data": DataConfig, "audio": AudioConfig, "model": ModelConfig, "training": TrainConfig}
"""The settings of a training, by their names in `config.json`."""

CROSSVAL_CONFIGS = {"crossval": CrossvalConfig, **CONFIGS}
"""The settings of a cross-validation."""

SET_BY_FOLDS = ("split", "test_fraction", "seed")
"""Fields of `DataConfig` that a cross-validation does not use: its folds and seeds replace them."""

SYNTHETIC_CORPUS = "corpus"
"""Folder in a run directory for the synthetic corpus."""

_PACKAGES = ("tensorflow", "tensorflow-io", "keras", "librosa", "numpy", "scikit-learn", "soundfile")


@contextmanager
def new_directory(directory: str | Path) -> Iterator[Path]:
    """Create a directory before the work begins; remove it at the end if it is empty.

    Yields:
        The directory, which is empty and locked.

    Raises:
        InputError: It exists and is not empty, or is a file.
    """
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"{directory}: exists already; a run is never overwritten, give another `output_dir`")
    made = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with _locked(directory):
            yield directory
    finally:
        for each in made:
            if not each.is_dir() or any(each.iterdir()):
                break
            each.rmdir()


@contextmanager
def run_directory(directory: str | Path, *, resume: bool) -> Iterator[Path]:
    """Create a directory like `new_directory`, or continue in that of an interrupted run.

    Partly written files of a killed process are removed.

    Raises:
        InputError: Without `resume` it is not empty; with it, it contains no run, or another process uses it.
    """
    directory = Path(directory)
    if not (resume and directory.is_dir()):
        with new_directory(directory):
            yield directory
        return
    names = {each.name for each in directory.iterdir() if not each.name.startswith(".")}
    if names - {SYNTHETIC_CORPUS} and "config.json" not in names:
        raise InputError(f"{directory}: holds no run that could be resumed; give another `output_dir`")
    with _locked(directory):
        remove_parts(directory)
        yield directory


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other processes out of a directory, and name it in errors of the disk that name no file."""
    lock = _lock(directory)
    try:
        yield
    except OSError as error:
        if error.filename is None:  # such as a full disk below an open file
            raise OSError(error.errno, error.strerror or str(error), str(directory)) from error
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _lock(directory: Path) -> int | None:
    """Return the handle of a lock, which ends with the process; None where locks are not available."""
    with suppress(ImportError, OSError):  # Windows, and some network disks
        import fcntl

        handle = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError as error:
            os.close(handle)
            raise InputError(f"{directory}: another process is at work in it; wait until it has ended") from error
    return None


def begin_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write the table of a run's recordings; if it exists, compare it instead.

    Args:
        path: The file.
        columns: Names of the columns, the first of which names a recording.
        rows: Values as `write_csv` accepts them.

    Raises:
        InputError: The existing table differs.
    """
    rows = [["" if value is None else str(value) for value in row] for row in rows]
    if not path.exists():
        write_csv(path, columns, rows)
    elif difference := _first_difference([list(row.values()) for row in read_csv(path)], rows):
        raise InputError(
            f"{path}: the recordings or their split have changed since the run was begun, first {difference}; "
            "bring them back, or give another output directory"
        )


def _first_difference(begun: list[list[str]], now: list[list[str]]) -> str:
    for old, new in zip(begun, now, strict=False):
        if old != new:
            return f"{old[0]}" if old[0] == new[0] else f"{old[0]}, where {new[0]} is now"
    return "" if len(begun) == len(now) else f"{len(begun)} clips, where {len(now)} are now"


def settings_of(dataset_path: Any, configs: Mapping[str, Config]) -> dict[str, Any]:
    """Return the content of a run's `config.json` as plain values."""
    return {"dataset_path": dataset_path, **{title: config.to_dict() for title, config in configs.items()}}


def write_environment(directory: Path, seconds: float) -> None:
    """Write `environment.json`: the command, the machine, the packages, and the run's time and memory."""
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
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def _peak_memory_mib() -> int | None:
    """Return the peak memory of this process; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes, or kilobytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)
