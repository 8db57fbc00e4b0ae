"""One model, six ways to run it, the same answers: `make parity` prints the table, test_parity.py holds it.

The reference is the live model on each clip alone. The servers are the double of tests/serving_double.py,
which speaks TF Serving's protocol; no real server is needed.
"""

import argparse
import base64
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import keras
import numpy as np
import requests
import soundfile
import soxr
import tensorflow as tf
import test_resampling
from c_runtime import CProgram, why_not
from serving_double import ServingDouble
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from ser_keras.audio import wav_to_waveform
from ser_keras.corpora.synthesis import draw_voice, synthesize_clip
from ser_keras.export import export_model
from ser_keras.model import load_model

RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 24_414, 32_000, 44_100, 48_000, 96_000, 44_099)
WITHOUT_KERAS = """
import sys
for name in ("keras", "tf_keras", "ser_keras", "tensorflow_io", "librosa"):
    sys.modules[name] = None
import numpy as np
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
with np.load(sys.argv[3], allow_pickle=True) as questions:
    inputs = {name: tf.constant(questions[name].tolist() if questions[name].dtype == object else questions[name])
              for name in questions.files}
np.save(sys.argv[4], loaded.signatures[sys.argv[2]](**inputs)["probabilities"])
"""

Ask = Callable[..., np.ndarray]
"""A function from a signature's name and its inputs to probabilities `(batch, emotions)`."""


def made_up_clips(num_clips=32, seed=0):
    """Utterances of synthetic voices as WAV files of mixed lengths, rates, encodings and channels."""
    random = np.random.default_rng(seed)
    clips = []
    for index in range(num_clips):
        rate, voice = RATES[index % len(RATES)], draw_voice(("male", "female")[index % 2], random)
        speech = np.tile(synthesize_clip("happy", voice, random, sample_rate=rate), 1 + index % 3)
        samples = speech[: int(len(speech) * random.uniform(0.3, 1))]
        file = io.BytesIO()
        subtype = ("PCM_16", "PCM_24", "FLOAT", "PCM_U8")[index % 4]
        soundfile.write(file, np.stack([samples] * (1 + index % 2), axis=1), rate, format="WAV", subtype=subtype)
        clips.append(file.getvalue())
    return clips


def parity(model, exported, clips, *, num_alone=6):
    """Compare every way with the live model on each clip alone.

    Args:
        model: the live model.
        exported: its export.
        clips: WAV files, for the batch.
        num_alone: how many of them are also sent alone, and padded.

    Returns:
        Largest difference of a probability by way, and by how the clips came: alone, padded, in a batch.
    """
    rate = model.audio.sample_rate
    waveforms = [wav_to_waveform(tf.constant(clip), sample_rate=rate).samples.numpy() for clip in clips]
    live = by_keras(model)
    reference = np.concatenate([live("waveform", **_padded([waveform], rate)) for waveform in waveforms])
    table = {}
    with tempfile.TemporaryDirectory() as folder, ServingDouble(exported, model="ser") as server:
        model.save(Path(folder) / "model.keras")
        ways = {
            "live model": live,
            ".keras, loaded again": by_keras(load_model(Path(folder) / "model.keras")),
            "SavedModel, Python without Keras": by_python(exported, Path(folder)),
            **({} if why_not() else {"SavedModel, C": by_c(exported, Path(folder))}),
            "SavedModel, REST": by_rest(server.rest_url),
            "SavedModel, gRPC": by_grpc(server.grpc_address),
        }
        for way, ask in ways.items():
            given = _answers(ask, clips, waveforms, rate, num_alone)
            table[way] = {how: float(np.abs(answer - reference[: len(answer)]).max()) for how, answer in given.items()}
    return table


def _answers(ask: Ask, clips, waveforms, rate, num_alone):
    """Probabilities of the first clips alone, of the first clips padded, and of all in one batch."""
    few = range(num_alone)
    alone = [ask("serving_default", audio_bytes=[clips[index]], waveforms=[waveforms[index]]) for index in few]
    padded = [ask("waveform", **_padded([waveforms[index]], rate, extra=7_777)) for index in few]
    together = ask("serving_default", audio_bytes=clips, waveforms=waveforms)
    return {"alone": np.concatenate(alone), "padded": np.concatenate(padded), f"batch of {len(clips)}": together}


def _padded(waveforms, rate, extra=0):
    """The inputs of `waveform`; what lies behind a clip's end is loud."""
    lengths = np.array([len(each) for each in waveforms], np.int32)
    batch = np.full((len(waveforms), lengths.max() + extra), 0.9, np.float32)
    for row, each in zip(batch, waveforms, strict=True):
        row[: len(each)] = each
    return {"waveform": batch, "num_samples": lengths, "sample_rate": np.full(len(lengths), rate, np.int32)}


def by_keras(model) -> Ask:
    """A Keras model takes waveforms alone."""

    def ask(signature, *, waveforms=None, **inputs):
        inputs = inputs if signature == "waveform" else _padded(waveforms, model.audio.sample_rate)
        given = {name: inputs[name] for name in ("waveform", "num_samples")}
        return np.asarray(model(given, training=False))

    return ask


def by_python(exported, folder) -> Ask:
    """A fresh process that has TensorFlow and NumPy."""

    def ask(signature, *, waveforms=None, **inputs):
        arrays = {name: np.array(value, object) if isinstance(value, list) else value for name, value in inputs.items()}
        np.savez(folder / "in.npz", **arrays)
        command = [sys.executable, "-c", WITHOUT_KERAS, str(exported), signature, str(folder / "in.npz")]
        subprocess.run([*command, str(folder / "out.npy")], check=True, capture_output=True)
        return np.load(folder / "out.npy")

    return ask


def by_c(exported, folder) -> Ask:
    """A process without Python."""
    program = CProgram(exported, folder)

    def ask(signature, *, waveforms=None, **inputs):
        return program(signature, **inputs)["probabilities"]

    return ask


def by_rest(url) -> Ask:
    """JSON over HTTP."""

    def ask(signature, *, waveforms=None, **inputs):
        encoded = {name: _as_json(value) for name, value in inputs.items()}
        question = {"signature_name": signature, "inputs": encoded}
        answer = requests.post(f"{url}/v1/models/ser:predict", json=question, timeout=60)
        answer.raise_for_status()
        return np.array(answer.json()["outputs"]["probabilities"])

    return ask


def _as_json(value):
    if isinstance(value, list):
        return [{"b64": base64.b64encode(each).decode()} for each in value]
    return value.tolist()


def by_grpc(address) -> Ask:
    """Protocol buffers over HTTP/2, with the published messages."""

    def ask(signature, *, waveforms=None, **inputs):
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "ser", signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        with grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1)]) as channel:
            response = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=60)
        return tf.make_ndarray(response.outputs["probabilities"])

    return ask


def against_soxr(exported, paths, rate):
    """Answer files as bytes, and as soundfile and soxr read them.

    Returns:
        How many labels agree, and the largest difference of a probability.
    """
    signatures = (loaded := tf.saved_model.load(str(exported))).signatures
    agree, worst = 0, 0.0
    for path in paths:
        samples, native_rate = soundfile.read(path, dtype="float32", always_2d=True)
        waveform = soxr.resample(samples.mean(axis=1), native_rate, rate, quality="HQ")
        inputs = {name: tf.constant(value) for name, value in _padded([waveform], rate).items()}
        theirs = signatures["waveform"](**inputs)
        ours = signatures["serving_default"](audio_bytes=tf.constant([path.read_bytes()]))
        agree += int(ours["label"][0] == theirs["label"][0])
        worst = max(worst, float(tf.reduce_max(tf.abs(ours["probabilities"] - theirs["probabilities"]))))
    del loaded  # the signatures needed it
    return agree, worst


def print_resampling():
    """Signal-to-noise ratio of the resampler against soxr, below 0.9 of the lower Nyquist frequency."""
    print("\n| Rate in Hz | against soxr HQ, in dB |\n|---|---|")
    for rate in RATES:
        waveform, limit = test_resampling.noise(3 * rate), 0.45 * min(rate, 16_000)
        wanted = test_resampling.below(soxr.resample(waveform, rate, 16_000, quality="HQ"), limit)
        found = test_resampling.below(test_resampling.convert(waveform, rate)[: len(wanted)], limit)
        with np.errstate(divide="ignore"):
            print(f"| {rate} | {test_resampling.signal_to_noise_db(wanted, found[: len(wanted)]):.1f} |")


def print_table(table):
    columns = list(table["live model"])
    print("| Largest difference of a probability |", " | ".join(columns), "|")
    print("|---" * (len(columns) + 1) + "|")
    for way, row in table.items():
        print(f"| {way} |", " | ".join(f"{row[column]:.1e}" for column in columns), "|")


def main():
    parser = argparse.ArgumentParser(description="Compare six ways to run one model.")
    parser.add_argument("--run", required=True, metavar="DIR", help="run directory of `ser-keras train`")
    parser.add_argument("--clips", nargs="*", metavar="WAV", help="at least 32 files (default: synthetic ones)")
    parser.add_argument(
        "--native", nargs="*", default=[], metavar="WAV", help="files to read by soundfile and soxr, too"
    )
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    model = load_model(options.run)
    clips = [Path(path).read_bytes() for path in options.clips[:32]] if options.clips else made_up_clips()
    with tempfile.TemporaryDirectory() as folder:
        exported = export_model(model, Path(folder) / "ser", name="ser")
        print_table(parity(model, exported, clips))
        print_resampling()
        if options.native:
            agree, worst = against_soxr(exported, [Path(path) for path in options.native], model.audio.sample_rate)
            print(f"\n{agree} of {len(options.native)} labels as by soundfile and soxr, largest difference {worst:.1e}")


if __name__ == "__main__":
    main()
