"""Cross-validation: what is trained and scored, the figures by hand, and resuming after a stop."""

import csv
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import fails
from conftest import SMALL

from ser_keras import __version__, crossval, preprocessing
from ser_keras.cli import main
from ser_keras.cli.flags import OF_PRESETS
from ser_keras.config import CrossvalConfig, DataConfig
from ser_keras.corpora import Utterance
from ser_keras.crossval import CrossValidation, FoldResult, FoldRow, cross_validate
from ser_keras.crossval.results import HEADER, table_line
from ser_keras.errors import InputError
from ser_keras.evaluation import Report, evaluate_model
from ser_keras.pipeline.recordings import Rejected
from ser_keras.refitting import refit_model
from ser_keras.runs.reading import stamp
from ser_keras.splits import audit_split
from ser_keras.training import train_model

SETTINGS = {**SMALL.to_dict(), "epochs": 1, "batch_size": 8}
SETTINGS = {name: tuple(value) if isinstance(value, list) else value for name, value in SETTINGS.items()}
LIGHT = {"preset": "light"}
QUIET = {"echo": lambda line: None, **LIGHT}


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def run(corpus, make_once):
    """Two folds of two speakers, trained and scored indeed."""
    options = {"protocol": "folds", "num_folds": 2, "seeds": (1,)}

    def make(folder):
        lines = []
        result = cross_validate(corpus, folder / "run", echo=lines.append, **options, **SETTINGS, **LIGHT)
        (folder / "result.pickle").write_bytes(pickle.dumps({"result": result, "lines": lines}))

    folder = make_once("crossval", make)
    made = pickle.loads((folder / "result.pickle").read_bytes())
    return SimpleNamespace(directory=folder / "run", options=options, **made)


@pytest.fixture(scope="module")
def recordings(corpus):
    return crossval.read_recordings(corpus)


@pytest.fixture
def stubbed(monkeypatch, recordings):
    """Folds in no time: a training that gives made-up figures, and predictions drawn from the fold's seed."""
    calls = []

    def make_splits(recordings, split, *, config):
        test = SimpleNamespace(utterances=split.test, class_names=("neutral", "sad", "angry"))
        val = SimpleNamespace(utterances=split.val)
        data = {"train": None, "val": val, "test": test, "train_and_val": (*split.train, *split.val)}
        return SimpleNamespace(**data, emotions=test.class_names, audit=audit_split(split))

    def train(model, train_data, val_data, **_):
        calls.append([clip.speaker for clip in val_data.utterances])
        return SimpleNamespace(history={"val_uar": [0.25, 0.75, 0.5]})

    def evaluate(model, test_data):
        labels = np.array([test_data.class_names.index(each.emotion) for each in test_data.utterances])
        probabilities = np.random.uniform(size=(len(labels), 3)).astype(np.float32)  # seeded by the fold
        speakers = tuple(each.speaker_id for each in test_data.utterances)
        return Report(tuple(test_data.class_names), labels, probabilities, speakers if all(speakers) else ())

    monkeypatch.setattr(crossval, "read_recordings", lambda *_, **__: recordings)
    monkeypatch.setattr(crossval, "make_splits", make_splits)
    monkeypatch.setattr(crossval.gc, "collect", lambda: None)
    monkeypatch.setattr(crossval.keras.backend, "clear_session", lambda: None)
    monkeypatch.setattr(crossval, "train_model", train)
    monkeypatch.setattr(crossval, "refit_model", lambda *_, **__: None)
    monkeypatch.setattr(crossval, "evaluate_model", evaluate)
    model = SimpleNamespace(count_params=lambda: 7, parts=SimpleNamespace(encoder=None))
    monkeypatch.setattr(crossval, "ParallelModel", SimpleNamespace(from_preset=lambda *_, **__: model))
    return calls


def stop_after(monkeypatch, calls, number):
    """Make the training of one fold fail after some have been trained."""
    train = crossval.train_model

    def train_or_stop(*arguments, **options):
        if len(calls) == number:
            raise KeyboardInterrupt
        return train(*arguments, **options)

    monkeypatch.setattr(crossval, "train_model", train_or_stop)


# === what is trained and scored ===


def spoken(recordings, **emotion_of):
    """Return recordings in which each speaker has one emotion."""
    utterances = tuple(replace(each, emotion=emotion_of[f"_{each.speaker}"]) for each in recordings.utterances)
    fingerprints = dict.fromkeys(utterances, "x")
    return replace(recordings, utterances=utterances, fingerprints=fingerprints)


def test_a_fold_with_one_emotion_to_train_on_is_refused_before_the_first_is_trained(
    corpus, tmp_path, stubbed, recordings, monkeypatch
):
    alike = spoken(recordings, _01="sad", _02="angry", _03="angry", _04="angry")
    monkeypatch.setattr(crossval, "read_recordings", lambda *_, **__: alike)
    with pytest.raises(InputError, match=r"1 emotion \(angry\).*2 \(angry, sad\)"):
        cross_validate(corpus, tmp_path / "run", protocol="loso", seeds=(0,), **QUIET)
    assert stubbed == []


def test_an_emotion_that_a_fold_tests_and_does_not_train_on_is_logged(
    corpus, tmp_path, stubbed, recordings, monkeypatch, caplog
):
    rare = tuple(each for each in recordings.utterances if each.emotion != "neutral" or each.speaker == "02")
    monkeypatch.setattr(crossval, "read_recordings", lambda *_, **__: replace(recordings, utterances=rare))
    cross_validate(corpus, tmp_path / "run", protocol="loso", seeds=(0,), **QUIET)
    assert "fold 2: no neutral clip in train" in caplog.text


def test_every_clip_is_predicted_once_for_each_seed(corpus, tmp_path, stubbed):
    cross_validate(corpus, tmp_path / "run", seeds=(0, 7), **QUIET)
    rows = read_csv(tmp_path / "run" / "predictions.csv")
    clips = sorted(str(path) for path in corpus.rglob("*.wav"))
    for seed in ("0", "7"):
        assert sorted(row["path"] for row in rows if row["seed"] == seed) == clips
    assert len({row["probability_sad"] for row in rows}) == len(rows)  # every seed and fold draws its own


def test_a_prediction_is_the_most_probable_emotion_and_its_label_that_of_the_file(run):
    for row in read_csv(run.directory / "predictions.csv"):
        probabilities = {emotion: float(row[f"probability_{emotion}"]) for emotion in ("neutral", "sad", "angry")}
        assert row["predicted"] == max(probabilities, key=probabilities.get)
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert f"_{row['label']}_" in row["path"] and f"/{row['speaker'].removeprefix('manifest/')}/" in row["path"]


def test_the_figures_are_those_of_the_predictions(corpus, tmp_path, stubbed):
    cross_validate(corpus, tmp_path / "run", seeds=(0, 1), **QUIET)
    rows = read_csv(tmp_path / "run" / "predictions.csv")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    pooled = []
    for seed in ("0", "1"):
        mine = [row for row in rows if row["seed"] == seed]
        recalls = [
            np.mean([row["predicted"] == emotion for row in mine if row["label"] == emotion])
            for emotion in ("neutral", "sad", "angry")
        ]
        pooled.append(np.mean(recalls))
    assert metrics["pooled_uar"] == pytest.approx(np.mean(pooled))
    assert metrics["std_over_seeds"] == pytest.approx(np.std(pooled, ddof=1))
    assert metrics["accuracy"] == pytest.approx(np.mean([row["predicted"] == row["label"] for row in rows]))
    assert metrics["mean_fold_uar"] == pytest.approx(np.mean([fold["uar"] for fold in metrics["folds"]]))


@pytest.mark.slow
def test_a_fold_is_scored_as_train_and_evaluate_score_it(run, recordings):
    """The same steps by hand for the last fold give the same figures."""
    config = CrossvalConfig(**run.options)
    split = crossval._make_folds(recordings.utterances, config=config, val_fraction=0.15, seed=1)[1]
    own_seed = crossval._reset(1, 2)
    splits = crossval.make_splits(recordings, split, config=DataConfig(batch_size=8, seed=own_seed))
    model = crossval.ParallelModel(3, config=SMALL)
    history = train_model(model, splits.train, splits.val, epochs=1, verbose=0)
    refit_model(model, splits.train_and_val, epochs=1, verbose=0)
    report = evaluate_model(model, splits.test)
    last = run.result.folds[-1]
    np.testing.assert_allclose(last.report.probabilities, report.probabilities, atol=1e-5)
    assert last.row.validation_uar == pytest.approx(history.history["val_uar"][-1])
    assert last.row.num_weights == model.count_params()


def test_each_seed_carves_other_validation_speakers_out_of_the_training_speakers(corpus, tmp_path, stubbed):
    result = cross_validate(corpus, tmp_path / "run", protocol="loso", seeds=(0, 1, 2, 3), **QUIET)
    of_first_fold = {row.validation_speakers for row in result.rows if row.fold == 1}
    assert len(of_first_fold) > 1
    for row in result.rows:
        assert row.validation_speakers and not set(row.validation_speakers) & set(row.speakers)


def test_loso_tests_each_speaker_alone(corpus, tmp_path, stubbed):
    result = cross_validate(corpus, tmp_path / "run", seeds=(0,), **QUIET)
    assert [row.speakers for row in result.rows] == [(f"manifest/0{number}",) for number in range(1, 5)]


def test_folds_come_from_a_file(corpus, tmp_path, stubbed):
    (tmp_path / "folds.csv").write_text("speaker,fold\n04,a\n01,a\n02,b\n03,b\n")
    options = {"protocol": "folds", "folds": str(tmp_path / "folds.csv"), "seeds": (0,)}
    result = cross_validate(corpus, tmp_path / "run", **options, **QUIET)
    assert [row.speakers for row in result.rows] == [("manifest/01", "manifest/04"), ("manifest/02", "manifest/03")]


def test_the_folds_of_a_run_can_be_given_to_another(run, corpus, tmp_path, stubbed):
    folds = str(run.directory / "folds.csv")
    result = cross_validate(corpus, tmp_path / "run", protocol="folds", folds=folds, seeds=(5,), **QUIET)
    assert [row.speakers for row in result.rows] == [row.speakers for row in run.result.rows]


def test_speakers_kept_apart_are_not_called_optimistic(run):
    metrics = json.loads((run.directory / "metrics.json").read_text())
    assert metrics["optimistic"] is False and "warning" not in metrics
    assert "optimistic" not in str(run.result)


@pytest.mark.filterwarnings("ignore:random folds")
def test_the_random_protocol_shares_speakers_and_says_so(corpus, tmp_path, stubbed):
    result = cross_validate(corpus, tmp_path / "run", protocol="random", num_folds=3, seeds=(0,), **QUIET)
    assert all(len(row.speakers) == 4 and row.num_leaks for row in result.rows)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["optimistic"] is True and metrics["warning"].startswith("optimistic: ")
    assert "The score is optimistic" in str(result)


def test_the_random_protocol_warns_while_it_runs(corpus, tmp_path, stubbed):
    with pytest.warns(match="random folds"):
        cross_validate(corpus, tmp_path / "run", protocol="random", num_folds=2, seeds=(0,), **QUIET)


@pytest.mark.parametrize(("patience", "kept"), [(0, (0.5, 3, 3)), (2, (0.75, 2, 3))])
def test_validation_only_never_scores_a_test_set(corpus, tmp_path, stubbed, monkeypatch, patience, kept):
    monkeypatch.setattr(crossval, "evaluate_model", lambda *_: pytest.fail("a test set was scored"))
    monkeypatch.setattr(crossval, "refit_model", lambda *_, **__: pytest.fail("a validation set was trained on"))
    settings = {"validation_only": True, "seeds": (0, 1), "patience": patience}
    result = cross_validate(corpus, tmp_path / "run", **settings, **QUIET)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["validation_only"] is True and metrics["mean_validation_uar"] == kept[0]
    assert metrics["pooled_uar"] is metrics["accuracy"] is metrics["interval_95"] is None
    assert [(fold["validation_uar"], fold["kept_epoch"], fold["epochs"]) for fold in metrics["folds"]] == [kept] * 8
    assert not (tmp_path / "run" / "predictions.csv").exists()
    assert "pooled" not in str(result) and f"validation UAR  {kept[0]:.3f}" in str(result)


def test_the_table_is_printed_line_by_line(run):
    assert run.lines[0] == HEADER
    assert [line.split()[:2] for line in run.lines[1:3]] == [["1", "1"], ["1", "2"]]
    assert run.lines[3].strip().startswith(f"pooled UAR      {run.result.pooled_uar:.3f}")
    assert len(run.lines) == 4


def test_jupyter_shows_every_fold_and_the_pooled_score(run):
    html = run.result._repr_html_()
    assert html.count("<tr>") == 1 + len(run.result.rows)
    assert all(f'<td style="text-align: left">{row.uar:.3f}</td>' in html for row in run.result.rows)
    assert f"pooled UAR      {run.result.pooled_uar:.3f}" in html


def test_a_run_directory_is_whole(run):
    assert {path.name for path in run.directory.iterdir()} == {
        *("config.json", "environment.json", "folds.csv", "folds", "metrics.json"),
        *("predictions.csv", "confusion_matrix.png", "report.html"),
    }
    config = json.loads((run.directory / "config.json").read_text())
    assert config["crossval"]["num_folds"] == 2 and config["training"]["epochs"] == 1
    assert not {"split", "seed", "test_fraction"} & set(config["data"])  # the folds say it
    assert json.loads((run.directory / "environment.json").read_text())["packages"]["keras"]


# === resuming after a stop ===


def test_finished_folds_are_not_trained_again(corpus, tmp_path, stubbed, monkeypatch):
    whole = cross_validate(corpus, tmp_path / "whole", seeds=(0, 1), **QUIET)
    stubbed.clear()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, stubbed, 3)
        cross_validate(corpus, tmp_path / "run", seeds=(0, 1), **QUIET)
    assert len(list((tmp_path / "run" / "folds").iterdir())) == 3
    resumed = cross_validate(corpus, tmp_path / "run", seeds=(0, 1), resume=True, **QUIET)
    assert len(stubbed) == 8  # 3 before the stop, 5 after it
    for name in ("predictions.csv", "folds.csv", "config.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert resumed.pooled_uar == whole.pooled_uar and resumed.interval_95 == whole.interval_95


def test_seeds_can_be_added_to_a_run(corpus, tmp_path, stubbed):
    """Those that were there are not trained again, and all ends as if they had been asked for together."""
    together = cross_validate(corpus, tmp_path / "whole", seeds=(0, 1, 2), **QUIET)
    cross_validate(corpus, tmp_path / "run", seeds=(1,), **QUIET)
    stubbed.clear()
    added = cross_validate(corpus, tmp_path / "run", seeds=(0, 1, 2), resume=True, **QUIET)
    assert len(stubbed) == 8  # two seeds of four folds
    assert added.pooled_uar == together.pooled_uar
    for name in ("predictions.csv", "folds.csv", "config.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_settings_name_added_seeds_when_these_are_done(corpus, tmp_path, stubbed, monkeypatch):
    cross_validate(corpus, tmp_path / "run", seeds=(0,), **QUIET)
    stubbed.clear()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, stubbed, 1)
        cross_validate(corpus, tmp_path / "run", seeds=(0, 1), resume=True, **QUIET)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["crossval"]["seeds"] == [0]
    cross_validate(corpus, tmp_path / "run", seeds=(0, 1), resume=True, **QUIET)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["crossval"]["seeds"] == [0, 1]
    assert len(stubbed) == 4


def test_resuming_what_is_finished_trains_nothing(run, corpus, recordings, monkeypatch):
    monkeypatch.setattr(crossval, "read_recordings", lambda *_, **__: recordings)
    monkeypatch.setattr(crossval, "train_model", lambda *_, **__: pytest.fail("a fold was trained again"))
    before = (run.directory / "metrics.json").read_bytes()
    cross_validate(corpus, run.directory, resume=True, **run.options, **SETTINGS, **QUIET)
    assert (run.directory / "metrics.json").read_bytes() == before


def test_a_file_that_was_being_written_when_the_run_was_killed_is_not_read(corpus, tmp_path, stubbed, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, stubbed, 1)
        cross_validate(corpus, tmp_path / "run", seeds=(0,), **QUIET)
    (tmp_path / "run" / "folds" / ".4711-seed_0_fold_02.json").write_text('{"row": {"se')
    cross_validate(corpus, tmp_path / "run", seeds=(0,), resume=True, **QUIET)
    assert len(stubbed) == 4


@pytest.mark.slow
def test_a_run_that_was_killed_resumes_at_the_fold_it_was_in(run, corpus, tmp_path):
    """The process gets SIGKILL during the second fold; the figures are those of the uninterrupted run."""
    flags = [
        word
        for name, value in (*LIGHT.items(), *run.options.items(), *SETTINGS.items())
        if name not in OF_PRESETS and not isinstance(value, bool)  # a flag of its own
        for word in (f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else [value]))
    ]
    arguments = ["crossval", "--dataset-path", str(corpus), "--output-dir", str(tmp_path / "run"), *flags]
    process = subprocess.Popen([sys.executable, "-m", "ser_keras", *arguments], stdout=subprocess.DEVNULL)
    first = tmp_path / "run" / "folds" / "seed_1_fold_01.json"
    while not first.exists() and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = {path.name: path.stat().st_mtime_ns for path in first.parent.iterdir() if not path.name.startswith(".")}
    assert done.keys() == {first.name} and not (tmp_path / "run" / "metrics.json").exists()
    assert main([*arguments, "--resume"]) == 0
    for name, changed in done.items():
        assert (first.parent / name).stat().st_mtime_ns == changed
    ours, theirs = (read_csv(folder / "predictions.csv") for folder in (tmp_path / "run", run.directory))
    for row, expected in zip(ours, theirs, strict=True):
        assert (row["path"], row["label"]) == (expected["path"], expected["label"])
        assert float(row["probability_sad"]) == pytest.approx(float(expected["probability_sad"]), abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 2}, "epochs was 1 .* is 2 now"),
        ({"seeds": (0, 2)}, r"seeds was \[1\] .* is \[0, 2\] now"),
        ({"protocol": "loso"}, "protocol was 'folds' .* is 'loso' now"),
        ({"num_mel_bins": 32}, "num_mel_bins was 64"),
    ],
)
def test_other_settings_are_refused_by_name(run, corpus, changes, message):
    with pytest.raises(InputError, match=rf"config\.json: {message}"):
        cross_validate(corpus, run.directory, resume=True, **{**run.options, **SETTINGS, **changes}, **QUIET)


def test_another_version_does_not_resume(run, corpus, monkeypatch):
    monkeypatch.setattr(crossval, "stamp", lambda: {**stamp(), "versions": {"ser_keras": "9.0.0"}})
    with pytest.raises(InputError, match=rf"config\.json: ser_keras {__version__} began this run"):
        cross_validate(corpus, run.directory, resume=True, **run.options, **SETTINGS, **QUIET)


def test_another_corpus_is_refused_by_name(run, corpus):
    with pytest.raises(InputError, match="dataset_path was "):
        cross_validate(corpus.parent, run.directory, resume=True, **run.options, **SETTINGS, **QUIET)


def test_recordings_that_changed_are_refused_by_name(run, corpus, recordings, monkeypatch):
    changed = recordings.utterances[5]
    other = replace(recordings, fingerprints={**recordings.fingerprints, changed: "another sound"})
    monkeypatch.setattr(crossval, "read_recordings", lambda *_, **__: other)
    with pytest.raises(InputError, match=rf"folds\.csv: .* {changed.path}"):
        cross_validate(corpus, run.directory, resume=True, **run.options, **SETTINGS, **QUIET)


def test_without_resume_a_directory_that_holds_something_is_refused(run, corpus):
    with pytest.raises(InputError, match=f"{run.directory}: "):
        cross_validate(corpus, run.directory, **run.options, **SETTINGS, **QUIET)


def test_something_else_is_not_resumed(corpus, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=f"{tmp_path}: "):
        cross_validate(corpus, tmp_path, resume=True, **QUIET)


def test_resume_begins_where_there_is_nothing_yet(corpus, tmp_path, stubbed):
    assert cross_validate(corpus, tmp_path / "run", seeds=(0,), resume=True, **QUIET).pooled_uar


def test_a_damaged_fold_is_refused_by_name(corpus, tmp_path, stubbed):
    cross_validate(corpus, tmp_path / "run", seeds=(0,), **QUIET)
    path = tmp_path / "run" / "folds" / "seed_0_fold_02.json"
    path.write_text('{"row": {}}')
    with pytest.raises(InputError, match=rf"{path.name}: .* remove it"):
        cross_validate(corpus, tmp_path / "run", seeds=(0,), resume=True, **QUIET)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, "cross_validate: epoch; expected crossval, data"),
        ({"seed": 3}, "seed=3: .* seeds instead"),
        ({"split": "random"}, "split='random': .* protocol"),
        ({"seeds": (0, 0)}, r"seeds=\(0, 0\): expected different"),
    ],
)
def test_settings_that_cannot_work_are_refused_and_nothing_is_left(corpus, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        cross_validate(corpus, tmp_path / "run", **settings, **QUIET)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("resume", [False, True])
def test_data_that_cannot_be_used_leave_nothing(tmp_path, resume):
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match="data: an empty folder"):
        cross_validate(tmp_path / "data", tmp_path / "a" / "run", resume=resume, **QUIET)
    assert not (tmp_path / "a").exists()


def test_folds_that_do_not_fit_are_refused_before_anything_is_decoded(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(preprocessing, "load_recordings", lambda *_, **__: pytest.fail("the recordings were decoded"))
    with pytest.raises(InputError, match=r"ravdess_6_folds\.csv, line \d+"):
        cross_validate(corpus, tmp_path / "run", protocol="folds", folds="ravdess", **QUIET)


def test_a_file_of_folds_may_name_a_recording_that_is_broken(corpus, tmp_path, stubbed, recordings, monkeypatch):
    *usable, broken = recordings.utterances
    less = replace(recordings, utterances=tuple(usable), rejected=(Rejected(broken.path, "is silent"),))
    monkeypatch.setattr(crossval, "read_recordings", lambda *_, **__: less)
    folds = tmp_path / "folds.csv"
    folds.write_text("path,fold\n" + "".join(f"{each.path},{each.speaker}\n" for each in recordings.utterances))
    result = cross_validate(corpus, tmp_path / "run", protocol="folds", folds=str(folds), seeds=(0,), **QUIET)
    assert sum(row.num_clips for row in result.rows) == len(usable)


def test_one_emotion_is_refused(corpus, tmp_path, stubbed, recordings, monkeypatch):
    alike = spoken(recordings, _01="sad", _02="sad", _03="sad", _04="sad")
    monkeypatch.setattr(crossval, "read_recordings", lambda *_, **__: alike)
    with pytest.raises(InputError, match="all 48 recordings"):
        cross_validate(corpus, tmp_path / "run", seeds=(0,), **QUIET)
    assert stubbed == []


# === the figures by hand ===


def fold_of(seed, fold, labels, predictions, speakers):
    """A fold whose predictions are known; a speaker of None is not."""
    probabilities = np.full((len(labels), 2), 0.2)
    probabilities[np.arange(len(labels)), predictions] = 0.8
    clips = tuple(
        Utterance(Path(f"{fold}_{number}.wav"), "sad", speaker, "own") for number, speaker in enumerate(speakers)
    )
    known = tuple(each.speaker_id for each in clips)
    report = Report(("happy", "sad"), np.array(labels), probabilities, known if all(known) else ())
    row = FoldRow(
        **{
            "seed": seed,
            "fold": fold,
            "speakers": tuple(sorted(set(known) - {None})),
            "validation_speakers": ("own/v",),
        },
        **{"num_clips": len(labels), "num_leaks": 0, "num_weights": 10, "validation_uar": 0.5, "epochs": 3},
        **{"kept_epoch": 2, "seconds": 1.0, "uar": report.unweighted_average_recall, "accuracy": report.accuracy},
    )
    return FoldResult(row, clips, report)


def made_up(speakers=("a", "a", "b", "b"), seeds=2, seed=0):
    """Two folds of 20 clips; the first speakers are understood better than the last."""
    random, folds = np.random.default_rng(seed), []
    for each in range(seeds):
        for fold in (1, 2):
            labels = np.tile([0, 1], 10)
            right = random.random(20) < (0.9 if fold == 1 else 0.5)
            names = [name and f"{name}{fold}" for name in speakers * (20 // len(speakers))]
            folds.append(fold_of(each, fold, labels, np.where(right, labels, 1 - labels), names))
    return CrossValidation(CrossvalConfig(seeds=tuple(range(seeds))), ("happy", "sad"), tuple(folds))


def test_predictions_are_pooled_before_the_recall():
    """Where a fold lacks a class the mean over folds is another figure."""
    folds = (fold_of(0, 1, [0, 0, 0, 1], [0, 0, 0, 0], "aaaa"), fold_of(0, 2, [1, 1], [1, 1], "bb"))
    result = CrossValidation(CrossvalConfig(seeds=(0,)), ("happy", "sad"), folds)
    assert result.pooled_uar == pytest.approx((1 + 2 / 3) / 2)
    assert result.mean_fold_uar == pytest.approx((0.5 + 1) / 2)
    assert result.accuracy == pytest.approx(5 / 6)


def test_a_score_adapted_to_test_speakers_says_so():
    plain = made_up(seeds=1)
    adapted = replace(plain, config=plain.config.replace(adapt_clips=10))
    assert "Adapted to 10 clips of each test speaker" in str(adapted) and adapted.to_dict()["adapt_clips"] == 10
    assert "Adapted" not in str(plain) and "adapt_clips" not in plain.to_dict()


def test_one_seed_has_no_deviation():
    assert made_up(seeds=1).std_over_seeds is None


def test_more_seeds_of_the_same_predictions_make_the_interval_no_narrower():
    """They are the same clips of the same speakers."""
    one = made_up(speakers=tuple("abcde"), seeds=1)
    again = [FoldResult(replace(each.row, seed=1), each.utterances, each.report) for each in one.folds]
    two = CrossValidation(CrossvalConfig(seeds=(0, 1)), one.emotions, (*one.folds, *again))
    assert one.interval_95 is not None and two.interval_95 == pytest.approx(one.interval_95, abs=1e-9)


def test_without_speakers_there_is_no_interval_and_the_reason_is_told():
    result = made_up(speakers=(None,), seeds=1)
    assert result.interval_95 is None
    assert "unknown" in result.to_dict()["interval_note"] and "unknown" in str(result)


def test_the_line_of_a_fold_shows_its_figures():
    row = replace(made_up().rows[0], speakers=tuple(f"emodb/{number:02d}" for number in range(8)), uar=0.512)
    line = table_line(row)
    assert line.split()[:2] == ["0", "1"] and "emodb/00, emodb/01, emodb/02,..." in line and " 0.512 " in line
    assert len(line) == len(HEADER)


def test_the_line_of_a_fold_that_was_not_scored_has_dashes():
    assert table_line(replace(made_up().rows[0], uar=None, accuracy=None)).split()[4:8] == ["20", "-", "-", "0.500"]


# === the command ===


def test_the_command_names_what_is_missing(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["crossval", "--output-dir", "somewhere"])
    assert "--dataset-path" in capsys.readouterr().err


def test_a_refusal_is_one_line(corpus, tmp_path, capsys):
    (tmp_path / "file").touch()
    line = fails(capsys, "crossval", "--dataset-path", corpus, "--output-dir", tmp_path)
    assert str(tmp_path) in line and "give another --output-dir" in line


def test_settings_of_the_split_are_no_flags(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["crossval", "--dataset-path", "a", "--output-dir", "b", "--test-fraction", "0.5"])
    assert "unrecognized arguments: --test-fraction" in capsys.readouterr().err
