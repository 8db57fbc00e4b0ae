"""Does a model of one stack give the same in another? `make test-latest` asks both environments in turn.

python tests/stacks.py write FOLDER    trains nothing: makes a model of random weights, exports it, notes its answers
python tests/stacks.py read FOLDER     loads both files and compares
"""

import json
import os
import platform
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import golden
import keras
import numpy as np
import soundfile
import tensorflow as tf

from ser_keras.config import ModelConfig
from ser_keras.export import export_model
from ser_keras.inference import Predictor
from ser_keras.model import ParallelModel, load_model, save_model
from ser_keras.pipeline.datasets import pad_clips

TOLERANCE = 1e-5


def write(folder):
    """Make a model whose weights are random, so that nothing in it is zero by chance, and which is unsure."""
    keras.utils.set_random_seed(0)
    model = ParallelModel(3, emotions=("neutral", "sad", "angry"), config=ModelConfig())
    model.adapt_normalization([inputs()])
    random = np.random.RandomState(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            continue
        for weight in layer.weights:  # moving statistics and temperature too
            weight.assign(weight + 0.05 * random.normal(size=weight.shape))
    folder.mkdir(parents=True, exist_ok=True)
    save_model(model, folder / "model.keras")
    export_model(model, folder / "1")
    for name, samples in clips().items():
        soundfile.write(folder / name, samples, 16_000, subtype="PCM_16")
    given = answers(folder)
    if np.max(list(given.values())) > 0.95:
        sys.exit(f"{given}: a model that is sure of itself gives the same whatever is wrong with it")
    (folder / "answers.json").write_text(json.dumps({"stack": stack(), **given}))
    print(f"written by {stack()}: {given['SavedModel']}")


def clips():
    """The same sounds of several lengths and levels for ever."""
    whole = golden.waveform()
    return {"whole.wav": whole, "short.wav": whole[:5_000], "soft.wav": np.tile(whole[::-1] / 8, 3)}


def inputs():
    waveform, num_samples = pad_clips(list(clips().values()))
    return {"waveform": waveform, "num_samples": num_samples}


def answers(folder):
    """The probabilities of the same clips by the Keras file, in one padded batch, and by the export."""
    given = load_model(folder / "model.keras")(inputs(), training=False)
    predictions = Predictor(folder / "1").predict([folder / name for name in clips()])
    return {
        "model.keras": np.asarray(given).tolist(),
        "SavedModel": [list(each.probabilities.values()) for each in predictions],
    }


def read(folder):
    noted = json.loads((folder / "answers.json").read_text())
    if noted["stack"] == stack():
        sys.exit(f"{folder} was written by this very stack, {stack()}: nothing would be compared")
    for name, given in answers(folder).items():
        difference = float(np.abs(np.array(given) - noted[name]).max())
        print(f"{name} of {noted['stack']} in {stack()}: differs by {difference:.2g}")
        if not difference <= TOLERANCE:
            sys.exit(f"more than {TOLERANCE:g}")


def stack():
    return f"Python {platform.python_version()}, TensorFlow {tf.__version__}, Keras {keras.__version__}"


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](Path(sys.argv[2]))
