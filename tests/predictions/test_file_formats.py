"""Each format, read back by a reader of its own."""

import csv
import io
import json
import re

import audformat
import parselmouth
import pytest

from ser_keras.predictions import Prediction, Timeline, Window
from ser_keras.predictions.file_formats import FORMATS, timeline_to_textgrid, write_results

EMOTIONS = ("calm", "sad")
FACTS = ("sad", 0.75, {"calm": 0.25, "sad": 0.75})
PREDICTIONS = [Prediction("ä b,.wav", *FACTS), Prediction("bad.wav", error='no "audio"'), Prediction("c.wav", *FACTS)]
TIMELINES = [
    Timeline("talk.wav", (Window(0.0, 3.0, *FACTS), Window(1.0, 4.0, *FACTS), Window(2.0, 4.5, *FACTS))),
    Timeline("bad.wav", error="no audio"),
]


def text_of(answers, form):
    stream = io.StringIO(newline="")
    write_results(stream, answers, form, EMOTIONS)
    return stream.getvalue()


def rows_of(answers, form):
    return list(csv.DictReader(io.StringIO(text_of(answers, form), newline="")))


def test_json_is_one_list_with_the_same_names_in_every_object():
    first, bad, _ = json.loads(text_of(PREDICTIONS, "json"))
    probabilities = {"calm": 0.25, "sad": 0.75}
    assert first == {
        "file": "ä b,.wav",
        "label": "sad",
        "confidence": 0.75,
        "probabilities": probabilities,
        "error": None,
    }
    assert bad == dict.fromkeys(first) | {"file": "bad.wav", "error": 'no "audio"'}


def test_json_of_nothing_is_an_empty_list():
    assert json.loads(text_of([], "json")) == []


def test_jsonl_has_an_object_a_line():
    lines = text_of(PREDICTIONS, "jsonl").splitlines()
    assert [json.loads(line) for line in lines] == json.loads(text_of(PREDICTIONS, "json"))


def test_json_of_a_timeline_has_its_windows():
    talk, bad = json.loads(text_of(TIMELINES, "json"))
    assert [(each["start_seconds"], each["end_seconds"]) for each in talk["windows"]] == [(0, 3), (1, 4), (2, 4.5)]
    assert talk["windows"][0]["label"] == "sad" and talk["error"] is None
    assert bad == {"file": "bad.wav", "windows": [], "error": "no audio"}


PAUSE = Timeline("talk.wav", (Window(0.0, 3.0, *FACTS), Window(1.0, 4.0, "", 0.0, {"calm": 0.0, "sad": 0.0})))


def test_a_window_of_silence_has_missing_values():
    talk = json.loads(text_of([PAUSE], "json"))[0]
    facts = {"label": None, "confidence": None, "probabilities": None}
    assert talk["windows"][1] == {"start_seconds": 1, "end_seconds": 4, **facts}
    for form in ("csv", "audformat"):
        row = rows_of([PAUSE], form)[1]
        assert {row[name] for name in ("confidence", *EMOTIONS)} == {""}
    assert text_of([PAUSE], "table").splitlines()[2].split() == ["1.00", "4.00", "-", "-", "talk.wav"]
    assert timeline_to_textgrid(PAUSE).count('text = ""') == 2


def test_csv_has_a_column_for_each_emotion_and_the_error():
    first, bad, _ = rows_of(PREDICTIONS, "csv")
    assert first == {
        "file": "ä b,.wav",
        "label": "sad",
        "confidence": "0.75",
        "calm": "0.25",
        "sad": "0.75",
        "error": "",
    }
    assert bad == dict.fromkeys(first, "") | {"file": "bad.wav", "error": 'no "audio"'}


@pytest.mark.parametrize("form", ["csv", "audformat"])
@pytest.mark.parametrize("source", ["-take1.wav", "=1+1.wav", "'a'.wav", "a;@b.wav", "a\rb.wav", "a\nb.wav"])
def test_a_file_of_any_name_is_found_again_by_its_row(form, source):
    row, _ = rows_of([Prediction(source, *FACTS), Prediction("b.wav", error="-")], form)
    assert row["file"] == source


def test_csv_of_a_timeline_has_a_row_a_window():
    *talk, bad = rows_of(TIMELINES, "csv")
    assert [(row["file"], row["start_seconds"], row["end_seconds"]) for row in talk] == [
        ("talk.wav", "0.0", "3.0"),
        ("talk.wav", "1.0", "4.0"),
        ("talk.wav", "2.0", "4.5"),
    ]
    assert bad["error"] == "no audio" and bad["label"] == ""


def test_the_columns_of_a_table_are_aligned():
    lines = text_of(PREDICTIONS, "table").splitlines()
    assert [line.split()[-1] for line in lines] == ["file", "b,.wav", '"audio"', "c.wav"]
    (place,) = {lines[0].index("file"), lines[1].index("ä"), lines[2].index("bad.wav"), lines[3].index("c.wav")}
    assert lines[2][place:] == 'bad.wav: no "audio"'
    header, *rows = text_of(TIMELINES, "table").splitlines()
    assert {header.index("file"), *(row.index("talk.wav") for row in rows[:3]), rows[3].index("bad.wav")} == {
        header.index("file")
    }
    assert rows[2].split() == ["2.00", "4.50", "sad", "0.750", "talk.wav"]


def test_audformat_has_a_filewise_or_a_segmented_index():
    first, bad, _ = rows_of(PREDICTIONS, "audformat")
    assert list(first) == ["file", "emotion", "confidence", "calm", "sad"]
    assert bad == dict.fromkeys(first, "") | {"file": "bad.wav"}
    *talk, bad = rows_of(TIMELINES, "audformat")
    assert list(bad)[:4] == ["file", "start", "end", "emotion"]
    assert (talk[2]["start"], talk[2]["end"]) == ("0:00:02", "0:00:04.500000")
    assert (bad["start"], bad["end"], bad["emotion"]) == ("0:00:00", "", "")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:audformat")  # audformat's own use of pandas 3
def test_audformat_itself_reads_it(tmp_path):
    for answers, kind in ((PREDICTIONS, "filewise"), (TIMELINES, "segmented")):
        (tmp_path / "table.csv").write_text(text_of(answers, "audformat"))
        table = audformat.utils.read_csv(str(tmp_path / "table.csv"))
        assert audformat.index_type(table) == kind and table["emotion"].isna().sum() == 1
    assert table.index.get_level_values("end")[2].total_seconds() == 4.5


def intervals(text, tier):
    _, _, part = text.partition(f'name = "{tier}"')
    found = re.findall(
        r"intervals \[\d+\]:\n +xmin = (.*)\n +xmax = (.*)\n +text = \"(.*)\"", part.partition("item [")[0]
    )
    return [(float(start), float(end), label) for start, end, label in found]


def test_a_textgrid_s_intervals_cover_the_recording_without_overlap():
    text = text_of(TIMELINES, "textgrid")
    assert intervals(text, "emotion") == [(0.0, 2.0, "sad"), (2.0, 2.875, "sad"), (2.875, 4.5, "sad")]
    assert [label for _, _, label in intervals(text, "confidence")] == ["0.750"] * 3
    assert text.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0.000000\nxmax = 4.500000\n')
    assert text.count("intervals: size = 3") == 2


def test_a_textgrid_doubles_quotes():
    timeline = Timeline("a.wav", (Window(0.0, 1.0, 'so "sad"', 0.5, {}),))
    assert intervals(timeline_to_textgrid(timeline), "emotion") == [(0.0, 1.0, 'so ""sad""')]


def test_praat_itself_reads_a_textgrid(tmp_path):
    (tmp_path / "a.TextGrid").write_text(text_of(TIMELINES, "textgrid"))
    grid = parselmouth.read(str(tmp_path / "a.TextGrid"))
    assert parselmouth.praat.call(grid, "Get number of intervals", 1) == 3
    assert parselmouth.praat.call(grid, "Get end time of interval", 1, 2) == 2.875


@pytest.mark.parametrize("form", sorted(set(FORMATS) - {"textgrid"}))
def test_each_answer_is_written_before_the_next_is_asked_for(form):
    stream = io.StringIO()

    def answers():
        for answer in PREDICTIONS:
            yield answer
            assert answer.source in stream.getvalue() or form.startswith("json")
            assert answer.source.split(",")[0] in stream.getvalue()

    write_results(stream, answers(), form, EMOTIONS)
