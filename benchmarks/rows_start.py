"""Rows on how long it takes to begin."""

import subprocess
import sys

from lines import Measured
from timing import medians


def import_time() -> list[Measured]:
    return _measure("-c", "import ser_keras")


def help_time() -> list[Measured]:
    return _measure("-m", "ser_keras.train", "--help")


def _measure(*arguments: str) -> list[Measured]:
    return [Measured(*medians(lambda: _python(*arguments), lambda: _python("-c", "")), "Python itself")]


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
