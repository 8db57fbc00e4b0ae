import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from ser_keras.errors import InputError
from ser_keras.evaluation import evaluate_model
from ser_keras.export import export_model
from ser_keras.inference import Predictor
from ser_keras.model import ParallelModel
from ser_keras.preprocessing import preprocess_data

WITHOUT_KERAS = """
import sys
for name in ("keras", "tf_keras", "ser_keras", "tensorflow_io", "librosa"):
    sys.modules[name] = None  # importing it raises ImportError
import numpy as np
import tensorflow as tf
served = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
contents = [open(path, "rb").read() for path in sys.argv[3:]]
np.save(sys.argv[2], served(audio_bytes=tf.constant(contents))["probabilities"].numpy())
"""


@pytest.fixture(scope="module")
def model(corpus):
    """A model with fitted normalisation and random weights: as hard to reproduce as a trained one."""
    from conftest import SMALL

    model = ParallelModel(3, emotions=("neutral", "sad", "angry"), config=SMALL)
    model.adapt_normalization(preprocess_data(corpus).train)
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.1 * random.normal(size=weight.shape))
    return model


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export_model(model, tmp_path_factory.mktemp("exports") / "ser" / "1")


@pytest.fixture(scope="module")
def signatures(exported):
    loaded = tf.saved_model.load(str(exported))
    return loaded.signatures, loaded  # the module must outlive its signatures


def serve(signatures, contents):
    return {name: value.numpy() for name, value in signatures[0]["serving_default"](audio_bytes=contents).items()}


def test_the_export_alone_gives_what_evaluate_model_gave(model, exported, splits, tmp_path):
    report = evaluate_model(model, splits.test)
    paths = [str(each.path) for each in splits.split.test]
    command = [sys.executable, "-c", WITHOUT_KERAS, str(exported), str(tmp_path / "out.npy"), *paths]
    subprocess.run(command, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), report.probabilities, atol=1e-5)


def test_both_signatures_agree_with_the_live_model(model, signatures, noise, wav_bytes):
    samples = noise(20_000)
    live = model({"waveform": samples[None], "num_samples": np.array([20_000])}).numpy()[0]
    padded = np.concatenate([samples, np.full(5_000, 9.0, np.float32)])[None]
    by_waveform = signatures[0]["waveform"](waveform=padded, num_samples=np.array([20_000], np.int32))
    by_bytes = serve(signatures, [wav_bytes(samples)])
    np.testing.assert_allclose(by_waveform["probabilities"][0], live, atol=1e-5)
    np.testing.assert_allclose(by_bytes["probabilities"][0], live, atol=1e-5)


def test_answers_name_the_most_probable_emotion(signatures, noise, wav_bytes):
    answer = serve(signatures, [wav_bytes(noise(9_000, seed=seed)) for seed in range(3)])
    assert answer["emotions"].tolist() == [[b"neutral", b"sad", b"angry"]] * 3
    best = answer["probabilities"].argmax(axis=1)
    assert answer["label"].tolist() == [answer["emotions"][0][index] for index in best]
    np.testing.assert_array_equal(answer["confidence"], answer["probabilities"].max(axis=1))
    assert answer["error"].tolist() == [b""] * 3


BAD = {
    "nothing": b"",
    "text": b"this is no audio",
    "mp3": b"ID3\x04\x00" + bytes(200),
    "header only": b"RIFF\x24\x00\x00\x00WAVE",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_item_leaves_its_neighbours_alone(signatures, noise, wav_bytes, name):
    good = wav_bytes(noise(9_000))
    alone = serve(signatures, [good])
    answer = serve(signatures, [good, BAD[name], good])
    assert answer["label"][1] == b"" and answer["error"][1] != b""
    assert np.isnan(answer["probabilities"][1]).all()
    for row in (0, 2):
        assert answer["label"][row] == alone["label"][0]
        np.testing.assert_allclose(answer["probabilities"][row], alone["probabilities"][0], atol=1e-6)


def test_an_empty_batch_gives_empty_outputs(signatures):
    answer = serve(signatures, tf.zeros([0], tf.string))
    assert answer["label"].shape == (0,) and answer["probabilities"].shape == (0, 3)


@pytest.mark.parametrize(
    ("samples", "num_samples", "error"),
    [(100, 0, b"num_samples=0: expected 1 to 100"), (100, 101, b"num_samples=101: expected 1 to 100")],
)
def test_a_wrong_length_is_an_error_of_the_item(signatures, noise, samples, num_samples, error):
    answer = signatures[0]["waveform"](waveform=noise(samples)[None], num_samples=np.array([num_samples], np.int32))
    assert answer["error"].numpy()[0].startswith(error)


def test_nan_in_a_waveform_is_an_error_of_the_item(signatures, noise):
    waveform = np.stack([noise(1_000), noise(1_000)])
    waveform[1, 10] = np.nan
    answer = signatures[0]["waveform"](waveform=waveform, num_samples=np.array([1_000, 1_000], np.int32))
    assert answer["error"].numpy().tolist() == [b"", b"the waveform holds NaN or infinite samples"]
    assert not np.isnan(answer["probabilities"].numpy()[0]).any()


def test_the_graph_holds_core_ops_only(signatures):
    for function in signatures[0].values():
        graph = function.graph.as_graph_def()
        ops = {node.op for node in graph.node}
        ops |= {node.op for inner in graph.library.function for node in inner.node_def}
        assert not {op for op in ops if op.startswith("IO>") or "PyFunc" in op}
        assert "RFFT" in ops


def test_names_and_recipe_lie_beside_the_graph(model, exported):
    card = json.loads((exported / "assets.extra" / "model.json").read_text())
    assert card["emotions"] == ["neutral", "sad", "angry"]
    assert card["audio"] == model.audio.to_dict()


def test_an_existing_version_is_never_overwritten(model, exported):
    before = sorted(path.stat().st_mtime_ns for path in exported.rglob("*"))
    with pytest.raises(InputError, match="exists already; a version is never overwritten"):
        export_model(model, exported)
    assert sorted(path.stat().st_mtime_ns for path in exported.rglob("*")) == before


def test_a_failed_export_leaves_nothing(model, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        export_model(model, tmp_path / "ser" / "1")
    assert list((tmp_path / "ser").iterdir()) == []


def test_a_full_disk_is_one_line(model, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "part/variables; No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(InputError, match=r"ser/1: cannot be written \(No space left on device\)"):
        export_model(model, tmp_path / "ser" / "1")
    assert list((tmp_path / "ser").iterdir()) == []


def test_a_place_that_cannot_be_written_is_an_error(model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/ser/1: cannot be written"):
        export_model(model, tmp_path / "file" / "ser" / "1")


def test_a_model_without_names_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not know the names of its emotions"):
        export_model(ParallelModel(3), tmp_path / "1")


def test_predictor_gives_the_same_for_wav_and_flac(exported, noise, tmp_path):
    samples = (noise(12_000) * 20_000).astype(np.int16)
    for name in ("clip.wav", "clip.flac"):
        soundfile.write(tmp_path / name, samples, 16_000, subtype="PCM_16")
    wav, flac = (Predictor(exported).predict(tmp_path / name) for name in ("clip.wav", "clip.flac"))
    assert wav.label == flac.label and wav.confidence == max(wav.probabilities.values())
    assert list(wav.probabilities) == ["neutral", "sad", "angry"]
    assert list(wav.probabilities.values()) == pytest.approx(list(flac.probabilities.values()), abs=1e-6)


def test_predictor_reads_a_wav_that_the_graph_does_not(exported, noise, tmp_path):
    soundfile.write(tmp_path / "law.wav", noise(12_000), 16_000, subtype="ULAW")
    assert Predictor(exported).predict(tmp_path / "law.wav").label in ("neutral", "sad", "angry")


def test_predictor_names_the_file_that_it_cannot_read(exported, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"RIFFxxxxWAVEjunk")
    with pytest.raises(InputError, match=r"bad\.wav: "):
        Predictor(exported).predict(tmp_path / "bad.wav")


def test_predictor_needs_a_saved_model(tmp_path):
    with pytest.raises(InputError, match="holds no SavedModel"):
        Predictor(tmp_path)
