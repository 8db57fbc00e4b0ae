"""Encoded bytes to waveforms: formats, errors that stay with their item, and what may be exported."""

import io

import numpy as np
import pytest
import soundfile
import soxr
import tensorflow as tf

from ser_keras.audio import decode_audio, load_audio, wav_to_waveform
from ser_keras.audio_io import foreign
from ser_keras.errors import InputError

SPEC = [tf.TensorSpec([], tf.string)]
FORMATS = {
    "flac": ("FLAC", "PCM_16"),
    "flac24": ("FLAC", "PCM_24"),
    "flac8": ("FLAC", "PCM_S8"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "aiff": ("AIFF", "PCM_16"),
    "aiff24": ("AIFF", "PCM_24"),
    "caf": ("CAF", "PCM_16"),
    "mu-law": ("WAV", "ULAW"),
    "a-law": ("WAV", "ALAW"),
    "adpcm": ("WAV", "MS_ADPCM"),
}

_decode_compiled = tf.function(decode_audio, input_signature=SPEC)
_wav_compiled = tf.function(wav_to_waveform, input_signature=SPEC)


def encode(container, subtype, num_channels=1, rate=16_000, num_samples=8_000, seed=0):
    generator = np.random.default_rng(seed)
    samples = 0.1 * generator.standard_normal((num_samples, num_channels))
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def wav(**options):
    return encode("WAV", "PCM_16", **options)


def decode(contents):
    samples, error = _decode_compiled(tf.constant(contents))
    return samples.numpy(), error.numpy().decode()


def by_libsndfile(contents):
    frames, rate = soundfile.read(io.BytesIO(contents), dtype="float32", always_2d=True)
    return frames.mean(axis=1), rate


@pytest.fixture
def without_tensorflow_io(monkeypatch):
    monkeypatch.setattr(foreign, "_tensorflow_io", lambda: None)


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_samples_of_libsndfile(name, num_channels):
    contents = encode(*FORMATS[name], num_channels)
    samples, error = decode(contents)
    expected, rate = by_libsndfile(contents)
    expected = soxr.resample(expected, rate, 16_000, quality="HQ")
    assert error == ""
    # Two decoders of MP3 and Vorbis round differently, by a part of a 16-bit step.
    np.testing.assert_allclose(samples, expected, rtol=0, atol=2e-6)


@pytest.mark.usefixtures("without_tensorflow_io")
@pytest.mark.parametrize("name", ["mp3", "vorbis", "flac"])
def test_libsndfile_steps_in_where_tensorflow_io_is_missing(name):
    contents = encode(*FORMATS[name], num_channels=2)
    samples, error = decode(contents)
    assert error == ""
    # libsndfile's MP3 decoder rounds by where a read begins and ends.
    np.testing.assert_allclose(samples, by_libsndfile(contents)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 11_025, 12_000, 22_050, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("name", ["mp3", "vorbis"])
def test_the_rate_is_read_from_the_compressed_header(name, rate):
    samples, error = decode(encode(*FORMATS[name], rate=rate, num_samples=rate))
    assert (len(samples), error) == (16_000, "")


def test_an_mp3_behind_an_id3_tag_is_read():
    contents = encode(*FORMATS["mp3"])
    tag = b"ID3\x04\x00\x00\x00\x00\x01\x02" + bytes(130)
    samples, error = decode(tag + contents)
    assert error == ""
    np.testing.assert_allclose(samples, decode(contents)[0], atol=1e-6)


def test_wav_takes_the_path_that_is_exported():
    contents = wav(rate=44_100, num_channels=2)
    np.testing.assert_array_equal(decode(contents)[0], _wav_compiled(contents).samples.numpy())


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_the_waveform_has_the_rate_asked_for(rate):
    contents = wav(rate=rate, num_samples=rate)
    assert len(wav_to_waveform(contents).samples) == 16_000
    assert len(decode_audio(contents, sample_rate=22_050).samples) == 22_050


@pytest.mark.parametrize("name", ["flac", "mp3", "vorbis", "aiff", "mu-law"])
def test_a_recording_over_the_limit_is_refused(name):
    samples, error = decode_audio(encode(*FORMATS[name]), max_seconds=0.25)
    assert len(samples) == 0
    assert error.numpy().startswith(b"too long: 0.")
    assert error.numpy().endswith(b"at most 0.2 s")


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"", ["not audio", "send WAV, FLAC"]),
        (b"Dear reader, this is no audio.\n" * 9, ["begins with 'Dear'", "send WAV, FLAC"]),
        (b"RIFF" + bytes(40), ["not a WAV file"]),
        (wav()[:44], ["cut off: 0.00 s of 0.50 s"]),
        (encode("FLAC", "PCM_16")[:300], ["cut off", "0.5 s", "send it whole"]),
        (encode("AU", "FLOAT", rate=3), ["sample rate 3 Hz"]),
        (encode("AIFF", "PCM_16", num_samples=0), ["no samples"]),
    ],
)
def test_an_error_says_what_was_found(contents, words):
    samples, error = decode(contents)
    assert len(samples) == 0
    for word in words:
        assert word in error


def test_nan_is_refused_in_every_container():
    file = io.BytesIO()
    soundfile.write(file, np.float32([0, np.nan, 0]), 16_000, format="AU", subtype="FLOAT")
    assert "NaN" in decode(file.getvalue())[1]


@pytest.mark.parametrize("name", ["flac", "mp3", "vorbis"])
def test_a_corrupt_file_leaves_its_neighbours_alone(name):
    good, other = encode(*FORMATS[name]), encode(*FORMATS[name], seed=1)
    corrupt = [good[: len(good) // 2], good[:60], good[:1_000] + bytes(3_000) + good[4_000:]]
    files = [good, *corrupt, other]
    dataset = tf.data.Dataset.from_tensor_slices(files).map(decode_audio, num_parallel_calls=2)
    decoded = list(dataset.as_numpy_iterator())
    assert len(decoded) == len(files)
    np.testing.assert_array_equal(decoded[0][0], decode(good)[0])
    np.testing.assert_array_equal(decoded[-1][0], decode(other)[0])
    assert decoded[2][1]


@pytest.mark.parametrize("name", ["flac", "mp3", "vorbis", "aiff", "adpcm"])
def test_damaged_files_never_raise(name):
    generator = np.random.default_rng(3)
    contents = encode(*FORMATS[name], num_samples=2_000)
    for trial in range(60):
        damaged = bytearray(contents)
        for place in generator.integers(0, len(damaged) if trial % 2 else 200, 5):
            damaged[place] = generator.integers(256)
        samples, error = decode(bytes(damaged[: generator.integers(1, len(damaged))]))
        assert bool(error) == (len(samples) == 0)
        assert np.all(np.isfinite(samples))


def test_a_batch_is_decoded_as_its_items_are_alone():
    batch = [wav(rate=48_000), b"not audio", wav(num_channels=2), b"", wav(rate=44_099)]
    samples, errors = tf.function(_decode_batch)(tf.constant(batch))
    for contents, row, error in zip(batch, samples, errors, strict=True):
        alone = _wav_compiled(contents)
        np.testing.assert_array_equal(row.numpy(), alone.samples.numpy())
        assert error == alone.error


def _decode_batch(batch):
    return tf.map_fn(
        lambda contents: tuple(wav_to_waveform(contents)),
        batch,
        fn_output_signature=(tf.RaggedTensorSpec([None], tf.float32, 0), tf.TensorSpec([], tf.string)),
    )


def test_the_exported_graph_holds_core_operations_only():
    graph = _wav_compiled.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    names = {node.op for node in nodes}
    assert "RFFT" in names
    assert not {name for name in names if name.startswith("IO>") or "PyFunc" in name}


def test_a_saved_model_decodes_as_the_live_function_does(tmp_path):
    module = tf.Module()
    module.decode = _wav_compiled
    tf.saved_model.save(module, str(tmp_path))
    contents = wav(rate=44_100)
    loaded = tf.saved_model.load(str(tmp_path)).decode(tf.constant(contents))
    np.testing.assert_array_equal(loaded[0].numpy(), _wav_compiled(contents).samples.numpy())


def test_a_file_is_told_by_its_content_and_not_by_its_name(tmp_path):
    path = tmp_path / "really_aiff.wav"
    path.write_bytes(encode("AIFF", "PCM_16"))
    np.testing.assert_array_equal(load_audio(path), by_libsndfile(path.read_bytes())[0])


def test_an_unusable_file_is_named(tmp_path):
    path = tmp_path / "notes.wav"
    path.write_text("not a recording")
    with pytest.raises(InputError, match=r"notes\.wav: not audio"):
        load_audio(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.wav: cannot be read"):
        load_audio(tmp_path / "absent.wav")
