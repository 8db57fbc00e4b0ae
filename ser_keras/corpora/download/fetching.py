"""Fetch a file by HTTP, verify its checksum, and resume an interrupted download.

pooch verifies checksums and moves a complete file into place, but its HTTPDownloader starts from the beginning after
an interruption. The downloader here keeps a part beside the file and requests the rest (HTTP Range), if the server
confirms that the file is unchanged (If-Range with its ETag, or its date).
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ser_keras.errors import InputError

ATTEMPTS = 5
"""Number of requests for a file before giving up; the part stays for the next run."""

TIMEOUT_SECONDS = (10, 60)
"""For a connection, and for the next byte."""

_CHUNK_BYTES = 2**14  # one that is not full when the connection breaks is lost


def fetch_file(url: str, path: Path, known_hash: str | None, *, progress: bool = True) -> str:
    """Fetch a file, unless it exists with the right checksum.

    Args:
        url: its address.
        path: the target; its folder is made. The part is beside it and ends in ``.part``.
        known_hash: ``md5:...`` or ``sha256:...``; None if unknown.
        progress: whether to show a bar on a terminal.

    Returns:
        `known_hash`, or the checksum as ``sha256:...``.

    Raises:
        InputError: the file cannot be fetched, or its checksum is wrong.
        OSError: the file cannot be written.
    """
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    with _one_line(url):
        pooch.retrieve(url, known_hash, path.name, path.parent, downloader=ResumingDownloader(path, progress=progress))
    return known_hash or f"sha256:{pooch.file_hash(str(path))}"


class ResumingDownloader:
    """A downloader for pooch that keeps an incomplete file, and requests the rest.

    Args:
        path: the final path of the file.
        progress: whether to show a bar on a terminal.
    """

    def __init__(self, path: Path, *, progress: bool = True):
        self._part = path.with_name(path.name + ".part")
        self._tag = path.with_name(path.name + ".part.tag")
        self._name = path.name
        self._progress = progress

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Fetch `url`, and move it to `output_file` when it is complete."""
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
                self._part.unlink()  # it is no beginning of the file
                raise requests.ConnectionError("the earlier part did not fit")
            response.raise_for_status()
            start = self._part.stat().st_size if response.status_code == requests.codes.partial_content else 0
            total = _total(response, start)
            self._check_space(total, start)
            self._tag.write_text(_tag(response))
            self._append(response, start, total)
        if total is not None and self._part.stat().st_size != total:
            raise requests.ConnectionError(f"ended after {self._part.stat().st_size} of {total} bytes")

    def _condition(self) -> dict[str, str]:
        """Request the rest, if there is a part that the server can compare with its file."""
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
    """Return the strong ETag of a file, else its date; empty if there is neither."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


@contextmanager
def _one_line(url: str) -> Iterator[None]:
    """Turn errors into one line with a remedy."""
    import requests

    try:
        yield
    except InputError:
        raise
    except requests.HTTPError as error:
        status = f"{error.response.status_code} {error.response.reason}"
        raise InputError(f"{url}: the server responded {status}; the file may have moved, look at its page") from error
    except requests.RequestException as error:
        raise InputError(f"{url}: interrupted ({error}); run the same command again to continue") from error
    except ValueError as error:  # pooch found a wrong checksum and removed the file
        raise InputError(f"{url}: {error}") from error
