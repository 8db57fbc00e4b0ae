"""What the pages of the site take from the code itself, so that nobody has to type it twice.

A line `<!-- NAME -->` or `<!-- NAME: ARGUMENT -->` in a page is replaced by what a function below makes. Two files
from elsewhere in the repository become pages.
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

os.environ["COLUMNS"] = "76"  # of the usage lines, whatever the terminal

REPOSITORY = Path(__file__).parents[1]
PAGES = {"changes.md": "CHANGELOG.md", "protocols.md": "ser_keras/protocols/README.md"}
"""Files that lie elsewhere, by the name that their pages get."""

_MARK = re.compile(r"^<!-- ([a-z-]+)(?:: (\w+))? -->$", re.MULTILINE)
_LINK_OUT = re.compile(r"\]\(\.\./([^)#]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the files that lie elsewhere."""
    for name, path in PAGES.items():
        files.append(File.generated(config, name, content=(REPOSITORY / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in the marked lines, and lead links to files that became pages to these."""
    names = {path: name for name, path in PAGES.items()}
    linked = _LINK_OUT.sub(lambda link: f"]({names.get(link[1], '../' + link[1])}", markdown)
    return _MARK.sub(lambda mark: _made(mark, page.file.src_uri), linked)


def _made(mark: re.Match[str], page: str) -> str:
    name, argument = mark.groups()
    if name not in _MAKERS:
        raise PluginError(f"{page}: {mark[0]} is unknown; there are {', '.join(_MAKERS)}")
    return _MAKERS[name](*[argument] if argument else [])


def _verbs() -> str:
    """Return a section for each verb: what it does, its usage, and its flags."""
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
    """Return what the help says below the flags, without the exit codes, which are the same for all."""
    from ser_keras.cli.parser import EXIT_CODES

    return (parser.epilog or "").replace(EXIT_CODES, "").strip()


def _tables(parser: argparse.ArgumentParser, *, minor: bool) -> list[str]:
    """Return a table for each group of flags, of those that `--help` shows or of the others."""
    from ser_keras.cli.parser import is_minor

    expand = parser._get_formatter()._expand_help
    groups: dict[str, list[tuple[str, str]]] = {}
    for group in parser._action_groups:
        title = "" if group.title in ("options", "positional arguments") else f"*{group.title}*\n\n"
        actions = [each for each in group._group_actions if is_minor(each) == minor and each.dest != "help"]
        groups.setdefault(title, []).extend((_code(_spelling(each)), expand(each)) for each in actions)
    return [title + _table(("Flag", "What"), rows) for title, rows in groups.items() if rows]


def _spelling(action: argparse.Action) -> str:
    """Return how a flag is written, such as `--epochs N` or `--strict, --no-strict`."""
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
    return _table(("Setting", "Default", "What"), rows)


def _corpora() -> str:
    """Return the corpora that are recognised by the names of their files."""
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
    return _table(("Corpus", "`--corpus`", "A file is called", "Emotions"), rows)


def _words() -> str:
    """Return the vocabulary with the spellings that are understood."""
    from ser_keras import labels

    rows = ((emotion, labels._SPELLINGS[emotion].replace(" ", ", ")) for emotion in labels.EMOTIONS)
    return _table(("Emotion", "Also spelt"), rows)


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
