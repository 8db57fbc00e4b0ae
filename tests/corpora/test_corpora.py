"""The publishers' file names, their recognition, and what is refused."""

import csv
import logging
import os
from collections import Counter
from pathlib import Path

import pytest
from corpus_files import make

from ser_keras.corpora import CORPORA, read_corpus, scan_corpus
from ser_keras.errors import InputError

DATA = Path(os.environ.get("SER_KERAS_DATA", Path(__file__).parents[3] / "shared" / "data"))

# corpus: file, emotion, speaker, gender, text
NAMES = {
    "ravdess": [
        ("Actor_01/03-01-01-01-01-01-01.wav", "neutral", "01", "male", "s01"),
        ("Actor_24/03-01-08-02-02-02-24.wav", "surprised", "24", "female", "s02"),
        ("Audio_Song_Actors_01-24/Actor_02/03-02-06-01-01-01-02.wav", "fearful", "02", "female", "s01"),
    ],
    "banglaser": [
        ("BanglaSER/Actor 01/03-01-01-01-03-03-01.wav", "happy", "01", "male", "s03"),
        ("BanglaSER/Actor 34/03-01-05-01-02-01-34.wav", "neutral", "34", "female", "s02"),
        ("BanglaSER/Actor 33/03-01-04-02-01-02-33.wav", "surprised", "33", "male", "s01"),
        ("BanglaSER/Actor 20/03-01-03-02-01-03-20.wav", "angry", "20", "female", "s01"),
        ("BanglaSER/Actor 15/01-01-04-02-03-03-15.wav", "surprised", "15", "male", "s03"),
    ],
    "emodb": [
        ("wav/03a01Fa.wav", "happy", "03", "male", "a01"),
        ("wav/08b09Wb.wav", "angry", "08", "female", "b09"),
        ("wav/16a05Lc.wav", "bored", "16", "female", "a05"),
        ("wav/10b01Aa.wav", "fearful", "10", "male", "b01"),
        ("wav/11a04Ec.wav", "disgust", "11", "male", "a04"),
        ("wav/14a07Td.wav", "sad", "14", "female", "a07"),
        ("wav/15b10Nb.wav", "neutral", "15", "male", "b10"),
    ],
    "savee": [
        ("AudioData/DC/a01.wav", "angry", "DC", "male", "a01"),
        ("AudioData/KL/sa15.wav", "sad", "KL", "male", "sa15"),
        ("AudioData/JK/su03.wav", "surprised", "JK", "male", "su03"),
        ("ALL/JE_n30.wav", "neutral", "JE", "male", "n30"),
    ],
    "tess": [
        ("OAF_Fear/OAF_back_fear.wav", "fearful", "OAF", "female", "back"),
        ("YAF_pleasant_surprised/YAF_back_ps.wav", "surprised", "YAF", "female", "back"),
        ("OAF_Pleasant_surprise/OAF_youth_ps.wav", "surprised", "OAF", "female", "youth"),
        ("OAF_neutral/OA_bite_neutral.wav", "neutral", "OAF", "female", "bite"),
    ],
    "cremad": [
        ("AudioWAV/1001_DFA_ANG_XX.wav", "angry", "1001", "male", "DFA"),
        ("AudioWAV/1091_IEO_DIS_HI.wav", "disgust", "1091", "female", "IEO"),
        ("AudioWAV/1040_ITH_SAD_X.wav", "sad", "1040", "male", "ITH"),
    ],
    "emovo": [
        ("f1/gio-f1-b1.wav", "happy", "f1", "female", "b1"),
        ("EMOVO/m3/sor-m3-l4.wav", "surprised", "m3", "male", "l4"),
        ("EMOVO/m2/rab-m2-n5.wav", "angry", "m2", "male", "n5"),
    ],
    "nemo": [
        ("samples/EB0_anger_1.wav", "angry", "EB0", "female", "1"),
        ("samples/WR0_surprised_64.wav", "surprised", "WR0", "male", "64"),
        ("samples/KS0_happiness_19.wav", "happy", "KS0", "male", "19"),
    ],
    "urdu": [
        ("Angry/SM1_F1_A01.wav", "angry", "SM1", "male", None),
        ("Sad/SM6_F4_S0100.wav", "sad", "SM6", "male", None),
        ("Happy/SF1_F10_H010.wav", "happy", "SF1", "female", None),
    ],
    "ased": [
        ("01Neutral/n1-01-01-01-01.wav", "neutral", "01", "female", "n01"),
        ("05Angry/a5-03-01-02-50.wav", "angry", "50", "male", "a03"),
        ("04Sad/S4-04-02-01-29.wav", "sad", "29", "female", "s04"),
    ],
    "turev": [
        ("Sound Source/Angry/1157_kz_beste.wav", "angry", "1157", None, "beste"),
        ("Sound Source/Sad/1234_hl_acik.wav", "sad", "1234", None, "acik"),
        ("Sound Source/Happy/1358_mt_cay.wav", "happy", "1358", None, "cay"),
        ("Sound Source/Calm/6783_sk_algi.wav", "calm", "6783", None, "algi"),
    ],
    "shemo": [
        ("male/M01A01.wav", "angry", "M01", "male", None),
        ("female/F21N05.wav", "neutral", "F21", "female", None),
        ("female/F03F01.wav", "fearful", "F03", "female", None),
        ("male/M12W102.wav", "surprised", "M12", "male", None),
    ],
}


def described(utterance):
    return utterance.emotion, utterance.speaker, utterance.gender, utterance.text


def test_every_corpus_is_tested():
    assert set(NAMES) | {"iemocap"} == {corpus.name for corpus in CORPORA}


@pytest.mark.parametrize("name", NAMES)
def test_a_published_tree_is_recognised_and_read(tmp_path, name):
    root = make(tmp_path / "data", *(case[0] for case in NAMES[name]))
    utterances = read_corpus(root)
    assert {utterance.corpus for utterance in utterances} == {name}
    found = {utterance.path.relative_to(root).as_posix(): described(utterance) for utterance in utterances}
    assert found == {file: tuple(expected) for file, *expected in NAMES[name]}


@pytest.mark.parametrize("name", NAMES)
def test_a_single_file_is_read_under_its_corpus(tmp_path, name):
    file, *expected = NAMES[name][0]
    (utterance,) = read_corpus(make(tmp_path, file), name)
    assert described(utterance) == tuple(expected)
    assert utterance.speaker_id == f"{name}/{utterance.speaker}"


@pytest.mark.parametrize("suffix", [".WAV", ".Mp3", ".webm", ".xyz"])
def test_a_published_file_is_read_in_any_format(tmp_path, suffix):
    assert len(read_corpus(make(tmp_path, f"03a01Fa{suffix}"))) == 1


def test_names_in_another_case_give_the_publishers_codes(tmp_path):
    root = make(tmp_path, "1001_dfa_ang_xx.wav", "1002_ieo_hap_lo.wav")
    assert [described(each)[1:] for each in read_corpus(root)] == [
        ("1001", "male", "DFA"),
        ("1002", "female", "IEO"),
    ]


def test_a_speakers_own_folder_is_enough_where_its_name_is_the_speaker(tmp_path):
    root = make(tmp_path / "JK", "a01.wav", "su12.wav")
    assert [utterance.speaker for utterance in read_corpus(root)] == ["JK", "JK"]


def test_the_same_number_in_two_corpora_is_two_speakers(tmp_path):
    root = make(tmp_path, "emodb/wav/03a01Fa.wav", "ravdess/Actor_03/03-01-07-01-01-01-03.wav")
    assert {utterance.speaker_id for utterance in read_corpus(root)} == {"emodb/03", "ravdess/03"}


# --- IEMOCAP: the emotions are in text files ---


def make_iemocap(root, labels, dialog="Ses01F_impro01"):
    turns = [f"{dialog}_{turn}" for turn in labels]
    session = root / f"Session{dialog[4]}"
    make(session, *(f"sentences/wav/{dialog}/{turn}.wav" for turn in turns))
    lines = [
        f"[{6 + i}.2901 - {8 + i}.2357]\t{turn}\t{label}\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\n\n"
        for i, (turn, label) in enumerate(zip(turns, labels.values(), strict=True))
    ]
    evaluation = session / "dialog" / "EmoEvaluation" / f"{dialog}.txt"
    make(evaluation.parent, evaluation.name, f"._{evaluation.name}", f"Categorical/{dialog}_e2_cat.txt")
    evaluation.write_text("% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n" + "".join(lines))
    return root


def test_evaluation_files_give_the_emotion_and_the_turn_gives_the_speaker(tmp_path):
    root = tmp_path / "IEMOCAP_full_release"
    make_iemocap(root, {"F000": "neu", "M000": "exc", "FXX1": "ang", "F001": "hap", "M001": "sad"})
    make_iemocap(root, {"M003": "neu"}, "Ses05M_script01_1b")
    found = {each.path.stem: (each.emotion, each.speaker, each.gender) for each in read_corpus(tmp_path)}
    assert found == {
        "Ses01F_impro01_F000": ("neutral", "01F", "female"),
        "Ses01F_impro01_M000": ("happy", "01M", "male"),
        "Ses01F_impro01_FXX1": ("angry", "01F", "female"),
        "Ses01F_impro01_F001": ("happy", "01F", "female"),
        "Ses01F_impro01_M001": ("sad", "01M", "male"),
        "Ses05M_script01_1b_M003": ("neutral", "05M", "male"),
    }
    assert {each.start_seconds for each in read_corpus(root)} == {None}


def test_other_labels_whole_dialogues_and_turns_without_a_label_are_skipped_with_a_reason(tmp_path):
    make_iemocap(tmp_path, {"F000": "neu", "F001": "fru", "F002": "xxx"})
    make(tmp_path, "Session1/dialog/wav/Ses01F_impro01.wav", "Session1/sentences/wav/x/Ses01F_impro01_M099.wav")
    scan = scan_corpus(tmp_path)
    assert len(scan.utterances) == 1
    reasons = {path.stem: reason for path, reason in scan.skipped}
    assert "'fru'" in reasons["Ses01F_impro01_F001"] and "'xxx'" in reasons["Ses01F_impro01_F002"]
    assert "not named as IEMOCAP" in reasons["Ses01F_impro01"]
    assert "evaluation files" in reasons["Ses01F_impro01_M099"]


def test_turns_without_evaluation_files_are_refused(tmp_path):
    make(tmp_path, "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav")
    with pytest.raises(InputError, match="Session1/dialog/EmoEvaluation"):
        read_corpus(tmp_path)


# --- recognition ---

AMBIGUOUS = ("03-01-01-01-01-01-01.wav", "03-01-05-01-02-02-24.wav")


def test_an_ambiguous_name_goes_by_the_name_in_the_path(tmp_path, caplog):
    root = make(tmp_path / "BanglaSER_v5", *AMBIGUOUS)
    assert [utterance.emotion for utterance in read_corpus(root)] == ["happy", "neutral"]
    assert not caplog.records


def test_an_ambiguous_name_goes_by_the_tables_order_with_a_warning(tmp_path, caplog):
    root = make(tmp_path / "data", *AMBIGUOUS)
    assert [utterance.emotion for utterance in read_corpus(root)] == ["neutral", "angry"]
    assert all(each in caplog.text for each in ("RAVDESS", "BanglaSER", "`corpus`"))


def test_an_ambiguous_name_goes_by_the_corpus_argument(tmp_path):
    root = make(tmp_path / "data", *AMBIGUOUS)
    assert [utterance.emotion for utterance in read_corpus(root, "banglaser")] == ["happy", "neutral"]


def test_ambiguous_names_side_by_side_go_by_their_folders(tmp_path):
    root = make(tmp_path / "data", *(f"{name}/x/{file}" for name in ("banglaser", "ravdess") for file in AMBIGUOUS))
    found = [(each.corpus, each.emotion) for each in read_corpus(root)]
    assert found[:2] == [("banglaser", "happy"), ("banglaser", "neutral")]
    assert found[2:] == [("ravdess", "neutral"), ("ravdess", "angry")]


def test_one_other_file_does_not_split_a_corpus_into_two(tmp_path):
    names = ["Actor 01/03-01-01-01-01-01-01.wav", "Actor 34/03-01-05-01-03-03-34.wav", "talk.wav"]
    assert {each.corpus for each in read_corpus(make(tmp_path / "data", *names))} == {"banglaser"}


@pytest.mark.parametrize("nesting", ["", "archive/", "a/b/"])
def test_two_corpora_side_by_side_are_both_read(tmp_path, nesting):
    names = [f"{nesting}one/{case[0]}" for case in NAMES["emodb"]]
    names += [f"{nesting}two/{case[0]}" for case in NAMES["tess"][:2]]
    found = Counter(utterance.corpus for utterance in read_corpus(make(tmp_path, *names)))
    assert found == {"emodb": 7, "tess": 2}


def test_a_list_of_paths_is_joined_and_sorted(tmp_path):
    one, two = make(tmp_path / "one", "b/03a01Fa.wav"), make(tmp_path / "two", "samples/EB0_anger_1.wav")
    assert [utterance.corpus for utterance in read_corpus([two, str(one)])] == ["emodb", "nemo"]


@pytest.mark.parametrize(("name", "known"), [("CREMA-D", "cremad"), ("crema_d", "cremad"), ("TurEV-DB", "turev")])
def test_a_corpus_is_named_in_any_ordinary_spelling(tmp_path, name, known):
    assert read_corpus(make(tmp_path, NAMES[known][0][0]), name)[0].corpus == known


def test_second_copies_of_a_published_file_are_skipped_and_lossless_is_kept(tmp_path):
    root = make(
        tmp_path,
        "AudioMP3/1001_DFA_ANG_XX.mp3",
        "AudioWAV/1001_DFA_ANG_XX.wav",
        "nested/AudioWAV/1001_DFA_ANG_XX.wav",
    )
    scan = scan_corpus(root)
    assert [each.path for each in scan.utterances] == [root / "AudioWAV/1001_DFA_ANG_XX.wav"]
    assert len(scan.skipped) == 2
    assert all(str(scan.utterances[0].path) in reason for _, reason in scan.skipped)


def test_a_video_of_a_recording_is_a_copy_of_it(tmp_path):
    root = make(tmp_path, *(f"Actor_07/{name}-01-06-02-01-01-07.mp4" for name in ("01", "02")))
    assert [each.path.name[:2] for each in read_corpus(root)] == ["01"]
    make(root, "Speech/Actor_07/03-01-06-02-01-01-07.wav", "Actor_07/01-02-06-02-01-01-07.mp4")
    assert [each.path.name[:5] for each in read_corpus(root)] == ["01-02", "03-01"]


def test_videos_of_ravdess_are_told_from_banglaser_by_their_codes(tmp_path):
    root = make(tmp_path / "data", *(f"Actor_01/01-01-0{code}-01-01-01-01.mp4" for code in range(1, 9)))
    assert {each.corpus for each in read_corpus(root)} == {"ravdess"}


def test_other_files_are_skipped_with_one_warning(tmp_path, caplog):
    root = make(tmp_path, *(case[0] for case in NAMES["emodb"]), "wav/noise.wav", "talk.mp3")
    scan = scan_corpus(root)
    assert [path.name for path, _ in scan.skipped] == ["talk.mp3", "noise.wav"]
    assert "wav/03a01Fa.wav" in scan.skipped[0][1]  # as EmoDB names its files
    assert len(read_corpus(root)) == 7
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "2 files" in record.getMessage() and "talk.mp3" in record.getMessage()


def test_hidden_files_and_metadata_of_archives_are_ignored(tmp_path):
    root = make(tmp_path, "wav/03a01Fa.wav", "wav/._03a01Fa.wav", "__MACOSX/03a01Wa.wav", ".git/03a02Wa.wav")
    scan = scan_corpus(root)
    assert len(scan.utterances) == 1
    assert not scan.skipped


def test_a_linked_folder_is_read_once_and_a_circle_ends(tmp_path):
    root = make(tmp_path / "data", "mine/03a01Fa.wav")
    (root / "linked").symlink_to(make(tmp_path / "elsewhere", "08b09Wb.wav"), target_is_directory=True)
    (root / "mine" / "circle").symlink_to(root, target_is_directory=True)
    assert [utterance.path.name for utterance in read_corpus(root)] == ["08b09Wb.wav", "03a01Fa.wav"]


# --- the user's own folders ---

RAVDESS_CODES = {"neutral": "01", "calm": "02", "happy": "03", "sad": "04", "angry": "05"}
CLASSES = {"neutral": "positive", "calm": "positive", "happy": "positive", "sad": "negative", "angry": "negative"}


def sort_ravdess(root, folder_of):
    """Make files of RAVDESS in the folders that a function of emotion, actor and repetition says."""
    return make(
        root,
        *(
            f"{folder_of(emotion, actor, take)}/03-01-{code}-01-01-{take:02}-{actor:02}.wav"
            for emotion, code in RAVDESS_CODES.items()
            for actor in (1, 2, 3)
            for take in (1, 2)
        ),
    )


@pytest.mark.parametrize(
    "folder_of",
    [
        lambda emotion, actor, take: CLASSES[emotion],
        lambda emotion, actor, take: f"Actor_{actor:02}/{CLASSES[emotion]}",
        lambda emotion, actor, take: f"{CLASSES[emotion]}/Actor_{actor:02}",
        lambda emotion, actor, take: f"class {'01'[CLASSES[emotion] == 'positive']}",
        lambda emotion, actor, take: "ab"[CLASSES[emotion] == "positive" or (actor, take) == (1, 1)],
        lambda emotion, actor, take: {"calm": "neutral"}.get(emotion, emotion),
        lambda emotion, actor, take: "happy" if (emotion, actor) == ("sad", 2) else emotion,
        lambda emotion, actor, take: emotion if emotion in ("happy", "angry") else "other",
    ],
    ids=["classes", "in actors", "around actors", "numbers", "by listening", "merged", "one in another", "a rest"],
)
def test_folders_that_contradict_published_names_are_refused_with_both_choices(tmp_path, folder_of):
    root = sort_ravdess(tmp_path, folder_of)
    with pytest.raises(InputError, match=r"\.wav: .*`corpus='ravdess'` .*`corpus='folders'`"):
        read_corpus(root)
    assert {each.emotion for each in read_corpus(root, "ravdess")} == set(RAVDESS_CODES)
    assert {each.corpus for each in read_corpus(root, "folders")} == {"folders"}


@pytest.mark.parametrize(
    "folder_of",
    [
        lambda emotion, actor, take: f"Actor_{actor:02}",
        lambda emotion, actor, take: {"sad": "Sadness", "angry": "ANGER", "happy": "joy"}.get(emotion, emotion),
        lambda emotion, actor, take: {"sad": "Trauer", "angry": "Wut"}.get(emotion, emotion[::-1]),
        lambda emotion, actor, take: f"{RAVDESS_CODES[emotion]}_{emotion}/female" if actor == 2 else f"x_{emotion}",
        lambda emotion, actor, take: ("train", "test")[take == 2],
        lambda emotion, actor, take: ("train", "test")[actor == 2] + f"/{emotion}",
        lambda emotion, actor, take: ("batch a", "batch b")[take == 2],
        lambda emotion, actor, take: ("male", "female")[actor == 2],
        lambda emotion, actor, take: "wav",
    ],
    ids=["actors", "words", "own words", "finer", "split", "split and words", "batches", "gender", "one"],
)
def test_folders_that_agree_with_published_names_or_say_nothing_change_nothing(tmp_path, folder_of):
    found = read_corpus(sort_ravdess(tmp_path, folder_of))
    assert {(each.corpus, each.emotion) for each in found} == {("ravdess", emotion) for emotion in RAVDESS_CODES}


def test_turns_of_iemocap_in_folders_of_emotions_are_refused_with_both_choices(tmp_path):
    root = make(tmp_path, "happy/Ses01F_impro01_F000.wav", "sad/Ses01F_impro01_F001.wav")
    with pytest.raises(InputError, match=r"`corpus='iemocap'`\).*`corpus='folders'`"):
        read_corpus(root)
    assert [each.emotion for each in read_corpus(root, "folders")] == ["happy", "sad"]


@pytest.mark.parametrize(("corpus", "how"), [(None, "recognised by their file names"), ("emodb", "as chosen")])
def test_one_line_says_which_corpus_was_recognised_and_how(tmp_path, caplog, corpus, how):
    with caplog.at_level(logging.INFO):
        read_corpus(make(tmp_path, "wav/03a01Fa.wav", "wav/08a01Wa.wav"), corpus)
    (record,) = caplog.records
    assert all(each in record.getMessage() for each in (str(tmp_path), "2 recordings of EmoDB", how))


# --- a folder per emotion ---


def test_the_immediate_subfolders_are_the_emotions(tmp_path):
    root = make(tmp_path, "Anger/a.wav", "Anger/deep/er/b.wav", "joy/c.mp3", "ironic/d.wav")
    found = [(each.emotion, each.corpus, each.speaker_id) for each in read_corpus(root)]
    assert found == [(emotion, "folders", None) for emotion in ("angry", "angry", "ironic", "happy")]


def test_files_beside_the_emotions_folders_are_skipped(tmp_path):
    scan = scan_corpus(make(tmp_path, "happy/a.wav", "b.wav"))
    ((path, reason),) = scan.skipped
    assert path == tmp_path / "b.wav" and "{emotion}/*" in reason


def test_folders_that_name_no_emotion_are_read_with_a_warning(tmp_path, caplog):
    root = make(tmp_path, "client_a/a.wav", "client_b/b.wav")
    assert [utterance.emotion for utterance in read_corpus(root)] == ["client_a", "client_b"]
    assert "no folder is named after an emotion" in caplog.text
    assert "client_a, client_b" in caplog.text


def test_the_argument_folders_overrules_the_recognition(tmp_path):
    root = make(tmp_path, "sad/03a01Fa.wav")
    assert [(each.emotion, each.corpus) for each in read_corpus(root, "folders")] == [("sad", "folders")]


# --- refusals ---


@pytest.mark.parametrize("tree", [["Actor_01/03-01-09-01-01-01-01.wav"], ["03-01-09-01-01-01-01.wav", *AMBIGUOUS]])
@pytest.mark.parametrize("corpus", [None, "ravdess"])
def test_an_unknown_label_of_a_known_corpus_is_named(tmp_path, tree, corpus):
    root = make(tmp_path / "data", *tree)
    with pytest.raises(InputError, match=r"09-01-01-01-01\.wav: unknown label '09'.*01, 02, 03"):
        read_corpus(root, corpus)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ([], {"below": "gone"}, "gone.*expected a folder"),
        (["a.wav"], {"below": "a.wav"}, r"a\.wav: a file.*manifest"),
        ([], {}, "empty folder.*expected audio files"),
        (["a.txt", "b/c.md"], {}, r"2 files.*\.md, \.txt.*expected audio files .*FLAC"),
        (["a.wav", "b.wav"], {}, r"a\.wav.*folder of its name.*`layout=.*manifest\.csv.*published corpus"),
        (["a.wav"], {"corpus": "msp"}, r"'msp'.*ravdess.*folders or manifest"),
        (["happy/a.wav"], {"corpus": "savee"}, r"1 audio files.*a\.wav.*SAVEE"),
    ],
)
def test_a_dataset_that_cannot_be_read_is_refused_with_the_remedy(tmp_path, names, options, message):
    root = make(tmp_path, *names) / options.pop("below", "")
    with pytest.raises(InputError, match=message):
        read_corpus(root, **options)


def test_an_empty_list_is_refused():
    with pytest.raises(InputError, match="at least one folder"):
        read_corpus([])


# --- the real recordings, where they are at hand ---


@pytest.mark.parametrize(("name", "num_utterances", "num_speakers"), [("emodb", 535, 10), ("ravdess", 1440, 24)])
def test_the_real_corpus_is_read_as_its_table_says(name, num_utterances, num_speakers):
    if not (DATA / name / "labels.csv").is_file():
        pytest.skip(f"no recordings at {DATA / name}; set SER_KERAS_DATA to a folder with emodb and ravdess")
    with (DATA / name / "labels.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    expected = {row["path"]: (row["emotion"], row["speaker"], row["gender"], row["text"]) for row in rows}
    utterances = read_corpus(DATA / name)
    found = {each.path.relative_to(DATA / name).as_posix(): described(each) for each in utterances}
    assert found == expected
    assert len(utterances) == num_utterances
    assert len({each.speaker_id for each in utterances}) == num_speakers
