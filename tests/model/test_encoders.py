import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.special import erf, softmax

from ser_keras.errors import InputError
from ser_keras.layers.log_mel import FrameMask, LogMelSpectrogram
from ser_keras.model.encoders import WhisperEncoder, load_whisper
from ser_keras.presets import WHISPER_AUDIO

SIZE = 128


@pytest.fixture(scope="module")
def tensors():
    """Random weights of two blocks, by the names of Hugging Face's Whisper."""
    random = np.random.default_rng(0)
    shapes = {
        "conv1.weight": (SIZE, 80, 3),
        "conv1.bias": (SIZE,),
        "conv2.weight": (SIZE, SIZE, 3),
        "conv2.bias": (SIZE,),
    }
    for block in ("layers.0.", "layers.1."):
        for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"):
            shapes[f"{block}{name}.weight"] = (SIZE, SIZE)
            if "k_proj" not in name:
                shapes[f"{block}{name}.bias"] = (SIZE,)
        for name, shape in (("fc1", (4 * SIZE, SIZE)), ("fc2", (SIZE, 4 * SIZE))):
            shapes |= {f"{block}{name}.weight": shape, f"{block}{name}.bias": shape[:1]}
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            shapes |= {f"{block}{name}.weight": (SIZE,), f"{block}{name}.bias": (SIZE,)}
    return {
        f"model.encoder.{name}": (random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float16)
        for name, shape in shapes.items()
    }


@pytest.fixture(scope="module")
def weights(tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder") / "whisper.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def encoder(weights):
    return load_whisper(weights, blocks=(1, 2))


@pytest.fixture(scope="module")
def log_mel(noise):
    def compute(num_samples, *, padding=0):
        waveform = np.pad(noise(num_samples), (0, padding))[None]
        spectrogram = LogMelSpectrogram(**WHISPER_AUDIO.to_dict())(waveform, np.array([num_samples]))
        return spectrogram, FrameMask(WHISPER_AUDIO.frame_step)(spectrogram, np.array([num_samples]))

    return compute


def in_numpy(log_mel, tensors, blocks):
    """Whisper's encoder as its paper and its published code describe it, of one clip, `(frames, 80)` in dB."""
    w = {name.removeprefix("model.encoder."): each.astype(np.float64) for name, each in tensors.items()}
    mel = log_mel / 10
    x = (np.maximum(mel, mel.max() - 8) + 4) / 4

    def gelu(x):
        return x * 0.5 * (1 + erf(x / np.sqrt(2)))

    def conv(x, name, stride):
        x = np.pad(x, ((1, 1), (0, 0)))
        taps = [x[tap : len(x) - 2 + tap] @ w[f"{name}.weight"][:, :, tap].T for tap in range(3)]
        return gelu(sum(taps)[::stride] + w[f"{name}.bias"])

    def norm(x, name):
        centred = x - x.mean(axis=1, keepdims=True)
        return centred / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    x = conv(conv(x, "conv1", 1), "conv2", 2)
    phase = np.arange(len(x))[:, None] * np.exp(-np.log(10_000) * np.arange(SIZE // 2) / (SIZE // 2 - 1))
    x = x + np.concatenate([np.sin(phase), np.cos(phase)], axis=1)
    outputs = []
    for block in blocks:
        name = f"layers.{block - 1}."
        y = norm(x, name + "self_attn_layer_norm")
        project = {each: y @ w[f"{name}self_attn.{each}_proj.weight"].T for each in "qkv"}
        project["q"] += w[f"{name}self_attn.q_proj.bias"]
        project["v"] += w[f"{name}self_attn.v_proj.bias"]
        heads = []
        for head in np.split(np.arange(SIZE), SIZE // 64):
            q, k, v = (project[each][:, head] for each in "qkv")
            heads.append(softmax(q @ k.T / 8, axis=1) @ v)
        x = x + np.concatenate(heads, axis=1) @ w[f"{name}self_attn.out_proj.weight"].T
        x = x + w[f"{name}self_attn.out_proj.bias"]
        y = norm(x, name + "final_layer_norm")
        y = gelu(y @ w[f"{name}fc1.weight"].T + w[f"{name}fc1.bias"])
        x = x + y @ w[f"{name}fc2.weight"].T + w[f"{name}fc2.bias"]
        outputs.append(x)
    return np.concatenate(outputs, axis=1)


@pytest.mark.parametrize("num_samples", [16_000, 16_160, 4_321])
def test_it_computes_what_the_paper_describes(encoder, tensors, log_mel, num_samples):
    spectrogram, mask = log_mel(num_samples)
    expected = in_numpy(spectrogram.numpy()[0].astype(np.float64), tensors, (1, 2))
    np.testing.assert_allclose(encoder(spectrogram, mask)[0], expected, atol=3e-5)


@pytest.mark.parametrize("padding", [160, 7_777, 31 * 16_000])
def test_padding_changes_nothing(encoder, log_mel, padding):
    alone = encoder(*log_mel(9_000)).numpy()[0]
    padded = encoder(*log_mel(9_000, padding=padding)).numpy()[0]
    np.testing.assert_allclose(padded[: len(alone)], alone, atol=1e-5)


def test_windows_behind_a_clip_are_finite_in_float16_too(weights, encoder, log_mel):
    half = load_whisper(weights, blocks=(1, 2), dtype="mixed_float16")
    alone = encoder(*log_mel(9_000)).numpy()[0]
    padded = half(*log_mel(9_000, padding=61 * 16_000)).numpy()[0]  # a window without any frame of the clip
    assert np.isfinite(padded).all()
    np.testing.assert_allclose(padded[: len(alone)], alone, atol=0.05)


def test_batch_mates_change_nothing(encoder, log_mel):
    (short, short_mask), (long, long_mask) = log_mel(9_000, padding=7_000), log_mel(16_000)
    together = encoder(np.concatenate([short, 20 + long]), np.concatenate([short_mask, long_mask]))
    np.testing.assert_allclose(together[0], encoder(short, short_mask)[0], atol=1e-5)


def test_a_long_recording_is_encoded_in_windows_of_30_seconds(encoder, log_mel):
    spectrogram, mask = log_mel(31 * 16_000)
    steps = encoder(spectrogram, mask).numpy()
    assert steps.shape == (1, 1_551, 2 * SIZE)
    for window in (slice(0, 3_000), slice(3_000, None)):
        alone = encoder(spectrogram[:, window], mask[:, window]).numpy()
        np.testing.assert_allclose(steps[:, window.start // 2 :][:, : alone.shape[1]], alone, atol=1e-5)


def test_blocks_are_returned_in_the_order_asked_for_and_later_ones_not_made(weights, encoder, log_mel):
    both = encoder(*log_mel(9_000)).numpy()
    first = load_whisper(weights, blocks=(1,))
    np.testing.assert_array_equal(first(*log_mel(9_000)), both[..., :SIZE])
    assert len(first.transformer) == 1


@pytest.mark.parametrize(
    ("size", "blocks", "name"), [(100, (1,), "size"), (128, (), "blocks"), (128, (0, 1), "blocks")]
)
def test_settings_that_cannot_work_are_named(size, blocks, name):
    with pytest.raises(InputError, match=f"^{name}="):
        WhisperEncoder(size, blocks=blocks)


def test_it_is_rebuilt_from_its_config(encoder, log_mel):
    again = WhisperEncoder.from_config(encoder.get_config())
    again.build((None, None, 80))
    again.set_weights(encoder.get_weights())
    np.testing.assert_array_equal(again(*log_mel(9_000)), encoder(*log_mel(9_000)))


def test_a_file_that_cannot_be_used_is_named(tensors, tmp_path):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(InputError, match=r"weights\.safetensors: .*expected a safetensors file"):
        load_whisper(path)
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(InputError, match=r"weights\.safetensors: .*expected a safetensors file"):
        load_whisper(path)
    save_file(tensors, path)
    with pytest.raises(InputError, match=r"weights\.safetensors: no tensor model\.encoder\.layers\.2\."):
        load_whisper(path, blocks=(3,))
    save_file({**tensors, "model.encoder.conv2.weight": np.zeros((SIZE, 5, 3), np.float16)}, path)
    with pytest.raises(InputError, match=r"conv2\.weight has the shape \(128, 5, 3\); expected \(128, 128, 3\)"):
        load_whisper(path)
