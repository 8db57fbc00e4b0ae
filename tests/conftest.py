"""Small things that many tests share: a corpus, a model that trains in seconds, WAV bytes."""

import io

import keras
import numpy as np
import pytest
import soundfile

from ser_keras.config import ModelConfig
from ser_keras.model import ParallelModel
from ser_keras.preprocessing import preprocess_data
from ser_keras.synthetic import make_corpus

SMALL = ModelConfig(
    conv_filters=(8, 16),
    conv_kernels=(5, 3),
    conv_strides=(2, 1),
    conv_pools=(2, 2),
    lstm_units=8,
    attention_units=8,
)


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A folder with 4 speakers, 3 emotions, 4 clips of each: 48 clips."""
    return make_corpus(
        tmp_path_factory.mktemp("synthetic") / "corpus",
        num_speakers=4,
        clips_per_emotion=4,
        emotions=("neutral", "sad", "angry"),
    )


@pytest.fixture
def splits(corpus):
    return preprocess_data(corpus, batch_size=8)


@pytest.fixture
def small_model():
    """An untrained model with all its parts and few weights."""
    return ParallelModel(3, emotions=("neutral", "sad", "angry"), config=SMALL)


@pytest.fixture
def noise():
    """Return a function from a number of samples to noise of speech's level."""

    def make(num_samples, seed=0):
        return (np.random.default_rng(seed).normal(size=num_samples) * 0.1).astype(np.float32)

    return make


@pytest.fixture
def wav_bytes():
    """Return a function from samples to the bytes of a WAV file."""

    def encode(samples, sample_rate=16_000, subtype="FLOAT"):
        file = io.BytesIO()
        soundfile.write(file, samples, sample_rate, format="WAV", subtype=subtype)
        return file.getvalue()

    return encode
