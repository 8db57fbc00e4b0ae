"""The site is built without a warning, asks for nothing outside itself, and its code runs.

In the pages a block of ```python is run, all blocks of a page in order and in one folder; one of ```py shows
something that takes long or needs what is not here, and only its imports are tried.
"""

import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import prose
import pytest
import soundfile
from serving_double import ServingDouble, warm_up

from ser_keras import cli
from ser_keras.audio import load_audio
from ser_keras.model import save_model

ROOT = Path(__file__).parents[1]
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
API = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "api").glob("*.md")))
RUN_ELSEWHERE = {"scale"}  # by tests/test_beam.py, as it is a program of its own
SERVER = "http://localhost:8501"
OUTSIDE = re.compile(r"(?:https?:)?//")
FETCHED = {"img": "src", "script": "src", "iframe": "src", "audio": "src", "source": "src", "object": "data"}


def lines_of(program):
    texts = [*PAGES.values(), (ROOT / "README.md").read_text(encoding="utf-8")]
    return [line for text in texts for line in prose.shell_lines(text, program)]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the site, and what building it printed; whoever asks the network gets no answer."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    nobody = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **nobody, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder, process.stdout + process.stderr


@pytest.fixture(scope="module")
def site(built):
    folder, _ = built
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob("*.html")}


class _Requests(HTMLParser):
    """Collects what a browser fetches to show a page."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "link" and attributes.get("rel") != "canonical":
            self.found.append(attributes["href"])
        if tag in FETCHED:
            self.found.append(attributes.get(FETCHED[tag]) or "")


def test_the_site_is_built_without_a_word(built):
    _, printed = built
    assert printed == ""


def test_no_page_asks_for_anything_outside(site):
    requests = {name: _Requests(page).found for name, page in site.items()}
    assert all("stylesheet" in page for page in site.values()) and all(requests.values())
    assert [(name, url) for name, urls in requests.items() for url in urls if OUTSIDE.match(url)] == []


def test_no_style_sheet_asks_for_anything_outside(built):
    folder, _ = built
    styles = {path.name: path.read_text(encoding="utf-8") for path in folder.rglob("*.css")}
    assert "site.css" in styles
    assert [name for name, text in styles.items() if re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", text)] == []


def test_no_diagram_brings_a_script_from_outside(site):
    assert [name for name, page in site.items() if 'class="mermaid"' in page] == []


def test_every_verb_and_flag_is_on_the_page_of_the_command_line(site):
    page = site["command-line.html"]
    (verbs,) = (action.choices for action in cli.build_parser()._actions if isinstance(action.choices, dict))
    for name, parser in verbs.items():
        assert f'<h2 id="{name}">' in page
        flags = {flag for action in parser._actions for flag in action.option_strings} - {"-h", "--help"}
        assert [flag for flag in flags if flag not in page] == []


def test_every_exit_code_is_there(site):
    rows = re.findall(r"<tr>\s*<td>(\d+)</td>", site["command-line.html"])
    assert rows == ["0", "1", "2", "75", "130"]


def test_corpora_and_settings_are_those_of_the_code(site):
    assert "<code>wav/03a01Fa.wav</code>" in site["your-data.html"]
    assert "<code>log_offset</code>" in site["features.html"]


def test_pages_from_elsewhere_are_reached(site):
    assert 'href="protocols.html"' in site["accuracy.html"] and "EmoBox" in site["protocols.html"]


def test_examples_of_docstrings_are_shown_as_code(site):
    page = site["api/evaluation.html"]
    assert "<blockquote>" not in page
    assert '<span class="gp">&gt;&gt;&gt; </span>' in page


def test_what_pages_and_readme_import_is_described():
    texts = [*PAGES.values(), (ROOT / "README.md").read_text(encoding="utf-8")]
    imported = {
        module for text in texts for module in re.findall(r"^\s*from (ser_keras\S*) import", text, re.MULTILINE)
    }
    described = set(re.findall(r"^::: (\S+)$", API, re.MULTILINE))
    assert imported and imported - described == set()


@pytest.fixture
def desk(tmp_path, corpus, restless_model, exported, monkeypatch):
    """A working directory with what the pages speak of: a corpus, recordings, a run."""
    shutil.copytree(corpus, tmp_path / "path" / "to" / "dataset")
    clips = sorted(corpus.rglob("01_*.wav"))
    shutil.copy(clips[0], tmp_path / "clip.wav")
    interview = np.concatenate([load_audio(clip, sample_rate=16_000) for clip in clips[::4]])
    soundfile.write(tmp_path / "interview.wav", interview, 16_000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    shutil.copytree(exported, tmp_path / "runs" / "mine" / "export" / "1")
    save_model(restless_model, tmp_path / "runs" / "mine" / "model.keras")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.mark.parametrize(
    "name", sorted({name for name in PAGES if prose.blocks(PAGES[name], "python")} - RUN_ELSEWHERE)
)
@pytest.mark.usefixtures("desk")
def test_the_python_of_a_page_runs_as_printed(name):
    namespace = {}
    with ExitStack() as stack:
        for block in prose.blocks(PAGES[name], "python"):
            if SERVER in block:
                server = stack.enter_context(ServingDouble("runs/mine/export/1"))
                warm_up(server, "clip.wav")
                block = block.replace(SERVER, server.rest_url)
            exec(block, namespace)


def test_imports_of_what_is_only_shown_exist():
    shown = [ast.parse(block) for text in PAGES.values() for block in prose.blocks(text, "py")]
    nodes = [node for block in shown for node in ast.walk(block) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in nodes if node.module.startswith("ser_keras")]
    assert ours
    for node in ours:
        assert all(hasattr(importlib.import_module(node.module), alias.name) for alias in node.names)


@pytest.mark.parametrize("line", lines_of("ser-keras"))
def test_command_lines_are_understood(line, monkeypatch):
    called = []
    for module in cli.VERBS.values():
        monkeypatch.setattr(module, "run", called.append)
    assert cli.main(shlex.split(line)[1:]) == 0
    assert len(called) == 1


@pytest.mark.parametrize("line", lines_of("make "))
def test_make_targets_exist(line):
    assert re.search(rf"^{shlex.split(line)[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
