"""`make bench`: how fast we are beside what a user would take instead.

Every row is measured in a fresh process on its number of cores; both sides run there in turn, on the same
cores, and their medians are compared. The table goes to the terminal, the figures to
benchmarks/results.json. Rows that need recordings look for `ravdess` and `emodb` in the folder named by
SER_KERAS_DATA, and take the synthetic corpus without. Some rows only:

    python benchmarks/bench.py --only log-mel step
"""

import argparse
import importlib
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lines import HEADER, Measured, as_text, cells, result
from rows import ROWS, Row
from timing import CannotRunError, limit_cores, reason_as_json, run_apart

RESULTS = Path(__file__).with_name("results.json")
PACKAGES = ("tensorflow", "keras", "numpy", "librosa", "soundfile", "soxr", "torch")


def main() -> None:
    options = _options()
    if options.row:
        with reason_as_json():
            print(json.dumps([asdict(measured) for measured in measure(ROWS[options.row])]))
        return
    described = machine()
    print(*(f"{name}: {value}" for name, value in described.items()), "", as_text(HEADER), sep="\n")
    results = {name: run_row(name) for name in options.only or ROWS}
    if not options.only:
        RESULTS.write_text(json.dumps({"machine": described, "rows": results}, indent=2) + "\n")


def measure(row: Row) -> Sequence[Measured]:
    """Measure a row in this process."""
    limit_cores(row.cores)
    module, function = row.function.split(":")
    return getattr(importlib.import_module(module), function)()


def run_row(name: str) -> list[dict[str, Any]]:
    """Measure a row in a process of its own, print its lines and return them."""
    row, reason = ROWS[name], ""
    try:
        answer = run_apart(__file__, "--row", name)
        reason = answer["reason"] if isinstance(answer, dict) else ""
    except CannotRunError as error:
        reason = str(error)
    measured = [None] * len(row.targets) if reason else [Measured(**values) for values in answer]
    pairs = zip(row.targets, measured, strict=True)
    lines = [result(target, values, cores=row.cores, reason=reason) for target, values in pairs]
    print(*(as_text(cells(line)) for line in lines), sep="\n", flush=True)
    return lines


def machine() -> dict[str, str]:
    """Describe where this runs; the load tells whether other work disturbed it."""
    packages = ", ".join(f"{name} {number}" for name in PACKAGES if (number := _version(name)))
    return {
        "machine": f"{_processor()}, {len(os.sched_getaffinity(0))} cores may be used",
        "load at the start": f"{os.getloadavg()[0]:.1f}",
        "versions": f"Python {platform.python_version()}, {packages}",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure ser_keras beside its alternatives.")
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"some rows only: {', '.join(ROWS)}")
    parser.add_argument("--row", choices=ROWS, help="measure one row here and print it as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
