"""Names that steer a terminal, break a table, or are no text: read, written, and shown without harm."""

import csv
import logging
import os
import warnings

import pytest

from ser_keras.cli import main, train
from ser_keras.config import DataConfig
from ser_keras.corpora import read_corpus
from ser_keras.errors import InputError
from ser_keras.files import write_csv, write_json
from ser_keras.labels import canonical_emotion
from ser_keras.pipeline.recordings import Rejected, load_recordings
from ser_keras.predictions import Prediction
from ser_keras.preprocessing import preprocess_data, rejection_table
from ser_keras.runs.reading import read_json
from ser_keras.terminal import text_table

NAMES = [
    "line\nbreak.wav",
    "return\rover.wav",
    "quo\"te's, and commas;.wav",
    "=cmd()|'-C calc'!A0.wav",
    "@sum -1+1.wav",
    "clear\x1b[2J\x1b]0;title\x07.wav",
    "turned\u202evaw.exe",
    "x" * 250 + ".wav",
    os.fsdecode(b"fr\xf6hlich \xff.wav"),
    "ünï çødé 声.wav",
    " spaces \t.wav",
]


@pytest.fixture
def odd_corpus(tmp_path, noise, wav_bytes):
    """Recordings of three speakers with odd names, and a broken file of each name."""
    for side in ("happy", "sad", "angry"):
        (tmp_path / "odd" / side).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        for side in ("happy", "sad"):
            (tmp_path / "odd" / side / name).write_bytes(wav_bytes(noise(8_000, seed=number)))
        (tmp_path / "odd" / "angry" / name).write_bytes(b"broken")
    return tmp_path / "odd"


def test_recordings_with_odd_names_are_read_and_broken_ones_named(odd_corpus, tmp_path):
    utterances = read_corpus(odd_corpus)
    for cache in ("memory", str(tmp_path / "cache")):
        loaded = load_recordings(utterances, sample_rate=16_000, config=DataConfig(cache=cache))
        called_audio = [name for name in NAMES if name.endswith(".wav")]  # the other broken file is plain text
        assert sorted(each.path.name for each in loaded.rejected) == sorted(called_audio)
        assert len(loaded.utterances) == 2 * len(NAMES)
        assert len(loaded.samples(0)) == 8_000


def test_paths_come_back_from_tables_and_json(tmp_path):
    write_csv(tmp_path / "split.csv", ("path", "side"), [(name, "train") for name in NAMES])
    with (tmp_path / "split.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert [row["path"].lstrip("'") for row in csv.DictReader(file)] == NAMES
    write_json(tmp_path / "config.json", {"dataset_path": NAMES})
    assert read_json(tmp_path / "config.json", "")["dataset_path"] == NAMES


def test_the_table_of_rejected_files_has_one_line_for_each():
    table = rejection_table([Rejected(name, "broken\x1b[1m") for name in NAMES])
    assert len(table.split("\n")) == len(NAMES) + 1
    assert is_harmless(table)


def is_harmless(text):
    return not set(text) & {*map(chr, range(32)), *map(chr, range(127, 160)), "\u202e"} - {"\n"}


def test_a_prediction_names_its_file_on_one_line():
    for name in NAMES:
        assert is_harmless(str(Prediction(name, error="no\x1b")).replace("\n", "\x00"))


def test_no_control_character_reaches_the_terminal(odd_corpus, tmp_path, capsys, monkeypatch):
    """A run that fails after it has read the files says all that it has to say of them."""

    def fail(strategy, splits, *_):
        raise InputError(f"{splits.rejected[-1].path}: enough was said")

    monkeypatch.setattr(train, "_build", fail)
    logging.getLogger().handlers.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code = main(
            ["train", "--dataset-path", str(odd_corpus), "--output-dir", str(tmp_path / "run"), "--split", "random"]
        )
    printed = "".join(capsys.readouterr())
    assert code == 2 and r"clear\x1b[2J\x1b]0;title\x07.wav" in printed and r"\udcf6" in printed
    assert "Traceback" not in printed
    assert is_harmless(printed.replace("\r", "")), repr(printed)


def test_an_error_line_is_one_line_whatever_the_path_is(tmp_path, capsys):
    assert main(["predict", "x.wav", "--model", str(tmp_path / "a\x1b[2J\nb")]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and is_harmless(printed)


@pytest.mark.parametrize("label", ["sad\x1b[1m", "\udcff", "bell\x07"])
def test_a_label_that_is_no_text_is_refused(label):
    with pytest.raises(InputError, match="characters that are no text"):
        canonical_emotion(label)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("very\nsad", "very sad"),
        (" a\t b ", "a b"),
        ("a\u202eb", "ab"),
        ("=cmd()", "=cmd()"),
        ("x" * 4_096, "x" * 4_096),
    ],
)
def test_a_label_is_one_line_of_text(label, expected):
    assert canonical_emotion(label) == expected


def test_a_folder_whose_name_is_no_text_is_named(tmp_path):
    (tmp_path / os.fsdecode(b"fr\xf6h")).mkdir()
    (tmp_path / os.fsdecode(b"fr\xf6h") / "a.wav").touch()
    with pytest.raises(InputError, match=r"'fr\\udcf6h'; rename it in UTF-8"):
        preprocess_data(tmp_path)


def test_a_table_is_plain_text_with_one_line_a_row(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    path = "/corpus/" + "deep/" * 50 + "[bold]a.wav"
    table = text_table(("file", "clips"), [(path, 1), ("声.wav", 20), ("clear\x1b[2J.wav", 3)])
    header, first, wide, escaped = table.split("\n")
    assert is_harmless(table) and first.split() == [path, "1"] and escaped.split() == [r"clear\x1b[2J.wav", "3"]
    assert len(header) == len(first) == len(wide) + 1  # the sign is two columns wide


def test_numbers_in_a_table_are_aligned_to_the_right():
    assert text_table(("a", "b"), [("x", 0.5), ("yy", 10.25)]).split("\n")[1:] == ["x    0.500", "yy  10.250"]
