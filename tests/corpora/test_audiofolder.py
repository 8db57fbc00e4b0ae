"""Hugging Face's audiofolder: metadata.csv with file_name and label, in the folder or in each split."""

import json

import pytest

from ser_keras.corpora import read_corpus
from ser_keras.errors import InputError


def fill(folder, table, *names):
    """Make recordings and a table beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    is_csv = table.startswith("file_name")
    (folder / ("metadata.csv" if is_csv else "metadata.jsonl")).write_text(table)


def labels(root, **options):
    return {each.path.name: (each.emotion, each.split) for each in read_corpus(root, **options)}


def test_the_table_of_the_folder_gives_the_labels(tmp_path):
    fill(tmp_path, "file_name,label,text\na.wav,Anger,x\nb.wav,bitter,y\n", "a.wav", "b.wav")
    assert (
        labels(tmp_path) == labels(tmp_path / "metadata.csv") == {"a.wav": ("angry", None), "b.wav": ("bitter", None)}
    )


def test_a_table_in_each_split_gives_the_split_too(tmp_path):
    for number, split in enumerate(("train", "validation", "test")):
        fill(tmp_path / "data" / split, f"file_name,label\n{number}.wav,sad\n", f"{number}.wav")
    assert labels(tmp_path) == {"0.wav": ("sad", "train"), "1.wav": ("sad", "val"), "2.wav": ("sad", "test")}


def test_one_table_for_the_folders_of_splits_gives_the_split_too(tmp_path):
    rows = [{"file_name": f"{split}/{split}.wav", "label": "sad", "speaker_id": 7} for split in ("train", "test")]
    fill(tmp_path, "\n".join(map(json.dumps, rows)), "train/train.wav", "test/test.wav")
    assert labels(tmp_path) == {"train.wav": ("sad", "train"), "test.wav": ("sad", "test")}
    assert {each.speaker for each in read_corpus(tmp_path)} == {"7"}


def test_a_manifest_goes_before_the_table(tmp_path):
    fill(tmp_path, "file_name,label\na.wav,sad\n", "a.wav")
    (tmp_path / "manifest.csv").write_text("path,emotion\na.wav,happy\n")
    assert labels(tmp_path) == {"a.wav": ("happy", None)}


def test_the_emotion_is_taken_where_there_is_a_label_besides(tmp_path):
    fill(tmp_path, "file_name,label,emotion\na.wav,4,happy\n", "a.wav")
    assert labels(tmp_path) == {"a.wav": ("happy", None)}


def test_a_table_without_labels_is_named_and_the_folders_are_read(tmp_path, caplog):
    for emotion in ("happy", "sad"):
        fill(tmp_path / emotion, "file_name,text\na.wav,hello\n", "a.wav")
    assert {each.emotion for each in read_corpus(tmp_path)} == {"happy", "sad"}
    assert "metadata.csv" in caplog.text and "label" in caplog.text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.csv", ""),
        ("metadata.csv", "id|text\na|b\n"),
        *(("metadata.jsonl", each) for each in ('"', "\0", "[[1]]")),
    ],
)
def test_another_table_of_that_name_is_none(tmp_path, name, content):
    fill(tmp_path / "sad", "file_name", "a.wav")
    (tmp_path / "sad" / "metadata.csv").unlink()
    (tmp_path / name).write_text(content)
    assert labels(tmp_path) == {"a.wav": ("sad", None)}


def test_a_mistake_in_the_table_is_named_with_its_line(tmp_path):
    fill(tmp_path, "file_name,label\na.wav,\n", "a.wav")
    with pytest.raises(InputError, match=r"metadata\.csv, line 2: emotion is empty"):
        read_corpus(tmp_path)


def test_the_table_is_a_manifest_where_one_is_asked_for(tmp_path):
    fill(tmp_path, "file_name,label\n03a01Fa.wav,sad\n", "03a01Fa.wav")
    assert labels(tmp_path, corpus="manifest") == {"03a01Fa.wav": ("sad", None)}
    assert labels(tmp_path, corpus="emodb") == {"03a01Fa.wav": ("happy", None)}


def test_a_table_with_other_separators_than_commas_is_refused(tmp_path):
    fill(tmp_path, "file_name;label\nanna/1.wav;sad\nben/1.wav;happy\n", "anna/1.wav", "ben/1.wav")
    with pytest.raises(InputError, match=r"metadata\.csv: .*commas.*`corpus='folders'`"):
        read_corpus(tmp_path)
