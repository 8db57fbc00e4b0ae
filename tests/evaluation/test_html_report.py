"""The report page shows what the report says, needs nothing but itself, and lets no name out of its text."""

import base64
import dataclasses
import io
import re
import struct
from html.parser import HTMLParser
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile

import ser_keras
from ser_keras.corpora import Utterance
from ser_keras.evaluation import Report

EMOTIONS = ("neutral", "sad", "angry")
HOSTILE = ("<script>alert(1)</script>", "\" onmouseover='alert(1)", "{{ 7 * 7 }}&lt;")
FILES = (
    "<b>bold</b>.wav",  # of which the slash makes a folder
    "\" onerror='alert(1)'.wav",
    "line\nbreak.wav",
    b"b\xf6se.wav".decode(errors="surrogateescape"),
    "--><img src=x>&amp;.wav",
    "plain.wav",
)
HISTORY = {"loss": [2.0, 1.0], "val_loss": [2.1, 1.7], "uar": [0.2, 0.5], "val_uar": [0.1, 0.6]}
SECONDS = 9


class Page(HTMLParser):
    """A page taken apart as a browser does it: its elements, and the text of each kind of element."""

    def __init__(self, content):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self._open = [], [], []
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, text):
        if self._open and self._open[-1] != "style":
            self.texts.append(" ".join(text.split()))

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(self.texts)


def page_of(report, path, **settings):
    report.save_html(path, **settings)
    return Page(path.read_text(encoding="utf-8"))


def report_of(folder, emotions, speakers, files=FILES):
    """All but the last clip are taken for the next emotion, the first one most surely."""
    labels = np.arange(len(files)) % 3
    top = np.linspace(0.9, 0.6, len(files), dtype=np.float32)
    probabilities = np.repeat((1 - top)[:, None] / 2, 3, axis=1)
    guesses = (labels + (np.arange(len(files)) < len(files) - 1)) % 3
    probabilities[np.arange(len(files)), guesses] = top
    utterances = tuple(
        Utterance(folder / name, emotions[label], speaker, "own")
        for name, label, speaker in zip(files, labels, speakers, strict=True)
    )
    return Report(emotions, labels, probabilities, tuple(each.speaker_id for each in utterances), utterances)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, wav_bytes, noise):
    """A report in which every name is an attack."""
    folder = tmp_path_factory.mktemp("hostile")
    for seed, name in enumerate(FILES):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(wav_bytes(noise(SECONDS * 16_000 if seed == 0 else 8_000, seed)))
    return report_of(folder, HOSTILE, (HOSTILE * 2)[: len(FILES)])


@pytest.fixture(scope="module")
def content(hostile, restless_model, tmp_path_factory):
    """The whole page of it."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    about = {"Split <i>": "by speaker & file", "Path": str(hostile.utterances[3].path)}
    hostile.save_html(path, title="<u>Title</u>", model=restless_model, history=HISTORY, about=about)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(content):
    return Page(content)


@pytest.fixture
def report(tmp_path):
    """A report on recordings that are gone."""
    return report_of(tmp_path, EMOTIONS, "aabbcc")


# === Nothing gets out ===


def test_no_name_becomes_an_element(page):
    ours = "html head meta title style body main header div section article h1 h2 h3 p span small b table caption thead"
    ours += " tbody tr th td figure dl dt dd audio svg defs g path text tspan use image clippath rect pattern"
    assert {tag for tag, _ in page.elements} <= set(ours.split())


def test_no_name_becomes_an_attribute(page):
    names = {name for _, attributes in page.elements for name in attributes}
    assert [name for name in names if name.startswith("on")] == []
    labels = [attributes["aria-label"] for attributes in page.of("audio")]
    assert labels[1] == "The first 0.5 seconds of \" onerror='alert(1)'.wav"


@pytest.mark.parametrize("name", [*HOSTILE, *FILES[:3], FILES[4], "own/<script>alert(1)</script>"])
def test_every_name_is_shown_as_it_is(page, name):
    assert " ".join(name.split()) in page.text


def test_bytes_that_are_no_utf8_are_spelt_out(page):
    assert "b\\udcf6se.wav" in page.text


def test_title_and_facts_are_escaped_too(page):
    assert "<u>Title</u>" in page.text
    assert "Split <i>" in page.texts and "by speaker & file" in page.texts


def test_nothing_is_fetched(content, page):
    links = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster")
    ]
    assert links and all(link.startswith(("data:image/png;base64,", "data:audio/wav;base64,", "#")) for link in links)
    policy = next(each["content"] for each in page.of("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';") and "http" not in policy
    assert re.findall(r"url\((?!#)|@import|@font-face", content) == []


def test_the_page_follows_the_light_of_the_system(content):
    assert "prefers-color-scheme: dark" in content
    drawings = re.findall("<svg .*?</svg>", content, re.DOTALL)
    assert len(drawings) == 2 + 5
    for drawing in drawings:
        assert "#000000" not in drawing and "currentColor" in drawing


def test_the_page_is_small(content):
    assert len(content) < 3_000_000


# === For readers of every kind ===


def test_every_picture_has_a_text_instead(page):
    labels = [attributes.get("aria-label", "") for attributes in page.of("svg")]
    assert all(each.get("role") == "img" for each in page.of("svg"))
    assert sum("Reliability" in label for label in labels) == 1
    assert sum("Training curves" in label for label in labels) == 1
    assert sum("attention and log-mel spectrogram" in label for label in labels) == 5


def test_every_table_has_headers_and_a_name(page):
    scopes = [each.get("scope") for each in page.of("th")]
    assert None not in scopes and {"row", "col"} <= set(scopes)
    assert len(page.of("caption")) + sum("aria-label" in each for each in page.of("table")) == len(page.of("table"))


def test_no_two_elements_have_the_same_id(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert ids and len(ids) == len(set(ids))


def test_the_language_is_told_and_phones_are_thought_of(page):
    assert page.of("html") == [{"lang": "en"}]
    assert "width=device-width, initial-scale=1" in [each.get("content") for each in page.of("meta")]


# === Mistakes ===


def sounds_of(page):
    return [base64.b64decode(each["src"].partition(",")[2]) for each in page.of("audio")]


def test_each_mistake_can_be_heard_and_seen(page, hostile):
    assert len(page.of("audio")) == len(page.of("article")) == 5
    for sound, utterance in zip(sounds_of(page), hostile.utterances, strict=False):
        samples, rate = soundfile.read(io.BytesIO(sound))
        expected, _ = soundfile.read(io.BytesIO(utterance.path.read_bytes()))
        assert rate == 16_000 and soundfile.info(io.BytesIO(sound)).subtype == "PCM_16"
        np.testing.assert_allclose(samples, expected[: len(samples)], atol=2**-15)  # 16 bit


def test_only_the_beginning_of_a_long_recording_can_be_heard(page):
    lengths = [len(sound) for sound in sounds_of(page)]
    assert lengths[0] == 44 + 2 * 6 * 16_000 and lengths[1] == 44 + 2 * 8_000
    assert "speaker own/<script>alert(1)</script>, 9.0 s" in page.texts


def test_the_surest_mistakes_come_first(report, tmp_path):
    page = page_of(report, tmp_path / "report.html", num_mistakes=2)
    start = page.texts.index("Most confident errors")
    found = [text for text in page.texts[start:] if re.fullmatch(r"0\.\d{3}", text)]
    assert (found[0], found[3]) == ("0.900", "0.840")
    assert "2 of 5 wrong predictions" in page.text


def test_the_true_emotion_is_among_the_guesses(report, tmp_path, monkeypatch):
    monkeypatch.setattr("ser_keras.evaluation.html_report._MOST_GUESSES", 1)
    page = page_of(report, tmp_path / "report.html", num_mistakes=1)
    start = page.texts.index("Most probable emotions")
    assert [text for text in page.texts[start + 1 :] if text][:4] == ["sad", "0.900", "neutral", "0.050"]


def test_a_recording_that_is_gone_is_named(report, tmp_path):
    page = page_of(report, tmp_path / "report.html", num_mistakes=1)
    assert re.search(r"Cannot be read: .*bold</b>\.wav: cannot be read: No such file", page.text)
    assert page.of("audio") == []


def test_no_mistakes_are_shown_where_none_are_wanted_known_or_made(report, tmp_path):
    unknown = Report(report.emotions, report.labels, report.probabilities)
    right = Report(report.emotions, report.predictions, report.probabilities, report.speakers, report.utterances)
    for each, most in ((report, 0), (unknown, 6), (right, 6)):
        assert page_of(each, tmp_path / "report.html", num_mistakes=most).of("article") == []


def test_a_part_of_a_file_is_cut_out_of_it(tmp_path, wav_bytes):
    samples = np.repeat(np.array([0.1, 0.2, 0.3], np.float32), 16_000)
    (tmp_path / "long.wav").write_bytes(wav_bytes(samples))
    clip = Utterance(tmp_path / "long.wav", "sad", None, "own", start_seconds=1.0, end_seconds=2.0)
    report = Report(EMOTIONS, np.array([1]), np.eye(3, dtype=np.float32)[[2]], (), (clip,))
    page = page_of(report, tmp_path / "report.html")
    heard, _ = soundfile.read(io.BytesIO(sounds_of(page)[0]))
    np.testing.assert_allclose(heard, np.full(16_000, 0.2), atol=2**-15)
    assert "from 1 s to 2 s, 1.0 s" in page.texts


# === What it says ===


def test_caveats_are_beside_the_score(report, tmp_path):
    report = dataclasses.replace(report, caveats=("a caveat of <b>two</b>",))
    page = page_of(report, tmp_path / "report.html", num_mistakes=0)
    for shown in (page.text, str(report)):
        assert shown.index("UAR") < shown.index("a caveat of <b>two</b>") < shown.index("sad")
    assert "a caveat of <b>two</b>" in Page(report._repr_html_()).text
    assert report.to_dict()["caveats"] == ["a caveat of <b>two</b>"]


def test_the_title_says_what_was_evaluated_on_what(report, restless_model, tmp_path):
    settings = {"num_mistakes": 0}
    page = page_of(report, tmp_path / "report.html", model=restless_model, **settings)
    assert "ParallelModel on own" in page.texts
    assert "Speech emotion recognition on own" in page_of(report, tmp_path / "report.html", **settings).texts
    nameless = Report(report.emotions, report.labels, report.probabilities)
    assert "Speech emotion recognition on 6 clips" in page_of(nameless, tmp_path / "report.html", **settings).texts


def test_scores_stand_with_their_interval(report, tmp_path):
    page = page_of(report, tmp_path / "report.html", num_mistakes=0)
    assert f"{report.unweighted_average_recall:.3f}" in page.texts
    assert f"{report.accuracy:.3f}" in page.texts and f"{report.expected_calibration_error:.3f}" in page.texts
    assert f"{report.interval_note.capitalize()}. Chance (dotted) is 0.333." in page.text


def test_the_matrix_of_the_page_is_that_of_the_report(report, tmp_path):
    page = page_of(report, tmp_path / "report.html", num_mistakes=0)
    numbers = [text for text in page.texts[page.texts.index("true") :] if text.isdigit()]
    np.testing.assert_array_equal(np.reshape(numbers[:9], (3, 3)).astype(int), report.confusion_matrix)


def test_versions_and_further_facts_are_told(report, restless_model, tmp_path):
    page = page_of(report, tmp_path / "report.html", model=restless_model, num_mistakes=0, about={"Split": "by hand"})
    assert f"ser_keras {ser_keras.__version__}, TensorFlow " in page.text and f"Keras {keras.__version__}" in page.text
    assert f"ParallelModel, {restless_model.count_params():,} weights" in page.texts
    assert page.texts[page.texts.index("Split") + 1] == "by hand"


def test_without_history_and_speakers_their_sections_are_missing(report, tmp_path):
    full = page_of(report, tmp_path / "report.html", num_mistakes=0, history=HISTORY)
    bare = Report(report.emotions, report.labels, report.probabilities)
    bare = page_of(bare, tmp_path / "report.html", num_mistakes=0)
    assert {"Training", "Speakers"} <= set(full.texts)
    assert "Training" not in bare.texts and "unknown" in bare.texts
    assert len(bare.of("svg")) == 1


def test_a_page_that_fails_leaves_the_old_one(report, tmp_path):
    (tmp_path / "report.html").write_text("old")
    with pytest.raises(KeyError):
        report.save_html(tmp_path / "report.html", history={"loss": [1.0]}, num_mistakes=0)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


# === Jupyter ===


def test_jupyter_shows_scores_and_the_matrix(hostile):
    cell = Page(hostile._repr_html_())
    assert {"UAR", "accuracy", "ECE", f"{hostile.accuracy:.3f}"} <= set(cell.texts)
    (picture,) = cell.of("img")
    assert picture["alt"] == f"Confusion matrix of {', '.join(HOSTILE)}"
    image = base64.b64decode(picture["src"].removeprefix("data:image/png;base64,"))
    assert min(struct.unpack(">II", image[16:24])) > 200
    assert {tag for tag, _ in cell.elements} <= {"div", "table", "tbody", "tr", "th", "td", "img"}


def test_the_page_is_part_of_the_package():
    templates = Path(ser_keras.__file__).parent / "templates"
    assert {"report.html", "report.css", "report_cell.html"} <= {path.name for path in templates.iterdir()}
