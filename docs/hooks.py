"""Fill pages of the site from the code.

A line `<!-- NAME -->` or `<!-- NAME: ARGUMENT -->` in a page is replaced by the result of a function below. Two other
files of the repository become pages.
"""

import argparse
import dataclasses
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

os.environ["COLUMNS"] = "76"  # width of the usage lines

REPOSITORY = Path(__file__).parents[1]
PAGES = {"changes.md": "CHANGELOG.md", "protocols.md": "ser_keras/protocols/README.md"}
"""Files outside docs/, by the name of their page."""

_MARK = re.compile(r"^<!-- ([a-z-]+)(?:: (\w+))? -->$", re.MULTILINE)
_LINK_OUT = re.compile(r"\]\(\.\./([^)#]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the files outside docs/."""
    for name, path in PAGES.items():
        files.append(File.generated(config, name, content=(REPOSITORY / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill the marked lines, and point links to the files in `PAGES` to their pages."""
    names = {path: name for name, path in PAGES.items()}
    linked = _LINK_OUT.sub(lambda link: f"]({names.get(link[1], '../' + link[1])}", markdown)
    return _MARK.sub(lambda mark: _filled(mark, page.file.src_uri), linked)


def _filled(mark: re.Match[str], page: str) -> str:
    name, argument = mark.groups()
    if name not in _MAKERS:
        raise PluginError(f"{page}: {mark[0]} is unknown; there are {', '.join(_MAKERS)}")
    return _MAKERS[name](*[argument] if argument else [])


def _verbs() -> str:
    """Return a section for each verb: description, usage and flags."""
    from ser_keras.cli import build_parser

    (verbs,) = (action.choices for action in build_parser()._actions if isinstance(action.choices, dict))
    return "\n\n".join(_verb(name, parser) for name, parser in verbs.items())


def _verb(name: str, parser: argparse.ArgumentParser) -> str:
    usage = parser.format_usage().removeprefix("usage: ").strip()
    major, minor = _tables(parser, minor=False), _tables(parser, minor=True)
    lines = [f"## {name}", parser.description, f"```text\n{usage}\n```", _remarks(parser), *major]
    if minor:
        block = "\n\n".join(minor).replace("\n", "\n    ")
        lines.append(f'??? note "Every other setting (`--help-all`)"\n\n    {block}')
    return "\n\n".join(filter(None, lines))


def _remarks(parser: argparse.ArgumentParser) -> str:
    """Return the epilogue of the help, without the exit codes, which are the same for all verbs."""
    from ser_keras.cli.parser import EXIT_CODES

    return (parser.epilog or "").replace(EXIT_CODES, "").strip()


def _tables(parser: argparse.ArgumentParser, *, minor: bool) -> list[str]:
    """Return a table for each group of flags: of those that `--help` shows, or of the others."""
    from ser_keras.cli.parser import is_minor

    expand = parser._get_formatter()._expand_help
    groups: dict[str, list[tuple[str, str]]] = {}
    for group in parser._action_groups:
        title = "" if group.title in ("options", "positional arguments") else f"*{group.title}*\n\n"
        actions = [each for each in group._group_actions if is_minor(each) == minor and each.dest != "help"]
        groups.setdefault(title, []).extend((_code(_spelling(each)), expand(each)) for each in actions)
    return [title + _table(("Flag", "Meaning"), rows) for title, rows in groups.items() if rows]


def _spelling(action: argparse.Action) -> str:
    """Return a flag with its value, such as `--epochs N` or `--strict, --no-strict`."""
    if isinstance(action, argparse.BooleanOptionalAction) or action.nargs == 0:
        return ", ".join(action.option_strings)
    choices = action.choices and "{" + ",".join(map(str, action.choices)) + "}"
    value = action.metavar or choices or action.dest.upper()
    value = f"{value} ..." if action.nargs == "+" else value
    return " ".join([", ".join(action.option_strings), value]).strip()


def _exit_codes() -> str:
    from ser_keras.cli.parser import EXIT_CODES

    codes = EXIT_CODES.removeprefix("exit codes:").split(";")
    return _table(("Code", "Meaning"), (code.strip().split(" ", 1) for code in codes))


def _settings(name: str) -> str:
    """Return the fields of a settings class as a table."""
    from ser_keras import config

    fields = dataclasses.fields(getattr(config, name))
    rows = ((_code(field.name), _code(str(field.default)), field.metadata["help"]) for field in fields)
    return _table(("Setting", "Default", "Meaning"), rows)


def _corpora() -> str:
    """Return the corpora that are recognised by their file names."""
    from ser_keras.corpora import CORPORA

    rows = (
        (
            each.title,
            _code(each.name),
            _code(each.example),
            ", ".join(sorted(set(filter(None, each.emotions.values())))),
        )
        for each in CORPORA
    )
    return _table(("Corpus", "`--corpus`", "Example of a file", "Emotions"), rows)


def _words() -> str:
    """Return the emotions with their known spellings."""
    from ser_keras import labels

    rows = ((emotion, labels._SPELLINGS[emotion].replace(" ", ", ")) for emotion in labels.EMOTIONS)
    return _table(("Emotion", "Other spellings"), rows)


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    header = tuple(header)
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def _code(text: str) -> str:
    return f"`{text}`"


_MAKERS = {
    "corpora": _corpora,
    "exit-codes": _exit_codes,
    "settings": _settings,
    "verbs": _verbs,
    "words": _words,
}
