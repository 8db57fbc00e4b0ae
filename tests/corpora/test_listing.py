"""Which files of a folder are audio: by their ending, else by their content."""

import os

import pytest

from ser_keras.corpora import scan_corpus
from ser_keras.corpora.listing import ARCHIVE_REASON, find_recordings, kind_of_file, list_files
from ser_keras.errors import InputError

TEXTS = {
    "notes": b"Recorded in May.\n",
    "turn.lablaut": "0.1 ä ö\n".encode(),
    "turn.old": "0.1 über die Straße\n".encode("latin-1"),
    "turn.wide": "0.1 ä".encode("utf-16"),
    "picture": b"\x89PNG\r\n\x1a\n\0\0",
    "photo.orig": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "paper.bak": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3",
}
SOUNDS = {
    "no_ending": b"RIFF\x24\0\0\0WAVEfmt ",
    "talk.take2": b"OggS\0\x02",
    "talk.xyz": b"\0\0\0\x20ftypM4A ",
    "talk.v1.mp3x": b"\xff\xfb\x90\x64\0\x0f",
    "sphere": b"NIST_1A\n   1024\nsample_count -i 16000\n",
    "unknown.bin": bytes(range(256)),
    "empty.xyz": b"",
    "samples.raw": bytes((0x80, 0x7F, 0xD5, 0xFE, 0xFF)) * 200,
}
ARCHIVES = {"data.zip": b"", "data.tar.gz": b"", "download": b"PK\x03\x04\x14\0", "more.part": b"\x1f\x8b\x08\0"}


def fill(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def names(folder, kind):
    return set(getattr(list_files(folder), kind))


@pytest.mark.parametrize("ending", ["m4a", "webm", "MOV", "flac"])
def test_recordings_of_phones_and_browsers_are_audio_and_are_not_opened(ending):
    assert kind_of_file(f"/nowhere/talk.{ending}") == "audio"


@pytest.mark.parametrize(("kind", "files"), [("audio", SOUNDS), ("others", TEXTS), ("archives", ARCHIVES)])
def test_a_file_of_an_unknown_ending_is_audio_unless_its_first_bytes_are_something_else(tmp_path, kind, files):
    assert names(fill(tmp_path, files), kind) == set(files)


def test_a_text_that_is_called_as_audio_stays_for_the_decoder_to_refuse(tmp_path):
    assert names(fill(tmp_path, {"talk.wav": b"<!DOCTYPE html>"}), "audio") == {"talk.wav"}


def test_no_folder_is_a_recording_unless_it_is_called_as_one(tmp_path):
    for name in ("take 1.5", "empty", "odd.wav"):
        (tmp_path / name).mkdir()
    assert names(tmp_path, "audio") == {"odd.wav"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.xyz")
    assert names(tmp_path, "audio") == {"pipe.xyz"}


def test_a_class_whose_files_have_unusual_endings_is_a_class(tmp_path):
    fill(tmp_path / "happy", {"a.m4a": b"", "b.webm": b"", "c": b"OggS\0"})
    fill(tmp_path / "sad", {"a.wav": b"", "b.TextGrid": b"", "b.words": b"ach\n"})
    scan = scan_corpus(tmp_path)
    assert [(each.path.name, each.emotion) for each in scan.utterances] == [
        *(("a.m4a", "happy"), ("b.webm", "happy"), ("c", "happy")),
        ("a.wav", "sad"),
    ]
    assert not scan.skipped


def test_an_archive_in_a_corpus_is_rejected_with_the_remedy(tmp_path):
    fill(tmp_path / "wav", {"03a01Fa.wav": b"", "03a01Wa.wav": b"", "README": b"EmoDB\n"})
    fill(tmp_path, ARCHIVES)
    assert scan_corpus(tmp_path).skipped == tuple((tmp_path / name, ARCHIVE_REASON) for name in sorted(ARCHIVES))
    assert "unpack" in ARCHIVE_REASON


def test_a_folder_of_archives_alone_says_to_unpack_them(tmp_path):
    with pytest.raises(InputError, match=r"data\.zip.*unpack"):
        scan_corpus(fill(tmp_path, {"data.zip": b"", "README": b"x"}))


def test_recordings_of_a_folder_are_all_that_needs_a_row(tmp_path):
    fill(tmp_path / "a", {"one.m4a": b"", "notes.txt": b""})
    fill(tmp_path, ARCHIVES | TEXTS)
    assert find_recordings(tmp_path) == [tmp_path / "a/one.m4a", *(tmp_path / name for name in sorted(ARCHIVES))]


@pytest.mark.parametrize(
    "start", [b"RIFF\0\0\0\0WAVEfmt ", b"fLaC\0\0", b"OggS\0\2", b"\0\0\0\x1cftypM4A ", b"ID3\3\0"]
)
def test_sound_is_recognised_by_its_first_bytes_whatever_its_ending(tmp_path, start):
    (tmp_path / "notes.txt").write_bytes(start + bytes(600))
    assert kind_of_file(str(tmp_path / "notes.txt")) == "audio"


@pytest.mark.parametrize(
    "start", [b"RIFF\0\0\0\0WEBPVP8 ", b"\0\0\0\x1cftypheic", b"\0\0\0\x1cftypavif", b"Identifier,x"]
)
def test_pictures_in_containers_of_sound_stay_pictures(tmp_path, start):
    (tmp_path / "a.webp").write_bytes(start + b"x" * 600)
    assert kind_of_file(str(tmp_path / "a.webp")) == "other"
