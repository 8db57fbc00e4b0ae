"""The synthetic corpus: the same files for the same seed, readable, speech-like, whole or not there."""

import hashlib
import json
from itertools import combinations

import librosa
import numpy as np
import pytest
import soundfile

from ser_keras import synthetic
from ser_keras.corpora import read_corpus
from ser_keras.corpora.synthesis import STYLES, Voice, draw_voice, synthesize_clip
from ser_keras.errors import InputError
from ser_keras.synthetic import make_corpus

SMALL = {"num_speakers": 4, "clips_per_emotion": 1}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("made") / "corpus", **SMALL)


def hashes(directory):
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


def median_pitch(clip):
    """Over the louder half of the frames, which are vowels."""
    pitch = librosa.yin(clip, fmin=60, fmax=700, sr=16000, frame_length=1024)
    loudness = librosa.feature.rms(y=clip, frame_length=1024, hop_length=256)[0]
    return np.median(pitch[loudness > np.median(loudness)])


def brightness_db(clip):
    """Energy above 1 kHz beside that below."""
    power = np.abs(librosa.stft(clip, n_fft=512)).mean(axis=1) ** 2
    split = 1 + 512 * 1000 // 16000
    return 10 * np.log10(power[split:].sum() / power[:split].sum())


def test_the_same_seed_gives_the_same_bytes(corpus, tmp_path):
    assert hashes(make_corpus(tmp_path / "again", **SMALL)) == hashes(corpus)


def test_another_seed_gives_other_clips(corpus, tmp_path):
    other = hashes(make_corpus(tmp_path / "other", **SMALL, seed=1))
    same = [name for name, digest in hashes(corpus).items() if name.endswith(".wav") and other[name] == digest]
    assert same == []


def test_a_larger_corpus_contains_the_smaller_one(corpus, tmp_path):
    larger = hashes(make_corpus(tmp_path / "larger", num_speakers=1, clips_per_emotion=2, emotions=("sad", "calm")))
    smaller = hashes(corpus)
    assert larger["01/01_sad_1.wav"] == smaller["01/01_sad_1.wav"]
    assert larger["01/01_sad_2.wav"] not in smaller.values()


def test_the_manifest_is_read_as_a_corpus(corpus):
    utterances = list(read_corpus(corpus))
    assert len(utterances) == 4 * len(STYLES)
    assert {clip.emotion for clip in utterances} == set(STYLES)
    assert {clip.speaker for clip in utterances} == {"01", "02", "03", "04"}
    assert {clip.gender for clip in utterances} == {"female", "male"}
    assert all(clip.text for clip in utterances)


def test_clips_are_16_bit_wav_of_three_kinds(corpus):
    infos = [soundfile.info(path) for path in sorted(corpus.rglob("*.wav"))]
    assert {info.subtype for info in infos} == {"PCM_16"}
    assert {(info.samplerate, info.channels) for info in infos} == {(16000, 1), (22050, 1), (48000, 2)}


def test_clips_last_1_to_2_seconds_and_are_neither_silent_nor_clipped(corpus):
    for path in corpus.rglob("*.wav"):
        samples, sample_rate = soundfile.read(path)
        assert 1.0 <= len(samples) / sample_rate <= 2.0
        assert 0.02 < np.abs(samples).max() < 0.995


@pytest.mark.parametrize("emotion", STYLES)
@pytest.mark.parametrize("sample_rate", [8000, 22050])
def test_every_style_gives_finite_float32(emotion, sample_rate):
    rng = np.random.default_rng(0)
    clip = synthesize_clip(emotion, draw_voice("female", rng), rng, sample_rate=sample_rate)
    assert clip.dtype == np.float32
    assert clip.ndim == 1
    assert np.isfinite(clip).all()


@pytest.mark.slow
@pytest.mark.parametrize("gender", ["female", "male"])
def test_angry_and_happy_speech_is_higher_than_sad_speech_of_the_same_voice(gender):
    voice = draw_voice(gender, np.random.default_rng(3))
    clips = {name: synthesize_clip(name, voice, np.random.default_rng(4)) for name in ("angry", "happy", "sad")}
    pitch = {name: median_pitch(clip) for name, clip in clips.items()}
    assert pitch["angry"] > 1.15 * pitch["sad"]
    assert pitch["happy"] > 1.15 * pitch["sad"]


@pytest.mark.slow
def test_the_pitch_is_that_of_the_voice():
    voice = draw_voice("male", np.random.default_rng(0))
    pitch = median_pitch(synthesize_clip("neutral", voice, np.random.default_rng(1)))
    assert abs(12 * np.log2(pitch / voice.pitch_hz)) < 3  # semitones: the accents move the median


@pytest.mark.slow
def test_angry_speech_is_louder_and_brighter_than_sad_speech():
    voice = draw_voice("female", np.random.default_rng(5))
    angry, sad = (synthesize_clip(name, voice, np.random.default_rng(6)) for name in ("angry", "sad"))
    assert np.std(angry) > 3 * np.std(sad)
    assert brightness_db(angry) > brightness_db(sad) + 3


@pytest.mark.slow
def test_vowels_have_the_formants_of_their_names():
    voice = draw_voice("male", np.random.default_rng(0))
    clips = {
        vowel: synthesize_clip("neutral", voice, np.random.default_rng(1), text=f"m{vowel} " * 5) for vowel in "iau"
    }
    spectra = {vowel: np.abs(librosa.stft(clip, n_fft=512)).mean(axis=1) for vowel, clip in clips.items()}
    hz = librosa.fft_frequencies(sr=16000, n_fft=512)
    front = (hz > 1900) & (hz < 2700)  # the second formant of "i", and of no other of the three
    energies = {vowel: (spectrum[front] ** 2).sum() / (spectrum**2).sum() for vowel, spectrum in spectra.items()}
    assert energies["i"] > 2 * max(energies["a"], energies["u"])


@pytest.mark.slow
@pytest.mark.parametrize("sample_rate", [22050, 48000])
def test_every_recorder_has_the_same_bandwidth(sample_rate):
    rng = np.random.default_rng(0)
    clip = synthesize_clip("angry", draw_voice("female", rng), rng, sample_rate=sample_rate)
    power = (np.abs(librosa.stft(clip, n_fft=512)) ** 2).mean(axis=1)
    assert power[librosa.fft_frequencies(sr=sample_rate, n_fft=512) > 8400].max() < 1e-6 * power.max()


def test_a_shouting_voice_is_turned_down_and_not_clipped():
    voice = Voice("male", pitch_hz=110.0, formant_scale=1.0, syllables_per_second=4.0, level_db=40.0)
    clip = synthesize_clip("angry", voice, np.random.default_rng(0))
    assert np.abs(clip).max() == np.float32(0.9)


def test_voices_differ():
    voices = [draw_voice(gender, np.random.default_rng(seed)) for gender in ("female", "male") for seed in range(3)]
    assert all(one != other for one, other in combinations(voices, 2))
    assert min(voice.pitch_hz for voice in voices[:3]) > 1.3 * max(voice.pitch_hz for voice in voices[3:])
    assert len({round(voice.pitch_hz) for voice in voices}) == len(voices)


def test_the_same_corpus_is_reused(tmp_path):
    options = {"num_speakers": 1, "clips_per_emotion": 1, "emotions": ("sad",)}
    corpus = make_corpus(tmp_path / "corpus", **options)
    times = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    assert make_corpus(tmp_path / "corpus", **options) == corpus
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == times


def test_an_empty_folder_is_filled(tmp_path):
    assert (make_corpus(tmp_path, num_speakers=1, clips_per_emotion=1, emotions=("sad",)) / "manifest.csv").exists()


def test_another_corpus_in_the_folder_is_refused(tmp_path):
    make_corpus(tmp_path / "corpus", num_speakers=1, clips_per_emotion=1, emotions=("sad",))
    with pytest.raises(InputError, match=r"corpus holds a synthetic corpus .*'seed': 0.* new or an empty folder"):
        make_corpus(tmp_path / "corpus", num_speakers=1, clips_per_emotion=1, emotions=("sad",), seed=1)


@pytest.mark.parametrize("content", [None, "not JSON", json.dumps([1])])
def test_a_folder_with_something_else_is_refused_and_kept(tmp_path, content):
    (tmp_path / "thesis.txt").write_text("dear")
    if content is not None:
        (tmp_path / "synthetic.json").write_text(content)
    with pytest.raises(InputError, match="already: name a new or an empty folder"):
        make_corpus(tmp_path, **SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "dear"


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "corpus").write_text("a file")
    with pytest.raises(InputError, match="holds something else already"):
        make_corpus(tmp_path / "corpus", **SMALL)


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    real, calls = synthetic.synthesize_clip, []

    def fail_at_the_third(*args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            raise OSError("disk full")
        return real(*args, **kwargs)

    monkeypatch.setattr(synthetic, "synthesize_clip", fail_at_the_third)
    with pytest.raises(OSError, match="disk full"):
        make_corpus(tmp_path / "corpus", **SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_speakers": 0}, "num_speakers=0"),
        ({"clips_per_emotion": 0}, "clips_per_emotion=0"),
        ({"emotions": ()}, "choose one or more"),
        ({"emotions": ("sad", "sad")}, "each once"),
        ({"emotions": ("sad", "smug")}, r"'smug'\].* out of neutral, calm"),
    ],
)
def test_an_impossible_request_is_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        make_corpus(tmp_path / "corpus", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "hello world", "ma xo"])
def test_a_text_of_other_syllables_is_refused(text):
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="not made of syllables such as 'ma no"):
        synthesize_clip("sad", draw_voice("male", rng), rng, text=text)
