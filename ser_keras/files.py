"""Write files whole or not at all: a reader never meets a half-written one."""

import csv
import io
import json
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
        raise InputError(
            f"{directory}: cannot be written ({error.strerror or error}); give another directory"
        ) from error


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file."""
    with whole_file(path) as part:
        part.write_bytes(content)


def write_json(path: str | Path, value: Any) -> None:
    """Write a value of plain types as indented JSON; bytes of a path that are no UTF-8 become escapes."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as CSV with a header line."""
    text = io.StringIO()
    writer = csv.writer(text)  # lines end with "\r\n": before Python 3.13 a lone "\r" is quoted only then
    writer.writerow(columns)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode(errors="surrogateescape"))
