"""The site is built without a warning, and asks for nothing outside itself."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ser_keras import cli

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
OUTSIDE = re.compile(r"(?:https?:)?//")
FETCHED = {"img": "src", "script": "src", "iframe": "src", "audio": "src", "source": "src", "object": "data"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the site, and what building it printed; whoever asks the network gets no answer."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    nobody = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **nobody, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder, process.stdout + process.stderr


@pytest.fixture(scope="module")
def site(built):
    folder, _ = built
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob("*.html")}


class _Requests(HTMLParser):
    """Collects what a browser fetches to show a page."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "link" and attributes.get("rel") != "canonical":
            self.found.append(attributes["href"])
        if tag in FETCHED:
            self.found.append(attributes.get(FETCHED[tag]) or "")


def test_the_site_is_built_without_a_word(built):
    _, printed = built
    assert printed == ""


def test_no_page_asks_for_anything_outside(site):
    requests = {name: _Requests(page).found for name, page in site.items()}
    assert all("stylesheet" in page for page in site.values()) and all(requests.values())
    assert [(name, url) for name, urls in requests.items() for url in urls if OUTSIDE.match(url)] == []


def test_no_style_sheet_asks_for_anything_outside(built):
    folder, _ = built
    styles = {path.name: path.read_text(encoding="utf-8") for path in folder.rglob("*.css")}
    assert "site.css" in styles
    assert [name for name, text in styles.items() if re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", text)] == []


def test_no_diagram_brings_a_script_from_outside(site):
    assert [name for name, page in site.items() if 'class="mermaid"' in page] == []


def test_every_verb_and_flag_is_on_the_page_of_the_command_line(site):
    page = site["command-line.html"]
    (verbs,) = (action.choices for action in cli.build_parser()._actions if isinstance(action.choices, dict))
    for name, parser in verbs.items():
        assert f'<h2 id="{name}">' in page
        flags = {flag for action in parser._actions for flag in action.option_strings} - {"-h", "--help"}
        assert [flag for flag in flags if flag not in page] == []


def test_every_exit_code_is_there(site):
    rows = re.findall(r"<tr>\s*<td>(\d+)</td>", site["command-line.html"])
    assert rows == ["0", "1", "2", "75", "130"]


def test_corpora_and_settings_are_those_of_the_code(site):
    assert "<code>wav/03a01Fa.wav</code>" in site["your-data.html"]
    assert "<code>log_offset</code>" in site["features.html"]


def test_pages_from_elsewhere_are_reached(site):
    assert 'href="protocols.html"' in site["accuracy.html"] and "EmoBox" in site["protocols.html"]


def test_examples_of_docstrings_are_shown_as_code(site):
    page = site["api/evaluation.html"]
    assert "<blockquote>" not in page
    assert '<span class="gp">&gt;&gt;&gt; </span>' in page
