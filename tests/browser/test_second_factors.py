"""Second factors in a real browser: enrolled, asked for after the password, used once, proved again when it matters.

Codes by SMS are read in the operator's outbox, codes of the app are made with pyotp, and passkeys live in Chromium's
virtual authenticator (WebAuthn Level 3, section 11).
"""

import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from pyotp.totp import TOTP

from operalta.settings import DatabaseRole, Settings
from tests.browser.deployment import Deployment, Place
from tests.browser.steps import PASSWORD, Person, person

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(600)]

EMAIL = "ben@harbour.example"
NUMBER = "+41795550123"
_CODE = re.compile(r"(\d{6}) is your Operalta code")


@dataclass
class Holder:
    """Somebody with every kind of second factor, in a browser of their own."""

    seen: Person
    ada: Person
    deployment: Deployment
    authenticator: "VirtualAuthenticator"
    secret: str = ""
    recovery_codes: list[str] = field(default_factory=list[str])
    codes_seen: int = 0

    # ── What arrives, and what the app shows ──────────────────────────────────────────────────────

    def arrived_code(self) -> str:
        """Wait for one more code in the operator's outbox than was seen before, and return it."""
        messages = self.ada.page.locator(".outbox li").filter(has_text=NUMBER)
        for _ in range(150):
            self.ada.page.goto(f"{self.ada.base_url}/outbox")
            if messages.count() > self.codes_seen:
                break
            self.ada.page.wait_for_timeout(200)  # between two looks; what is waited for is the message
        self.codes_seen = messages.count()
        found = _CODE.search(messages.first.inner_text())
        assert found is not None
        return found[1]

    def app_code(self) -> str:
        """The code that the app shows now; the account forgets for it which one was used last."""
        self.as_owner("UPDATE identity.authenticators SET last_step = 0")
        return TOTP(self.secret).now()

    def as_owner(self, statement: LiteralString) -> None:
        """Arrange something in the database."""
        dsn = Settings(var_dir=self.deployment.var).database_dsn(DatabaseRole.OWNER)
        with psycopg.connect(dsn, autocommit=True) as owner:
            owner.execute(statement)

    # ── Steps ─────────────────────────────────────────────────────────────────────────────────────

    def go(self, path: str) -> None:
        """Open a page of the site."""
        self.seen.page.goto(f"{self.seen.base_url}{path}")

    def press(self, name: str) -> None:
        """Press a button."""
        self.seen.page.get_by_role("button", name=name, exact=True).click()

    def type_code(self, code: str, label: str, button: str = "Continue") -> None:
        """Type a code and send it."""
        self.seen.page.get_by_role("textbox", name=label, exact=True).fill(code)
        self.press(button)

    def leave(self) -> None:
        """Forget everything that this browser kept: whoever comes now is a stranger."""
        self.seen.context.clear_cookies()

    def give_password(self, password: str = PASSWORD) -> None:
        """Sign in with the password, on a browser that the account does not know; a second factor is asked for."""
        self.leave()
        self.go("/sign-in?next=/security")
        with self.authenticator.away():  # else it would answer as soon as the address is filled in
            self.seen.page.get_by_label("E-mail").fill(EMAIL)
            self.seen.page.get_by_label("Password").fill(password)
            self.press("Sign in")
            expect(self.heading).to_have_text("One more step")

    def choose(self, way: str) -> None:
        """Choose another way than the one that is shown first."""
        self.seen.page.get_by_role("link", name=way, exact=True).click()

    def sees_refusal(self) -> None:
        """Expect the code to be refused, and the page to say so in focus."""
        expect(self.seen.page.get_by_role("alert")).to_be_focused()
        expect(self.seen.page.get_by_role("alert")).to_contain_text("This code is not right")

    def has_factor(self, name: str) -> None:
        """Expect a second factor of this name on the security page."""
        expect(self.seen.page.get_by_role("strong").filter(has_text=name)).to_be_visible()

    def is_inside(self) -> None:
        """Expect the security page of somebody who is signed in."""
        expect(self.heading).to_have_text("Security")
        expect(self.seen.page).to_have_url(re.compile(r"/security(\?|$)"))

    @property
    def heading(self) -> Locator:
        """What the page is about."""
        return self.seen.page.get_by_role("heading", level=1)


class VirtualAuthenticator:
    """A device that makes passkeys, verifies its owner, and is always touched at once."""

    def __init__(self, page: Page) -> None:
        self._session: Any = page.context.new_cdp_session(page)  # the package leaves what it answers untyped
        self._session.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        self._id = self._session.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    @contextmanager
    def away(self) -> Generator[None]:
        """Have nobody touch it while the block runs."""
        self._touched(by_itself=False)
        yield
        self._touched(by_itself=True)

    def _touched(self, *, by_itself: bool) -> None:
        self._session.send(
            "WebAuthn.setAutomaticPresenceSimulation", {"authenticatorId": self._id, "enabled": by_itself}
        )


@pytest.fixture(scope="module")
def holder(browser: Browser, place: Place, operator: Person) -> Generator[Holder]:
    """Ben, who opens an account and adds a phone, an app and a passkey; Ada, the operator, reads the outbox."""
    with person(browser, place.deployment.base_url) as ben:
        _open_account(operator, ben)
        authenticator = VirtualAuthenticator(ben.page)
        found = Holder(ben, operator, place.deployment, authenticator)
        _add_phone(found)
        _add_app(found)
        _add_passkey(found)
        yield found
        assert [one for one in ben.complaints if "422" not in one and "429" not in one] == []
    assert place.deployment.policy_reports() == []


def _open_account(ada: Person, ben: Person) -> None:
    page = ben.page
    page.goto(f"{ben.base_url}/sign-up")
    page.get_by_label("Your name").fill("Ben Harbour")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Open an account").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Check your mail")
    page.goto(ada.mailed_link(EMAIL, "Confirm your e-mail address"))
    page.get_by_role("button", name="Confirm that this is my address").click()
    ben.sign_in(EMAIL)


def _add_phone(ben: Holder) -> None:
    ben.go("/security")
    ben.seen.page.get_by_role("link", name="Add a phone").click()
    ben.seen.page.get_by_label("Phone number").fill("0041 79 555 01 23")
    ben.press("Send a code")
    expect(ben.seen.page.get_by_role("timer")).to_have_text(re.compile(r"It works for \d:\d\d more\."))
    expect(ben.seen.page.get_by_role("button", name=re.compile("Send another code in"))).to_be_disabled()
    ben.type_code(ben.arrived_code(), "Code from the message", "Add this phone")
    expect(ben.heading).to_have_text("Your recovery codes")
    ben.recovery_codes = ben.seen.page.locator("[data-codes] code").all_inner_texts()
    assert len(set(ben.recovery_codes)) == 10
    ben.seen.page.get_by_role("link", name="I have kept them").click()
    ben.has_factor(NUMBER)


def _add_app(ben: Holder) -> None:
    ben.seen.page.get_by_role("link", name="Add an authenticator app").click()
    ben.seen.page.get_by_label("What do you call it?").fill("Aegis")
    ben.press("Continue")
    expect(ben.seen.page.get_by_role("img", name="QR code")).to_be_visible()
    ben.secret = "".join(ben.seen.page.locator(".secret-text span").all_inner_texts())
    ben.type_code("000000" if TOTP(ben.secret).now() != "000000" else "000001", "Code from the app", "Add this app")
    expect(ben.seen.page.get_by_role("alert")).to_contain_text("This code is not right")
    ben.type_code(TOTP(ben.secret).now(), "Code from the app", "Add this app")
    ben.has_factor("Aegis")


def _add_passkey(ben: Holder) -> None:
    ben.seen.page.get_by_role("link", name="Add a passkey").click()
    expect(ben.seen.page.get_by_label("What do you call it?")).to_have_value("Chromium on Linux")
    ben.seen.page.get_by_label("What do you call it?").fill("This laptop")
    ben.press("Make a passkey")
    ben.is_inside()
    ben.has_factor("This laptop")


@pytest.mark.proves("2.2.3")
def test_a_password_alone_opens_nothing_and_a_code_by_sms_completes_it(holder: Holder) -> None:
    holder.give_password()
    holder.go("/security")
    expect(holder.heading).to_have_text("Sign in")
    holder.go("/sign-in/second-factor?next=/security")
    holder.choose("Code by SMS")
    expect(holder.seen.page.get_by_text("your phone ending in …23")).to_be_visible()
    holder.press("Send a code")
    code = holder.arrived_code()
    wrong = f"{(int(code) + 1) % 10**6:06d}"
    holder.type_code(wrong, "Code from the message")
    holder.sees_refusal()
    expect(holder.seen.page.get_by_label("Code from the message")).to_have_value(wrong)
    holder.type_code(f"{code[:3]} {code[3:]}", "Code from the message")
    holder.is_inside()


@pytest.mark.proves("2.2.3", "2.2.4")
def test_a_code_of_the_app_completes_it_once(holder: Holder) -> None:
    holder.give_password()
    holder.choose("Authenticator app")
    code = holder.app_code()
    holder.type_code(code, "Code from your app")
    holder.is_inside()
    holder.give_password()
    holder.choose("Authenticator app")
    holder.type_code(code, "Code from your app")
    holder.sees_refusal()
    holder.go("/security")
    expect(holder.heading).to_have_text("Sign in")


@pytest.mark.proves("2.2.3", "2.2.4")
def test_a_recovery_code_completes_it_once(holder: Holder) -> None:
    spare = holder.recovery_codes[0]
    holder.give_password()
    holder.choose("Recovery code")
    holder.type_code(spare.lower().replace("-", " "), "Recovery code")
    holder.is_inside()
    expect(holder.seen.page.get_by_text("9 of 10 left")).to_be_visible()
    holder.give_password()
    holder.choose("Recovery code")
    holder.type_code(spare, "Recovery code")
    holder.sees_refusal()


@pytest.mark.proves("2.2.3")
def test_a_passkey_completes_it(holder: Holder) -> None:
    holder.give_password()
    expect(holder.seen.page.get_by_role("heading", name="Passkey", exact=True)).to_be_visible()
    holder.press("Use a passkey")
    holder.is_inside()


def test_a_passkey_signs_in_without_a_password(holder: Holder) -> None:
    holder.leave()
    holder.go("/sign-in?next=/security")
    holder.press("Sign in with a passkey")
    holder.is_inside()
    holder.leave()
    holder.go("/sign-in?next=/security")
    holder.seen.page.get_by_label("E-mail").focus()  # the browser fills the address in with it, if it is asked to
    holder.is_inside()


@pytest.mark.proves("2.2.3")
def test_a_new_password_by_mail_waits_for_the_second_factor(holder: Holder) -> None:
    changed = f"{PASSWORD} again"
    holder.leave()
    holder.go("/reset")
    holder.seen.page.get_by_label("E-mail").fill(EMAIL)
    holder.press("Send the link")
    holder.seen.page.goto(holder.ada.mailed_link(EMAIL, "asked for a new password"))
    holder.seen.page.get_by_label("New password").fill(changed)
    holder.press("Save and sign in")
    expect(holder.heading).to_have_text("One more step")
    address = holder.seen.page.url
    holder.give_password()  # the old one still holds
    holder.seen.page.goto(address)
    expect(holder.seen.page.get_by_text("Open the mailed link once more.")).to_be_visible()
    holder.seen.page.goto(holder.ada.mailed_link(EMAIL, "asked for a new password"))
    holder.seen.page.get_by_label("New password").fill(changed)
    holder.press("Save and sign in")
    holder.choose("Authenticator app")
    holder.type_code(holder.app_code(), "Code from your app")
    expect(holder.seen.page.get_by_text("Sign in with the new one.")).to_be_visible()
    holder.give_password(changed)


@pytest.mark.proves("2.2.3")
def test_what_is_sensitive_leads_to_a_proof_and_back(holder: Holder) -> None:
    holder.leave()
    holder.go("/sign-in?next=/companies")
    holder.press("Sign in with a passkey")
    expect(holder.heading).to_have_text("Your companies")
    holder.seen.found("Harbour Pilots")
    holder.seen.open("agents")
    holder.seen.page.locator(".ledger-title").first.click()
    here = holder.seen.page.url
    holder.as_owner("UPDATE identity.sessions SET second_factor_at = now() - interval '11 minutes'")
    _deny_fetching(holder)
    expect(holder.heading).to_have_text("Confirm that it is you")
    holder.choose("Authenticator app")
    holder.type_code(holder.app_code(), "Code from your app")
    expect(holder.seen.page.get_by_text("Repeat now what you were about to do.")).to_be_visible()
    assert holder.seen.page.url.partition("?")[0] == here
    expect(holder.seen.page.get_by_label("Decision for web_fetch")).not_to_have_value("deny")
    _deny_fetching(holder)
    expect(holder.seen.page.get_by_text("Saved.")).to_be_visible()
    expect(holder.seen.page.get_by_label("Decision for web_fetch")).to_have_value("deny")


def _deny_fetching(holder: Holder) -> None:
    holder.seen.page.get_by_label("Decision for web_fetch").select_option("deny")
    holder.press("Save the decisions")


def test_a_passkey_as_the_first_factor_brings_the_recovery_codes_in_its_place(holder: Holder) -> None:
    ada = holder.ada
    VirtualAuthenticator(ada.page)
    ada.page.goto(f"{ada.base_url}/security")
    expect(ada.page.get_by_text("Only your password protects your account.")).to_be_visible()
    ada.page.get_by_role("link", name="Add a passkey").click()
    ada.page.get_by_role("button", name="Make a passkey").click()
    expect(ada.page.get_by_role("heading", name="Added. Keep your recovery codes")).to_be_focused()
    codes = ada.page.locator("[data-codes] code").all_inner_texts()
    assert len(set(codes)) == 10
    expect(ada.page.get_by_role("button", name="Copy all")).to_have_attribute("data-copy", "\n".join(codes))
    ada.page.get_by_role("link", name="I have kept them").click()
    expect(ada.page.get_by_text("10 of 10 left")).to_be_visible()
    assert ada.complaints == []
