"""The report's figures by hand and against scikit-learn, and how evaluate_model comes to them."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, precision_recall_fscore_support

from ser_keras.config import ModelConfig
from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.evaluation import Report, evaluate_model
from ser_keras.files import read_csv
from ser_keras.metrics import speaker_interval
from ser_keras.model import ParallelModel
from ser_keras.pipeline.batches import utterance_as_json

EMOTIONS = ("happy", "sad", "angry")
TINY = ModelConfig(
    conv_filters=(4, 4),
    conv_kernels=(3, 3),
    conv_strides=(2, 1),
    conv_time_pools=(2, 2),
    conv_band_pools=(2, 2),
    lstm_units=4,
    attention_units=4,
)


def report_of(labels, predictions, speakers=(), emotions=EMOTIONS):
    probabilities = np.full((len(labels), len(emotions)), 0.1, np.float32)
    probabilities[np.arange(len(labels)), predictions] = 0.8
    return Report(emotions, np.array(labels), probabilities, tuple(speakers))


def draw_report(seed=0, size=90, speakers=()):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, size)
    return report_of(labels, np.where(rng.random(size) < 0.6, labels, rng.integers(0, 3, size)), speakers)


def report_of_unequal_speakers(speakers):
    """Half of the speakers are understood always, the other half never."""
    labels = np.tile([0, 1, 2], 8 * 4)
    right = np.repeat([True, False] * 4, 12)
    return report_of(labels, np.where(right, labels, (labels + 1) % 3), speakers)


@pytest.fixture
def report():
    #                   a                 b
    return report_of([0, 0, 0, 0, 1, 2, 0, 1], [0, 0, 0, 1, 1, 2, 1, 0], ["a"] * 6 + ["b"] * 2)


def test_the_recall_is_averaged_over_emotions(report):
    assert report.unweighted_average_recall == pytest.approx((3 / 5 + 1 / 2 + 1) / 3)


def test_accuracy_is_the_part_of_the_clips_that_are_right(report):
    assert report.accuracy == 5 / 8


def test_true_emotions_stand_in_the_rows_of_the_matrix(report):
    np.testing.assert_array_equal(report.confusion_matrix, [[3, 2, 0], [1, 1, 0], [0, 0, 1]])


def test_the_matrix_has_a_row_for_an_emotion_that_does_not_occur():
    np.testing.assert_array_equal(report_of([0, 2], [0, 0]).confusion_matrix, [[1, 0, 0], [0, 0, 0], [1, 0, 0]])


def test_an_emotion_that_does_not_occur_does_not_count():
    assert report_of([0, 0, 2], [0, 1, 2]).unweighted_average_recall == 0.75


def test_the_figures_of_each_emotion_are_those_of_scikit_learn():
    report = draw_report()
    precision, recall, f1, clips = precision_recall_fscore_support(report.labels, report.predictions)
    for index, emotion in enumerate(EMOTIONS):
        expected = {
            "recall": recall[index],
            "precision": precision[index],
            "f1": f1[index],
            "clips": clips[index],
        }
        assert report.classes[emotion] == pytest.approx(expected)


def test_the_matrix_is_that_of_scikit_learn():
    report = draw_report(seed=1)
    np.testing.assert_array_equal(report.confusion_matrix, confusion_matrix(report.labels, report.predictions))


def test_each_speaker_has_a_recall_of_the_emotions_that_they_spoke(report):
    assert report.per_speaker == {
        "a": {"unweighted_average_recall": pytest.approx((3 / 4 + 1 + 1) / 3), "clips": 6},
        "b": {"unweighted_average_recall": 0.0, "clips": 2},
    }


def test_without_speakers_none_is_listed():
    assert draw_report().per_speaker == {}


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_contains_the_recall(seed):
    report = draw_report(seed, speakers=tuple("abcdefghi") * 10)
    low, high = report.interval
    assert 0 < low < report.unweighted_average_recall < high < 1


def test_the_interval_is_that_of_the_jackknife_over_speakers():
    """Each speaker is left out once, by hand, and the normal interval of the logits is widened by Student's t."""
    report = draw_report(size=60, speakers=tuple("abcdef") * 10)
    speakers, uars = np.array(report.speakers), []
    for speaker in "abcdef":
        rest = speakers != speaker
        uars.append(balanced_accuracy_score(report.labels[rest], report.predictions[rest]))
    u, error = report.unweighted_average_recall, np.sqrt(5 * np.var(uars))
    half = 2.5706 * error / (u * (1 - u))  # 97.5 % of t with 5 degrees of freedom
    expected = [1 / (1 + np.exp(-(np.log(u / (1 - u)) + sign * half))) for sign in (-1, 1)]
    assert report.interval == pytest.approx(expected, abs=1e-4)


def test_the_interval_covers_the_truth_in_19_of_20_samples_of_speakers():
    """300 samples of 6 speakers: the standard error of the coverage is 1.3 points. A bootstrap covers 85 %."""
    random, hits = np.random.default_rng(0), 0
    for _ in range(300):
        right = random.binomial(10, random.beta(3, 2, (6, 3)))  # of 10 clips of each class; the mean is 0.6
        matrices = right[..., None] * np.eye(3, dtype=int) + (10 - right)[..., None] * np.roll(
            np.eye(3, dtype=int), 1, 1
        )
        low, high = speaker_interval(matrices)
        hits += low <= 0.6 <= high
    assert 0.92 <= hits / 300 <= 0.98


def test_speakers_that_differ_make_the_interval_wider():
    labels = np.tile([0, 1, 2], 8 * 4)
    apart = report_of_unequal_speakers(np.repeat(list("abcdefgh"), 12))
    alike = report_of(labels, np.where(np.arange(96) % 2, labels, (labels + 1) % 3), np.repeat(list("abcdefgh"), 12))
    assert apart.unweighted_average_recall == pytest.approx(0.5) and np.diff(apart.interval) > 0.5
    assert alike.interval is None or np.diff(alike.interval) < 0.3


@pytest.mark.parametrize(
    ("speakers", "reason"),
    [
        ((), "speakers are unknown"),
        (("a",) * 90, "1 speaker, at least 6"),
        (tuple("abcde") * 18, "5 speakers, at least 6"),
    ],
    ids=["unknown", "one", "five"],
)
def test_few_or_unknown_speakers_have_no_interval_and_the_reason_is_told(speakers, reason):
    report = draw_report(speakers=speakers)
    assert report.interval is None and reason in report.interval_note
    assert report.to_dict()["interval_95"] is None and reason in report.to_dict()["interval_note"]
    assert reason in str(report).splitlines()[0]


def test_speakers_that_are_all_right_leave_no_interval():
    labels = [0, 1, 2] * 6
    report = report_of(labels, labels, np.repeat(list("abcdef"), 3))
    assert report.interval is None and "same score" in report.interval_note


def test_a_report_cannot_be_changed(report):
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.labels = np.zeros(8, int)


def test_the_table_begins_with_the_recall_and_its_interval():
    report = draw_report(speakers=tuple("abcdef") * 15)
    low, high = report.interval
    score = f"UAR {report.unweighted_average_recall:.3f} 95 % interval {low:.3f} to {high:.3f}, over 6 speakers"
    assert " ".join(str(report).splitlines()[0].split()) == score


def test_the_table_shows_every_figure(report):
    rows = [line.split() for line in str(report).splitlines()]
    assert ["accuracy", "0.625", "8", "clips"] in rows
    assert ["ECE", "0.175", "expected", "calibration", "error,", "15", "bins"] in rows  # sure 0.8, right 0.625
    assert ["emotion", "recall", "precision", "f1", "clips"] in rows
    assert ["happy", "0.600", "0.750", "0.667", "5"] in rows
    assert ["true", "\\", "predicted", "happy", "sad", "angry"] in rows
    assert ["happy", "3", "2", "0"] in rows
    assert ["speaker", "UAR", "clips"] in rows
    assert ["a", "0.917", "6"] in rows


def test_the_table_leaves_out_speakers_that_are_not_known():
    assert not any(line.startswith("speaker") for line in str(draw_report()).splitlines())
    assert any(line.startswith("speaker") for line in str(draw_report(speakers=tuple("ab") * 45)).splitlines())


def test_the_report_comes_back_from_json(report, tmp_path):
    report.save(tmp_path / "metrics.json")
    assert json.loads((tmp_path / "metrics.json").read_text()) == report.to_dict()


def test_json_holds_every_figure_under_its_full_name(report):
    values = report.to_dict()
    assert values["unweighted_average_recall"] == report.unweighted_average_recall
    assert values["accuracy"] == report.accuracy
    assert values["expected_calibration_error"] == pytest.approx(0.8 - 5 / 8)
    assert values["emotions"] == ["happy", "sad", "angry"]
    assert values["confusion_matrix"] == [[3, 2, 0], [1, 1, 0], [0, 0, 1]]
    assert values["speakers"] == report.per_speaker
    assert values["classes"] == report.classes
    assert draw_report(speakers=tuple("abcdef") * 15).to_dict()["interval_95"] == pytest.approx([0.6, 0.75], abs=0.15)
    assert values["num_clips"] == 8


def test_the_matrix_is_drawn_as_png(report, tmp_path):
    report.draw(tmp_path / "matrix.png")
    assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG")


def utterance_of(name, speaker="03", **part):
    return Utterance(Path(name), "happy", speaker, "own", **part)


def test_predictions_come_back_from_their_table(tmp_path):
    clips = (utterance_of("=a.wav"), utterance_of("long.wav", None, start_seconds=0.5, end_seconds=2.0))
    report = Report(("happy", "=sad"), np.array([0, 1]), np.array([[0.75, 0.25], [0.625, 0.375]]), (), clips)
    report.save_predictions(tmp_path / "predictions.csv")
    shared = {"predicted": "happy"}
    assert read_csv(tmp_path / "predictions.csv") == [
        {"path": "=a.wav", "start_seconds": "", "end_seconds": "", "speaker": "own/03", **shared, "label": "happy"}
        | {"probability_happy": "0.75", "probability_=sad": "0.25"},
        {"path": "long.wav", "start_seconds": "0.5", "end_seconds": "2.0", "speaker": "", **shared, "label": "=sad"}
        | {"probability_happy": "0.625", "probability_=sad": "0.375"},
    ]


def test_predictions_name_the_speakers(report, tmp_path):
    report.save_predictions(tmp_path / "predictions.csv")
    rows = read_csv(tmp_path / "predictions.csv")
    assert [row["speaker"] for row in rows] == ["a"] * 6 + ["b"] * 2
    assert {row["path"] for row in rows} == {""}


def test_probabilities_are_written_with_every_digit(tmp_path):
    probabilities = np.array([[1 / 3, 2 / 3]], np.float32)
    Report(EMOTIONS[:2], np.array([0]), probabilities).save_predictions(tmp_path / "predictions.csv")
    (row,) = read_csv(tmp_path / "predictions.csv")
    assert np.float32(row["probability_happy"]) == probabilities[0, 0]


# === evaluate_model ===


@pytest.fixture(scope="module")
def model():
    return ParallelModel(num_emotions=3, config=TINY)


@pytest.fixture(scope="module")
def named_model():
    return ParallelModel(num_emotions=3, emotions=EMOTIONS, config=TINY)


@pytest.fixture(scope="module")
def clips():
    rng = np.random.default_rng(0)
    return rng.uniform(-0.5, 0.5, (7, 4000)).astype("float32"), np.array([0, 1, 2, 0, 1, 2, 0])


@pytest.fixture(scope="module")
def scored(model, clips):
    return evaluate_model(model, clips)


def utterances_of(speakers):
    return tuple(
        Utterance(Path(f"{number}.wav"), "happy", speaker, "corpus") for number, speaker in enumerate(speakers)
    )


def dataset_of(clips, *, batch_size=3, speakers=None, names=EMOTIONS):
    waveforms, labels = clips
    if speakers is None:
        return tf.data.Dataset.from_tensor_slices(clips).batch(batch_size)
    inputs = {
        "waveform": waveforms,
        "num_samples": np.full(len(labels), waveforms.shape[1]),
        "utterance": [utterance_as_json(each, names) for each in utterances_of(speakers)],
    }
    return tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(batch_size)


def test_a_pair_of_arrays_is_scored_by_what_the_model_says(model, clips, scored):
    waveforms, labels = clips
    inputs = {"waveform": waveforms, "num_samples": np.full(7, 4000, "int32")}
    np.testing.assert_array_equal(scored.labels, labels)
    np.testing.assert_allclose(scored.probabilities, model(inputs, training=False), atol=1e-5)  # float32


def test_one_hot_labels_are_the_same_as_indices(model, clips):
    waveforms, labels = clips
    report = evaluate_model(model, (waveforms, np.eye(3, dtype="float32")[labels]))
    np.testing.assert_array_equal(report.labels, labels)


def test_a_dataset_gives_the_same_report_as_arrays(model, clips, scored):
    report = evaluate_model(model, dataset_of(clips))
    np.testing.assert_allclose(report.probabilities, scored.probabilities, atol=1e-5)


def test_the_batch_size_makes_no_difference(model, clips, scored):
    one_by_one = evaluate_model(model, dataset_of(clips, batch_size=1))
    np.testing.assert_allclose(one_by_one.probabilities, scored.probabilities, atol=1e-5)


def test_padding_makes_no_difference(model, clips, scored):
    waveforms, labels = clips
    inputs = {"waveform": np.pad(waveforms, [(0, 0), (0, 999)]), "num_samples": np.full(7, 4000)}
    report = evaluate_model(model, (inputs, labels))
    np.testing.assert_allclose(report.probabilities, scored.probabilities, atol=1e-4)


def test_sample_weights_do_not_change_the_score(model, clips, scored):
    weighted = evaluate_model(model, (*clips, np.linspace(0, 1, 7)))
    assert weighted.to_dict() == scored.to_dict()


def test_evaluating_leaves_the_weights_as_they_are(model, clips):
    before = [weight.numpy() for weight in model.variables]
    evaluate_model(model, clips)
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def test_the_emotions_are_those_of_the_model(named_model, clips):
    assert evaluate_model(named_model, clips).emotions == EMOTIONS


def test_the_emotions_are_those_of_the_data_where_the_model_knows_none(model, clips):
    assert evaluate_model(model, dataset_of(clips, speakers="aabbbab")).emotions == EMOTIONS


def test_the_emotions_are_numbered_where_nobody_names_them(scored):
    assert scored.emotions == ("0", "1", "2")


def test_the_speakers_are_those_of_the_utterances(model, clips):
    report = evaluate_model(model, dataset_of(clips, speakers="aabbbab"))
    assert report.speakers == tuple(f"corpus/{speaker}" for speaker in "aabbbab")


def test_the_recordings_are_those_of_the_data(model, clips):
    speakers = [*"aabbba", None]
    assert evaluate_model(model, dataset_of(clips, speakers=speakers)).utterances == utterances_of(speakers)


def test_the_speakers_are_unknown_without_utterances(model, clips, caplog):
    assert evaluate_model(model, dataset_of(clips)).speakers == () and "utterances=" in caplog.text


def test_the_speakers_are_unknown_where_one_is(model, clips):
    assert evaluate_model(model, dataset_of(clips, speakers=[*"aabbba", None])).speakers == ()


def test_data_with_other_emotions_are_refused(named_model, clips):
    with pytest.raises(InputError, match="model's emotions are happy, sad, angry, the data's sad, happy, angry: eval"):
        evaluate_model(named_model, dataset_of(clips, speakers="aabbbab", names=("sad", "happy", "angry")))


@pytest.mark.parametrize("as_data", [tuple, dataset_of], ids=["arrays", "dataset"])
def test_data_without_a_clip_are_refused(model, clips, as_data):
    with pytest.raises(InputError, match="the test data holds no clip"):
        evaluate_model(model, as_data(tuple(part[:0] for part in clips)))


@pytest.mark.parametrize("data", ["clips.wav", (np.zeros((2, 4000)),)], ids=["a path", "no labels"])
def test_data_that_are_neither_a_dataset_nor_a_pair_are_refused(model, data):
    with pytest.raises(InputError, match=f"data of type {type(data).__name__}: expected a tf.data.Dataset or a pair"):
        evaluate_model(model, data)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_the_model_does_not_have_is_refused(model, clips, label):
    with pytest.raises(InputError, match="a label is outside 0 to 2: num_emotions=3 does not fit"):
        evaluate_model(model, (clips[0], np.full(7, label)))


def test_data_with_another_number_of_emotions_are_refused(model, clips):
    with pytest.raises(InputError, match=r"num_emotions=3, but the data has 2 \(happy, sad\)"):
        evaluate_model(model, dataset_of(clips, speakers="aabbbab", names=EMOTIONS[:2]))


@pytest.mark.parametrize(
    "derive", [lambda data: data.prefetch(2), lambda data: data.take(3), lambda data: data.shuffle(3)]
)
def test_a_derived_dataset_keeps_its_recordings(model, clips, derive):
    report = evaluate_model(model, derive(dataset_of(clips, speakers="aabbbab")))
    assert sorted(report.speakers) == sorted(f"corpus/{speaker}" for speaker in "aabbbab")
    assert set(report.utterances) == set(utterances_of("aabbbab"))


def test_the_recordings_of_other_data_can_be_given(model, clips):
    report = evaluate_model(model, clips, utterances=utterances_of("aabbbab"))
    assert report.speakers == tuple(f"corpus/{speaker}" for speaker in "aabbbab")


def test_other_than_one_utterance_for_each_clip_are_refused(model, clips):
    with pytest.raises(InputError, match="6 utterances for 7 clips"):
        evaluate_model(model, clips, utterances=utterances_of("aabbba"))
