"""The browser, a deployment, and its operator. The driver's event loop must end with its module."""

import os
from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.deployment import Place, standing
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
WITHOUT = "not run: OPERALTA_WITHOUT_BROWSER=1 leaves out what drives a browser"


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    if os.environ.get("OPERALTA_WITHOUT_BROWSER") == "1":
        pytest.skip(WITHOUT)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield started
        started.close()


@pytest.fixture(scope="session")
def house() -> Generator[Place]:
    if os.environ.get("OPERALTA_WITHOUT_BROWSER") == "1":
        pytest.skip(WITHOUT)
    with standing() as place:
        yield place


@pytest.fixture(scope="module")
def place(house: Place) -> Place:
    """The deployment that most modules share; one that needs it untouched makes its own."""
    return house


@pytest.fixture(scope="module")
def operator(browser: Browser, place: Place) -> Generator[Person]:
    """Ada, the operator of `place`, who alone founds companies and sees the outbox."""
    with person(browser, place.deployment.base_url) as ada:
        if place.has_operator:
            ada.sign_in("ada@lighthouse.example")
        else:
            ada.become_operator(place.deployment.operator_link, "Ada Lamp", "ada@lighthouse.example")
            ada.verify_address("ada@lighthouse.example")
            place.has_operator = True
        yield ada
