"""Say which emotion each recording holds."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

from ser_keras.answer_formats import ENDINGS, FORMATS, Answer, timeline_to_textgrid, write_answers
from ser_keras.errors import InputError

DETAILS = """\
A recording longer than the model takes as a whole (max_seconds of its export, 10 min unless set) is read in
blocks and answered in windows; its one label is that of the mean of the windows' probabilities.

exit codes: 0 all answered, 1 some files could not be used (their rows say why), 2 a mistake in the command
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `predict`."""
    parser.epilog = DETAILS
    parser.add_argument("paths", nargs="+", metavar="PATH", help="audio files of any format and length, and folders")
    parser.add_argument("--model", required=True, metavar="DIR", help="run directory, or exported model")
    parser.add_argument("--timeline", action="store_true", help="answer window by window instead of once a file")
    parser.add_argument("--format", choices=FORMATS, help="of the answers (default: by OUTPUT's ending, else table)")
    parser.add_argument("--output", metavar="FILE", help="write there, all or nothing (default: standard output)")
    parser.add_argument("--output-dir", metavar="DIR", help="for textgrid: folder that gets one file a recording")


def run(options: argparse.Namespace) -> int:
    """Answer each recording; what cannot be used is told in its row and on stderr."""
    recordings = _recordings(map(Path, options.paths))
    form = _format(options, len(recordings))

    from tqdm import tqdm

    from ser_keras.inference import Predictor

    predictor = Predictor(options.model)
    ask = predictor.timeline_each if options.timeline or form == "textgrid" else predictor.predict_each
    failed: list[Answer] = []
    is_shown = sys.stdout.isatty() and not (options.output or options.output_dir)  # each answer moves the screen on
    bar = tqdm(ask(recordings), "Predicting", len(recordings), unit="file", disable=True if is_shown else None)
    answers = _noting_failures(bar, failed)
    if options.output_dir:
        _write_each(Path(options.output_dir), recordings, answers)
    else:
        with _opened(options.output) as stream:
            write_answers(stream, answers, form, predictor.emotions)
    if failed:
        first = " ".join(f"{failed[0].source}: {failed[0].error}".split())
        print(f"ser-keras predict: {len(failed)} of {len(recordings)} files failed; {first}", file=sys.stderr)
    return 1 if failed else 0


def _recordings(paths: Iterable[Path]) -> dict[Path, Path]:
    """Return the files, those of folders in order, each with its path below the folder that was given."""
    from ser_keras.corpora.listing import list_files, no_audio_message

    found: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            found.setdefault(path, Path(path.name))
            continue
        audio, others = list_files(path)
        if not audio:
            raise InputError(no_audio_message(path, others))
        for name in audio:
            found.setdefault(path / name, Path(name))
    return found


def _format(options: argparse.Namespace, num_recordings: int) -> str:
    """Return the format that is meant; refuse what cannot work before the model is loaded."""
    ending = Path(options.output or "").suffix.lower()
    form = options.format or ("textgrid" if options.output_dir else ENDINGS.get(ending, "table"))
    if options.output and options.output_dir:
        raise InputError("--output and --output-dir: expected one of them")
    if options.output_dir and form != "textgrid":
        raise InputError(f"--output-dir with --format {form}: only textgrid has a file a recording; use --output")
    if form == "textgrid" and num_recordings > 1 and not options.output_dir:
        raise InputError(f"--format textgrid for {num_recordings} recordings: name a folder with --output-dir")
    if options.output and not Path(options.output).absolute().parent.is_dir():
        raise InputError(f"{options.output}: its folder does not exist; make it first")
    return form


def _noting_failures(answers: Iterable[Answer], failed: list[Answer]) -> Iterator[Answer]:
    for answer in answers:
        if answer.error:
            failed.append(answer)
        yield answer


@contextmanager
def _opened(output: str | None) -> Iterator[TextIO]:
    from ser_keras.files import whole_file

    with nullcontext() if output is None else whole_file(output) as part:
        if part is None:
            yield sys.stdout
            return
        with part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            yield stream


def _write_each(directory: Path, recordings: dict[Path, Path], answers: Iterable[Answer]) -> None:
    """Write a TextGrid for each recording, named as Praat pairs them; folders are as they were given."""
    from ser_keras.files import write_bytes

    targets = {path: directory / name.with_suffix(".TextGrid") for path, name in recordings.items()}
    sources: dict[Path, Path] = {}
    for path, target in targets.items():
        if (other := sources.setdefault(target, path)) != path:
            raise InputError(f"{path} and {other} would both become {target}; predict them one by one")
    for answer in answers:
        if not answer.error:
            target = targets[answer.source]
            target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(target, timeline_to_textgrid(answer).encode())
