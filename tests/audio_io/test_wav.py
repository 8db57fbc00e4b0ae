"""The WAV reader against libsndfile on good files, and against whatever bytes a client may send."""

import io
import struct

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from ser_keras.audio import decode_audio
from ser_keras.audio_io.sound_files import as_wav
from ser_keras.audio_io.wav import decode_wav
from ser_keras.audio_io.wav_header import read_headers

PCM, IEEE_FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
UNKNOWN = 0xFFFFFFFF
SAMPLES = np.array([0, 1, -1, 12_345, -32_768, 32_767], "<i2")

_compiled = tf.function(decode_wav, input_signature=[tf.TensorSpec([], tf.string)])


def decode(contents):
    waveform, sample_rate, error = _compiled(tf.constant(contents))
    return waveform.numpy(), int(sample_rate), error.numpy().decode()


def noise(num_samples, num_channels=1, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (num_samples, num_channels))


def encode(samples, rate=16_000, subtype="PCM_16", container="WAV"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def chunk(name, body, size=None, pad=True):
    size = len(body) if size is None else size
    return name + struct.pack("<I", size) + body + b"\0" * (len(body) % 2 if pad else 0)


def fmt(tag=PCM, channels=1, rate=16_000, bits=16, extra=b"", align=None, bytes_per_second=0):
    align = channels * -(-bits // 8) % 65_536 if align is None else align
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, bytes_per_second, align, bits) + extra)


def extensible(sub_format, bits, **options):
    extra = struct.pack("<HHIH", 22, bits, 0, sub_format) + GUID_TAIL
    return fmt(EXTENSIBLE, bits=bits, extra=extra, **options)


def id3(size, *, version=4, has_footer=False):
    numbers = [version, 0, 16 * has_footer, *(size >> shift & 127 for shift in (21, 14, 7, 0))]
    footer = b"3DI" + bytes(numbers) if has_footer else b""
    return b"ID3" + bytes(numbers) + b"\x55" * size + footer


def riff(*chunks, form=b"RIFF", size=None):
    body = b"WAVE" + b"".join(chunks)
    return form + struct.pack("<I", len(body) if size is None else size) + body


def data(**options):
    return chunk(b"data", SAMPLES.tobytes(), **options)


def with_64_bit_sizes(size):
    sizes = struct.pack("<QQQI", size, size, size, 0)
    return riff(chunk(b"ds64", sizes), fmt(), data(size=UNKNOWN), form=b"RF64", size=UNKNOWN)


def assert_holds_the_samples(contents):
    waveform, rate, error = decode(contents)
    assert (error, rate) == ("", 16_000)
    np.testing.assert_array_equal(waveform, SAMPLES.astype(np.float32) / 32_768)


def assert_refused(contents, *words):
    waveform, rate, error = decode(contents)
    assert (len(waveform), rate) == (0, 0)
    for word in words:
        assert word in error


SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
PAIRWISE = [
    (subtype, ("WAV", "WAVEX", "RF64")[(row + column) % 3], num_channels)
    for row, subtype in enumerate(SUBTYPES)
    for column, num_channels in enumerate((1, 2, 3, 6))
]


@pytest.mark.parametrize(("subtype", "container", "num_channels"), PAIRWISE)
def test_samples_are_those_of_libsndfile(subtype, num_channels, container):
    for num_samples, rate in ((1, 8_000), (1_001, 44_100), (1_002, 192_000)):
        contents = encode(noise(num_samples, num_channels), rate, subtype, container)
        expected, _ = soundfile.read(io.BytesIO(contents), dtype="float32", always_2d=True)
        waveform, found_rate, error = decode(contents)
        assert (error, found_rate) == ("", rate)
        # A float32 mean may round differently; one channel is exact.
        tolerance = 0 if num_channels == 1 else 2e-7
        np.testing.assert_allclose(waveform, expected.mean(axis=1), rtol=0, atol=tolerance)


@pytest.mark.parametrize(("tag", "bits", "dtype"), [(PCM, 16, "<i2"), (PCM, 32, "<i4"), (IEEE_FLOAT, 32, "<f4")])
def test_the_encoding_of_an_extensible_file_is_in_its_sub_format(tag, bits, dtype):
    values = np.array([0, 1, -1], dtype)
    waveform, _, error = decode(riff(extensible(tag, bits), chunk(b"data", values.tobytes())))
    scale = 1 if tag == IEEE_FLOAT else 2.0 ** (bits - 1)
    assert error == ""
    np.testing.assert_array_equal(waveform, (values / scale).astype(np.float32))


def test_twenty_bits_are_read_from_the_upper_part_of_three_bytes():
    waveform, _, error = decode(riff(fmt(bits=20), chunk(b"data", bytes.fromhex("f0ff7f 000080"))))
    assert error == ""
    np.testing.assert_allclose(waveform, [1, -1], atol=1e-5)


@pytest.mark.parametrize("bits", [24, 20])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("header", [fmt, lambda **options: extensible(PCM, **options)], ids=["plain", "extensible"])
def test_three_bytes_of_sample_in_four_are_read_by_the_block_align(header, channels, bits):
    values = np.repeat(np.array([0, 1, -1, 2**22, -(2**23), 2**23 - 16], "<i4") * 256, channels)
    contents = riff(header(channels=channels, bits=bits, align=4 * channels), chunk(b"data", values.tobytes()))
    waveform, _, error = decode(contents)
    assert error == ""
    np.testing.assert_array_equal(waveform, (values[::channels] / 2.0**31).astype(np.float32))


def test_a_block_align_that_the_bytes_a_second_contradict_is_passed_over():
    contents = riff(fmt(bits=24, align=4, bytes_per_second=48_000), chunk(b"data", bytes.fromhex("ffff7f 000080")))
    np.testing.assert_allclose(decode(contents)[0], [1, -1], atol=1e-6)


@pytest.mark.parametrize("align", [0, 1, 3, 4, 65_535])
def test_a_senseless_block_align_is_passed_over_as_libsndfile_does(align):
    assert_holds_the_samples(riff(fmt(align=align), data()))


@pytest.mark.parametrize(
    "tags",
    [id3(0), id3(128), id3(1_001, version=3), id3(200_000), id3(130, has_footer=True), id3(9) + id3(300)],
    ids=["empty", "even", "odd", "with a picture", "with a footer", "two"],
)
def test_tags_in_front_of_a_wav_file_are_passed_over_wherever_it_is_read(tags):
    contents = riff(fmt(), data())
    assert_holds_the_samples(tags + contents)
    np.testing.assert_array_equal(decode_audio(tags + contents).samples, decode_audio(contents).samples)
    assert as_wav(tags + contents, most_bytes=10**6) == contents


def test_streamed_sizes_behind_a_tag_are_understood():
    assert_holds_the_samples(id3(33) + riff(fmt(), data(size=0), size=0))
    assert_holds_the_samples(id3(33) + with_64_bit_sizes(2 * len(SAMPLES)))


@pytest.mark.parametrize(
    "contents",
    [
        pytest.param(riff(fmt(), data()), id="plain"),
        pytest.param(riff(data(), fmt()), id="data before fmt"),
        pytest.param(riff(chunk(b"LIST", b"INFO1234"), fmt(), chunk(b"fact", b"1234"), data()), id="even chunks"),
        pytest.param(riff(chunk(b"LIST", b"INFO1"), fmt(), chunk(b"junk", b"1"), data()), id="odd chunks"),
        pytest.param(riff(chunk(b"LIST", b"INFO1", pad=False), fmt(), data()), id="odd chunk without pad"),
        pytest.param(riff(chunk(b"junk", b"", pad=False), fmt(), data()), id="empty chunk"),
        pytest.param(riff(fmt(), data()) + b"ID3 and more behind the end", id="trailing bytes"),
        pytest.param(riff(fmt(), data(), chunk(b"LIST", b"INFO1")), id="chunk behind the data"),
        pytest.param(riff(fmt(), data(size=UNKNOWN), size=UNKNOWN), id="streamed, all ones"),
        pytest.param(riff(fmt(), data(size=0x7FFFFFFF), size=0x7FFFFFFF), id="streamed, largest int32"),
        pytest.param(riff(fmt(), data(size=0x7FFFF000), size=0x7FFFF024), id="streamed by sox"),
        pytest.param(riff(fmt(), data(size=0), size=0), id="streamed, zeros"),
        pytest.param(riff(fmt(), data(size=0), size=36), id="never closed"),
        pytest.param(riff(fmt(), data(size=13)) + b"\1", id="half a frame at the end"),
        pytest.param(riff(fmt(), data(), form=b"BW64", size=UNKNOWN), id="BW64"),
    ],
)
def test_the_samples_are_found_wherever_they_are(contents):
    assert_holds_the_samples(contents)


def test_a_64_bit_size_ends_the_data_where_it_says():
    sizes = struct.pack("<QQQI", 0, SAMPLES.nbytes, len(SAMPLES), 0)
    tail = chunk(b"LIST", b"not samples!")
    contents = riff(chunk(b"ds64", sizes), fmt(), data(size=UNKNOWN), tail, form=b"RF64", size=UNKNOWN)
    assert_holds_the_samples(contents)


@pytest.mark.parametrize("size", [0, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_64_bit_size_that_cannot_be_leads_to_the_end_of_the_file(size):
    assert_holds_the_samples(with_64_bit_sizes(size))


def half_of(contents):
    return contents[: len(contents) // 2]


@pytest.mark.parametrize(
    "contents",
    [
        pytest.param(half_of(encode(noise(48_000))), id="plain"),
        pytest.param(half_of(encode(noise(24_000, 2))), id="stereo"),
        pytest.param(half_of(encode(noise(48_000), container="RF64")), id="RF64"),
        pytest.param(id3(40) + half_of(encode(noise(48_000))), id="behind a tag"),
        pytest.param(half_of(encode(noise(48_000), subtype="ULAW")), id="mu-law"),
        pytest.param(half_of(encode(noise(48_000), subtype="MS_ADPCM")), id="ADPCM"),
    ],
)
def test_a_file_that_was_cut_off_says_how_much_is_there(contents, request):
    for error in (decode(contents)[2], decode_audio(contents).error.numpy().decode()):
        found, _, said = error.removeprefix("cut off: ").partition(" s of ")
        assert float(said.split()[0]) == pytest.approx(2 * float(found), abs=0.1), error
        assert float(said.split()[0]) == pytest.approx(1.5 if "stereo" in request.node.name else 3.0, abs=0.05), error


@pytest.mark.parametrize("num_bytes", [1, 2, 3])
def test_less_than_a_frame_may_be_missing(num_bytes):
    contents = encode(noise(40, 2))
    waveform, _, error = decode(contents[:-num_bytes])
    assert (len(waveform), error) == (39, "")
    assert_refused(contents[:-4], "cut off: 0.00 s of 0.00 s")


def test_a_missing_pad_byte_is_no_fault():
    contents = encode(noise(41), subtype="PCM_24")
    assert len(contents) % 2 == 0
    assert len(decode(contents[:-1])[0]) == 41


def test_a_file_that_is_as_long_as_it_says_is_whole_whatever_its_samples_claim():
    assert_holds_the_samples(riff(fmt(), data(size=len(SAMPLES) * 2 + 36)))
    assert_refused(riff(fmt(), data(size=len(SAMPLES) * 2 + 36), size=84), "cut off")


def test_the_beginning_of_a_file_and_its_length_are_enough():
    contents = encode(noise(16_000))
    for length, error in ((len(contents), ""), (len(contents) // 2, "cut off: 0.50 s of 1.00 s")):
        header = read_headers(tf.constant([contents[:60]]), lengths=tf.constant([length], tf.int64))
        assert header.error.numpy()[0].decode().startswith(error) and bool(header.error[0] == b"") == (not error)


def test_a_64_bit_size_of_less_than_a_sample_is_refused():
    assert_refused(with_64_bit_sizes(1), "no samples")


@pytest.mark.parametrize(
    "contents",
    [
        *(encode(noise(9, channels), 44_100, subtype) for channels in (1, 2) for subtype in ("PCM_U8", "PCM_24")),
        riff(fmt(), data()),
        riff(fmt(), data(size=13)) + b"\1",
        riff(fmt(bits=32), data()) + b"more behind the end",
        riff(fmt(bits=12), data()),
        riff(fmt(bits=24, align=4), data()),
        riff(fmt(align=7), data()),
        id3(20) + riff(fmt(), data()),
        riff(fmt(channels=3), data()),
        riff(fmt(channels=40_000), data()),
        riff(fmt(rate=4_000), data()),
        riff(fmt(rate=384_000), data()),
        riff(fmt(rate=384_001), data()),
        riff(fmt(rate=4_001), chunk(b"data", bytes(8_002))),
        riff(fmt(rate=4_001), chunk(b"data", bytes(8_004))),
    ],
)
def test_a_header_is_read_alike_alone_and_beside_one_that_is_not_plain(contents):
    other = riff(chunk(b"LIST", b"INFO"), fmt(), data())
    alone = read_headers(tf.constant([contents]), max_seconds=1.0)
    beside = read_headers(tf.constant([contents, other]), max_seconds=1.0)
    assert [field[0].numpy() for field in alone] == [field[0].numpy() for field in beside]


def test_no_files_have_no_headers():
    assert [field.shape for field in read_headers(tf.constant([], tf.string))] == [(0,)] * 6


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"", ["empty", "send WAV"]),
        (b"ID3\x04rest of an MP3 file", ["begins with 'ID3?'", "'RIFF....WAVE'", "send WAV"]),
        (b"\xff\xfe\x00\x80" * 20, ["begins with '????'"]),
        (riff(fmt(85, bits=0), data()), ["format tag 85 (MP3) with 0 bits", "PCM"]),
        (riff(fmt(7, bits=8), data()), ["format tag 7 (mu-law)"]),
        (riff(fmt(4_711), data()), ["format tag 4711 with"]),
        (riff(fmt(bits=0), data()), ["format tag 1 with 0 bits"]),
        (riff(fmt(bits=64), data()), ["with 64 bits"]),
        (riff(fmt(IEEE_FLOAT, bits=16), data()), ["format tag 3 with 16 bits"]),
        (riff(fmt(EXTENSIBLE, extra=b"\0\0"), data()), ["format tag 65534 (extensible", "too short"]),
        (riff(fmt(EXTENSIBLE), data()), ["format tag 65534 (extensible", "too short"]),
        (riff(chunk(b"fmt ", bytes(14)), data()), ["no 'fmt ' chunk of 16 bytes"]),
        (id3(30)[:-1], ["begins with 'ID3?'"]),
        (id3(30) + b"fLaC" + bytes(90), ["begins with 'ID3?'"]),
        (riff(fmt()), ["no 'data' chunk"]),
        (riff(data()), ["no 'fmt ' chunk"]),
        (riff(), ["no 'fmt ' chunk"]),
        (riff(fmt(), chunk(b"data", b"")), ["no samples"]),
        (riff(fmt(), chunk(b"data", b""), chunk(b"LIST", b"INFO")), ["no samples"]),
        (riff(fmt(channels=65_535), data()), ["no samples"]),
        (riff(fmt(channels=0), data()), ["0 channels"]),
        (riff(fmt(rate=0), data()), ["sample rate 0 Hz", "4000 to 384000"]),
        (riff(fmt(rate=3), data()), ["sample rate 3 Hz"]),
        (riff(fmt(rate=UNKNOWN), data()), ["sample rate 4294967295 Hz"]),
        (riff(chunk(b"a", b"") * 2_000, fmt(), data()), ["no 'fmt ' chunk"]),
    ],
)
def test_an_error_says_what_was_found(contents, words):
    assert_refused(contents, *words)


@pytest.mark.parametrize(
    ("damage", "words"),
    [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (-np.inf, "NaN or infinite"), (-1e30, "too loud")],
)
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_damaged_floats_are_refused(dtype, damage, words):
    values = np.array([0.1, damage, 0.2], dtype)
    header = fmt(IEEE_FLOAT, bits=values.itemsize * 8)
    assert_refused(riff(header, chunk(b"data", values.tobytes())), words)


def test_a_recording_over_the_limit_is_refused():
    contents = encode(noise(24_000))
    assert len(decode_wav(contents, max_seconds=1.5).waveform) == 24_000
    refused = decode_wav(contents, max_seconds=1.25)
    assert refused.error.numpy() == b"too long: 1.5 s, at most 1.2 s"
    assert len(refused.waveform) == 0


def test_every_beginning_of_a_file_is_survived():
    contents = encode(noise(20))
    for length in range(len(contents)):
        waveform, _, error = decode(contents[:length])
        is_whole = length == len(contents) - 1  # but for a byte
        assert (len(waveform), bool(error)) == ((19, False) if is_whole else (0, True))


@pytest.mark.parametrize("value", [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, UNKNOWN])
def test_every_header_field_may_hold_any_number(value):
    contents = encode(noise(20, 2))
    for offset in range(0, 44, 2):
        damaged = bytearray(contents)
        damaged[offset : offset + 4] = struct.pack("<I", value)
        waveform, _, error = decode(bytes(damaged))
        assert bool(error) == (len(waveform) == 0)


def test_damaged_files_never_raise_and_never_give_a_bad_waveform():
    generator = np.random.default_rng(7)
    originals = [
        encode(noise(50, 2), subtype=subtype, container=container)
        for subtype in ("PCM_U8", "PCM_24", "FLOAT", "DOUBLE")
        for container in ("WAV", "WAVEX", "RF64")
    ]
    for trial in range(2_000):
        damaged = bytearray(originals[trial % len(originals)])
        # Mostly the headers: damage among the samples is only another sound.
        places = generator.integers(0, 120, generator.integers(1, 12))
        for place in places:
            damaged[place] = generator.integers(256)
        if trial % 3 == 0:
            start = generator.integers(len(damaged))
            del damaged[start : start + generator.integers(1, 40)]
        waveform, rate, error = decode(bytes(damaged))
        assert bool(error) == (len(waveform) == 0) == (rate == 0)
        assert np.all(np.isfinite(waveform))
        assert len(waveform) <= len(damaged)
