"""The code of the pages runs; tests/test_site.py looks at the site that is built from them.

In the pages a block of ```python is run, all blocks of a page in order and in one folder; one of ```py shows
something that takes long or needs what is not here, and only its imports are tried.
"""

import ast
import importlib
import re
import shlex
import shutil
from contextlib import ExitStack
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


def lines_of(program):
    texts = [*PAGES.values(), (ROOT / "README.md").read_text(encoding="utf-8")]
    return [line for text in texts for line in prose.shell_lines(text, program)]


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


@pytest.mark.slow
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
