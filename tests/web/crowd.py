"""People who all call the routes of signing in, each with everything that such a route could ask for.

`BODIES` says what each of these routes is sent. A route that is added to the application has to be added here: it is
then counted, refused without its store, and timed like the others.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from operalta.guard import rules
from operalta.guard.rules import Rule
from operalta.identity.passwords import PasswordHash, PasswordHasher
from operalta.identity.tokens import AccessTokens, derive_secret, digest, issuer_name, new_secret
from operalta.kernel.ids import PersonId, SessionId, new_id
from operalta.operations.root_keys import root_keys
from operalta.sealing.signing import SigningKeyRing, SigningPurpose
from operalta.settings import Settings
from operalta.web import cookies
from tests.conftest import Servers
from tests.web.site import Site
from tests.web.test_declarations import Route, routes

NOBODY = "00000000-0000-7000-8000-000000000000"
PASSWORD = "a long sentence nobody would guess"
ACCOUNTS = "/api/v1/auth/"

RULES = (
    rules.SIGN_UP,
    rules.VERIFY_EMAIL,
    rules.SIGN_IN,
    rules.REFRESH,
    rules.SIGN_OUT,
    rules.PASSWORD_RESET,
    rules.PASSWORD_RESET_CONFIRM,
    rules.PASSWORD_CHANGE,
    rules.OPEN_WAYS,
    rules.OTP_SEND,
    rules.OTP_CHECK,
    rules.FACTOR_CHECK,
    rules.RECOVERY_CHECK,
    rules.FACTOR_CHANGE,
    rules.PASSKEY_SIGN_IN,
    rules.TRUST_DEVICE,
    rules.OPERATOR_LINK,
    rules.INVITATION_ACCEPT,
)
"""The rules that are for signing in alone. Some routes of one's account have general ones."""


@dataclass(frozen=True)
class Caller:
    """Somebody with a password and a phone, and what a browser keeps of them.

    That is the access token of a session that has proved itself elsewhere, the refresh token of another one here, and
    the ticket of a sign-in here that waits for the second factor.
    """

    email: str
    person: UUID
    phone: UUID
    number: str
    link: str
    cookies: Mapping[str, str]
    password: str = PASSWORD


Body = Callable[[Caller], dict[str, Any] | None]


def _of_link(caller: Caller) -> dict[str, Any]:
    return {"token": caller.link}


def _of_new_password(caller: Caller) -> dict[str, Any]:
    return {"token": caller.link, "password": PASSWORD}


def _of_account(caller: Caller) -> dict[str, Any]:
    return {"email": caller.email, "name": "Ada Example", "password": PASSWORD}


def _of_code(_: Caller) -> dict[str, Any]:
    return {"code": "123456"}


def _of_sign_in(caller: Caller) -> dict[str, Any]:
    return {"email": caller.email, "password": caller.password}


def _of_passwords(caller: Caller) -> dict[str, Any]:
    return {"current_password": caller.password, "password": f"{PASSWORD} again"}


def _of_invitation(caller: Caller) -> dict[str, Any]:
    return {"token": caller.link, "name": "Ada Example", "password": PASSWORD}


def _no_body(_: Caller) -> None:
    return None


def _no_choice(_: Caller) -> dict[str, Any]:
    return {}


_CREDENTIAL = {"id": "AAAA", "rawId": "AAAA", "type": "public-key"}
_SIGNED = {"clientDataJSON": "AAAA", "authenticatorData": "AAAA", "signature": "AAAA"}
_CREATED = {"clientDataJSON": "AAAA", "attestationObject": "AAAA"}

BODIES: dict[tuple[str, str], Body] = {
    ("POST", "/api/v1/auth/sign-up"): _of_account,
    ("POST", "/sign-up"): _of_account,
    ("POST", "/api/v1/auth/verify-email"): _of_link,
    ("POST", "/verify-email"): _of_link,
    ("POST", "/api/v1/auth/sign-in"): _of_sign_in,
    ("POST", "/sign-in"): _of_sign_in,
    ("POST", "/api/v1/auth/refresh"): _no_body,
    ("POST", "/api/v1/auth/sign-out"): _no_body,
    ("POST", "/sign-out"): _no_body,
    ("POST", "/api/v1/auth/password-reset"): lambda caller: {"email": caller.email},
    ("POST", "/reset"): lambda caller: {"email": caller.email},
    ("POST", "/api/v1/auth/password-reset/confirm"): _of_new_password,
    ("POST", "/reset/confirm"): _of_new_password,
    ("PUT", "/api/v1/auth/password"): _of_passwords,
    ("POST", "/security/password"): _of_passwords,
    ("POST", "/api/v1/auth/password/verify"): lambda caller: {"password": caller.password},
    ("POST", "/step-up"): lambda caller: {"password": caller.password},
    ("POST", "/api/v1/auth/ways"): _no_choice,
    ("POST", "/api/v1/auth/otp/send"): lambda caller: {"phone": str(caller.phone)},
    ("POST", "/second-factor/send"): lambda caller: {"way": str(caller.phone)},
    ("POST", "/api/v1/auth/factors/phone"): lambda caller: {"phone": caller.number},
    ("POST", "/security/factors/phone"): lambda caller: {"phone": caller.number},
    ("POST", "/api/v1/auth/otp/verify"): _of_code,
    ("POST", "/second-factor/code"): _of_code,
    ("POST", "/api/v1/auth/factors/phone/confirm"): _of_code,
    ("POST", "/security/factors/phone/code"): _of_code,
    ("POST", "/api/v1/auth/totp/verify"): _of_code,
    ("POST", "/second-factor/authenticator"): _of_code,
    ("POST", "/api/v1/auth/recovery-code/verify"): _of_code,
    ("POST", "/second-factor/recovery-code"): _of_code,
    ("POST", "/api/v1/auth/passkey/options"): _no_choice,
    ("POST", "/api/v1/auth/passkey/verify"): lambda _: {"credential": {**_CREDENTIAL, "response": _SIGNED}},
    ("POST", "/api/v1/auth/trust-device"): _of_link,
    ("POST", "/trust-device"): _of_link,
    ("GET", "/api/v1/auth/sessions"): _no_body,
    ("DELETE", "/api/v1/auth/sessions"): _no_body,
    ("DELETE", "/api/v1/auth/sessions/{session_id}"): _no_body,
    ("GET", "/api/v1/auth/factors"): _no_body,
    ("DELETE", "/api/v1/auth/factors/{factor_id}"): _no_body,
    ("POST", "/security/factors/{factor_id}/remove"): _no_body,
    ("POST", "/api/v1/auth/factors/totp"): lambda _: {"name": "Phone at work"},
    ("POST", "/security/factors/authenticator"): lambda _: {"name": "Phone at work"},
    ("POST", "/api/v1/auth/factors/totp/confirm"): _of_code,
    ("POST", "/security/factors/authenticator/confirm"): _of_code,
    ("POST", "/api/v1/auth/factors/passkey"): _no_body,
    ("POST", "/api/v1/auth/factors/passkey/confirm"): lambda _: {
        "name": "Laptop",
        "credential": {**_CREDENTIAL, "response": _CREATED},
    },
    ("POST", "/api/v1/auth/factors/recovery-codes"): _no_body,
    ("POST", "/security/recovery-codes"): _no_body,
    ("POST", "/operator"): lambda caller: {**_of_account(caller), "token": caller.link},
    ("POST", "/api/v1/invitations/accept"): _of_invitation,
    ("POST", "/invitations/accept"): _of_invitation,
}


def routes_of_signing_in(site: Site) -> list[Route]:
    """Every route of accounts, and every other that is counted by a rule which is for signing in alone."""
    return [each for each in routes(site) if each.path.startswith(ACCOUNTS) or each.declarations[0].rule in RULES]


@dataclass(frozen=True)
class Request:
    """What one call sends."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def request_of(route: Route, caller: Caller, base_url: str) -> Request:
    """What this caller sends to this route: JSON to the API, a form to a page."""
    content = BODIES[route.method, route.path](caller)
    kept = "; ".join(f"{name}={value}" for name, value in caller.cookies.items())
    headers = {"Host": base_url.partition("://")[2], "Origin": base_url, "Cookie": kept}
    if content is None:
        return Request(route.method, route.at("nowhere"), headers, b"")
    as_json = route.path.startswith("/api/")
    headers["Content-Type"] = "application/json" if as_json else "application/x-www-form-urlencoded"
    body = json.dumps(content) if as_json else urlencode(content)
    return Request(route.method, route.at("nowhere"), headers, body.encode())


def rule_of(route: Route) -> Rule:
    return route.declarations[0].rule


# ── The people ────────────────────────────────────────────────────────────────────────────────────────


def make_crowd(servers: Servers, base_url: str, size: int) -> list[Caller]:
    """Put so many people into the database, with what their browsers keep."""
    settings = servers.settings
    roots = root_keys(settings)
    ring = SigningKeyRing(settings.var / "signing-keys", roots, SigningPurpose.ACCESS_TOKEN)
    tokens = AccessTokens(ring, issuer=issuer_name(base_url, settings.profile.value), audience="operalta")
    with ThreadPoolExecutor(1) as aside:  # the caller may run in a loop of its own
        password = aside.submit(asyncio.run, _hashed(settings)).result()
    refresh_key = settings.secret("refresh-key")
    people = [_prepared(place, refresh_key) for place in range(size)]
    hashed = {"scheme": password.scheme, "pepper": password.pepper_version, "hash": password.value}
    with servers.as_owner() as owner, owner.cursor() as cursor, owner.transaction():
        for statement in _STATEMENTS:
            cursor.executemany(statement, [each.row | hashed for each in people])
        # The planner is told of so many rows at once, as it finds out by itself within a minute.
        owner.execute(
            "ANALYZE identity.people, identity.passwords, identity.sessions, identity.phones, identity.tickets"
        )
    return [_caller(each, tokens) for each in people]


async def _hashed(settings: Settings) -> PasswordHash:
    hasher = PasswordHasher(settings.peppers(), cost=4, workers=1)
    try:
        return await hasher.hash(PASSWORD)
    finally:
        await hasher.close()


@dataclass(frozen=True)
class _Prepared:
    """A person's values for the statements below, and the secrets behind their digests."""

    row: dict[str, Any]
    access: str
    refresh: str
    ticket: str
    device: str


def _prepared(place: int, refresh_key: bytes) -> _Prepared:
    session = SessionId(new_id())
    access, ticket, device = new_secret(), new_secret(), new_secret()
    refresh = f"{session.hex}.0.{derive_secret(refresh_key, 'refresh', session, 0)}"
    row = {
        "person": new_id(),
        "session": session,
        "proved": new_id(),
        "phone": new_id(),
        "email": f"{secrets.token_hex(8)}@people.example",
        "number": f"+4179{2_000_000 + place:07d}",
        "refresh": digest(refresh),
        "access": digest(access),
        "ticket": digest(ticket),
        "device": digest(device),
    }
    return _Prepared(row, access, refresh, ticket, device)


def _caller(prepared: _Prepared, tokens: AccessTokens) -> Caller:
    row = prepared.row
    person = PersonId(row["person"])
    token = tokens.issue_access(person=person, session=SessionId(row["proved"]), session_secret=prepared.access)
    kept = {
        cookies.ACCESS: token,
        cookies.REFRESH: prepared.refresh,
        cookies.DEVICE: prepared.device,
        cookies.TICKET: prepared.ticket,
    }
    return Caller(row["email"], row["person"], row["phone"], row["number"], new_secret(), kept)


_STATEMENTS = (
    """
    INSERT INTO identity.people (id, email, email_key, name, verified_at)
    VALUES (%(person)s, %(email)s, %(email)s, 'Ada Example', now())
    """,
    """
    INSERT INTO identity.passwords (person_id, scheme, pepper_version, hash)
    VALUES (%(person)s, %(scheme)s, %(pepper)s, %(hash)s)
    """,
    """
    INSERT INTO identity.sessions (id, person_id, refresh_digest, access_digest, device_digest, user_agent, address,
        idle_expires_at, absolute_expires_at)
    VALUES (%(session)s, %(person)s, %(refresh)s, sha256(%(refresh)s), %(device)s, 'test', '127.0.0.1',
        now() + interval '7 days', now() + interval '90 days')
    """,
    # The account does not know the device: what is tried there is counted for the person.
    """
    INSERT INTO identity.sessions (id, person_id, refresh_digest, access_digest, device_digest, user_agent, address,
        idle_expires_at, absolute_expires_at, second_factor_at)
    VALUES (%(proved)s, %(person)s, sha256(%(access)s), %(access)s, sha256('elsewhere'), 'test', '127.0.0.1',
        now() + interval '7 days', now() + interval '90 days', now())
    """,
    "INSERT INTO identity.phones (id, person_id, number) VALUES (%(phone)s, %(person)s, %(number)s)",
    """
    INSERT INTO identity.tickets (digest, purpose, person_id, device_digest, seen_hash, user_agent, address)
    VALUES (%(ticket)s, 'sign_in', %(person)s, %(device)s, 'none', 'test', '127.0.0.1')
    """,
)
