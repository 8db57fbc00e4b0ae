"""Write files whole or not at all: a reader never meets a half-written one.

Tables are CSV as RFC 4180 defines it, and every cell holds the true value, so that any program finds a path
again by what is in the table. A spreadsheet runs a cell that begins with ``=``, ``+``, ``-`` or ``@`` as a
formula: docs/reliability.md says how to open a table of unknown file names safely.
"""

import csv
import io
import json
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ser_keras.errors import InputError


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
    """Write a table as CSV (RFC 4180) with a header line.

    Args:
        path: the file to make or replace.
        columns: names of the columns.
        rows: numbers, texts, or what `str` makes a text of; None is an empty cell.
    """
    text = io.StringIO()
    writer = csv.writer(text)  # lines end with "\r\n": before Python 3.13 a lone "\r" is quoted only then
    writer.writerows((columns, *rows))
    write_bytes(path, text.getvalue().encode(errors="surrogateescape"))


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """Return the rows of a CSV table with a header line, each cell as text.

    Raises:
        OSError: there is no such file, or no right to read it.
        InputError: a row has more or fewer cells than the header.
    """
    with Path(path).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        columns, *rows = list(csv.reader(file)) or [[]]
    if wrong := next((number for number, row in enumerate(rows, start=1) if len(row) != len(columns)), None):
        raise InputError(
            f"{path}: row {wrong} has {len(rows[wrong - 1])} cells, the header {len(columns)}; write the file anew"
        )
    return [dict(zip(columns, row, strict=True)) for row in rows]
