"""A run directory of each format that there ever was, in tests/golden: later versions have to read them all.

`make golden` writes the one of the present format again. That is right when the format was never released;
after a release the old archive stays as it is, and a new format gets one of its own.
"""

import argparse
import io
import json
import os
import sys
import tarfile
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import soundfile

FOLDER = Path(__file__).with_name("golden")
NETWORK = {
    "num_mel_bins": [16],
    "conv_filters": [4, 8],
    "conv_kernels": [5, 3],
    "conv_strides": [2, 1],
    "conv_time_pools": [2, 2],
    "conv_band_pools": [2, 2],
    "lstm_inputs": [8],
    "lstm_units": [4],
    "attention_units": [4],
}
UNSURE = ("--functionals-regularization", "10000")  # a confident model would give the same whatever is wrong
SKIPPED = ("tensorboard", "corpus", "README.md", "tf_serving_warmup_requests")


def waveform():
    """A rising tone in noise, 1 s at 16 kHz, the same ones for ever."""
    time = np.arange(16_000) / 16_000
    noise = np.random.RandomState(0).normal(size=len(time))  # this generator's numbers never change
    samples = np.round(2**15 * (0.3 * np.sin(2 * np.pi * (200 + 400 * time) * time) + 0.05 * noise))
    return (samples / 2**15).astype(np.float32)


def wav():
    file = io.BytesIO()
    soundfile.write(file, waveform(), 16_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


def unpack(archive, folder):
    """Return the run directory in an archive, and the probabilities that its model gave when it was new."""
    with tarfile.open(archive) as packed:
        packed.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 brought it
        packed.extractall(folder)
    return Path(folder, "run"), json.loads(Path(folder, "run", "expected.json").read_text())["probabilities"]


def make():
    """Train a tiny network, note what it says, and pack its run directory."""
    from ser_keras.cli import main
    from ser_keras.inference import Predictor
    from ser_keras.runs.reading import FORMAT_VERSION
    from ser_keras.synthetic import make_corpus

    archive = FOLDER / f"format_{FORMAT_VERSION}.tar.xz"
    words = [word for name, values in NETWORK.items() for word in ("--" + name.replace("_", "-"), *map(str, values))]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # so that no path of this machine is kept
        make_corpus("corpus", num_speakers=3, clips_per_emotion=2, emotions=("neutral", "sad", "angry"))
        data = ["--dataset-path", "corpus", "--output-dir", "run", "--batch-size", "4", "--epochs", "2"]
        if main(["train", "--preset", "light", *data, *UNSURE, *words]):
            sys.exit("training failed")
        Path("golden.wav").write_bytes(wav())
        expected = Predictor("run/export/1").predict("golden.wav").probabilities
        Path("run", "expected.json").write_text(json.dumps({"probabilities": expected}, indent=2) + "\n")
        FOLDER.mkdir(exist_ok=True)
        with tarfile.open(archive, "w:xz", preset=9) as packed:
            packed.add("run", filter=_essential)
    print(f"{archive}: {archive.stat().st_size} bytes, {expected}")


def _essential(member):
    name = Path(member.name).name
    if name in SKIPPED or name.endswith((".png", ".html")):
        return None
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    make()
