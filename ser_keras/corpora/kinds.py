"""What kind of file a file is, so that each one with sound is found whatever its name ends in."""

import codecs
import os
import re

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
_PICTURE_BRANDS = (b"hei", b"hev", b"mif", b"msf", b"avi")  # HEIC and AVIF share MP4's container
_NUM_BYTES = 512
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_LEAST_ASCII = 0.7  # of a text in an older encoding; samples of 8 bits have half


def kind_of_file(path: str) -> str:
    """Say what a file is: by its ending where that is one of sound, else by its first bytes.

    Args:
        path: The file; it is not opened where its ending is one of sound, so that large folders are listed quickly.

    Returns:
        "audio" for all that may hold sound, videos and unknown binary files among them (the decoder says what is
        wrong with them); "archive"; or "other" for text, pictures, tables and other data.

    Example:
        >>> kind_of_file("talk.M4A"), kind_of_file("talk.zip"), kind_of_file("talk.TextGrid")
        ('audio', 'archive', 'other')
    """
    kind = kind_of_ending(path) or _kind_of_content(path)
    return "audio" if kind == "other" and _begins_as_sound(path) else kind


def kind_of_ending(path: str) -> str | None:
    """Say what a file is by its ending alone; None where that is an unknown one."""
    return _KIND_OF_ENDING.get(os.path.splitext(path)[1].lower())  # noqa: PTH122  (100,000 files)


def _begins_as_sound(path: str) -> bool:
    """Tell whether a file begins as one with sound does, whatever its ending says."""
    try:
        if not os.path.isfile(path):  # noqa: PTH113  (a pipe would never end)
            return False
        with open(path, "rb") as file:  # noqa: PTH123
            start = file.read(16)
    except OSError:
        return False
    is_riff, is_mp4 = start[:4] in _RIFF, start[4:8] == b"ftyp" and not start[8:12].startswith(_PICTURE_BRANDS)
    return (is_riff and start[8:12] == b"WAVE") or is_mp4 or start.startswith(_SOUND)


def _kind_of_content(path: str) -> str:
    try:
        if not os.path.isfile(path):  # noqa: PTH113  (a pipe would never end, and a broken link has its reason)
            return "audio"
        with open(path, "rb") as file:  # noqa: PTH123
            start = file.read(_NUM_BYTES)
    except OSError:
        return "audio"
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
