"""Convert a trained model for TensorFlow Lite and ONNX runtimes."""

import argparse
from dataclasses import asdict

from ser_keras.cli.output import Outcome


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `convert`."""
    parser.add_argument("--run", required=True, metavar="DIR", help="run directory of `ser-keras train`")
    parser.add_argument("--output-dir", required=True, metavar="DIR", help="folder to create")
    parser.add_argument(
        "--formats",
        nargs="+",
        choices=("tflite", "onnx"),
        default=["tflite", "onnx"],
        help="formats to write (default: tflite onnx); onnx needs pip install 'ser-keras[convert]'",
    )


def run(options: argparse.Namespace) -> Outcome:
    """Convert, and print size, agreement and latency of each file."""
    from ser_keras.conversion import conversion_table, convert_model
    from ser_keras.model import load_model

    rows = convert_model(load_model(options.run), options.output_dir, formats=options.formats)
    print(conversion_table(rows))
    print(f"\n{options.output_dir}   README.md describes how to run the files")
    return Outcome({"directory": options.output_dir, "conversions": [asdict(row) for row in rows]})
