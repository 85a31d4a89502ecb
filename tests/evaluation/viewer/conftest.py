"""A real browser for the tests of pages: Chromium, driven by Playwright. Without both, they are skipped."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

DESKTOP = (1000, 700)


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a page from a file. At the end it must not have complained."""
    opened, said, asked = [], [], []

    def open_page(path: Path, size: tuple[int, int] = DESKTOP) -> Any:
        shown = browser.new_page(viewport={"width": size[0], "height": size[1]})
        shown.on("console", lambda message: said.append(message.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto(path.as_uri())
        opened.append(shown)
        return shown

    yield open_page
    for shown in opened:
        shown.close()
    assert said == []
    assert all(url.startswith(("data:", "file:")) for url in asked)
