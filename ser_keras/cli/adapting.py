"""The flag `--adapt` of `evaluate`, `predict` and `export`."""

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ser_keras.model import ParallelModel


def add_adapt_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--adapt`."""
    parser.add_argument(
        "--adapt",
        metavar="DIR",
        help="recordings of the new speaker, room or corpus, without labels: the normalisation is fitted to them; they "
        "should contain a mixture of emotions. The run itself is not changed",
    )


def load_adapted(options: argparse.Namespace, run: str) -> "ParallelModel":
    """Load a run's model; with `--adapt`, adapt it and print to how many recordings."""
    from ser_keras.adaptation import adapt_normalization
    from ser_keras.model import load_model

    model = load_model(run)
    if options.adapt is None:
        return model
    model = adapt_normalization(model, options.adapt)
    made = model.adaptation
    print(
        f"adapted to {made['num_recordings']} recordings of {options.adapt}, "
        f"which weigh {made['weight']:.0%} against the training data",
        file=sys.stderr,
    )
    return model
