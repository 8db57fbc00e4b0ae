"""Corpora from audb of audEERING, and from TensorFlow Datasets."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ser_keras.corpora.download.sources import Source
from ser_keras.corpora.naming import CORPORA_BY_NAME
from ser_keras.errors import InputError
from ser_keras.files import whole_directory, write_bytes, write_csv
from ser_keras.labels import canonical_emotion


def load_by_audb(source: Source, target: Path) -> Path:
    """Fetch a corpus from audEERING's public repository: its files, named as published.

    Raises:
        InputError: audb is not installed, or does not have the corpus.
    """
    if source.audb is None:
        raise InputError(f"{source.title}: not in audb's public repository; use `origin='publisher'`")
    audb = _library("audb", source)
    with whole_directory(target) as part:
        audb.load_to(str(part), source.audb)
    return target


def load_by_tfds(source: Source, target: Path) -> Path:
    """Fetch a corpus by TensorFlow Datasets, and write it as WAV files with a manifest.

    Raises:
        InputError: tensorflow_datasets is not installed, or does not have the corpus.
    """
    if source.tfds is None:
        raise InputError(f"{source.title}: not in TensorFlow Datasets; use `origin='publisher'`")
    tfds = _library("tensorflow_datasets", source)
    data, info = tfds.load(source.tfds, split="train+validation+test", with_info=True)
    with whole_directory(target) as part:
        rows = [
            _write_clip(part, number, each, info.features, source) for number, each in enumerate(tfds.as_numpy(data), 1)
        ]
        write_csv(part / "manifest.csv", ("path", "emotion", "speaker"), rows)
    return target


def _write_clip(part: Path, number: int, example: Any, features: Any, source: Source) -> tuple[str, str, str]:
    from ser_keras.audio_io.sound_files import encode_wav

    name = f"{number:05}.wav"
    samples = np.asarray(example["audio"]).astype(np.int16)  # in TensorFlow Datasets they are int64
    write_bytes(part / name, encode_wav(samples, features["audio"].sample_rate))
    label = features["label"].int2str(int(example["label"]))
    emotion = CORPORA_BY_NAME[source.name].emotions.get(label.lower()) or canonical_emotion(label)
    return name, emotion, example["speaker_id"].decode()


def _library(name: str, source: Source) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.replace("_", "-")
        raise InputError(f"{source.title}: {name} is not installed; pip install {package}") from error
