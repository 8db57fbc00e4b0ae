"""A corpus with every kind of broken file; `make stress` makes one of ten thousand files."""

import csv
from pathlib import Path

import broken_corpus
import pytest
from command_line import QUICK

from ser_keras.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run, its corpus of 90 files, and the kinds of those that are broken or odd."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "corpus").mkdir()
    kinds = broken_corpus.make_broken_corpus(folder / "corpus", 90)
    arguments = ["--dataset-path", str(folder / "corpus"), "--output-dir", str(folder / "run"), *QUICK, "--epochs", "1"]
    assert main(["train", *arguments]) == 0
    return folder / "run", folder / "corpus", kinds


def test_every_broken_file_is_named_with_its_reason_and_no_good_one(trained):
    reasons = broken_corpus.check_run(*trained)
    assert len(reasons) == len(broken_corpus.BROKEN) >= 20


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("NaN", "holds NaN or infinite samples"),
        ("silent", "silent: no sample above"),
        ("a constant offset", "silent: no sample above"),
        ("integers as floats", "too loud: a peak of "),
        ("too short", "too short: 0.050 s, at least 0.1 s expected"),
        ("no channels", "0 channels in the WAV header"),
        ("rate 1 GHz", "sample rate 1000000000 Hz is outside"),
        ("cut by a third", "cut off: 0.20 s of 0.30 s"),
        ("4 GB claimed, none there", "empty: no samples"),
        ("HTML page", "not audio that can be read: a web page; send WAV"),
        ("folder", "cannot be opened"),
        ("link to itself", "cannot be opened"),
    ],
)
def test_the_reason_says_what_is_wrong(trained, way, reason):
    assert broken_corpus.check_run(*trained)[way].startswith(reason)


def test_odd_files_that_are_good_are_used(trained):
    run, _, kinds = trained
    with (run / "split.csv").open(newline="") as file:
        used = {Path(row["path"]) for row in csv.DictReader(file)}
    odd = {path: kind for path, kind in kinds.items() if kind in broken_corpus.ODD}
    assert set(odd.values()) == set(broken_corpus.ODD) and used > set(odd)


@pytest.mark.parametrize("harm", ["a good file rejected", "a broken file used", "no reason"])
def test_a_run_that_is_wrong_is_seen(trained, tmp_path, harm):
    run, corpus, kinds = trained
    for name in ("rejected.csv", "split.csv"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with (tmp_path / "rejected.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    match harm:
        case "a good file rejected":
            rows.append([str(next(path for path in corpus.iterdir() if path not in kinds)), "silent"])
        case "a broken file used":
            rows.pop()
        case "no reason":
            rows[-1][1] = ""
    with (tmp_path / "rejected.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(AssertionError, match=r"by mistake|no reason"):
        broken_corpus.check_run(tmp_path, corpus, kinds)
