"""The workers of a training on several machines, read from the environment without TensorFlow.

TensorFlow's own convention: the environment variable ``TF_CONFIG`` holds JSON that is the same on all machines but
for ``index``::

    {"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}
"""

import json
import os
from dataclasses import dataclass
from typing import Any

from ser_keras.errors import InputError

VARIABLE = "TF_CONFIG"
EXAMPLE = '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """The workers of a training, and the index of this process among them.

    Attributes:
        workers: host and port of each, the chief first.
        index: of this process in `workers`.

    Example:
        >>> Cluster(("host0:12345", "host1:12345"), 1).is_chief
        False
    """

    workers: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the results; the others write nothing."""
        return self.index == 0

    @classmethod
    def from_environment(cls) -> "Cluster":
        """Read ``TF_CONFIG``.

        Raises:
            InputError: it is missing, is no JSON, or names no such worker.
        """
        text = os.environ.get(VARIABLE)
        if not text:
            raise InputError(f"{VARIABLE} is not set: with several workers each needs it, such as {EXAMPLE}")
        try:
            return cls._of(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{VARIABLE}={text}: {_reason(error)}; expected a value such as {EXAMPLE}") from error

    @classmethod
    def _of(cls, config: dict[str, Any]) -> "Cluster":
        jobs, task = config["cluster"], config["task"]
        if strange := sorted({*jobs, task["type"]} - {"chief", "worker"}):
            raise ValueError(f"{', '.join(strange)}: not a task of this training")
        sizes = {job: len(jobs.get(job, ())) for job in ("chief", "worker")}
        index = int(task["index"])
        if not 0 <= index < sizes[task["type"]]:
            raise ValueError(f"there is no {task['type']} {index}")
        workers = (*jobs.get("chief", ()), *jobs.get("worker", ()))
        return cls(tuple(map(str, workers)), index + (sizes["chief"] if task["type"] == "worker" else 0))


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
