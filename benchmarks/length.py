"""How a run's model scores recordings that are several times as long as those it was trained on.

    python benchmarks/length.py --run runs/emodb --dataset-path path/to/emodb

The recordings are clips of one test speaker and emotion in a row, at one level. A good score is at least that of single
clips, since there is more to go by.
"""

import argparse
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.metrics import balanced_accuracy_score

from ser_keras.files import read_csv
from ser_keras.model import ParallelModel, load_model
from ser_keras.preprocessing import read_recordings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", required=True, help="run directory of `ser-keras train`")
    parser.add_argument("--dataset-path", required=True, help="the corpus of that run")
    parser.add_argument("--numbers", type=int, nargs="+", default=(1, 2, 3, 8), help="clips in a row")
    options = parser.parse_args()
    model = load_model(options.run)
    rows = read_csv(Path(options.run) / "split.csv")
    test = {row["fingerprint"] for row in rows if row["subset"] == "test"}
    recordings = read_recordings(options.dataset_path, audio=model.audio)
    clips = [
        (each.speaker_id, each.emotion, recordings.waveform(index))
        for index, each in enumerate(recordings.utterances)
        if recordings.fingerprints[each] in test
    ]
    clips.sort(key=lambda clip: clip[:2])
    for number in options.numbers:
        joined = [
            (emotion, np.concatenate([_at_one_level(clip[2]) for clip in part]))
            for (_, emotion), group in groupby(clips, key=lambda clip: clip[:2])
            for part in zip(*[iter(group)] * number, strict=False)  # whole ones
        ]
        seconds = np.mean([len(waveform) for _, waveform in joined]) / model.audio.sample_rate
        print(f"{number} in a row: {score(model, joined):.3f}, {len(joined)} recordings of {seconds:.1f} s", flush=True)


def score(model: ParallelModel, recordings: Sequence[tuple[str, np.ndarray]]) -> float:
    """Return the UAR of pairs of an emotion and a waveform."""
    predict = tf.function(lambda inputs: model(inputs, training=False), reduce_retracing=True)
    answers = []
    for _, waveform in recordings:
        inputs = {"waveform": tf.constant(waveform[None]), "num_samples": tf.constant([len(waveform)], tf.int32)}
        answers.append(model.emotions[int(predict(inputs).numpy().argmax())])
    return balanced_accuracy_score([emotion for emotion, _ in recordings], answers)


def _at_one_level(waveform: np.ndarray) -> np.ndarray:
    return (0.05 * waveform / max(np.sqrt(np.square(waveform).mean()), 1e-6)).astype(np.float32)


if __name__ == "__main__":
    main()
