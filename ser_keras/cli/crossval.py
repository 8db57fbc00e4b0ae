"""Train and score every fold of a corpus, from several seeds."""

import argparse

from ser_keras.cli.flags import add_config_flags, add_preset_flags, configs_from_flags, preset_configs
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
    add_preset_flags(parser)
    for title in CROSSVAL_CONFIGS:
        add_config_flags(parser, preset_configs()[title], title, without=SET_BY_FOLDS)


def run(options: argparse.Namespace) -> Outcome:
    """Run every fold that is not finished, print the table, and write every figure and prediction."""
    configs = configs_from_flags(CROSSVAL_CONFIGS, options)

    from ser_keras.crossval import cross_validate

    try:
        result = cross_validate(
            options.dataset_path,
            options.output_dir,
            resume=options.resume,
            preset=options.preset,
            encoder_weights=options.encoder_weights,
            configs=configs,
            echo=_print,
        )
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt("interrupted; the same command with --resume continues") from stop
    print(f"\n{options.output_dir}   metrics.json has every figure, folds.csv the test speakers of each fold")
    return Outcome({"output_dir": options.output_dir, "metrics": result.to_dict()})


def _print(line: str) -> None:
    print(line, flush=True)
