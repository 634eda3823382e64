"""Second factors: the ways to prove one (on the way in, for a reset, for step-up), and one's own.

Whoever has no ticket and no session gets one answer from all of these, whatever they send.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from operalta.guard import rules
from operalta.guard.subjects import phone_identity
from operalta.identity import own_account
from operalta.identity.factors import enrolment
from operalta.identity.factors.passkeys import Options
from operalta.identity.factors.rules import Bearer, Purpose, WayKind
from operalta.identity.sessions import known_or_new_device
from operalta.kernel.errors import InvalidInput
from operalta.web import cookies
from operalta.web.api.auth import DONE, OpenWay, Password, SessionStarted, started
from operalta.web.api.credentials import CreatedCredential, SignedCredential
from operalta.web.api.models import REFUSALS, Body, Shown
from operalta.web.cookies import SessionCookies
from operalta.web.enrolling import send_enrolment_code
from operalta.web.entry import ForPeople, ForVisitors, PersonEntry, VisitorEntry, remember_session

router = APIRouter(tags=["second factors"], responses=REFUSALS)

Sending = Annotated[VisitorEntry, Depends(ForVisitors(rules.OTP_SEND))]
Checking = Annotated[VisitorEntry, Depends(ForVisitors(rules.OTP_CHECK))]
Asking = Annotated[VisitorEntry, Depends(ForVisitors(rules.OPEN_WAYS))]
Proving = Annotated[VisitorEntry, Depends(ForVisitors(rules.FACTOR_CHECK))]
Recovering = Annotated[VisitorEntry, Depends(ForVisitors(rules.RECOVERY_CHECK))]
WithPasskey = Annotated[VisitorEntry, Depends(ForVisitors(rules.PASSKEY_SIGN_IN))]
Trusting = Annotated[VisitorEntry, Depends(ForVisitors(rules.TRUST_DEVICE))]
Reading = Annotated[PersonEntry, Depends(ForPeople(rules.READ))]
Enrolling = Annotated[PersonEntry, Depends(ForPeople(rules.FACTOR_CHANGE))]
EnrollingPhone = Annotated[VisitorEntry, Depends(ForVisitors(rules.OTP_SEND))]
ConfirmingPhone = Annotated[PersonEntry, Depends(ForPeople(rules.OTP_CHECK))]
GivingPassword = Annotated[PersonEntry, Depends(ForPeople(rules.PASSWORD_CHANGE))]

Code = Annotated[str, Field(min_length=1, max_length=60, description="As it was sent, shown or written down")]
Name = Annotated[str, Field(min_length=1, max_length=400, examples=["Phone at work"])]


class WayBody(Body):
    """For what a factor is proved: `sign_in`, `reset_password` with the ticket's cookie, `step_up` with the session."""

    purpose: Purpose = Purpose.SIGN_IN


class SendBody(WayBody):
    """To which phone a code goes: the `id` of one of the open ways."""

    phone: UUID


class CodeBody(WayBody):
    """A code, and what it is for."""

    code: Code


class PasskeyAskedBody(WayBody):
    """What a passkey is asked for; `passwordless` signs in with it alone."""

    passwordless: bool = False


class PasskeyAnswerBody(PasskeyAskedBody):
    """What the browser answered: `PublicKeyCredential.toJSON()`."""

    credential: SignedCredential


class PhoneBody(Body):
    """A phone number, complete with its country code."""

    phone: Annotated[str, Field(min_length=1, max_length=60, examples=["+41 79 555 01 23"])]


class EnrolCodeBody(Body):
    """The code that proves a new factor."""

    code: Code


class NameBody(Body):
    """What a new factor is called."""

    name: Name


class NewPasskeyBody(NameBody):
    """A new passkey: its name, and what the browser answered."""

    credential: CreatedCredential


class PasswordOnlyBody(Body):
    """The present password."""

    password: Password


class TrustBody(Body):
    """The token of the mailed link that lifts a pause."""

    token: Annotated[str, Field(min_length=1, max_length=200)]


class OwnFactor(Shown):
    """One of one's own second factors."""

    id: UUID
    kind: WayKind
    label: str
    created_at: datetime
    last_used_at: datetime | None


class OwnFactors(Shown):
    """One's own second factors; `recently_proved`: this session may change them now."""

    factors: Annotated[tuple[OwnFactor, ...], Field(max_length=50)]
    recovery_codes_left: int
    recently_proved: bool


class Enrolled(Shown):
    """A factor was added. `recovery_codes` come with the first one, and are never shown again."""

    recovery_codes: Annotated[tuple[str, ...], Field(max_length=20)]


class NewAuthenticator(Shown):
    """The secret for an authenticator app, and the same as the address that its QR code holds."""

    id: UUID
    secret: str
    address: str


class OpenWays(Shown):
    """The ways that are open now."""

    ways: Annotated[tuple[OpenWay, ...], Field(max_length=30)]


# ── Proving one ───────────────────────────────────────────────────────────────────────────────────────


@router.post("/auth/ways")
async def open_ways(entry: Asking, body: WayBody) -> OpenWays:
    """List the ways to prove a second factor that are open to the ticket or the session."""
    bearer, counted = await entry.bearer(body.purpose)
    services = await entry.admit(counted)
    ways = await services.proving.ways(bearer)
    return OpenWays(ways=tuple(OpenWay.model_validate(way) for way in ways))


@router.post("/auth/otp/send", status_code=HTTPStatus.ACCEPTED)
async def send_code(entry: Sending, body: SendBody) -> None:
    """Send a code by SMS; an earlier one is void. It lives ten minutes and takes three tries."""
    bearer, _ = await entry.bearer(body.purpose)
    number = await entry.services.proving.number_of(bearer, body.phone)
    services = await entry.admit(phone_identity(number))
    await services.proving.send_code(bearer, body.phone)


@router.post("/auth/otp/verify", responses=DONE)
async def verify_code(entry: Checking, body: CodeBody, response: Response) -> SessionStarted | None:
    """Prove the second factor by a code that was sent. 200 signs in; 204 did what was waiting for it."""
    bearer = await _counted(entry, body.purpose)
    await entry.services.proving.by_code(bearer, body.code, user_agent=entry.user_agent, address=entry.address)
    return await complete(entry, body.purpose, response)


@router.post("/auth/totp/verify", responses=DONE)
async def verify_authenticator(entry: Proving, body: CodeBody, response: Response) -> SessionStarted | None:
    """Prove the second factor by an authenticator app's code, which holds once."""
    bearer = await _counted(entry, body.purpose)
    await entry.services.proving.by_authenticator(bearer, body.code, user_agent=entry.user_agent, address=entry.address)
    return await complete(entry, body.purpose, response)


@router.post("/auth/recovery-code/verify", responses=DONE)
async def verify_recovery_code(entry: Recovering, body: CodeBody, response: Response) -> SessionStarted | None:
    """Prove the second factor by a recovery code, which is used up."""
    bearer = await _counted(entry, body.purpose)
    await entry.services.proving.by_recovery_code(bearer, body.code, user_agent=entry.user_agent, address=entry.address)
    return await complete(entry, body.purpose, response)


@router.post("/auth/passkey/options")
async def passkey_options(entry: WithPasskey, body: PasskeyAskedBody) -> Options:
    """Return what `navigator.credentials.get` is given, as JSON."""
    passkeys = entry.services.passkeys
    if not _is_passwordless(body):
        bearer, _ = await entry.bearer(body.purpose)
        return await passkeys.options(bearer)
    device = known_or_new_device(entry.device)
    if device != entry.device:
        remember_session(entry.request, SessionCookies(device=device))
    return await passkeys.sign_in_options(device)


@router.post("/auth/passkey/verify", responses=DONE)
async def verify_passkey(entry: WithPasskey, body: PasskeyAnswerBody, response: Response) -> SessionStarted | None:
    """Prove the second factor by a passkey, or sign in with it alone."""
    passkeys = entry.services.passkeys
    if not _is_passwordless(body):
        bearer, _ = await entry.bearer(body.purpose)
        await passkeys.prove(bearer, body.credential.as_given())
        return await complete(entry, body.purpose, response)
    signed_in = await passkeys.sign_in(
        body.credential.as_given(),
        known_or_new_device(entry.device),
        user_agent=entry.user_agent,
        address=entry.address,
    )
    return started(entry, signed_in)


@router.post("/auth/password/verify", status_code=HTTPStatus.NO_CONTENT)
async def verify_password(entry: GivingPassword, body: PasswordOnlyBody) -> None:
    """Give the present password again. It is the proof of those who have no second factor."""
    await entry.services.accounts.prove_password(entry.claims.session_secret, body.password)


@router.post("/auth/trust-device", status_code=HTTPStatus.NO_CONTENT)
async def trust_device(entry: Trusting, body: TrustBody) -> None:
    """Lift a pause of codes for this device, with the mailed link."""
    services = await entry.admit(f"link:{body.token[:32]}")
    device = known_or_new_device(entry.device)
    await services.accounts.trust_device(body.token, device)
    if device != entry.device:
        remember_session(entry.request, SessionCookies(device=device))


# ── One's own ─────────────────────────────────────────────────────────────────────────────────────────


@router.get("/auth/factors")
async def list_factors(entry: Reading) -> OwnFactors:
    """List one's own second factors."""
    async with entry.scope() as scope:
        return OwnFactors.model_validate(await enrolment.own_factors(scope))


@router.delete("/auth/factors/{factor_id}", status_code=HTTPStatus.NO_CONTENT)
async def remove_factor(entry: Enrolling, factor_id: UUID) -> None:
    """Remove a second factor; the recovery codes go with the last one."""
    await entry.services.enrolment.remove(entry.claims.session_secret, factor_id)


@router.post("/auth/factors/phone", status_code=HTTPStatus.ACCEPTED)
async def add_phone(entry: EnrollingPhone, body: PhoneBody) -> None:
    """Send a code to a number that is to become a factor."""
    await send_enrolment_code(entry, body.phone)


@router.post("/auth/factors/phone/confirm", status_code=HTTPStatus.CREATED)
async def confirm_phone(entry: ConfirmingPhone, body: EnrolCodeBody) -> Enrolled:
    """Make the number a factor, with the code that was sent to it."""
    codes = await entry.services.enrolment.confirm_phone(entry.claims.session_secret, body.code)
    return Enrolled(recovery_codes=codes)


@router.post("/auth/factors/totp", status_code=HTTPStatus.CREATED)
async def add_authenticator(entry: Enrolling, body: NameBody) -> NewAuthenticator:
    """Make the secret for an authenticator app; it becomes a factor with its first right code."""
    async with entry.scope() as scope:
        person = await own_account.me(scope)
    waiting = await entry.services.enrolment.begin_authenticator(entry.claims.session_secret, body.name, person.email)
    return NewAuthenticator.model_validate(waiting)


@router.post("/auth/factors/totp/confirm", status_code=HTTPStatus.CREATED)
async def confirm_authenticator(entry: Enrolling, body: EnrolCodeBody) -> Enrolled:
    """Make the waiting app a factor, with its first code."""
    codes = await entry.services.enrolment.confirm_authenticator(entry.claims.session_secret, body.code)
    return Enrolled(recovery_codes=codes)


@router.post("/auth/factors/passkey")
async def add_passkey(entry: Enrolling) -> Options:
    """Return what `navigator.credentials.create` is given, as JSON."""
    return await entry.services.passkeys.enrolment_options(entry.claims.session_secret)


@router.post("/auth/factors/passkey/confirm", status_code=HTTPStatus.CREATED)
async def confirm_passkey(entry: Enrolling, body: NewPasskeyBody) -> Enrolled:
    """Make the passkey a factor that the browser has just made."""
    codes = await entry.services.passkeys.enrol(entry.claims.session_secret, body.name, body.credential.as_given())
    return Enrolled(recovery_codes=codes)


@router.post("/auth/factors/recovery-codes", status_code=HTTPStatus.CREATED)
async def replace_recovery_codes(entry: Enrolling) -> Enrolled:
    """Make fresh recovery codes; earlier ones are void."""
    codes = await entry.services.enrolment.replace_recovery_codes(entry.claims.session_secret)
    return Enrolled(recovery_codes=codes)


async def _counted(entry: VisitorEntry, purpose: Purpose) -> Bearer:
    """Return the bearer once the try is counted for its person."""
    bearer, counted = await entry.bearer(purpose)
    await entry.admit(counted)
    return bearer


async def complete(entry: VisitorEntry, purpose: Purpose, response: Response) -> SessionStarted | None:
    """Do what waited for the proof: start the session, or set the new password; a session goes on by itself."""
    ticket, device = entry.request.cookies.get(cookies.TICKET, ""), entry.device or ""
    if purpose is Purpose.SIGN_IN:
        return started(entry, await entry.services.sessions.finish_sign_in(ticket, device))
    if purpose is Purpose.RESET_PASSWORD:
        await entry.services.accounts.finish_reset(ticket, device)
        remember_session(entry.request, SessionCookies())
    response.status_code = HTTPStatus.NO_CONTENT
    return None


def _is_passwordless(body: PasskeyAskedBody) -> bool:
    if body.passwordless and body.purpose is not Purpose.SIGN_IN:
        raise InvalidInput("A passkey alone signs in, and nothing else.", field="passwordless")
    return body.passwordless
