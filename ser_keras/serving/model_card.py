"""The model card of an export: data, split protocol, score, limits, intended use.

After Mitchell et al., "Model Cards for Model Reporting", 2019.
"""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

from ser_keras.errors import InputError
from ser_keras.files import read_csv
from ser_keras.runs.reading import read_json

_EXPECTED = "a run directory of `ser-keras train`"


def read_run(run: str | Path) -> dict[str, Any]:
    """Return the facts of a run directory about its data and its score.

    Args:
        run: directory that `ser-keras train` wrote.

    Returns:
        `data` (corpora, split, seed, protocol, `is_refitted`, and the clips, speakers and emotions of each subset) and
        `metrics` (as `Report.to_dict`), plain values.

    Raises:
        InputError: a file of the run is missing or damaged.
    """
    run = Path(run)
    try:
        config, metrics = (read_json(run / name, _EXPECTED) for name in ("config.json", "metrics.json"))
        return {"data": _data(config, read_csv(run / "split.csv")), "metrics": metrics}
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}; expected {_EXPECTED}") from error
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(f"{run}: its config.json, metrics.json or split.csv is damaged ({error!r})") from error


def _data(config: dict[str, Any], rows: list[dict[str, str]]) -> dict[str, Any]:
    subsets = [_subset(name, [row for row in rows if row["subset"] == name]) for name in ("train", "val", "test")]
    return {
        "corpora": [Path(path).name for path in config["dataset_path"] or []],
        "split": config["data"]["split"],
        "seed": config["data"]["seed"],
        "is_refitted": config["training"]["refit"],
        "protocol": _protocol([set(subset["speakers"]) for subset in subsets], rows),
        "subsets": subsets,
    }


def _subset(name: str, rows: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "name": name,
        "num_clips": len(rows),
        "speakers": sorted({row["speaker"] for row in rows if row["speaker"]}),
        "emotions": Counter(row["emotion"] for row in rows),
    }


def _protocol(speakers: list[set[str]], rows: list[dict[str, str]]) -> str:
    """Tell from the clips themselves, not from the settings, whether the speakers are apart."""
    train, val, test = speakers
    if test & (train | val):
        return "speakers shared"
    return "speakers apart" if all(row["speaker"] for row in rows) else "speakers unknown"
