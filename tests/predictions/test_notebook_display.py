"""Predictions as HTML: whole, escaped, and with the recording where it is short."""

import base64
from html.parser import HTMLParser

import pytest

from ser_keras.predictions import Prediction, Timeline, Window
from ser_keras.predictions import notebook as display

EVIL = '<script>alert("x")</script>'


class _Checker(HTMLParser):
    """Fails where tags do not match, and collects what was seen."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parse(answer):
    return checked(answer._repr_html_())


def checked(html):
    checker = _Checker()
    checker.feed(html)
    assert checker.open == []
    return checker


def timeline(source, *labels):
    return Timeline(
        source, tuple(Window(float(i), i + 3.0, label, 0.5, {label: 0.5}) for i, label in enumerate(labels))
    )


def test_the_most_probable_emotion_stands_first():
    page = parse(Prediction("a.wav", "sad", 0.75, {"calm": 0.25, "sad": 0.75}))
    assert page.text.split() == ["a.wav", "sad0.750", "calm0.250"]


def test_a_short_recording_can_be_heard(tmp_path, wav_bytes, noise):
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(noise(800)))
    (audio,) = (attributes for tag, attributes in parse(timeline(path, "sad")).tags if tag == "audio")
    kind, _, data = audio["src"].partition(";base64,")
    assert kind == "data:audio/wav" and base64.b64decode(data) == path.read_bytes()


@pytest.mark.parametrize("name", ["gone.wav", "large.wav", "odd.aiff", None])
def test_what_cannot_be_heard_is_shown_without_a_player(tmp_path, monkeypatch, name):
    monkeypatch.setattr(display, "MOST_AUDIO_BYTES", 100)
    (tmp_path / "large.wav").write_bytes(bytes(101))
    (tmp_path / "odd.aiff").write_bytes(bytes(10))
    page = parse(Prediction(name and tmp_path / name, "sad", 1.0, {"sad": 1.0}))
    assert "audio" not in dict(page.tags) and "sad" in page.text


def test_neighbours_of_one_emotion_are_one_stretch():
    page = parse(timeline("a.wav", "sad", "sad", "happy", "sad"))
    titles = [attributes["title"] for _, attributes in page.tags if "title" in attributes]
    assert titles == ["0.0 to 3.0 s: sad", "3.0 to 4.0 s: happy", "4.0 to 6.0 s: sad"]


def test_emotions_have_colours_of_their_own():
    page = parse(timeline("a.wav", "sad", "grumpy", "happy", "elated"))
    colours = [attributes["style"] for _, attributes in page.tags if "title" in attributes]
    assert len({style.partition(";")[0] for style in colours}) == 4


@pytest.mark.parametrize(
    "answer",
    [
        Prediction(EVIL, EVIL, 1.0, {EVIL: 1.0}),
        Prediction(EVIL, error=EVIL),
        timeline(EVIL, EVIL),
        Timeline(EVIL, error=EVIL),
    ],
)
def test_nothing_is_taken_for_html_that_is_none(answer):
    page = parse(answer)
    assert "script" not in dict(page.tags) and EVIL in page.text
    assert all(EVIL in attributes["title"] for _, attributes in page.tags if "title" in attributes)


def test_an_error_is_shown():
    assert parse(Timeline("a.wav", error="no samples")).text.strip() == "a.wavno samples"


def test_silence_in_a_timeline_has_no_colour_and_no_key():
    pause = timeline("a.wav", "sad", "", "happy")
    assert "nothing to label" in pause._repr_html_() and "transparent" in pause._repr_html_()
    assert parse(pause).text.split() == parse(timeline("a.wav", "sad", "happy", "happy")).text.split()


def test_a_timeline_without_windows_is_shown():
    assert "no windows" in parse(Timeline("a.wav")).text


def test_a_table_shows_numbers_to_three_places_and_notes_below():
    page = checked(display.table_html(("fold", "UAR"), [(1, 0.5), (2, "-")], "two\nlines", ""))
    assert page.text.split() == ["foldUAR", "10.500", "2-", "two", "lines"]
    assert [tag for tag, _ in page.tags].count("pre") == 1


def test_a_table_takes_nothing_for_html():
    page = checked(display.table_html((EVIL,), [(EVIL,)], EVIL))
    assert "script" not in dict(page.tags) and page.text.count(EVIL) == 3
