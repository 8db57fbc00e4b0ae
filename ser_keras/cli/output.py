"""What a verb prints, and where: one rule for all.

A verb prints its remarks to standard output, and what it was asked for (the answers of `predict`, a list) to
`options.results`. What was understood of the data, the package's log at the level INFO, goes to standard error. With
`--quiet` neither remarks nor this log are printed; with `--json` the remarks go to standard error too, and the result
that the verb returns is printed as one JSON value, alone on standard output.
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
    """How a verb ended.

    Attributes:
        result: plain values for `--json`.
        exit_code: 0, or 1 where some files could not be used.
    """

    result: Any = None
    exit_code: int = 0


@contextmanager
def output_of(options: Namespace) -> Iterator[None]:
    """Lead what a verb prints to where it belongs; `options.results` becomes the stream of its answers."""
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
    """Print the result of a verb, if it was asked for as JSON."""
    if options.json:
        print(json.dumps(plain(outcome.result), indent=2, ensure_ascii=False), file=options.results)


def plain(value: Any) -> Any:
    """Return values that JSON has: no NaN, no tuples, no paths.

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
    """Colour a text where it is read on a terminal, and the reader wants colours (https://no-color.org).

    Args:
        text: one line.
        colour: ``red`` or ``yellow``.
        stream: where it will be printed.
    """
    is_wanted = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{ {'red': 31, 'yellow': 33}[colour] }m{text}\x1b[0m" if is_wanted else text


class _NoTerminal:
    """A stream on which nobody draws progress bars."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def isatty(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
