"""Output of the verbs.

A verb prints remarks to standard output, and results (predictions, a list) to `options.results`. The package's log goes
to standard error. With `--quiet` neither remarks nor messages at the level INFO are printed; with `--json` remarks go
to standard error, and the result that the verb returns is one JSON value, alone on standard output.
"""

import contextlib
import json
import logging
import math
import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from ser_keras.terminal import log_level


class Outcome(NamedTuple):
    """Outcome of a verb.

    Attributes:
        result: plain values for `--json`.
        exit_code: 0, or 1 if some files could not be used.
    """

    result: Any = None
    exit_code: int = 0


@contextmanager
def output_of(options: Namespace) -> Iterator[None]:
    """Redirect the output of a verb; `options.results` becomes the stream of its results."""
    options.results = sys.stdout
    with ExitStack() as stack:
        stack.enter_context(log_level("ser_keras", logging.WARNING if options.quiet else logging.INFO))
        if options.quiet:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(Path(os.devnull).open("w"))))
            stack.enter_context(contextlib.redirect_stderr(_NoTerminal(sys.stderr)))
        elif options.json:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def print_result(outcome: Outcome, options: Namespace) -> None:
    """Print the result of a verb with `--json`."""
    if options.json:
        print(json.dumps(plain(outcome.result), indent=2, ensure_ascii=False), file=options.results)


def plain(value: Any) -> Any:
    """Return plain values for JSON: no NaN, no tuples, no paths.

    Example:
        >>> plain({"folder": Path("a"), "recalls": (1.0, math.nan)})
        {'folder': 'a', 'recalls': [1.0, None]}
    """
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def paint(text: str, colour: str, stream: TextIO) -> str:
    """Colour a text on a terminal, unless the user wants no colours (https://no-color.org).

    Args:
        text: one line.
        colour: ``red`` or ``yellow``.
        stream: that it is printed to.
    """
    is_wanted = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{ {'red': 31, 'yellow': 33}[colour] }m{text}\x1b[0m" if is_wanted else text


class _NoTerminal:
    """A stream without progress bars."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def isatty(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
