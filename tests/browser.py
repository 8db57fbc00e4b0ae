"""A real Chromium for tests that look at pages; where there is none they are skipped, and say so."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """Start the browser of the system, or the one that `playwright install chromium` fetched."""
    with sync_playwright() as playwright:
        program = next(filter(None, map(shutil.which, _NAMES)), None) or _fetched(playwright)
        if program is None:
            pytest.skip(f"no browser: none of {', '.join(_NAMES)} is installed, nor Playwright's own Chromium")
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


def _fetched(playwright: Playwright) -> str | None:
    program = playwright.chromium.executable_path
    return program if Path(program).exists() else None
