"""Score a trained run on another corpus, or on a part of its own."""

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_keras.cli.adapting import add_adapt_flag, load_adapted
from ser_keras.cli.flags import add_config_flags, config_from_flags
from ser_keras.cli.output import Outcome
from ser_keras.config import DataConfig
from ser_keras.errors import require

if TYPE_CHECKING:
    from ser_keras.evaluation import Report
    from ser_keras.model import ParallelModel

_WITHOUT = ("split", "val_fraction", "test_fraction", "crop_seconds", "seed")  # nothing is split or trained


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `evaluate`."""
    parser.add_argument("--model", required=True, metavar="RUN", help="run directory of `ser-keras train`")
    parser.add_argument(
        "--dataset-path",
        nargs="+",
        required=True,
        metavar="DIR",
        help="labelled corpus, as for `train`; clips with a label that the model does not know are skipped, and the "
        "model predicts any of its emotions",
    )
    parser.add_argument(
        "--output-dir",
        metavar="DIR",
        help="directory to create, for metrics.json, predictions.csv and confusion_matrix.png, and with --adapt for "
        "the adapted model.keras (default: only print)",
    )
    add_adapt_flag(parser)
    parser.add_argument(
        "--adapt-clips",
        type=int,
        metavar="N",
        help="adapt the model to each speaker of the corpus in turn, by N clips without their labels; 0: by all",
    )
    add_config_flags(parser, DataConfig(), "data", without=_WITHOUT)


def run(options: argparse.Namespace) -> Outcome:
    """Print the score, and write every figure and prediction."""
    config = config_from_flags(DataConfig(), options)

    from ser_keras.evaluation.scoring import score_corpus
    from ser_keras.model import save_model
    from ser_keras.runs import new_directory, write_environment

    started = time.monotonic()
    with new_directory(options.output_dir) if options.output_dir else nullcontext() as directory:
        model = load_adapted(options, options.model)
        how = {"run": _run_of(options.model), "config": config, "evaluate": _evaluation(model, options.adapt_clips)}
        score = score_corpus(model, options.dataset_path, **how)
        print(score)
        if directory is not None:
            score.save(directory)
            _write_facts(directory, options, config, model.adaptation)
            if options.adapt:
                save_model(model, directory / "model.keras")
            write_environment(directory, time.monotonic() - started)
            print(f"\n{directory}   metrics.json, predictions.csv, confusion_matrix.png, report.html")
    return Outcome({"output_dir": options.output_dir, "metrics": score.to_dict()})


def _evaluation(model: "ParallelModel", clips: int | None) -> "Callable[..., Report] | None":
    """Return how to score: with the model adapted to each speaker, or as it is for None."""
    from ser_keras.adaptation import evaluate_by_speaker

    if clips is None:
        return None
    require(clips >= 0, "adapt_clips", clips, "0 or more")
    return partial(evaluate_by_speaker, model, clips=clips or None)


def _run_of(model: str) -> Path:
    """Return the run directory, from itself or from its model file."""
    path = Path(model)
    return path if path.is_dir() else path.parent


def _write_facts(
    directory: Path, options: argparse.Namespace, config: DataConfig, adaptation: dict[str, Any] | None
) -> None:
    from ser_keras.files import write_json

    data = {name: value for name, value in config.to_dict().items() if name not in _WITHOUT}
    facts = {
        "model": options.model,
        "dataset_path": options.dataset_path,
        "adapt": options.adapt,
        "adapt_clips": options.adapt_clips,
    }
    write_json(directory / "config.json", {**facts, "adaptation": adaptation, "data": data})
