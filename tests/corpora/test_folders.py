"""Which folder is the emotion, the speaker, the split: found by the names, or given as a layout."""

import logging
import os

import pytest
from corpus_files import make

from ser_keras.cli import main
from ser_keras.corpora import read_corpus, scan_corpus
from ser_keras.corpora.layout import Layout, role_of, splits_of
from ser_keras.errors import InputError

EMOTIONS = ("angry", "happy", "neutral", "sad")
SPEAKERS = ("anna", "ben", "carla")


def tree(root, pattern, **values):
    """Make a file for each pair of emotion and speaker, at the place that the pattern says."""
    files = [
        pattern.format(
            emotion=emotion,
            speaker=speaker,
            split=("train", "valid", "test")[index],
            ESD=("train", "evaluation", "test")[index],
            gender=("female", "male", "female")[index],
            number=f"{index + 11:04}",
            take=take,
        )
        for emotion in EMOTIONS
        for index, speaker in enumerate(SPEAKERS)
        for take in range(2)
    ]
    return make(root, *files)


def fields(root, **options):
    """Return the labels of a dataset."""
    return {(each.emotion, each.speaker, each.split, each.gender) for each in read_corpus(root, **options)}


def test_the_only_level_is_the_emotion(tmp_path):
    assert fields(tree(tmp_path, "{emotion}/{speaker}{take}.wav")) == {
        (emotion, None, None, None) for emotion in EMOTIONS
    }


@pytest.mark.parametrize(
    "pattern",
    [
        "{speaker}/{emotion}/{take}.wav",
        "{emotion}/{speaker}/{take}.wav",
        "data/{speaker}/{emotion}/{take}.wav",
        "a/b/{emotion}/c/{speaker}/{take}.wav",
        "{speaker}/{take}_{emotion}.wav",
        "{speaker}/{emotion}-{take}.wav",
        "{speaker}/long/{take}_x_{emotion}.wav",
    ],
)
def test_the_level_of_emotions_is_found_and_the_other_one_is_the_speaker(tmp_path, pattern):
    assert fields(tree(tmp_path, pattern)) == {
        (emotion, speaker, None, None) for emotion in EMOTIONS for speaker in SPEAKERS
    }


@pytest.mark.parametrize(
    "pattern", ["{split}/{emotion}/{speaker}{take}.wav", "x/{split}/{take}{speaker}_{emotion}.wav"]
)
def test_a_level_of_splits_is_the_split(tmp_path, pattern):
    assert fields(tree(tmp_path, pattern)) == {
        (emotion, None, split, None) for emotion in EMOTIONS for split in ("train", "val", "test")
    }


def test_speaker_emotion_and_split_are_read_as_in_esd(tmp_path):
    root = tree(tmp_path, "{number}/{emotion}/{ESD}/{speaker}_{take}.wav")
    splits = {"0011": "train", "0012": "val", "0013": "test"}
    assert fields(root) == {(e, speaker, split, None) for e in EMOTIONS for speaker, split in splits.items()}


def test_women_and_men_are_no_speakers(tmp_path):
    found = fields(tree(tmp_path, "{gender}/{speaker}/{emotion}/{take}.wav"))
    assert {(speaker, gender) for _, speaker, _, gender in found} == {
        *(("anna", "female"), ("ben", "male"), ("carla", "female"))
    }


def test_a_level_named_after_speakers_is_the_speaker_among_others(tmp_path):
    root = make(tmp_path, *(f"{city}/spk{n}/{e}/a.wav" for city in ("rome", "oslo") for n in "12" for e in EMOTIONS))
    assert {each.speaker for each in read_corpus(root)} == {"spk1", "spk2"}


def test_a_folder_for_each_file_is_no_speaker(tmp_path):
    root = make(tmp_path, *(f"{emotion}/clip_{emotion}_{n}/audio.wav" for emotion in EMOTIONS for n in range(3)))
    assert fields(root) == {(emotion, None, None, None) for emotion in EMOTIONS}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_speaker_with_characters_that_are_no_text_is_refused(tmp_path):
    with pytest.raises(InputError, match="UTF-8"):
        read_corpus(make(tmp_path, "a\x1b[2J/sad/1.wav", "b/sad/1.wav", "b/joy/1.wav"))


def test_own_labels_may_be_among_the_emotions(tmp_path):
    root = make(tmp_path, *(f"{s}/{e}/1.wav" for s in ("bea", "sam") for e in ("Amused", "Angry", "Neutral", "Sleepy")))
    assert {each.emotion for each in read_corpus(root)} == {"amused", "angry", "neutral", "sleepy"}


@pytest.mark.parametrize("pattern", ["{own}/{n}.wav", "all/{own}/{n}.wav", "{split}/{own}/{n}.wav"])
def test_classes_that_are_no_emotions_are_read_where_nothing_else_could_be_meant(tmp_path, caplog, pattern):
    names = [
        pattern.format(own=own, split=s, n=n) for own in ("calming", "tense") for s in ("train", "test") for n in "12"
    ]
    assert {each.emotion for each in read_corpus(make(tmp_path, *names))} == {"calming", "tense"}
    assert "no folder is named after an emotion" in caplog.text


def test_one_line_describes_the_layout(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        read_corpus(tree(tmp_path, "{speaker}/{emotion}/{take}.wav"))
    (record,) = caplog.records
    line = record.getMessage()
    assert "24 recordings" in line and str(tmp_path) in line
    assert "emotion: second folder (angry, happy, neutral, sad), speaker: first folder (anna, ben, carla)" in line


def test_the_line_names_the_split_of_each_folder(tmp_path, caplog):
    root = make(tmp_path, *(f"{split}/{emotion}/1.wav" for split in ("train", "dev") for emotion in EMOTIONS))
    with caplog.at_level(logging.INFO):
        assert {each.split for each in read_corpus(root)} == {"train", "test"}
    assert "split: first folder (dev as test, train)" in caplog.text


def test_files_beside_the_folders_are_skipped(tmp_path):
    root = make(tree(tmp_path, "{speaker}/{emotion}/{take}.wav"), "anna/noise.wav", "x.wav")
    assert {path.name for path, _ in scan_corpus(root).skipped} == {"noise.wav", "x.wav"}


# --- what is not clear ---


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (["a/x/1.wav", "a/y/1.wav", "b/x/1.wav"], ["x, y", "a, b", "{speaker}/{emotion}/*", "{emotion}/{speaker}/*"]),
        (["spk1/a.wav", "spk2/b.wav"], ["spk1, spk2"]),
        (["0011/a.wav", "0012/b.wav"], ["0011, 0012"]),
        (["train/a.wav", "test/b.wav"], ["test, train"]),
        (["o/a/sad/1.wav", "o/b/sad/1.wav", "p/a/joy/1.wav", "p/b/joy/2.wav"], ["o, p", "a, b", "joy, sad"]),
        (["sad/a/1.wav", "sad/a/2.wav", "joy/b/1.wav", "joy/2.wav"], ["a, b", "{emotion}/*"]),
        (["1_sad.wav", "2_angry.wav", "3_sarcastic.wav"], ["*_{emotion}"]),
        (["sad/angry/1.wav", "sad/joy/1.wav", "joy/angry/1.wav", "joy/joy/2.wav"], ["{emotion}/*", "*/{emotion}/*"]),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_refused_with_the_levels_and_the_flag(tmp_path, files, named):
    with pytest.raises(InputError, match="`layout=") as error:
        read_corpus(make(tmp_path, *files))
    assert all(each in str(error.value) for each in (*named, str(tmp_path))), error.value
    assert "\n" not in str(error.value)


def test_folders_that_are_no_speakers_for_the_words_in_file_names_are_refused(tmp_path):
    classes = {"angry": "negative", "sad": "negative", "happy": "positive", "neutral": "positive"}
    root = make(tmp_path, *(f"{name}/{n}_{emotion}.wav" for emotion, name in classes.items() for n in range(3)))
    with pytest.raises(InputError, match=r"`layout='\{emotion\}/\*'`.*`layout='.*\*_\{emotion\}'`"):
        read_corpus(root)


def test_folders_and_words_in_file_names_that_name_other_emotions_are_refused(tmp_path):
    root = make(tmp_path, "sad/1_sad.wav", "happy/2_happy.wav", "happy/3_angry.wav")
    with pytest.raises(InputError, match=r"3_angry\.wav.*`layout='\{emotion\}/\*'`.*`layout='\*_\{emotion\}'`"):
        read_corpus(root)


# --- a layout that is given ---


@pytest.mark.parametrize(
    ("layout", "file", "expected"),
    [
        ("{speaker}_{emotion}/*", "bea_w_sad/1.wav", ("sad", "bea_w", None, None)),
        ("*/{emotion}/*", "x/Joy/deep/er/1.wav", ("happy", None, None, None)),
        ("{split}/{gender}/*_{emotion}_*", "dev/F/1_sad_2.wav", ("sad", None, "test", "female")),
        ("{speaker}/{emotion}", "anna/sad.wav", ("sad", "anna", None, None)),
        ("{emotion}/{speaker}/*", "own (1)/x.y/1.wav", ("own (1)", "x.y", None, None)),
    ],
)
def test_a_layout_says_what_is_what(tmp_path, layout, file, expected):
    assert fields(make(tmp_path, file), layout=layout) == {expected}


def test_a_layout_overrules_names_and_manifests(tmp_path):
    root = make(tmp_path, "x/sad/03a01Fa.wav", "y/sad/03a01Wa.wav")
    (root / "manifest.csv").write_text("path,emotion\nx/sad/03a01Fa.wav,calm\n")
    assert [each.emotion for each in read_corpus(root, layout="{emotion}/*/*")] == ["x", "y"]


@pytest.mark.parametrize("layout", ["", "{speaker}/*", "{emotion}/{emotion}", "{emotion}/{who}/*", "speaker/emotion"])
def test_a_layout_without_the_emotion_or_with_unknown_fields_is_refused(tmp_path, layout):
    with pytest.raises(InputError, match=r"expected \{emotion\}"):
        read_corpus(make(tmp_path, "a/b.wav"), layout=layout)


def test_a_layout_that_fits_no_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"first: a/b\.wav.*whole path"):
        read_corpus(make(tmp_path, "a/b.wav"), layout="{emotion}/{speaker}/*")


def test_a_layout_with_a_folder_that_is_no_split_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'mine'.*train"):
        read_corpus(make(tmp_path, "mine/sad/b.wav"), layout="{split}/{emotion}/*")


def test_a_layout_is_no_layout_of_a_published_corpus(tmp_path):
    with pytest.raises(InputError, match=r"\{emotion\}/\*.*ravdess"):
        read_corpus(make(tmp_path, "a/b.wav"), "ravdess", layout="{emotion}/*")


def test_the_layout_is_a_setting_of_the_command_line(tmp_path, capsys):
    root = make(tmp_path, "a/x/1.wav", "a/y/1.wav", "b/x/1.wav", "b/y/1.wav")
    arguments = ["train", "--dataset-path", str(root), "--output-dir", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert "--layout" in capsys.readouterr().err
    assert main([*arguments, "--layout", "{speaker}/{emotion}/*"]) == 2
    assert "too few speakers" in capsys.readouterr().err


# --- names ---


@pytest.mark.parametrize(
    ("names", "role"),
    [
        (("sad", "joy"), "emotion"),
        (("sad", "joy", "fear", *"abcdefgh"), "emotion"),
        (("sad", "anna", "ben"), None),
        (("train", "Test"), "split"),
        (("train", "other"), "mixed"),
        (("female", "m"), "gender"),
        (("Actor_01", "actor 2", "spk3"), "speaker"),
        (("0001", "12"), "speaker"),
        (("a\x07", "b"), None),
        ((), None),
    ],
)
def test_the_names_of_a_level_say_what_it_is(names, role):
    assert role_of(names) == role


def test_the_only_held_out_split_is_the_test():
    assert splits_of(["train", "dev"]) == {"train": "train", "dev": "test"}
    assert splits_of(["Training", "dev", "testing"]) == {"Training": "train", "dev": "val", "testing": "test"}


def test_an_empty_level_is_no_part_of_a_path():
    assert Layout("/{emotion}/*/").parts == ["{emotion}", "*"]


@pytest.mark.parametrize("splits", [("train_set", "test_set"), ("Training Data", "Test-Data")])
def test_folders_of_splits_are_known_with_what_people_put_behind_the_word(tmp_path, splits):
    names = [f"{split}/{emotion}/{n}.wav" for split in splits for emotion in EMOTIONS for n in range(2)]
    utterances = read_corpus(make(tmp_path, *names))
    assert {each.split for each in utterances} == {"train", "test"} and {each.speaker for each in utterances} == {None}


def test_a_level_with_splits_and_other_names_is_not_taken_for_speakers(tmp_path):
    names = [
        f"{part}/{emotion}/{n}.wav" for part in ("train", "test", "extra") for emotion in EMOTIONS for n in range(2)
    ]
    with pytest.raises(InputError, match=r"not clear.*`layout="):
        read_corpus(make(tmp_path, *names))


@pytest.mark.parametrize("table", ["labels.csv", "labels.tsv", "Labels.xlsx"])
def test_folders_without_emotions_beside_a_table_are_refused_with_its_name(tmp_path, table):
    root = make(tmp_path, *(f"{speaker}/{n}.wav" for speaker in ("anna", "ben") for n in range(3)), table)
    with pytest.raises(InputError, match=rf"{table} may hold the labels.*`corpus='folders'`"):
        read_corpus(root)
    assert {each.emotion for each in read_corpus(root, "folders")} == {"anna", "ben"}


def test_the_user_s_own_splits_of_published_files_are_kept(tmp_path):
    files = [f"{split}/Actor_{actor:02d}/03-01-{code}-01-01-01-{actor:02d}.wav" for code in ("01", "03", "05")
             for actor, split in ((1, "train"), (2, "train"), (3, "val"), (4, "test"))]  # fmt: skip
    utterances = read_corpus(make(tmp_path, *files))
    assert {(each.speaker, each.split) for each in utterances} == {
        ("01", "train"), ("02", "train"), ("03", "val"), ("04", "test"),
    }  # fmt: skip
