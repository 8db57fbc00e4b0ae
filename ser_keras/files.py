"""Write files whole or not at all: a reader never meets a half-written one."""

import csv
import io
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to a temporary name beside `path`, then rename it.

    Raises:
        OSError: the disk is full or may not be written; `path` is as it was.
    """
    path = Path(path)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        part = Path(file.name)
    try:
        part.write_bytes(content)
        part.chmod(0o644)
        part.replace(path)  # closed by now: Windows renames no open file
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_json(path: str | Path, value: Any) -> None:
    """Write a value of plain types as indented JSON."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode(errors="surrogateescape"))


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as CSV with a header line."""
    text = io.StringIO()
    writer = csv.writer(text)  # lines end with "\r\n": before Python 3.13 a lone "\r" is quoted only then
    writer.writerow(columns)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode(errors="surrogateescape"))
