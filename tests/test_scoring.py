"""A trained model on another corpus: which clips count, which do not, and what is said of both."""

import csv
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile

from ser_keras.cli import main
from ser_keras.config import DataConfig
from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.evaluation import Report, evaluate_model
from ser_keras.model import save_model
from ser_keras.preprocessing import preprocess_data
from ser_keras.scoring import CorpusScore, heard_in_training, score_corpus


def make_corpus(folder, labels, noise, speakers="xy"):
    """Two clips of each label for each speaker."""
    rows = ["path,emotion,speaker"]
    for speaker in speakers:
        for number, label in enumerate(labels * 2):
            name = f"{speaker}_{number}.wav"
            soundfile.write(folder / name, noise(8_000, seed=len(rows)), 16_000)
            rows.append(f"{name},{label},{speaker}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def other(noise, tmp_path_factory):
    """A corpus that shares "sad" and "angry" with the model, and has "happy" and "bored" of its own."""
    return make_corpus(tmp_path_factory.mktemp("other"), ["sad", "angry", "happy", "bored", "bored"], noise)


@pytest.fixture(scope="module")
def run(restless_model, tmp_path_factory):
    """A run directory with what an evaluation reads of it."""
    directory = tmp_path_factory.mktemp("run")
    save_model(restless_model, directory / "model.keras")
    lines = ["path,start_seconds,end_seconds,emotion,speaker,side"]
    lines += ["a.wav,,,sad,manifest/x,train", "b.wav,,,sad,manifest/v,val", "c.wav,,,sad,manifest/y,test"]
    (directory / "split.csv").write_text("\n".join(lines))
    return directory


@pytest.fixture(scope="module")
def score(restless_model, other, run):
    return score_corpus(restless_model, other, run=run)


def test_labels_that_both_know_are_scored(score):
    assert score.report.emotions == ("neutral", "sad", "angry")
    assert sorted(each.emotion for each in score.utterances) == ["angry"] * 4 + ["sad"] * 4
    assert [score.report.emotions[label] for label in score.report.labels] == [e.emotion for e in score.utterances]


def test_labels_that_one_side_knows_are_named_with_their_clips(score):
    assert score.left_out == {"happy": 4, "bored": 8}
    assert score.shared == ("sad", "angry") and score.absent == ("neutral",)
    text = str(score)
    assert "bored: unknown to the model, 8 clips left out" in text
    assert "neutral: no clip has this label; the answer counts as a mistake" in text


def test_the_model_chooses_among_all_its_emotions(score, restless_model, other):
    for each, probabilities in zip(score.utterances, score.report.probabilities, strict=True):
        waveform, _ = soundfile.read(each.path, dtype="float32")
        inputs = {"waveform": waveform[None], "num_samples": np.array([len(waveform)], np.int32)}
        np.testing.assert_allclose(probabilities, restless_model(inputs)[0], atol=1e-4)


def test_an_answer_that_the_corpus_lacks_is_a_mistake_and_stands_aside_where_the_choice_is_narrowed():
    probabilities = np.array([[0.5, 0.4, 0.1], [0.2, 0.5, 0.3], [0.4, 0.2, 0.4]])
    clips = tuple(Utterance(Path(f"{n}.wav"), e, None, "own") for n, e in enumerate(("sad", "sad", "angry")))
    score = CorpusScore(Report(("neutral", "sad", "angry"), np.array([1, 1, 2]), probabilities), clips, {})
    assert score.report.unweighted_average_recall == pytest.approx((1 / 2 + 0) / 2)
    assert score.among_shared.unweighted_average_recall == 1
    np.testing.assert_allclose(score.among_shared.probabilities[0], [0.8, 0.2])
    assert "Choosing among the 2 shared emotions: UAR 1.000, accuracy 1.000" in str(score)


def test_a_model_that_gives_shared_emotions_no_probability_at_all_harms_nothing():
    clips = (Utterance(Path("a.wav"), "sad", None, "own"), Utterance(Path("b.wav"), "angry", None, "own"))
    score = CorpusScore(Report(("neutral", "sad", "angry"), np.array([1, 2]), np.eye(3)[[0, 0]]), clips, {})
    assert np.isfinite(score.among_shared.probabilities).all()


def test_the_score_on_the_test_side_is_that_of_evaluate_model(restless_model, corpus):
    splits = preprocess_data(corpus)
    paths = {each.path for each in splits.split.test}
    score = score_corpus(restless_model, corpus, config=DataConfig(batch_size=5))
    mine = [index for index, each in enumerate(score.utterances) if each.path in paths]
    report = evaluate_model(restless_model, splits.test)
    np.testing.assert_allclose(score.report.probabilities[mine], report.probabilities, atol=1e-4)
    assert score.left_out == {} and "shared emotions" not in str(score)


def test_speakers_of_training_and_validation_are_named(score, restless_model, other, run, caplog):
    assert score.heard == ("manifest/x",)  # y was on the test side
    score_corpus(restless_model, other, run=run)
    assert "has heard 1 of these speakers or files" in caplog.text and "manifest/x" in caplog.text


def test_files_are_known_again_where_no_speaker_is_named(tmp_path):
    (tmp_path / "split.csv").write_text(f"path,emotion,speaker,side\n{tmp_path}/deep/../a.wav,sad,,train\n")
    clips = [Utterance(tmp_path / name, "sad", None, "folders") for name in ("a.wav", "b.wav")]
    assert heard_in_training(tmp_path, clips) == (str((tmp_path / "a.wav").resolve()),)


def test_without_a_split_nothing_is_known(tmp_path):
    assert heard_in_training(tmp_path, []) == heard_in_training(None, []) == ()


def test_a_damaged_split_is_refused(tmp_path):
    (tmp_path / "split.csv").write_text("path\nb.wav\n")
    with pytest.raises(InputError, match=r"split\.csv: is damaged"):
        heard_in_training(tmp_path, [])


def test_fewer_than_two_shared_labels_are_refused(restless_model, tmp_path, noise):
    make_corpus(tmp_path, ["sad", "bored"], noise)
    message = r"its labels are sad, bored, the model's neutral, sad, angry; 1 shared, at least 2 are needed"
    with pytest.raises(InputError, match=message):
        score_corpus(restless_model, tmp_path)


# === the command ===


def test_evaluate_writes_every_figure_and_prediction(run, other, tmp_path, capsys, score):
    out = tmp_path / "out"
    assert main(["evaluate", "--model", str(run), "--dataset-path", str(other), "--output-dir", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "bored: unknown to the model, 8 clips left out" in printed and f"{out}   metrics.json" in printed
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["unweighted_average_recall"] == pytest.approx(score.report.unweighted_average_recall)
    assert metrics["left_out"] == {"happy": 4, "bored": 8} and metrics["absent_emotions"] == ["neutral"]
    assert metrics["heard_in_training"] == ["manifest/x"]
    with (out / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and {row["label"] for row in rows} == {"sad", "angry"}
    assert (out / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in out.iterdir()} == {
        *("metrics.json", "predictions.csv", "confusion_matrix.png", "report.html", "config.json", "environment.json"),
    }


def test_evaluate_without_a_directory_only_prints(run, other, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--model", str(run / "model.keras"), "--dataset-path", str(other)]) == 0
    assert "UAR" in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_evaluate_adapts_into_a_new_directory(run, other, tmp_path, capsys):
    before, out = (run / "model.keras").read_bytes(), tmp_path / "out"
    arguments = ["--model", str(run), "--dataset-path", str(other), "--adapt", str(other), "--output-dir", str(out)]
    assert main(["evaluate", *arguments]) == 0
    assert f"adapted to 20 recordings of {other}, which weigh" in capsys.readouterr().err
    assert (run / "model.keras").read_bytes() == before
    adapted = keras.models.load_model(out / "model.keras")
    assert adapted.adaptation["num_recordings"] == 20
    metrics = json.loads((out / "metrics.json").read_text())
    report = score_corpus(adapted, other).report
    assert metrics["unweighted_average_recall"] == pytest.approx(report.unweighted_average_recall)
    assert json.loads((out / "config.json").read_text())["adaptation"] == adapted.adaptation


def test_evaluate_refuses_in_one_line_and_leaves_nothing(run, tmp_path, noise, capsys):
    (tmp_path / "data").mkdir()
    make_corpus(tmp_path / "data", ["happy", "bored"], noise)
    arguments = ["--dataset-path", str(tmp_path / "data"), "--output-dir", str(tmp_path / "out")]
    assert main(["evaluate", "--model", str(run), *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().split("\n")
    assert "0 shared, at least 2 are needed" in line and not (tmp_path / "out").exists()
