"""The command line: `ser-keras <verb>`, the same as `python -m ser_keras <verb>`.

Each verb is a module with `add_flags` and `run`. TensorFlow is imported only when a verb runs, so that `--help` is
quick.
"""

import errno
import importlib
import logging
import os
import re
import signal
import sys
import threading
import warnings
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ser_keras import __version__
from ser_keras.cli import convert, crossval, demo, download, evaluate, export, predict, train
from ser_keras.cli.flags import name_flags
from ser_keras.cli.output import Outcome, output_of, paint, print_result
from ser_keras.cli.parser import EXIT_CODES, SHELLS, Parser, PrintCompletion, add_common_flags
from ser_keras.errors import InputError, WorkerLostError
from ser_keras.terminal import shown, shown_lines

VERBS = {
    "download": download,
    "train": train,
    "crossval": crossval,
    "evaluate": evaluate,
    "predict": predict,
    "export": export,
    "convert": convert,
    "demo": demo,
}

_DISK_ERRORS = "|".join(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)))
_USERS_ERROR = re.compile(rf"\bInputError: (.+)|\}}\}} (.+; (?:{_DISK_ERRORS}))")
"""Errors that TensorFlow wraps in its own as text: of a dataset, or of a file that it cannot write."""

DESCRIPTION = "Speech emotion recognition: labelled recordings in, a served model out."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: The words after the program's name; those of the process if None.

    Returns:
        The exit code, see `EXIT_CODES`. A bug keeps its traceback.
    """
    options = build_parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # else TensorFlow reports missing GPUs at length
    try:
        with _terminable(), _own_messages(options), output_of(options):
            if sys.version_info >= (3, 13) and VERBS[options.verb] is not download:
                _import_tensorflow_quietly()
            outcome = VERBS[options.verb].run(options) or Outcome()
        print_result(outcome, options)
        options.results.flush()
        return outcome.exit_code
    except BrokenPipeError:  # such as `| head`; the rest of the buffer must not raise again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (InputError, OSError) as error:
        _complain(options, _one_line(error))
        return 2
    except WorkerLostError as error:
        _complain(options, shown(error))
        return 75  # EX_TEMPFAIL of sysexits.h
    except Exception as error:
        cause = _USERS_ERROR.search(str(error))
        if cause is None:
            raise
        _complain(options, shown(cause[1] or cause[2]))
        return 2
    except KeyboardInterrupt as stop:
        _complain(options, str(stop) or "interrupted")
        return 130


def build_parser() -> Parser:
    """Return the parser of all verbs."""
    parser = Parser(prog="ser-keras", description=DESCRIPTION, epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--print-completion", action=PrintCompletion, choices=SHELLS, help="print a shell's completion script and exit"
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    for name, module in VERBS.items():
        summary = (module.__doc__ or "").split("\n")[0]
        verb = verbs.add_parser(name, help=summary, description=summary)
        module.add_flags(verb)
        add_common_flags(verb)
        verb.set_defaults(parser=verb)
    return parser


@contextmanager
def _terminable() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, in the main thread, where signals can be caught."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _complain(options: Namespace, message: str) -> None:
    verb = paint(f"ser-keras {options.verb}:", "red", sys.stderr)
    print(f"{verb} {name_flags(message, options.parser)}", file=sys.stderr)


@contextmanager
def _own_messages(options: Namespace) -> Iterator[None]:
    """Show warnings and log lines as a verb's messages, and restore both at the end."""
    root, before = logging.getLogger(), warnings.formatwarning
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(options.parser))
    if is_ours := not root.handlers:  # the caller of `main` may have configured logging
        root.addHandler(handler)
    warnings.formatwarning = lambda message, *_, **__: (
        f"{paint('warning:', 'yellow', sys.stderr)} {name_flags(shown_lines(message), options.parser)}\n"
    )
    try:
        yield
    finally:
        warnings.formatwarning = before
        if is_ours:
            root.removeHandler(handler)


def _import_tensorflow_quietly() -> None:
    """Import TensorFlow without its report of missing GPUs, which newer versions print at any log level.

    Reported as https://github.com/tensorflow/tensorflow/issues/100442; errors are still raised.
    """
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        importlib.import_module("tensorflow")
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return shown(f"{error.filename}: {error.strerror}")
    return shown(" ".join(str(error).split()))


class _Formatter(logging.Formatter):
    """Escape the names of files in messages, and replace settings by the verb's flags."""

    def __init__(self, parser: Parser):
        super().__init__("%(message)s")
        self._parser = parser

    def format(self, record: logging.LogRecord) -> str:
        return name_flags(shown_lines(super().format(record)), self._parser)
