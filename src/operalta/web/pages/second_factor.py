"""The pages on which a second factor is proved: on the way in, for a new password, and in a session (step-up).

All three are one page with a `purpose`. Passkeys are proved by script through the API; every other way is a form.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Protocol
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

from operalta.db.scope import open_person_scope
from operalta.guard import rules
from operalta.guard.errors import TooManyRequests
from operalta.guard.subjects import phone_identity
from operalta.identity.errors import NoSuchFactor, TicketOver, TooManyCodes, WayPaused, WrongCode, WrongPassword
from operalta.identity.factors.rules import Bearer, Purpose, Way, WayKind
from operalta.identity.sessions import known_or_new_device
from operalta.kernel import clock
from operalta.kernel.errors import NotSignedIn, Refusal
from operalta.web import cookies
from operalta.web.cookies import SessionCookies
from operalta.web.entry import ForPeople, ForVisitors, PersonEntry, VisitorEntry, remember_session
from operalta.web.pages.entrance import keep_session
from operalta.web.pages.links import address_of
from operalta.web.pages.sent_code import sent_code
from operalta.web.presentation import bare_page, go_to, page, safe_next

router = APIRouter()

Looking = Annotated[VisitorEntry, Depends(ForVisitors(rules.PAGE))]
Reading = Annotated[PersonEntry, Depends(ForPeople(rules.READ))]
Sending = Annotated[VisitorEntry, Depends(ForVisitors(rules.OTP_SEND))]
CheckingSentCode = Annotated[VisitorEntry, Depends(ForVisitors(rules.OTP_CHECK))]
Checking = Annotated[VisitorEntry, Depends(ForVisitors(rules.FACTOR_CHECK))]
Recovering = Annotated[VisitorEntry, Depends(ForVisitors(rules.RECOVERY_CHECK))]
GivingPassword = Annotated[PersonEntry, Depends(ForPeople(rules.PASSWORD_CHANGE))]
Trusting = Annotated[VisitorEntry, Depends(ForVisitors(rules.TRUST_DEVICE))]
Password = Annotated[str, Form(max_length=5_000)]

_ORDER = (WayKind.PASSKEY, WayKind.AUTHENTICATOR, WayKind.PHONE, WayKind.RECOVERY_CODE)


class Asked(BaseModel):
    """What the page was asked for: a proof of what, where it leads, by which way, and when a code was sent for it.

    `way` is the id of a phone or the name of another kind. `sent` (Unix seconds) is for the eye alone.
    """

    purpose: Purpose = Purpose.SIGN_IN
    next: Annotated[str, Field(max_length=2_000)] = ""
    way: Annotated[str, Field(max_length=40)] = ""
    sent: Annotated[int, Field(ge=0, lt=2**40)] = 0
    code: Annotated[str, Field(max_length=200)] = ""

    @property
    def destination(self) -> str:
        """Where whoever has proved themselves goes on."""
        if self.purpose is Purpose.RESET_PASSWORD:
            return "/sign-in?notice=password-reset"
        usual = "/companies" if self.purpose is Purpose.SIGN_IN else "/security"
        return safe_next(self.next) if self.next else usual

    def address(self, way: str, sent: int = 0) -> str:
        """Return the address of this page with another way, or with a code on its way."""
        path = "/step-up" if self.purpose is Purpose.STEP_UP else "/sign-in/second-factor"
        purpose = self.purpose.value if self.purpose is Purpose.RESET_PASSWORD else None
        return address_of(
            path, {"purpose": purpose, "next": self.next, "way": way, "sent": str(sent) if sent else None}
        )


Looked = Annotated[Asked, Query()]
Typed = Annotated[Asked, Form()]


class Proof(Protocol):
    """One of the ways in which `identity` takes a code."""

    async def __call__(self, asking: Bearer, typed: str, *, user_agent: str, address: str) -> None:
        """Prove the factor, or raise WrongCode or WayPaused."""


@router.get("/sign-in/second-factor")
async def second_factor(entry: Looking, asked: Looked) -> Response:
    """Show the ways to a second factor after the right password, or for a new one."""
    if asked.purpose is Purpose.STEP_UP:
        return go_to(asked.address(asked.way))
    return await _page(entry, asked, None)


@router.get("/step-up")
async def step_up(entry: Reading, asked: Looked) -> Response:
    """Show the ways to prove again that it is you, for an operation that asks for it."""
    return await _page(_asking(entry), _stepping_up(asked), None)


@router.post("/step-up")
async def prove_password(entry: GivingPassword, asked: Typed, password: Password = "") -> Response:
    """Give the password again: the proof of those who have no second factor."""
    try:
        await entry.services.accounts.prove_password(entry.claims.session_secret, password)
    except WrongPassword as refusal:
        return await _page(_asking(entry), _stepping_up(asked), WrongPassword(refusal.public_text, field="password"))
    return go_to(_stepping_up(asked).destination)


@router.post("/second-factor/send")
async def send_code(entry: Sending, asked: Typed) -> Response:
    """Send a code to the phone that `way` names; an earlier one is void."""
    proving = entry.services.proving
    try:
        bearer, _ = await entry.bearer(asked.purpose)
        phone = _phone(asked.way)
        await entry.admit(phone_identity(await proving.number_of(bearer, phone)))
        await proving.send_code(bearer, phone)
    except TicketOver:
        return _start_again(asked)
    except (NoSuchFactor, WayPaused, TooManyCodes, TooManyRequests) as refusal:
        return await _page(entry, asked, refusal)
    return go_to(asked.address(asked.way, clock.unix_seconds()))


@router.post("/second-factor/code")
async def prove_by_code(entry: CheckingSentCode, asked: Typed) -> Response:
    """Prove the second factor by a code that was sent."""
    return await _prove(entry, asked, entry.services.proving.by_code)


@router.post("/second-factor/authenticator")
async def prove_by_authenticator(entry: Checking, asked: Typed) -> Response:
    """Prove the second factor by the code of an authenticator app."""
    return await _prove(entry, asked, entry.services.proving.by_authenticator)


@router.post("/second-factor/recovery-code")
async def prove_by_recovery_code(entry: Recovering, asked: Typed) -> Response:
    """Prove the second factor by a recovery code, which is used up."""
    return await _prove(entry, asked, entry.services.proving.by_recovery_code)


@router.get("/trust-device")
async def trust_device_form(entry: Looking, token: Annotated[str, Query(max_length=200)] = "") -> HTMLResponse:
    """Show the button that uses the mailed link up."""
    return bare_page(entry.request, "pages/trust_device.html", {"token": token})


@router.post("/trust-device")
async def trust_device(entry: Trusting, token: Annotated[str, Form(max_length=200)] = "") -> RedirectResponse:
    """Lift a pause of codes for this browser."""
    services = await entry.admit(f"link:{token[:32]}")
    device = known_or_new_device(entry.device)
    await services.accounts.trust_device(token, device)
    if device != entry.device:
        remember_session(entry.request, SessionCookies(device=device))
    return go_to("/sign-in", "device-trusted")


def _asking(entry: PersonEntry) -> VisitorEntry:
    """Return the same request in the form that all three purposes share."""
    return VisitorEntry(entry.request, entry.services, entry.origin, entry.claims, rules.READ)


def _stepping_up(asked: Asked) -> Asked:
    return asked.model_copy(update={"purpose": Purpose.STEP_UP})


def _phone(way: str) -> UUID:
    try:
        return UUID(way)
    except ValueError:
        raise NoSuchFactor from None


async def _prove(entry: VisitorEntry, asked: Asked, proof: Proof) -> Response:
    try:
        bearer, counted = await entry.bearer(asked.purpose)
        await entry.admit(counted)
        await proof(bearer, asked.code, user_agent=entry.user_agent, address=entry.address)
        return await _complete(entry, asked)
    except TicketOver:
        return _start_again(asked)
    except (WrongCode, WayPaused, TooManyRequests) as refusal:
        return await _page(entry, asked, refusal)


async def _complete(entry: VisitorEntry, asked: Asked) -> Response:
    """Do what waited for the proof: start the session, or set the new password; a session goes on by itself."""
    ticket, device = entry.request.cookies.get(cookies.TICKET, ""), entry.device or ""
    if asked.purpose is Purpose.SIGN_IN:
        keep_session(entry.request, await entry.services.sessions.finish_sign_in(ticket, device))
    elif asked.purpose is Purpose.RESET_PASSWORD:
        await entry.services.accounts.finish_reset(ticket, device)
        remember_session(entry.request, SessionCookies())
    return go_to(asked.destination)


def _start_again(asked: Asked) -> Response:
    """Lead back to where a ticket is had: signing in, or the mailed link, which still holds."""
    if asked.purpose is Purpose.RESET_PASSWORD:
        return go_to("/sign-in", "reset-over")
    return go_to(address_of("/sign-in", {"next": asked.next}), "ticket-over")


async def _page(entry: VisitorEntry, asked: Asked, refusal: Refusal | None) -> Response:
    try:
        bearer, _ = await entry.bearer(asked.purpose)
    except TicketOver:
        return _start_again(asked)
    open_ways = await entry.services.proving.ways(bearer)
    if not open_ways and asked.purpose is not Purpose.STEP_UP:
        return _start_again(asked)
    ways = _offered(open_ways, asked)
    chosen = [way for way in ways if way["key"] == asked.way] or [way for way in ways if not way["paused"]] or ways
    context = {
        "purpose": asked.purpose.value,
        "next": asked.next,
        "destination": asked.destination,
        "way": chosen[0] if chosen else None,
        "other_ways": [way for way in ways if way not in chosen[:1]],
        "code": asked.code,
        "sent": sent_code(asked.sent, refusal),
    }
    if isinstance(refusal, TooManyRequests):
        entry.request.state.limit = refusal.decision
    if asked.purpose is not Purpose.STEP_UP:
        return bare_page(entry.request, "pages/second_factor.html", context, refusal=refusal)
    if entry.claims is None:
        raise NotSignedIn
    async with open_person_scope(entry.services.web, entry.claims.session_secret, entry.origin) as scope:
        return await page(entry.request, scope, "pages/second_factor.html", context, refusal=refusal)


def _offered(ways: Sequence[Way], asked: Asked) -> list[dict[str, Any]]:
    """Return what the page offers: every phone, and one of each other kind, for which one form serves all."""
    offered: list[dict[str, Any]] = []
    for kind in _ORDER:
        alike = [way for way in ways if way.kind is kind]
        together = [[way] for way in alike] if kind is WayKind.PHONE else [alike] if alike else []
        for group in together:
            key = str(group[0].id) if kind is WayKind.PHONE else kind.value
            offered.append(
                {
                    "key": key,
                    "kind": kind.value,
                    "labels": [way.label for way in group],
                    "paused": group[0].paused,
                    "href": asked.address(key),
                }
            )
    return offered
