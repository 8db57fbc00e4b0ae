"""Say which emotion each recording holds."""

import argparse
from pathlib import Path

from ser_keras.terminal import shown


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `predict`."""
    parser.add_argument("paths", nargs="+", metavar="FILE", help="recordings of any format")
    parser.add_argument("--model", required=True, metavar="DIR", help="run directory, or exported model")


def run(options: argparse.Namespace) -> None:
    """Print one line for each file: label, probability, path."""
    from ser_keras.inference import Predictor

    predictor = Predictor(_export_of(Path(options.model)))
    for path in options.paths:
        prediction = predictor.predict(path)
        print(f"{prediction.label:<12} {prediction.confidence:.3f}  {shown(prediction.source)}")


def _export_of(directory: Path) -> Path:
    """Return the newest exported version of a run directory, or the directory itself."""
    versions = [each for each in (directory / "export").glob("*") if each.name.isdigit()]
    return max(versions, key=lambda each: int(each.name), default=directory)
