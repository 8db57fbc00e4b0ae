"""Which files are below a folder, as sorted POSIX paths relative to it."""

import os
from pathlib import Path
from typing import NamedTuple

from ser_keras.corpora.kinds import kind_of_ending, kind_of_file
from ser_keras.errors import InputError

ARCHIVE_REASON = "an archive; unpack it, or move it away"

_LOSSLESS_EXTENSIONS = (".wav", ".wave", ".flac", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64", ".sph")


class Listing(NamedTuple):
    """The files below a folder, by their kind: sorted POSIX paths relative to it.

    Attributes:
        audio: All that may hold sound; whoever reads one that does not says why.
        archives: They may hold sound files, which nobody reads there.
        others: Text, pictures, tables and other data.
    """

    audio: list[str]
    archives: list[str]
    others: list[str]


def list_files(root: Path) -> Listing:
    """List the files below a folder, hidden ones and the remains of macOS's archives aside.

    An empty folder that is called as an audio file is counts as one.
    """
    found: dict[str, list[str]] = {"audio": [], "archive": [], "other": []}
    linked = {root.resolve()}
    for folder, names, files in os.walk(root, followlinks=True, onerror=_refuse):
        names[:] = [name for name in names if not _is_hidden(name) and _is_new(Path(folder, name), linked)]
        prefix = folder[len(str(root)) :].replace(os.sep, "/").strip("/")
        if not names and not files and kind_of_ending(prefix) == "audio":
            found["audio"].append(prefix)  # a folder called x.wav: whoever reads it will say that it is no file
        for file in files:
            if not _is_hidden(file):
                kind = kind_of_file(os.path.join(folder, file))  # noqa: PTH118  (100,000 files)
                found[kind].append(f"{prefix}/{file}" if prefix else file)
    return Listing(*(sorted(files) for files in found.values()))


def find_recordings(root: Path) -> list[Path]:
    """Return every file below a folder that is sound, may be, or may hold it; each of them has an answer or a reason.

    Raises:
        InputError: None of the files may be sound.
    """
    files = list_files(root)
    if not files.audio:
        raise InputError(no_audio_message(root, files))
    return [root / file for file in sorted(files.audio + files.archives)]


def no_audio_message(root: Path, files: Listing) -> str:
    """Return what to tell of a folder without audio files."""
    expected = "expected audio files (WAV, FLAC, MP3, M4A or any other format) or a manifest.csv"
    if files.archives:
        return f"{root}: no audio files, but archives ({', '.join(files.archives[:3])}); unpack them"
    if not files.others:
        return f"{root}: an empty folder; {expected}"
    suffixes = sorted({Path(file).suffix.lower() or "no extension" for file in files.others})
    return f"{root}: {len(files.others)} files, none of them audio (found {', '.join(suffixes[:8])}); {expected}"


def group_by_folder(audio: list[str], depth: int) -> dict[str, list[str]]:
    """The files in subfolders, by the name of the subfolder at a depth."""
    folders: dict[str, list[str]] = {}
    for file in audio:
        parts = file.split("/", depth + 1)
        if len(parts) > depth + 1:
            folders.setdefault(parts[depth], []).append(file)
    return folders


def best_copy_first(file: str) -> tuple[bool, int, str]:
    """Lossless before lossy, then the least nested: archives often hold their files twice."""
    return not file.lower().endswith(_LOSSLESS_EXTENSIONS), file.count("/"), file


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be listed ({error.strerror}); make the folder readable") from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_new(folder: Path, linked: set[Path]) -> bool:
    """Whether to enter a folder: yes, unless it is a link that leads round in a circle."""
    if not folder.is_symlink():
        return True
    target = folder.resolve()
    is_new = target not in linked
    linked.add(target)
    return is_new
