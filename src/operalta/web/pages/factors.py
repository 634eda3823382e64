"""The pages on which one's own second factors are added and removed. Each asks for a recent proof first."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Form
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

from operalta.guard import rules
from operalta.guard.errors import TooManyRequests
from operalta.identity.errors import CannotEnrol, NoSuchFactor, SendingPaused, SmsNotOffered, TooManyCodes, WrongCode
from operalta.identity.own_account import me
from operalta.identity.rules import describe_device
from operalta.identity.step_up import SensitiveOperation, require_recent_proof
from operalta.kernel import clock
from operalta.kernel.errors import InvalidInput, NotSignedIn, Refusal
from operalta.web.enrolling import send_enrolment_code
from operalta.web.entry import ForPeople, ForVisitors, PersonEntry, VisitorEntry
from operalta.web.pages.sent_code import sent_code
from operalta.web.presentation import form_errors, go_to, page
from operalta.web.qr_code import qr_code

router = APIRouter()

Reading = Annotated[PersonEntry, Depends(ForPeople(rules.READ))]
Enrolling = Annotated[PersonEntry, Depends(ForPeople(rules.FACTOR_CHANGE))]
SendingToPhone = Annotated[VisitorEntry, Depends(ForVisitors(rules.OTP_SEND))]
ConfirmingPhone = Annotated[PersonEntry, Depends(ForPeople(rules.OTP_CHECK))]
Text = Annotated[str, Form(max_length=400)]

_CONFIRMATION = "/security/factors/authenticator/confirm"
_SECRET_GROUP = 4


class Phone(BaseModel):
    """A phone that is to become a factor, as it was typed; a code that was sent to it; when (Unix seconds)."""

    phone: Annotated[str, Field(max_length=400)] = ""
    code: Annotated[str, Field(max_length=400)] = ""
    sent: Annotated[int, Field(ge=0, lt=2**40)] = 0


Typed = Annotated[Phone, Form()]


# ── Phones ────────────────────────────────────────────────────────────────────────────────────────────


@router.get("/security/factors/phone")
@router.get("/security/factors/phone/code")
async def phone_form(entry: Reading) -> HTMLResponse:
    """Ask for the number of a phone that is to receive codes."""
    if not entry.services.enrolment.offers_sms:
        raise SmsNotOffered
    return await _phone_page(entry, Phone(), None)


@router.post("/security/factors/phone")
async def send_code(entry: SendingToPhone, typed: Typed) -> HTMLResponse:
    """Send a code to the number, and ask for it. A visitor's route, because it is counted by the number."""
    if entry.claims is None:
        raise NotSignedIn
    person = PersonEntry(entry.request, entry.services, entry.origin, entry.claims)
    try:
        number = await send_enrolment_code(entry, typed.phone)
    except (InvalidInput, CannotEnrol, SendingPaused, TooManyCodes, TooManyRequests) as refusal:
        return await _phone_page(person, typed, refusal)
    return await _phone_page(person, Phone(phone=number.e164, sent=clock.unix_seconds()), None)


@router.post("/security/factors/phone/code")
async def confirm_phone(entry: ConfirmingPhone, typed: Typed) -> Response:
    """Make the phone a factor, with the code that was sent to it."""
    try:
        codes = await entry.services.enrolment.confirm_phone(entry.claims.session_secret, typed.code)
    except WrongCode as refusal:
        return await _phone_page(entry, typed, refusal)
    return await _added(entry, codes)


async def _phone_page(entry: PersonEntry, typed: Phone, refusal: Refusal | None) -> HTMLResponse:
    context = {"phone": typed.phone, "code": typed.code, "sent": sent_code(typed.sent, refusal)}
    at = "code" if typed.code else "" if typed.sent else "phone"
    return await _page(entry, "pages/add_phone.html", context, refusal, at)


# ── Authenticator apps ────────────────────────────────────────────────────────────────────────────────


@router.get("/security/factors/authenticator")
async def authenticator_form(entry: Reading) -> HTMLResponse:
    """Ask for the name of an authenticator app."""
    return await _page(entry, "pages/add_authenticator.html", _named("Authenticator app"))


@router.post("/security/factors/authenticator")
async def begin_authenticator(entry: Enrolling, name: Text = "") -> Response:
    """Make the secret for an app, and lead to where it is shown."""
    try:
        await entry.services.enrolment.begin_authenticator(entry.claims.session_secret, name, "")
    except (InvalidInput, CannotEnrol) as refusal:
        return await _page(entry, "pages/add_authenticator.html", _named(name), refusal, "name")
    return go_to(_CONFIRMATION)


@router.get(_CONFIRMATION)
async def waiting_authenticator(entry: Reading) -> Response:
    """Show the secret that an app is to be given, as a QR code and to type, and ask for the first code."""
    return await _confirmation_page(entry, "", None)


@router.post(_CONFIRMATION)
async def confirm_authenticator(entry: Enrolling, code: Text = "") -> Response:
    """Make the app a factor, with its first code."""
    try:
        codes = await entry.services.enrolment.confirm_authenticator(entry.claims.session_secret, code)
    except WrongCode as refusal:
        return await _confirmation_page(entry, code, refusal)
    except NoSuchFactor:
        return go_to("/security/factors/authenticator")
    return await _added(entry, codes)


async def _confirmation_page(entry: PersonEntry, code: str, refusal: Refusal | None) -> Response:
    secret = entry.claims.session_secret
    async with entry.scope() as scope:
        await require_recent_proof(scope, SensitiveOperation.ENROL_FACTOR)
        person = await me(scope)
    try:
        waiting = await entry.services.enrolment.waiting_authenticator(secret, person.email)
    except NoSuchFactor:
        return go_to("/security/factors/authenticator")
    groups = [waiting.secret[at : at + _SECRET_GROUP] for at in range(0, len(waiting.secret), _SECRET_GROUP)]
    shown = {"code": qr_code(waiting.address), "secret": waiting.secret, "groups": groups}
    context = {"name": "", "code": code, "waiting": shown}
    return await _page(entry, "pages/add_authenticator.html", context, refusal, "code")


def _named(name: str) -> dict[str, Any]:
    """Return the context of the page while the app has no secret yet."""
    return {"name": name, "code": "", "waiting": None}


# ── Passkeys: made by script, through the API ─────────────────────────────────────────────────────────


@router.get("/security/factors/passkey")
async def passkey_form(entry: Reading) -> HTMLResponse:
    """Ask for the name of a passkey; the browser makes it."""
    device = describe_device(entry.request.headers.get("user-agent", "")[:400])
    return await _page(entry, "pages/add_passkey.html", {"name": device})


# ── Any factor, and recovery codes ────────────────────────────────────────────────────────────────────


@router.post("/security/factors/{factor_id}/remove")
async def remove(entry: Enrolling, factor_id: UUID) -> RedirectResponse:
    """Remove a second factor; the recovery codes go with the last one."""
    await entry.services.enrolment.remove(entry.claims.session_secret, factor_id)
    return go_to("/security", "factor-removed")


@router.post("/security/recovery-codes")
async def replace_recovery_codes(entry: Enrolling) -> HTMLResponse:
    """Make fresh recovery codes and show them, this once; earlier ones are void."""
    codes = await entry.services.enrolment.replace_recovery_codes(entry.claims.session_secret)
    return await _codes_page(entry, codes, is_first=False)


async def _added(entry: PersonEntry, codes: tuple[str, ...]) -> Response:
    """Lead back after a factor was added, past the recovery codes that come with the first one."""
    return await _codes_page(entry, codes, is_first=True) if codes else go_to("/security", "factor-added")


async def _codes_page(entry: PersonEntry, codes: tuple[str, ...], *, is_first: bool) -> HTMLResponse:
    return await _page(entry, "pages/recovery_codes.html", {"codes": list(codes), "is_first": is_first})


async def _page(
    entry: PersonEntry, template: str, context: dict[str, Any], refusal: Refusal | None = None, field: str = ""
) -> HTMLResponse:
    """Return one of the pages of this module to somebody who has proved themselves; an error stands at `field`."""
    errors = [{**error, "field": error["field"] or field} for error in form_errors(refusal)] if refusal else []
    if isinstance(refusal, TooManyRequests):
        entry.request.state.limit = refusal.decision
    async with entry.scope() as scope:
        await require_recent_proof(scope, SensitiveOperation.ENROL_FACTOR)
        return await page(entry.request, scope, template, context, refusal=refusal, errors=errors)
