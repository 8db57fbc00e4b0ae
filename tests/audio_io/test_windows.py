"""A stream is resampled and cut as the whole recording is."""

import numpy as np
import pytest

from ser_keras.audio_io.resampling import StreamResampler, resample
from ser_keras.audio_io.windows import cut_windows, resampled_pieces
from ser_keras.errors import InputError


def in_pieces(samples, sizes, sample_rate, target_rate=16_000):
    stream, pieces, start = StreamResampler(sample_rate, target_rate), [], 0
    while start < len(samples):
        size = next(sizes)
        pieces.append(stream.push(samples[start : start + size]))
        start += size
    return np.concatenate([*pieces, stream.finish()])


def random_sizes(most, seed=0):
    random = np.random.default_rng(seed)
    while True:
        yield int(random.integers(0, most))


@pytest.mark.parametrize("sample_rate", [8_000, 11_025, 16_000, 22_050, 44_099, 44_100, 48_000])
@pytest.mark.parametrize("most", [700, 50_000])
def test_pieces_are_resampled_as_the_whole_is(noise, sample_rate, most):
    samples = noise(3 * sample_rate + 17)
    whole = resample(samples, sample_rate).numpy() if sample_rate != 16_000 else samples
    given = in_pieces(samples, random_sizes(most), sample_rate)
    assert given.shape == whole.shape and given.dtype == np.float32
    np.testing.assert_allclose(given, whole, atol=1e-6)


@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_recording_shorter_than_a_block_is_resampled(noise, size):
    given = in_pieces(noise(size), random_sizes(50), 48_000)
    np.testing.assert_allclose(given, resample(noise(size), 48_000), atol=1e-6)


def test_a_stream_holds_back_less_than_a_quarter_of_a_second(noise):
    stream = StreamResampler(48_000)
    given = len(np.concatenate([stream.push(noise(4_800)) for _ in range(100)]))
    assert 160_000 - given < 4_000
    assert len(stream._held) < 48_000 / 4


@pytest.mark.parametrize("length", [0, 1, 29, 30, 31, 40, 41, 95, 100])
@pytest.mark.parametrize("hop", [1, 10, 30])
def test_windows_lie_where_the_graph_lays_them(length, hop):
    samples, window = np.arange(length, dtype=np.float32), 30
    last = -(-max(length - window, 0) // hop) * hop
    expected = [samples[start : start + window].tolist() for start in range(0, last + 1, hop)] if length else []
    for size in (1, 7, 64, 200):
        pieces = [samples[start : start + size] for start in range(0, length, size)]
        starts, found = [], []
        for start, windows in cut_windows(pieces, window, hop):
            starts += [start + index * hop for index in range(len(windows))]
            found += windows.tolist()
        assert found == expected
        assert starts == [index * hop for index in range(len(expected))]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (np.array([2**14, -(2**15)], np.int16), [0.5, -1.0]),
        (np.array([[0.5, -0.5], [1.0, 0.0]]), [0.0, 0.5]),
        (np.array([[2**14, 0]], np.int16), [0.25]),
    ],
)
def test_blocks_become_one_channel_of_full_scale_one(block, expected):
    np.testing.assert_allclose(np.concatenate(list(resampled_pieces([block], 16_000, 16_000))), expected)


def test_a_large_block_is_taken_in_parts():
    pieces = [len(each) for each in resampled_pieces([np.zeros(3_000_000, np.float32)], 16_000, 16_000)]
    assert max(pieces) <= 2**20 and sum(pieces) == 3_000_000


@pytest.mark.parametrize(
    ("block", "sample_rate", "message"),
    [
        (np.zeros(8, np.int32), 16_000, "a block of int32: expected float with a full scale of 1, or int16"),
        (np.zeros((8, 2, 2)), 16_000, r"a block of shape \(8, 2, 2\)"),
        (np.zeros((8, 0)), 16_000, r"a block of shape \(8, 0\)"),
        (np.float64(1.0), 16_000, r"a block of shape \(\)"),
        (np.zeros(8), 100, "sample_rate=100: expected a whole number of 4000 to 384000 Hz"),
        (np.zeros(8), 16_000.5, "sample_rate=16000.5"),
    ],
)
def test_what_is_no_audio_is_refused(block, sample_rate, message):
    with pytest.raises(InputError, match=message):
        list(resampled_pieces([block], sample_rate, 16_000))
