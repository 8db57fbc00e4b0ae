"""A trained model on another corpus: which clips count, which do not, and what is said of both."""

import csv
import dataclasses
import io
import json
import shutil
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile

from ser_keras.adaptation import adapt_normalization, evaluate_by_speaker
from ser_keras.cli import main
from ser_keras.config import DataConfig
from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.evaluation import Report, evaluate_model
from ser_keras.evaluation.scoring import CorpusScore, adapted_to, score_corpus, seen_in_training
from ser_keras.files import write_csv
from ser_keras.model import load_model, save_model
from ser_keras.pipeline.clips import fingerprint
from ser_keras.preprocessing import preprocess_data, read_recordings


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
def run(restless_model, noise, tmp_path_factory):
    """A run directory with what an evaluation reads of it."""
    directory = tmp_path_factory.mktemp("run")
    save_model(restless_model, directory / "model.keras")
    write_split(directory, [("train", noise(8_000, seed=1))])
    return directory


@pytest.fixture(scope="module")
def recordings(other):
    return read_recordings(other)


@pytest.fixture(scope="module")
def score(restless_model, other, run):
    return score_corpus(restless_model, other, run=run)


def test_labels_that_both_know_are_scored(score):
    assert score.report.emotions == ("neutral", "sad", "angry")
    assert sorted(each.emotion for each in score.utterances) == ["angry"] * 4 + ["sad"] * 4
    assert [score.report.emotions[label] for label in score.report.labels] == [e.emotion for e in score.utterances]


def test_labels_that_one_side_knows_are_named_with_their_clips(score):
    assert score.unknown_labels == {"happy": 4, "bored": 8}
    assert score.shared == ("sad", "angry") and score.absent == ("neutral",)
    text = str(score)
    assert "bored: unknown to the model, 8 clips not scored" in text
    assert "neutral: no clip has this label; its prediction counts as a mistake" in text


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
    assert score.unknown_labels == {} and "shared emotions" not in str(score)


def write_split(run, rows):
    """Write the split.csv of a run from pairs of a set and the samples of a clip."""
    clips = [(f"{n}.wav", "sad", f"x/{n}", side, sound_of(samples)) for n, (side, samples) in enumerate(rows)]
    write_csv(run / "split.csv", ("path", "emotion", "speaker", "subset", "fingerprint"), clips)


def sound_of(samples):
    """The fingerprint of samples that went through a WAV file of 16 bits."""
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV")
    file.seek(0)
    return fingerprint(soundfile.read(file, dtype="int16")[0])


def test_clips_that_were_in_training_are_counted_by_their_sound(restless_model, other, noise, tmp_path):
    """Two clips of speaker x and one of y, which the run had under other names and from other speakers."""
    write_split(tmp_path, [(side, noise(8_000, seed)) for side, seed in (("train", 1), ("val", 2), ("test", 11))])
    score = score_corpus(restless_model, other, run=tmp_path)
    assert score.seen_in_training == {"num_clips": 2, "train": 1, "val": 1, "test": 1, "speakers": ["manifest/x"]}
    assert "2 of the 8 clips were in training (train 1, val 1; speakers manifest/x)" in str(score)


def test_speakers_of_the_same_name_are_not_taken_for_each_other(recordings, noise, tmp_path):
    columns = ("path", "emotion", "speaker", "subset", "fingerprint")
    row = ("x_0.wav", "sad", "manifest/x", "train", sound_of(noise(8_000, seed=77)))
    write_csv(tmp_path / "split.csv", columns, [row])
    seen = seen_in_training(tmp_path, recordings, recordings.utterances)
    assert seen == {"num_clips": 0, "train": 0, "val": 0, "test": 0, "speakers": []}


def test_a_sound_that_was_in_two_sets_counts_as_trained_on(recordings, noise, tmp_path):
    write_split(tmp_path, [(side, noise(8_000, seed=1)) for side in ("test", "train", "val")])
    seen = seen_in_training(tmp_path, recordings, recordings.utterances)
    assert (seen["train"], seen["val"], seen["test"]) == (1, 0, 0)


def test_clips_of_unknown_speakers_are_compared_as_well(recordings, noise, tmp_path):
    write_split(tmp_path, [("train", noise(8_000, seed=1))])
    nameless = {dataclasses.replace(each, speaker=None): value for each, value in recordings.fingerprints.items()}
    seen = seen_in_training(tmp_path, dataclasses.replace(recordings, fingerprints=nameless), tuple(nameless))
    assert seen["num_clips"] == 1 and seen["speakers"] == []


def test_without_a_split_it_is_said_that_nothing_is_known(restless_model, other, recordings, tmp_path):
    assert seen_in_training(tmp_path, recordings, recordings.utterances) is None
    score = score_corpus(restless_model, other)
    assert score.seen_in_training is None and score.to_dict()["seen_in_training"] is None
    assert "it is not known which clips were in training" in str(score)


@pytest.mark.parametrize("content", ["path\nb.wav\n", "path,emotion,speaker,subset\nb.wav,sad,x,train\n"])
def test_a_damaged_split_is_refused(recordings, tmp_path, content):
    (tmp_path / "split.csv").write_text(content)
    with pytest.raises(InputError, match=r"split\.csv: is damaged"):
        seen_in_training(tmp_path, recordings, recordings.utterances)


# === adapted models ===


def test_a_model_that_was_adapted_to_scored_clips_is_transductive(restless_model, other, run):
    adapted = adapt_normalization(restless_model, [other / "x_0.wav", other / "y_1.wav", other / "x_2.wav"])
    score = score_corpus(adapted, other, run=run)
    assert {name: score.adapted_to[name] for name in ("num_recordings", "num_scored", "transductive")} == {
        "num_recordings": 3,
        "num_scored": 2,  # the label of the third is not the model's
        "transductive": True,
    }
    assert "transductive: the model was adapted to 3 recordings, and 2 of the 8 scored" in str(score)


def test_a_score_by_speaker_says_that_the_model_was_adapted_to_scored_clips(restless_model, other, run):
    score = score_corpus(restless_model, other, run=run, evaluate=partial(evaluate_by_speaker, restless_model, clips=1))
    speakers = len({each.speaker_id for each in score.utterances})
    assert f"these {speakers} of the {len(score.utterances)} clips are scored too" in str(score)


def test_copies_under_other_names_and_arrays_are_known_again(restless_model, other, recordings, tmp_path):
    shutil.copy(other / "x_0.wav", tmp_path / "copy.wav")
    waveform, _ = soundfile.read(other / "x_0.wav", dtype="float32")
    for sound in (tmp_path, [waveform]):
        about = adapted_to(adapt_normalization(restless_model, sound), recordings, recordings.utterances)
        assert about["num_scored"] == 1 and about["transductive"]


def test_parts_of_a_recording_that_was_adapted_to_are_known_again(restless_model, noise, tmp_path):
    soundfile.write(tmp_path / "talk.wav", noise(16_000), 16_000)
    rows = [("talk.wav", "sad", 0.0, 0.5), ("talk.wav", "angry", 0.5, 1.0)]
    write_csv(tmp_path / "manifest.csv", ("path", "emotion", "start_seconds", "end_seconds"), rows)
    parts = read_recordings(tmp_path)
    assert adapted_to(adapt_normalization(restless_model, tmp_path), parts, parts.utterances)["num_scored"] == 2


def test_a_model_that_was_adapted_to_other_recordings_is_not_transductive(restless_model, other, run, noise):
    score = score_corpus(adapt_normalization(restless_model, [noise(8_000, seed=99)]), other, run=run)
    assert not score.adapted_to["transductive"] and score.adapted_to["num_scored"] == 0
    assert "transductive" not in str(score) and "adapted to 1 recordings, and 0 of the 8" in str(score)


def test_a_model_that_was_not_adapted_has_no_such_caveat(score):
    assert score.adapted_to is None and score.to_dict()["adapted_to"] is None
    assert not any("adapted" in caveat for caveat in score.report.caveats)


def test_an_adapted_model_remembers_after_it_was_saved(restless_model, other, recordings, tmp_path):
    save_model(adapt_normalization(restless_model, other), tmp_path / "model.keras")
    about = adapted_to(load_model(tmp_path / "model.keras"), recordings, recordings.utterances)
    assert about["transductive"] and about["num_scored"] == len(recordings.utterances)


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
    assert "bored: unknown to the model, 8 clips not scored" in printed and f"{out}   metrics.json" in printed
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["unweighted_average_recall"] == pytest.approx(score.report.unweighted_average_recall)
    assert metrics["unknown_labels"] == {"happy": 4, "bored": 8} and metrics["absent_emotions"] == ["neutral"]
    assert metrics["seen_in_training"]["speakers"] == ["manifest/x"] and metrics["adapted_to"] is None
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
    assert metrics["adapted_to"]["num_recordings"] == 20 and metrics["adapted_to"]["num_scored"] == 8
    assert any(caveat.startswith("transductive") for caveat in metrics["caveats"])
    assert "<strong>Caveat:</strong> transductive: the model was adapted to 20" in (out / "report.html").read_text()


def test_evaluate_refuses_in_one_line_and_leaves_nothing(run, tmp_path, noise, capsys):
    (tmp_path / "data").mkdir()
    make_corpus(tmp_path / "data", ["happy", "bored"], noise)
    arguments = ["--dataset-path", str(tmp_path / "data"), "--output-dir", str(tmp_path / "out")]
    assert main(["evaluate", "--model", str(run), *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().split("\n")
    assert "0 shared, at least 2 are needed" in line and not (tmp_path / "out").exists()
