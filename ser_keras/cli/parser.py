"""The parser of all verbs: errors in one line, short help, completion for the shells."""

import argparse
import shutil
from collections.abc import Iterator
from typing import Any, NoReturn

from ser_keras.terminal import shown

EXIT_CODES = """\
exit codes: 0 done; 1 done, some files failed; 2 bad command or data; 75 lost a worker; 130 interrupted
"""

SHELLS = ("bash", "zsh", "tcsh", "fish")
"""Shells with completions by shtab."""

_WIDEST = 100


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal, with an upper limit."""

    def __init__(self, prog: str):
        width = min(shutil.get_terminal_size().columns - 2, _WIDEST)
        super().__init__(prog, max_help_position=28, width=width)


class Parser(argparse.ArgumentParser):
    """A parser with errors in one line, whose `--help` hides the flags marked as minor."""

    def __init__(self, **options: Any):
        super().__init__(formatter_class=Formatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Stop with one line and exit code 2."""
        self.exit(2, f"{self.prog}: {shown(message)} (see {self.prog} --help)\n")

    def format_help(self) -> str:
        """Return the help without the minor flags, which `--help-all` shows."""
        hidden = {action: action.help for action in self._actions if is_minor(action)}
        epilog = self.epilog
        try:
            for action in hidden:
                action.help = argparse.SUPPRESS
            if hidden:
                self.epilog = f"--help-all shows {len(hidden)} more settings\n{epilog or ''}"
            return super().format_help()
        finally:
            self.epilog = epilog
            for action, text in hidden.items():
                action.help = text

    def format_all_help(self) -> str:
        """Return the help with every flag."""
        return super().format_help()


def add_common_flags(parser: Parser) -> None:
    """Add the flags of every verb."""
    parser.add_argument("-q", "--quiet", action="store_true", help="print only results and errors")
    parser.add_argument(
        "--json", action="store_true", help="print the result as one JSON value, everything else on stderr"
    )
    if any(map(is_minor, parser._actions)):
        parser.add_argument("--help-all", action=_HelpAll, nargs=0, help="show every setting and exit")
    parser.epilog = (parser.epilog or "") + EXIT_CODES


def is_minor(action: argparse.Action) -> bool:
    """Return whether a flag is hidden from `--help`."""
    return getattr(action, "minor", False)


class _HelpAll(argparse.Action):
    """Print the whole help."""

    def __call__(self, parser: Parser, *_: Any) -> NoReturn:
        """Print it and exit."""
        print(parser.format_all_help(), end="")
        parser.exit()


class PrintCompletion(argparse.Action):
    """Print a shell's completion script; a flag's metavar decides whether files are completed."""

    def __call__(self, parser: Parser, _: Any, shell: str, *__: Any) -> NoReturn:
        """Print it and exit."""
        import shtab

        kinds = {"DIR": shtab.DIRECTORY, "FILE": shtab.FILE, "PATH": shtab.FILE}
        for action in _all_actions(parser):
            if action.metavar in kinds:
                action.complete = kinds[action.metavar]
        print(shtab.complete(parser, shell))
        parser.exit()


def _all_actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from _all_actions(verb)
