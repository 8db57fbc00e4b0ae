"""Predict the emotion of each recording."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ser_keras.cli.adapting import add_adapt_flag, load_adapted
from ser_keras.cli.output import Outcome
from ser_keras.errors import InputError, require
from ser_keras.predictions.file_formats import (
    ENDINGS,
    FORMATS,
    Result,
    result_to_dict,
    timeline_to_textgrid,
    write_results,
)
from ser_keras.runs.reading import find_export
from ser_keras.terminal import shown

DETAILS = """\
A recording longer than max_seconds of the export (10 min by default) is read in blocks and predicted
in windows; its label is that of the mean of their probabilities. A file that cannot be used has an
error in its row.
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `predict`."""
    parser.epilog = DETAILS
    parser.add_argument("paths", nargs="+", metavar="PATH", help="audio files of any format and length, and folders")
    parser.add_argument("--model", required=True, metavar="DIR", help="run directory, or exported model")
    parser.add_argument("--timeline", action="store_true", help="predict window by window instead of once per file")
    parser.add_argument(
        "--format", choices=FORMATS, help="output format (default: by the extension of --output, else table)"
    )
    parser.add_argument("--output", metavar="FILE", help="file to write, all or nothing (default: standard output)")
    parser.add_argument("--output-dir", metavar="DIR", help="for textgrid: folder for one file per recording")
    parser.add_argument(
        "--abstain-below",
        type=float,
        metavar="X",
        help="print 'abstained' for lower probabilities, 0 to 1 (default: the export's)",
    )
    add_adapt_flag(parser)


def run(options: argparse.Namespace) -> Outcome:
    """Predict each recording; errors are printed in its row and on stderr."""
    recordings = _recordings(map(Path, options.paths))
    form = _format(options, len(recordings))
    if not options.adapt:
        find_export(options.model)

    from tqdm import tqdm

    from ser_keras.inference import Predictor

    if options.abstain_below is not None:
        require(0 <= options.abstain_below <= 1, "abstain_below", options.abstain_below, "0 to 1")
    predictor = Predictor.of_model(load_adapted(options, options.model)) if options.adapt else Predictor(options.model)
    predict_each = predictor.timeline_each if options.timeline or form == "textgrid" else predictor.predict_each
    failed: list[Result] = []
    is_shown = options.results.isatty() and not _is_filed(options)  # each row scrolls the screen
    predictions = predict_each(recordings)
    if options.abstain_below is not None:
        predictions = (each.abstain(options.abstain_below) for each in predictions)
    bar = tqdm(predictions, "Predicting", len(recordings), unit="file", disable=True if is_shown else None)
    result = _write(options, form, recordings, _collecting_failures(bar, failed), predictor.emotions)
    if failed:
        first = shown(f"{failed[0].source}: {failed[0].error}")
        print(f"ser-keras predict: {len(failed)} of {len(recordings)} files failed; {first}", file=sys.stderr)
    return Outcome(result or {"num_files": len(recordings), "num_failed": len(failed)}, 1 if failed else 0)


def _write(
    options: argparse.Namespace,
    form: str,
    recordings: dict[Path, Path],
    predictions: Iterable[Result],
    emotions: Sequence[str],
) -> list[dict[str, Any]] | None:
    """Write the predictions; return them if they are the result of `--json`."""
    if options.json and not _is_filed(options):
        return list(map(result_to_dict, predictions))
    if options.output_dir:
        _write_each(Path(options.output_dir), recordings, predictions)
    else:
        with _opened(options) as stream:
            write_results(stream, predictions, form, emotions)
    return None


def _is_filed(options: argparse.Namespace) -> bool:
    return bool(options.output or options.output_dir)


def _recordings(paths: Iterable[Path]) -> dict[Path, Path]:
    """Return the files, those of folders in order, each with its path below the given folder."""
    from ser_keras.corpora.listing import find_recordings

    found: dict[Path, Path] = {}
    paths = list(paths)
    if not any(path.exists() for path in paths):  # a single missing one has its row
        raise InputError(f"{paths[0]}: does not exist; expected audio files or folders")
    for path in paths:
        for file in find_recordings(path) if path.is_dir() else [path]:
            found.setdefault(file, file.relative_to(path if path.is_dir() else path.parent))
    return found


def _format(options: argparse.Namespace, num_recordings: int) -> str:
    """Return the output format; check the flags before the model is loaded."""
    ending = Path(options.output or "").suffix.lower()
    usual = "textgrid" if options.output_dir else "json" if options.json else "table"
    form = options.format or ENDINGS.get(ending, usual)
    if options.json and not _is_filed(options) and form != "json":
        raise InputError(f"--json with --format {form}: name a file with --output, or give only one of them")
    if options.output and options.output_dir:
        raise InputError("--output and --output-dir: expected one of them")
    if options.output_dir and form != "textgrid":
        raise InputError(f"--output-dir with --format {form}: only textgrid has one file per recording; use --output")
    if form == "textgrid" and num_recordings > 1 and not options.output_dir:
        raise InputError(f"--format textgrid for {num_recordings} recordings: name a folder with --output-dir")
    if options.output and not Path(options.output).absolute().parent.is_dir():
        raise InputError(f"{options.output}: its folder does not exist; create it first")
    return form


def _collecting_failures(predictions: Iterable[Result], failed: list[Result]) -> Iterator[Result]:
    for prediction in predictions:
        if prediction.error:
            failed.append(prediction)
        yield prediction


@contextmanager
def _opened(options: argparse.Namespace) -> Iterator[TextIO]:
    from ser_keras.files import whole_file

    if not options.output:
        yield options.results
        return
    with (
        whole_file(options.output) as part,
        part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        yield stream


def _write_each(directory: Path, recordings: dict[Path, Path], predictions: Iterable[Result]) -> None:
    """Write a TextGrid for each recording, with the recording's name and folder."""
    from ser_keras.files import write_bytes

    targets = {path: directory / name.with_suffix(".TextGrid") for path, name in recordings.items()}
    sources: dict[Path, Path] = {}
    for path, target in targets.items():
        if (other := sources.setdefault(target, path)) != path:
            raise InputError(f"{path} and {other} would both become {target}; predict them one by one")
    for timeline in predictions:
        if not timeline.error:
            target = targets[timeline.source]
            target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(target, timeline_to_textgrid(timeline).encode())
