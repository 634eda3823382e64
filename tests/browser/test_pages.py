"""Every page, light and dark: usable with assistive technology, on a narrow screen, and under the content policy."""

from pathlib import Path
from typing import Any, TypeAlias

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, StorageState, ViewportSize, expect

from operalta.web.cookies import APPEARANCE
from tests.browser.deployment import Place
from tests.browser.steps import Person, person

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(600)]

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text()
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
NARROW: ViewportSize = {"width": 320, "height": 640}
Founder: TypeAlias = tuple[Person, list[str], StorageState]

FOR_VISITORS = (
    "sign-in", "sign-up", "reset", "trust", "trust/2.2.2", "password-reset/confirm?token=x", "verify-email?token=x",
    "trust-device?token=x", "nowhere",
)  # fmt: skip
FOR_PEOPLE = (
    "companies", "security", "security/factors/phone", "security/factors/authenticator",
    "security/factors/authenticator/confirm", "security/factors/passkey", "step-up?next=/security", "outbox", "trust",
    "nowhere",
)  # fmt: skip
IN_COMPANY = (
    "chat", "chat/{conversation}", "approvals", "approvals?state=decided", "approvals/{approval}", "agents",
    "agents/{agent}", "memory", "memory?kind=experiment", "memory/{record}", "metrics", "metrics/{metric}", "files",
    "files?folder=notes", "files/{file}", "files/bin", "members", "model-routes", "model-use", "audit",
)  # fmt: skip


@pytest.fixture(scope="module")
def founder(operator: Person) -> Founder:
    """A founder whose company holds something on every page; the addresses of the pages; the state of the browser."""
    operator.found("Lighthouse Works")
    return operator, _addresses(operator), operator.context.storage_state()


def _addresses(ada: Person) -> list[str]:
    found: dict[str, str] = {}
    page = ada.page
    page.get_by_label("Message").fill("/decide We sell yearly plans | Because *cash* matters")
    page.get_by_label("Message").press("Enter")
    page.wait_for_url("**/chat/*")
    expect(ada.replied()).to_contain_text("yearly")
    found["conversation"] = _last(page.url)
    ada.ask("What did we decide about plans?")
    ada.send("please write a file called notes/plan.md with First light on Monday")
    approval = ada.question().get_attribute("data-approval")
    assert approval is not None
    found["approval"] = approval
    ada.open("memory")
    found["record"] = _last(page.locator(".ledger-title").first.get_attribute("href"))
    ada.open("agents")
    found["agent"] = _last(page.locator(".ledger-title").first.get_attribute("href"))
    ada.open("metrics")
    page.locator("summary", has_text="New metric").click()
    form = page.locator("form.form-card")
    form.get_by_label("Name", exact=True).fill("Ships")
    form.get_by_label("What exactly is counted").fill("Ships that pass the pier")
    form.get_by_label("Where it comes from").fill("The pilots")
    form.get_by_role("button").click()
    page.wait_for_url("**/metrics/*")
    found["metric"] = _last(page.url)
    document = Path(__file__)
    ada.upload(document)
    found["file"] = _last(page.url)
    page.goto(f"{ada.base_url}/security/factors/authenticator")
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url("**/confirm")
    inside = [f"{ada.company}/{name.format_map(found)}" for name in IN_COMPANY]
    return inside + [f"{ada.base_url}/{name}" for name in FOR_PEOPLE]


def _last(address: str | None) -> str:
    assert address is not None
    return address.partition("?")[0].rpartition("/")[2]


# The gallery looks at every page in the light.
APPEARANCES = pytest.mark.parametrize("appearance", [pytest.param("light", marks=pytest.mark.soak), "dark"])


@APPEARANCES
def test_every_page_of_a_founder_passes_axe(browser: Browser, founder: Founder, appearance: str) -> None:
    ada, addresses, state = founder
    # The checker is a script of ours only here: the policy, which refuses it, is watched in another test.
    with person(browser, ada.base_url, state=state, with_policy=False) as eyes:
        _choose(eyes, appearance)
        assert [fault for address in addresses for fault in _faults(eyes, address)] == []


@APPEARANCES
def test_every_page_of_a_visitor_passes_axe(browser: Browser, place: Place, appearance: str) -> None:
    base_url = place.deployment.base_url
    with person(browser, base_url, with_policy=False) as eyes:
        _choose(eyes, appearance)
        assert [fault for name in FOR_VISITORS for fault in _faults(eyes, f"{base_url}/{name}")] == []


def test_no_page_scrolls_sideways_on_a_narrow_screen_and_none_breaks_the_policy(
    browser: Browser, place: Place, founder: Founder
) -> None:
    ada, addresses, state = founder
    with person(browser, ada.base_url, state=state, size=NARROW) as hand:
        wide = [address for address in addresses if _scrolls_sideways(hand, address)]
        with person(browser, ada.base_url, size=NARROW) as visitor:
            outside = [f"{ada.base_url}/{name}" for name in FOR_VISITORS]
            wide += [address for address in outside if _scrolls_sideways(visitor, address)]
            complaints = [one for one in hand.complaints + visitor.complaints if "404" not in one]
    assert wide == []
    assert complaints == []
    assert place.deployment.policy_reports() == []


def _choose(eyes: Person, appearance: str) -> None:
    """Choose light or dark as the menu does: by the cookie that the server reads."""
    eyes.context.add_cookies(
        [{"name": APPEARANCE, "value": appearance, "domain": "localhost", "path": "/", "secure": True}]
    )
    eyes.page.goto(f"{eyes.base_url}/trust")
    expect(eyes.page.locator("html")).to_have_attribute("data-appearance", appearance)


def _faults(eyes: Person, address: str) -> list[str]:
    answer = eyes.page.goto(address)
    assert answer is not None
    assert answer.ok or address.endswith("/nowhere"), f"{address}: {answer.status}"
    eyes.page.evaluate(AXE)
    options = {"runOnly": {"type": "tag", "values": STANDARDS}, "resultTypes": ["violations"]}
    found: dict[str, Any] = eyes.page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{address}: {fault['id']}: {node['html'][:160]} {node['failureSummary']}"
        for fault in found["violations"]
        for node in fault["nodes"]
    ]


def _scrolls_sideways(hand: Person, address: str) -> bool:
    hand.page.goto(address)
    return bool(hand.page.evaluate("() => document.documentElement.scrollWidth > innerWidth"))
