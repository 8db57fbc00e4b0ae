"""Unpack an untrusted archive: no member leaves the folder, none is a link, and the size is bounded.

pooch's processors rely on the standard library, which renames such members or skips them, allows links within the
folder, and sets no bound. Here a harmful archive is refused before anything is written.
"""

import lzma
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from ser_keras.errors import InputError

MOST_TIMES = 20
"""An archive is refused if its files are larger than itself by more than this factor; audio shrinks to a third."""

LEAST_BYTES = 2**30
"""Files of up to this many bytes together are unpacked whatever the factor."""

_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
    *(EOFError, RuntimeError, NotImplementedError),
)


def unpack(archive: Path, directory: Path, *, most_bytes: int | None = None) -> None:
    """Unpack a ZIP or tar file.

    Args:
        archive: the file, of any name.
        directory: an existing folder that receives its files.
        most_bytes: of all files together; `MOST_TIMES` the archive where it is None.

    Raises:
        InputError: the archive is damaged or harmful. Harmful ones are refused before anything is written.
    """
    most_bytes = most_bytes or max(MOST_TIMES * archive.stat().st_size, LEAST_BYTES)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                members = [(each.filename, each.file_size, _is_plain(each)) for each in opened.infolist()]
                _check(archive, members, most_bytes)
                opened.extractall(directory)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as opened:
                members = [(each.name, each.size, each.isfile() or each.isdir()) for each in opened]
                _check(archive, members, most_bytes)
                opened.extraction_filter = getattr(tarfile, "data_filter", None)  # new in Python 3.11.4
                opened.extractall(directory)
        else:
            raise InputError(f"{archive}: neither a ZIP nor a tar file; the server may have sent a page instead")
    except _DAMAGED as error:
        raise InputError(f"{archive}: cannot be unpacked ({error}); remove it and run the command again") from error


def _is_plain(member: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where it was packed on Windows
    return kind in (0, stat.S_IFREG, stat.S_IFDIR)


def _check(archive: Path, members: list[tuple[str, int, bool]], most_bytes: int) -> None:
    num_bytes = sum(size for _, size, _ in members)
    if num_bytes > most_bytes:
        raise InputError(f"{archive}: holds {num_bytes / 1e6:.0f} MB, at most {most_bytes / 1e6:.0f} MB are unpacked")
    for name, _, is_plain in members:
        paths = (PurePosixPath(name), PureWindowsPath(name))
        if any(path.is_absolute() or path.drive or path.root or ".." in path.parts for path in paths):
            raise InputError(f"{archive}: its member {name!r} leads out of the folder; nothing was unpacked")
        if not is_plain:
            raise InputError(f"{archive}: its member {name!r} is neither a file nor a folder; nothing was unpacked")
