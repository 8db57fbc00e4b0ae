"""The export in a process without Python."""

import c_runtime
import numpy as np
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run_c(exported, tmp_path_factory):
    if reason := c_runtime.why_not():
        pytest.skip(reason)
    return c_runtime.CProgram(exported, tmp_path_factory.mktemp("c"))


def assert_same(given, wanted):
    assert set(given) == set(wanted)
    for name, value in wanted.items():
        if value.dtype == object:
            assert given[name].tolist() == value.tolist(), name
        else:
            np.testing.assert_allclose(given[name], value, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("signature", ["serving_default", "timeline", "embedding"])
def test_files_good_and_bad_are_answered_as_in_python(run_c, served, noise, wav_bytes, signature):
    good = [wav_bytes(noise(48_000), 44_100, subtype="PCM_24"), wav_bytes(noise(64_000))]
    bad = [b"", b"ID3\x04 an MP3", good[0][:40], wav_bytes(np.full(900, np.nan))]
    files = [good[0], *bad, good[1]]
    answer = run_c(signature, audio_bytes=files)
    assert [bool(error) for error in answer["error"]] == [False, True, True, True, True, False]
    assert_same(answer, served(signature, audio_bytes=files))


def test_waveforms_good_and_bad_are_answered_as_in_python(run_c, served, noise):
    waveform = np.stack([noise(30_000), noise(30_000), np.full(30_000, np.inf, np.float32)])
    inputs = {
        "waveform": waveform,
        "num_samples": np.array([30_000, 9_000, 30_000], np.int32),
        "sample_rate": np.array([16_000, 48_000, 16_000], np.int32),
    }
    answer = run_c("waveform", **inputs)
    assert [bool(error) for error in answer["error"]] == [False, False, True]
    assert_same(answer, served("waveform", **inputs))
