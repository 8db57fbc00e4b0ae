"""What every verb has in common: help, --quiet, --json, colours, exit codes, completion."""

import io
import json
import logging
import os
import shutil
import subprocess
import sys
import warnings

import pytest

from ser_keras import cli
from ser_keras.cli.output import Outcome, paint, plain
from ser_keras.cli.parser import is_minor
from ser_keras.errors import InputError

each_verb = pytest.mark.parametrize("verb", cli.VERBS)


@pytest.fixture
def verb(monkeypatch):
    """Put a verb of our own in the place of `convert`, and run it with some flags."""

    def run_with(behaviour, *flags):
        monkeypatch.setattr(cli.VERBS["convert"], "run", behaviour)
        return cli.main(["convert", "--run", "a", "--output-dir", "b", *flags])

    return run_with


def talk(options):
    print("a remark")
    print("the answer", file=options.results)
    warnings.warn("beware", stacklevel=1)
    return Outcome({"accuracy": float("nan"), "pair": (1, 2)}, 1)


def help_of(capsys, *words):
    with pytest.raises(SystemExit, match="0"):
        cli.main([*words])
    return capsys.readouterr().out


def test_remarks_and_answers_are_printed(verb, capsys):
    with pytest.warns(UserWarning, match="beware"):
        assert verb(talk) == 1
    assert capsys.readouterr().out == "a remark\nthe answer\n"


def test_quiet_leaves_out_remarks_and_keeps_what_was_asked_for(verb, capsys):
    with pytest.warns(UserWarning, match="beware"):
        assert verb(talk, "--quiet") == 1
    assert capsys.readouterr().out == "the answer\n"


@pytest.mark.parametrize("flags", [[], ["--json"], ["--quiet"]])
def test_what_was_understood_of_the_data_is_logged_unless_quiet(verb, caplog, flags):
    logger = logging.getLogger("ser_keras.corpora.reading")
    assert verb(lambda options: logger.info("twelve recordings"), *flags) == 0
    assert ("twelve recordings" in caplog.text) == (flags != ["--quiet"])
    assert not logger.isEnabledFor(logging.INFO)  # as it was


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_json_is_alone_on_standard_output(verb, capsys, quiet):
    def work(options):
        print("a remark")
        return Outcome({"accuracy": float("nan"), "pair": (1, 2)})

    assert verb(work, "--json", *quiet) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"accuracy": None, "pair": [1, 2]}
    assert captured.err == ("" if quiet else "a remark\n")


def test_a_verb_without_a_result_has_null(verb, capsys):
    assert verb(lambda options: None, "--json") == 0
    assert capsys.readouterr().out == "null\n"


def test_standard_output_is_what_it_was_afterwards(verb):
    before = sys.stdout, sys.stderr
    verb(lambda options: None, "--quiet")
    assert (sys.stdout, sys.stderr) == before


def test_quiet_draws_no_progress_bar_on_a_terminal(verb, monkeypatch):
    from tqdm import tqdm

    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)

    def work(options):
        for _ in tqdm(range(3), disable=None):
            pass

    verb(work, "--quiet")
    assert terminal.getvalue() == ""
    verb(work)
    assert "3/3" in terminal.getvalue()


def test_an_error_is_printed_though_quiet(verb, capsys):
    def fail(options):
        raise InputError("no\nsense")

    assert verb(fail, "--quiet", "--json") == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "ser-keras convert: no sense\n")


def test_an_interruption_is_130(verb, capsys):
    def interrupt(options):
        raise KeyboardInterrupt

    assert verb(interrupt) == 130
    assert capsys.readouterr().err == "ser-keras convert: interrupted\n"


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_fault():
    code = "import sys; from ser_keras.cli import main; sys.exit(main(['download', '--list']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.wait() == 141
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.parametrize(
    ("is_terminal", "environment", "is_coloured"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": ""}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_colours_are_for_terminals_of_those_who_want_them(monkeypatch, is_terminal, environment, is_coloured):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal
    assert paint("error", "red", stream) == ("\x1b[31merror\x1b[0m" if is_coloured else "error")


def test_values_become_those_of_json():
    assert plain([None, True, 1, "a", float("inf")]) == [None, True, 1, "a", None]


@each_verb
def test_help_fits_a_screen(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    lines = help_of(capsys, verb, "--help").splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 104


@each_verb
def test_help_says_the_exit_codes_and_the_common_flags(verb, capsys):
    text = help_of(capsys, verb, "--help")
    assert all(word in text for word in ("exit codes: 0 done", "--quiet", "--json"))


def test_help_all_shows_every_setting_and_help_says_so(capsys):
    short, full = help_of(capsys, "train", "--help"), help_of(capsys, "train", "--help-all")
    parser = cli.build_parser()._subparsers._group_actions[0].choices["train"]
    minor = [action.option_strings[0] for action in parser._actions if is_minor(action)]
    assert "--lstm-units" in minor and f"--help-all shows {len(minor)} more settings" in short
    assert not any(f"  {flag} " in short for flag in minor) and all(f"  {flag}" in full for flag in minor)


def test_a_setting_that_help_leaves_out_is_read_all_the_same():
    options = cli.build_parser().parse_args(["train", "--lstm-units", "16"])
    assert options.lstm_units == 16


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh", "fish"])
def test_completion_knows_the_verbs_and_their_flags(shell, capsys):
    script = help_of(capsys, "--print-completion", shell)
    assert all(word in script for word in ("ser-keras", "predict", "timeline", "lstm-units", "audformat"))


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes(tmp_path, capsys):
    (tmp_path / "completion").write_text(help_of(capsys, "--print-completion", "bash"))
    (tmp_path / "recording.wav").touch()
    ask = """
    source completion
    ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); $function "$1" "${@: -1}" "${@: -2:1}"; }
    function=$(complete -p ser-keras | sed 's/.*-F \\([^ ]*\\).*/\\1/')
    ask ser-keras pre; echo "${COMPREPLY[@]}"
    ask ser-keras predict --tim; echo "${COMPREPLY[@]}"
    ask ser-keras predict --format js; echo "${COMPREPLY[@]}"
    ask ser-keras predict rec; echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "-c", ask], cwd=tmp_path, capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.splitlines() == ["predict", "--timeline", "json jsonl", "recording.wav"]


def test_a_verb_leaves_logging_and_warnings_as_they_were(tmp_path, monkeypatch):
    """A second verb of one process had written to the stream, and with the flags, of the first."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    before = warnings.formatwarning
    assert cli.main(["predict", str(tmp_path / "missing.wav"), "--model", str(tmp_path)]) == 2
    assert logging.getLogger().handlers == [] and warnings.formatwarning is before
