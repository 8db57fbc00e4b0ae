"""Row: the most memory that training takes, on a corpus and on the same ten times over.

Each training runs in a process of its own, one epoch, with the cache on disk.
"""

import json
import resource
import statistics
import sys
import tempfile
from pathlib import Path

from clips import find_corpus, quiet, repeated
from lines import Measured
from timing import run_apart

RUNS = 3  # of each, in turn: the peak of one moves by 50 MB
TIMES = 10
NUM_CLIPS = 535


def growth() -> list[Measured]:
    with tempfile.TemporaryDirectory() as scratch:
        source = find_corpus(Path(scratch), ("emodb", "ravdess"))
        corpora = [repeated(source, Path(scratch, str(times)), size=times * NUM_CLIPS) for times in (TIMES, 1)]
        peaks = [[run_apart(__file__, str(corpus.path)) for corpus in corpora] for _ in range(RUNS)]
    large, small = map(statistics.median, zip(*peaks, strict=True))
    return [Measured(large, small, corpora[1].title, unit="MB", note=f"medians of {RUNS} runs")]


def peak_megabytes(dataset_path: str) -> float:
    """Train for one epoch and return the highest resident memory of this process."""
    quiet()
    from ser_keras.model import ParallelModel
    from ser_keras.preprocessing import preprocess_data
    from ser_keras.training import train_model

    with tempfile.TemporaryDirectory() as cache:
        splits = preprocess_data(dataset_path, cache=cache)
        train_model(ParallelModel(len(splits.emotions)), splits.train, splits.val, epochs=1, verbose=0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(json.dumps(peak_megabytes(sys.argv[1])))
