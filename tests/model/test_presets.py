"""Presets: their settings, the weights of their encoders, and what a model with an encoder computes."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import stir
from file_server import serving
from safetensors.numpy import load_file, save_file

import ser_keras
from ser_keras import presets
from ser_keras.config import AudioConfig, ModelConfig
from ser_keras.corpora.synthesis import draw_voice, synthesize_clip
from ser_keras.errors import InputError
from ser_keras.model import ParallelModel, load_model, save_model
from ser_keras.model.encoders import WhisperEncoder, fill_whisper
from ser_keras.pipeline.datasets import pad_clips
from ser_keras.presets import PRESETS

PACKAGED = PRESETS["whisper-tiny.en"].weights
WHISPER = Path(os.environ.get("SER_KERAS_WHISPER", Path(__file__).parents[3] / "shared" / "whisper"))
STEP = 16 * 160
"""Samples in a step of the attention, by which a clip is moved to the beginning of its speech."""

FETCH = """
import sys
import numpy as np
from ser_keras.errors import InputError
from ser_keras.model import ParallelModel

try:
    model = ParallelModel.from_preset("whisper-base", 7)
except InputError as error:
    sys.exit(str(error))
np.save(sys.argv[1], model.get_layer("encoder").conv_1.kernel)
"""


@pytest.fixture(scope="module")
def speech():
    """Nine seconds of several emotions, with pauses between them."""
    random = np.random.default_rng(0)
    voice = draw_voice("female", random)
    emotions = ("happy", "sad", "angry", "neutral", "happy", "sad", "angry")
    clips = [synthesize_clip(emotion, voice, random, sample_rate=16_000) for emotion in emotions]
    return np.concatenate(clips)[: 9 * 16_000]


@pytest.fixture(scope="module")
def preset_model(speech):
    """The packaged encoder, and a head with random weights."""
    model = ParallelModel.from_preset("whisper-tiny.en", 7)
    stir(model, np.split(speech, 16))
    return model


@pytest.fixture(scope="module")
def packaged():
    return load_file(PACKAGED)


@pytest.fixture(scope="module")
def changed(packaged, tmp_path_factory):
    """The packaged weights, of which one is another."""
    path = tmp_path_factory.mktemp("changed") / "changed.safetensors"
    bias = packaged["model.encoder.layers.2.fc1.bias"] + np.eye(1, 1536, dtype=np.float16)[0]
    save_file({**packaged, "model.encoder.layers.2.fc1.bias": bias}, path)
    return path


def outputs(model, *clips, padding=0):
    """Probabilities and attention of clips in one batch, with noise behind each."""
    waveform, num_samples = pad_clips([*clips, np.zeros(max(map(len, clips)) + padding, np.float32)])
    behind = np.arange(waveform.shape[1]) >= num_samples[:, None]
    waveform += 0.7 * behind * np.random.default_rng(1).normal(size=waveform.shape)
    inputs = {"waveform": waveform.astype(np.float32)[: len(clips)], "num_samples": num_samples[: len(clips)]}
    details = model.details(inputs)
    return np.asarray(details["probabilities"]), np.asarray(details["attention"])


def silence(num_steps):
    return np.zeros(num_steps * STEP, np.float32)


def refused(*arguments, **settings):
    """The one line with which a preset is refused."""
    with pytest.raises(InputError) as caught:
        ParallelModel.from_preset(*arguments, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_encoder_has_the_packaged_weights(preset_model, packaged):
    encoder = preset_model.get_layer("encoder")
    for kernel, name in (
        (encoder.conv_1.kernel, "conv1"),
        (encoder.transformer[2].hidden_output.kernel, "layers.2.fc2"),
    ):
        np.testing.assert_array_equal(kernel, packaged[f"model.encoder.{name}.weight"].T)


def test_the_encoder_is_not_trained(preset_model):
    """Neither by `train_model` nor by a plain `fit`."""
    for model in (preset_model, preset_model.parts.head):
        assert model.trainable_weights
        assert not [each.path for each in model.trainable_weights if each.path.startswith("encoder")]


def test_light_is_the_model_without_an_encoder():
    light, plain = ParallelModel.from_preset("light", 3), ParallelModel(3)
    assert (light.config, light.audio) == (plain.config, plain.audio) == (ModelConfig(), AudioConfig())
    assert light.parts.encoder is None and light.parts.head is light


@pytest.mark.parametrize("num_silent", [0, 7], ids=["speech", "silence before it"])
def test_padding_and_batch_mates_change_no_probability(preset_model, speech, num_silent):
    """Of clips within a window of the encoder and of some windows."""
    clips = [np.concatenate([silence(num_silent), speech[: round(16_000 * seconds)]]) for seconds in (0.3, 3, 9)]
    together, attention = outputs(preset_model, *clips, padding=20_000)
    for row, clip in enumerate(clips):
        alone, weights = outputs(preset_model, clip)
        np.testing.assert_allclose(together[row], alone[0], atol=1e-4)
        np.testing.assert_allclose(attention[row, : weights.shape[1]], weights[0], atol=1e-4)
    assert np.abs(together[0] - together[1]).max() > 0.1


@pytest.mark.parametrize(("seconds", "num_silent"), [(0.3, 1), (0.3, 25), (5, 2), (5, 26)])
def test_silence_before_a_clip_moves_its_attention_and_changes_nothing_else(preset_model, speech, seconds, num_silent):
    clip = speech[: round(16_000 * seconds)]
    (expected, weights), (moved, moved_weights) = (
        outputs(preset_model, np.concatenate([silence(count), clip])) for count in (0, num_silent)
    )
    np.testing.assert_allclose(moved, expected, atol=1e-5)
    count = len(clip) // STEP
    np.testing.assert_allclose(moved_weights[0, num_silent:][:count], weights[0, :count], atol=1e-5)


@pytest.mark.parametrize("method", ["copy", "load_model"])
def test_a_copy_has_the_encoder_and_its_probabilities(encoder_model, speech, tmp_path, method):
    save_model(encoder_model, tmp_path / "model.keras")
    made = {
        "copy": encoder_model.copy,
        "load_model": lambda: load_model(tmp_path / "model.keras"),
    }[method]()
    clips = speech[:5_000], speech[:80_000]
    np.testing.assert_array_equal(outputs(made, *clips)[0], outputs(encoder_model, *clips)[0])
    assert not [each.path for each in made.trainable_weights if each.path.startswith("encoder")]


def test_the_packaged_encoder_survives_the_round_trip(preset_model, speech, tmp_path):
    save_model(preset_model, tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(outputs(again, speech[:48_000])[0], outputs(preset_model, speech[:48_000])[0])


def test_the_parts_of_a_model_with_an_encoder_make_the_model(encoder_model, speech):
    """The head on what the encoder gives has the probabilities of the whole."""
    waveform, num_samples = pad_clips([speech[:5_000], speech[:80_000]])
    inputs = {"waveform": waveform, "num_samples": num_samples}
    parts = encoder_model.parts
    np.testing.assert_allclose(parts.head(parts.encoder(inputs)), encoder_model(inputs), atol=1e-6)


def test_a_preset_that_does_not_exist_is_refused():
    assert refused("whisper-huge") == "preset='whisper-huge': expected light, whisper-tiny.en, whisper-base"


def test_weights_for_a_preset_without_an_encoder_are_refused():
    assert refused("light", encoder_weights=Path("own.safetensors")).startswith("encoder_weights='own.safetensors': ")


def test_another_recipe_of_the_audio_is_refused():
    message = refused("whisper-tiny.en", audio=AudioConfig())
    assert message.startswith("audio=AudioConfig(") and "frame_step=320" in message and "'light'" in message


def test_a_file_that_is_not_there_is_named(tmp_path):
    message = refused("whisper-tiny.en", encoder_weights=tmp_path / "absent.safetensors")
    assert message.startswith(f"{tmp_path / 'absent.safetensors'}: ") and "expected a safetensors file" in message


@pytest.mark.parametrize("size", [0, 5, 1_000, -1])
def test_a_file_that_was_cut_off_is_named(tmp_path, size):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(PACKAGED.read_bytes()[:size])
    message = refused("whisper-tiny.en", encoder_weights=path)
    assert message.startswith(f"{path}: ") and "expected a safetensors file" in message


def test_weights_of_another_size_are_refused(tmp_path):
    path = tmp_path / "large.safetensors"
    save_file({"model.encoder.conv1.bias": np.zeros(512, np.float16)}, path)
    assert refused("whisper-tiny.en", encoder_weights=path) == f"{path}: size=512: expected 384, that of the preset"


def test_other_weights_than_those_of_a_preset_are_refused(changed, monkeypatch):
    preset = dataclasses.replace(PRESETS["whisper-tiny.en"], weights=changed)
    monkeypatch.setitem(presets.PRESETS, "whisper-tiny.en", preset)
    message = refused("whisper-tiny.en")
    assert message.startswith(f"{changed}: ") and f"expected {preset.digest}" in message


def test_weights_of_the_user_can_be_any(changed, preset_model):
    model = ParallelModel.from_preset("whisper-tiny.en", 7, encoder_weights=changed)
    own, packaged = (each.get_layer("encoder").transformer[2].hidden.bias for each in (model, preset_model))
    np.testing.assert_array_equal(own - packaged, np.eye(1, 1536)[0])


def test_fewer_blocks_than_those_of_a_preset_are_taken(packaged):
    config = PRESETS["whisper-tiny.en"].model.replace(encoder_blocks=(2,))
    (first, second) = ParallelModel.from_preset("whisper-tiny.en", 7, config=config).get_layer("encoder").transformer
    for block, name in ((first, "layers.0"), (second, "layers.1")):
        np.testing.assert_array_equal(block.hidden.bias, packaged[f"model.encoder.{name}.fc1.bias"])


def test_the_digest_is_that_of_the_weights_in_whatever_precision_and_file(packaged, tmp_path):
    path = tmp_path / "float32.safetensors"
    save_file({name: values.astype(np.float32) for name, values in packaged.items()}, path)
    encoder = WhisperEncoder(384)
    encoder.build((None, None, 80))
    fill_whisper(encoder, path, digest=PRESETS["whisper-tiny.en"].digest)
    with pytest.raises(InputError, match=re.escape(f"{path}: ") + ".*expected 00: "):
        fill_whisper(encoder, path, digest="00")


@pytest.fixture
def hub():
    """A server that passes for the Hugging Face Hub, and its path of the file that the preset wants."""
    file = PRESETS["whisper-base"].weights
    with serving() as site:
        site.headers["X-Repo-Commit"] = file.revision
        yield site, f"/{file.repository}/resolve/{file.revision}/{file.name}"


def fetch(hub, folder, **environment):
    """Build the model whose weights are on the Hub, in a process of its own; return stderr's last line and a file."""
    site, _ = hub
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(ser_keras.__file__).parents[1]),
        "HF_ENDPOINT": site.url,
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        **environment,
    }
    command = [sys.executable, "-c", FETCH, str(folder / "kernel.npy")]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return process.returncode, process.stderr.strip()


@pytest.mark.slow
def test_weights_on_the_hub_are_downloaded_once(hub, tmp_path):
    if not (WHISPER / "whisper-base.safetensors").is_file():
        pytest.skip(f"no weights at {WHISPER}; set SER_KERAS_WHISPER to a folder with whisper-base.safetensors")
    site, path = hub
    site.files[path] = (WHISPER / "whisper-base.safetensors").read_bytes()
    assert fetch(hub, tmp_path) == (0, "")
    kernel = load_file(WHISPER / "whisper-base.safetensors")["model.encoder.conv1.weight"].T
    np.testing.assert_array_equal(np.load(tmp_path / "kernel.npy"), kernel)
    assert fetch(hub, tmp_path) == (0, "")
    assert [each for each, _ in site.requests].count(path) == 2  # HEAD, GET
    assert fetch(hub, tmp_path, HF_HUB_OFFLINE="1") == (0, "")


@pytest.mark.slow
def test_other_weights_on_the_hub_are_refused(hub, tmp_path, packaged):
    """They have the shapes of the weights wanted, and are all 0."""
    site, path = hub
    shapes = {name: [{384: 512, 1536: 2048}.get(size, size) for size in each.shape] for name, each in packaged.items()}
    save_file({name: np.zeros(shape, np.float16) for name, shape in shapes.items()}, tmp_path / "zeros")
    site.files[path] = (tmp_path / "zeros").read_bytes()
    code, line = fetch(hub, tmp_path)
    assert code == 1 and line.count("\n") == 0
    assert line.startswith(str(tmp_path / "hub")) and f"expected {PRESETS['whisper-base'].digest}" in line


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, {"HF_HUB_OFFLINE": "1"}], ids=["not on the Hub", "offline"])
def test_a_download_that_is_not_possible_is_one_line(hub, tmp_path, environment):
    code, line = fetch(hub, tmp_path, **environment)
    assert code == 1 and line.count("\n") == 0
    assert line.startswith("openai/whisper-base, model.safetensors: cannot be downloaded (")


@pytest.mark.slow
def test_a_download_that_breaks_off_again_and_again_is_one_line(hub, tmp_path):
    site, path = hub
    site.files[path], site.cuts = bytes(100_000), [1_000] * 100
    code, line = fetch(hub, tmp_path)
    assert code == 1 and line.splitlines()[-1].startswith(
        "openai/whisper-base, model.safetensors: cannot be downloaded ("
    )
