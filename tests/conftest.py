"""Small things that many tests share: a corpus, a model that trains in seconds, WAV bytes."""

import fcntl
import io
import os
import random
from contextlib import redirect_stdout
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from ser_keras.config import ExportConfig, ModelConfig
from ser_keras.export import export_model
from ser_keras.model import ParallelModel
from ser_keras.model.functionals_branch import fit_functionals_branch
from ser_keras.pipeline.batches import labelled_batches
from ser_keras.pipeline.datasets import pad_clips
from ser_keras.preprocessing import preprocess_data
from ser_keras.serving.parity_check import Agreement
from ser_keras.synthetic import make_corpus

SMALL = ModelConfig(
    conv_filters=(8, 16),
    conv_kernels=(5, 3),
    conv_strides=(2, 1),
    conv_time_pools=(2, 2),
    conv_band_pools=(2, 2),
    lstm_units=8,
    attention_units=8,
)

WITH_ENCODER = ModelConfig(
    encoder_blocks=(1,),
    encoder_size=64,
    conv_filters=(8,),
    conv_kernels=(3,),
    conv_strides=(1,),
    conv_time_pools=(1,),
    conv_band_pools=(1,),
    lstm_units=8,
    lstm_inputs=8,
    attention_units=8,
    functional_lags=(),
    functional_trends=False,
)
"""Its encoder has random weights: the features are as good as any, where nothing is to be recognised."""


def stir(model, clips):
    """Fit a model with an encoder to clips, of one emotion after the other, and move its weights off zeros and ones."""
    waveform, num_samples = pad_clips(clips)
    encoded = model.parts.encoder({"waveform": waveform, "num_samples": num_samples})
    model.adapt_normalization([encoded])
    labels = tf.one_hot(np.arange(len(clips)) % model.num_emotions, model.num_emotions)
    fit_functionals_branch(model, [[(encoded, labels)]], 10.0)
    random = np.random.default_rng(0)
    for weight in model.parts.head.trainable_weights:
        weight.assign(weight + 0.1 * random.normal(size=weight.shape))


def pytest_configure(config):
    """Give each worker a numba cache of its own (numba#10128) and one thread, as the workers already fill the cores.

    In the quick tests TensorFlow runs graphs as they are traced: to optimise one takes longer than to run it here. All
    tests of a session do the same, because the workers share what they train and export. The slow tests run graphs
    as users do.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    os.environ["NUMBA_CACHE_DIR"] = str(config.cache.mkdir(f"numba-{worker or 'main'}"))
    if worker:
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    if config.option.markexpr == "not slow":
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture(scope="session")
def make_once(tmp_path_factory):
    """Return a function from a name and `make(folder)` to the folder, which one worker fills for all."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name, make):
        folder, done = base / name, base / f"{name}.done"
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the others wait; the end of the block releases it
            if not done.exists():
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return once


@pytest.fixture(autouse=True)
def _seeded():
    """Seed all that is drawn at random; Keras takes its seeds from `random`.

    `keras.utils.set_random_seed` would also drop TensorFlow's compiled kernels: each shared graph would be optimised
    again in every test.
    """
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session", autouse=True)
def _unchecked_exports():
    """Skip the check of exports in a fresh process; tests/test_export.py turns it on again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ser_keras.export.check_export", lambda *_: Agreement(0.0, 1e-5, "CPU"))
        yield


@pytest.fixture(scope="session")
def corpus(make_once):
    """A folder with 4 speakers, 3 emotions, 4 clips of each: 48 clips."""
    options = {"num_speakers": 4, "clips_per_emotion": 4, "emotions": ("neutral", "sad", "angry")}
    return make_once("synthetic", lambda folder: make_corpus(folder / "corpus", **options)) / "corpus"


@pytest.fixture(scope="session")
def trained_run(corpus, make_once, _unchecked_exports):
    """The directory of a run of `ser-keras train` with `QUICK`, and what it printed; tests must not change it."""
    from command_line import QUICK, main  # it needs `SMALL` of this module

    def make(folder):
        with (folder / "printed.txt").open("w") as printed, redirect_stdout(printed):
            assert main(["train", "--dataset-path", str(corpus), "--output-dir", str(folder / "run"), *QUICK]) == 0

    folder = make_once("trained", make)
    return SimpleNamespace(directory=folder / "run", printed=(folder / "printed.txt").read_text())


@pytest.fixture
def splits(corpus):
    return preprocess_data(corpus, batch_size=8)


@pytest.fixture
def small_model():
    """An untrained model with all its parts and few weights."""
    return ParallelModel(3, emotions=("neutral", "sad", "angry"), config=SMALL)


@pytest.fixture(scope="session")
def restless_model(corpus):
    """A model with fitted normalisation and functionals, and random weights: as hard to reproduce as a trained one."""
    keras.utils.set_random_seed(0)
    model = ParallelModel(3, emotions=("neutral", "sad", "angry"), config=SMALL)
    train = labelled_batches(preprocess_data(corpus).train, 3)
    model.adapt_normalization(train)
    fit_functionals_branch(model, [train], 100.0)
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.04 * random.normal(size=weight.shape))
    return model


@pytest.fixture(scope="session")
def encoder_model(noise):
    """A fitted model behind a random encoder, whose weights have 16 bits as those that are published."""
    keras.utils.set_random_seed(0)
    model = ParallelModel(3, emotions=("neutral", "sad", "angry"), config=WITH_ENCODER)
    for weight in model.get_layer("encoder").weights:
        weight.assign(weight.numpy().astype(np.float16))
    stir(model, [noise(size, seed=size) for size in range(4_000, 24_000, 2_000)])
    return model


@pytest.fixture(scope="session")
def exported(restless_model, make_once, _unchecked_exports):
    """The folder of version 1 of `restless_model`; longer recordings than 20 s are too long for it."""
    config = ExportConfig(max_seconds=20.0, max_timeline_seconds=60.0, batch_sizes=(1, 4))
    folder = make_once("models", lambda folder: export_model(restless_model, folder / "ser", config=config))
    return folder / "ser" / "1"


@pytest.fixture(scope="session")
def served(exported):
    """Return a function from a signature's name and inputs to NumPy outputs, by the loaded export."""
    loaded = tf.saved_model.load(str(exported))

    def ask(signature, **inputs):
        outputs = loaded.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    ask.signatures = loaded.signatures
    ask.loaded = loaded  # it must outlive its signatures
    return ask


@pytest.fixture(scope="session")
def noise():
    """Return a function from a number of samples to noise of speech's level."""

    def make(num_samples, seed=0):
        return (np.random.default_rng(seed).normal(size=num_samples) * 0.1).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def wav_bytes():
    """Return a function from samples to the bytes of a WAV file."""

    def encode(samples, sample_rate=16_000, subtype="FLOAT"):
        file = io.BytesIO()
        soundfile.write(file, samples, sample_rate, format="WAV", subtype=subtype)
        return file.getvalue()

    return encode
