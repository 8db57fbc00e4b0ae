"""Manifests in CSV and JSONL: what is read, and every mistake by its line and value."""

import json
import os
import re

import pytest

from ser_keras.cli import main
from ser_keras.corpora import read_corpus, scan_corpus
from ser_keras.corpora.manifest import read_manifest
from ser_keras.corpora.published import read_evaluations
from ser_keras.errors import InputError


@pytest.fixture
def folder(tmp_path):
    for name in ("a.wav", "b.wav", "with, comma.wav"):
        (tmp_path / name).touch()
    return tmp_path


def write(folder, text, name="manifest.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def test_a_csv_gives_all_columns(folder):
    path = write(
        folder,
        "path,emotion,speaker,split,text,gender,corpus\na.wav,Anger,anna,train,t1,F,Mine\nb.wav,joy,,,,,\n",
    )
    first, second = read_corpus(path)
    assert (first.path, first.emotion, first.speaker_id) == (folder / "a.wav", "angry", "mine/anna")
    assert (first.split, first.text, first.gender) == ("train", "t1", "female")
    assert (second.emotion, second.speaker_id, second.corpus) == ("happy", None, "manifest")
    assert (second.split, second.text, second.gender, second.start_seconds) == (None, None, None, None)


def test_a_folder_with_a_manifest_is_read_by_it(folder):
    write(folder, "path,emotion\nb.wav,sad\na.wav,calm\n")
    assert [utterance.emotion for utterance in read_corpus(folder)] == ["calm", "sad"]


def test_a_jsonl_is_read_like_a_csv(folder):
    row = {
        "path": "a.wav",
        "emotion": "Sad",
        "speaker": 7,
        "start_seconds": 0.5,
        "end_seconds": 2,
        "split": None,
    }
    path = write(folder, json.dumps(row) + "\n\n", "manifest.jsonl")
    (utterance,) = read_corpus(path)
    assert (utterance.emotion, utterance.speaker, utterance.split) == ("sad", "7", None)
    assert (utterance.start_seconds, utterance.end_seconds) == (0.5, 2.0)


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_first_value(folder, name):
    text = "path,emotion\na.wav,sad\n" if name.endswith("csv") else '{"path": "a.wav", "emotion": "sad"}'
    assert len(read_corpus(write(folder, text, name, "utf-8-sig"))) == 1


def test_quotes_capitals_and_windows_line_ends_are_understood(folder):
    path = write(folder, ' Path , EMOTION\r\n"with, comma.wav","happy"\r\n')
    assert read_corpus(path)[0].path.name == "with, comma.wav"


def test_segments_of_one_file_are_utterances_in_their_order(folder):
    path = write(folder, "path,emotion,start_seconds,end_seconds\na.wav,sad,2.5,4\na.wav,angry,,2.5\na.wav,calm,10,\n")
    found = [(each.emotion, each.start_seconds, each.end_seconds) for each in read_corpus(path)]
    assert found == [("angry", None, 2.5), ("sad", 2.5, 4.0), ("calm", 10.0, None)]


def test_a_speaker_in_several_spellings_is_one_and_is_shown_as_first_spelled(folder, caplog):
    path = write(folder, 'path,emotion,speaker\na.wav,sad,01\nb.wav,happy,1\n"with, comma.wav",sad,2\n')
    scan = scan_corpus(path)
    assert [each.speaker_id for each in scan.utterances] == ["manifest/01", "manifest/01", "manifest/2"]
    assert scan.joined_speakers == (("manifest/01", "manifest/1"),)
    assert "manifest/01 = manifest/1" in caplog.text


def test_a_speaker_whose_spellings_look_alike_is_reported_with_escapes(folder, caplog):
    path = write(folder, "path,emotion,speaker\na.wav,sad,J\u00f6rg\nb.wav,happy,Jo\u0308rg\n")
    assert {each.speaker for each in scan_corpus(path).utterances} == {"J\u00f6rg"}
    assert "manifest/J\u00f6rg = 'manifest/Jo\\u0308rg'" in caplog.text


def test_speakers_of_two_manifests_are_compared_too(folder):
    first = write(folder, "path,emotion,speaker\na.wav,sad,Anna\n", "one.csv")
    second = write(folder, "path,emotion,speaker\nb.wav,sad,anna \n", "two.csv")
    assert {each.speaker_id for each in read_corpus([first, second])} == {"manifest/Anna"}


@pytest.mark.skipif(os.sep == "\\", reason="there it is the system's own separator")
class TestPathsOfWindows:
    @pytest.mark.parametrize("name", ["wav\\x.wav", "wav\\..\\wav/x.wav"])
    def test_separators_of_windows_are_understood(self, folder, name):
        (folder / "wav").mkdir()
        (folder / "wav" / "x.wav").touch()
        assert read_corpus(write(folder, f"path,emotion\n{name},sad\n"))[0].path == folder / "wav" / "x.wav"

    def test_a_file_whose_name_has_a_backslash_is_found_first(self, folder):
        (folder / "wav").mkdir()
        for name in ("wav/x.wav", "wav\\x.wav"):
            (folder / name).touch()
        assert read_corpus(write(folder, "path,emotion\nwav\\x.wav,sad\n"))[0].path.name == "wav\\x.wav"

    @pytest.mark.parametrize("name", ["C:\\data\\x.wav", "d:/data/x.wav", "\\\\server\\share\\x.wav", "\\data\\x.wav"])
    def test_a_drive_of_windows_is_named_with_what_to_do(self, folder, name):
        with pytest.raises(InputError, match=r"line 2.*make them relative") as error:
            read_corpus(write(folder, f"path,emotion\n{name},sad\n"))
        assert name in str(error.value)

    def test_separators_of_windows_that_lead_to_no_file_are_named(self, folder):
        with pytest.raises(InputError, match=r"missing.*separators"):
            read_corpus(write(folder, "path,emotion\nwav\\gone.wav,sad\n"))

    def test_separators_of_windows_do_not_lead_out_of_the_folder(self, folder, tmp_path_factory):
        (folder.parent / "outside.wav").touch()
        with pytest.raises(InputError, match=r"line 2: .*outside\.wav.*`allow_outside=True`"):
            read_corpus(write(folder, "path,emotion\n..\\outside.wav,sad\n"))


@pytest.mark.parametrize(("name", "file"), [("J\u00f6rg.wav", "Jo\u0308rg.wav"), ("Jo\u0308rg.wav", "J\u00f6rg.wav")])
def test_a_file_name_in_unicode_s_other_form_is_found(folder, name, file):
    (folder / file).touch()
    assert read_corpus(write(folder, f"path,emotion\n{name},sad\n"))[0].path.is_file()


def test_an_absolute_path_is_taken_as_it_is(folder, tmp_path_factory):
    path = write(tmp_path_factory.mktemp("elsewhere"), f"path,emotion\n{folder / 'a.wav'},sad\n")
    assert read_corpus(path, allow_outside=True)[0].path == folder / "a.wav"


@pytest.mark.parametrize(
    ("text", "line", "named"),
    [
        ("path;emotion\na.wav;sad\n", 1, "path;emotion.*separated by commas"),
        ("path,label\na.wav,sad\n", 1, "emotion"),
        ("", 1, "path"),
        ("path,emotion\na.wav,sad\nb.wav, \n", 3, "emotion"),
        ("path,emotion\n,sad\n", 2, "path"),
        ("path,emotion\na.wav,sad,anna\n", 2, "anna.*quote"),
        ('path,emotion\na.wav,"sad\n', 2, "quote"),
        ("path,emotion,split\na.wav,sad,dev\n", 2, "split 'dev'.*test, train, val"),
        ("path,emotion,gender\na.wav,sad,x\n", 2, "gender 'x'.*female, male"),
        *((f"path,emotion,start_seconds\na.wav,sad,{each}\n", 2, f"start_seconds.*'{each}'") for each in ("one", "-1")),
        ("path,emotion,end_seconds\na.wav,sad,inf\n", 2, "end_seconds.*'inf'"),
        ("path,emotion,start_seconds,end_seconds\na.wav,sad,2,2\n", 2, "start_seconds 2.*end_seconds 2"),
        ("path,emotion,end_seconds\na.wav,sad,0\n", 2, "start_seconds 0.*end_seconds 0"),
        ("path,emotion\na.wav,sad\nb.wav,NaN\n", 3, "emotion.*'NaN'.*remove the row"),
        ("path,emotion,speaker\na.wav,sad,nan\n", 2, "speaker.*'nan'.*leave it empty"),
        ("path,emotion,corpus\na.wav,sad,None\n", 2, "corpus.*'None'.*leave it empty"),
        ("path,emotion,emotion\na.wav,sad,happy\n", 1, "emotion.*2 times.*keep the right one"),
        ("path,emotion,speaker, Speaker\u200b\na.wav,sad,a,b\n", 1, "speaker.*2 times"),
    ],
)
def test_a_mistake_in_a_csv_is_named_with_its_line(folder, text, line, named):
    path = write(folder, text)
    with pytest.raises(InputError, match=f"line {line}: .*{named}") as error:
        read_manifest(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_manifest_without_rows_is_refused(folder):
    with pytest.raises(InputError, match=r"manifest\.csv: no rows"):
        read_manifest(write(folder, "path,emotion\n"))


@pytest.mark.parametrize(
    ("line", "named"),
    [
        *((line, "JSON object") for line in ("not json", "[1, 2]", '{"path": "a.wav"')),
        ('{"path": "a.wav"}', "emotion"),
        ('{"path": "a.wav", "emotion": "sad", " Emotion": "happy"}', "emotion.*2 times"),
        ('{"path": "a.wav", "emotion": NaN}', "emotion.*'nan'.*missing value"),
    ],
)
def test_a_mistake_in_a_jsonl_is_named_with_its_line(folder, line, named):
    path = write(folder, '{"path": "a.wav", "emotion": "sad"}\n' + line, "manifest.jsonl")
    with pytest.raises(InputError, match=f"line 2: .*{named}"):
        read_manifest(path)


def test_unknown_columns_may_occur_twice(folder):
    path = write(folder, "path,emotion,note,note,,\na.wav,sad,x,y,,\n")
    assert read_corpus(path)[0].emotion == "sad"


def test_invisible_characters_in_names_of_columns_and_labels_make_no_difference(folder):
    path = write(folder, "path,emotion\u200b\na.wav,fr\u00f6hlich\nb.wav,fro\u0308h\u00adlich\u200e\n")
    assert {each.emotion for each in read_corpus(path)} == {"fr\u00f6hlich"}


HEADER = "path,emotion,speaker,split,start_seconds,end_seconds\n"


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ("a.wav,happy,x,,,\na.wav,sad,x,,,\n", "happy and sad"),
        ("a.wav,happy,x,,,\n./a.wav,sad,x,,0,\n", "happy and sad"),
        ("a.wav,happy,x,,,\na.wav,happy,y,,,\n", "manifest/x and manifest/y"),
        ("a.wav,happy,x,,,\na.wav,happy,,,,\n", "manifest/x and none"),
        ("a.wav,happy,x,train,,\na.wav,happy,x,test,,\n", "train and test"),
        ("a.wav,happy,x,,1,2\na.wav,sad,x,,1,2\na.wav,sad,x,,2,3\n", r"\(1 s to 2 s\).*happy and sad"),
    ],
)
def test_a_clip_whose_rows_contradict_each_other_is_skipped(folder, rows, named):
    scan = scan_corpus(write(folder, f"{HEADER}{rows}b.wav,sad,x,,,\n"))
    ((path, reason),) = scan.skipped
    assert path.name == "a.wav" and re.search(f"conflicting.*{named}", reason)
    assert ("a.wav", 1.0) not in {(each.path.name, each.start_seconds) for each in scan.utterances}
    assert "b.wav" in {each.path.name for each in scan.utterances}


@pytest.mark.parametrize("row", ["a.wav,Happiness,01,,0,", "./a.wav,happy,1,,,"])
def test_a_clip_that_is_listed_twice_in_the_same_way_is_used_once(folder, row):
    scan = scan_corpus(write(folder, f"{HEADER}a.wav,happy,1,,,\n{row}\nb.wav,sad,2,,,\n"))
    assert [each.path.name for each in scan.utterances] == ["a.wav", "b.wav"] and not scan.skipped


def test_rows_of_two_manifests_that_contradict_each_other_are_found(folder):
    paths = [
        write(folder, f"path,emotion\na.wav,{label}\n{name},sad\n", f"{label}.csv")
        for label, name in (("sad", "b.wav"), ("happy", '"with, comma.wav"'))
    ]
    assert [path.name for path, _ in scan_corpus(paths).skipped] == ["a.wav"]


def test_a_manifest_of_nothing_but_contradictions_is_an_error(folder):
    path = write(folder, "path,emotion\na.wav,happy\na.wav,sad\nb.wav,calm\nb.wav,sad\n")
    with pytest.raises(InputError, match=r"a\.wav: conflicting.*all 2 clips"):
        read_corpus(path)


def test_text_that_is_not_utf8_is_named_with_its_line(folder):
    path = write(folder, "path,emotion\na.wav,sad\nb.wav,fröhlich\n", encoding="latin-1")
    with pytest.raises(InputError, match=r"line 3: .* is not UTF-8"):
        read_manifest(path)


def test_all_missing_files_are_counted_and_three_are_named(folder):
    rows = "".join(f"gone{number}.wav,sad\n" for number in range(5))
    path = write(folder, f"path,emotion\na.wav,sad\n{rows}")
    with pytest.raises(InputError, match=r"5 of 6 .*gone0\.wav \(line 3\)") as error:
        read_manifest(path)
    assert "gone2.wav" in str(error.value)
    assert "gone3.wav" not in str(error.value)


def test_two_manifests_in_one_folder_are_refused(folder):
    write(folder, "path,emotion\na.wav,sad\n")
    write(folder, '{"path": "a.wav", "emotion": "sad"}', "manifest.jsonl")
    with pytest.raises(InputError, match="two manifests"):
        read_corpus(folder)


def test_a_folder_without_a_manifest_is_refused_where_one_is_asked_for(folder):
    with pytest.raises(InputError, match=r"expected manifest\.csv or manifest\.jsonl"):
        read_corpus(folder, "manifest")


def test_evaluation_files_give_the_consensus_and_nothing_else(tmp_path):
    path = tmp_path / "Ses01F_impro01.txt"
    path.write_text(
        "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
        "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n"
        "C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n"
        "[10.0100 - 11.3925]\tSes01F_impro01_F001\texc\t[2.5000, 2.5000, 2.5000]\n"
    )
    assert read_evaluations([path]) == {"Ses01F_impro01_F000": "neu", "Ses01F_impro01_F001": "exc"}


@pytest.fixture
def shelf(tmp_path):
    """A folder with a manifest's corpus, and a recording outside of it."""
    (tmp_path / "corpus").mkdir()
    for name in ("outside.wav", "corpus/inside.wav", "corpus/..odd.wav"):
        (tmp_path / name).touch()
    return tmp_path / "corpus"


def lead(folder, path, **fields):
    row = {"path": str(path), "emotion": "sad", **fields}
    (folder / "manifest.jsonl").write_text(
        json.dumps({"path": "inside.wav", "emotion": "sad"}) + "\n" + json.dumps(row)
    )
    return folder / "manifest.jsonl"


@pytest.mark.parametrize(
    "path", ["../outside.wav", "a/../../outside.wav", "./../corpus/../outside.wav", "/etc/hostname"]
)
def test_a_manifest_does_not_lead_out_of_its_folder(shelf, path):
    with pytest.raises(InputError, match=r"manifest\.jsonl, line 2: .*corpus.*`allow_outside=True`") as error:
        read_corpus(lead(shelf, path))
    assert os.path.normpath(path) in str(error.value)


def test_an_absolute_path_to_the_outside_is_refused(shelf):
    with pytest.raises(InputError, match=r"line 2: .*outside\.wav.*`allow_outside=True`"):
        read_corpus(lead(shelf, shelf.parent / "outside.wav"))


def test_a_manifest_leads_out_where_that_is_allowed(shelf):
    found = read_corpus(lead(shelf, "../outside.wav"), allow_outside=True)
    assert {each.path.resolve().name for each in found} == {"inside.wav", "outside.wav"}


@pytest.mark.parametrize("path", ["..odd.wav", "./inside.wav", "a/../inside.wav"])
def test_a_path_within_the_folder_is_taken_however_it_is_spelt(shelf, path):
    assert read_manifest(lead(shelf, path))[1]["path"] == shelf / os.path.normpath(path)


def test_an_absolute_path_into_the_folder_is_taken(shelf):
    assert read_manifest(lead(shelf, shelf / "inside.wav"))[1]["path"] == shelf / "inside.wav"


def test_a_link_in_the_folder_is_followed_wherever_it_leads(shelf):
    (shelf / "linked.wav").symlink_to(shelf.parent / "outside.wav")
    assert read_manifest(lead(shelf, "linked.wav"))[1]["path"] == shelf / "linked.wav"


def test_the_setting_reaches_the_manifest_from_the_command_line(shelf, capsys):
    arguments = ["train", "--dataset-path", str(lead(shelf, "../outside.wav")), "--output-dir", str(shelf / "run")]
    assert main(arguments) == 2
    assert "--allow-outside" in capsys.readouterr().err
    assert main([*arguments, "--allow-outside"]) == 2  # now it is read, and both have one label
    assert "'sad'" in capsys.readouterr().err


@pytest.mark.parametrize("field", ["emotion", "speaker", "corpus", "text"])
def test_text_that_steers_a_terminal_is_refused_with_its_line(shelf, field):
    with pytest.raises(InputError, match=rf"manifest\.jsonl, line 2: {field} ") as error:
        read_manifest(lead(shelf, "inside.wav", **{field: "a\x1b[2Jb"}))
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize("name", ["a\0b.wav", "x" * 4_096, "x/" * 2_000 + "a.wav"])
def test_a_path_that_no_disk_takes_is_a_missing_file(shelf, name):
    with pytest.raises(InputError, match="1 of 2 "):
        read_manifest(lead(shelf, name))


@pytest.mark.parametrize("line", ["9" * 5_000, '{"path": ' + "[" * 100_000, '{"path": {"a": 1}, "emotion": []}'])
def test_json_of_any_kind_is_one_line(shelf, line):
    (shelf / "manifest.jsonl").write_text(line)
    with pytest.raises(InputError, match=r"manifest\.jsonl"):
        read_manifest(shelf / "manifest.jsonl")


def test_rows_of_one_segment_that_tables_round_in_different_ways_can_contradict_each_other(tmp_path):
    (tmp_path / "x.wav").touch()
    (tmp_path / "y.wav").touch()
    rows = ["x.wav,happy,0,2", "x.wav,sad,0,2.0000001", "y.wav,sad,0,2"]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,emotion,start_seconds,end_seconds", *rows]))
    scan = scan_corpus(tmp_path)
    assert [each.path.name for each in scan.utterances] == ["y.wav"] and "happy and sad" in scan.skipped[0][1]
