"""`make bench`: how fast we are beside what a user would take instead, on one core.

Every row is a ratio of two medians measured in turn in one process, after a warm-up. The table goes to
the terminal, the figures to benchmarks/results.json.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import io
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr
import tensorflow as tf

from ser_keras.audio import wav_to_waveform
from ser_keras.config import AudioConfig
from ser_keras.export import export_model
from ser_keras.features import LogMelSpectrogram
from ser_keras.labels import EMOTIONS
from ser_keras.model import ParallelModel

REPEATS = 9
SECONDS = 3
RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    packages = {name: version(name) for name in ("tensorflow", "keras", "librosa", "soundfile", "soxr", "numpy")}
    machine = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, one core"
    print(machine, *(f"{name} {number}" for name, number in packages.items()), sep="\n")
    rows = [compare(*row) for row in (log_mel(), wav_to_16_khz(), *served_clips())]
    RESULTS.write_text(json.dumps({"machine": machine, "packages": packages, "rows": rows}, indent=2) + "\n")


def compare(name: str, ours: Callable[[], object], other_name: str, other: Callable[[], object]) -> dict[str, object]:
    """Time two functions in turn and print their medians and their ratio."""
    for function in (ours, other):
        function()
        function()
    times = [(_seconds(ours), _seconds(other)) for _ in range(REPEATS)]
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"{name:<38}{mine * 1e3:9.2f} ms  {other_name:<38}{theirs * 1e3:9.2f} ms  {theirs / mine:6.2f} x")
    return {"row": name, "seconds": mine, "against": other_name, "against_seconds": theirs, "ratio": theirs / mine}


def log_mel():
    recipe = AudioConfig()
    clips = _noise((32, SECONDS * recipe.sample_rate))
    lengths = tf.fill([32], clips.shape[1])
    layer = LogMelSpectrogram(**recipe.to_dict())
    compiled = tf.function(layer.__call__)
    batch = tf.constant(clips)

    def by_librosa():
        for clip in clips:
            power = librosa.feature.melspectrogram(
                y=clip,
                sr=recipe.sample_rate,
                n_fft=recipe.fft_length,
                win_length=recipe.frame_length,
                hop_length=recipe.frame_step,
                n_mels=recipe.num_mel_bins,
                fmin=recipe.min_hz,
                fmax=recipe.max_hz,
                pad_mode="constant",
            )
            librosa.power_to_db(power, top_db=None)

    return (
        "log-mel, batch of 32 clips of 3 s",
        lambda: compiled(batch, lengths),
        "librosa, one after another",
        by_librosa,
    )


def wav_to_16_khz():
    contents = _wav(48_000)
    compiled = tf.function(wav_to_waveform, input_signature=[tf.TensorSpec([], tf.string)])
    tensor = tf.constant(contents)

    def by_soundfile():
        samples, rate = soundfile.read(io.BytesIO(contents), dtype="float32")
        return soxr.resample(samples, rate, 16_000, quality="HQ")

    return "WAV bytes at 48 kHz to 16 kHz, 3 s", lambda: compiled(tensor), "soundfile + soxr HQ", by_soundfile


def served_clips():
    """Rows for one clip and for a batch: the same model exported, and as Keras runs it."""
    model = ParallelModel(8, emotions=EMOTIONS[:8])
    loaded = tf.saved_model.load(str(export_model(model, Path(tempfile.mkdtemp()) / "1")))
    for size, name in ((1, "one clip of 3 s"), (32, "32 clips of 3 s")):
        yield (f"{name}, SavedModel, from bytes", *_served(loaded, model, size))


def _served(loaded, model, size):
    contents = tf.constant([_wav(16_000)] * size)
    samples = _noise((size, SECONDS * 16_000))
    inputs = {"waveform": samples, "num_samples": np.full(size, samples.shape[1], np.int32)}

    def by_export():
        return loaded.signatures["serving_default"](audio_bytes=contents)

    return by_export, "Model.predict, from samples", lambda: model.predict(inputs, verbose=0)


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _noise(shape: tuple[int, ...]) -> np.ndarray:
    return (np.random.default_rng(0).normal(size=shape) * 0.1).astype(np.float32)


def _wav(sample_rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, _noise((SECONDS * sample_rate,)), sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


if __name__ == "__main__":
    main()
