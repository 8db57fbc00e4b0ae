"""The command line: `ser-keras <verb>`, the same as `python -m ser_keras <verb>`.

One small module a verb: each adds its flags with `add_flags` and does its work in `run`. Nothing here
imports TensorFlow before a verb runs, so that `--help` is quick.
"""

import argparse
import errno
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from ser_keras import __version__
from ser_keras.cli import convert, export, predict, train
from ser_keras.errors import InputError
from ser_keras.terminal import shown, shown_lines

VERBS = {"train": train, "predict": predict, "export": export, "convert": convert}

_DISK_ERRORS = "|".join(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)))
_USERS_ERROR = re.compile(rf"\bInputError: (.+)|\}}\}} (.+; (?:{_DISK_ERRORS}))")
"""What TensorFlow's own errors hold as text: an error out of a dataset, or a file that its writers could not write."""

DESCRIPTION = "Speech emotion recognition: labelled recordings in, a served model out."


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {shown(message)} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: the words after the program's name; those of the process where None.

    Returns:
        The exit code: 0 done, 2 something in what the user gave, 130 interrupted. A fault of the
        program itself keeps its traceback.
    """
    parser = _Parser(prog="ser-keras", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)
    for name, module in VERBS.items():
        summary = (module.__doc__ or "").split("\n")[0]
        module.add_flags(verbs.add_parser(name, help=summary, description=summary))
    options = parser.parse_args(arguments)
    _quieten_libraries()
    try:
        VERBS[options.verb].run(options)
    except (InputError, OSError) as error:
        print(f"ser-keras {options.verb}: {_one_line(error)}", file=sys.stderr)
        return 2
    except Exception as error:
        cause = _USERS_ERROR.search(str(error))
        if cause is None:
            raise
        print(f"ser-keras {options.verb}: {shown(cause[1] or cause[2])}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"ser-keras {options.verb}: interrupted", file=sys.stderr)
        return 130
    return 0


def _quieten_libraries() -> None:
    """Leave the terminal to our own lines: TensorFlow reports missing GPUs at length otherwise."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    warnings.formatwarning = lambda message, *_, **__: f"warning: {shown_lines(message)}\n"


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return shown(f"{error.filename}: {error.strerror}")
    return shown(" ".join(str(error).split()))


class _Formatter(logging.Formatter):
    """Messages name files, and files may be named with anything."""

    def format(self, record: logging.LogRecord) -> str:
        return shown_lines(super().format(record))
