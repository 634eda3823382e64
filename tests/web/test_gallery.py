"""The pages in a real browser, under the exact content policy."""

from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect

from operalta.web.rendering import render
from tests.web.gallery import VIEWS, Gallery, Scheme, browsing, faults, serving
from tests.web.hostile import CORPUS, hostile

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with browsing() as started:
        yield started


@pytest.fixture
def gallery() -> Generator[Gallery]:
    with serving() as started:
        yield started


@pytest.fixture
def page(browser: Browser, gallery: Gallery) -> Generator[Page]:
    opened = browser.new_page()
    yield opened
    opened.close()
    assert gallery.reports == []


# Pages of the running application are looked at in the dark and at full width in `tests/browser`.
def test_axe_finds_nothing_on_the_first_sample_of_each_page(browser: Browser, gallery: Gallery) -> None:
    _assert_flawless(browser, gallery, _first(gallery), "light", "narrow")


@pytest.mark.soak
@pytest.mark.parametrize(("scheme", "size"), VIEWS)
def test_axe_finds_nothing_on_any(browser: Browser, gallery: Gallery, scheme: Scheme, size: str) -> None:
    _assert_flawless(browser, gallery, list(gallery.pages), scheme, size)


def _first(gallery: Gallery) -> list[str]:
    """Return the name of the first sample of each page."""
    return sorted({sample.template: name for name, sample in reversed(gallery.pages.items())}.values())


def _assert_flawless(browser: Browser, gallery: Gallery, names: list[str], scheme: Scheme, size: str) -> None:
    opened = browser.new_page(bypass_csp=True)
    found = {name: faults(opened, f"{gallery.address}/{name}", [(scheme, size)]) for name in names}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


# What the browser makes of every sample is looked at in the soak; what is in the text of each, by test_rendering.
@pytest.mark.proves("3.4.2")
@pytest.mark.parametrize("samples", ["first", pytest.param("all", marks=pytest.mark.soak)])
def test_hostile_text_in_every_field_does_nothing_in_a_browser(page: Page, gallery: Gallery, samples: str) -> None:
    text = "\n\n".join(CORPUS)
    gallery.html = {
        name: render(f"pages/{sample.template}", hostile(sample.context, text))
        for name, sample in gallery.pages.items()
        if samples == "all" or name in _first(gallery)
    }
    alarms: list[str] = []

    def note(dialog: Dialog) -> None:
        alarms.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", note)
    for name in gallery.html:
        page.goto(f"{gallery.address}/{name}")
        assert page.locator("#marker-of-attack").count() == 0, name
        assert page.locator("h1").count() == 1, name
    assert alarms == []


def test_a_reply_streams_as_text_and_ends_sanitised(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.address}/chat-live")
    live, status = page.locator("[data-live]"), page.locator("[data-status]")
    expect(status).to_have_text("Waiting for an approval")
    expect(live.locator(".text")).to_have_text("Churn is <b>down</b>: 2.2 % a month.")
    expect(live).to_have_attribute("aria-busy", "true")
    card = live.locator("[data-approval]")
    expect(card.locator("h2")).to_be_focused()
    assert card.locator("button[name=decision]").all_inner_texts()[:2] == ["Deny", "Approve once"]
    assert card.locator("[name=return_to]").input_value() == "/chat-live"
    gallery.ends.set()
    expect(status).to_have_text("Reply complete")
    expect(live).to_have_attribute("aria-busy", "false")
    expect(live.locator(".prose strong")).to_have_text("down")
    assert live.locator("script, form:not(.decision)").count() == 0
    assert page.locator("[data-stop-form]").is_hidden()


def test_enter_sends_once_and_shift_enter_breaks(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.address}/chat")
    box = page.locator("#field-text")
    box.fill("First")
    box.press("Shift+Enter")
    box.type("second")
    box.press("Enter")
    expect(page.locator(".message.person").last).to_contain_text("second")
    expect(box).to_have_value("")
    (sent,) = gallery.posted
    assert "text=First" in sent["body"]
    assert len(sent["idempotency-key"]) == 36
    page.keyboard.press("Escape")
    expect(page.locator("[data-status]")).to_have_text("Stopping…")
    gallery.ends.set()


def test_shortcuts_work_and_can_be_switched_off(page: Page, gallery: Gallery) -> None:
    page.goto(f"{gallery.address}/memory")
    page.keyboard.press("/")
    expect(page.locator("[data-search]")).to_be_focused()
    page.locator("[data-search]").blur()
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    page.get_by_label("Single-key shortcuts are on").uncheck()
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#shortcuts")).to_be_hidden()
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_hidden()


def test_times_are_told_in_the_readers_own_zone(browser: Browser, gallery: Gallery) -> None:
    opened = browser.new_page(timezone_id="Asia/Tokyo", locale="en-GB")
    opened.goto(f"{gallery.address}/memory-record")
    shown = opened.locator("time[data-time=moment]").first
    expect(shown).not_to_contain_text("UTC")
    opened.close()


def test_menus_open_without_script(browser: Browser, gallery: Gallery) -> None:
    opened = browser.new_page(java_script_enabled=False, viewport={"width": 320, "height": 720})
    opened.goto(f"{gallery.address}/memory")
    opened.get_by_role("button", name="Menu").click()
    expect(opened.get_by_role("link", name="Metrics")).to_be_visible()
    opened.get_by_role("button", name="Ada Okafor").click()
    expect(opened.get_by_role("button", name="Sign out")).to_be_visible()
    opened.close()
