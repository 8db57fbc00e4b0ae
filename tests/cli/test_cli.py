"""`ser-keras train`, `export` and `convert`: what they write, what they print, how they fail."""

import io
import json
import resource
import subprocess
import sys
from contextlib import redirect_stdout
from types import SimpleNamespace

import keras
import matplotlib.image
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from command_line import QUICK, fails
from corpus_files import make

from ser_keras.adaptation import adapt_normalization
from ser_keras.cli import main, train
from ser_keras.evaluation import evaluate_model
from ser_keras.files import read_csv
from ser_keras.inference import Predictor
from ser_keras.model import load_model
from ser_keras.preprocessing import preprocess_data


@pytest.fixture
def trained(trained_run):
    """A run directory that the command line made, and what it printed."""
    return trained_run


@pytest.fixture
def run(trained):
    return trained.directory


def test_training_prints_its_run_directory(trained):
    assert str(trained.directory) in trained.printed


def test_the_run_directory_is_complete(run):
    expected = {
        *("config.json", "metrics.json", "history.csv", "model.keras", "export", "confusion_matrix.png"),
        *("history.png", "split.csv", "rejected.csv", "environment.json", "tensorboard"),
        *("predictions.csv", "report.html"),
    }
    assert {path.name for path in run.iterdir()} == expected
    assert (run / "export" / "1" / "saved_model.pb").is_file()


def test_metrics_are_those_of_the_saved_model_on_the_test_set(run, corpus):
    metrics = json.loads((run / "metrics.json").read_text())
    splits = preprocess_data(corpus, batch_size=8)
    report = evaluate_model(keras.models.load_model(run / "model.keras"), splits.test)
    assert metrics["unweighted_average_recall"] == pytest.approx(report.unweighted_average_recall)
    assert metrics["accuracy"] == pytest.approx(report.accuracy)
    assert metrics["emotions"] == ["neutral", "sad", "angry"]
    assert metrics["confusion_matrix"] == report.confusion_matrix.tolist()
    assert set(metrics["speakers"]) == {each.speaker_id for each in splits.split.test}


def test_split_csv_names_the_subset_of_each_file(run, corpus):
    rows = read_csv(run / "split.csv")
    assert len(rows) == 48
    split = preprocess_data(corpus, batch_size=8).split
    assert {row["path"] for row in rows if row["subset"] == "test"} == {str(each.path) for each in split.test}


def test_predictions_are_those_that_were_scored(run):
    metrics = json.loads((run / "metrics.json").read_text())
    rows = read_csv(run / "predictions.csv")
    assert len(rows) == metrics["num_clips"]
    assert sum(row["label"] == row["predicted"] for row in rows) / len(rows) == pytest.approx(metrics["accuracy"])


def test_the_report_page_shows_score_training_and_split(run):
    page = (run / "report.html").read_text()
    metrics = json.loads((run / "metrics.json").read_text())
    assert f"{metrics['unweighted_average_recall']:.3f}" in page and "Training curves" in page
    mistakes = round(metrics["num_clips"] * (1 - metrics["accuracy"]))
    assert page.count("<audio") == min(mistakes, 6)


def test_settings_and_environment_are_written(run, corpus):
    config = json.loads((run / "config.json").read_text())
    assert config["training"]["epochs"] == 2 and config["dataset_path"] == [str(corpus)]
    environment = json.loads((run / "environment.json").read_text())
    assert environment["packages"]["keras"] == keras.__version__
    assert environment["seconds"] > 0 and environment["peak_memory_mib"] > 0


def test_pictures_are_pictures(run):
    for name in ("confusion_matrix.png", "history.png"):
        assert np.ptp(matplotlib.image.imread(run / name)) > 0.5


def test_a_second_run_never_overwrites_a_first(run, corpus, capsys):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    line = fails(capsys, "train", "--dataset-path", corpus, "--output-dir", run, *QUICK)
    assert str(run) in line and "another --output-dir" in line
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_predict_reads_a_run_directory(run, corpus, capsys):
    clip = next(corpus.rglob("*.wav"))
    assert main(["predict", str(clip), "--model", str(run)]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["label", "confidence", "file"]
    label, confidence, path = row.split()
    assert label in ("neutral", "sad", "angry") and path == str(clip)
    assert 1 / 3 <= float(confidence) <= 1


@pytest.mark.slow
def test_predict_adapts_a_run_and_leaves_it_as_it_was(run, corpus, capsys):
    clip, before = next(corpus.rglob("*.wav")), (run / "model.keras").read_bytes()
    assert main(["predict", str(clip), "--model", str(run), "--adapt", str(corpus / "01")]) == 0
    printed = capsys.readouterr()
    label, confidence, path = printed.out.splitlines()[1].split()
    assert "12 recordings" in printed.err and "86%" in printed.err
    adapted = adapt_normalization(load_model(run), corpus / "01")
    expected = Predictor.of_model(adapted).predict(clip)
    assert (label, confidence) == (expected.label, f"{expected.confidence:.3f}") and path == str(clip)
    assert (run / "model.keras").read_bytes() == before


@pytest.fixture(scope="module")
def segments(noise, tmp_path_factory):
    """A run on segments of long files, with a broken file among them, and what it printed."""
    folder = tmp_path_factory.mktemp("segments")
    rows = ["path,emotion,speaker,start_seconds,end_seconds", "broken.wav,sad,a,,"]
    (folder / "broken.wav").write_bytes(b"RIFF")
    for number, speaker in enumerate("abc"):
        soundfile.write(folder / f"{speaker}.wav", noise(32_000, seed=number), 16_000)
        rows += [f"{speaker}.wav,happy,{speaker},0,1", f"{speaker}.wav,sad,{speaker},1,2"]
    (folder / "manifest.csv").write_text("\n".join(rows))
    data = ["--dataset-path", str(folder / "manifest.csv"), "--output-dir", str(folder / "run")]
    with redirect_stdout(io.StringIO()) as printed:
        assert main(["train", *data, "--json", *QUICK]) == 0
    return SimpleNamespace(directory=folder / "run", printed=printed.getvalue())


@pytest.mark.slow
def test_the_result_is_json(segments):
    result = json.loads(segments.printed)
    assert result["run_directory"] == str(segments.directory)
    assert result["metrics"]["emotions"] == ["happy", "sad"]


@pytest.mark.slow
def test_rejected_files_are_listed(segments):
    (row,) = read_csv(segments.directory / "rejected.csv")
    assert row["path"].endswith("broken.wav") and row["reason"]


@pytest.mark.slow
def test_segments_of_long_files_train_as_well(segments):
    rows = read_csv(segments.directory / "split.csv")
    assert {(row["start_seconds"], row["end_seconds"]) for row in rows} == {("0.0", "1.0"), ("1.0", "2.0")}


def manifest(folder, text, *files):
    for name in files:
        soundfile.write(folder / name, np.random.default_rng(0).normal(size=8_000) * 0.1, 16_000)
    (folder / "manifest.csv").write_text(text)


BAD_INPUTS = {
    "text files": (lambda folder: (folder / "notes.txt").write_text("hello"), ".txt", "expected"),
    "unknown label": (
        lambda folder: make(folder, "03-01-09-01-01-01-01.wav", "03-01-08-01-01-01-01.wav"),
        "09-01",
        "'09'",
    ),
    "one class": (
        lambda folder: manifest(folder, "path,emotion,speaker\na.wav,sad,1\nb.wav,sad,2\n", "a.wav", "b.wav"),
        "'sad'",
        "at least 2",
    ),
    "one speaker": (
        lambda folder: manifest(folder, "path,emotion,speaker\na.wav,sad,1\nb.wav,happy,1\n", "a.wav", "b.wav"),
        "manifest/1",
        "--split random",
    ),
    "missing path": (
        lambda folder: manifest(folder, "path,emotion\na.wav,sad\nb.wav,happy\n", "a.wav"),
        "b.wav",
        "manifest.csv",
    ),
    "no such folder": (lambda folder: folder.rmdir(), "data", "expected"),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capsys, name):
    prepare, found, remedy = BAD_INPUTS[name]
    (tmp_path / "data").mkdir()
    prepare(tmp_path / "data")
    line = fails(capsys, "train", "--dataset-path", tmp_path / "data", "--output-dir", tmp_path / "a" / "run", *QUICK)
    assert found in line and remedy in line
    assert not (tmp_path / "a").exists()


def test_another_number_of_emotions_is_one_line_and_leaves_nothing(tmp_path, corpus, capsys):
    out = tmp_path / "run"
    line = fails(capsys, "train", "--dataset-path", corpus, "--output-dir", out, "--num-emotions", 8, *QUICK)
    assert "num_emotions=8" in line and "num_emotions=3" in line
    assert not out.exists()


TENSORFLOW_SAYS = {
    "full disk": (
        "{{function_node __wrapped__CreateSummaryFileWriter_}} /runs/a b/events.v2; No space left on device\n"
        "\tFailed to flush 1 events",
        "ser-keras train: /runs/a b/events.v2; No space left on device\n",
    ),
    "lost recording": (
        "{{function_node f}} Error in user-defined function: InputError: a.wav: has changed since it was first "
        "read; start again\nTraceback (most recent call last):\n",
        "ser-keras train: a.wav: has changed since it was first read; start again\n",
    ),
}


@pytest.mark.parametrize("kind", TENSORFLOW_SAYS)
def test_errors_of_tensorflow_about_the_user_s_files_are_one_line(monkeypatch, capsys, kind):
    raised, expected = TENSORFLOW_SAYS[kind]

    def fail(options):
        raise tf.errors.ResourceExhaustedError(None, None, raised)

    monkeypatch.setattr(train, "run", fail)
    assert main(["train"]) == 2
    assert capsys.readouterr().err == expected


def test_other_errors_of_tensorflow_keep_their_traceback(monkeypatch):
    def fail(options):
        raise tf.errors.ResourceExhaustedError(None, None, "{{node x}} OOM when allocating tensor with shape[1]")

    monkeypatch.setattr(train, "run", fail)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        main(["train"])


@pytest.mark.slow
def test_a_disk_that_fills_up_while_training_ends_with_one_line(tmp_path, corpus, capsys):
    """The largest file that this process may write is as good as a full disk: it fails in the middle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        line = fails(capsys, "train", "--dataset-path", corpus, "--output-dir", tmp_path / "run", *QUICK)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(tmp_path / "run") in line and "File too large" in line
    assert (tmp_path / "run" / "config.json").exists()
    assert not list((tmp_path / "run").glob(".*"))


def test_a_place_that_cannot_be_written_is_found_before_the_work(tmp_path, corpus, capsys):
    (tmp_path / "file").touch()
    line = fails(capsys, "train", "--dataset-path", corpus, "--output-dir", tmp_path / "file" / "run", *QUICK)
    assert str(tmp_path / "file") in line


@pytest.mark.parametrize(
    ("flags", "named"),
    [(["--epochs", "0"], "epochs=0"), (["--fft-length", "100"], "fft_length=100"), (["--cache", ""], "cache=''")],
)
def test_settings_that_are_not_allowed_are_one_line(tmp_path, corpus, capsys, flags, named):
    assert named in fails(capsys, "train", "--dataset-path", corpus, "--output-dir", tmp_path / "run", *flags)


def test_an_unknown_flag_is_one_line_and_exit_code_2(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--epoch-count", "3"])
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.strip().split("\n")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", [["-m", "ser_keras.train"], ["-m", "ser_keras", "train"]])
def test_every_entry_has_the_same_help(command):
    done = subprocess.run([sys.executable, *command, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: ser-keras train")
    assert "--dataset-path" in done.stdout and "(default: 32)" in done.stdout


def test_export_writes_a_version_with_the_figures_of_the_run(run, tmp_path, capsys):
    arguments = ["export", "--run", str(run), "--output-dir", str(tmp_path / "models" / "ser")]
    assert main([*arguments, "--window-seconds", "2", "--batch-sizes", "1", "2", "--json"]) == 0
    version = tmp_path / "models" / "ser" / "1"
    captured = capsys.readouterr()
    assert str(version) in captured.err
    assert json.loads(captured.out)["version"] == str(version)
    card = (version / "README.md").read_text()
    metrics = json.loads((run / "metrics.json").read_text())
    assert f"| {metrics['unweighted_average_recall']:.3f} |" in card
    assert "2.0 s" in card
    assert "max_batch_size { value: 2 }" in (version.parent / "batching.config").read_text()


def test_the_model_card_of_an_adapted_export_describes_the_adaptation(run, corpus, tmp_path, capsys):
    arguments = ["export", "--run", str(run), "--output-dir", str(tmp_path / "ser"), "--adapt", str(corpus / "01")]
    assert main([*arguments, "--abstain-below", "0.4"]) == 0
    assert "12 recordings" in capsys.readouterr().err
    card = (tmp_path / "ser" / "1" / "README.md").read_text()
    assert all(each in card for each in ("12 recordings", "86 %", "0.4", "temperature"))


def test_the_export_of_a_run_has_its_figures_too(run):
    uar = json.loads((run / "metrics.json").read_text())["unweighted_average_recall"]
    assert f"| {uar:.3f} |" in (run / "export" / "1" / "README.md").read_text()
    assert 'name: "ser"' in (run / "export" / "models.config").read_text()


def test_export_needs_a_run(tmp_path, capsys):
    line = fails(capsys, "export", "--run", tmp_path, "--output-dir", tmp_path / "models")
    assert str(tmp_path / "model.keras") in line and "run directory" in line
    assert not (tmp_path / "models").exists()


def test_export_names_a_damaged_model(tmp_path, capsys):
    (tmp_path / "model.keras").write_bytes(b"PK damaged")
    line = fails(capsys, "export", "--run", tmp_path, "--output-dir", tmp_path / "models")
    assert str(tmp_path / "model.keras") in line


def test_export_refuses_windows_that_leave_gaps(run, tmp_path, capsys):
    line = fails(capsys, "export", "--run", run, "--output-dir", tmp_path / "models", "--hop-seconds", "5")
    assert "hop_seconds=5.0" in line and "window_seconds=3.0" in line


@pytest.mark.slow
def test_convert_writes_files_and_prints_the_table(run, tmp_path, capsys):
    directory = tmp_path / "small"
    assert main(["convert", "--run", str(run), "--output-dir", str(directory), "--formats", "tflite"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("| tflite | ") == 3 and str(directory) in printed
    assert printed.strip().splitlines()[:6] == (directory / "README.md").read_text().splitlines()[2:8]
