"""`make scaling`: how the cost grows with the length of a clip, the size of a batch and that of a corpus.

Two cores, each table in a process of its own, and each corpus too, for its peak memory. The corpora are
links to the clips of the synthetic one, 1 to 2 s long, kept in memory and in a folder; the largest takes
minutes, and 8 GB of memory. The tables go to the terminal and to benchmarks/scaling.json.
"""

import argparse
import json
import resource
import tempfile
from pathlib import Path
from typing import Any

from bench import machine
from timing import limit_cores, medians, run_apart, seconds_of

RESULTS = Path(__file__).with_name("scaling.json")
CORES = 2
CLIP_SECONDS = (1, 3, 10, 30, 60, 180, 600)
BATCH_SIZES = (1, 4, 16, 32, 64, 128, 256)
CORPUS_SIZES = (100, 1_000, 10_000, 100_000)

Rows = list[dict[str, float | str]]


def main() -> None:
    options = _options()
    if options.table:
        limit_cores(CORES)
        print(json.dumps(TABLES[options.table]()))
    elif options.corpus:
        limit_cores(CORES)
        print(json.dumps(one_corpus(options.corpus, cache=options.cache)))
    else:
        described = machine()
        print(*(f"{name}: {value}" for name, value in described.items()), sep="\n")
        tables = {name: show(name, run_apart(__file__, "--table", name)) for name in TABLES}
        RESULTS.write_text(json.dumps({"machine": described, "cores": CORES, **tables}, indent=2) + "\n")


def clip_length() -> Rows:
    """One clip through the SavedModel, from WAV bytes."""
    import ours
    import tensorflow as tf
    from clips import wav

    serve, rows = ours.served(ours.build()), []
    for seconds in CLIP_SECONDS:
        contents = tf.constant([wav(seconds)])
        (time,) = medians(lambda contents=contents: serve(audio_bytes=contents))
        rows.append({"clip, s": seconds, "time, ms": time * 1e3, "ms a second of audio": time * 1e3 / seconds})
        rows[-1]["peak so far, MB"] = _peak_megabytes()
    return rows


def batch_size() -> Rows:
    """Clips of 3 s: through the SavedModel, from WAV bytes; and a training step."""
    import ours
    import tensorflow as tf
    from clips import wav

    model, rows = ours.build(), []
    serve = ours.served(model)
    for size in BATCH_SIZES:
        contents = tf.constant([wav()] * size)
        step = ours.training_step(ours.batch_of_noise(size), model)
        served, trained = medians(lambda contents=contents: serve(audio_bytes=contents), step)
        rows.append({"batch": size, "served, ms": served * 1e3, "clips/s": size / served})
        rows[-1] |= {"training step, ms": trained * 1e3, "trained clips/s": size / trained}
    return rows


def corpus_size() -> Rows:
    """Listing, splitting, decoding, and one pass over the batches, with the clips in memory and in a folder."""
    from clips import repeated, synthetic_corpus

    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        source = synthetic_corpus(Path(scratch))
        for size in CORPUS_SIZES:
            corpus = repeated(source, Path(scratch, str(size)), size=size)
            for kept_in in ("memory", "folder"):
                with tempfile.TemporaryDirectory(dir=scratch) as folder:
                    cache = folder if kept_in == "folder" else "memory"
                    stages = run_apart(__file__, "--corpus", str(corpus.path), "--cache", cache)
                rows.append({"clips": size, "kept in": kept_in, **stages})
    return rows


def one_corpus(path: str, *, cache: str) -> dict[str, float]:
    """Return the seconds of each stage of `preprocess_data`, once each, and the peak memory."""
    from clips import quiet

    from ser_keras.config import DataConfig
    from ser_keras.corpora import scan_corpus
    from ser_keras.preprocessing import load_recordings, make_splits, split_utterances

    quiet()
    config, kept = DataConfig(cache=cache), {}
    load = {"sample_rate": 16_000, "config": config}
    stages = {
        "list": lambda: kept.update(scan=scan_corpus(path).utterances),
        "split": lambda: kept.update(split=split_utterances(kept["scan"], config)),
        "decode": lambda: kept.update(recordings=load_recordings(kept["scan"], **load)),
        "datasets": lambda: kept.update(data=make_splits(kept["recordings"], kept["split"], config=config)),
        "one pass": lambda: [None for subset in kept["data"] for _ in subset],
    }
    return {f"{name}, s": seconds_of(stage) for name, stage in stages.items()} | {"peak, MB": _peak_megabytes()}


TABLES = {"clip length": clip_length, "batch size": batch_size, "corpus size": corpus_size}


def show(name: str, rows: Any) -> Rows:
    print(f"\n{name}: {TABLES[name].__doc__}")
    print("  ".join(f"{column:>22}" for column in rows[0]))
    for row in rows:
        print("  ".join(f"{value if isinstance(value, str) else format(value, '.6g'):>22}" for value in row.values()))
    return rows


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=TABLES, help="measure one table here and print it as JSON")
    parser.add_argument("--corpus", help="measure the corpus in this folder here and print it as JSON")
    parser.add_argument("--cache", default="memory", help="with --corpus: where the clips are kept, memory or a folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
