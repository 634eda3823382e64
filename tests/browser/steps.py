"""What a person does in the browser, step by step, as the tests tell it. Every step waits for what it brought about."""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    StorageState,
    ViewportSize,
    expect,
)

PATIENCE = 60_000  # milliseconds; the machine may be busy with other tests
PASSWORD = "four plain words together"
SIZE: ViewportSize = {"width": 1280, "height": 800}

expect.set_options(timeout=PATIENCE)


class Person:
    """Somebody with a browser of their own. `complaints` are what it refused or what a script failed at."""

    def __init__(self, context: BrowserContext, base_url: str) -> None:
        self.context = context
        self.base_url = base_url
        self.complaints: list[str] = []
        context.set_default_timeout(PATIENCE)
        self.page = context.new_page()
        self.page.on("console", self._told)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        self.company = ""

    def _told(self, message: ConsoleMessage) -> None:
        if message.type == "error" or "Content Security Policy" in message.text:
            self.complaints.append(f"console: {message.text}")

    # ── Accounts and companies ─────────────────────────────────────────────────────────────────────

    def become_operator(self, link: str, name: str, email: str) -> None:
        """Use the link that `up` printed."""
        self.page.goto(link)
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_label("E-mail").fill(email)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name=re.compile("Open the operator.s account")).click()
        expect(self.page.get_by_text("You are the operator now.")).to_be_visible()

    def sign_in(self, email: str) -> None:
        """Sign in with the password that everybody has here."""
        self.page.goto(f"{self.base_url}/sign-in")
        self.page.get_by_label("E-mail").fill(email)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in", exact=True).click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text("Your companies")

    def mailed_link(self, recipient: str, subject: str) -> str:
        """Wait for a message in the outbox and return the link in it."""
        mail = self.page.locator(".outbox li").filter(has_text=recipient).filter(has_text=subject)
        for _ in range(100):
            self.page.goto(f"{self.base_url}/outbox")
            if mail.count():
                break
            self.page.wait_for_timeout(200)  # between two looks; what is waited for is the mail
        address = mail.first.get_by_role("link", name="Open the link").get_attribute("href")
        assert address is not None
        return address

    def verify_address(self, email: str) -> None:
        """Open the link that confirms the address."""
        self.page.goto(self.mailed_link(email, "Confirm your e-mail address"))
        self.page.get_by_role("button", name="Confirm that this is my address").click()
        expect(self.page.get_by_text("Your address is verified.")).to_be_visible()

    def found(self, name: str) -> None:
        """Found a company and go into it."""
        self.page.goto(f"{self.base_url}/companies")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_role("button", name="Found the company").click()
        self.page.wait_for_url("**/chat")
        self.company = self.page.url.removesuffix("/chat")

    def open(self, name: str) -> None:
        """Open a page of the company."""
        self.page.goto(f"{self.company}/{name}")

    def upload(self, file: Path) -> None:
        """Bring a file."""
        self.open("files")
        self.page.locator("summary", has_text="Upload").click()
        self.page.get_by_label("File", exact=True).set_input_files(file)
        self.page.get_by_role("button", name="Upload").click()
        expect(self.page.get_by_role("heading", name=file.name, level=1)).to_be_visible()

    # ── Chat ───────────────────────────────────────────────────────────────────────────────────────

    def send(self, text: str) -> None:
        """Type a message and send it; come back as soon as its run is being followed."""
        mine = self.page.locator(".message.person").filter(has_text=text)
        before = mine.count()
        self.page.get_by_label("Message").fill(text)
        self.page.get_by_label("Message").press("Enter")
        expect(mine).to_have_count(before + 1)

    def ask(self, text: str) -> Locator:
        """Send a message, wait for the whole reply, and return it."""
        self.send(text)
        return self.replied()

    def replied(self) -> Locator:
        """Wait until nothing is being written any more and return the last reply, as it stands after a reload."""
        expect(self.page.locator("[data-live]")).to_have_attribute("aria-busy", "false")
        self.page.goto(self.page.url.partition("?")[0])
        return self.page.locator(".message.agent").last

    def question(self) -> Locator:
        """Wait for a card that asks for an approval, and return it."""
        card = self.page.locator(".approval-card").filter(has=self.page.locator("form.decision"))
        expect(card).to_have_count(1)
        return card

    def decide(self, button: str) -> None:
        """Press a button of the card that is open."""
        self.question().get_by_role("button", name=button, exact=True).click()
        expect(self.page.get_by_text("Your decision is recorded.")).to_be_visible()

    # ── Pictures ───────────────────────────────────────────────────────────────────────────────────

    def picture(self, name: str) -> None:
        """Keep what is seen, where OPERALTA_SCREENSHOTS names a folder."""
        if folder := os.environ.get("OPERALTA_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png")

    def large_picture(self, name: str, *, dark: bool = False) -> None:
        """Keep this page as a larger window shows it, on as many pixels: for where much stands together."""
        browser = self.context.browser
        if browser is None or "OPERALTA_SCREENSHOTS" not in os.environ:
            return
        size: ViewportSize = {"width": 1920, "height": 1200}
        context = browser.new_context(
            viewport=size,
            device_scale_factor=SIZE["width"] / size["width"],
            color_scheme="dark" if dark else "light",
            storage_state=self.context.storage_state(),
        )
        seen = Person(context, self.base_url)
        seen.page.goto(self.page.url)
        seen.question()
        seen.page.locator(".messages").evaluate("messages => messages.scrollTo(0, messages.scrollHeight)")
        seen.picture(name)
        context.close()


@contextmanager
def person(
    browser: Browser,
    base_url: str,
    *,
    state: StorageState | None = None,
    size: ViewportSize = SIZE,
    with_policy: bool = True,
    with_script: bool = True,
) -> Generator[Person]:
    """Open a browser of its own for somebody; with `state`, where they left off in another."""
    context = browser.new_context(
        viewport=size,
        color_scheme="light",
        locale="en-GB",
        storage_state=state,
        bypass_csp=not with_policy,
        java_script_enabled=with_script,
    )
    try:
        yield Person(context, base_url)
    finally:
        context.close()


def whole_text(text: str) -> re.Pattern[str]:
    """A pattern for exactly this text, outer white space aside."""
    return re.compile(rf"^\s*{re.escape(text)}\s*$")
