"""What gets onto a terminal: names from outside, which may not steer it, and few of TensorFlow's remarks."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line breaks, what turns the direction of writing, and bytes that are no UTF-8."""


def shown(text: object) -> str:
    r"""Return a text on one line, with an escape in place of each character that is no text.

    Use it on whatever others chose, such as file names, before it is printed: a file may be named with the
    characters that clear a terminal, or that begin a line which looks like one of ours.

    Example:
        >>> print(shown("wipe\x1b[2J\nUAR 1.000.wav"))
        wipe\x1b[2J\nUAR 1.000.wav
    """
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def shown_lines(text: object) -> str:
    r"""Return a text of several lines, with each as `shown` gives it.

    Example:
        >>> print(shown_lines("one\x07\ntwo"))
        one\x07
        two
    """
    return "\n".join(map(shown, str(text).split("\n")))


@contextmanager
def log_level(name: str, level: int) -> Iterator[None]:
    """Let a package log from this level of `logging` on, within a `with` block."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
