"""What phones, browsers and cameras write is read; what is cut off, too long or no recording gets its reason."""

import io
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from media_files import KINDS, PITCH, encoded, media_file, tone

from ser_keras.audio import decode_audio, load_audio, read_audio
from ser_keras.audio_io import foreign, libsndfile, sound_files
from ser_keras.audio_io.sound_files import as_wav, look_at_sound, mono_blocks, open_file, read_plain_flac
from ser_keras.config import DataConfig
from ser_keras.corpora import Utterance
from ser_keras.errors import InputError
from ser_keras.inference import Predictor
from ser_keras.pipeline.recordings import load_recordings


def decode(contents, **options):
    samples, error = decode_audio(contents, **options)
    return samples.numpy(), error.numpy().decode()


def by_libsndfile(container, subtype, seconds=1.0, rate=16_000):
    """The bytes of a file of noise."""
    file = io.BytesIO()
    samples = 0.1 * np.random.default_rng(0).normal(size=round(seconds * rate))
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


# What is read


@pytest.mark.parametrize("kind", KINDS)
def test_what_phones_and_browsers_record_is_read(kind, tmp_path):
    path = tmp_path / "recording"
    path.write_bytes(media_file(kind))
    samples = load_audio(path)
    assert 15_200 < len(samples) < 17_500  # encoders fill their last frame
    peak = np.argmax(np.abs(np.fft.rfft(samples))) * 16_000 / len(samples)
    assert peak == pytest.approx(PITCH, abs=2)
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.3)
    np.testing.assert_array_equal(decode(path.read_bytes())[0], samples)


@pytest.mark.parametrize("kind", ["m4a", "webm", "mp4 video"])
def test_what_encoders_put_in_front_is_not_part_of_the_recording(kind):
    rate = KINDS[kind][2]
    samples = np.zeros(rate)
    samples[rate // 2 : rate // 2 + rate // 10] = tone(0.1, rate)
    decoded, _ = decode(media_file(kind, samples=samples), sample_rate=16_000)
    begin = np.flatnonzero(np.abs(decoded) > 0.05)[0]
    assert begin == pytest.approx(8_000, abs=80)  # 5 ms; the priming of AAC alone is 21 ms


def test_of_several_channels_one_is_made():
    from media_files import av

    file = io.BytesIO()
    with av.open(file, "w", format="ipod") as out:
        stream = out.add_stream("aac", rate=48_000, layout="stereo")
        left = np.round(tone(1.0, 48_000) * 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.stack([left, left // 2], axis=1).reshape(1, -1), "s16", "stereo")
        frame.sample_rate, frame.pts = 48_000, 0
        for each in (frame, None):
            out.mux(stream.encode(each))
    samples, _ = decode(file.getvalue())
    assert np.max(np.abs(samples[4_000:12_000])) == pytest.approx(0.3 * 0.75, rel=0.05)


def test_a_title_that_is_no_utf8_hides_nothing():
    contents = encoded("ipod", "aac", tone(1.0, 16_000), 16_000, title="Caf!")
    samples, error = decode(contents.replace(b"Caf!", b"Caf\xe9"))
    assert b"Caf!" in contents and error == "" and len(samples) >= 16_000


def test_a_class_of_m4a_files_is_trained_on(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.m4a").write_bytes(media_file("m4a", seconds=0.5))
    utterances = [Utterance(path, "happy", "1", "test") for path in sorted(tmp_path.iterdir())]
    loaded = load_recordings(utterances, sample_rate=16_000, config=DataConfig(cache=str(tmp_path / "cache")))
    assert len(loaded.utterances) == 3 and loaded.rejected == ()
    assert len(loaded.waveform(0)) >= 8_000


@pytest.mark.parametrize("kind", ["m4a", "webm, streamed", "amr", "aac", "mp4 video"])
def test_the_length_of_a_file_is_known_without_decoding_it(kind, tmp_path):
    path = tmp_path / "recording"
    path.write_bytes(media_file(kind, seconds=3.0))
    assert look_at_sound(path).seconds == pytest.approx(3.0, abs=0.1)


def test_a_client_converts_it():
    wav = as_wav(media_file("m4a"), most_bytes=2**20)
    samples, rate = soundfile.read(io.BytesIO(wav))
    assert rate == 48_000 and len(samples) == pytest.approx(48_000, abs=1_024)


@pytest.mark.slow
def test_a_predictor_reads_short_and_long_ones(exported, tmp_path):
    predictor = Predictor(exported)
    for name, seconds in (("short", 1.0), ("long", 25.0)):
        (tmp_path / f"{name}.m4a").write_bytes(media_file("m4a", seconds))
        (tmp_path / f"{name}.webm").write_bytes(media_file("webm, streamed", seconds))
    answers = predictor.predict(sorted(tmp_path.iterdir()))
    assert [each.error for each in answers] == [""] * 4
    assert [len(each.attention) > 0 for each in answers] == [False, False, True, True]  # long ones go in windows


def test_a_long_file_is_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(sound_files, "_SAMPLES_AT_ONCE", 10_000)
    path = tmp_path / "long.m4a"
    path.write_bytes(media_file("m4a", seconds=5.0))
    with open_file(path) as file:
        sizes = [len(block) for block in mono_blocks(file)]
    assert max(sizes) == 10_000 and sum(sizes) == pytest.approx(240_000, abs=1_024)


def test_threads_do_not_disturb_each_other():
    files = [media_file(kind, seconds=0.5) for kind in ("m4a", "webm", "wma", "wav, G.722")] * 8
    expected = [decode(each)[0] for each in files[:4]] * 8
    with ThreadPoolExecutor(4) as pool:
        for ours, theirs in zip(pool.map(lambda each: decode(each)[0], files), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


# What is no recording


SOUNDLESS = {
    "WebM": lambda: encoded("webm", None, None, 0, pictures="libvpx"),
    "MP4": lambda: encoded("mp4", None, None, 0, pictures="mpeg4"),
}


@pytest.mark.parametrize("kind", SOUNDLESS)
def test_a_video_without_sound_is_called_so(kind):
    samples, error = decode(SOUNDLESS[kind]())
    assert len(samples) == 0
    assert kind in error and "video without sound" in error


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"%PDF-1.7 " + bytes(99), "a PDF document"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "a PNG picture"),
        (b"PK\x03\x04" + bytes(99), "a ZIP archive"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"", "an empty file"),
        (b"\x01\x02no sound", "begins with '??no'"),
    ],
)
def test_what_is_no_recording_is_called_what_it_is(contents, words):
    samples, error = decode(contents)
    assert len(samples) == 0
    assert error.startswith("not audio") and words in error and "send WAV" in error


def test_an_encrypted_file_is_called_so():
    assert "encrypted" in decode(media_file("m4a").replace(b"mp4a", b"enca", 1))[1]


def test_a_playlist_opens_no_other_file(tmp_path):
    (tmp_path / "secret.ts").write_bytes(media_file("mpeg transport stream"))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.m3u8").write_text(playlist)
    samples, error = read_audio(tmp_path / "list.m3u8", sample_rate=16_000, max_seconds=9.0)
    assert len(samples) == 0 and error.startswith("not audio")


def test_without_pyav_the_package_is_named(monkeypatch):
    contents = media_file("m4a")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="pip install av"):
        as_wav(contents, most_bytes=2**20)


@pytest.mark.parametrize("kind", ["m4a", "webm", "amr", "wma", "wav, G.722", "mpeg transport stream"])
def test_damaged_files_neither_raise_nor_print(kind, capfd):
    random, contents = np.random.default_rng(0), media_file(kind, seconds=0.3)
    for trial in range(60):
        damaged = bytearray(contents[: random.integers(1, len(contents) + 1)] if trial % 3 else contents)
        for place in random.integers(len(damaged) if trial % 2 else min(len(damaged), 600), size=4):
            damaged[place] = random.integers(256)
        samples, error = decode(bytes(damaged))
        assert bool(error) == (len(samples) == 0)
        assert np.all(np.isfinite(samples))
    assert capfd.readouterr() == ("", "")


# What is cut off


LIBSNDFILE = {
    "FLAC": ("FLAC", "PCM_16"),
    "MP3": ("MP3", "MPEG_LAYER_III"),
    "Ogg Vorbis": ("OGG", "VORBIS"),
    "Ogg Opus": ("OGG", "OPUS"),
    "AIFF": ("AIFF", "PCM_16"),
    "AU": ("AU", "PCM_16"),
    "CAF": ("CAF", "PCM_16"),
    "mu-law": ("WAV", "ULAW"),
    "ADPCM": ("WAV", "IMA_ADPCM"),
}


@pytest.mark.parametrize("kept", [0.3, 0.8])
@pytest.mark.parametrize("name", LIBSNDFILE)
def test_a_file_that_is_cut_off_is_refused(name, kept):
    contents = by_libsndfile(*LIBSNDFILE[name], seconds=4.0)
    assert decode(contents)[1] == ""
    samples, error = decode(contents[: int(kept * len(contents))])
    assert len(samples) == 0 and "cut off" in error
    assert any(remedy in error for remedy in ("whole", "export the file again"))


@pytest.mark.parametrize("kept", [0.3, 0.8])
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"webm, streamed", "mpeg transport stream"}))
def test_a_media_file_that_is_cut_off_is_refused(kind, kept):
    contents = media_file(kind, seconds=3.0)
    samples, error = decode(contents[: int(kept * len(contents)) + 5])
    assert len(samples) == 0 and "cut off" in error


def test_it_is_said_how_much_there_is():
    contents = by_libsndfile("AIFF", "PCM_16", seconds=4.0)
    assert "1.0 s of 4.0 s" in decode(contents[: len(contents) // 4])[1]


def test_what_no_header_tells_cannot_be_known():
    contents = encoded("mp3", "libmp3lame", tone(2.0, 16_000), 16_000, {"write_xing": "0"})
    samples, error = decode(contents[: len(contents) // 2])
    assert error == "" and 12_000 < len(samples) < 20_000


def test_a_variable_bit_rate_without_a_header_is_not_taken_for_a_length():
    contents = by_libsndfile("MP3", "MPEG_LAYER_III", seconds=4.0)
    frames = contents[288:]  # without the one that holds the length
    assert decode(frames)[1] == ""


def test_a_header_of_mp3_may_tell_no_length():
    contents = by_libsndfile("MP3", "MPEG_LAYER_III")
    flags = contents.index(b"Xing") + 7
    assert open_file(contents).known_frames == 16_000
    assert open_file(contents[:flags] + b"\x0e" + contents[flags + 1 :]).known_frames == 0


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000])
def test_a_size_that_was_never_filled_in_is_fine(size):
    contents = by_libsndfile("WAV", "ULAW")
    place = contents.index(b"data") + 4
    samples, error = decode(contents[:place] + struct.pack("<I", size) + contents[place + 4 :])
    assert error == "" and len(samples) == 16_000


def test_a_wav_file_that_is_cut_off_is_not_opened():
    contents = by_libsndfile("WAV", "PCM_16")
    with pytest.raises(InputError, match=r"cut off: 0\.5 s of 1\.0 s"):
        open_file(contents[: len(contents) // 2])


def test_what_the_graph_refuses_of_the_encodings_that_it_reads_no_other_reader_accepts():
    def read(subtype):
        return foreign.read_foreign(by_libsndfile("WAV", subtype), "the graph's error", 9.0)

    assert read("PCM_16")[2] == read("PCM_24")[2] == "the graph's error"
    assert read("ULAW")[2] == "" and len(read("ULAW")[0]) == 16_000


# What is too long


@pytest.fixture
def blocks(monkeypatch):
    """Note how many samples are decoded."""
    sizes, read = [], libsndfile.PlainSoundFile.read
    monkeypatch.setattr(sound_files, "_SAMPLES_AT_ONCE", 4_000)

    def note(self, *args, **options):
        block = read(self, *args, **options)
        sizes.append(len(block))
        return block

    monkeypatch.setattr(libsndfile.PlainSoundFile, "read", note)
    return sizes


@pytest.fixture
def no_decoder_of_whole_files(monkeypatch):
    class Library:
        @property
        def audio(self):
            pytest.fail("decoded whole")

    monkeypatch.setattr(foreign, "_tensorflow_io", Library)


@pytest.mark.usefixtures("no_decoder_of_whole_files")
@pytest.mark.parametrize("name", ["FLAC", "MP3", "Ogg Vorbis", "Ogg Opus", "AIFF", "mu-law"])
def test_a_length_in_the_header_is_enough_to_refuse(name, blocks):
    samples, error = decode(by_libsndfile(*LIBSNDFILE[name], seconds=4.0), max_seconds=0.5)
    assert error == "too long: 4.0 s, at most 0.5 s" and len(samples) == 0
    assert blocks == []


@pytest.mark.usefixtures("no_decoder_of_whole_files")
@pytest.mark.parametrize("name", ["MP3", "Ogg Vorbis"])
def test_a_file_that_would_fill_the_memory_is_decoded_in_blocks(name, blocks, monkeypatch):
    monkeypatch.setattr(foreign, "_MOST_SAMPLES_AT_ONCE", 10_000)
    samples, error = decode(by_libsndfile(*LIBSNDFILE[name]))
    assert error == "" and len(samples) == 16_000
    assert max(blocks) <= 4_000


@pytest.mark.usefixtures("no_decoder_of_whole_files")
def test_where_no_header_tells_decoding_stops_at_the_limit(blocks):
    mp3 = encoded("mp3", "libmp3lame", tone(9.0, 16_000), 16_000, {"write_xing": "0"})
    flac = bytearray(by_libsndfile("FLAC", "PCM_16", seconds=9.0))
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)  # the number of samples is not known (RFC 9639, 8.2)
    for contents in (mp3, bytes(flac)):
        blocks.clear()
        samples, error = decode(contents, max_seconds=0.5)
        assert error.startswith("too long") and len(samples) == 0
        assert sum(blocks) <= 12_000


@pytest.mark.parametrize("kind", ["m4a", "webm, streamed", "amr"])
def test_a_media_file_that_is_too_long_is_refused(kind):
    samples, error = decode(media_file(kind, seconds=3.0), max_seconds=1.0)
    assert len(samples) == 0 and error.startswith("too long") and "at most 1.0 s" in error


def test_flac_of_unknown_length_is_not_decoded_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(sound_files, "_flac_decoder", lambda: lambda contents: pytest.fail("decoded whole"))
    flac = bytearray(by_libsndfile("FLAC", "PCM_16"))
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    (tmp_path / "clip.flac").write_bytes(flac)
    assert read_plain_flac(io.BytesIO((tmp_path / "clip.flac").read_bytes()), 16_000, 10.0) is None
