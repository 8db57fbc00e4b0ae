"""Train on a folder of recordings, score unseen speakers, export a SavedModel."""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_keras.cli.flags import add_config_flags, config_from_flags
from ser_keras.cli.output import Outcome
from ser_keras.distribution.cluster import Cluster
from ser_keras.errors import InputError, WorkerLostError
from ser_keras.runs import CONFIGS, SYNTHETIC_CORPUS, begin_table, run_directory, settings_of, write_environment
from ser_keras.runs.reading import read_json, refuse_changes, stamp
from ser_keras.terminal import shown

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from ser_keras.corpora import Utterance
    from ser_keras.evaluation import Report
    from ser_keras.model import ParallelModel
    from ser_keras.preprocessing import Splits


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `train`."""
    parser.usage = "ser-keras train [--dataset-path DIR ...] [--output-dir DIR [--resume]] [--SETTING VALUE ...]"
    parser.add_argument(
        "--dataset-path",
        nargs="+",
        metavar="DIR",
        help="corpus folder, folder with a folder for each emotion, or manifest; several are joined "
        "(default: a small synthetic corpus)",
    )
    parser.add_argument("--output-dir", metavar="DIR", help="run directory to make (default: runs/NAME-TIME)")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on where the run in --output-dir was stopped, with the same settings and recordings",
    )
    parser.add_argument(
        "--num-emotions", type=int, metavar="N", help="stop unless the data has this number of emotions"
    )
    strategy = parser.add_argument(
        "--strategy",
        choices=("mirrored", "multiworker"),
        help="train on every GPU of this machine (mirrored), or of every machine that TF_CONFIG names (multiworker; "
        "exit code 75: another worker was lost)",
    )
    strategy.minor = True
    for title, config_class in CONFIGS.items():
        add_config_flags(parser, config_class, title)


def run(options: argparse.Namespace) -> Outcome:
    """Do the whole job and leave a run directory that holds everything to predict, evaluate and serve."""
    configs = {title: config_from_flags(config_class, options) for title, config_class in CONFIGS.items()}
    directory = _output_dir(options)
    if options.strategy == "multiworker":
        return _run_as_worker(directory, options, configs)
    return _run(directory, options, configs)


def _run_as_worker(directory: Path, options: argparse.Namespace, configs: dict[str, Any]) -> Outcome:
    """Find the other workers before anything can fail, so that a failure of one ends them all."""
    from ser_keras.distribution import make_strategy

    cluster = Cluster.from_environment()
    is_finished = options.resume and (directory / "environment.json").exists()
    strategy = None if is_finished else make_strategy("multiworker")
    if cluster.is_chief:
        return _run(directory, options, configs, strategy)
    return Outcome(_finished(directory) if is_finished else _assist(strategy, directory, options, configs, cluster))


def _run(
    directory: Path,
    options: argparse.Namespace,
    configs: dict[str, Any],
    strategy: "tf.distribute.Strategy | None" = None,
) -> Outcome:
    try:
        with run_directory(directory, resume=options.resume):
            settings = {**stamp(), **settings_of(options.dataset_path, configs)}
            if (path := directory / "config.json").exists():
                refuse_changes(path, read_json(path, "a run directory of `ser-keras train`"), settings)
            if (directory / "environment.json").exists():
                return Outcome(_finished(directory))
            return Outcome(_run_in(directory, options, configs, settings, strategy))
    except KeyboardInterrupt as stop:
        again = f"the same command with --output-dir {shown(directory)} --resume goes on"
        raise KeyboardInterrupt(f"interrupted; {again}") from stop


def _finished(directory: Path) -> dict[str, Any]:
    print(f"{shown(directory)}: this run is finished, there is nothing to resume")
    return {"run_directory": directory, "metrics": read_json(directory / "metrics.json", "a run directory")}


def _assist(
    strategy: "tf.distribute.Strategy",
    directory: Path,
    options: argparse.Namespace,
    configs: dict[str, Any],
    cluster: Cluster,
) -> dict[str, Any]:
    """Do the share of a worker that is not the chief: train, and write nothing."""
    from ser_keras.distribution.replicas import Replicas

    with tempfile.TemporaryDirectory() as scratch:
        splits = _read(options, configs, Path(scratch))
        _train(_build(strategy, splits, options, configs), splits, options, configs, directory)
    print("Trained; the chief scores and exports", flush=True)
    Replicas(strategy).wait_for_all()
    return {"worker": cluster.index}


def _run_in(
    directory: Path,
    options: argparse.Namespace,
    configs: dict[str, Any],
    settings: dict[str, Any],
    strategy: "tf.distribute.Strategy | None",
) -> dict[str, Any]:
    from ser_keras.distribution import make_strategy
    from ser_keras.distribution.replicas import Replicas
    from ser_keras.evaluation import evaluate_model
    from ser_keras.export import export_model
    from ser_keras.files import whole_file
    from ser_keras.plots import history_figure
    from ser_keras.training.checkpoints import CHECKPOINT

    started = time.monotonic()
    strategy = strategy or make_strategy(options.strategy)
    splits = _read(options, configs, directory)
    _describe_data(splits)
    model = _build(strategy, splits, options, configs)  # before anything is written: settings may not fit the data
    _write_inputs(directory, settings, splits)
    model, history = _train(model, splits, options, configs, directory)
    report = evaluate_model(model, splits.test)
    report.save(directory / "metrics.json")
    report.draw(directory / "confusion_matrix.png")
    report.save_predictions(directory / "predictions.csv")
    report.save_html(directory / "report.html", model=model, history=history.history, about=_about(directory, splits))
    with whole_file(directory / "history.png") as part:
        history_figure(history.history).savefig(part, dpi=120)
    shutil.rmtree(directory / "export", ignore_errors=True)  # of a run that was stopped after it
    export_model(model, directory / "export" / "1", name="ser", run=directory)
    write_environment(directory, time.monotonic() - started)  # the last file: where it is, the run is whole
    (directory / CHECKPOINT).unlink(missing_ok=True)
    _describe_result(directory, report, splits, time.monotonic() - started)
    with suppress(WorkerLostError):  # the run is whole, whatever becomes of the others now
        Replicas(strategy).wait_for_all()
    return {"run_directory": directory, "metrics": report.to_dict()}


def _read(options: argparse.Namespace, configs: dict[str, Any], directory: Path) -> "Splits":
    """Read the recordings; where none were given, a synthetic corpus is made in a directory."""
    from ser_keras.preprocessing import preprocess_data

    return preprocess_data(_dataset(options, directory), config=configs["data"], audio=configs["audio"])


def _build(
    strategy: "tf.distribute.Strategy", splits: "Splits", options: argparse.Namespace, configs: dict[str, Any]
) -> "ParallelModel":
    import keras

    from ser_keras.model import ParallelModel

    keras.utils.set_random_seed(configs["data"].seed)
    with strategy.scope():
        return ParallelModel(
            options.num_emotions or len(splits.emotions),
            emotions=splits.emotions,
            audio=configs["audio"],
            config=configs["model"],
        )


def _train(
    model: "ParallelModel",
    splits: "Splits",
    options: argparse.Namespace,
    configs: dict[str, Any],
    directory: Path,
) -> tuple["ParallelModel", "keras.callbacks.History"]:
    """Return the trained model, which is on one device whatever the strategy, and the curves."""
    from ser_keras.refitting import refit_model
    from ser_keras.training import train_model

    how = {"config": configs["training"], "output_dir": directory, "verbose": 1 if sys.stdout.isatty() else 2}
    history = train_model(model, splits.train, splits.val, resume=options.resume, **how)
    if configs["training"].refit_epochs:
        print("The validation recordings have done their work: refitting on them and those of training", flush=True)
        refit_model(model, splits.train_and_val, **how)
    return (model.copy() if options.strategy else model), history


def _dataset(options: argparse.Namespace, directory: Path) -> list[str] | Path:
    """Return the recordings to train on; without any, a synthetic corpus in the run directory."""
    if options.dataset_path:
        return options.dataset_path
    from ser_keras.synthetic import make_corpus

    corpus = directory / SYNTHETIC_CORPUS
    print(f"No --dataset-path: making a synthetic corpus in {corpus}", flush=True)
    return make_corpus(corpus)


def _output_dir(options: argparse.Namespace) -> Path:
    if options.resume and not options.output_dir:
        raise InputError("--resume: needs --output-dir, the directory of the run that is to go on")
    if options.output_dir:
        return Path(options.output_dir)
    name = Path(options.dataset_path[0]).resolve().stem if options.dataset_path else "synthetic"
    return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"


def _write_inputs(directory: Path, settings: dict[str, Any], splits: "Splits") -> None:
    """Write what the run was made from: settings, each file's side, files left out."""
    from ser_keras.files import write_csv, write_json

    write_json(directory / "config.json", settings)
    begin_table(
        directory / "split.csv",
        ("path", "start_seconds", "end_seconds", "emotion", "speaker", "side", "fingerprint"),
        (
            (each.path, each.start_seconds, each.end_seconds, each.emotion, each.speaker_id, side, fingerprint)
            for side, utterances in splits.split._asdict().items()
            for each, fingerprint in ((each, splits.fingerprints[each]) for each in utterances)
        ),
    )
    write_csv(directory / "rejected.csv", ("path", "reason"), ((each.path, each.reason) for each in splits.rejected))


def _describe_data(splits: "Splits") -> None:
    print(f"{len(splits.emotions)} emotions: {', '.join(splits.emotions)}")
    for side, utterances in splits.split._asdict().items():
        print(f"{side:<5} {len(utterances):>6} clips of {_names_of_speakers(utterances)}", flush=True)


def _names_of_speakers(utterances: "Sequence[Utterance]", most: int = 12) -> str:
    speakers = sorted({each.speaker_id for each in utterances if each.speaker_id})
    if not speakers:
        return "unknown speakers"
    names = ", ".join(speakers[:most]) + (", ..." if len(speakers) > most else "")
    return f"{len(speakers)} speaker{'s' if len(speakers) > 1 else ''}: {names}"


def _about(directory: Path, splits: "Splits") -> dict[str, str]:
    """Say for the report page whose recordings these are."""
    heard = "\n".join(finding.message for finding in splits.audit.leaks)
    return {
        "Test side": f"Leaks from training or validation: {heard}"
        if heard
        else "No leak from training or validation found",
        "Run directory": str(directory),
    }


def _describe_result(directory: Path, report: "Report", splits: "Splits", seconds: float) -> None:
    """Print the score, try the export on one clip, and say where everything lies."""
    print(f"\nScore on the test recordings, read once:\n\n{report}\n")
    whole_files = [each for each in splits.split.test if each.start_seconds is None and each.end_seconds is None]
    if whole_files:
        _try_export(directory / "export" / "1", whole_files[0])
    print(f"Run directory  {shown(directory)}   ({seconds:.0f} s)")
    print("  export/1     SavedModel for TF Serving")
    print("  model.keras  the same model for Keras")
    print("  report.html  scores, pictures and the gravest mistakes, to look at and to listen to")
    print("  metrics.json, predictions.csv, confusion_matrix.png, history.png, split.csv, rejected.csv")


def _try_export(export: Path, clip: "Utterance") -> None:
    from ser_keras.inference import Predictor

    try:
        prediction = Predictor(export).predict(clip.path)
    except InputError as error:  # a recording longer than a server takes at once
        print(f"The exported model does not take {shown(error)}\n")
        return
    print(f"The exported model says of {shown(clip.path)}:")
    print(f"  {prediction.label} ({prediction.confidence:.0%}); its label is {clip.emotion}\n")
