"""Write a new version of a trained model for TF Serving."""

import argparse

from ser_keras.cli.adapting import add_adapt_flag, load_adapted
from ser_keras.cli.flags import add_config_flags, config_from_flags
from ser_keras.cli.output import Outcome
from ser_keras.config import ExportConfig


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `export`."""
    parser.add_argument("--run", required=True, metavar="DIR", help="run directory of `ser-keras train`")
    parser.add_argument(
        "--output-dir",
        required=True,
        metavar="DIR",
        help="the model's folder, such as models/ser, which gets the next version",
    )
    parser.add_argument("--name", metavar="NAME", help="model name on the server (default: name of its folder)")
    add_adapt_flag(parser)
    add_config_flags(parser, ExportConfig(), "serving")


def run(options: argparse.Namespace) -> Outcome:
    """Export, and print the files."""
    config = config_from_flags(ExportConfig(), options)

    from ser_keras.export import SERVER_FILES, export_model

    model = load_adapted(options, options.run)
    version = export_model(model, options.output_dir, name=options.name, run=options.run, config=config)
    print(f"{version}   checked against the live model in a process without Keras")
    print("  README.md    model card")
    print(f"  {'  '.join(SERVER_FILES)} are in {version.parent}")
    print(f"  docker compose --file {version.parent / 'docker-compose.yml'} up   serves it")
    return Outcome({"version": version, "server_files": [version.parent / name for name in SERVER_FILES]})
