"""Write files completely or not at all.

Tables are CSV as RFC 4180 defines it, and every cell contains the true value. A spreadsheet runs a cell that begins
with ``=``, ``+``, ``-`` or ``@`` as a formula; see docs/reliability.md for a safe way to open a table of unknown file
names.
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
    """Yield a temporary path in the same folder with the same extension, and rename it to `path` on success.

    Raises:
        OSError: The disk is full or not writable; the error names `path`, which is unchanged.
    """
    path = Path(path)
    part = path.with_name(f".{secrets.token_hex(8)}.part{path.suffix}")  # threads and containers share process ids
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
    """Yield a temporary folder, and rename it to `directory` on success.

    Raises:
        InputError: `directory` exists, or cannot be written.
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
    """Raise the error of a directory that cannot be written, if `error` is about it or the folders around it.

    Errors without a number, such as those of a network, are about something else.

    Raises:
        InputError: The directory cannot be written.
    """
    target = Path(directory).absolute()
    place = target if error.filename is None else Path(os.fsdecode(error.filename)).absolute()
    if error.errno is not None and (place == target or place in target.parents or target.parent in place.parents):
        raise InputError(
            f"{directory}: cannot be written ({error.strerror or error}); give another directory"
        ) from error


def remove_parts(directory: str | Path) -> None:
    """Remove the partly written files of killed processes anywhere in a directory."""
    for part in Path(directory).rglob(".*.part*"):
        part.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file."""
    with whole_file(path) as part:
        part.write_bytes(content)


def write_json(path: str | Path, value: Any) -> None:
    """Write plain values as indented JSON; bytes of a path that are no UTF-8 become escapes."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as CSV (RFC 4180) with a header line.

    Args:
        path: The file to create or replace.
        columns: Names of the columns.
        rows: Values that are written by `str`; None becomes an empty cell.
    """
    text = io.StringIO()
    csv.writer(text).writerows((columns, *rows))  # Python before 3.13 quotes a lone "\r" only if lines end with "\r\n"
    write_bytes(path, text.getvalue().encode(errors="surrogateescape"))


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """Return the rows of a CSV table with a header line, each cell as text.

    Raises:
        OSError: The file does not exist or is not readable.
        InputError: A row has more or fewer cells than the header.
    """
    with Path(path).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        columns, *rows = list(csv.reader(file)) or [[]]
    if wrong := next((number for number, row in enumerate(rows, start=1) if len(row) != len(columns)), None):
        raise InputError(
            f"{path}: row {wrong} has {len(rows[wrong - 1])} cells, the header {len(columns)}; write the file anew"
        )
    return [dict(zip(columns, row, strict=True)) for row in rows]
