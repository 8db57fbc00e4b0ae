"""Unpack an archive of which nothing is believed: no member leaves the folder, none is a link, all have an end."""

import lzma
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from ser_keras.errors import InputError

MOST_TIMES = 20
"""An archive whose files are together larger than itself by more than this is refused; audio shrinks to a third."""

LEAST_BYTES = 2**30
"""Up to this, in bytes, it may hold any number of times itself."""

_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
    *(EOFError, RuntimeError, NotImplementedError),
)


def unpack(archive: Path, directory: Path, *, most_bytes: int | None = None) -> None:
    """Unpack a ZIP or tar file.

    Args:
        archive: the file; what it is is told by its content.
        directory: an existing folder that receives its files.
        most_bytes: of all files together; `MOST_TIMES` the archive where it is None.

    Raises:
        InputError: it is damaged, or of a kind that could do harm. It is looked through before anything
            is written.
    """
    most_bytes = most_bytes or max(MOST_TIMES * archive.stat().st_size, LEAST_BYTES)
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, directory, most_bytes)
        elif tarfile.is_tarfile(archive):
            _unpack_tar(archive, directory, most_bytes)
        else:
            raise InputError(f"{archive}: neither a ZIP nor a tar file; the server may have sent a page instead")
    except _DAMAGED as error:
        raise InputError(f"{archive}: cannot be unpacked ({error}); remove it and run the command again") from error


def _unpack_zip(archive: Path, directory: Path, most_bytes: int) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        _check_size(archive, sum(each.file_size for each in members), most_bytes)
        for each in members:
            kind = stat.S_IFMT(each.external_attr >> 16)  # 0 where it was packed on Windows
            _check_member(archive, each.filename, is_plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
        opened.extractall(directory)


def _unpack_tar(archive: Path, directory: Path, most_bytes: int) -> None:
    with tarfile.open(archive) as opened:
        members = opened.getmembers()
        _check_size(archive, sum(each.size for each in members), most_bytes)
        for each in members:
            _check_member(archive, each.name, is_plain=each.isfile() or each.isdir())
        opened.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 brought it
        opened.extractall(directory)


def _check_size(archive: Path, num_bytes: int, most_bytes: int) -> None:
    if num_bytes > most_bytes:
        raise InputError(f"{archive}: holds {num_bytes / 1e6:.0f} MB, at most {most_bytes / 1e6:.0f} MB are unpacked")


def _check_member(archive: Path, name: str, *, is_plain: bool) -> None:
    outside = any(
        path.is_absolute() or path.drive or path.root or ".." in path.parts
        for path in (PurePosixPath(name), PureWindowsPath(name))
    )
    if outside or not is_plain:
        fault = "leads out of the folder" if outside else "is neither a file nor a folder"
        raise InputError(f"{archive}: its member {name!r} {fault}; nothing was unpacked")
