"""The whole story in a real browser: a company is founded, its agents work, nothing happens unasked, all is kept."""

import re
from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.deployment import PAGE_TEXT, ROOT, Place, standing
from tests.browser.steps import PASSWORD, Person, person, whole_text

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(600)]

DECISION = "We sell yearly plans, with two months free"
PLAN = "First light on Monday; the second lamp follows in June."


@pytest.fixture(scope="module")
def place(browser: Browser) -> Generator[Place]:  # noqa: ARG001 - nothing is started where there is no browser
    """A deployment of its own, which nobody operates yet and which loses its worker."""
    with standing() as found:
        yield found


@pytest.mark.proves("5.5.1")
def test_the_story_of_a_company(browser: Browser, place: Place) -> None:
    base_url = place.deployment.base_url
    with person(browser, base_url) as ada, person(browser, base_url) as ben:
        ada.become_operator(place.deployment.operator_link, "Ada Lamp", "ada@lighthouse.example")
        ada.verify_address("ada@lighthouse.example")
        ada.found("Lighthouse Works")
        _invite_and_join(ada, ben)
        _ask_about_a_document(ada)
        _run_a_command(ada)
        _record_a_decision(ada)
        _have_a_file_written(ada)
        _fetch(ada, place)
        _deny(ada)
        _lose_the_worker(ada, place)
        _read_the_log(ada)
        _see_the_trust_page(ada)
        ben.page.goto(f"{ada.company}/memory")
        expect(ben.page.get_by_role("link", name=DECISION)).to_be_visible()
        assert ada.complaints == []
        assert ben.complaints == []
        ben.page.goto(f"{ada.company}/audit")
        expect(ben.page.get_by_role("heading", level=1)).to_have_text("Not permitted")
    assert place.deployment.policy_reports() == []


def _invite_and_join(ada: Person, ben: Person) -> None:
    ada.open("members")
    ada.page.locator("summary", has_text=whole_text("Invite")).click()
    ada.page.get_by_label("E-mail").fill("ben@harbour.example")
    ada.page.get_by_label("Role", exact=True).select_option("advisor")
    ada.page.get_by_role("button", name="Send the invitation").click()
    expect(ada.page.get_by_text("The invitation is on its way.")).to_be_visible()

    ben.page.goto(ada.mailed_link("ben@harbour.example", "Lighthouse Works"))
    expect(ben.page.get_by_text("Ada Lamp invites you as advisor.")).to_be_visible()
    ben.page.get_by_label("Your name").fill("Ben Harbour")
    ben.page.get_by_label("Password").fill(PASSWORD)
    ben.page.get_by_role("button", name="Accept and join").click()
    ben.page.wait_for_url(re.compile(r"/c/lighthouse-works/(chat|memory)$"))
    ada.open("members")
    expect(ada.page.get_by_text("Ben Harbour", exact=True)).to_be_visible()


def _ask_about_a_document(ada: Person) -> None:
    document = next(file for name in ("README.md", "LICENSE") if (file := ROOT / name).exists())
    ada.upload(document)
    ada.open("chat")
    ada.page.get_by_label("Message").fill("What does it say about security and its license?")
    ada.page.get_by_label("Message").press("Enter")
    ada.page.wait_for_url("**/chat/*")
    reply = ada.replied()
    expect(reply.locator("blockquote").first).to_be_visible()
    sources = reply.get_by_role("list", name="Drawn from").get_by_role("link")
    expect(sources.first).to_be_visible()
    address = sources.first.get_attribute("href")
    assert address is not None
    answered = ada.page.url
    ada.page.goto(ada.base_url + address)
    expect(ada.page.get_by_role("heading", name=document.name, level=1)).to_be_visible()
    ada.page.goto(answered)


def _run_a_command(ada: Person) -> None:
    document = next(name for name in ("README.md", "LICENSE") if (ROOT / name).exists())
    words = len((ROOT / document).read_bytes().split())
    chat = ada.page.url
    ada.send(f"please run wc on the file {document}")
    card = ada.question()
    expect(card.locator("dd pre", has_text=whole_text(f"wc {document}"))).to_be_visible()
    expect(card.get_by_role("button", name="Approve for this conversation")).to_have_count(0)
    ada.decide("Approve once")
    reply = ada.replied()
    expect(reply.locator(".tool-card", has_text="shell_run")).to_contain_text("Done")
    expect(reply).to_contain_text(re.compile(rf"\b{words}\b.*{re.escape(document)}"))
    ada.page.goto(chat)


def _record_a_decision(ada: Person) -> None:
    ada.send(f"please record a decision that {DECISION[0].lower()}{DECISION[1:]}")
    card = ada.question()
    expect(card.locator("dd pre", has_text=whole_text(DECISION))).to_be_visible()
    expect(card.get_by_text("Lighthouse Works")).to_be_visible()
    chat = ada.page.url
    ada.open("memory")
    expect(ada.page.get_by_text(DECISION)).to_have_count(0)  # asked is not done
    ada.open("approvals")
    expect(ada.question().locator("dd pre", has_text=whole_text(DECISION))).to_be_visible()
    ada.page.goto(chat)
    ada.decide("Approve once")
    ada.replied()
    ada.open("memory")
    expect(ada.page.get_by_role("link", name=DECISION)).to_be_visible()
    ada.picture("memory")
    ada.page.get_by_role("link", name=DECISION).click()
    expect(ada.page.get_by_role("heading", name=DECISION, level=1)).to_be_visible()
    ada.page.goto(chat)


def _have_a_file_written(ada: Person) -> None:
    chat = ada.page.url
    ada.send(f"please write a file called notes/plan.md with {PLAN}")
    expect(ada.question().locator("dd pre", has_text=whole_text(PLAN))).to_be_visible()
    ada.open("approvals")
    expect(ada.question()).to_be_visible()
    ada.picture("approvals")
    ada.decide("Approve once")
    ada.page.goto(chat)
    expect(ada.page.locator(".tool-card", has_text="files_write").last).to_contain_text("Done")
    ada.open("files?folder=notes")
    ada.page.get_by_role("link", name="plan.md").click()
    expect(ada.page.get_by_text(PLAN)).to_be_visible()
    ada.page.goto(chat)


def _fetch(ada: Person, place: Place) -> None:
    for refused in ("http://169.254.169.254/", f"http://127.0.0.1:{place.deployment.port}/"):
        reply = ada.ask(f"/fetch {refused}")
        expect(reply).to_contain_text("This did not work.")
        expect(reply.locator(".tool-card")).to_contain_text("Failed")
    reply = ada.ask(f"/fetch http://127.0.0.1:{place.page.port}/page")
    expect(reply).to_contain_text(PAGE_TEXT)
    expect(reply.locator(".tool-card")).to_contain_text("Done")


def _deny(ada: Person) -> None:
    chat = ada.page.url
    reply = ada.ask("When does the second lamp follow?")
    expect(reply.locator("blockquote")).to_contain_text(PLAN)
    expect(reply.get_by_role("link", name="notes/plan.md")).to_be_visible()
    ada.send("please record a decision that we give everything away")
    ada.question()
    ada.large_picture("chat")
    ada.large_picture("chat-dark", dark=True)
    ada.decide("Deny")
    reply = ada.replied()
    expect(reply.locator(".tool-card")).to_contain_text("Denied")
    expect(reply).to_contain_text("This was not done.")
    ada.open("approvals?state=decided")
    expect(ada.page.locator(".approval-card.denied")).to_contain_text("Denied by Ada Lamp")
    ada.open("memory")
    expect(ada.page.get_by_text("give everything away")).to_have_count(0)
    ada.page.goto(chat)


def _lose_the_worker(ada: Person, place: Place) -> None:
    """The worker dies while it waits for a page; the run is taken up again, and what it began is not done twice."""
    ada.send(f"/fetch http://127.0.0.1:{place.page.port}/slow")
    assert place.page.arrived.wait(60), "the page was never asked for"
    died = place.deployment.kill_worker()
    place.page.release.set()
    reply = ada.replied()
    expect(reply.locator(".tool-card")).to_have_count(1)
    expect(reply.locator(".prose")).not_to_be_empty()
    assert place.deployment.worker() != died
    assert place.page.asked_for.count("/slow") == 1
    expect(ada.ask("What did we decide about yearly plans?")).to_contain_text(DECISION)


def _read_the_log(ada: Person) -> None:
    for action in ("company.founded", "member.invited", "invitation.accepted", "memory.recorded", "approval.granted",
                   "approval.denied", "egress.refused", "egress.fetched", "run.recovered", "run.finished"):  # fmt: skip
        ada.open(f"audit?action={action}")
        expect(ada.page.locator(".audit summary code").first).to_have_text(action)
    ada.open("audit")
    ada.page.get_by_role("button", name="Verify now").click()
    expect(ada.page.get_by_text("every sealed event is whole")).to_be_visible()
    expect(ada.page.locator(".chain .badge")).to_have_text("Intact")
    ada.picture("audit")


def _see_the_trust_page(ada: Person) -> None:
    ada.page.goto(f"{ada.base_url}/trust")
    expect(ada.page.get_by_role("heading", level=1)).to_contain_text(re.compile(r"\d+ of 188 promises hold|promises"))
    ada.picture("trust")
