"""How everything here is timed: in turn, in a process of its own, on so many cores."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WARM_UPS = 2
REPEATS = 9
LEAST_SECONDS = 3.0
"""What takes milliseconds is repeated for at least so long: a median of nine would still be noise."""

_THREADS = ("OMP", "OPENBLAS", "MKL")


class CannotRunError(Exception):
    """Why a row cannot be measured here."""


def alternate(*functions: Callable[[], object], repeats: int = REPEATS) -> list[list[float]]:
    """Run functions in turn, A B A B ..., and return for each the seconds of its runs."""
    for function in functions * WARM_UPS:
        function()
    times: list[list[float]] = [[] for _ in functions]
    end = time.perf_counter() + LEAST_SECONDS
    while len(times[0]) < repeats or time.perf_counter() < end:
        for function, column in zip(functions, times, strict=True):
            column.append(seconds_of(function))
    return times


def medians(*functions: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Run functions in turn and return the median of each, in seconds."""
    return [statistics.median(column) for column in alternate(*functions, repeats=repeats)]


def seconds_of(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def limit_cores(number: int) -> None:
    """Bind this process, and what it starts, to some cores; call it before NumPy or TensorFlow is loaded."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < number:
        raise CannotRunError(f"needs {number} cores, {len(allowed)} may be used")
    os.sched_setaffinity(0, allowed[:number])
    names = [f"{library}_NUM_THREADS" for library in _THREADS]
    names += ["TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"]
    os.environ.update(dict.fromkeys(names, str(number)), CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3")
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # PyTorch's threads that spin take five times as long on a busy machine


def run_apart(script: str | Path, *arguments: str) -> Any:
    """Run a script in a fresh Python and return what it printed as JSON in its last line."""
    done = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise CannotRunError(f"failed: {said[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def reason_as_json() -> Iterator[None]:
    """Print why something cannot be measured in the form in which the measure itself would come."""
    try:
        yield
    except CannotRunError as error:
        print(json.dumps({"reason": str(error)}))


def module_or_reason(name: str, remedy: str) -> Any:
    """Import a module that not everybody has."""
    try:
        return __import__(name)
    except ImportError as error:
        raise CannotRunError(f"{name} is not installed: {remedy}") from error


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of all lies, 0 to 1."""
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]
