"""What adaptation without labels is worth on another corpus, and how many recordings it takes.

    python benchmarks/adaptation.py --run runs/emodb --dataset-path path/to/ravdess

For each number n and several draws, the normalisation is fitted to n random recordings of half of the corpus's
speakers, without their labels, and all recordings of the other half are scored; then the halves change
places. So no recording that is scored was adapted to. The choice is among the emotions that both sides know.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from halves import halves_by_speaker
from sklearn.metrics import balanced_accuracy_score
from tqdm import tqdm

from ser_keras.adaptation import adapt_normalization
from ser_keras.corpora import Utterance
from ser_keras.evaluation import evaluate_model
from ser_keras.evaluation.scoring import CorpusScore
from ser_keras.model import ParallelModel, load_model
from ser_keras.pipeline.recordings import Recordings
from ser_keras.preprocessing import clip_batches, read_recordings

NUMBERS = (0, 1, 2, 5, 10, 20, 50, 100, 200)


def main() -> None:
    options = _options()
    model = load_model(options.run)
    recordings = read_recordings(options.dataset_path, audio=model.audio)
    halves = halves_by_speaker([each for each in recordings.utterances if each.emotion in model.emotions])
    print(f"{len(halves[0])} and {len(halves[1])} clips; UAR of {options.draws} draws: mean (least to most)")
    for number in NUMBERS:
        draws = range(options.draws if number else 1)
        uars = [score(model, recordings, halves, number, draw) for draw in tqdm(draws, leave=False)]
        print(f"{number:4d} recordings: {np.mean(uars):.3f} ({min(uars):.3f} to {max(uars):.3f})", flush=True)


def score(model: ParallelModel, recordings: Recordings, halves: Sequence[Sequence[Utterance]], number: int, draw: int):
    """Return the UAR over both halves, each answered by a model that was adapted to `number` clips of the other."""
    random = np.random.default_rng([draw, number])
    labels, answers = [], []
    for scored, other in (halves, halves[::-1]):
        adapted = model
        if number:
            chosen = random.choice(len(other), size=min(number, len(other)), replace=False)
            positions = [recordings.utterances.index(other[index]) for index in chosen]
            adapted = adapt_normalization(model, [recordings.waveform(position) for position in positions])
        report = evaluate_model(adapted, clip_batches(recordings, scored, model.emotions, batch_size=32))
        shared = CorpusScore(report, tuple(scored), {}).among_shared
        names = np.array(shared.emotions)
        labels.extend(names[shared.labels])
        answers.extend(names[shared.probabilities.argmax(axis=1)])
    return balanced_accuracy_score(labels, answers)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", required=True, help="run directory of the training")
    parser.add_argument("--dataset-path", required=True, help="the other corpus")
    parser.add_argument("--draws", type=int, default=5, help="random choices of the recordings for each number")
    return parser.parse_args()


if __name__ == "__main__":
    main()
