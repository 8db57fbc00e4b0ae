"""Write files whole or not at all: a reader never meets a half-written one.

Tables go through `write_csv` and come back through `read_csv`. A spreadsheet takes a cell that begins with
``=``, ``+``, ``-`` or ``@`` for a formula, and runs it: a file name or a label could then do what its author
likes. So each text that begins so, as a whole or behind a ``;``, a tab or a line break (where some
spreadsheets begin a new cell), gets an apostrophe in front, and so does one that begins with an apostrophe.
`read_csv` takes one apostrophe from each of these places, and every text is as it was. Numbers stay as they
are, the negative ones too.
"""

import csv
import io
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from numbers import Number
from pathlib import Path
from typing import Any

from ser_keras.errors import InputError

_CELL_START = r"(?<![^;\t\r\n])"  # of a text, or behind what parts cells in some country's spreadsheet
_FORMULA = re.compile(_CELL_START + "(?=['=+@\\-\uff1d\uff0b\uff20\uff0d])")  # the last four are those signs, wide
_APOSTROPHE = re.compile(_CELL_START + "'")


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename what was written there when all went well.

    Args:
        path: the file to make or replace.

    Yields:
        A path in the same folder with the same ending.

    Raises:
        OSError: the disk is full or may not be written; it names `path`, which is as it was.
    """
    path = Path(path)
    part = path.with_name(f".{secrets.token_hex(8)}.part{path.suffix}")  # threads, and containers, share process ids
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with suppress(OSError):  # a disk that became read-only refuses this too
            part.unlink()


@contextmanager
def whole_directory(directory: str | Path) -> Iterator[Path]:
    """Give a temporary folder, and rename it to `directory` when all went well.

    Yields:
        A folder beside `directory`.

    Raises:
        InputError: `directory` exists, or cannot be written; it is not there then.
    """
    directory = Path(directory)
    if directory.exists():
        raise InputError(f"{directory}: exists already; give another directory")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{directory.name}-", dir=directory.parent) as scratch:
            part = Path(scratch, "part")
            part.mkdir()
            yield part
            part.rename(directory)
    except OSError as error:
        blame_disk(error, directory)
        raise


def blame_disk(error: OSError, directory: str | Path) -> None:
    """Raise the error of a directory that cannot be written, unless `error` is another's.

    That is one without a number, as of a network, or of a file that lies elsewhere.

    Raises:
        InputError: it came of writing `directory`, or the folders around it.
    """
    target = Path(directory).absolute()
    place = target if error.filename is None else Path(os.fsdecode(error.filename)).absolute()
    if error.errno is not None and (place == target or place in target.parents or target.parent in place.parents):
        raise InputError(
            f"{directory}: cannot be written ({error.strerror or error}); give another directory"
        ) from error


def remove_parts(directory: str | Path) -> None:
    """Take away what processes that were killed had half written anywhere in a directory."""
    for part in Path(directory).rglob(".*.part*"):
        part.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file."""
    with whole_file(path) as part:
        part.write_bytes(content)


def write_json(path: str | Path, value: Any) -> None:
    """Write a value of plain types as indented JSON; bytes of a path that are no UTF-8 become escapes."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as CSV with a header line; no cell of it is a formula to a spreadsheet.

    Args:
        path: the file to make or replace.
        columns: names of the columns.
        rows: numbers, texts, or what `str` makes a text of; None is an empty cell.
    """
    text = io.StringIO()
    writer = csv.writer(text)  # lines end with "\r\n": before Python 3.13 a lone "\r" is quoted only then
    writer.writerows([without_formula(cell) for cell in row] for row in (columns, *rows))
    write_bytes(path, text.getvalue().encode(errors="surrogateescape"))


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """Return the rows of a table that `write_csv` wrote, every text as it was given there.

    Raises:
        OSError: there is no such file, or no right to read it.
        InputError: a row has more or fewer cells than the header.
    """
    with Path(path).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        columns, *rows = [[_APOSTROPHE.sub("", cell) for cell in row] for row in csv.reader(file)] or [[]]
    if wrong := next((number for number, row in enumerate(rows, start=1) if len(row) != len(columns)), None):
        raise InputError(
            f"{path}: row {wrong} has {len(rows[wrong - 1])} cells, the header {len(columns)}; write the file anew"
        )
    return [dict(zip(columns, row, strict=True)) for row in rows]


def without_formula(cell: Any) -> Any:
    """Return a cell of a table with an apostrophe in front where a spreadsheet would take it for a formula."""
    return cell if cell is None or isinstance(cell, Number) else _FORMULA.sub("'", str(cell))
