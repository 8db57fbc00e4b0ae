import logging
import shutil
from html import escape

import numpy as np
import pytest
import soundfile

from ser_keras import preprocessing
from ser_keras.config import DataConfig
from ser_keras.errors import InputError
from ser_keras.files import read_csv, write_csv
from ser_keras.pipeline.batches import Description, describe, emotions_of
from ser_keras.pipeline.shuffling import epochs_numbered
from ser_keras.preprocessing import preprocess_data
from ser_keras.splits import Split


def clips(dataset):
    """Return every clip of a batched dataset: samples without padding, and label."""
    return [
        (row[:length], int(label))
        for inputs, labels in dataset.as_numpy_iterator()
        for row, length, label in zip(inputs["waveform"], inputs["num_samples"], labels, strict=True)
    ]


def test_unpacks_into_three_datasets_of_speakers_apart(corpus):
    train, val, test = splits = preprocess_data(corpus, batch_size=8)
    assert (train, val, test) == (splits.train, splits.val, splits.test)
    speakers = [{each.speaker for each in side} for side in splits.split]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 4


def test_speakers_in_several_spellings_are_apart_and_told(corpus, tmp_path):
    rows = read_csv(corpus / "manifest.csv")
    for number, row in enumerate(rows):
        row["path"], row["speaker"] = corpus / row["path"], row["speaker"].lstrip("0") if number % 2 else row["speaker"]
    write_csv(tmp_path / "manifest.csv", list(rows[0]), (row.values() for row in rows))
    splits = preprocess_data(tmp_path, allow_outside=True)
    assert not splits.audit.leaks
    assert [len(spellings) for spellings in splits.joined_speakers] == [2, 2, 2, 2]


@pytest.fixture
def contradictory(corpus, tmp_path):
    """Return a manifest in which two raters differ about one clip."""
    rows = [{**row, "path": corpus / row["path"]} for row in read_csv(corpus / "manifest.csv")]
    rows.append({**rows[0], "emotion": "bored"})
    write_csv(tmp_path / "raters.csv", list(rows[0]), (row.values() for row in rows))
    return tmp_path / "raters.csv"


def test_a_clip_with_two_labels_is_rejected_with_its_reason(contradictory):
    splits = preprocess_data(contradictory, allow_outside=True)
    (rejected,) = splits.rejected
    assert "conflicting" in rejected.reason and "bored" in rejected.reason
    assert rejected.path not in {each.path for side in splits.split for each in side}


def test_a_clip_with_two_labels_is_an_error_where_all_is_strict(contradictory):
    with pytest.raises(InputError, match=r"conflicting.*bored"):
        preprocess_data(contradictory, allow_outside=True, strict=True)


def one_speaker_an_emotion(folder, corpus, **columns):
    """Write a manifest in which nobody speaks two emotions."""
    rows = [
        {"path": corpus / row["path"], "emotion": row["emotion"], "speaker": row["emotion"], **columns}
        for row in read_csv(corpus / "manifest.csv")
    ]
    write_csv(folder / "manifest.csv", list(rows[0]), (row.values() for row in rows))
    return folder / "manifest.csv"


def test_a_training_set_of_one_emotion_is_refused_before_anything_is_decoded(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(preprocessing, "load_recordings", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(InputError, match=r"1 emotion .*3 \(angry, neutral, sad\).*several speakers"):
        preprocess_data(one_speaker_an_emotion(tmp_path, corpus), allow_outside=True)


def test_a_split_of_one_s_own_with_one_emotion_to_train_on_is_refused(corpus):
    recordings = preprocessing.read_recordings(corpus)
    sides = [
        tuple(each for each in recordings.utterances if each.emotion == emotion)
        for emotion in ("neutral", "sad", "angry")
    ]
    with pytest.raises(InputError, match=r"1 emotion \(neutral\)"):
        preprocessing.make_splits(recordings, Split(*sides))


def test_an_emotion_that_is_tested_and_not_trained_on_is_told(corpus, tmp_path, caplog):
    rows = read_csv(corpus / "manifest.csv")
    for row in rows:
        row["path"] = corpus / row["path"]
        row["split"] = "test" if row["emotion"] == "sad" else "val" if row["speaker"] == "04" else "train"
    write_csv(tmp_path / "manifest.csv", list(rows[0]), (row.values() for row in rows))
    preprocess_data(tmp_path, allow_outside=True)
    assert "no sad clip in train and val: no model can learn it" in caplog.text


def test_batches_have_the_model_s_form(splits):
    inputs, labels = next(splits.train.as_numpy_iterator())
    assert inputs["waveform"].dtype == np.float32 and inputs["waveform"].shape[0] == 8
    assert inputs["num_samples"].dtype == labels.dtype == np.int32
    for row, length in zip(inputs["waveform"], inputs["num_samples"], strict=True):
        assert not row[length:].any()
    assert 0.01 < np.abs(inputs["waveform"]).max() <= 1.0


@pytest.mark.parametrize("subset", ["val", "test"])
def test_labels_and_samples_belong_to_the_utterances_in_order(splits, subset):
    dataset, expected = getattr(splits, subset), getattr(splits.split, subset)
    assert describe(dataset) == Description(splits.emotions, expected)
    for (samples, label), utterance in zip(clips(dataset), expected, strict=True):
        assert splits.emotions[label] == utterance.emotion
        info = soundfile.info(utterance.path)
        assert len(samples) == pytest.approx(info.duration * 16_000, abs=1)


def test_labels_are_in_the_order_of_the_vocabulary(splits):
    assert splits.emotions == ("neutral", "sad", "angry")
    assert all(emotions_of(dataset) == splits.emotions for dataset in splits)


@pytest.mark.parametrize(
    "derive",
    [lambda data: data.map(lambda *batch: batch).prefetch(1), lambda data: data.take(2), lambda data: data.shuffle(9)],
)
def test_derived_datasets_keep_what_is_known_of_their_clips(splits, derive):
    derived = derive(splits.test)
    description = describe(derived)
    assert description.emotions == splits.emotions
    if derived.cardinality() == splits.test.cardinality():
        assert set(description.utterances) == set(splits.split.test)


def test_training_is_shuffled_anew_in_each_epoch_and_repeats_with_the_seed(corpus):
    def epochs(seed):
        train = preprocess_data(corpus, batch_size=8, seed=seed, val_fraction=0.25, test_fraction=0.25).train
        return [np.concatenate([labels for _, labels in train.as_numpy_iterator()]) for _ in range(2)]

    first, second = epochs(0)
    assert not np.array_equal(first, second)
    again = epochs(0)
    np.testing.assert_array_equal(again, [first, second])


def test_an_epoch_has_the_same_batches_whatever_ran_before_it(corpus):
    def batches(train):
        return [(inputs["waveform"].tobytes(), labels.tolist()) for inputs, labels in train.as_numpy_iterator()]

    one, other = (preprocess_data(corpus, batch_size=8, crop_seconds=0.5).train for _ in range(2))
    uninterrupted = [batches(one) for _ in range(3)]
    derived = other.map(lambda inputs, labels: (inputs, labels)).prefetch(1)
    with epochs_numbered() as number:
        number.epoch = 2
        assert batches(other) == batches(derived) == uninterrupted[2]
        number.epoch = 0
        assert batches(derived) == uninterrupted[0]
    assert uninterrupted[0] != uninterrupted[1] != uninterrupted[2]


def test_training_crops_long_clips_at_random(corpus):
    train = preprocess_data(corpus, batch_size=8, crop_seconds=0.5).train
    starts = [[samples[:50].tobytes() for samples, _ in clips(train)] for _ in range(2)]
    assert all(len(samples) == 8_000 for samples, _ in clips(train))
    assert len(set(starts[0]) & set(starts[1])) < len(starts[0]) / 2


def test_validation_is_never_cropped(corpus):
    val = preprocess_data(corpus, batch_size=8, crop_seconds=0.5).val
    assert min(len(samples) for samples, _ in clips(val)) > 8_000


@pytest.mark.parametrize("batch_size", [5, 7, 8])
def test_an_epoch_holds_every_clip_in_batches_of_almost_one_size(corpus, batch_size):
    splits = preprocess_data(corpus, batch_size=batch_size)
    sizes = [len(labels) for _, labels in splits.train]
    assert len(sizes) == -(-len(splits.split.train) // batch_size) == splits.train.cardinality()
    assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1
    assert sorted(map(hash, describe(splits.train).utterances)) == sorted(map(hash, splits.split.train))


def test_a_training_set_smaller_than_a_batch_is_one_batch(corpus):
    assert len(list(preprocess_data(corpus, batch_size=500).train)) == 1


def test_bad_files_are_reported_in_one_table(tmp_path, noise, caplog):
    for speaker in "abcd":
        for emotion in ("happy", "sad"):
            for take in range(2):
                path = tmp_path / emotion / f"{speaker}{take}.wav"
                path.parent.mkdir(exist_ok=True)
                soundfile.write(path, noise(8_000, seed=ord(speaker) + take), 16_000)
    (tmp_path / "happy" / "broken.wav").write_bytes(b"nothing")
    soundfile.write(tmp_path / "sad" / "silent.wav", np.zeros(8_000), 16_000)
    with caplog.at_level(logging.WARNING), pytest.warns(UserWarning, match="optimistic"):
        splits = preprocess_data(tmp_path)
    table = next(record.message for record in caplog.records if "rejected" in record.message)
    assert "2 files rejected" in table and "broken.wav" in table and "silent" in table
    assert {each.path.name for each in splits.rejected} == {"broken.wav", "silent.wav"}


def test_identical_audio_in_two_subsets_is_audited(tmp_path, noise, caplog):
    rows = ["path,emotion,speaker,split"]
    for index, side in enumerate(("train", "train", "val", "val", "test", "test")):
        seed = 0 if index in (0, 4) else index
        soundfile.write(tmp_path / f"{index}.wav", noise(8_000, seed=seed), 16_000)
        rows.append(f"{index}.wav,{('happy', 'sad')[index % 2]},{side},{side}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    with caplog.at_level(logging.WARNING):
        splits = preprocess_data(tmp_path)
    assert [finding.kind for finding in splits.audit.leaks] == ["audio"]
    assert "0.wav" in caplog.text and "4.wav" in caplog.text


def test_one_emotion_only_is_an_error(tmp_path, noise):
    for speaker in "abc":
        (tmp_path / "sad").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "sad" / f"{speaker}.wav", noise(8_000), 16_000)
    with pytest.raises(InputError, match="all 3 recordings are labelled 'sad': a classifier needs at least 2"):
        preprocess_data(tmp_path)


def test_a_manifest_split_that_is_missing_is_an_error_before_anything_is_decoded(corpus, monkeypatch):
    monkeypatch.setattr(preprocessing, "load_recordings", lambda *_, **__: pytest.fail("the recordings were decoded"))
    with pytest.raises(InputError, match="no manifest gives its split"):
        preprocess_data(corpus, split="manifest")


def test_an_unknown_setting_is_an_error(corpus):
    with pytest.raises(InputError, match="DataConfig has no batchsize"):
        preprocess_data(corpus, config=DataConfig(), batchsize=3)


def test_jupyter_shows_the_subsets_the_audit_and_the_rejected_files(corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "corpus")
    manifest = tmp_path / "corpus" / "manifest.csv"
    (tmp_path / "corpus" / "silent.wav").write_bytes(b"")
    manifest.write_text(manifest.read_text() + "silent.wav,sad,01,female,\n")
    splits = preprocess_data(manifest)
    html = splits._repr_html_()
    for side, clips in splits.split._asdict().items():
        counts = [len(clips), len({clip.speaker for clip in clips}), *(len(clips) // 3 for _ in range(3))]
        cells = "".join(f'<td style="text-align: left">{value}</td>' for value in (side, *counts))
        assert cells in html
    assert escape(str(splits.audit)) in html and "silent.wav" in html
