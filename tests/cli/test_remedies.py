"""Every setting that a message names is a flag of each verb that can print the message.

Messages of the library name settings in Python's spelling, in backquotes, and the command line prints its flag instead.
So the library names no flag itself, and each verb has a flag for every setting that is named in a function that it
reaches. The reachable functions are read from the source: every function and class that a function refers to, and so
on.
"""

import argparse
import ast
import re
from functools import cache
from pathlib import Path

import pytest

import ser_keras
from ser_keras.cli import VERBS, build_parser, main
from ser_keras.cli.flags import SETTING, name_flags
from ser_keras.errors import InputError
from ser_keras.files import read_csv, write_csv
from ser_keras.preprocessing import preprocess_data

PACKAGE = Path(ser_keras.__file__).parent
FLAG = re.compile(r"(?<![\w(-])--[a-z][a-z-]+")  # and no variable of CSS, which is in brackets
COMMAND = re.compile(r"ser-keras (\w+).*|docker compose .*")
(PARSERS,) = (action.choices for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))


@cache
def module_files():
    """Return every module of the package by its name without `ser_keras.`; a package is named as its folder."""
    files = {
        path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): path for path in PACKAGE.rglob("*.py")
    }
    return {name.removesuffix(".__init__"): path for name, path in files.items()}


def module_of(imported):
    """Return the module that an import of `ser_keras.a.b` loads: `a.b`, or `a` where b is a name in it; else None."""
    name = imported.removeprefix("ser_keras.") if imported.startswith("ser_keras.") else ""
    while name and name not in module_files():
        name = name.rpartition(".")[0]
    return name or None


def texts(node):
    """Return the texts in a piece of source, without docstrings, with `{}` for each inserted value."""
    notes = {id(each.value) for each in ast.walk(node) if isinstance(each, ast.Expr)}
    parts = {id(part) for each in ast.walk(node) if isinstance(each, ast.JoinedStr) for part in each.values}
    for each in ast.walk(node):
        if isinstance(each, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in each.values)
        elif isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in notes | parts:
            yield each.value


@cache
def sources():
    return {module: ast.parse(path.read_text()) for module, path in module_files().items()}


@cache
def definitions(module):
    """Return what a module defines at its top, by name: functions, classes, constants."""
    found = {}
    for node in sources()[module].body:
        for target in getattr(node, "targets", [getattr(node, "target", node)]):
            if name := getattr(target, "id", getattr(target, "name", None)):
                found[name] = node
    return found


@cache
def imports(module):
    """Return the origin of each name that a module imports from the package, at its top or within a function."""
    nodes = [node for node in ast.walk(sources()[module]) if isinstance(node, ast.ImportFrom)]
    names = [(f"{node.module}.{alias.name}", alias.asname or alias.name) for node in nodes for alias in node.names]
    return {name: (module_of(path), path.rpartition(".")[2]) for path, name in names if module_of(path)}


def reached(module, name, found):
    """Add the places of all definitions that are reachable from a name in a module."""
    if (module, name) in found:
        return
    if name not in definitions(module):
        if name in imports(module) and imports(module)[name] != (module, name):
            reached(*imports(module)[name], found)
        return
    found.add((module, name))
    for node in ast.walk(definitions(module)[name]):
        if isinstance(node, ast.Name):
            reached(module, node.id, found)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):  # a function of an imported module
            owner = imports(module).get(node.value.id)
            if owner and owner[1] == owner[0].rpartition(".")[2]:
                reached(owner[0], node.attr, found)


@cache
def settings_named_by(verb):
    """Return the settings that a verb can name, each with the place of one message that does."""
    found = set()
    reached(VERBS[verb].__name__.removeprefix("ser_keras."), "run", found)
    return {
        setting[1]: f"{module}.{name}"
        for module, name in sorted(found)
        for text in texts(definitions(module)[name])
        for setting in SETTING.finditer(text)
    }


@pytest.mark.parametrize("verb", VERBS)
def test_every_setting_that_a_verb_can_name_is_a_flag_of_it(verb):
    flags = {action.dest for action in PARSERS[verb]._actions if action.option_strings}
    assert {name: place for name, place in settings_named_by(verb).items() if name not in flags} == {}


def test_the_messages_that_verbs_share_are_found():
    assert {verb for verb in VERBS if "allow_outside" in settings_named_by(verb)} == {"train", "crossval", "evaluate"}
    assert {verb for verb in VERBS if "split" in settings_named_by(verb)} == {"train"}
    assert {verb for verb in VERBS if "protocol" in settings_named_by(verb)} == {"crossval"}
    assert {verb for verb in VERBS if "origin" in settings_named_by(verb)} == {"download"}


@pytest.mark.parametrize("module", [name for name in module_files() if not name.startswith("cli")])
def test_the_library_names_no_flags(module):
    assert [text for text in texts(sources()[module]) if FLAG.search(text)] == []


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_names_none_but_its_own_flags_and_in_commands_those_of_theirs(verb):
    module = VERBS[verb].__name__.removeprefix("ser_keras.")
    for text in texts(sources()[module]):
        command = COMMAND.search(text)
        assert set(FLAG.findall(COMMAND.sub("", text))) <= set(PARSERS[verb]._option_string_actions)
        if command and command[1]:
            assert set(FLAG.findall(command[0])) <= set(PARSERS[command[1]]._option_string_actions)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("choose `split='random'`", "choose --split random"),
        ("allow it with `allow_outside=True`", "allow it with --allow-outside"),
        ("set `class_weights=False`", "set --no-class-weights"),
        ("give another `output_dir`", "give another --output-dir"),
        ("give `corpus='my corpus'`", "give --corpus 'my corpus'"),
        ("go on with `resume=True`", "go on with --resume"),
        ("`protocol='random'` and `ser-keras train` and `x` are no flags", None),
        ("a.wav, split='random', seed=3/x.wav", None),
    ],
)
def test_settings_in_backquotes_become_flags_and_nothing_else_does(message, expected):
    assert name_flags(message, PARSERS["train"]) == (expected or message)


@pytest.fixture(scope="module")
def two_speakers(corpus, tmp_path_factory):
    """Return a manifest of two speakers, where nothing can be split by speaker."""
    rows = [{**row, "path": corpus / row["path"]} for row in read_csv(corpus / "manifest.csv") if row["speaker"] < "03"]
    path = tmp_path_factory.mktemp("two") / "manifest.csv"
    write_csv(path, list(rows[0]), (row.values() for row in rows))
    return path


@pytest.mark.parametrize(("verb", "remedy"), [("train", ["--split", "random"]), ("crossval", ["--protocol", "random"])])
def test_the_way_out_of_too_few_speakers_is_a_flag_of_the_verb(two_speakers, tmp_path, capsys, verb, remedy):
    arguments = [verb, "--dataset-path", str(two_speakers), "--allow-outside", "--output-dir", str(tmp_path / "run")]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert " ".join(remedy) in said and said.count("--") == 1
    PARSERS[verb].parse_args([*arguments[1:], *remedy])


def test_the_way_out_of_too_few_speakers_is_a_setting_in_python(two_speakers):
    with pytest.raises(InputError, match="`split='random'`"):
        preprocess_data(two_speakers, allow_outside=True)
