"""The network under Keras's JAX backend, in a process that has no TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ser_keras
from ser_keras.model import save_model
from ser_keras.pipeline.datasets import pad_clips

pytest.importorskip("jax")

SCRIPT = """
import sys

class NoTensorFlow:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoTensorFlow())
import numpy as np
from ser_keras.model import load_model

model = load_model(sys.argv[1])
inputs = dict(np.load(sys.argv[2]))
np.save(sys.argv[3], np.asarray(model(inputs)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["restless_model", "encoder_model"])
def test_jax_gives_the_probabilities_of_tensorflow(request, name, noise, tmp_path):
    """Clips of several lengths in one batch, with samples behind the end of each that have to be ignored."""
    model = request.getfixturevalue(name)
    waveform, num_samples = pad_clips([noise(size, seed=size) for size in (1, 320, 9_000, 16_001, 40_000)])
    waveform = np.where(np.arange(waveform.shape[1]) < num_samples[:, None], waveform, 0.7).astype(np.float32)
    inputs = {"waveform": waveform, "num_samples": num_samples}
    files = [str(tmp_path / name) for name in ("model.keras", "inputs.npz", "probabilities.npy")]
    save_model(model, files[0])
    np.savez(files[1], **inputs)
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(Path(ser_keras.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", SCRIPT, *files], env=environment, check=True)
    np.testing.assert_allclose(np.load(files[2]), model(inputs), atol=1e-4)
