"""Sound to measure with: noise, WAV bytes, and corpora, real where there are some."""

import csv
import io
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

SECONDS = 3
SAMPLE_RATE = 16_000


class Corpus(NamedTuple):
    """Recordings to measure with, as a user would name them, and where they come from."""

    title: str
    path: Path


def noise(*shape: int) -> np.ndarray:
    """Return noise, float32, 20 dB below full scale."""
    return (np.random.default_rng(0).normal(size=shape) * 0.1).astype(np.float32)


def wav(seconds: float = SECONDS, sample_rate: int = SAMPLE_RATE) -> bytes:
    """Return a 16-bit mono WAV file of noise."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, noise(round(seconds * sample_rate)), sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def find_corpus(folder: Path, names: Sequence[str] = ("ravdess", "emodb")) -> Corpus:
    """Return the first real corpus of SER_KERAS_DATA that is there, else a synthetic one made in `folder`."""
    data = os.environ.get("SER_KERAS_DATA")
    for name in names if data else ():
        if Path(data, name).is_dir():
            return Corpus(name, Path(data, name))
    return synthetic_corpus(folder)


def synthetic_corpus(folder: Path) -> Corpus:
    from ser_keras.synthetic import make_corpus

    return Corpus("synthetic corpus", make_corpus(folder / "synthetic", num_speakers=8, clips_per_emotion=8))


def repeated(corpus: Corpus, folder: Path, *, size: int) -> Corpus:
    """Return a corpus of `size` clips under names of their own, links to those of another, over and over.

    The links lie evenly over the corpus, so that a smaller one has the same speakers and emotions.
    """
    from ser_keras.corpora import read_corpus

    known = read_corpus(corpus.path)
    folder.mkdir()
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "emotion", "speaker"))
        for index in range(size):
            utterance = known[(index * max(1, len(known) // size) if size < len(known) else index) % len(known)]
            name = f"{index:06d}{utterance.path.suffix}"
            (folder / name).symlink_to(utterance.path.resolve())
            writer.writerow((name, utterance.emotion, utterance.speaker))
    return Corpus(f"{size} clips of {corpus.title}", folder)


def quiet() -> None:
    """Let the package's warnings pass: clips that are there twice are meant here."""
    logging.getLogger("ser_keras").setLevel(logging.ERROR)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
