"""Splits keep speakers apart, folds cover everything once, and the audit names every leak."""

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


def assert_complete(clips, split):
    """Each clip is in one subset, and no subset is empty."""
    assert sorted(map(repr, clips)) == sorted(map(repr, [clip for subset in split for clip in subset]))
    assert all(split)


def assert_speakers_apart(clips, split):
    assert_complete(clips, split)
    assert all(not speakers(one) & speakers(other) for one, other in combinations(split, 2))


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimisticScoreWarning)
        yield


class TestSpeakerSplit:
    @pytest.mark.parametrize("num_speakers", [3, 4, 7, 24])
    def test_no_speaker_is_in_two_subsets(self, num_speakers):
        for seed in range(10):
            clips = unbalanced(num_speakers, seed)
            assert_speakers_apart(clips, speaker_split(clips, seed=seed))

    def test_the_order_of_the_input_changes_nothing(self):
        clips = unbalanced(12, seed=1)
        shuffled = random.Random(0).sample(clips, len(clips))
        assert speaker_split(shuffled, seed=5) == speaker_split(clips, seed=5)

    def test_the_folder_of_the_data_changes_nothing(self):
        here, there = unbalanced(12, seed=1), []
        for clip in here:
            there.append(utterance(Path("/elsewhere") / clip.path, clip.emotion, clip.speaker))
        assert [speakers(subset) for subset in speaker_split(there)] == [
            speakers(subset) for subset in speaker_split(here)
        ]

    def test_a_speaker_with_two_spellings_is_in_one_subset(self):
        clips = [
            utterance(f"{number}/{emotion}{take}.wav", emotion, (str(number), f"{number:02d}")[take])
            for number in range(1, 8)
            for emotion in EMOTIONS
            for take in range(2)
        ]
        split = speaker_split(clips)
        assert not audit_split(split).leaks
        numbers = [{int(clip.speaker) for clip in subset} for subset in split]
        assert all(not one & other for one, other in combinations(numbers, 2))

    def test_another_seed_gives_another_split(self):
        clips = balanced(24)
        assert len({speaker_split(clips, seed=seed) for seed in range(5)}) == 5

    def test_balanced_data_is_split_in_proportion(self):
        train, val, test = speaker_split(balanced(20))
        assert [len(speakers(subset)) for subset in (train, val, test)] == [14, 2, 4]

    @pytest.mark.parametrize("num_speakers", [10, 24])
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

    def test_emotions_of_a_single_speaker_are_trained_on(self):
        rare = [utterance(f"{speaker:03d}/rare.wav", f"rare{speaker}", f"{speaker:03d}") for speaker in range(4)]
        clips = balanced(12) + rare
        for seed in range(5):
            assert emotions(speaker_split(clips, seed=seed).train) == emotions(clips)

    def test_no_choice_of_three_speakers_has_more_emotions_in_train(self):
        for seed in range(20):
            clips = unbalanced(3, seed)
            most = max(len(emotions(clip for clip in clips if clip.speaker_id == name)) for name in speakers(clips))
            assert len(emotions(speaker_split(clips, seed=seed).train)) == most

    def test_speakers_of_one_name_in_two_corpora_are_two_people(self):
        clips = [utterance(f"{corpus}.wav", speaker="03", corpus=corpus) for corpus in ("emodb", "ravdess", "own")]
        assert [len(subset) for subset in speaker_split(clips)] == [1, 1, 1]

    @pytest.mark.parametrize("num_speakers", [0, 1, 2])
    def test_too_few_speakers_are_counted_and_the_remedy_is_named(self, num_speakers):
        with pytest.raises(InputError, match=rf"{num_speakers} found.*record more speakers"):
            speaker_split(balanced(num_speakers))

    def test_a_clip_without_a_speaker_is_named(self):
        with pytest.raises(InputError, match=r"^lost\.wav.*manifest"):
            speaker_split([*balanced(5), utterance("lost.wav")])

    @pytest.mark.parametrize("fractions", [(0, 0.2), (0.2, 0), (0.5, 0.5), (-0.1, 0.2), (0.2, float("nan"))])
    def test_impossible_fractions_are_refused(self, fractions):
        with pytest.raises(InputError, match="above 0 and their sum below 1"):
            speaker_split(balanced(5), val_fraction=fractions[0], test_fraction=fractions[1])


class TestRandomSplit:
    def test_it_warns_of_its_score(self):
        with pytest.warns(OptimisticScoreWarning, match="better than on new speakers"):
            random_split(balanced(2))

    def test_each_emotion_is_split_in_proportion(self, quiet):
        clips = balanced(10, clips_per_emotion=10)  # 100 of each emotion
        for subset, size in zip(random_split(clips), (70, 10, 20), strict=True):
            assert Counter(clip.emotion for clip in subset) == dict.fromkeys(EMOTIONS, size)

    def test_the_order_of_the_input_changes_nothing(self, quiet):
        clips = balanced(6)
        assert random_split(clips[::-1], seed=3) == random_split(clips, seed=3) != random_split(clips, seed=4)

    @pytest.mark.parametrize("counts", [(1, 30), (1, 1, 1), (3,), (1, 2, 3, 4)])
    def test_tiny_emotions_are_split_too(self, quiet, counts):
        clips = [utterance(f"{e}_{i}.wav", f"e{e}") for e, count in enumerate(counts) for i in range(count)]
        assert_complete(clips, random_split(clips))

    def test_a_tiny_emotion_is_trained_on_first_and_tested_on_next(self, quiet):
        clips = [utterance(f"{i}.wav") for i in range(30)]
        clips += [utterance("one.wav", "one"), utterance("two_a.wav", "two"), utterance("two_b.wav", "two")]
        train, val, test = random_split(clips)
        assert {"one", "two"} <= emotions(train)
        assert emotions(test) == {"sad", "two"}
        assert emotions(val) == {"sad"}

    def test_copies_and_segments_stay_with_their_recording(self, quiet):
        clips = [utterance(f"{i}{mark}.wav", f"e{i % 2}") for i in range(30) for mark in ("", "_aug1", "-noise")]
        clips += [utterance("long.wav", start_seconds=i, end_seconds=i + 1) for i in range(9)]
        assert all(audit_split(random_split(clips, seed=seed)).leaks == () for seed in range(3))

    def test_too_few_recordings_are_refused(self):
        with pytest.raises(InputError, match=r"2 recordings.*add recordings"):
            random_split([utterance("a.wav"), utterance("b.wav"), utterance("b_copy.wav")])


class TestDefaultSplit:
    def test_known_speakers_are_kept_apart(self):
        assert default_split(balanced(6), seed=2) == speaker_split(balanced(6), seed=2)

    def test_unknown_speakers_are_warned_of(self):
        with pytest.warns(OptimisticScoreWarning):
            assert_complete(clips := [utterance(f"{i}.wav") for i in range(9)], default_split(clips))

    def test_partly_unknown_speakers_are_an_error(self):
        with pytest.raises(InputError, match=r"lost\.wav"):
            default_split([*balanced(5), utterance("lost.wav")])

    def test_the_manifests_split_is_followed(self):
        clips = [utterance(f"{i}.wav", speaker="a", split=name) for i, name in enumerate(("train", "val", "test") * 2)]
        assert [{clip.split for clip in subset} for subset in default_split(clips)] == [
            {"train"},
            {"val"},
            {"test"},
        ]

    def test_validation_speakers_are_taken_from_the_manifests_training_set(self):
        clips = [*balanced(6, split="train"), utterance("t.wav", speaker="new", split="test")]
        train, val, test = default_split(clips)
        assert [len(speakers(subset)) for subset in (train, val, test)] == [5, 1, 1]
        assert not speakers(train) & speakers(val)

    def test_validation_recordings_are_taken_at_random_where_no_speaker_is_known(self):
        clips = [utterance(f"{i}.wav", split="train" if i else "test") for i in range(21)]
        assert [len(subset) for subset in default_split(clips)] == [18, 2, 1]

    def test_a_clip_without_a_split_beside_others_with_one_is_named(self):
        with pytest.raises(InputError, match=r"^b\.wav.*None.*give each clip"):
            default_split([utterance("a.wav", split="train"), utterance("b.wav")])

    @pytest.mark.parametrize("subset", ["train", "test"])
    def test_a_manifest_without_training_or_test_set_is_an_error(self, subset):
        others = {"train", "val", "test"} - {subset}
        with pytest.raises(InputError, match=f"no clip into {subset}"):
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
    def test_each_clip_is_tested_once_and_no_speaker_is_in_two_subsets(self, make):
        clips = unbalanced(9, seed=3)
        splits = make(clips)
        assert sorted(clip.path for split in splits for clip in split.test) == sorted(clip.path for clip in clips)
        for split in splits:
            assert_speakers_apart(clips, split)

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

    def test_two_speakers_are_too_few_to_leave_one_out(self):
        with pytest.raises(InputError, match="2 found"):
            leave_one_speaker_out(balanced(2))


class TestFixedFolds:
    def write(self, tmp_path, *lines):
        path = tmp_path / "folds.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def test_speakers_are_found_by_short_and_by_full_name(self, tmp_path):
        path = self.write(tmp_path, "speaker,fold", "000,1", "own/001,10", "002,2", "003,2")
        splits = fixed_folds(balanced(4), path)
        names = [speakers(split.test) for split in splits]
        assert names == [{"own/000"}, {"own/002", "own/003"}, {"own/001"}]
        for split in splits:
            assert_complete(balanced(4), split)
            assert not speakers(split.train) & speakers(split.val)

    def test_speakers_are_found_in_any_spelling(self, tmp_path):
        clips = [utterance(f"{name}.wav", speaker=name) for name in ("01", "Anna", "J\u00f6rg")]
        (tmp_path / "folds.csv").write_text("speaker,fold\n1,a\nown/anna,b\nJo\u0308rg,c\n", encoding="utf-8")
        assert [split.test[0].speaker for split in fixed_folds(clips, tmp_path / "folds.csv")] == [
            *("01", "Anna", "J\u00f6rg")
        ]

    def test_paths_are_found_by_their_end(self, tmp_path):
        clips = [utterance(f"/data/{folder}/{name}.wav", speaker=folder) for folder in "abc" for name in "xy"]
        rows = [f"{folder}/{name}.wav,{folder}" for folder in "abc" for name in "xy"]
        splits = fixed_folds(clips, self.write(tmp_path, "path,fold", *rows))
        assert [speakers(split.test) for split in splits] == [{"own/a"}, {"own/b"}, {"own/c"}]

    def test_skipped_files_may_be_named(self, tmp_path):
        clips = [utterance(f"/data/{name}.wav", speaker=name) for name in "abcd"]
        path = self.write(tmp_path, "path,fold", *(f"{clip.path.name},{clip.speaker}" for clip in clips))
        with pytest.raises(InputError, match=r"line 5: path 'd\.wav'"):
            fixed_folds(clips[:3], path)
        splits = fixed_folds(clips[:3], path, skipped=[clips[3].path])
        assert [speakers(split.test) for split in splits] == [{"own/a"}, {"own/b"}, {"own/c"}]

    @pytest.mark.parametrize(
        ("lines", "named"),
        [
            (["speaker,part", "000,1"], "speaker, part; needed: speaker,fold or path,fold"),
            (["", ""], "needed: speaker,fold or path,fold"),
            (["speaker,fold", "000,1", "9,2"], "line 3: speaker '9' .*own/000"),
            (["path,fold", "x.wav,2"], r"line 2: path 'x\.wav'"),
            (["path,fold", "sad0.wav,2"], r"line 2: path 'sad0\.wav' is ambiguous.*000/sad0\.wav, 001"),
            (["speaker,fold", "000,1", "001,2"], r"002/angry0\.wav \(speaker own/002\).*add its row to"),
            (["speaker,fold", "000,1", "001,1", "002,1"], "has 1 fold"),
            (["speaker,fold", "000,"], "line 2: .*'000'"),
            (["speaker,fold", "000"], "line 2: .*'000'"),
            (["speaker,fold", "000,1", "own/000,2"], "line 3: own/000 is in fold 1"),
        ],
    )
    def test_an_error_in_the_file_is_named_with_its_line(self, tmp_path, lines, named):
        with pytest.raises(InputError, match=rf"folds\.csv.*{named}|{named}.*folds\.csv"):
            fixed_folds(balanced(3), self.write(tmp_path, *lines))

    @pytest.mark.parametrize("content", [None, b"speaker,fold\n\xff\xfe,1\n"])
    def test_an_unreadable_file_is_named(self, tmp_path, content):
        path = tmp_path / "folds.csv"
        if content:
            path.write_bytes(content)
        with pytest.raises(InputError, match=r"folds\.csv .*UTF-8"):
            fixed_folds(balanced(3), path)

    def test_a_short_name_of_two_speakers_is_ambiguous(self, tmp_path):
        clips = [utterance(f"{corpus}.wav", speaker="03", corpus=corpus) for corpus in ("emodb", "other")]
        with pytest.raises(InputError, match=r"'03'.*emodb/03, other/03"):
            fixed_folds(clips, self.write(tmp_path, "speaker,fold", "03,1"))

    def test_folds_that_cut_through_a_speaker_are_warned_of(self, tmp_path):
        clips = [utterance(f"{speaker}{i}.wav", speaker=speaker) for speaker in "abcd" for i in range(2)]
        rows = [f"{clip.path},{clip.path.stem[1]}" for clip in clips]
        with pytest.warns(OptimisticScoreWarning, match=r"folds\.csv .*own/a, own/b"):
            fixed_folds(clips, self.write(tmp_path, "path,fold", *rows))

    def test_folds_that_cut_through_a_speaker_in_two_spellings_are_warned_of(self, tmp_path):
        clips = [utterance(f"{name}.wav", speaker=name) for name in ("1", "01", "2", "3")]
        (tmp_path / "folds.csv").write_text("path,fold\n1.wav,a\n01.wav,b\n2.wav,b\n3.wav,a\n")
        with pytest.warns(OptimisticScoreWarning, match="own/0?1"):
            fixed_folds(clips, tmp_path / "folds.csv")

    def test_folds_of_unknown_speakers_are_warned_of(self, tmp_path):
        clips = [utterance(f"{i}.wav") for i in range(6)]
        rows = [f"{i}.wav,{i % 2}" for i in range(6)]
        with pytest.warns(OptimisticScoreWarning, match="without a speaker"):
            splits = fixed_folds(clips, self.write(tmp_path, "path,fold", *rows))
        assert [[len(subset) for subset in split] for split in splits] == [[2, 1, 3]] * 2


class TestAudit:
    def split(self, train=(), val=(), test=()):
        """A clean split of three speakers, and what is planted in it."""
        clean = [[utterance(f"{i}.wav", speaker=f"clean{i}")] for i in range(3)]
        return Split(*((*ours, *planted) for ours, planted in zip(clean, (train, val, test), strict=True)))

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

    def test_it_names_a_speaker_in_all_subsets(self):
        planted = [[utterance(f"p{i}.wav", speaker="03", corpus="emodb")] for i in range(3)]
        finding = self.only_finding(self.split(*planted))
        assert (finding.kind, finding.subsets) == ("speaker", ("train", "val", "test"))
        assert "emodb/03" in finding.message

    @pytest.mark.parametrize("other", ["3", "003", "\uff13"])
    def test_it_knows_a_speaker_in_another_spelling(self, other):
        train, test = [utterance("a.wav", speaker="03")], [utterance("b.wav", speaker=other)]
        finding = self.only_finding(self.split(train=train, test=test))
        assert (finding.kind, finding.subsets) == ("speaker", ("train", "test"))
        assert "own/03" in finding.message and f"own/{other}" in finding.message

    def test_it_names_identical_audio_under_two_names(self):
        split = self.split(train=[a := utterance("a.wav", speaker="a")], test=[b := utterance("b.wav", speaker="b")])
        finding = self.only_finding(split, fingerprints={a: "same", b: "same"})
        assert (finding.kind, finding.subsets) == ("audio", ("train", "test"))
        assert "a.wav (train)" in finding.message and "b.wav (test)" in finding.message

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
        assert (finding.kind, finding.subsets) == (kind, ("val", "test"))
        assert "long.wav" in finding.message

    def test_an_overlap_within_one_subset_is_none(self):
        train = [utterance("long.wav", speaker="a", start_seconds=start, end_seconds=start + 2) for start in (0, 1)]
        test = [utterance("long.wav", speaker="b", start_seconds=3, end_seconds=4)]
        assert self.only_finding(self.split(train=train, test=test)).kind == "derived"

    def test_an_overlap_is_found_behind_other_segments(self):
        train = [utterance("long.wav", speaker="a", start_seconds=start, end_seconds=start + 1) for start in range(50)]
        test = [utterance("long.wav", speaker="b", start_seconds=48.5, end_seconds=60)]
        assert self.only_finding(self.split(train=train, test=test)).kind == "audio"

    @pytest.mark.parametrize(
        ("folder", "mark"),
        [
            *(("wav", each) for each in ("_aug", "_aug1", "-noise", "_noise_10db", "_pitch+2", "_tempo0.9x", "_copy")),
            *(("wav", each) for each in ("_Copy 2", " - Copy (2)", " (1)")),
            *(("augmented", each) for each in ("_augmented_3", ".noisy", "-noise-snr10", "_pitchshift-3", " - Copy")),
            *(("augmented", each) for each in ("_pitch-2", "_speed0.9", "_time_stretch1.1", "_pitch+2_noise")),
        ],
    )
    def test_it_names_a_clip_made_from_another(self, folder, mark):
        original, made = utterance("wav/x.wav", speaker="a"), utterance(f"{folder}/x{mark}.wav", speaker="b")
        finding = self.only_finding(self.split(train=[original], test=[made]))
        assert (finding.kind, finding.subsets) == ("derived", ("train", "test"))
        assert "wav/x.wav (train)" in finding.message and f"{folder}/x{mark}.wav (test)" in finding.message

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
        assert (finding.kind, finding.subsets) == ("class", ("val", "test"))
        assert "calm" in finding.message
        assert audit_split(split).leaks == ()

    @pytest.mark.parametrize("subsets", [("train", "test"), ("train", "train")])
    def test_identical_audio_with_different_labels_is_a_finding(self, subsets):
        clips = utterance("a.wav", "sad", "03"), utterance("b.wav", "happy", "03")
        placed = {name: [clip for clip, own in zip(clips, subsets, strict=True) if own == name] for name in subsets}
        audit = audit_split(self.split(**placed), fingerprints=dict.fromkeys(clips, "same"))
        (finding,) = (finding for finding in audit if finding.kind == "label")
        assert finding not in audit.leaks and finding.subsets == tuple(dict.fromkeys(subsets))
        assert f"a.wav (sad, {subsets[0]})" in finding.message and f"b.wav (happy, {subsets[1]})" in finding.message

    def test_an_emotion_that_training_lacks_comes_first_with_its_effect(self):
        train, test = [utterance("s.wav", "angry", "s")], [utterance("t.wav", "proud", "t")]
        finding, *_ = audit_split(self.split(train=train, test=test))
        assert (finding.kind, finding.subsets) == ("class", ("train", "val"))
        assert "proud" in finding.message and "errors" in finding.message

    def test_unknown_speakers_are_a_finding_but_no_leak(self):
        split = self.split(val=[utterance("x.wav"), utterance("y.wav")])
        finding = self.only_finding(split)
        assert (finding.kind, finding.subsets) == ("unknown speaker", ("val",))
        assert "x.wav (val) and 1 more" in finding.message
        assert audit_split(split).leaks == ()

    def test_it_prints_every_kind_and_cuts_a_long_list_short(self):
        clips = balanced(30, clips_per_emotion=3)
        text = str(audit_split(Split(clips[::3], clips[1::3], clips[2::3])))
        assert "30 leaks" in text.splitlines()[0] and "own/000" in text.splitlines()[1] and text.endswith("10 more")

    def test_the_order_of_the_clips_changes_nothing(self):
        clips = balanced(6)
        split = Split(clips[::3], clips[1::3], clips[2::3])
        assert audit_split(Split(*(subset[::-1] for subset in split))) == audit_split(split)


def test_random_folds_test_each_clip_once_and_share_every_speaker(quiet):
    clips = balanced(6)
    folds = random_folds(clips, num_folds=4)
    assert sorted(map(repr, clips)) == sorted(repr(clip) for split in folds for clip in split.test)
    for split in folds:
        assert_complete(clips, split)
        assert speakers(split.test) & speakers(split.train)


def test_random_folds_give_each_fold_its_share_of_each_emotion(quiet):
    clips = unbalanced(10, seed=0)
    total = Counter(clip.emotion for clip in clips)
    for split in random_folds(clips, num_folds=5):
        counts = Counter(clip.emotion for clip in split.test)
        assert all(abs(counts[emotion] - total[emotion] / 5) < 1 for emotion in total)


def test_random_folds_keep_what_was_made_from_one_recording_together(quiet):
    clips = [
        utterance(f"{n}{e}{end}.wav", e, "a") for n in range(8) for e in EMOTIONS for end in ("", "_aug1", "_aug2")
    ]
    for split in random_folds(clips, num_folds=4):
        assert not [finding for finding in audit_split(split).leaks if finding.kind == "derived"]


def test_random_folds_need_no_speaker(quiet):
    clips = [utterance(f"{n}{e}.wav", e) for n in range(6) for e in EMOTIONS]
    assert len(random_folds(clips, num_folds=3)) == 3


def test_random_folds_warn_of_their_score():
    with pytest.warns(OptimisticScoreWarning, match="better than on new speakers"):
        random_folds(balanced(4))


def test_random_folds_of_fewer_recordings_than_folds_are_refused(quiet):
    with pytest.raises(InputError, match=r"4 recordings.*add recordings"):
        random_folds([utterance(f"{e}.wav", e) for e in EMOTIONS])


@pytest.mark.parametrize("make_folds", [speaker_folds, random_folds])
def test_another_validation_seed_keeps_the_folds(make_folds, quiet):
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
