"""The README's blocks work as they stand; that its command lines are understood stands in test_docs.py."""

import json
import re
import runpy
import shutil
import subprocess
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
def test_the_python_story_runs_and_its_export_answers_curl(tmp_path, monkeypatch, capsys):
    """All blocks, in order, in one folder; only the name of the dataset is ours."""
    corpus = make_corpus(tmp_path / "path" / "to" / "dataset", num_speakers=3, clips_per_emotion=1)
    shutil.copy(next(corpus.rglob("*.wav")), tmp_path / "clip.wav")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "*")
    namespace = {}
    for block in blocks("python"):
        exec(block, namespace)
    assert "UAR" in capsys.readouterr().out
    assert (tmp_path / "exports" / "ser" / "1" / "saved_model.pb").is_file()
    if shutil.which("curl"):
        with ServingDouble("exports/ser/1") as server:
            command = curl_block().replace(SERVER, server.rest_url)
            answer = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
        assert json.loads(answer.stdout)["outputs"]["label"][0] in namespace["model"].emotions


def test_pictures_are_there_and_small():
    (picture,) = (ROOT / name for name in re.findall(r"!\[.+?\]\((.+?)\)", README))
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size < 60_000


@pytest.mark.slow
def test_the_picture_is_drawn_by_its_script(exported, corpus, tmp_path):
    script = runpy.run_path(str(ROOT / "docs" / "timeline.py"))
    recordings = map(str, sorted(corpus.rglob("01_*.wav"))[:4])
    script["main"](["--run", str(exported), "--output", str(tmp_path / "timeline.png"), *recordings])
    assert (tmp_path / "timeline.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("anchor", re.findall(r"\(#(.+?)\)", README))
def test_links_within_the_page_lead_to_a_heading(anchor):
    headings = re.findall("^#+ (.+)$", README, re.MULTILINE)
    assert anchor in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def test_there_is_something_to_test():
    assert blocks("python") and shell_lines("make") and shell_lines("ser-keras")
