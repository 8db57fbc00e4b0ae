"""Fetch a file by HTTP, checked by its checksum, and go on where an earlier attempt broke off.

`pooch` compares checksums and puts a file in its place when it is whole, but begins again after an
interruption. So it gets a downloader of ours, which keeps what it has beside the file and asks for the rest
(HTTP Range). It speaks by `requests`, which pooch brings along. What came earlier counts only if the server
says that the file is still the same one (If-Range with its ETag, or its date).
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ser_keras.errors import InputError

ATTEMPTS = 5
"""How often a file is asked for before we give up; what came stays for the next run."""

TIMEOUT_SECONDS = (10, 60)
"""For a connection, and for the next byte."""

_CHUNK_BYTES = 2**14  # one that is not full when the connection breaks is lost


def fetch_file(url: str, path: Path, known_hash: str | None, *, progress: bool = True) -> str:
    """Fetch a file; one that is there already and has the right checksum is left alone.

    Args:
        url: where it is.
        path: where it goes; its folder is made. A part of it lies beside it, named ``.part``.
        known_hash: ``md5:...`` or ``sha256:...``; None where it is not known.
        progress: whether a bar is shown, on a terminal.

    Returns:
        Its checksum, as ``sha256:...``, or `known_hash`.

    Raises:
        InputError: it cannot be had, or is not the file that it should be.
        OSError: it cannot be written.
    """
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    with _one_line(url):
        pooch.retrieve(url, known_hash, path.name, path.parent, downloader=ResumingDownloader(path, progress=progress))
    return known_hash or f"sha256:{pooch.file_hash(str(path))}"


class ResumingDownloader:
    """A downloader for pooch that keeps what it has, and asks for the rest.

    Args:
        path: of the file in the end.
        progress: whether a bar is shown, on a terminal.
    """

    def __init__(self, path: Path, *, progress: bool = True):
        self._part = path.with_name(path.name + ".part")
        self._tag = path.with_name(path.name + ".part.tag")
        self._name = path.name
        self._progress = progress

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Fetch `url`, and move it to `output_file` when it is whole."""
        import requests

        for attempt in range(ATTEMPTS):
            try:
                self._fetch_rest(url)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                if attempt == ATTEMPTS - 1:
                    raise
        self._part.replace(output_file)
        self._tag.unlink(missing_ok=True)

    def _fetch_rest(self, url: str) -> None:
        import requests

        headers = {"Accept-Encoding": "identity", **self._condition()}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                self._part.unlink()  # it is no beginning of that file
                raise requests.ConnectionError("the part that was there did not fit")
            response.raise_for_status()
            start = self._part.stat().st_size if response.status_code == requests.codes.partial_content else 0
            total = _total(response, start)
            self._check_space(total, start)
            self._tag.write_text(_tag(response))
            self._append(response, start, total)
        if total is not None and self._part.stat().st_size != total:
            raise requests.ConnectionError(f"ended after {self._part.stat().st_size} of {total} bytes")

    def _condition(self) -> dict[str, str]:
        """Ask for the rest, if there is a part of which the server can say whether it still holds."""
        tag = self._tag.read_text() if self._tag.is_file() else ""
        size = self._part.stat().st_size if self._part.is_file() else 0
        return {"Range": f"bytes={size}-", "If-Range": tag} if tag and size else {}

    def _check_space(self, total: int | None, start: int) -> None:
        free = shutil.disk_usage(self._part.parent).free
        if total is not None and total - start > free:
            raise InputError(
                f"{self._part.parent}: {(total - start) / 1e6:.0f} MB to come, {free / 1e6:.0f} MB free; make room"
            )

    def _append(self, response: Any, start: int, total: int | None) -> None:
        from tqdm import tqdm

        hidden = None if self._progress else True
        with (
            self._part.open("ab" if start else "wb") as file,
            tqdm(total=total, initial=start, desc=self._name, unit="B", unit_scale=True, disable=hidden) as bar,
        ):
            for chunk in response.iter_content(_CHUNK_BYTES):
                self._write(file, chunk)
                bar.update(len(chunk))

    def _write(self, file: BinaryIO, chunk: bytes) -> None:
        try:
            file.write(chunk)
        except OSError as error:  # what requests raises is an OSError too
            raise OSError(error.errno, error.strerror, str(self._part)) from error


def _total(response: Any, start: int) -> int | None:
    length = response.headers.get("Content-Length")
    return None if length is None else start + int(length)


def _tag(response: Any) -> str:
    """Return by what the server will know the file again: a strong ETag, or its date; empty where there is neither."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


@contextmanager
def _one_line(url: str) -> Iterator[None]:
    """Say what went wrong, and what to do."""
    import requests

    try:
        yield
    except InputError:
        raise
    except requests.HTTPError as error:
        answer = f"{error.response.status_code} {error.response.reason}"
        raise InputError(f"{url}: the server answered {answer}; the file may have moved, look at its page") from error
    except requests.RequestException as error:
        raise InputError(f"{url}: broke off ({error}); run the same command again to go on") from error
    except ValueError as error:  # pooch's word for a wrong checksum; the file is gone
        raise InputError(f"{url}: {error}") from error
