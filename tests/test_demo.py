"""The demo page, in a real browser, and the verb that serves it."""

import json
import signal
import subprocess
import sys
import threading
import urllib.request

import numpy as np
import pytest
import soundfile
from browser import chromium

from ser_keras import demo
from ser_keras.cli import main
from ser_keras.errors import InputError
from ser_keras.inference import Predictor
from ser_keras.predictions import Prediction

pytestmark = pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting'")  # Gradio's, since pandas 3

RECORDING = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")  # it beeps


@pytest.fixture(scope="module")
def predictor(exported, folder):
    """A model that has predicted before: the first prediction takes long."""
    model = Predictor(exported)
    demo.predict_html(model, folder / "talk.flac")
    return model


@pytest.fixture(scope="module")
def url(predictor):
    """The address of a running demo."""
    with demo.bind("127.0.0.1", 0) as listening:
        server = demo.demo_server(demo.demo_app(predictor, name="runs/<b>"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield "http://{}:{}".format(*listening.getsockname())
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser():
    with chromium(*RECORDING) as started:
        yield started


@pytest.fixture
def requests():
    """Every address that the page asks for."""
    return []


@pytest.fixture
def page(browser, url, requests):
    context = browser.new_context(permissions=["microphone"])
    context.on("request", lambda request: requests.append(request.url))
    context.set_default_timeout(120_000)  # for busy machines
    opened = context.new_page()
    opened.goto(url)
    opened.wait_for_selector("input[type=file]", state="attached")
    yield opened
    context.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, noise):
    """Recordings, good and bad."""
    place = tmp_path_factory.mktemp("recordings")
    soundfile.write(place / "talk.flac", noise(16_000 * 5), 16_000)
    soundfile.write(place / "short.wav", noise(800), 16_000)
    soundfile.write(place / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(place / "long.flac", noise(301 * 1_000), 1_000)
    (place / "broken.wav").write_bytes(b"junk")
    with (place / "large.wav").open("wb") as file:
        file.truncate(demo.MOST_BYTES + 1)
    return place


def result_of(page, path):
    """Upload a file, and return the text of the result."""
    page.set_input_files("input[type=file]", path)
    page.wait_for_selector("#result .label, #result .error")
    return page.inner_text("#result")


@pytest.mark.slow
def test_an_uploaded_recording_is_answered(page, predictor, folder):
    result = result_of(page, folder / "talk.flac")
    expected = predictor.predict(folder / "talk.flac")
    assert page.inner_text("#result .label b") == expected.label
    rows = [row.inner_text().split() for row in page.query_selector_all("#result tr")]
    ordered = sorted(expected.probabilities.items(), key=lambda each: -each[1])
    assert rows == [[name, f"{probability:.3f}"] for name, probability in ordered]
    assert page.query_selector("#result svg") and {"amplitude", "attention", "time, s"} <= set(result.split("\n"))


@pytest.mark.slow
def test_a_recording_from_the_microphone_is_answered(page, predictor):
    page.click("[aria-label='Record audio']")
    page.click("button.record-button")
    page.wait_for_timeout(1_500)
    page.click("button.stop-button >> visible=true")
    page.wait_for_selector("#result .label, #result .error")
    assert page.inner_text("#result .label b") in predictor.emotions


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken.wav", "broken.wav: not audio"),
        ("long.flac", "long.flac: too long: 301.0 s, at most 300.0 s"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line_and_the_next_is_answered(page, folder, name, message):
    result = result_of(page, folder / name)
    assert message in result and len(result.splitlines()) == 1 and str(folder) not in result
    page.click("[aria-label=Clear]")
    page.wait_for_selector("#result .note")
    result_of(page, folder / "talk.flac")
    assert page.query_selector("#result .label") and not page.query_selector("#result .error")


@pytest.mark.slow
def test_a_file_that_is_too_large_is_not_uploaded(page, folder, requests):
    page.set_input_files("input[type=file]", folder / "large.wav")
    page.wait_for_selector("text=exceed the maximum allowed size of 100.0 Mb")
    assert not [each for each in requests if "/upload?" in each]


@pytest.mark.slow
def test_nothing_is_asked_of_another_machine(page, url, folder, requests):
    result_of(page, folder / "talk.flac")
    page.wait_for_load_state("load")
    assert len(requests) > 10
    assert [each for each in requests if not each.startswith((url, "data:", "blob:"))] == []


@pytest.mark.slow
def test_the_page_itself_forbids_to_ask_another_machine(page):
    refused = page.evaluate(
        """() => new Promise(resolve => {
            document.addEventListener("securitypolicyviolation", event => resolve(event.effectiveDirective));
            fetch("https://example.invalid").catch(() => {});
            setTimeout(() => resolve("allowed"), 5000);
        })"""
    )
    assert refused == "connect-src"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_follows_its_colours(page, folder, scheme, tmp_path):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 800})
    page.reload()
    page.wait_for_selector("input[type=file]", state="attached")
    result_of(page, folder / "talk.flac")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    ink = page.evaluate("getComputedStyle(document.querySelector('#result svg text')).fill")
    assert (sum(map(int, ink[4:-1].split(","))) > 384) == (scheme == "dark")
    assert page.screenshot(path=tmp_path / "page.png", full_page=True).startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_model_is_named_and_so_are_its_emotions(page):
    assert page.inner_text("#start .note") == "runs/<b> distinguishes neutral, sad, angry."


def test_each_recording_runs_the_model_once_for_the_whole_and_once_for_its_windows(predictor, folder, monkeypatch):
    called, run = [], predictor._run
    monkeypatch.setattr(
        predictor, "_run", lambda signature, **inputs: called.append(signature) or run(signature, **inputs)
    )
    assert 'class="label"' in demo.predict_html(predictor, folder / "talk.flac")
    assert called == ["serving_default", "timeline"]


def test_a_recording_that_cannot_be_read_is_not_given_to_the_model(predictor, folder, monkeypatch):
    monkeypatch.setattr(predictor, "_run", None)
    for name in ("broken.wav", "long.flac"):
        assert 'role="alert"' in demo.predict_html(predictor, folder / name)


@pytest.mark.parametrize("name", ["short.wav", "silent.wav"])
def test_a_recording_that_the_model_refuses_has_its_reason(predictor, folder, name):
    result = demo.predict_html(predictor, folder / name)
    (prediction,) = predictor.predict([folder / name])
    assert 'role="alert"' in result and prediction.error in result


def test_one_that_is_classified_in_windows_only_has_no_attention(predictor, tmp_path, noise):
    soundfile.write(tmp_path / "talk.wav", noise(16_000 * 21), 16_000)  # more than its graph takes as a whole
    result = demo.predict_html(predictor, tmp_path / "talk.wav")
    assert "amplitude" in result and "attention" not in result


def test_names_are_no_html(predictor, folder, monkeypatch):
    evil = "<script>"
    monkeypatch.setattr(predictor, "predict", lambda _: [Prediction("a.wav", evil, 1.0, {evil: 1.0}, abstained=True)])
    result = demo.predict_html(predictor, folder / "talk.flac")
    assert evil not in result and "&lt;script&gt;" in result and "abstains" in result


def test_a_port_that_is_taken_is_a_mistake():
    with demo.bind("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(InputError, match=rf"127\.0\.0\.1, port {port}: Address already in use; give another"):
            demo.bind("127.0.0.1", port)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 65_536), ("127.0.0.1", -1), ("192.0.2.1", 0)])
def test_an_address_that_cannot_be_is_a_mistake(host, port):
    with pytest.raises(InputError, match=r"192\.0\.2\.1, port 0: |port=.*expected 0 to 65535"):
        demo.bind(host, port)


@pytest.fixture
def served_verb(exported):
    """The verb as a process of its own."""
    command = [sys.executable, "-m", "ser_keras", "demo", "--model", str(exported), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.slow
def test_the_verb_serves_until_it_is_interrupted(served_verb, exported):
    url = json.loads(served_verb.stdout.readline())["url"]
    with urllib.request.urlopen(url) as response:
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
    served_verb.send_signal(signal.SIGINT)
    printed, errors = served_verb.communicate()
    assert served_verb.returncode == 130 and printed == ""
    assert str(exported) in errors and "Traceback" not in errors


def test_without_gradio_there_is_one_line(exported, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "ser_keras.demo")
    monkeypatch.delattr("ser_keras.demo")
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["demo", "--model", str(exported)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("pip install 'ser-keras[demo]'") and "gradio" in line


def test_a_model_that_is_none_is_a_mistake(tmp_path, capsys):
    assert main(["demo", "--model", str(tmp_path), "--port", "0"]) == 2
    assert "holds no SavedModel" in capsys.readouterr().err


def test_the_page_cannot_be_shared_over_the_internet(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["demo", "--model", "x", "--share"])
    assert "--share" in capsys.readouterr().err
