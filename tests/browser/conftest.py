"""The browser, a deployment for each module, and its operator. The driver's event loop must end with its module."""

import os
import shutil
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.deployment import Deployment, LocalPage, page_server, running
from tests.browser.steps import Person, person

CHROMIUM = os.environ.get("OPERALTA_CHROMIUM", "/usr/bin/chromium")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass(frozen=True)
class Place:
    """A running deployment, and the one local server that its agents may fetch."""

    deployment: Deployment
    page: LocalPage


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    if os.environ.get("OPERALTA_WITHOUT_BROWSER") == "1":
        pytest.skip("not run: OPERALTA_WITHOUT_BROWSER=1 leaves out what drives a browser")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield started
        started.close()


@pytest.fixture(scope="module")
def place(browser: Browser) -> Generator[Place]:  # noqa: ARG001 - nothing is started where there is no browser
    folder = Path(tempfile.mkdtemp(prefix="ob-", dir="/tmp"))  # short, because it holds sockets
    folder.chmod(0o755)
    try:
        with page_server() as page, running(folder / "v", (f"127.0.0.1:{page.port}",)) as deployment:
            yield Place(deployment, page)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def operator(browser: Browser, place: Place) -> Generator[Person]:
    """Ada, the operator of `place`, who alone founds companies and sees the outbox."""
    with person(browser, place.deployment.base_url) as ada:
        ada.become_operator(place.deployment.operator_link, "Ada Lamp", "ada@lighthouse.example")
        ada.verify_address("ada@lighthouse.example")
        yield ada
