"""Predictor: files of any format and length, alone, in batches, and as a stream."""

import io
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from ser_keras import inference
from ser_keras.audio import load_audio
from ser_keras.audio_io.sound_files import encode_wav
from ser_keras.errors import InputError
from ser_keras.inference import Predictor
from ser_keras.runs.reading import find_export


@pytest.fixture(scope="module")
def predictor(exported):
    """Recordings longer than 20 s are too long for its graph."""
    return Predictor(exported)


@pytest.fixture
def calls(predictor, monkeypatch):
    """Note each call of the graph: the signature and the number of recordings."""
    noted, run = [], predictor._run

    def note(signature, **inputs):
        noted.append((signature, len(next(iter(inputs.values())))))
        return run(signature, **inputs)

    monkeypatch.setattr(predictor, "_run", note)
    return noted


def write(path, samples, sample_rate=16_000, subtype="PCM_16"):
    soundfile.write(path, samples, sample_rate, subtype=subtype)
    return path


def values(answer):
    return list(answer.probabilities.values())


def same_windows(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.start_seconds == pytest.approx(theirs.start_seconds)
        assert ours.end_seconds == pytest.approx(theirs.end_seconds)
        assert values(ours) == pytest.approx(values(theirs), abs=1e-5)
        assert ours.label == theirs.label


def test_predictor_gives_the_same_for_wav_and_flac(predictor, noise, tmp_path):
    samples = (noise(12_000) * 20_000).astype(np.int16)
    for name in ("clip.wav", "clip.flac"):
        soundfile.write(tmp_path / name, samples, 16_000, subtype="PCM_16")
    wav, flac = (predictor.predict(tmp_path / name) for name in ("clip.wav", "clip.flac"))
    assert wav.label == flac.label and wav.confidence == max(wav.probabilities.values())
    assert list(wav.probabilities) == ["neutral", "sad", "angry"]
    assert list(wav.probabilities.values()) == pytest.approx(list(flac.probabilities.values()), abs=1e-6)


def test_predictor_reads_a_wav_that_the_graph_does_not(predictor, noise, tmp_path):
    soundfile.write(tmp_path / "law.wav", noise(12_000), 16_000, subtype="ULAW")
    assert predictor.predict(tmp_path / "law.wav").label in ("neutral", "sad", "angry")


@pytest.fixture
def odd_wav_files(noise):
    """Return the bytes of WAV files that are not usual, by name, and those of a usual one; the samples are equal."""
    samples = (noise(12_000) * 20_000).astype("<i2")
    plain, files = encode_wav(samples, 16_000), {}
    files["a tag in front"] = b"ID3\x04\0\0\0\0\x01\0" + bytes(128) + plain
    files["24 bits in 4 bytes"] = (
        plain[:16]
        + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 64_000, 4, 24)
        + b"data"
        + struct.pack("<I", 48_000)
        + (samples.astype("<i4") << 16).tobytes()
    )
    for name, (container, endian) in {"big-endian": ("WAV", "BIG"), "Wave64": ("W64", "FILE")}.items():
        file = io.BytesIO()
        soundfile.write(file, samples, 16_000, format=container, subtype="PCM_16", endian=endian)
        files[name] = file.getvalue()
    return files, plain


def test_every_file_that_is_trained_on_is_predicted(predictor, odd_wav_files, tmp_path):
    files, plain = odd_wav_files
    paths = [tmp_path / f"{index}.wav" for index in range(len(files) + 1)]
    for path, contents in zip(paths, [plain, *files.values()], strict=True):
        path.write_bytes(contents)
    expected, *answers = predictor.predict(paths)
    for name, path, answer in zip(files, paths[1:], answers, strict=True):
        np.testing.assert_allclose(load_audio(path), load_audio(paths[0]), atol=1e-6, err_msg=name)
        assert values(answer) == pytest.approx(values(expected), abs=1e-5), name


def test_a_long_file_that_was_cut_off_is_refused(predictor, noise, tmp_path):
    path = write(tmp_path / "long.wav", noise(60 * 16_000))
    path.write_bytes(path.read_bytes()[: 45 * 32_000])
    for answer in (*predictor.predict([path]), *predictor.timeline([path])):
        assert answer.error.startswith("cut off: 45.00 s of 60.00 s")


def test_predictor_names_the_file_that_it_cannot_read(predictor, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"RIFFxxxxWAVEjunk")
    with pytest.raises(InputError, match=r"bad\.wav: "):
        predictor.predict(tmp_path / "bad.wav")


def test_predictor_needs_a_saved_model(tmp_path):
    with pytest.raises(InputError, match="run directory"):
        Predictor(tmp_path)


def test_predictor_reads_an_export_of_this_package_only(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(InputError, match=r"model\.json: .*an export"):
        Predictor(tmp_path)


def test_predictor_gives_a_timeline(predictor, noise, tmp_path):
    for name in ("talk.wav", "talk.flac"):
        soundfile.write(tmp_path / name, (noise(16_000 * 4) * 20_000).astype(np.int16), 16_000, subtype="PCM_16")
    wav, flac = (predictor.timeline(tmp_path / name) for name in ("talk.wav", "talk.flac"))
    assert [(window.start_seconds, window.end_seconds) for window in wav.windows] == [(0, 3), (1, 4)]
    assert wav.windows[1].confidence == pytest.approx(flac.windows[1].confidence, abs=1e-6)


def test_a_list_is_predicted_in_its_order_as_each_file_alone(predictor, noise, tmp_path):
    seconds = [2.0, 0.3, 1.1, 5.0, 0.3, 2.5]
    paths = [
        write(tmp_path / f"{index}.{'wav' if index % 2 else 'flac'}", noise(round(each * 16_000), seed=index))
        for index, each in enumerate(seconds)
    ]
    answers = predictor.predict(paths)
    assert [each.source for each in answers] == paths
    for path, answer in zip(paths, answers, strict=True):
        assert values(answer) == pytest.approx(values(predictor.predict(path)), abs=1e-5)


def test_files_go_through_the_graph_in_batches_of_similar_length(predictor, calls, noise, tmp_path):
    short = [write(tmp_path / f"s{index}.wav", noise(4_000)) for index in range(40)]
    longer = [write(tmp_path / f"l{index}.wav", noise(64_000)) for index in range(6)]
    mixed = [path for pair in zip(short, longer + short, strict=False) for path in pair][:52]
    assert len(predictor.predict(mixed)) == 52
    assert calls == [("serving_default", size) for size in (32, 14, 5, 1)]  # five of 4 s fill 20 s


def test_a_broken_file_does_not_change_the_others(predictor, noise, tmp_path):
    good = write(tmp_path / "good.wav", noise(8_000))
    (tmp_path / "bad.wav").write_bytes(b"RIFFxxxxWAVEjunk")
    (tmp_path / "text.mp3").write_text("hello")
    (tmp_path / "empty.flac").touch()
    paths = [
        tmp_path / "bad.wav",
        good,
        tmp_path,
        tmp_path / "text.mp3",
        tmp_path / "none.wav",
        tmp_path / "empty.flac",
    ]
    answers = predictor.predict(paths)
    assert [bool(each.error) for each in answers] == [True, False, True, True, True, True]
    assert "No such file" in answers[4].error and "not audio that can be read" in answers[3].error
    assert str(tmp_path) not in "".join(each.error for each in answers)
    assert values(answers[1]) == pytest.approx(values(predictor.predict(good)), abs=1e-6)


def test_nothing_is_read_before_it_is_asked_for(predictor, noise, tmp_path):
    path = write(tmp_path / "clip.wav", noise(8_000))
    endless = predictor.predict_each(path for _ in iter(int, 1))
    assert next(endless).label == next(endless).label


def test_an_empty_list_has_no_predictions(predictor):
    assert predictor.predict([]) == [] and predictor.timeline([]) == []


def test_a_missing_file_is_an_error(predictor, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.wav"):
        predictor.predict(tmp_path / "none.wav")


@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
@pytest.mark.parametrize("name", ["long.wav", "long.flac"])
def test_a_longer_file_than_the_graph_takes_is_predicted_in_windows(
    predictor, calls, noise, tmp_path, name, sample_rate
):
    samples = np.stack([noise(30 * sample_rate), noise(30 * sample_rate, seed=1)], axis=1)
    path = write(tmp_path / name, samples, sample_rate)
    timeline, answer = predictor.timeline(path), predictor.predict(path)
    assert {signature for signature, _ in calls} == {"waveform"} and max(number for _, number in calls) <= 32
    assert [each.start_seconds for each in timeline.windows] == list(range(28))
    means = np.mean([values(each) for each in timeline.windows], axis=0)
    assert values(answer) == pytest.approx(means.tolist())
    assert answer.label == predictor.emotions[np.argmax(means)] and len(answer.attention) == 0


def test_the_windows_of_a_long_file_are_those_that_the_graph_would_give(predictor, noise, tmp_path, monkeypatch):
    path = write(tmp_path / "talk.wav", noise(16_000 * 19 + 400), 16_000)
    expected = predictor.timeline(path)
    monkeypatch.setitem(predictor._most_seconds, "timeline", 5.0)
    same_windows(predictor.timeline(path).windows, expected.windows)


def test_a_long_file_is_never_in_memory_as_a_whole(predictor, noise, tmp_path, monkeypatch):
    sizes, cut = [], inference.cut_windows

    def watch(pieces, *args):
        def watched():
            for piece in pieces:
                sizes.append(len(piece))
                yield piece

        return cut(watched(), *args)

    monkeypatch.setattr(inference, "cut_windows", watch)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("read whole"))
    path = write(tmp_path / "long.wav", np.tile(noise(16_000), 200))
    assert len(predictor.timeline(path).windows) == 198
    assert max(sizes) <= 2**20 and sum(sizes) == 16_000 * 200


def test_the_error_of_a_damaged_long_file_has_its_place(predictor, noise, tmp_path):
    samples = noise(30 * 16_000)
    samples[20 * 16_000] = np.nan
    path = write(tmp_path / "long.wav", samples, subtype="FLOAT")
    (answer,) = predictor.predict([path])
    assert answer.error.startswith("from 18.0 to 21.0 s: holds NaN")


def test_the_windows_of_silence_of_a_long_file_do_not_count(predictor, noise, tmp_path):
    pause = np.zeros(20 * 16_000, np.float32)
    path = write(tmp_path / "long.wav", np.concatenate([noise(10 * 16_000), pause]))
    timeline, answer = predictor.timeline(path), predictor.predict(path)
    spoken = [each for each in timeline.windows if each.label]
    assert [each.start_seconds for each in spoken] == list(range(10))
    assert all(set(each.probabilities.values()) == {0.0} for each in timeline.windows[10:])
    assert values(answer) == pytest.approx(np.mean([values(each) for each in spoken], axis=0).tolist())
    (answer,) = predictor.predict([write(tmp_path / "silent.wav", np.concatenate([pause, pause]))])
    assert answer.error.startswith("silent: ")


def test_a_large_file_without_audio_is_not_read(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "_MOST_BYTES", 10)
    (tmp_path / "large.wav").write_bytes(b"no audio at all")
    (answer,) = predictor.predict([tmp_path / "large.wav"])
    assert answer.error.startswith("not audio that can be read")


@pytest.mark.parametrize(
    ("sample_rate", "seconds", "block"),
    [(16_000, 5.3, 777), (44_100, 7.77, 100_000), (8_000, 1.2, 160)],
)
def test_a_stream_gives_what_the_timeline_gives(predictor, noise, tmp_path, sample_rate, seconds, block):
    samples = noise(round(seconds * sample_rate))
    path = write(tmp_path / "talk.wav", samples, sample_rate, subtype="FLOAT")
    blocks = (samples[start : start + block] for start in range(0, len(samples), block))
    same_windows(list(predictor.predict_stream(blocks, sample_rate)), predictor.timeline(path).windows)


def test_a_window_is_yielded_as_soon_as_it_is_full(predictor, noise):
    taken = 0

    def microphone():
        nonlocal taken
        while True:
            taken += 1
            yield noise(1_600)

    windows = predictor.predict_stream(microphone(), 16_000)
    assert next(windows).end_seconds == 3.0 and taken == 30
    assert next(windows).start_seconds == 1.0 and taken == 40


def test_a_stream_without_sound_has_no_windows(predictor):
    assert list(predictor.predict_stream([], 16_000)) == []
    assert list(predictor.predict_stream([np.zeros(0, np.float32)], 44_100)) == []


def test_a_stream_at_a_rate_that_cannot_be_is_refused(predictor):
    with pytest.raises(InputError, match="sample_rate=0"):
        next(predictor.predict_stream([np.zeros(100)], 0))


def test_the_newest_version_of_a_run_or_a_model_is_found(exported, tmp_path):
    for name in ("run/export/2", "run/export/10", "ser/3"):
        shutil.copytree(exported, tmp_path / name)
    (tmp_path / "ser" / "11").mkdir()  # another export that is not finished
    assert find_export(tmp_path / "run") == tmp_path / "run" / "export" / "10"
    assert find_export(tmp_path / "ser") == tmp_path / "ser" / "3"
    assert find_export(exported) == exported
