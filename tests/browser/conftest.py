"""Fixtures: a real Chromium in front of a real server. Without a browser these tests are skipped with a message."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.harness import RETOUCHER, Harness
from tests.node.packages import PACKAGES, require_packages

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HERE = Path(__file__).parent
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 60_000  # milliseconds that a page may take for anything


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


def find_chromium() -> str:
    """The path of the system's Chromium. Skips the test without one."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((found for name in names if (found := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"BROWSER TESTS SKIPPED: none of {', '.join(names)} is on the PATH")
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="BROWSER TESTS SKIPPED: playwright is not installed")
    chromium = find_chromium()
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=SWITCHES)
        yield running
        running.close()


@pytest.fixture(scope="session")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """One server and one worker, shared by tests that do not restart them."""
    with Harness(tmp_path_factory.mktemp("harness")) as harness:
        yield harness.open()


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """One server whose model repaints too, shared by tests that do not restart it."""
    folder = tmp_path_factory.mktemp("studio")
    with Harness(folder, MODEL_RETOUCHER=RETOUCHER, DEFAULT_MODEL_ID="retoucher") as harness:
        yield harness.open()


@pytest.fixture
def new_harness(tmp_path: Path) -> Iterator[Callable[..., Harness]]:
    """Factory of a harness for one test, not started yet."""
    made: list[Harness] = []

    def make(**environment: str) -> Harness:
        folder = tmp_path / f"harness-{len(made)}"
        folder.mkdir()
        made.append(Harness(folder, **environment))
        return made[-1]

    yield make
    for harness in made:
        harness.close()


@pytest.fixture
def new_page(browser: Browser, new_harness: Callable[..., Harness]) -> Iterator[Callable[..., Page]]:
    """Opens a page in a new profile. Console errors fail the test, unless `forgive` is given.

    Needs `new_house` only so as to end before it: a page whose server goes complains.
    """
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE)
    contexts, complaints = [], []

    def make(url: str, *, forgive: bool = False, **options: Any) -> Page:
        context = browser.new_context(
            **({"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark"} | options)
        )
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        if not forgive:
            page.on("console", lambda said: said.type in ("error", "warning") and complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        expect(page.locator("#model option, #banner:not([hidden])").first).to_be_attached()
        return page

    yield make
    for context in contexts:
        context.close()
    assert not complaints, f"the page complained: {complaints}"


@pytest.fixture
def page(new_page: Callable[..., Page], harness: Harness) -> Page:
    harness.quiet()
    return new_page(harness.url)


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    require_packages()
    return (PACKAGES / "axe-core" / "axe.min.js").read_text()
