"""The README's lines work as they stand."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from ser_keras import cli
from ser_keras.synthetic import make_corpus

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def shell_lines(program):
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith(program)]


def test_the_python_story_runs_as_printed(tmp_path, monkeypatch, capsys):
    """All blocks, in order, in one folder; only the name of the dataset is ours."""
    corpus = make_corpus(tmp_path / "path" / "to" / "dataset", num_speakers=3, clips_per_emotion=1)
    shutil.copy(next(corpus.rglob("*.wav")), tmp_path / "clip.wav")
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in blocks("python"):
        exec(block, namespace)
    printed = capsys.readouterr().out
    assert "UAR" in printed and (tmp_path / "exports" / "ser" / "1" / "saved_model.pb").is_file()
    assert namespace["answer"]["label"].numpy()[0].decode() in namespace["model"].emotions
    assert namespace["answer"]["error"].numpy()[0] == b""


@pytest.mark.parametrize("line", shell_lines("make"))
def test_make_targets_exist(line):
    target = shlex.split(line)[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("line", shell_lines("ser-keras"))
def test_command_lines_are_understood(line, monkeypatch):
    called = []
    for module in cli.VERBS.values():
        monkeypatch.setattr(module, "run", called.append)
    assert cli.main(shlex.split(line)[1:]) == 0
    assert len(called) == 1


def test_there_is_something_to_test():
    assert len(blocks("python")) >= 2 and shell_lines("make") and shell_lines("ser-keras")
