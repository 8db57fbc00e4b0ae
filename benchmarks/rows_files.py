"""Rows on a folder of recordings: from files to batches, nothing decoded beforehand."""

import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path

import librosa
from clips import Corpus, find_corpus, quiet, synthetic_corpus
from lines import Measured
from timing import medians


def corpus_to_batches() -> list[Measured]:
    return _measure(find_corpus)


def studio_files_to_batches() -> list[Measured]:
    return _measure(_at_48_khz)


def _measure(find: Callable[[Path], Corpus]) -> list[Measured]:
    from ser_keras.corpora import read_corpus

    quiet()
    with tempfile.TemporaryDirectory() as scratch, multiprocessing.get_context("spawn").Pool(2) as pool:
        corpus = find(Path(scratch))
        files = [utterance.path for utterance in read_corpus(corpus.path)]
        ours, loop, by_pool, disk = medians(
            lambda: _batches(corpus),
            lambda: [_load(file) for file in files],
            lambda: pool.map(_load, files),
            lambda: [file.read_bytes() for file in files],
            repeats=7,
        )
    return [
        Measured(ours, loop, "librosa.load in a loop", note=f"{corpus.title}, {len(files)} files"),
        Measured(ours, by_pool, "librosa.load in a pool of 2"),
        Measured(ours, disk, "reading the bytes alone"),
    ]


def _batches(corpus: Corpus) -> None:
    from ser_keras.preprocessing import preprocess_data

    for subset in preprocess_data(corpus.path):
        for _ in subset:
            pass


def _load(file: Path):
    return librosa.load(file, sr=16_000)[0]


def _at_48_khz(folder: Path) -> Corpus:
    """The synthetic corpus at the rate at which many corpora are published."""
    import soundfile
    import soxr

    corpus = synthetic_corpus(folder)
    for file in corpus.path.rglob("*.wav"):
        samples, rate = soundfile.read(file, always_2d=True)
        soundfile.write(file, soxr.resample(samples[:, 0], rate, 48_000), 48_000, subtype="PCM_16")
    return Corpus(f"{corpus.title} at 48 kHz", corpus.path)
