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
from typing import TYPE_CHECKING, Any, NamedTuple

from ser_keras.cli.flags import add_config_flags, add_preset_flags, configs_from_flags, preset_configs
from ser_keras.cli.output import Outcome
from ser_keras.errors import InputError, WorkerLostError
from ser_keras.runs import CONFIGS, SYNTHETIC_CORPUS, begin_table, run_directory, settings_of, write_environment
from ser_keras.runs.reading import read_json, refuse_changes, stamp
from ser_keras.terminal import shown

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from ser_keras.corpora import Utterance
    from ser_keras.distribution.cluster import Cluster
    from ser_keras.evaluation import Report
    from ser_keras.model import ParallelModel
    from ser_keras.preprocessing import Splits


class _Job(NamedTuple):
    """The flags, the settings and the run directory of a training."""

    options: argparse.Namespace
    configs: dict[str, Any]
    directory: Path


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `train`."""
    parser.usage = "ser-keras train [--dataset-path DIR ...] [--output-dir DIR [--resume]] [--SETTING VALUE ...]"
    parser.add_argument(
        "--dataset-path",
        nargs="+",
        metavar="DIR",
        help="corpus folder, folder with a folder per emotion, or manifest; several are joined "
        "(default: a small synthetic corpus)",
    )
    parser.add_argument("--output-dir", metavar="DIR", help="run directory to create (default: runs/NAME-TIME)")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the interrupted run in --output-dir, with the same settings and recordings",
    )
    parser.add_argument("--num-emotions", type=int, metavar="N", help="stop if the data has another number of emotions")
    strategy = parser.add_argument(
        "--strategy",
        choices=("mirrored", "multiworker"),
        help="train on every GPU of this machine (mirrored), or of every machine in TF_CONFIG (multiworker; "
        "exit code 75: another worker was lost)",
    )
    strategy.minor = True
    add_preset_flags(parser)
    for title in CONFIGS:
        add_config_flags(parser, preset_configs()[title], title)


def run(options: argparse.Namespace) -> Outcome:
    """Train, score and export, and write a run directory with everything to predict, evaluate and serve."""
    configs = configs_from_flags(CONFIGS, options)
    job = _Job(options, configs, _output_dir(options))
    return _run_as_worker(job) if options.strategy == "multiworker" else _run(job)


def _run_as_worker(job: _Job) -> Outcome:
    """Find the other workers first, so that a failure of one ends them all."""
    from ser_keras.distribution import make_strategy
    from ser_keras.distribution.cluster import Cluster

    cluster = Cluster.from_environment()
    is_finished = job.options.resume and (job.directory / "environment.json").exists()
    strategy = None if is_finished else make_strategy("multiworker")
    if cluster.is_chief:
        return _run(job, strategy)
    return Outcome(_finished(job.directory) if is_finished else _assist(strategy, job, cluster))


def _run(job: _Job, strategy: "tf.distribute.Strategy | None" = None) -> Outcome:
    directory = job.directory
    try:
        with run_directory(directory, resume=job.options.resume):
            weights = job.options.encoder_weights
            settings = {
                **stamp(),
                **settings_of(job.options.dataset_path, job.configs),
                "preset": job.options.preset,
                "encoder_weights": weights and str(weights),
            }
            if (path := directory / "config.json").exists():
                refuse_changes(path, read_json(path, "a run directory of `ser-keras train`"), settings)
            if (directory / "environment.json").exists():
                return Outcome(_finished(directory))
            return Outcome(_run_in_directory(job, settings, strategy))
    except KeyboardInterrupt as stop:
        again = f"the same command with --output-dir {shown(directory)} --resume continues"
        raise KeyboardInterrupt(f"interrupted; {again}") from stop


def _finished(directory: Path) -> dict[str, Any]:
    print(f"{shown(directory)}: this run is finished, there is nothing to resume")
    return {"run_directory": directory, "metrics": read_json(directory / "metrics.json", "a run directory")}


def _assist(strategy: "tf.distribute.Strategy", job: _Job, cluster: "Cluster") -> dict[str, Any]:
    """Train as a worker that is not the chief, and write nothing."""
    from ser_keras.distribution.replicas import Replicas

    with tempfile.TemporaryDirectory() as scratch:
        splits = _read(job._replace(directory=Path(scratch)))
        _train(_build(strategy, splits, job), splits, job)
    print("Trained; the chief scores and exports", flush=True)
    Replicas(strategy).wait_for_all()
    return {"worker": cluster.index}


def _run_in_directory(job: _Job, settings: dict[str, Any], strategy: "tf.distribute.Strategy | None") -> dict[str, Any]:
    from ser_keras.distribution import make_strategy
    from ser_keras.distribution.replicas import Replicas
    from ser_keras.evaluation import evaluate_model
    from ser_keras.export import export_model
    from ser_keras.training.checkpoints import CHECKPOINT

    started, directory = time.monotonic(), job.directory
    strategy = strategy or make_strategy(job.options.strategy)
    splits = _read(job)
    _print_data(splits)
    model = _build(strategy, splits, job)  # before anything is written: the settings may not fit the data
    _write_inputs(directory, settings, splits)
    model, history = _train(model, splits, job)
    report = evaluate_model(model, splits.test)
    _write_report(directory, report, model, history, splits)
    shutil.rmtree(directory / "export", ignore_errors=True)  # of an interrupted run
    export_model(model, directory / "export" / "1", name="ser", run=directory)
    write_environment(directory, time.monotonic() - started)  # the last file, which marks a finished run
    (directory / CHECKPOINT).unlink(missing_ok=True)
    _print_result(directory, report, splits, time.monotonic() - started)
    with suppress(WorkerLostError):  # the run is finished
        Replicas(strategy).wait_for_all()
    return {"run_directory": directory, "metrics": report.to_dict()}


def _read(job: _Job) -> "Splits":
    """Read the recordings, or those of a synthetic corpus in the run directory."""
    from ser_keras.preprocessing import preprocess_data
    from ser_keras.synthetic import make_corpus

    dataset = job.options.dataset_path
    if not dataset:
        corpus = job.directory / SYNTHETIC_CORPUS
        print(f"No --dataset-path: making a synthetic corpus in {corpus}", flush=True)
        dataset = make_corpus(corpus)
    return preprocess_data(dataset, config=job.configs["data"], audio=job.configs["audio"])


def _build(strategy: "tf.distribute.Strategy", splits: "Splits", job: _Job) -> "ParallelModel":
    import keras

    from ser_keras.model import ParallelModel

    keras.utils.set_random_seed(job.configs["data"].seed)
    num_emotions = job.options.num_emotions or len(splits.emotions)
    with strategy.scope():
        return ParallelModel.from_preset(
            job.options.preset,
            num_emotions,
            emotions=splits.emotions,
            config=job.configs["model"],
            audio=job.configs["audio"],
            encoder_weights=job.options.encoder_weights,
        )


def _train(model: "ParallelModel", splits: "Splits", job: _Job) -> tuple["ParallelModel", "keras.callbacks.History"]:
    """Return the trained model, on one device with any strategy, and the history."""
    from ser_keras.refitting import refit_model
    from ser_keras.training import encoded_clips, train_model

    config = job.configs["training"]
    encoded = None if model.parts.encoder is None else encoded_clips(model)
    verbose = 1 if sys.stdout.isatty() else 2
    how = {"config": config, "output_dir": job.directory, "encoded": encoded, "verbose": verbose}
    history = train_model(model, splits.train, splits.val, resume=job.options.resume, **how)
    if config.refit:
        print("Refitting on the training and validation recordings", flush=True)
        refit_model(model, splits.train_and_val, **how)
    return (model.copy() if job.options.strategy else model), history


def _output_dir(options: argparse.Namespace) -> Path:
    if options.resume and not options.output_dir:
        raise InputError("--resume: needs --output-dir, the directory of the interrupted run")
    if options.output_dir:
        return Path(options.output_dir)
    name = Path(options.dataset_path[0]).resolve().stem if options.dataset_path else "synthetic"
    return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"


def _write_inputs(directory: Path, settings: dict[str, Any], splits: "Splits") -> None:
    """Write the settings, the subset of each file, and the rejected files."""
    from ser_keras.files import write_csv, write_json

    write_json(directory / "config.json", settings)
    begin_table(
        directory / "split.csv",
        ("path", "start_seconds", "end_seconds", "emotion", "speaker", "subset", "fingerprint"),
        (
            (*_clip(each), each.emotion, each.speaker_id, subset, splits.fingerprints[each])
            for subset, utterances in splits.split._asdict().items()
            for each in utterances
        ),
    )
    write_csv(directory / "rejected.csv", ("path", "reason"), ((each.path, each.reason) for each in splits.rejected))


def _clip(utterance: "Utterance") -> tuple[Path, float | None, float | None]:
    return utterance.path, utterance.start_seconds, utterance.end_seconds


def _write_report(
    directory: Path,
    report: "Report",
    model: "ParallelModel",
    history: "keras.callbacks.History",
    splits: "Splits",
) -> None:
    from ser_keras.files import whole_file
    from ser_keras.plots import history_figure

    leaks = "\n".join(finding.message for finding in splits.audit.leaks)
    about = {
        "Test set": f"Leaks from training or validation: {leaks}"
        if leaks
        else "No leak from training or validation found",
        "Run directory": str(directory),
    }
    report.save(directory / "metrics.json")
    report.draw(directory / "confusion_matrix.png")
    report.save_predictions(directory / "predictions.csv")
    report.save_html(directory / "report.html", model=model, history=history.history, about=about)
    with whole_file(directory / "history.png") as part:
        history_figure(history.history).savefig(part, dpi=120)


def _print_data(splits: "Splits") -> None:
    print(f"{len(splits.emotions)} emotions: {', '.join(splits.emotions)}")
    for subset, utterances in splits.split._asdict().items():
        print(f"{subset:<5} {len(utterances):>6} clips of {_names_of_speakers(utterances)}", flush=True)


def _names_of_speakers(utterances: "Sequence[Utterance]", most: int = 12) -> str:
    speakers = sorted({each.speaker_id for each in utterances if each.speaker_id})
    if not speakers:
        return "unknown speakers"
    names = ", ".join(speakers[:most]) + (", ..." if len(speakers) > most else "")
    return f"{len(speakers)} speaker{'s' if len(speakers) > 1 else ''}: {names}"


def _print_result(directory: Path, report: "Report", splits: "Splits", seconds: float) -> None:
    """Print the score, try the export on one clip, and print the files."""
    print(f"\nScore on the test recordings, read once:\n\n{report}\n")
    if files := [each for each in splits.split.test if each.start_seconds is None and each.end_seconds is None]:
        _try_export(directory / "export" / "1", files[0])
    print(f"Run directory  {shown(directory)}   ({seconds:.0f} s)")
    print("  export/1     SavedModel for TF Serving")
    print("  model.keras  the same model for Keras")
    print("  report.html  scores, plots and the most confident errors with their sound")
    print("  metrics.json, predictions.csv, confusion_matrix.png, history.png, split.csv, rejected.csv")


def _try_export(export: Path, clip: "Utterance") -> None:
    from ser_keras.inference import Predictor

    try:
        prediction = Predictor(export).predict(clip.path)
    except InputError as error:  # such as a recording longer than the export accepts
        print(f"The exported model rejects {shown(error)}\n")
        return
    print(f"Prediction of the exported model for {shown(clip.path)}:")
    print(f"  {prediction.label} ({prediction.confidence:.0%}); its label is {clip.emotion}\n")
