"""Accounts and sessions. What opens a session travels in cookies alone, never in a body.

Whoever asks learns nothing about whether an address has an account: known and unknown ones get the same answer.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from operalta.db.errors import SessionEnded
from operalta.guard import rules
from operalta.guard.subjects import email_identity
from operalta.identity import own_account
from operalta.identity.errors import LinkSpent
from operalta.identity.factors.rules import Bearer, Purpose, WayKind
from operalta.identity.rules import counted_address
from operalta.identity.sessions import SecondFactorNeeded, SignedIn
from operalta.kernel.errors import NotSignedIn
from operalta.kernel.ids import SessionId
from operalta.tenancy.service import my_companies
from operalta.web import cookies
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown, whole
from operalta.web.cookies import SessionCookies
from operalta.web.entry import ForPeople, ForVisitors, PersonEntry, VisitorEntry, remember_session

router = APIRouter(tags=["accounts and sessions"], responses=REFUSALS)

SigningUp = Annotated[VisitorEntry, Depends(ForVisitors(rules.SIGN_UP))]
SigningIn = Annotated[VisitorEntry, Depends(ForVisitors(rules.SIGN_IN))]
Verifying = Annotated[VisitorEntry, Depends(ForVisitors(rules.VERIFY_EMAIL))]
Refreshing = Annotated[VisitorEntry, Depends(ForVisitors(rules.REFRESH))]
Leaving = Annotated[VisitorEntry, Depends(ForVisitors(rules.SIGN_OUT))]
AskingForReset = Annotated[VisitorEntry, Depends(ForVisitors(rules.PASSWORD_RESET))]
Resetting = Annotated[VisitorEntry, Depends(ForVisitors(rules.PASSWORD_RESET_CONFIRM))]
Reading = Annotated[PersonEntry, Depends(ForPeople(rules.READ))]
Changing = Annotated[PersonEntry, Depends(ForPeople(rules.SENSITIVE_WRITE))]
ChangingPassword = Annotated[PersonEntry, Depends(ForPeople(rules.PASSWORD_CHANGE))]

Email = Annotated[str, Field(min_length=1, max_length=400, examples=["ada@example.com"])]
Password = Annotated[str, Field(min_length=1, max_length=5_000)]
LinkToken = Annotated[str, Field(min_length=1, max_length=200, description="What the mailed link carries")]


class SignUpBody(Body):
    """A new account."""

    email: Email
    name: Annotated[str, Field(min_length=1, max_length=400)]
    password: Password


class SignInBody(Body):
    """What signs in."""

    email: Email
    password: Password


class TokenBody(Body):
    """The token of a mailed link."""

    token: LinkToken


class AddressBody(Body):
    """An address."""

    email: Email


class ResetBody(Body):
    """A new password, with the mailed link that allows it."""

    token: LinkToken
    password: Password


class PasswordBody(Body):
    """A new password, with the present one."""

    current_password: Password
    password: Password


class Accepted(Shown):
    """It was taken. What comes of it arrives by mail, where there is anything to tell."""

    detail: str


class SessionStarted(Shown):
    """A session has begun or goes on; its secrets are in the cookies."""

    person_id: UUID
    session_id: UUID
    access_expires_at: datetime
    refresh_expires_at: datetime


class OpenWay(Shown):
    """A way to prove a second factor. `id` names a phone for `/auth/otp/send`; a paused one needs the mailed link."""

    id: UUID | None
    kind: WayKind
    label: str
    paused: bool


class ProofAsked(Shown):
    """A second factor has to be proved, by one of these ways, before anything comes of what was sent."""

    purpose: Purpose
    expires_at: datetime
    ways: Annotated[tuple[OpenWay, ...], Field(max_length=30)]


PROOF_ASKED: dict[int | str, dict[str, Any]] = {
    202: {"model": ProofAsked, "description": "Right, and a second factor has to be proved; a cookie keeps the place."}
}
DONE: dict[int | str, dict[str, Any]] = {204: {"description": "Done; there is nothing to return."}}


class OwnSession(Shown):
    """One of one's own sessions; `present` marks the one that asks."""

    id: UUID
    device: str
    address: str
    created_at: datetime
    last_seen_at: datetime
    ends_at: datetime
    present: bool


class OwnCompany(Shown):
    """A company that one belongs to."""

    id: UUID
    slug: str
    name: str
    kind: str
    role: str


class Me(Shown):
    """Oneself."""

    id: UUID
    email: str
    name: str
    is_operator: bool
    is_staff: bool
    verified_at: datetime | None
    created_at: datetime
    companies: tuple[OwnCompany, ...]


@router.post("/auth/sign-up", status_code=HTTPStatus.ACCEPTED)
async def sign_up(entry: SigningUp, body: SignUpBody) -> Accepted:
    """Open an account. The answer is the same whether the address has one already or not; the mail differs."""
    services = await entry.admit(email_identity(counted_address(body.email)))
    await services.accounts.sign_up(body.email, body.name, body.password)
    return Accepted(detail="Open the link in the mail that we sent to this address.")


@router.post("/auth/verify-email", status_code=HTTPStatus.NO_CONTENT)
async def verify_email(entry: Verifying, body: TokenBody) -> None:
    """Confirm an address with the mailed link."""
    services = await entry.admit(f"link:{body.token[:32]}")
    if not await services.accounts.confirm_address(body.token):
        raise LinkSpent


@router.post("/auth/sign-in", responses=PROOF_ASKED)
async def sign_in(entry: SigningIn, body: SignInBody, response: Response) -> SessionStarted | ProofAsked:
    """Start a session. 401 whatever of the two is not right. 202 where a second factor has to be proved first."""
    counted = await entry.services.sessions.counted_as(body.email, entry.device)
    services = await entry.admit(email_identity(counted))
    signed_in = await services.sessions.sign_in(
        body.email, body.password, device_secret=entry.device, user_agent=entry.user_agent, address=entry.address
    )
    if isinstance(signed_in, SecondFactorNeeded):
        return await ask_for_proof(entry, signed_in, response)
    return started(entry, signed_in)


@router.post("/auth/refresh")
async def refresh(entry: Refreshing) -> SessionStarted:
    """Renew the session with its refresh cookie."""
    presented = entry.request.cookies.get(cookies.REFRESH)
    if presented is None:
        raise NotSignedIn
    services = await entry.admit(f"refresh:{presented[:32]}")
    try:
        renewed = await services.sessions.refresh(presented, entry.device)
    except SessionEnded:
        remember_session(entry.request, SessionCookies())
        raise
    return started(entry, renewed)


@router.post("/auth/sign-out", status_code=HTTPStatus.NO_CONTENT)
async def sign_out(entry: Leaving) -> None:
    """End the session, also where its access token has expired, and take the cookies back."""
    secret = entry.claims.session_secret if entry.claims else await _secret_after_refresh(entry)
    if secret is not None:
        await entry.services.sessions.sign_out(secret)
    remember_session(entry.request, SessionCookies())


@router.post("/auth/password-reset", status_code=HTTPStatus.ACCEPTED)
async def request_password_reset(entry: AskingForReset, body: AddressBody) -> Accepted:
    """Mail a link to set a new password, where the address has an account; the answer is the same elsewhere."""
    services = await entry.admit(email_identity(counted_address(body.email)))
    await services.accounts.request_password_reset(body.email)
    return Accepted(detail="If this address has an account, a link to set a new password is on its way.")


@router.post("/auth/password-reset/confirm", status_code=HTTPStatus.ACCEPTED, responses={**PROOF_ASKED, **DONE})
async def reset_password(entry: Resetting, body: ResetBody, response: Response) -> ProofAsked | None:
    """Set a new password with the mailed link; every session ends. 204 when that is done.

    202 where a second factor has to be proved first: the new password holds once it is, and not before.
    """
    services = await entry.admit(f"link:{body.token[:32]}")
    asked = await services.accounts.reset_password(
        body.token, body.password, device_secret=entry.device, user_agent=entry.user_agent, address=entry.address
    )
    if asked is not None:
        return await ask_for_proof(entry, asked, response)
    remember_session(entry.request, SessionCookies())
    response.status_code = HTTPStatus.NO_CONTENT
    return None


@router.put("/auth/password", status_code=HTTPStatus.NO_CONTENT)
async def change_password(entry: ChangingPassword, body: PasswordBody) -> None:
    """Change the password; every other session ends."""
    secret = entry.claims.session_secret
    await entry.services.accounts.change_password(secret, body.current_password, body.password)


@router.get("/auth/sessions")
async def list_sessions(
    entry: Reading, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE
) -> Listing[OwnSession]:
    """List one's live sessions, the one seen last first."""
    async with entry.scope() as scope:
        shown, following = whole(await own_account.list_sessions(scope), limit, cursor)
    return Listing[OwnSession](items=tuple(OwnSession.model_validate(each) for each in shown), next_cursor=following)


@router.delete("/auth/sessions", status_code=HTTPStatus.NO_CONTENT)
async def end_other_sessions(entry: Changing) -> None:
    """End every session but this one."""
    async with entry.scope() as scope:
        await own_account.end_other_sessions(scope)


@router.delete("/auth/sessions/{session_id}", status_code=HTTPStatus.NO_CONTENT)
async def end_session(entry: Changing, session_id: UUID) -> None:
    """End one session at once, this one included."""
    async with entry.scope() as scope:
        await own_account.end_session(scope, SessionId(session_id))
    if session_id == entry.claims.session_id:
        remember_session(entry.request, SessionCookies())


@router.get("/me")
async def me(entry: Reading) -> Me:
    """Return oneself, and the companies that one belongs to."""
    async with entry.scope() as scope:
        person = await own_account.me(scope)
        companies = await my_companies(scope)
    return Me(
        id=person.id,
        email=person.email,
        name=person.name,
        is_operator=person.is_operator,
        is_staff=person.is_staff,
        verified_at=person.verified_at,
        created_at=person.created_at,
        companies=tuple(OwnCompany.model_validate(each) for each in companies),
    )


def started(entry: VisitorEntry, signed_in: SignedIn) -> SessionStarted:
    """Set the session's cookies and return what may be said of it."""
    remember_session(
        entry.request, SessionCookies(signed_in.access_token, signed_in.refresh_token, signed_in.device_secret)
    )
    return SessionStarted.model_validate(signed_in)


async def ask_for_proof(entry: VisitorEntry, asked: SecondFactorNeeded, response: Response) -> ProofAsked:
    """Set the ticket's cookie and say what may be proved."""
    remember_session(entry.request, SessionCookies(device=asked.device_secret, ticket=asked.ticket))
    response.status_code = HTTPStatus.ACCEPTED
    ways = await entry.services.proving.ways(Bearer.ticket(asked.ticket, asked.device_secret, asked.purpose))
    return ProofAsked(
        purpose=asked.purpose,
        expires_at=asked.expires_at,
        ways=tuple(OpenWay.model_validate(way) for way in ways),
    )


async def _secret_after_refresh(entry: VisitorEntry) -> str | None:
    presented = entry.request.cookies.get(cookies.REFRESH)
    if presented is None:
        return None
    try:
        renewed = await entry.services.sessions.refresh(presented, entry.device)
    except SessionEnded:
        return None
    return entry.services.tokens.verify_access(renewed.access_token).session_secret
