"""The files below a folder by kind: audio, archives and others, as sorted POSIX paths relative to it.

A file's ending decides first; its first bytes decide where the ending is not that of audio.
"""

import codecs
import os
import re
from pathlib import Path
from typing import NamedTuple

from ser_keras.errors import InputError

ARCHIVE_REASON = "an archive; unpack it, or move it away"

_ENDINGS = {
    "audio": "wav wave flac mp3 ogg oga opus spx aif aiff aifc au snd caf w64 rf64 sph voc amr awb aac m4a m4b mka wma"
    " webm mp4 m4v mov mkv avi 3gp 3g2 wmv flv ogv mpg mpeg",
    "archive": "zip tar gz tgz bz2 tbz xz txz zst 7z rar",
    "other": "txt md rst csv tsv json jsonl xml yaml yml toml ini cfg log html htm tex bib rtf"
    " pdf doc docx odt ppt pptx xls xlsx ods lab textgrid eaf trs cha ctm stm rttm phn wrd srt vtt arff"
    " png jpg jpeg gif bmp svg webp tif tiff ico heic eps"
    " npy npz mat pkl pickle h5 hdf5 parquet arrow feather db sqlite md5 sha1 sha256 py pyc ipynb",
}
_KIND_OF_ENDING = {f".{ending}": kind for kind, endings in _ENDINGS.items() for ending in endings.split()}

_STARTS = {
    "audio": (b"NIST_1A",),  # SPHERE, whose header is text
    "archive": (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd"),
    "other": (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"%PDF", b"\x93NUMPY", b"\x89HDF", b"\xff\xfe", b"\xfe\xff"),
}
_RIFF = (b"RIFF", b"RF64", b"BW64")
_SOUND = (b"fLaC", b"OggS", b"ID3", b"\x1aE\xdf\xa3", b"#!AMR", b"caff", b".snd")
_PICTURE_BRANDS = (b"hei", b"hev", b"mif", b"msf", b"avi")  # HEIC and AVIF use MP4's container
_NUM_BYTES = 512
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_LEAST_ASCII = 0.7  # share in a text of an older encoding; 8-bit samples have about half


class Listing(NamedTuple):
    """The files below a folder by kind: sorted POSIX paths relative to it."""

    audio: list[str]
    archives: list[str]
    others: list[str]


def list_files(root: Path) -> Listing:
    """List the files below a folder, without hidden files and the metadata of macOS archives.

    An empty folder with the name of an audio file counts as one, so that its reader reports it.
    """
    found: dict[str, list[str]] = {"audio": [], "archive": [], "other": []}
    visited = {root.resolve()}
    for folder, names, files in os.walk(root, followlinks=True, onerror=_refuse):
        names[:] = [name for name in names if not _is_hidden(name) and _is_new(Path(folder, name), visited)]
        prefix = folder[len(str(root)) :].replace(os.sep, "/").strip("/")
        if not names and not files and _kind_of_ending(prefix) == "audio":
            found["audio"].append(prefix)
        for file in files:
            if not _is_hidden(file):
                kind = kind_of_file(os.path.join(folder, file))  # noqa: PTH118  (100,000 files)
                found[kind].append(f"{prefix}/{file}" if prefix else file)
    return Listing(*(sorted(files) for files in found.values()))


def find_recordings(root: Path) -> list[Path]:
    """Return all audio files and archives below a folder, sorted.

    Raises:
        InputError: There is no audio file.
    """
    files = list_files(root)
    if not files.audio:
        raise InputError(no_audio_message(root, files))
    return [root / file for file in sorted(files.audio + files.archives)]


def no_audio_message(root: Path, files: Listing) -> str:
    """Return the error message for a folder without audio files."""
    expected = "expected audio files (WAV, FLAC, MP3, M4A or any other format) or a manifest.csv"
    if files.archives:
        return f"{root}: no audio files, but archives ({', '.join(files.archives[:3])}); unpack them"
    if not files.others:
        return f"{root}: an empty folder; {expected}"
    suffixes = sorted({Path(file).suffix.lower() or "no extension" for file in files.others})
    return f"{root}: {len(files.others)} files, none of them audio (found {', '.join(suffixes[:8])}); {expected}"


def kind_of_file(path: str) -> str:
    """Return "audio", "archive" or "other"; a file with the ending of audio is not opened.

    "audio" includes videos and unknown binary files, which the decoder rejects with a reason.

    Example:
        >>> kind_of_file("talk.M4A"), kind_of_file("talk.zip"), kind_of_file("talk.TextGrid")
        ('audio', 'archive', 'other')
    """
    kind = _kind_of_ending(path)
    if kind in ("audio", "archive"):
        return kind
    try:
        if not os.path.isfile(path):  # noqa: PTH113  (opening a pipe would block; the decoder reports a broken link)
            return kind or "audio"
        with open(path, "rb") as file:  # noqa: PTH123
            start = file.read(_NUM_BYTES)
    except OSError:
        return kind or "audio"
    return "audio" if _begins_as_sound(start) else kind or _kind_of_content(start)


def _kind_of_ending(path: str) -> str | None:
    return _KIND_OF_ENDING.get(os.path.splitext(path)[1].lower())  # noqa: PTH122  (100,000 files)


def _begins_as_sound(start: bytes) -> bool:
    is_wave = start[:4] in _RIFF and start[8:12] == b"WAVE"
    is_mp4 = start[4:8] == b"ftyp" and not start[8:12].startswith(_PICTURE_BRANDS)
    return is_wave or is_mp4 or start.startswith(_SOUND)


def _kind_of_content(start: bytes) -> str:
    known = next((kind for kind, starts in _STARTS.items() if start.startswith(starts)), None)
    return known or ("other" if _is_text(start) else "audio")


def _is_text(start: bytes) -> bool:
    if not start or _CONTROL.search(start):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
        return True
    except UnicodeDecodeError:
        return sum(byte < 128 for byte in start) >= _LEAST_ASCII * len(start)


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be listed ({error.strerror}); make the folder readable") from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_new(folder: Path, visited: set[Path]) -> bool:
    """Return whether to enter a folder: not if it is a link to a folder that is listed already."""
    if not folder.is_symlink():
        return True
    target = folder.resolve()
    is_new = target not in visited
    visited.add(target)
    return is_new
