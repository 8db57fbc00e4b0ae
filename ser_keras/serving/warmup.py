"""Warm-up records: requests that TF Serving runs on a new version before those of clients.

The first request of each kind and size takes a multiple of the later ones' time. The format is TF Serving's:
`assets.extra/tf_serving_warmup_requests`, a TFRecord of PredictionLog messages.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ser_keras.audio_io.sound_files import encode_wav
from ser_keras.serving.protocol import PredictionLog, PredictLog, predict_request

FILE_NAME = "tf_serving_warmup_requests"


def write_warmup(path: Path, *, model: str, batch_sizes: tuple[int, ...], sample_rate: int) -> None:
    """Write one request for each signature and batch size.

    Args:
        path: the file to write.
        model: name of the model on the server.
        batch_sizes: numbers of clips to which the server pads its batches.
        sample_rate: in Hz.
    """
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in _requests(batch_sizes, sample_rate):
            request = predict_request(model, signature, inputs)
            writer.write(PredictionLog(predict_log=PredictLog(request=request)).SerializeToString())


def _requests(batch_sizes: tuple[int, ...], sample_rate: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield signatures and inputs: a second of noise, coarse enough to keep the file small."""
    noise = (np.random.default_rng(0).normal(size=sample_rate) * 0.1).astype(np.float32)
    contents = encode_wav(noise, sample_rate, subtype="PCM_U8")
    for size in batch_sizes:
        for signature in ("serving_default", "timeline", "embedding"):
            yield signature, {"audio_bytes": [contents] * size}
        yield (
            "waveform",
            {
                "waveform": np.repeat(noise[None], size, axis=0),
                "num_samples": np.full(size, len(noise), np.int32),
                "sample_rate": np.full(size, sample_rate, np.int32),
            },
        )
