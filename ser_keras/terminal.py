"""Text for a terminal: names from outside with their control characters escaped, tables, and log levels."""

import io
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line breaks, marks that turn the direction of writing, and bytes that are not UTF-8."""


def shown(text: object) -> str:
    r"""Return a text on one line, with an escape in place of each unprintable character.

    Use it before printing names from outside, such as file names: they can hold characters that clear a terminal, or
    that begin a line which looks like one of ours.

    Example:
        >>> print(shown("wipe\x1b[2J\nUAR 1.000.wav"))
        wipe\x1b[2J\nUAR 1.000.wav
    """
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def shown_lines(text: object) -> str:
    r"""Return a text of several lines, each as `shown` gives it.

    Example:
        >>> print(shown_lines("one\x07\ntwo"))
        one\x07
        two
    """
    return "\n".join(map(shown, str(text).split("\n")))


def text_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as plain text, for terminals, pipes and files alike: no colours, no wrapped cells.

    Args:
        columns: the header.
        rows: the cells; text is aligned to the left, numbers to the right and fractions have three places.

    Example:
        >>> print(text_table(("emotion", "recall", "clips"), [("sad", 0.5, 12), ("angry", 1.0, 3)]))
        emotion  recall  clips
        sad       0.500     12
        angry     1.000      3
    """
    from rich.console import Console  # here, because it takes a tenth of a second
    from rich.table import Table
    from rich.text import Text

    table, rows = Table(box=None, pad_edge=False, header_style=""), list(rows)
    for index, name in enumerate(columns):
        is_number = all(isinstance(row[index], Real) for row in rows)
        table.add_column(Text(shown(name)), justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(f"{cell:.3f}" if isinstance(cell, float) else shown(cell)) for cell in row))
    file = io.StringIO()
    Console(file=file, width=2**16, color_system=None, force_jupyter=False).print(table, soft_wrap=True)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip("\n").split("\n"))


@contextmanager
def log_level(name: str, level: int) -> Iterator[None]:
    """Set the log level of a package within a `with` block."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
