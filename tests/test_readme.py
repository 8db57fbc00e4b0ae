"""The README's blocks work as they stand; that its command lines are understood stands in test_docs.py."""

import json
import re
import runpy
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import prose
import pytest
from serving_double import ServingDouble

from ser_keras.synthetic import make_corpus

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SERVER = "http://localhost:8501"


def blocks(language):
    return prose.blocks(README, language)


def shell_lines(program):
    return prose.shell_lines(README, program)


def curl_block():
    (block,) = (block for block in blocks("sh") if block.startswith("curl"))
    return block


@pytest.mark.slow
def test_the_python_story_runs_as_printed(tmp_path, monkeypatch, capsys):
    """All blocks, in order, in one folder; only the name of the dataset is ours."""
    corpus = make_corpus(tmp_path / "path" / "to" / "dataset", num_speakers=3, clips_per_emotion=1)
    shutil.copy(next(corpus.rglob("*.wav")), tmp_path / "clip.wav")
    for name in ("a.flac", "b.mp3", "interview.wav"):  # told by their content, not by their names
        shutil.copy(tmp_path / "clip.wav", tmp_path / name)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "*")
    namespace = {}
    with ExitStack() as stack:
        for block in blocks("python"):
            if SERVER in block:
                url = stack.enter_context(ServingDouble("exports/ser/1")).rest_url
                block = block.replace(SERVER, url)
            exec(block, namespace)
        if shutil.which("curl"):
            answer = subprocess.run(["bash", "-c", curl_block().replace(SERVER, url)], capture_output=True, check=True)
            assert json.loads(answer.stdout)["outputs"]["label"][0] in namespace["model"].emotions
    printed = capsys.readouterr().out
    assert "broken.wav: not audio that can be read" in printed and "interview.wav:\n  0.0 to" in printed
    assert "UAR" in printed and (tmp_path / "exports" / "ser" / "1" / "saved_model.pb").is_file()
    assert namespace["answer"]["label"].numpy()[0].decode() in namespace["model"].emotions
    assert namespace["answer"]["error"].numpy()[0] == b""


def test_pictures_are_there_and_small():
    (picture,) = (ROOT / name for name in re.findall(r"!\[.+?\]\((.+?)\)", README))
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size < 60_000


@pytest.mark.slow
def test_the_picture_is_drawn_by_its_script(exported, tmp_path):
    script = runpy.run_path(str(ROOT / "docs" / "timeline.py"))
    script["main"](["--run", str(exported), "--output", str(tmp_path / "timeline.png")])
    assert (tmp_path / "timeline.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("anchor", re.findall(r"\(#(.+?)\)", README))
def test_links_within_the_page_lead_to_a_heading(anchor):
    headings = re.findall("^#+ (.+)$", README, re.MULTILINE)
    assert anchor in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def test_there_is_something_to_test():
    assert len(blocks("python")) >= 2 and shell_lines("make") and shell_lines("ser-keras")
