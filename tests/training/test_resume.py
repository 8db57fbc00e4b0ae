"""`ser-keras train --resume`: a run that was stopped and resumed ends like one that was not stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import QUICK, fails

from ser_keras import runs
from ser_keras.cli import main, train
from ser_keras.errors import InputError
from ser_keras.files import read_csv
from ser_keras.model import load_model
from ser_keras.training.checkpoints import CHECKPOINT


def words(corpus, directory):
    return ["train", "--dataset-path", str(corpus), "--output-dir", str(directory), *QUICK]


def stop(arguments, file, number):
    """Run a command in its own process until a file is there, and send it a signal; return stderr and exit code."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ser_keras", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while not file.exists() and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, number)
    return process.communicate()[1], process.returncode


@pytest.fixture
def uninterrupted(trained_run):
    return trained_run.directory


@pytest.fixture(scope="module")
def resumed(corpus, make_once):
    """Terminated in the second epoch, killed when it was being scored, and then resumed to its end."""

    def make(folder):
        arguments = words(corpus, folder / "run")
        terminated = stop(arguments, folder / "run" / CHECKPOINT, signal.SIGTERM)
        assert (folder / "run" / CHECKPOINT).stat().st_size
        killed = stop([*arguments, "--resume"], folder / "run" / "metrics.json", signal.SIGKILL)
        (folder / "run" / ".0123456789abcdef.part.json").write_text('{"half')
        assert main([*arguments, "--resume"]) == 0
        (folder / "stops.json").write_text(json.dumps({"terminated": terminated, "killed": killed}))

    folder = make_once("resumed", make)
    return SimpleNamespace(directory=folder / "run", **json.loads((folder / "stops.json").read_text()))


@pytest.mark.slow
def test_the_model_is_that_of_an_uninterrupted_run(uninterrupted, resumed):
    models = [load_model(each).get_weights() for each in (uninterrupted, resumed.directory)]
    for ours, theirs in zip(*models, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_so_are_its_files(uninterrupted, resumed):
    for name in ("metrics.json", "history.csv", "config.json", "split.csv", "predictions.csv"):
        assert (resumed.directory / name).read_bytes() == (uninterrupted / name).read_bytes(), name


@pytest.mark.slow
def test_the_same_files_are_there_and_nothing_half_written(uninterrupted, resumed):
    names = [sorted(path.name for path in each.iterdir()) for each in (uninterrupted, resumed.directory)]
    assert names[0] == names[1]
    exported = [
        sorted(path.name for path in (each / "export").iterdir()) for each in (uninterrupted, resumed.directory)
    ]
    assert exported[0] == exported[1]


@pytest.mark.slow
def test_sigterm_ends_it_with_one_line_that_names_resume(resumed):
    (*_, line), code = resumed.terminated[0].strip().splitlines(), resumed.terminated[1]
    assert code == 130
    assert f"--output-dir {resumed.directory} --resume" in line
    assert resumed.killed[1] == -signal.SIGKILL


def test_a_run_that_is_finished_says_so_and_stays_as_it_is(uninterrupted, corpus, capsys):
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")}
    assert main([*words(corpus, uninterrupted), "--resume"]) == 0
    assert str(uninterrupted) in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")} == before


def test_a_run_that_is_finished_gives_its_figures_as_json(uninterrupted, corpus, capsys):
    assert main([*words(corpus, uninterrupted), "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == json.loads((uninterrupted / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--epochs", "3"], "epochs was 2"),
        (["--seed", "1"], "seed was 0"),
        (["--dataset-path", "elsewhere"], "dataset_path was ['"),
    ],
)
def test_other_settings_are_refused_by_name(uninterrupted, corpus, capsys, changes, message):
    assert message in fails(capsys, *words(corpus, uninterrupted), "--resume", *changes)


def test_recordings_that_changed_are_refused_by_name(uninterrupted, corpus, tmp_path, capsys):
    """The run directory holds another fingerprint for one recording."""
    directory = tmp_path / "run"
    directory.mkdir()
    for name in ("config.json", "split.csv"):
        shutil.copy(uninterrupted / name, directory)
    changed = read_csv(directory / "split.csv")[5]
    table = (directory / "split.csv").read_text()
    (directory / "split.csv").write_text(table.replace(changed["fingerprint"], "0" * 32), newline="")
    line = fails(capsys, *words(corpus, directory), "--resume")
    assert "split.csv" in line and changed["path"] in line


def test_resume_needs_to_know_the_run(corpus, capsys):
    line = fails(capsys, "train", "--dataset-path", corpus, "--resume", *QUICK)
    assert "--output-dir" in line


def test_something_else_is_not_resumed(corpus, tmp_path, capsys):
    (tmp_path / "notes.txt").touch()
    line = fails(capsys, *words(corpus, tmp_path), "--resume")
    assert str(tmp_path) in line and "give another --output-dir" in line


def test_resume_begins_where_there_is_nothing_yet_and_leaves_nothing_for_bad_data(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    assert str(tmp_path / "data") in fails(capsys, *words(tmp_path / "data", tmp_path / "a" / "run"), "--resume")
    assert not (tmp_path / "a").exists()


def test_two_processes_do_not_work_in_one_directory(tmp_path):
    with (
        runs.new_directory(tmp_path / "run"),
        pytest.raises(InputError, match="run: another process"),
        runs.run_directory(tmp_path / "run", resume=True),
    ):
        pass
    with runs.run_directory(tmp_path / "run", resume=True) as directory:
        assert directory == tmp_path / "run"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_time_is_exit_code_130(monkeypatch, capsys, number):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(train, "run", lambda options: os.kill(os.getpid(), number))
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    try:
        assert main(["train"]) == 130
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert capsys.readouterr().err.count("\n") == 1
    assert signal.getsignal(signal.SIGTERM) is before
