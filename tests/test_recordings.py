import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_keras import recordings as module
from ser_keras.config import DataConfig
from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.recordings import load_recordings


def utterance(path, **fields):
    return Utterance(path=path, emotion="sad", speaker="1", corpus="test", **fields)


def load(utterances, **settings):
    return load_recordings(utterances, sample_rate=16_000, config=DataConfig(**settings))


@pytest.fixture
def good(tmp_path, noise):
    """Three files of different lengths, rates and channels."""
    clips = {"a.wav": (noise(16_000), 16_000), "b.flac": (noise(24_000), 48_000), "c.wav": (noise(4_410), 44_100)}
    for name, (samples, rate) in clips.items():
        soundfile.write(tmp_path / name, samples, rate)
    return [utterance(tmp_path / name) for name in clips]


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


@pytest.mark.parametrize("cache", ["memory", "folder"])
def test_samples_come_back_as_decoded(good, tmp_path, cache):
    loaded = load(good, cache="memory" if cache == "memory" else str(tmp_path / "cache"))
    assert [each.path.name for each in loaded.utterances] == ["a.wav", "b.flac", "c.wav"]
    samples = [loaded.read(index).numpy() for index in range(3)]
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
    with pytest.raises(InputError, match=r"empty\.wav: .*; mend or remove it, or leave out strict"):
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
    decoded = []
    decode_files = module._decode_files
    monkeypatch.setattr(module, "_decode_files", lambda paths, rate: decoded.extend(paths) or decode_files(paths, rate))
    path = good[0].path
    parts = [utterance(path, start_seconds=0.0, end_seconds=0.25), utterance(path, start_seconds=0.5)]
    loaded = load(parts)
    whole, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(loaded.read(0), whole[:4_000])
    np.testing.assert_array_equal(loaded.read(1), whole[8_000:])
    assert decoded == [path]


def test_a_segment_behind_the_end_is_left_out(good):
    loaded = load([good[0], utterance(good[0].path, start_seconds=7.0, end_seconds=8.0)])
    assert "start_seconds=7.0 lies behind the end of the file at 1.00 s" in loaded.rejected[0].reason


def test_only_the_beginning_of_a_long_recording_is_used_and_that_is_said(good, caplog):
    loaded = load(good, max_seconds=0.5)
    assert set(loaded.seconds.values()) == {0.5, 0.1}
    assert "2 recordings: only the first 0.5 s are used" in caplog.text


def test_the_disk_cache_is_used_again(good, tmp_path, monkeypatch):
    first = load(good, cache=str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_decode_files", lambda paths, rate: iter(()) if not paths else pytest.fail("decoded"))
    second = load(good, cache=str(tmp_path / "cache"))
    assert second.fingerprints == first.fingerprints
    np.testing.assert_array_equal(second.read(1), first.read(1))


def test_a_changed_file_never_meets_its_old_samples(good, tmp_path, noise):
    cache = str(tmp_path / "cache")
    load(good, cache=cache)
    soundfile.write(good[0].path, noise(8_000, seed=5), 16_000)
    assert len(load(good, cache=cache).read(0)) == 8_000


def test_a_changed_setting_never_meets_old_samples(good, tmp_path):
    cache = str(tmp_path / "cache")
    load(good, cache=cache)
    assert len(load(good, cache=cache, max_seconds=0.5).read(0)) == 8_000


def test_a_cache_that_cannot_be_made_is_an_error(good, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/cache: cannot be made .*; give another cache folder"):
        load(good, cache=str(tmp_path / "file" / "cache"))


def test_order_follows_the_paths(good):
    assert load(good[::-1]).utterances == tuple(good)
    assert isinstance(good[0].path, Path)
