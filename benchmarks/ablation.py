"""What each part of the default recipe is worth, on speakers that were not trained on.

    python benchmarks/ablation.py --dataset-path path/to/emodb --output build/ablation.csv

Every other speaker trains and the rest are scored, then the halves change places, once a seed and for each part
without it. Choices may rest on it, so none of its figures is a score. A training whose row the CSV file holds is
not repeated.
"""

import argparse
import csv
import itertools
import math
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from clips import quiet
from halves import halves_by_speaker

from ser_keras.config import DataConfig, ModelConfig, TrainConfig
from ser_keras.evaluation import evaluate_model
from ser_keras.model import ParallelModel
from ser_keras.pipeline.recordings import Recordings
from ser_keras.preprocessing import make_splits, read_recordings
from ser_keras.splits import Split
from ser_keras.training import train_model

DEFAULTS = "the defaults"
WITHOUT = {
    DEFAULTS: {},
    "random filter": {"filter_db": 0.0},
    "functionals branch": {"fusion_weight": 0.0},
    "trimmed silence": {"trim_db": 0.0},
    "mixed clips": {"mixup": 0.0},
    "masks over time and bands": {"num_masks": 0},
    "dropout": {"dropout": 0.0, "conv_dropout": 0.0},
    "label smoothing": {"label_smoothing": 0.0},
    "running average of the weights": {"ema_momentum": 0.0},
    "class weights": {"class_weights": False},
    "random parts of 3 s, whole clips instead": {"crop_seconds": 30.0},
}
CALIBRATED_BY = 8  # each eighth clip, for validation after each epoch takes as long as training would on so many
COLUMNS = ("without", "seed", "half", "uar", "seconds")


def main() -> None:
    quiet()
    options = _options()
    output = Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    done = _read(output)
    recordings = read_recordings(options.dataset_path)
    trainings = list(itertools.product(options.seeds, (0, 1)))
    print("| Without | UAR | against the defaults |\n|---|---|---|")
    for part, settings in WITHOUT.items():
        for seed, half in trainings:
            if (part, seed, half) not in done:
                start = time.perf_counter()
                uar = held_out_uar(recordings, half, seed, settings)
                done[part, seed, half] = uar
                _append(output, (part, seed, half, round(uar, 4), round(time.perf_counter() - start, 1)))
        print(_line(part, [(done[part, *each], done[DEFAULTS, *each]) for each in trainings]), flush=True)


def held_out_uar(recordings: Recordings, half: int, seed: int, settings: dict) -> float:
    """Return the UAR on one half of the speakers of a model that was trained on the other, with these settings."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    data, shape, training = (
        kind(**{name: value for name, value in settings.items() if name in kind.__dataclass_fields__})
        for kind in (DataConfig, ModelConfig, TrainConfig)
    )
    halves = halves_by_speaker(recordings.utterances)
    trained, scored = halves[half], halves[1 - half]
    split = Split(trained, scored[::CALIBRATED_BY], scored)  # a calibration changes no label
    splits = make_splits(recordings, split, config=data.replace(seed=seed))
    model = ParallelModel(len(splits.emotions), config=shape)
    train_model(model, splits.train, splits.val, config=training, verbose=0)
    return evaluate_model(model, splits.test).unweighted_average_recall


def _line(part: str, pairs: Sequence[tuple[float, float]]) -> str:
    """Return the mean UAR without a part, and what it loses against the defaults, with its standard error."""
    without, whole = np.array(pairs).T
    differences = without - whole
    error = differences.std(ddof=1) / math.sqrt(len(pairs))
    return f"| {part} | {without.mean():.3f} | {differences.mean():+.3f} ± {error:.3f} |"


def _read(path: Path) -> dict[tuple[str, int, int], float]:
    """Return the UAR of each training that the file holds."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {(row["without"], int(row["seed"]), int(row["half"])): float(row["uar"]) for row in csv.DictReader(file)}


def _append(path: Path, row: Sequence) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(COLUMNS)
        writer.writerow(row)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset-path", required=True, help="a corpus of several speakers")
    parser.add_argument("--output", required=True, help="CSV file with a row a training, which is gone on with")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    return parser.parse_args()


if __name__ == "__main__":
    main()
