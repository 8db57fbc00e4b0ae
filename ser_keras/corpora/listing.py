"""Which files lie below a folder, as sorted POSIX paths relative to it."""

import os
from pathlib import Path

from ser_keras.errors import InputError

AUDIO_EXTENSIONS = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc")

_LOSSY_EXTENSIONS = (".mp3", ".ogg", ".oga", ".opus")


def list_files(root: Path) -> tuple[list[str], list[str]]:
    """The audio files and the other files below a folder: sorted POSIX paths relative to it.

    An empty folder that is called as an audio file is counts as one.
    """
    audio, others, linked = [], [], {root.resolve()}
    for folder, names, files in os.walk(root, followlinks=True, onerror=_refuse):
        names[:] = [name for name in names if not _is_hidden(name) and _is_new(Path(folder, name), linked)]
        prefix = folder[len(str(root)) :].replace(os.sep, "/").strip("/")
        if prefix and not names and not files and _is_audio(prefix):
            audio.append(prefix)  # a folder called x.wav: whoever reads it will say that it is no file
        for file in files:
            if not _is_hidden(file):
                (audio if _is_audio(file) else others).append(f"{prefix}/{file}" if prefix else file)
    return sorted(audio), sorted(others)


def no_audio_message(root: Path, others: list[str]) -> str:
    """Return what to tell of a folder without audio files, of which `others` are the other files."""
    expected = f"expected audio files ({', '.join(AUDIO_EXTENSIONS)}) or a manifest.csv"
    if not others:
        return f"{root}: an empty folder; {expected}"
    suffixes = sorted({Path(file).suffix.lower() or "no extension" for file in others})
    return f"{root}: {len(others)} files, none of them audio (found {', '.join(suffixes[:8])}); {expected}"


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
    return file.lower().endswith(_LOSSY_EXTENSIONS), file.count("/"), file


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be listed ({error.strerror}); make the folder readable") from error


def _is_audio(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in AUDIO_EXTENSIONS  # noqa: PTH122  (100,000 files)


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
