"""Rows on the exported model: one clip at a time on one core, batches on two."""

import io

import keras
import numpy as np
import ours
import soundfile
import tensorflow as tf
import yamnet
from clips import SAMPLE_RATE, SECONDS, noise, wav
from lines import Measured
from rows_audio import librosa_log_mel
from timing import alternate, medians, percentile

from ser_keras.model import ParallelModel

CALLS = 300
BATCH = 32


def one_clip() -> list[Measured]:
    model, samples = ours.build(), noise(SECONDS * SAMPLE_RATE)
    serve, network = ours.served(model), yamnet.compiled()
    contents, waveform = tf.constant([wav()]), tf.constant(samples)
    inputs = {"waveform": samples[None], "num_samples": np.array([samples.size], np.int32)}
    mine, theirs = alternate(lambda: serve(audio_bytes=contents), lambda: network(waveform), repeats=CALLS)
    also_mine, predicted = medians(lambda: serve(audio_bytes=contents), lambda: model.predict(inputs, verbose=0))
    p50, p99 = percentile(mine, 0.5), percentile(mine, 0.99)
    return [
        Measured(p50, note=f"{len(mine)} calls, from bytes"),
        Measured(p99, p50, "its own p50"),
        Measured(p50, percentile(theirs, 0.5), "a network of YAMNet's size, from samples"),
        Measured(also_mine, predicted, "Model.predict, from samples"),
    ]


def batch() -> list[Measured]:
    model = ours.build()
    serve, network = ours.served(model), _from_features(model)
    files = [wav()] * BATCH
    contents = tf.constant(files)

    def by_librosa():
        waveforms = [soundfile.read(io.BytesIO(file), dtype="float32")[0] for file in files]
        features = np.stack([librosa_log_mel(waveform) for waveform in waveforms])
        lengths = np.array([waveform.size for waveform in waveforms], np.int32)
        return network.predict([features, lengths], verbose=0)

    times = medians(lambda: serve(audio_bytes=contents), by_librosa)
    return [Measured(*times, "librosa one by one, then Model.predict", note=f"{BATCH / times[0]:.0f} clips a second")]


def _from_features(model: ParallelModel) -> keras.Model:
    """The same network behind its first layer."""
    return keras.Model([model.parts.log_mel, model.input["num_samples"]], model.output)
