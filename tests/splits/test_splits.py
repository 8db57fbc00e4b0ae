"""Splits keep speakers apart, folds cover everything once, and the audit names what leaks."""

import random
import warnings
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.splits import (
    PUBLISHED_FOLDS,
    OptimisticScoreWarning,
    Split,
    audit_split,
    default_split,
    fixed_folds,
    leave_one_speaker_out,
    random_folds,
    random_split,
    speaker_folds,
    speaker_split,
)

EMOTIONS = ("angry", "happy", "neutral", "sad")


def utterance(path, emotion="sad", speaker=None, **known):
    return Utterance(Path(path), emotion, speaker, known.pop("corpus", "own"), **known)


def balanced(num_speakers, clips_per_emotion=3, **known):
    return [
        utterance(f"{speaker:03d}/{emotion}{take}.wav", emotion, f"{speaker:03d}", **known)
        for speaker in range(num_speakers)
        for emotion in EMOTIONS
        for take in range(clips_per_emotion)
    ]


def unbalanced(num_speakers, seed):
    """Speakers with 5 to 60 clips each, of emotions that are rare overall and rarer still with some."""
    rng = np.random.default_rng(seed)
    overall = rng.dirichlet(np.ones(7))
    return [
        utterance(f"{speaker:03d}/{take}.wav", f"emotion{emotion}", f"{speaker:03d}")
        for speaker in range(num_speakers)
        for take, emotion in enumerate(rng.choice(7, rng.integers(5, 60), p=rng.dirichlet(overall * 8 + 0.02)))
    ]


def speakers(clips):
    return {clip.speaker_id for clip in clips}


def emotions(clips):
    return {clip.emotion for clip in clips}


def misfit(clips, parts, fractions):
    """Distance of each part's share of each emotion from its fraction, summed."""
    total = Counter(clip.emotion for clip in clips)
    return sum(
        abs(Counter(clip.emotion for clip in part)[emotion] / count - fraction)
        for part, fraction in zip(parts, fractions, strict=True)
        for emotion, count in total.items()
    )


def assert_parts(clips, split):
    """Each clip on one side, and no side empty."""
    assert sorted(map(repr, clips)) == sorted(map(repr, [clip for side in split for clip in side]))
    assert all(split)


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimisticScoreWarning)
        yield


class TestSpeakerSplit:
    @pytest.mark.parametrize("seed", range(30))
    @pytest.mark.parametrize("num_speakers", [3, 4, 7, 24])
    def test_no_speaker_is_on_two_sides(self, num_speakers, seed):
        clips = unbalanced(num_speakers, seed)
        split = speaker_split(clips, seed=seed)
        assert_parts(clips, split)
        assert all(not speakers(one) & speakers(other) for one, other in combinations(split, 2))

    def test_the_order_of_the_input_changes_nothing(self):
        clips = unbalanced(12, seed=1)
        shuffled = random.Random(0).sample(clips, len(clips))
        assert speaker_split(shuffled, seed=5) == speaker_split(clips, seed=5)

    def test_the_folder_of_the_data_changes_nothing(self):
        here, there = unbalanced(12, seed=1), []
        for clip in here:
            there.append(utterance(Path("/elsewhere") / clip.path, clip.emotion, clip.speaker))
        assert [speakers(side) for side in speaker_split(there)] == [speakers(side) for side in speaker_split(here)]

    def test_a_speaker_who_is_spelled_in_two_ways_is_on_one_side(self):
        clips = [
            utterance(f"{number}/{emotion}{take}.wav", emotion, (str(number), f"{number:02d}")[take])
            for number in range(1, 8)
            for emotion in EMOTIONS
            for take in range(2)
        ]
        split = speaker_split(clips)
        assert not audit_split(split).leaks
        numbers = [{int(clip.speaker) for clip in side} for side in split]
        assert all(not one & other for one, other in combinations(numbers, 2))

    def test_another_seed_gives_another_split(self):
        clips = balanced(24)
        assert len({speaker_split(clips, seed=seed) for seed in range(5)}) == 5

    def test_balanced_data_is_split_in_proportion(self):
        train, val, test = speaker_split(balanced(20))
        assert [len(speakers(side)) for side in (train, val, test)] == [14, 2, 4]

    @pytest.mark.parametrize("num_speakers", [10, 24, 60])
    def test_unbalanced_data_is_stratified_better_than_by_scikit_learn(self, num_speakers):
        ours, theirs = [], []
        for seed in range(5):
            clips = unbalanced(num_speakers, seed)
            labels, groups = [clip.emotion for clip in clips], [clip.speaker for clip in clips]
            folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # an emotion with fewer clips than folds
                rest, test = next(folds.split(clips, labels, groups))
            split = speaker_split(clips, val_fraction=0.15, test_fraction=0.2, seed=seed)
            ours.append(misfit(clips, [[*split.train, *split.val], split.test], [0.8, 0.2]))
            theirs.append(misfit(clips, [[clips[i] for i in rest], [clips[i] for i in test]], [0.8, 0.2]))
        assert np.mean(ours) < np.mean(theirs)

    @pytest.mark.parametrize("seed", range(10))
    def test_emotions_of_a_single_speaker_are_trained_on(self, seed):
        rare = [utterance(f"{speaker:03d}/rare.wav", f"rare{speaker}", f"{speaker:03d}") for speaker in range(4)]
        clips = balanced(12) + rare
        assert emotions(speaker_split(clips, seed=seed).train) == emotions(clips)

    @pytest.mark.parametrize("seed", range(40))
    def test_no_choice_of_three_speakers_has_more_emotions_in_train(self, seed):
        clips = unbalanced(3, seed)
        most = max(len(emotions(clip for clip in clips if clip.speaker_id == name)) for name in speakers(clips))
        assert len(emotions(speaker_split(clips, seed=seed).train)) == most

    def test_speakers_of_one_name_in_two_corpora_are_two_people(self):
        clips = [utterance(f"{corpus}.wav", speaker="03", corpus=corpus) for corpus in ("emodb", "ravdess", "own")]
        assert [len(side) for side in speaker_split(clips)] == [1, 1, 1]

    @pytest.mark.parametrize("num_speakers", [0, 1, 2])
    def test_too_few_speakers_are_counted_and_the_remedy_is_named(self, num_speakers):
        with pytest.raises(InputError, match=rf"{num_speakers} found .* 3 needed .*record more speakers"):
            speaker_split(balanced(num_speakers))

    def test_a_clip_without_a_speaker_is_named(self):
        with pytest.raises(InputError, match=r"^lost\.wav names no speaker"):
            speaker_split([*balanced(5), utterance("lost.wav")])

    @pytest.mark.parametrize("fractions", [(0, 0.2), (0.2, 0), (0.5, 0.5), (-0.1, 0.2), (0.2, float("nan"))])
    def test_impossible_fractions_are_refused(self, fractions):
        with pytest.raises(InputError, match="each must be above 0 and their sum below 1"):
            speaker_split(balanced(5), val_fraction=fractions[0], test_fraction=fractions[1])


class TestRandomSplit:
    def test_it_warns_of_its_score(self):
        with pytest.warns(OptimisticScoreWarning, match="speakers are unknown or ignored.*better than on new speakers"):
            random_split(balanced(2))

    def test_each_emotion_is_split_in_proportion(self, quiet):
        clips = balanced(10, clips_per_emotion=10)  # 100 of each emotion
        for side, size in zip(random_split(clips), (70, 10, 20), strict=True):
            assert Counter(clip.emotion for clip in side) == dict.fromkeys(EMOTIONS, size)

    def test_the_order_of_the_input_changes_nothing(self, quiet):
        clips = balanced(6)
        assert random_split(clips[::-1], seed=3) == random_split(clips, seed=3) != random_split(clips, seed=4)

    @pytest.mark.parametrize("counts", [(1, 30), (2, 30), (1, 1, 1), (2, 1), (3,), (1, 2, 3, 4)])
    def test_tiny_emotions_are_split_too(self, quiet, counts):
        clips = [utterance(f"{e}_{i}.wav", f"e{e}") for e, count in enumerate(counts) for i in range(count)]
        assert_parts(clips, random_split(clips))

    def test_a_tiny_emotion_is_trained_on_first_and_tested_on_next(self, quiet):
        clips = [utterance(f"{i}.wav") for i in range(30)]
        clips += [utterance("one.wav", "one"), utterance("two_a.wav", "two"), utterance("two_b.wav", "two")]
        train, val, test = random_split(clips)
        assert {"one", "two"} <= emotions(train)
        assert emotions(test) == {"sad", "two"}
        assert emotions(val) == {"sad"}

    @pytest.mark.parametrize("seed", range(5))
    def test_copies_and_segments_stay_with_their_recording(self, quiet, seed):
        clips = [utterance(f"{i}{mark}.wav", f"e{i % 2}") for i in range(30) for mark in ("", "_aug1", "-noise")]
        clips += [utterance("long.wav", start_seconds=i, end_seconds=i + 1) for i in range(9)]
        audit = audit_split(random_split(clips, seed=seed))
        assert audit.leaks == ()

    def test_too_few_recordings_are_refused(self):
        with pytest.raises(InputError, match="found 2 recordings, but 3 parts need one each"):
            random_split([utterance("a.wav"), utterance("b.wav"), utterance("b_copy.wav")])


class TestDefaultSplit:
    def test_known_speakers_are_kept_apart(self):
        assert default_split(balanced(6), seed=2) == speaker_split(balanced(6), seed=2)

    def test_unknown_speakers_are_warned_of(self):
        with pytest.warns(OptimisticScoreWarning):
            assert_parts(clips := [utterance(f"{i}.wav") for i in range(9)], default_split(clips))

    def test_partly_unknown_speakers_are_an_error(self):
        with pytest.raises(InputError, match=r"lost\.wav names no speaker"):
            default_split([*balanced(5), utterance("lost.wav")])

    def test_the_manifests_split_is_followed(self):
        clips = [utterance(f"{i}.wav", speaker="a", split=side) for i, side in enumerate(("train", "val", "test") * 2)]
        assert [{clip.split for clip in side} for side in default_split(clips)] == [
            {"train"},
            {"val"},
            {"test"},
        ]

    def test_validation_speakers_are_carved_out_of_the_manifests_train_side(self):
        clips = [*balanced(6, split="train"), utterance("t.wav", speaker="new", split="test")]
        train, val, test = default_split(clips)
        assert [len(speakers(side)) for side in (train, val, test)] == [5, 1, 1]
        assert not speakers(train) & speakers(val)

    def test_validation_is_carved_out_by_recording_where_nobody_knows_the_speakers(self):
        clips = [utterance(f"{i}.wav", split="train" if i else "test") for i in range(21)]
        assert [len(side) for side in default_split(clips)] == [18, 2, 1]

    def test_a_clip_without_a_split_beside_others_with_one_is_named(self):
        with pytest.raises(InputError, match=r"^b\.wav has the split None, but other clips name theirs"):
            default_split([utterance("a.wav", split="train"), utterance("b.wav")])

    @pytest.mark.parametrize("side", ["train", "test"])
    def test_a_manifest_without_a_needed_side_is_an_error(self, side):
        others = {"train", "val", "test"} - {side}
        with pytest.raises(InputError, match=f"the split column puts no clip into {side}"):
            default_split([utterance(f"{other}.wav", split=other) for other in others])


class TestFolds:
    def test_leave_one_speaker_out_tests_each_speaker_once(self):
        clips = unbalanced(7, seed=0)
        splits = leave_one_speaker_out(clips)
        assert [speakers(split.test) for split in splits] == [{f"own/{speaker:03d}"} for speaker in range(7)]

    @pytest.mark.parametrize(
        "make",
        [
            leave_one_speaker_out,
            lambda clips: speaker_folds(clips, num_folds=3),
            lambda clips: speaker_folds(clips, num_folds=9),
        ],
    )
    def test_each_clip_is_tested_once_and_no_speaker_is_on_two_sides(self, make):
        clips = unbalanced(9, seed=3)
        splits = make(clips)
        assert sorted(clip.path for split in splits for clip in split.test) == sorted(clip.path for clip in clips)
        for split in splits:
            assert_parts(clips, split)
            assert all(not speakers(one) & speakers(other) for one, other in combinations(split, 2))

    def test_the_order_of_the_input_changes_nothing(self):
        clips = unbalanced(9, seed=3)
        assert speaker_folds(clips[::-1], num_folds=4, seed=1) == speaker_folds(clips, num_folds=4, seed=1)
        assert leave_one_speaker_out(clips[::-1]) == leave_one_speaker_out(clips)

    def test_folds_of_balanced_data_are_equal(self):
        assert [len(speakers(split.test)) for split in speaker_folds(balanced(24), num_folds=6)] == [4] * 6

    @pytest.mark.parametrize(
        ("num_speakers", "num_folds", "message"),
        [(9, 1, "num_folds is 1"), (4, 5, "4 found .* 5 needed"), (2, 2, "2 found .* 3 needed")],
    )
    def test_impossible_folds_are_refused(self, num_speakers, num_folds, message):
        with pytest.raises(InputError, match=message):
            speaker_folds(balanced(num_speakers), num_folds=num_folds)

    def test_two_speakers_cannot_be_left_out_in_turn(self):
        with pytest.raises(InputError, match=r"2 found .* 3 needed"):
            leave_one_speaker_out(balanced(2))


class TestFixedFolds:
    def write(self, tmp_path, *lines):
        path = tmp_path / "folds.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def test_speakers_are_told_by_short_and_by_full_name(self, tmp_path):
        path = self.write(tmp_path, "speaker,fold", "000,1", "own/001,10", "002,2", "003,2")
        splits = fixed_folds(balanced(4), path)
        names = [speakers(split.test) for split in splits]
        assert names == [{"own/000"}, {"own/002", "own/003"}, {"own/001"}]
        for split in splits:
            assert_parts(balanced(4), split)
            assert not speakers(split.train) & speakers(split.val)

    def test_speakers_are_told_in_any_spelling(self, tmp_path):
        clips = [utterance(f"{name}.wav", speaker=name) for name in ("01", "Anna", "J\u00f6rg")]
        (tmp_path / "folds.csv").write_text("speaker,fold\n1,a\nown/anna,b\nJo\u0308rg,c\n", encoding="utf-8")
        assert [split.test[0].speaker for split in fixed_folds(clips, tmp_path / "folds.csv")] == [
            *("01", "Anna", "J\u00f6rg")
        ]

    def test_paths_are_told_by_their_end(self, tmp_path):
        clips = [utterance(f"/data/{folder}/{name}.wav", speaker=folder) for folder in "abc" for name in "xy"]
        rows = [f"{folder}/{name}.wav,{folder}" for folder in "abc" for name in "xy"]
        splits = fixed_folds(clips, self.write(tmp_path, "path,fold", *rows))
        assert [speakers(split.test) for split in splits] == [{"own/a"}, {"own/b"}, {"own/c"}]

    def test_files_that_are_left_out_may_be_named(self, tmp_path):
        clips = [utterance(f"/data/{name}.wav", speaker=name) for name in "abcd"]
        path = self.write(tmp_path, "path,fold", *(f"{clip.path.name},{clip.speaker}" for clip in clips))
        with pytest.raises(InputError, match=r"line 5: path 'd\.wav' is not in the data"):
            fixed_folds(clips[:3], path)
        splits = fixed_folds(clips[:3], path, left_out=[clips[3].path])
        assert [speakers(split.test) for split in splits] == [{"own/a"}, {"own/b"}, {"own/c"}]

    def test_the_published_folds_of_ravdess_hold_four_actors_each(self, tmp_path):
        folds = ["01 11 20 21", "04 10 12 14", "08 09 19 23", "03 05 07 24", "02 15 16 18", "06 13 17 22"]
        rows = [f"{actor},{fold}" for fold, actors in enumerate(folds, 1) for actor in actors.split()]
        clips = [utterance(f"{i:02d}.wav", speaker=f"{i:02d}", corpus="ravdess") for i in range(1, 25)]
        splits = fixed_folds(clips, self.write(tmp_path, "speaker,fold", *rows))
        assert [" ".join(clip.speaker for clip in split.test) for split in splits] == folds

    @pytest.mark.parametrize(
        ("lines", "message"),
        [
            (
                ["speaker,part", "000,1"],
                r"folds\.csv has the columns speaker, part; needed: speaker,fold or path,fold",
            ),
            (["", ""], "has the columns none"),
            (
                ["speaker,fold", "000,1", "9,2"],
                r"folds\.csv, line 3: speaker '9' is not in the data, which has own/000",
            ),
            (["path,fold", "x.wav,2"], r"line 2: path 'x\.wav' is not in the data"),
            (
                ["path,fold", "sad0.wav,2"],
                r"line 2: path 'sad0\.wav' is ambiguous; it may be 000/sad0\.wav, 001",
            ),
            (
                ["speaker,fold", "000,1", "001,2"],
                r"002/angry0\.wav \(speaker own/002\) has no fold: add its row to",
            ),
            (["speaker,fold", "000,1", "001,1", "002,1"], "has 1 fold; cross-validation needs 2 or more"),
            (["speaker,fold", "000,"], "line 2: the fold of '000' is empty"),
            (["speaker,fold", "000"], "line 2: the fold of '000' is empty"),
            (["speaker,fold", "000,1", "own/000,2"], "line 3: own/000 is in fold 1 already; 2 is another"),
        ],
    )
    def test_a_faulty_file_is_named_with_its_line(self, tmp_path, lines, message):
        with pytest.raises(InputError, match=message):
            fixed_folds(balanced(3), self.write(tmp_path, *lines))

    @pytest.mark.parametrize("content", [None, b"speaker,fold\n\xff\xfe,1\n"])
    def test_an_unreadable_file_is_named(self, tmp_path, content):
        path = tmp_path / "folds.csv"
        if content:
            path.write_bytes(content)
        with pytest.raises(InputError, match=r"folds\.csv cannot be read as a CSV file in UTF-8"):
            fixed_folds(balanced(3), path)

    def test_a_short_name_of_two_speakers_is_ambiguous(self, tmp_path):
        clips = [utterance(f"{corpus}.wav", speaker="03", corpus=corpus) for corpus in ("emodb", "other")]
        with pytest.raises(InputError, match="speaker '03' is ambiguous; it may be emodb/03, other/03"):
            fixed_folds(clips, self.write(tmp_path, "speaker,fold", "03,1"))

    def test_folds_that_cut_through_a_speaker_are_warned_of(self, tmp_path):
        clips = [utterance(f"{speaker}{i}.wav", speaker=speaker) for speaker in "abcd" for i in range(2)]
        rows = [f"{clip.path},{clip.path.stem[1]}" for clip in clips]
        with pytest.warns(OptimisticScoreWarning, match=r"folds\.csv has speakers in two folds or more: own/a, own/b"):
            fixed_folds(clips, self.write(tmp_path, "path,fold", *rows))

    def test_folds_that_cut_through_a_speaker_in_two_spellings_are_warned_of(self, tmp_path):
        clips = [utterance(f"{name}.wav", speaker=name) for name in ("1", "01", "2", "3")]
        (tmp_path / "folds.csv").write_text("path,fold\n1.wav,a\n01.wav,b\n2.wav,b\n3.wav,a\n")
        with pytest.warns(OptimisticScoreWarning, match="speakers in two folds or more: own/0?1"):
            fixed_folds(clips, tmp_path / "folds.csv")

    def test_folds_of_unknown_speakers_are_warned_of(self, tmp_path):
        clips = [utterance(f"{i}.wav") for i in range(6)]
        rows = [f"{i}.wav,{i % 2}" for i in range(6)]
        with pytest.warns(OptimisticScoreWarning, match="clips without a speaker"):
            splits = fixed_folds(clips, self.write(tmp_path, "path,fold", *rows))
        assert [[len(side) for side in split] for split in splits] == [[2, 1, 3]] * 2


class TestAudit:
    def split(self, train=(), val=(), test=()):
        """A clean split of three speakers, and what is planted in it."""
        sides = [[utterance(f"{i}.wav", speaker=f"clean{i}")] for i in range(3)]
        return Split(*((*clean, *planted) for clean, planted in zip(sides, (train, val, test), strict=True)))

    def only_finding(self, split, **options):
        audit = audit_split(split, **options)
        assert not audit.ok
        (finding,) = audit
        return finding

    def test_it_is_silent_on_a_clean_split(self):
        clips = balanced(12)
        audit = audit_split(speaker_split(clips), fingerprints={clip: str(clip.path) for clip in clips})
        assert audit.ok
        assert audit.findings == audit.leaks == ()
        assert str(audit) == "Split audit: nothing found."

    def test_it_names_a_speaker_on_all_sides(self):
        planted = [[utterance(f"p{i}.wav", speaker="03", corpus="emodb")] for i in range(3)]
        finding = self.only_finding(self.split(*planted))
        assert (finding.kind, finding.sides) == ("speaker", ("train", "val", "test"))
        assert finding.message == "emodb/03 is in train (1 clip), val (1 clip) and test (1 clip)"

    @pytest.mark.parametrize("other", ["3", "003", "\uff13"])
    def test_it_knows_a_speaker_in_another_spelling(self, other):
        train, test = [utterance("a.wav", speaker="03")], [utterance("b.wav", speaker=other)]
        finding = self.only_finding(self.split(train=train, test=test))
        assert (finding.kind, finding.sides) == ("speaker", ("train", "test"))
        assert "own/03" in finding.message and f"own/{other}" in finding.message

    def test_it_names_identical_audio_under_two_names(self):
        split = self.split(train=[a := utterance("a.wav", speaker="a")], test=[b := utterance("b.wav", speaker="b")])
        finding = self.only_finding(split, fingerprints={a: "same", b: "same"})
        assert (finding.kind, finding.sides) == ("audio", ("train", "test"))
        assert finding.message == "identical audio: a.wav (train) and b.wav (test)"

    @pytest.mark.parametrize(
        ("segments", "kind"),
        [
            (((0, 2), (1, 3)), "audio"),
            (((None, None), (5, 6)), "audio"),
            (((4, None), (0, 5)), "audio"),
            (((None, 1), (0.5, 2)), "audio"),
            (((0, 2), (2, 3)), "derived"),
            (((5, None), (None, 5)), "derived"),
        ],
    )
    def test_it_tells_overlapping_from_separate_segments_of_one_file(self, segments, kind):
        one, other = (
            utterance("long.wav", speaker=f"s{start}", start_seconds=start, end_seconds=end) for start, end in segments
        )
        finding = self.only_finding(self.split(val=[one], test=[other]), fingerprints={one: "x", other: "x"})
        assert (finding.kind, finding.sides) == (kind, ("val", "test"))
        assert "long.wav" in finding.message

    def test_an_overlap_on_one_side_alone_is_none(self):
        train = [utterance("long.wav", speaker="a", start_seconds=start, end_seconds=start + 2) for start in (0, 1)]
        test = [utterance("long.wav", speaker="b", start_seconds=3, end_seconds=4)]
        assert self.only_finding(self.split(train=train, test=test)).kind == "derived"

    def test_an_overlap_is_found_behind_other_segments(self):
        train = [utterance("long.wav", speaker="a", start_seconds=start, end_seconds=start + 1) for start in range(50)]
        test = [utterance("long.wav", speaker="b", start_seconds=48.5, end_seconds=60)]
        assert self.only_finding(self.split(train=train, test=test)).kind == "audio"

    @pytest.mark.parametrize(
        "mark",
        [
            *("_aug", "_aug1", "_augmented_3", "-noise", ".noisy", "_noise_10db", "-noise-snr10", "_pitch+2"),
            *("_pitch-2", "_pitchshift-3", "_speed0.9", "_tempo0.9x", "_time_stretch1.1", "_pitch+2_noise"),
            *("_copy", "_Copy 2", " - Copy", " - Copy (2)", " (1)"),
        ],
    )
    @pytest.mark.parametrize("folder", ["wav", "augmented"])
    def test_it_names_a_clip_made_from_another(self, mark, folder):
        original, made = utterance("wav/x.wav", speaker="a"), utterance(f"{folder}/x{mark}.wav", speaker="b")
        finding = self.only_finding(self.split(train=[original], test=[made]))
        assert (finding.kind, finding.sides) == ("derived", ("train", "test"))
        assert finding.message == f"made from one recording: wav/x.wav (train) and {folder}/x{mark}.wav (test)"

    def test_it_names_two_clips_made_from_one_that_is_absent(self):
        planted = [utterance("x_aug1.wav", speaker="a")], [utterance("x_aug2.wav", speaker="b")]
        assert self.only_finding(self.split(*planted)).kind == "derived"

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("a/001.wav", "b/001.wav"),  # the same number with two speakers
            ("a/001.wav", "b/002_aug1.wav"),
            ("angry (1).wav", "angry (2).wav"),  # takes, numbered by hand
            ("03a01Fa.wav", "03a01Fb.wav"),
            ("03-01-06-01-02-02-12.wav", "03-01-06-01-02-01-12.wav"),
            ("take_1.wav", "take_2.wav"),
        ],
    )
    def test_other_likenesses_of_names_are_no_leak(self, one, other):
        split = self.split(train=[utterance(one, speaker="a")], test=[utterance(other, speaker="b")])
        assert audit_split(split).ok

    def test_a_made_clip_belongs_to_the_recording_beside_it(self):
        train = [utterance("a/001.wav", speaker="a"), utterance("a/001_aug1.wav", speaker="a")]
        test = [utterance("b/001.wav", speaker="b"), utterance("b/001_aug1.wav", speaker="b")]
        assert audit_split(self.split(train=train, test=test)).ok

    def test_a_missing_class_is_a_finding_but_no_leak(self):
        split = self.split(train=[utterance("x.wav", "calm", "x")])
        finding = self.only_finding(split)
        assert (finding.kind, finding.sides) == ("class", ("val", "test"))
        assert finding.message == "no calm clip in val and test"
        assert audit_split(split).leaks == ()

    @pytest.mark.parametrize("sides", [("train", "test"), ("train", "train")])
    def test_identical_audio_with_different_labels_is_a_finding(self, sides):
        clips = utterance("a.wav", "sad", "03"), utterance("b.wav", "happy", "03")
        placed = {side: [clip for clip, own in zip(clips, sides, strict=True) if own == side] for side in sides}
        audit = audit_split(self.split(**placed), fingerprints=dict.fromkeys(clips, "same"))
        (finding,) = (finding for finding in audit if finding.kind == "label")
        assert finding not in audit.leaks and finding.sides == tuple(dict.fromkeys(sides))
        assert f"a.wav (sad, {sides[0]})" in finding.message and f"b.wav (happy, {sides[1]})" in finding.message

    def test_an_emotion_that_training_lacks_comes_first_and_says_what_follows(self):
        train, test = [utterance("s.wav", "angry", "s")], [utterance("t.wav", "proud", "t")]
        finding, *_ = audit_split(self.split(train=train, test=test))
        assert (finding.kind, finding.sides) == ("class", ("train", "val"))
        assert "proud" in finding.message and "count as errors" in finding.message

    def test_unknown_speakers_are_a_finding_but_no_leak(self):
        split = self.split(val=[utterance("x.wav"), utterance("y.wav")])
        finding = self.only_finding(split)
        assert (finding.kind, finding.sides) == ("unknown speaker", ("val",))
        assert "x.wav (val) and 1 more" in finding.message
        assert audit_split(split).leaks == ()

    def test_it_prints_every_kind_and_cuts_a_long_list_short(self):
        clips = balanced(30, clips_per_emotion=3)
        text = str(audit_split(Split(clips[::3], clips[1::3], clips[2::3])))
        assert text.startswith("Split audit: 30 leaks, 30 findings.\n  speaker: own/000 is in train (4 clips)")
        assert text.endswith("... and 10 more")

    def test_the_order_of_the_sides_clips_changes_nothing(self):
        clips = balanced(6)
        split = Split(clips[::3], clips[1::3], clips[2::3])
        assert audit_split(Split(*(side[::-1] for side in split))) == audit_split(split)


@pytest.fixture
def untold():
    with warnings.catch_warnings(action="ignore"):
        yield


def test_random_folds_test_each_clip_once_and_share_every_speaker(untold):
    clips = balanced(6)
    folds = random_folds(clips, num_folds=4)
    assert sorted(map(repr, clips)) == sorted(repr(clip) for split in folds for clip in split.test)
    for split in folds:
        assert_parts(clips, split)
        assert speakers(split.test) & speakers(split.train)


def test_random_folds_give_each_fold_its_share_of_each_emotion(untold):
    clips = unbalanced(10, seed=0)
    total = Counter(clip.emotion for clip in clips)
    for split in random_folds(clips, num_folds=5):
        counts = Counter(clip.emotion for clip in split.test)
        assert all(abs(counts[emotion] - total[emotion] / 5) < 1 for emotion in total)


def test_random_folds_keep_what_was_made_from_one_recording_together(untold):
    clips = [
        utterance(f"{n}{e}{end}.wav", e, "a") for n in range(8) for e in EMOTIONS for end in ("", "_aug1", "_aug2")
    ]
    for split in random_folds(clips, num_folds=4):
        assert not [finding for finding in audit_split(split).leaks if finding.kind == "derived"]


def test_random_folds_need_no_speaker(untold):
    clips = [utterance(f"{n}{e}.wav", e) for n in range(6) for e in EMOTIONS]
    assert len(random_folds(clips, num_folds=3)) == 3


def test_random_folds_say_that_their_score_is_optimistic():
    with pytest.warns(OptimisticScoreWarning, match="random folds: every speaker can be in train and in test"):
        random_folds(balanced(4))


def test_random_folds_of_fewer_recordings_than_folds_are_refused(untold):
    with pytest.raises(InputError, match="found 4 recordings, but 5 parts need one each"):
        random_folds([utterance(f"{e}.wav", e) for e in EMOTIONS])


@pytest.mark.parametrize("make_folds", [speaker_folds, random_folds])
def test_another_validation_seed_keeps_the_folds(make_folds, untold):
    clips = balanced(12)
    first, second = (make_folds(clips, num_folds=3, val_seed=seed) for seed in (1, 2))
    assert [split.test for split in first] == [split.test for split in second]
    assert [split.val for split in first] != [split.val for split in second]


def test_the_published_folds_of_ravdess_have_four_of_its_actors_each():
    clips = [utterance(f"{a:02d}{e}.wav", e, f"{a:02d}", corpus="ravdess") for a in range(1, 25) for e in EMOTIONS]
    folds = fixed_folds(clips, "ravdess")
    assert [len(speakers(split.test)) for split in folds] == [4] * 6
    assert speakers(folds[0].test) == {"ravdess/01", "ravdess/11", "ravdess/20", "ravdess/21"}


def test_every_published_file_of_folds_is_there():
    assert all(path.is_file() for path in PUBLISHED_FOLDS.values())
