"""Files are written completely or not at all, and tables come back as they were."""

import csv
import errno
import itertools
import json
import math
import stat
from pathlib import Path

import numpy as np
import pandas
import pytest

from ser_keras.corpora.manifest import read_manifest
from ser_keras.errors import InputError
from ser_keras.files import read_csv, whole_directory, write_bytes, write_csv, write_json


def fail(*_, **__):
    raise OSError("disk full")


def test_a_file_is_replaced_and_readable_and_nothing_else_is_left(tmp_path):
    (tmp_path / "file").write_text("old and longer")
    write_bytes(tmp_path / "file", b"\x00\xffnew")
    assert (tmp_path / "file").read_bytes() == b"\x00\xffnew"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").stat().st_mode & stat.S_IROTH


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_failing_write_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch, step):
    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(Path, step, fail)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(tmp_path / "file", b"new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_content_that_cannot_be_written_leaves_the_old_file_and_no_temporary(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(TypeError, match="bytes-like"):
        write_bytes(tmp_path / "file", "text")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_bytes(tmp_path / "nowhere" / "file", b"new")


def test_json_is_readable_text_and_comes_back(tmp_path):
    value = {"emotions": ["fröhlich", "sad"], "uar": 0.5, "cache": None}
    write_json(tmp_path / "file.json", value)
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert json.loads(text) == value and "fröhlich" in text and text.endswith("}\n")


def test_a_value_that_json_does_not_know_leaves_the_old_file(tmp_path):
    (tmp_path / "file.json").write_text("old")
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "file.json", {"path": tmp_path})
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


PLAIN = ["plain", "one, two", 'say "ah"', "line\nbreak", "carriage\rreturn", "both\r\n", " spaces ", "", "ünï/cødé.wav"]
FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "-x.wav",
    "\uff1d1",
    "\uff0d1",
    "a;=1",
    "a\t+1",
    "a\n-1",
    "a\r\n@b",
    "\t=1",
    '"a";=1',
]
QUOTED = ["'", "'=1", "''=1", "it's", "a;'b", "';'=", "\n'\n="]


def test_cells_come_back_from_a_table(tmp_path):
    short = ["".join(signs) for size in range(5) for signs in itertools.product("=-';\tx", repeat=size)]
    texts = [*PLAIN, *FORMULAS, *QUOTED, *short]
    write_csv(tmp_path / "table.csv", ("text", "end"), [(text, text) for text in texts])
    assert read_csv(tmp_path / "table.csv") == [{"text": text, "end": text} for text in texts]


def test_other_programs_find_the_true_values_in_a_table(tmp_path):
    cells = [*PLAIN, *FORMULAS, *QUOTED]
    write_csv(tmp_path / "table.csv", ("path", "-end"), [(cell, "") for cell in cells])
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["path", "-end"], *([cell, ""] for cell in cells)]
    assert pandas.read_csv(tmp_path / "table.csv", keep_default_na=False)["path"].tolist() == cells


def test_a_table_is_what_rfc_4180_defines(tmp_path):
    write_csv(tmp_path / "table.csv", ("path", "reason"), [("-take1.wav", 'no "sound"'), ("a,b", "a\rb")])
    expected = b'path,reason\r\n-take1.wav,"no ""sound"""\r\n"a,b","a\rb"\r\n'
    assert (tmp_path / "table.csv").read_bytes() == expected


def test_a_manifest_of_any_file_names_can_be_read(tmp_path):
    names = ["-take1.wav", "=1.wav", "'quoted'.wav", "@home.wav"]
    for name in names:
        (tmp_path / name).touch()
    write_csv(tmp_path / "manifest.csv", ("path", "emotion"), [(name, "sad") for name in names])
    assert [row["path"].name for row in read_manifest(tmp_path / "manifest.csv")] == names


@pytest.mark.parametrize("number", [-1, -0.5, np.float32(-0.25), np.int64(-3)])
def test_a_negative_number_stays_a_number(tmp_path, number):
    write_csv(tmp_path / "table.csv", ("gain", "end"), [(number, "")])
    assert float(read_csv(tmp_path / "table.csv")[0]["gain"]) == number


def test_a_column_may_have_any_name(tmp_path):
    write_csv(tmp_path / "table.csv", ("=1", "'"), [("a", "b")])
    assert read_csv(tmp_path / "table.csv") == [{"=1": "a", "'": "b"}]


def test_a_table_without_rows_has_none(tmp_path):
    write_csv(tmp_path / "table.csv", ("path",), [])
    assert read_csv(tmp_path / "table.csv") == []


def test_a_row_that_was_cut_off_is_named(tmp_path):
    (tmp_path / "table.csv").write_text("path,reason\na.wav,why\nb.wav\n")
    with pytest.raises(InputError, match=r"table\.csv: row 2"):
        read_csv(tmp_path / "table.csv")


def test_a_file_name_that_is_no_utf8_keeps_its_bytes(tmp_path):
    name = b"b\xf6se.wav".decode(errors="surrogateescape")
    write_csv(tmp_path / "table.csv", ("path",), [(name,)])
    assert (tmp_path / "table.csv").read_bytes() == b"path\r\nb\xf6se.wav\r\n"
    assert read_csv(tmp_path / "table.csv") == [{"path": name}]


def test_a_missing_value_is_an_empty_cell(tmp_path):
    write_csv(tmp_path / "table.csv", ("start", "end"), [(None, math.pi)])
    assert (tmp_path / "table.csv").read_text() == f"start,end\n,{math.pi}\n"


def test_rows_that_fail_midway_leave_the_old_table(tmp_path):
    (tmp_path / "table.csv").write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_csv(tmp_path / "table.csv", ("number",), ([1 / number] for number in (1, 0)))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_directory_appears_when_all_went_well(tmp_path):
    with whole_directory(tmp_path / "made" / "here") as part:
        (part / "file").write_text("whole")
        assert not (tmp_path / "made" / "here").exists()
    assert (tmp_path / "made" / "here" / "file").read_text() == "whole"
    assert [each.name for each in (tmp_path / "made").iterdir()] == ["here"]


def test_a_directory_that_fails_is_not_there(tmp_path):
    with pytest.raises(KeyError), whole_directory(tmp_path / "here") as part:
        (part / "file").write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("the server is gone"),
        OSError(errno.ENOSPC, "No space left on device", "/elsewhere/file"),
    ],
    ids=["network", "another disk"],
)
def test_an_error_elsewhere_is_not_blamed_on_the_directory(tmp_path, error):
    with pytest.raises(type(error)) as raised, whole_directory(tmp_path / "here"):
        raise error
    assert raised.value is error and list(tmp_path.iterdir()) == []


def test_a_full_disk_is_blamed_on_the_directory(tmp_path):
    message = r"here: .*No space left on device.*another directory"
    for name in (None, tmp_path / "here" / "file", tmp_path):
        with pytest.raises(InputError, match=message), whole_directory(tmp_path / "here"):
            raise OSError(errno.ENOSPC, "No space left on device", name)


def test_a_directory_that_exists_is_refused(tmp_path):
    with pytest.raises(InputError, match="exists already"), whole_directory(tmp_path):
        raise AssertionError("never reached")
