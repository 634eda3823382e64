"""The chat under the fingers: keys, stopping, a page that is loaded again, several replies at once, and no script."""

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.deployment import Place
from tests.browser.steps import Person, person

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def ada(operator: Person) -> Person:
    operator.found("Lighthouse Talks")
    return operator


@pytest.fixture
def conversation(ada: Person, place: Place) -> Person:
    """Ada in a conversation of her own, and the slow page slow again."""
    place.page.arrived.clear()
    place.page.release.clear()
    ada.open("chat")
    ada.page.get_by_label("Message").fill("/help")
    ada.page.get_by_label("Message").press("Enter")
    ada.page.wait_for_url("**/chat/*")
    expect(ada.replied()).to_contain_text("/decide")
    return ada


def test_shift_and_enter_begin_a_new_line_and_enter_sends(conversation: Person) -> None:
    box = conversation.page.get_by_label("Message")
    box.focus()
    conversation.page.keyboard.type("/decide Two lines | one")
    conversation.page.keyboard.press("Shift+Enter")
    conversation.page.keyboard.type("two")
    expect(box).to_have_value("/decide Two lines | one\ntwo")
    expect(conversation.page.locator(".message.person")).to_have_count(1)
    conversation.page.keyboard.press("Enter")
    expect(conversation.page.locator(".message.person")).to_have_count(2)
    expect(box).to_have_value("")
    expect(conversation.replied()).to_contain_text("Two lines")


def test_escape_stops_a_reply(conversation: Person, place: Place) -> None:
    conversation.send(f"/fetch http://127.0.0.1:{place.page.port}/slow")
    assert place.page.arrived.wait(60)
    conversation.page.keyboard.press("Escape")
    expect(conversation.page.locator("[data-status]")).to_have_text(re.compile(r"Stopping…|Stopped"))
    place.page.release.set()
    expect(conversation.page.locator("[data-status]")).to_have_text("Stopped")
    expect(conversation.page.get_by_role("button", name="Stop")).to_be_hidden()
    conversation.page.reload()
    expect(conversation.page.get_by_text("This reply was stopped.")).to_be_visible()


def test_a_page_that_is_loaded_again_shows_what_happened_and_goes_on(conversation: Person, place: Place) -> None:
    conversation.send(f"/fetch http://127.0.0.1:{place.page.port}/slow")
    assert place.page.arrived.wait(60)
    expect(conversation.page.locator("[data-live] .tool-card")).to_contain_text("web_fetch")
    conversation.page.reload()
    expect(conversation.page.locator("[data-live] .tool-card")).to_have_count(1)
    expect(conversation.page.locator("[data-live] .tool-card")).to_contain_text("web_fetch")
    place.page.release.set()
    expect(conversation.page.locator("[data-status]")).to_have_text("Reply complete")
    expect(conversation.page.locator("[data-live] .tool-card")).to_have_count(1)
    expect(conversation.page.locator("[data-live]")).to_contain_text("41 ships")


def test_a_message_sent_meanwhile_waits_and_gets_its_own_reply(conversation: Person, place: Place) -> None:
    conversation.send(f"/fetch http://127.0.0.1:{place.page.port}/slow")
    assert place.page.arrived.wait(60)
    conversation.send("/decide Meanwhile we go on | because we can")
    expect(conversation.page.get_by_text("Meanwhile we go on")).to_be_visible()
    place.page.release.set()
    replies = conversation.page.locator(".message:not(.person) .reply, [data-live]")
    expect(replies.first).to_contain_text("41 ships")
    expect(replies.last).to_contain_text("Meanwhile we go on")
    expect(replies.first).not_to_contain_text("Meanwhile")


def test_an_approval_is_given_with_the_keyboard_alone(conversation: Person) -> None:
    conversation.send("please record a decision that keys are enough")
    card = conversation.question()
    expect(card.get_by_role("heading").first).to_be_focused()
    for key in ("Enter", "Space", "y", "a"):
        conversation.page.keyboard.press(key)
    expect(card.get_by_role("button", name="Approve once")).to_be_visible()  # no single key approves
    approve = card.get_by_role("button", name="Approve once")
    for _ in range(12):
        conversation.page.keyboard.press("Tab")
        if approve.evaluate("button => button === document.activeElement"):
            break
    expect(approve).to_be_focused()
    conversation.page.keyboard.press("Enter")
    expect(conversation.page.get_by_text("Your decision is recorded.")).to_be_visible()
    expect(conversation.replied()).to_contain_text("Keys are enough")


def test_the_chat_works_without_script(browser: Browser, ada: Person) -> None:
    with person(browser, ada.base_url, state=ada.context.storage_state(), with_script=False) as plain:
        plain.page.goto(f"{ada.company}/chat")
        plain.page.get_by_label("Message").fill("please record a decision that plain pages stay")
        plain.page.get_by_role("button", name="Send").click()
        plain.page.wait_for_url("**/chat/*")
        _load_until(plain, "form.decision")
        plain.page.get_by_role("button", name="Approve once").click()
        _load_until(plain, ".message.agent")
        expect(plain.page.locator(".message.agent")).to_contain_text("Plain pages stay")


def test_nothing_was_refused_by_the_content_policy(ada: Person, place: Place) -> None:
    assert [one for one in ada.complaints if "Content Security Policy" in one or "script" in one] == []
    assert place.deployment.policy_reports() == []


def _load_until(plain: Person, selector: str) -> None:
    """Load the page until it shows `selector`, as somebody without script does."""
    for _ in range(150):
        if plain.page.locator(selector).count():
            return
        plain.page.wait_for_timeout(200)
        plain.page.goto(plain.page.url.partition("?")[0])
    raise AssertionError(f"{selector} never came:\n{plain.page.locator('main').inner_text()}")
