"""Say which emotion each recording holds."""

import argparse
from pathlib import Path

from ser_keras.cli.adapting import add_adapt_flag, load_adapted
from ser_keras.errors import require


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `predict`."""
    parser.add_argument("paths", nargs="+", metavar="FILE", help="recordings of any format")
    parser.add_argument(
        "--abstain-below",
        type=float,
        metavar="X",
        help="say 'abstained' where the probability is lower, 0 to 1 (default: as the model was exported)",
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="run directory, or exported model")
    add_adapt_flag(parser)


def run(options: argparse.Namespace) -> None:
    """Print one line for each file: label, probability, path."""
    from ser_keras.inference import Predictor

    if options.abstain_below is not None:
        require(0 <= options.abstain_below <= 1, "abstain_below", options.abstain_below, "0 to 1")
    if options.adapt is None:
        predictor = Predictor(_export_of(Path(options.model)))
    else:
        predictor = Predictor.of_model(load_adapted(options, options.model))
    for path in options.paths:
        prediction = predictor.predict(path)
        if options.abstain_below is not None:
            prediction = prediction.abstain(options.abstain_below)
        label = "abstained" if prediction.abstained else prediction.label
        print(f"{label:<12} {prediction.confidence:.3f}  {prediction.source}")


def _export_of(directory: Path) -> Path:
    """Return the newest exported version of a run directory, or the directory itself."""
    versions = [each for each in (directory / "export").glob("*") if each.name.isdigit()]
    return max(versions, key=lambda each: int(each.name), default=directory)
