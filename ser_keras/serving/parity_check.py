"""Compare an export with its model, in a fresh process without Keras.

The process that wrote a SavedModel has loaded everything that the graph could need by mistake: custom operations,
Keras, this package. So the export runs in another one, `python -m ser_keras.serving.parity_check`, which has
TensorFlow alone, as a server has. Both compute in full float32, without TensorFloat-32, by which even two runs of one
graph on a GPU differ in the third digit.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ser_keras.audio_io.sound_files import encode_wav
from ser_keras.errors import InputError
from ser_keras.runs.reading import read_recipe
from ser_keras.serving.allowed_ops import check_graph

TOLERANCES = {"CPU": 1e-5, "GPU": 1e-4}
"""By device, the largest difference of a probability, or of a part of an embedding relative to the largest part.

A GPU chooses its kernels by the size of the batch, and they add in different orders.
"""

_ABSENT = ("keras", "tf_keras", "tensorflow_io", "librosa", "ser_keras.model")


class Agreement(NamedTuple):
    """Agreement of an export with its model.

    Attributes:
        difference: the largest difference of a probability.
        tolerance: the largest allowed difference on this machine.
        device: "CPU" or "GPU", on which both computed.
    """

    difference: float
    tolerance: float
    device: str


def check_export(model: Any, directory: Path) -> Agreement:
    """Compare every signature of an export with the live model on noise, a tone and speech.

    Args:
        model: the `ParallelModel` that was exported.
        directory: of the SavedModel.

    Raises:
        InputError: they differ by more than `TOLERANCES` allow, the graph does more than compute, or it cannot be
            loaded.
    """
    import tensorflow as tf

    check_graph(directory)
    clips = sample_clips(model.audio.sample_rate)
    with tempfile.TemporaryDirectory() as folder:
        given = _served(directory, clips, model.audio.sample_rate, Path(folder))
    window = round(read_recipe(directory)["serving"]["window_seconds"] * model.audio.sample_rate)
    with full_float32():
        wholes = {name: _live(model, clip) for name, clip in clips.items()}
        firsts = {name: _live(model, clip[:window]) for name, clip in clips.items()}
    differences = {}
    for index, name in enumerate(clips):
        for signature, outputs in given.items():
            probabilities, embedding = (firsts if signature == "timeline" else wholes)[name]
            wanted, unit = (embedding, np.abs(embedding).max()) if signature == "embedding" else (probabilities, 1.0)
            difference = np.abs(outputs[index] - wanted).max() / unit
            differences[f"{signature} of {name}"] = float(difference) if np.isfinite(difference) else np.inf
    worst, device = max(differences, key=differences.get), "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    if differences[worst] > TOLERANCES[device]:
        raise InputError(
            f"the exported graph is not the model: {worst} differs by {differences[worst]:.2g}, at most "
            f"{TOLERANCES[device]:g} is allowed on a {device}; nothing was exported"
        )
    difference = max(value for name, value in differences.items() if not name.startswith("embedding"))
    return Agreement(difference, TOLERANCES[device], device)


@contextmanager
def full_float32() -> Iterator[None]:
    """Switch TensorFloat-32 off within a `with` block."""
    import tensorflow as tf

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def sample_clips(sample_rate: int) -> dict[str, np.ndarray]:
    """Return near silence, noise, a tone and speech: float32 waveforms of different lengths."""
    from ser_keras.corpora.synthesis import draw_voice, synthesize_clip

    random = np.random.default_rng(0)
    time = np.arange(2 * sample_rate) / sample_rate
    return {
        "near silence": (random.normal(size=sample_rate) * 1e-3).astype(np.float32),
        "noise": (random.normal(size=sample_rate * 3 // 2) * 0.1).astype(np.float32),
        "a tone": (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32),
        "speech": synthesize_clip("happy", draw_voice("female", random), random, sample_rate=sample_rate),
    }


def _live(model: Any, clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities `(emotions,)` and embedding `(features,)` of one clip."""
    details = model.details({"waveform": clip[None], "num_samples": np.array([len(clip)], np.int32)}, training=False)
    return np.asarray(details["probabilities"])[0], np.asarray(details["embedding"])[0].astype(np.float32)


def _served(directory: Path, clips: Mapping[str, np.ndarray], sample_rate: int, folder: Path) -> dict[str, np.ndarray]:
    """Return the outputs of each signature, `(clips, ...)`, from another process."""
    lengths = [len(clip) for clip in clips.values()]
    waveform = np.full((len(clips), max(lengths)), 0.5, np.float32)  # the graph has to ignore noise in the padding
    for row, clip in zip(waveform, clips.values(), strict=True):
        row[: len(clip)] = clip
    files = {
        f"wav_{index}": np.frombuffer(encode_wav(clip, sample_rate), np.uint8)
        for index, clip in enumerate(clips.values())
    }
    np.savez(folder / "inputs.npz", waveform=waveform, num_samples=lengths, sample_rate=sample_rate, **files)
    command = [sys.executable, "-m", "ser_keras.serving.parity_check", str(directory), str(folder)]
    package = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": package, "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        reason = (process.stderr.strip() or f"exit code {process.returncode}").splitlines()[-1]
        raise InputError(f"the export cannot be run by TensorFlow alone: {reason}; nothing was exported")
    with np.load(folder / "outputs.npz") as outputs:
        return dict(outputs)


def _run(directory: Path, folder: Path) -> None:
    """Run every signature, in the fresh process, and write its outputs."""
    for name in _ABSENT:
        sys.modules[name] = None  # importing it raises ImportError
    import tensorflow as tf

    with np.load(folder / "inputs.npz") as inputs:
        count = len(inputs["num_samples"])
        audio_bytes = tf.constant([inputs[f"wav_{index}"].tobytes() for index in range(count)])
        waveform = tf.constant(inputs["waveform"])
        num_samples = tf.constant(inputs["num_samples"], tf.int32)
        sample_rate = tf.fill([count], tf.constant(inputs["sample_rate"], tf.int32))
    loaded = tf.saved_model.load(str(directory))  # the signatures need it alive
    run = loaded.signatures
    with full_float32():
        by_waveform = run["waveform"](waveform=waveform, num_samples=num_samples, sample_rate=sample_rate)
        outputs = {
            "serving_default": run["serving_default"](audio_bytes=audio_bytes)["probabilities"],
            "waveform": by_waveform["probabilities"],
            "timeline": run["timeline"](audio_bytes=audio_bytes)["probabilities"][:, 0],
            "embedding": run["embedding"](audio_bytes=audio_bytes)["embedding"],
        }
    np.savez(folder / "outputs.npz", **outputs)


if __name__ == "__main__":
    _run(Path(sys.argv[1]), Path(sys.argv[2]))
