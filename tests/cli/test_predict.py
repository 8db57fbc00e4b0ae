"""`ser-keras predict`: its input, its output and its errors."""

import json
import os
import sys

import numpy as np
import pytest
import soundfile

from ser_keras import inference
from ser_keras.cli import main


@pytest.fixture
def folder(tmp_path, noise):
    """Two good recordings and a broken one, in folders, and a text beside them."""
    for name in ("b/two.flac", "a/one.wav"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        soundfile.write(tmp_path / "data" / name, noise(16_000 * 4), 16_000)
    (tmp_path / "data" / "broken.wav").write_bytes(b"junk")
    (tmp_path / "data" / "notes.txt").write_text("hello")
    return tmp_path / "data"


@pytest.fixture(scope="module")
def loaded(exported):
    return inference.Predictor(exported)


@pytest.fixture
def predict(loaded, exported, capsys, monkeypatch):
    """Run the verb, and return its exit code, what it printed and its errors; the model is loaded once."""
    monkeypatch.setattr(inference, "Predictor", lambda directory: loaded)

    def ask(*arguments):
        code = main(["predict", *map(str, arguments), "--model", str(exported)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return ask


def test_folders_are_read_in_order_and_a_broken_file_is_named(folder, predict):
    code, printed, errors = predict(folder, "--format", "jsonl")
    answers = [json.loads(line) for line in printed.splitlines()]
    assert [each["file"] for each in answers] == [str(folder / n) for n in ("a/one.wav", "b/two.flac", "broken.wav")]
    assert [bool(each["error"]) for each in answers] == [False, False, True]
    assert code == 1
    assert "1 of 3" in errors and str(folder / "broken.wav") in errors


def test_every_file_that_may_hold_sound_has_a_row_whatever_its_name_ends_in(folder, predict, wav_bytes, noise):
    for name in ("a/three.take1", "a/four"):
        (folder / name).write_bytes(wav_bytes(noise(16_000)))
    for name in ("five.m4a", "six.zip", "seven.bin"):
        (folder / name).write_bytes(b"\0junk")
    (folder / "notes").write_text("hello")
    code, printed, _ = predict(folder, "--format", "json")
    errors = {os.path.relpath(each["file"], folder): bool(each["error"]) for each in json.loads(printed)}
    good = ("a/four", "a/one.wav", "a/three.take1", "b/two.flac")
    assert errors == dict.fromkeys(good, False) | dict.fromkeys(
        ("broken.wav", "five.m4a", "seven.bin", "six.zip"), True
    )
    assert code == 1


def test_exit_code_0_when_all_were_answered(folder, predict):
    code, printed, errors = predict(folder / "a", folder / "b" / "two.flac")
    assert (code, errors) == (0, "") and len(printed.splitlines()) == 3


def test_a_file_that_was_named_twice_is_answered_once(folder, predict):
    _, printed, _ = predict(folder / "a", folder / "a" / "one.wav", "--format", "json")
    assert len(json.loads(printed)) == 1


def test_a_file_that_is_missing_harms_no_other(folder, predict):
    code, printed, _ = predict(folder / "none.wav", folder / "a", "--format", "json")
    assert code == 1
    assert ["No such file" in (each["error"] or "") for each in json.loads(printed)] == [True, False]


def test_a_timeline_has_a_row_a_window(folder, predict):
    _, printed, _ = predict(folder / "a", "--timeline")
    assert [row.split()[:2] for row in printed.splitlines()[1:]] == [["0.00", "3.00"], ["1.00", "4.00"]]


@pytest.mark.parametrize(("threshold", "abstained"), [(1.0, True), (0.0, False)])
def test_predictions_and_windows_abstain_below_a_threshold(folder, predict, threshold, abstained):
    words = (folder / "a", "--format", "json", "--abstain-below", threshold)
    (answer,), (timeline,) = json.loads(predict(*words)[1]), json.loads(predict(*words, "--timeline")[1])
    assert [each.get("abstained", False) for each in (answer, *timeline["windows"])] == [abstained] * 3


def test_a_threshold_that_is_no_probability_is_refused(folder, predict):
    code, _, errors = predict(folder, "--abstain-below", "50")
    assert code == 2 and "abstain_below=50.0" in errors


def test_output_is_written_whole_and_its_ending_names_the_format(folder, predict, tmp_path):
    code, printed, _ = predict(folder, "--output", tmp_path / "out.csv")
    assert (code, printed) == (1, "")
    assert (tmp_path / "out.csv").read_text().startswith("file,label,confidence,neutral,sad,angry,error\n")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["data", "out.csv"]


def test_output_stays_as_it_was_when_something_goes_wrong(folder, predict, loaded, tmp_path, monkeypatch):
    (tmp_path / "out.json").write_text("old")

    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(loaded, "_run", fail)
    assert predict(folder, "--output", tmp_path / "out.json")[0] == 130
    assert (tmp_path / "out.json").read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["data", "out.json"]


def test_json_is_the_list_of_answers(folder, predict):
    code, printed, _ = predict(folder, "--json")
    assert code == 1
    assert [bool(each["error"]) for each in json.loads(printed)] == [False, False, True]
    assert predict(folder, "--json", "--format", "csv")[0] == 2


def test_json_beside_a_file_of_answers_counts_them(folder, predict, tmp_path):
    code, printed, _ = predict(folder, "--json", "--output", tmp_path / "out.csv")
    assert code == 1 and json.loads(printed) == {"num_files": 3, "num_failed": 1}


def test_quiet_leaves_the_answers(folder, predict):
    assert len(predict(folder / "a", "--quiet")[1].splitlines()) == 2


def test_a_folder_of_textgrids_is_as_the_folder_that_was_given(folder, predict, tmp_path):
    code, _, _ = predict(folder, "--output-dir", tmp_path / "grids")
    assert code == 1
    found = sorted(each.relative_to(tmp_path / "grids") for each in (tmp_path / "grids").rglob("*.*"))
    assert list(map(str, found)) == ["a/one.TextGrid", "b/two.TextGrid"]
    assert "xmax = 4.0" in (tmp_path / "grids" / "a" / "one.TextGrid").read_text()


def test_one_textgrid_is_printed(folder, predict):
    assert 'class = "IntervalTier"' in predict(folder / "a", "--format", "textgrid")[1]


def test_a_name_that_is_no_unicode_is_written_as_it_is(folder, predict, tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    (folder / "a" / "one.wav").rename(folder / "a" / name)
    assert predict(folder / "a", "--output", tmp_path / "out.csv")[0] == 0
    assert b"caf\xe9.wav" in (tmp_path / "out.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "textgrid"], "--output-dir"),
        (["--output-dir", "x", "--format", "csv"], "--format csv"),
        (["--output-dir", "x", "--output", "y"], "--output and --output-dir"),
        (["--output", "none/y.csv"], "none/y.csv"),
    ],
)
def test_what_cannot_be_written_is_found_before_the_model_is_loaded(folder, capsys, arguments, message):
    assert main(["predict", str(folder), "--model", "nowhere", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["none.wav", "nor_this.wav"], "none.wav"),
        (["a"], "nowhere: "),
    ],
)
def test_what_does_not_exist_is_named_before_tensorflow_is_loaded(folder, monkeypatch, capsys, paths, message):
    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "ser_keras.inference", None)  # whose import would be an error
    assert main(["predict", *paths, "--model", "nowhere"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_folder_without_audio_is_a_mistake(tmp_path, predict):
    (tmp_path / "empty").mkdir()
    code, _, errors = predict(tmp_path / "empty")
    assert code == 2 and str(tmp_path / "empty") in errors


def test_two_recordings_of_one_name_cannot_share_a_textgrid(folder, predict, tmp_path):
    soundfile.write(folder / "a" / "one.flac", np.zeros(16_000), 16_000)
    code, _, errors = predict(folder / "a", "--output-dir", tmp_path / "grids")
    assert code == 2 and "one.TextGrid" in errors and not (tmp_path / "grids").exists()
