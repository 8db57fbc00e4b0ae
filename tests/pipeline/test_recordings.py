import errno
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_keras.audio import load_audio, read_files, read_samples
from ser_keras.audio_io import sound_files
from ser_keras.audio_io.sound_files import as_float32, look_at_sound, read_plain_flac
from ser_keras.config import DataConfig
from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.pipeline import clips
from ser_keras.pipeline.recordings import load_recordings


def utterance(path, **fields):
    return Utterance(path=path, emotion="sad", speaker="1", corpus="test", **fields)


def load(utterances, **settings):
    return load_recordings(utterances, sample_rate=16_000, config=DataConfig(**settings))


@pytest.fixture
def good(tmp_path, noise):
    """Three files of different lengths, rates and channels."""
    files = {"a.wav": (noise(16_000), 16_000), "b.flac": (noise(24_000), 48_000), "c.wav": (noise(4_410), 44_100)}
    for name, (samples, rate) in files.items():
        soundfile.write(tmp_path / name, samples, rate)
    return [utterance(tmp_path / name) for name in files]


def test_a_name_that_is_no_utf8_hides_nothing_of_a_file(tmp_path, noise):
    path = Path(os.fsdecode(os.fsencode(tmp_path / "lang") + b"\xe9.wav"))
    soundfile.write(tmp_path / "plain.wav", noise(16_000), 16_000)
    (tmp_path / "plain.wav").rename(path)
    assert look_at_sound(path).seconds == 1.0


BROKEN = {
    "empty.wav": (b"", "not"),
    "text.wav": (b"hello, this is no audio at all", "not"),
    "no_samples.wav": ((np.zeros(0), 16_000), "no samples"),
    "silent.wav": ((np.zeros(16_000), 16_000), "silent"),
    "short.wav": ((np.full(100, 0.5), 16_000), r"too short: 0.006 s, at least 0.1 s"),
}


def write_broken(folder):
    for name, (content, _) in BROKEN.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            soundfile.write(folder / name, *content)
    return [utterance(folder / name) for name in BROKEN]


def test_files_read_together_are_those_read_alone(good, tmp_path, noise):
    (tmp_path / "flac.wav").write_bytes(good[1].path.read_bytes())  # under another format's name
    (tmp_path / "folder.wav").mkdir()
    paths = [each.path for each in good] + [tmp_path / name for name in ("flac.wav", "gone.wav", "folder.wav")]
    limits = {"sample_rate": 16_000, "max_seconds": 9.0}
    for subset in (paths, paths[:4]):
        for path, (samples, error) in zip(subset, read_files(subset, **limits), strict=True):
            alone = read_samples(path, **limits)
            np.testing.assert_array_equal(samples, alone[0])
            assert error == alone[1] and samples.dtype == alone[0].dtype


@pytest.mark.parametrize("cache", ["memory", "folder"])
def test_a_recording_that_is_listed_twice_is_there_once_and_shifts_no_other(good, tmp_path, cache):
    folder = "memory" if cache == "memory" else str(tmp_path / "cache")
    once, twice = (load(utterances, cache=folder) for utterances in (good, [good[0], *good, good[1]]))
    assert twice.utterances == once.utterances
    for index in range(3):
        np.testing.assert_array_equal(twice.waveform(index), once.waveform(index))


@pytest.mark.parametrize("cache", ["memory", "folder"])
def test_samples_come_back_as_decoded(good, tmp_path, cache):
    loaded = load(good, cache="memory" if cache == "memory" else str(tmp_path / "cache"))
    assert [each.path.name for each in loaded.utterances] == ["a.wav", "b.flac", "c.wav"]
    samples = [loaded.waveform(index) for index in range(3)]
    assert [len(each) for each in samples] == [16_000, 8_000, 1_600]
    expected, _ = soundfile.read(good[0].path, dtype="float32")
    np.testing.assert_array_equal(samples[0], expected)


@pytest.mark.parametrize("name", BROKEN)
def test_each_broken_file_is_named_with_its_reason(good, tmp_path, name):
    broken = write_broken(tmp_path)
    loaded = load([*good, *broken])
    reasons = {each.path.name: each.reason for each in loaded.rejected}
    assert re.search(BROKEN[name][1], reasons[name])
    assert len(reasons) == len(broken)
    assert len(loaded.utterances) == len(good)


def test_a_file_that_is_gone_is_left_out(good, tmp_path):
    loaded = load([*good, utterance(tmp_path / "gone.wav")])
    assert [each.path.name for each in loaded.rejected] == ["gone.wav"]
    assert "cannot be opened" in loaded.rejected[0].reason


def test_strict_stops_at_the_first(good, tmp_path):
    with pytest.raises(InputError, match=r"empty\.wav: .*; repair or remove it"):
        load([*good, *write_broken(tmp_path)], strict=True)


def test_nothing_left_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"none of 5 recordings can be used; the first is .*empty\.wav"):
        load(write_broken(tmp_path))


def test_equal_sound_has_equal_fingerprints_whatever_the_format(tmp_path):
    samples = np.random.default_rng(0).integers(-5000, 5000, 16_000).astype(np.int16)
    for name in ("x.wav", "y.flac"):
        soundfile.write(tmp_path / name, samples, 16_000, subtype="PCM_16")
    soundfile.write(tmp_path / "z.wav", samples[::-1], 16_000, subtype="PCM_16")
    loaded = load([utterance(tmp_path / name) for name in ("x.wav", "y.flac", "z.wav")])
    x, y, z = (loaded.fingerprints[each] for each in loaded.utterances)
    assert x == y != z


def test_segments_of_one_file_are_cut_from_one_decoding(good, monkeypatch):
    reads = []
    read = clips.read_files
    monkeypatch.setattr(clips, "read_files", lambda paths, **limits: (reads.extend(paths), read(paths, **limits))[1])
    path = good[0].path
    parts = [utterance(path, start_seconds=0.0, end_seconds=0.25), utterance(path, start_seconds=0.5)]
    loaded = load(parts)
    whole, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(loaded.waveform(0), whole[:4_000])
    np.testing.assert_array_equal(loaded.waveform(1), whole[8_000:])
    assert reads == [path]


def test_a_segment_behind_the_end_is_left_out(good):
    loaded = load([good[0], utterance(good[0].path, start_seconds=7.0, end_seconds=8.0)])
    assert "start_seconds=7.0 is after the end of the file at 1.00 s" in loaded.rejected[0].reason


@pytest.mark.parametrize("end_seconds", [900.0, 16_000.0, 1.2])
def test_a_segment_that_ends_behind_its_file_is_rejected_with_the_length_and_a_question_about_the_unit(
    good, end_seconds
):
    loaded = load([good[0], utterance(good[0].path, start_seconds=0.0, end_seconds=end_seconds)])
    assert len(loaded.utterances) == 1
    (reason,) = (each.reason for each in loaded.rejected)
    assert f"end_seconds={end_seconds}" in reason and "1.00 s" in reason and "milliseconds" in reason


@pytest.mark.parametrize(("start_seconds", "end_seconds"), [(None, 1.05), (0.5, 1.0), (0.5, 1.02)])
def test_the_end_of_a_segment_may_be_rounded(good, start_seconds, end_seconds):
    loaded = load([utterance(good[0].path, start_seconds=start_seconds, end_seconds=end_seconds)])
    assert len(loaded.samples(0)) == 16_000 * (1 - (start_seconds or 0))


def test_a_segment_may_end_a_hundredth_of_its_length_behind_the_file(tmp_path, noise):
    soundfile.write(tmp_path / "long.wav", noise(16_000 * 20), 16_000)
    segments = ((0.0, 20.1), (0.0, 20.3), (19.0, 20.04), (19.0, 20.1))
    loaded = load([utterance(tmp_path / "long.wav", start_seconds=start, end_seconds=end) for start, end in segments])
    assert [each.end_seconds for each in loaded.utterances] == [20.1, 20.04]
    assert len(loaded.rejected) == 2 and all("20.00 s" in each.reason for each in loaded.rejected)


def test_a_segment_that_is_longer_than_max_seconds_is_cut_as_before(good):
    loaded = load([utterance(good[0].path, start_seconds=0.25, end_seconds=0.75)], max_seconds=0.2)
    assert len(loaded.samples(0)) == 3_200 and not loaded.rejected


def test_only_the_beginning_of_a_long_recording_is_used_and_that_is_said(good, caplog):
    loaded = load(good, max_seconds=0.5)
    assert set(loaded.seconds.values()) == {0.5, 0.1}
    assert "2 recordings: only the first 0.5 s are used" in caplog.text


def test_the_disk_cache_is_used_again(good, tmp_path, monkeypatch):
    first = load(good, cache=str(tmp_path / "cache"))
    monkeypatch.setattr(clips.ClipRules, "decode", lambda *_: pytest.fail("decoded again"))
    second = load(good, cache=str(tmp_path / "cache"))
    assert second.fingerprints == first.fingerprints
    np.testing.assert_array_equal(second.waveform(1), first.waveform(1))


def test_a_changed_file_never_meets_its_old_samples(good, tmp_path, noise):
    cache = str(tmp_path / "cache")
    load(good, cache=cache)
    soundfile.write(good[0].path, noise(8_000, seed=5), 16_000)
    assert len(load(good, cache=cache).waveform(0)) == 8_000


def test_a_changed_setting_never_meets_old_samples(good, tmp_path):
    cache = str(tmp_path / "cache")
    load(good, cache=cache)
    assert len(load(good, cache=cache, max_seconds=0.5).waveform(0)) == 8_000


def damage(folder, content):
    """Give every cached clip this content, or remove it."""
    for file in (folder / "cache").iterdir():
        file.unlink() if content is None else file.write_bytes(file.read_bytes()[:content])


@pytest.mark.parametrize("left", [None, 0, 60, 1_000], ids=["deleted", "emptied", "cut in its header", "cut"])
def test_a_damaged_cache_is_made_again(good, tmp_path, left):
    before = load(good, cache=str(tmp_path / "cache"))
    damage(tmp_path, left)
    after = load(good, cache=str(tmp_path / "cache"))
    assert after.fingerprints == before.fingerprints
    np.testing.assert_array_equal(after.samples(0), load(good).samples(0))


@pytest.mark.parametrize("left", [None, 0, 60, 1_000], ids=["deleted", "emptied", "cut in its header", "cut"])
def test_a_cache_that_is_damaged_after_loading_is_made_again(good, tmp_path, left):
    loaded = load(good, cache=str(tmp_path / "cache"))
    damage(tmp_path, left)
    np.testing.assert_array_equal(loaded.samples(1), load(good).samples(1))
    assert len(list((tmp_path / "cache").iterdir())) == (1 if left is None else 3)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("change", ["zeros", "one bit", "a little more"])
def test_a_cache_that_holds_something_else_is_made_again(good, tmp_path, change, when):
    loaded = load(good, cache=str(tmp_path / "cache"))
    for file in (tmp_path / "cache").iterdir():
        content = bytearray(file.read_bytes())
        match change:
            case "zeros":
                content[128:] = bytes(len(content) - 128)  # as after a crash of the machine
            case "one bit":
                content[1_000] ^= 1
            case "a little more":
                content += b"\0"
        file.write_bytes(content)
    if when == "before":
        loaded = load(good, cache=str(tmp_path / "cache"))
    expected = load(good)
    assert loaded.rejected == () and loaded.fingerprints == expected.fingerprints
    for index in range(3):
        np.testing.assert_array_equal(loaded.samples(index), expected.samples(index))


def test_a_lost_cache_on_a_full_disk_does_not_stop_training(good, tmp_path, monkeypatch):
    loaded = load(good, cache=str(tmp_path / "cache"))
    damage(tmp_path, None)
    monkeypatch.setattr(np, "save", full_disk)
    np.testing.assert_array_equal(loaded.samples(1), load(good).samples(1))
    assert list((tmp_path / "cache").iterdir()) == []


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_one_line_and_keeps_what_was_cached(good, tmp_path, monkeypatch):
    load(good[:2], cache=str(tmp_path / "cache"))
    monkeypatch.setattr(np, "save", full_disk)
    message = r"cache: cannot be written \(No space left on device\); make room or give another cache folder, and start"
    with pytest.raises(InputError, match=message):
        load(good, cache=str(tmp_path / "cache"))
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert len(load(good[:2], cache=str(tmp_path / "cache")).utterances) == 2  # nothing has to be written


def test_copies_of_one_recording_share_a_cached_file(good, tmp_path):
    copies = [tmp_path / f"copy{number}.wav" for number in range(40)]  # in several threads
    for copy in copies:
        copy.write_bytes(good[0].path.read_bytes())
    for _ in range(5):
        loaded = load(list(map(utterance, copies)), cache=str(tmp_path / "cache"))
        assert len(loaded.utterances) == 40 and len(list((tmp_path / "cache").iterdir())) == 1
        damage(tmp_path, None)


TWO_RUNS = """
import sys
from pathlib import Path
from ser_keras.config import DataConfig
from ser_keras.corpora import Utterance
from ser_keras.pipeline.recordings import load_recordings
utterances = [Utterance(path, "sad", "1", "test") for path in sorted(Path(sys.argv[1]).glob("*.wav"))]
for _ in range(20):
    loaded = load_recordings(utterances, sample_rate=16_000, config=DataConfig(cache=sys.argv[2]))
    assert len(loaded.utterances) == 30, loaded.rejected
    assert all(len(loaded.samples(index)) == 3_200 for index in range(30))
    for path in Path(sys.argv[2]).iterdir():
        path.unlink(missing_ok=True)
"""


@pytest.mark.slow
def test_two_runs_that_make_and_lose_one_cache_do_not_harm_each_other(tmp_path, noise):
    for number in range(30):
        soundfile.write(tmp_path / f"{number}.wav", noise(3_200, seed=number), 16_000)
    command = [sys.executable, "-c", TWO_RUNS, str(tmp_path), str(tmp_path / "cache")]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for run in runs:
        _, errors = run.communicate()
        assert run.returncode == 0, errors


def test_a_recording_that_changed_after_its_cache_was_lost_is_an_error(good, tmp_path, noise):
    loaded = load(good, cache=str(tmp_path / "cache"))
    damage(tmp_path, None)
    soundfile.write(good[0].path, noise(8_000, seed=5), 16_000)
    with pytest.raises(InputError, match=r"a\.wav: has changed since it was first read; start again"):
        loaded.samples(0)


def test_sixteen_bits_stay_sixteen_bits(good, tmp_path, noise):
    soundfile.write(tmp_path / "float.wav", noise(16_000), 16_000, subtype="FLOAT")
    loaded = load([*good, utterance(tmp_path / "float.wav")])
    kinds = {each.path.name: loaded.samples(index).dtype for index, each in enumerate(loaded.utterances)}
    assert kinds == {"a.wav": np.int16, "b.flac": np.float32, "c.wav": np.float32, "float.wav": np.float32}


def test_plain_flac_gives_what_the_other_readers_give(tmp_path, noise, monkeypatch):
    path = tmp_path / "clip.flac"
    soundfile.write(path, noise(16_000), 16_000, subtype="PCM_16")
    plain = read_plain_flac(io.BytesIO(path.read_bytes()), 16_000, 10.0)
    monkeypatch.setattr(sound_files, "_flac_decoder", lambda: None)
    np.testing.assert_array_equal(as_float32(plain), load_audio(path))


@pytest.mark.parametrize(
    ("channels", "rate", "subtype"), [(2, 16_000, "PCM_16"), (1, 8_000, "PCM_16"), (1, 16_000, "PCM_24")]
)
def test_other_flac_is_not_plain(tmp_path, noise, channels, rate, subtype):
    path = tmp_path / "clip.flac"
    soundfile.write(path, np.stack([noise(16_000)] * channels, axis=1), rate, subtype=subtype)
    assert read_plain_flac(io.BytesIO(path.read_bytes()), 16_000, 10.0) is None


def test_plain_flac_has_the_length_allowed(tmp_path, noise):
    path = tmp_path / "clip.flac"
    soundfile.write(path, noise(16_000), 16_000, subtype="PCM_16")
    assert len(read_plain_flac(io.BytesIO(path.read_bytes()), 16_000, 1.0)) == 16_000
    assert read_plain_flac(io.BytesIO(path.read_bytes()), 16_000, 0.999) is None


def test_a_wav_file_that_was_cut_off_is_rejected(tmp_path, noise):
    path = tmp_path / "clip.wav"
    soundfile.write(path, noise(16_000), 16_000, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(InputError, match=r"clip\.wav: cut off: 0\.62 s of 1\.00 s"):
        load_audio(path)


@pytest.mark.parametrize("seed", range(8))
def test_damaged_flac_gives_what_libsndfile_gives_or_nothing(tmp_path, noise, seed):
    random, path = np.random.default_rng(seed), tmp_path / "clip.flac"
    soundfile.write(path, noise(16_000), 16_000, subtype="PCM_16")
    whole, contents = soundfile.read(path, dtype="int16")[0], path.read_bytes()
    for _ in range(50):
        damaged = bytearray(contents[: random.integers(len(contents))] if random.random() < 0.3 else contents)
        for place in random.integers(len(damaged), size=random.integers(1, 5)):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            expected = soundfile.read(path, dtype="int16")[0]
        except soundfile.SoundFileError:
            expected = whole
        samples = read_plain_flac(io.BytesIO(path.read_bytes()), 16_000, 10.0)
        assert samples is None or np.array_equal(samples, expected)


def test_a_cache_that_cannot_be_made_is_an_error(good, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/cache: cannot be made .*; give another cache folder"):
        load(good, cache=str(tmp_path / "file" / "cache"))


def test_order_follows_the_paths(good):
    assert load(good[::-1]).utterances == tuple(good)
    assert isinstance(good[0].path, Path)
