"""Download a published corpus by its name."""

import argparse
from dataclasses import asdict
from textwrap import shorten
from typing import TextIO

from ser_keras.cli.output import Outcome
from ser_keras.errors import InputError
from ser_keras.terminal import text_table

DETAILS = """\
The same command continues an interrupted download.
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `download`."""
    parser.epilog = DETAILS
    parser.add_argument("name", nargs="?", metavar="NAME", help="corpus, such as ravdess; see --list")
    parser.add_argument(
        "--to", metavar="DIR", default="corpora", help="parent of the new folder NAME (default: corpora)"
    )
    parser.add_argument("--list", action="store_true", help="show names, sizes, licences and addresses")
    parser.add_argument(
        "--accept-licence", action="store_true", help="confirm that you have read the licence and comply with it"
    )
    parser.add_argument(
        "--source",
        dest="origin",
        choices=("publisher", "audb", "tfds"),
        default="publisher",
        help="audb and tfds need `pip install audb` and `tensorflow-datasets` (default: publisher)",
    )


def run(options: argparse.Namespace) -> Outcome:
    """List the corpora, or download one."""
    from ser_keras.corpora.download import SOURCES, download_corpus, find_source

    if options.list:
        if not options.json:
            _print_list(options.results)
        return Outcome([asdict(source) for source in SOURCES])
    if not options.name:
        raise InputError("no NAME of a corpus; --list shows them")
    source = find_source(options.name)
    print(f"{source.title}   {source.licence}   {source.page}", flush=True)
    folder = download_corpus(options.name, options.to, accept_licence=options.accept_licence, origin=options.origin)
    print(f"{folder}   ser-keras train --dataset-path {folder}")
    return Outcome({"name": source.name, "folder": folder, "licence": source.licence, "page": source.page})


def _print_list(stream: TextIO) -> None:
    from ser_keras.corpora.download import SOURCES

    rows = []
    for source in SOURCES:
        files = source.files or ((source.listed,) if source.listed else ())
        checked = "-" if not files else "yes" if all(each.known_hash for each in files) else "no"
        size = "-" if not files else "?" if source.num_bytes is None else f"{source.num_bytes / 1e6:.0f}"
        address = files[0].url if files else f"by its publishers: {source.page}"
        rows.append((source.name, size, checked, shorten(source.licence, 33, placeholder=" ..."), address))
    print(text_table(("name", "MB", "checked", "licence", "address"), rows), file=stream)
