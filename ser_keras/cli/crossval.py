"""Train and score every fold of a corpus, from several seeds."""

import argparse

from ser_keras.cli.flags import add_config_flags, config_from_flags
from ser_keras.cli.output import Outcome
from ser_keras.runs import CROSSVAL_CONFIGS, SET_BY_FOLDS


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `crossval`."""
    parser.usage = "ser-keras crossval --dataset-path DIR ... --output-dir DIR [--resume] [--SETTING VALUE ...]"
    parser.add_argument(
        "--dataset-path",
        nargs="+",
        required=True,
        metavar="DIR",
        help="corpus folder, folder with a folder per emotion, or manifest; several are joined",
    )
    parser.add_argument("--output-dir", required=True, metavar="DIR", help="directory to create")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the interrupted run in --output-dir; finished folds are kept",
    )
    for title, config_class in CROSSVAL_CONFIGS.items():
        add_config_flags(parser, config_class, title, without=SET_BY_FOLDS)


def run(options: argparse.Namespace) -> Outcome:
    """Run every fold that is not finished, print the table, and write every figure and prediction."""
    configs = {title: config_from_flags(config_class, options) for title, config_class in CROSSVAL_CONFIGS.items()}

    from ser_keras.crossval import cross_validate

    try:
        result = cross_validate(
            options.dataset_path, options.output_dir, resume=options.resume, configs=configs, echo=_print
        )
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt("interrupted; the same command with --resume continues") from stop
    print(f"\n{options.output_dir}   metrics.json has every figure, folds.csv the test speakers of each fold")
    return Outcome({"output_dir": options.output_dir, "metrics": result.to_dict()})


def _print(line: str) -> None:
    print(line, flush=True)
