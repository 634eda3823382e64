"""How a request comes in: each route declares its audience, its permission and its limit as one dependency.

    Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.MEMORY_READ, rules.READ))]

The dependency checks the token's signature and counts the request. The transaction is opened by the route, with
`async with entry.scope() as scope`, where the database checks session and membership and the permission is decided.
A test walks all routes and fails where a declaration is missing.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from fastapi import Path, Request

from operalta.access.rules import KEY_SCOPES, Permission
from operalta.db.errors import KeyRefused
from operalta.db.permission import require
from operalta.db.scope import Origin, Scope, note_key_use, open_company_scope, open_key_scope, open_person_scope
from operalta.guard import rules
from operalta.guard.rules import Rule, Subjects
from operalta.guard.subjects import key_identity, person_identity
from operalta.identity.factors.rules import Bearer, Purpose
from operalta.identity.tokens import AccessClaims, InvalidToken
from operalta.kernel.errors import NotAllowed, NotSignedIn
from operalta.kernel.ids import RequestId
from operalta.tenancy.staff import note_use
from operalta.terms.registry import upholds
from operalta.vault.api_keys.rules import is_key_text
from operalta.web import cookies
from operalta.web.cookies import SessionCookies
from operalta.web.services import Services, services_of

CompanyName = Annotated[str, Path(min_length=1, max_length=48, description="The company's id or slug")]


_OF_COMPANY = frozenset({rules.Dimension.COMPANY})
_OF_ADDRESS = frozenset({rules.Dimension.ADDRESS})


class Audience(StrEnum):
    """Who may call a route."""

    VISITOR = "visitor"
    PERSON = "person"
    COMPANY = "company"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a route declares."""

    audience: Audience
    rule: Rule
    permission: Permission | None = None
    takes_keys: bool = False


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """An API key as a program has sent it: of the right form. Whether it opens anything, the database tells."""

    text: str = field(repr=False)

    @property
    def identity(self) -> str:
        """Who is counted for it."""
        return key_identity(self.text)


@dataclass(frozen=True, slots=True)
class VisitorEntry:
    """A request that needs no session. `claims` are those of a valid token where there is one."""

    request: Request
    services: Services
    origin: Origin
    claims: AccessClaims | None
    rule: Rule

    async def admit(self, identity: str) -> Services:
        """Count the request for `identity` (see `guard.subjects`) in the declared rule and return the services."""
        await _count(self.request, self.services, self.rule, Subjects(identity=identity, address=self.origin.address))
        return self.services

    @property
    def device(self) -> str | None:
        """The device's own secret, from its cookie."""
        return self.request.cookies.get(cookies.DEVICE)

    @property
    def user_agent(self) -> str:
        """What the browser calls itself, bounded."""
        return self.request.headers.get("user-agent", "")[:400]

    @property
    def address(self) -> str:
        """The network address that the request came from."""
        return self.origin.address or ""

    async def bearer(self, purpose: Purpose) -> tuple[Bearer, str]:
        """Return who proves a second factor, and the identity under which that is counted.

        It is the session for step-up, else the ticket of the cookies. Raise NotSignedIn or TicketOver for none; what
        was presented is counted for the address then, so that nobody tries tickets without end. Recovery codes, which
        nobody can guess, are counted apart for each device, so that a stranger's nonsense does not use up the owner's.
        """
        try:
            asking = self._asking(purpose)
            counted = await self.services.proving.counted_as(asking)
        except NotSignedIn:
            for_address = rules.only(self.rule, _OF_ADDRESS)
            if for_address is not None:
                await _count(self.request, self.services, for_address, Subjects(address=self.origin.address))
            raise
        apart = self.rule is rules.RECOVERY_CHECK
        return asking, f"{counted} with {asking.device.hex()}" if apart else counted

    def _asking(self, purpose: Purpose) -> Bearer:
        if purpose is not Purpose.STEP_UP:
            return Bearer.ticket(self.request.cookies.get(cookies.TICKET), self.device, purpose)
        if self.claims is None:
            raise NotSignedIn
        return Bearer.session(self.claims.session_secret)


@dataclass(frozen=True, slots=True)
class PersonEntry:
    """A request of somebody with a valid access token."""

    request: Request
    services: Services
    origin: Origin
    claims: AccessClaims

    @asynccontextmanager
    async def scope(self) -> AsyncGenerator[Scope]:
        """Open the person's own scope."""
        async with open_person_scope(self.services.web, self.claims.session_secret, self.origin) as scope:
            yield scope


@dataclass(frozen=True, slots=True)
class CompanyEntry:
    """A request for a company, of somebody with a valid access token or of a program with an API key.

    `permission` is what the route declares. `company` is as the address names it: empty where it names none, since the
    key alone says which it is.
    """

    request: Request
    services: Services
    origin: Origin
    caller: AccessClaims | PresentedKey
    company: str
    permission: Permission
    rule: Rule

    @property
    def identity(self) -> str:
        """Who is counted: the person, or the key."""
        return self.caller.identity if isinstance(self.caller, PresentedKey) else person_identity(self.caller.person_id)

    @asynccontextmanager
    async def scope(self) -> AsyncGenerator[Scope]:
        """Open the scope in the company and decide the declared permission. Raise NotFound for outsiders."""
        async with self._opened() as scope:
            require(scope, self.permission)
            await self._count_company(scope)
            await note_use(scope, self.request.method, self.request.url.path)
            yield scope

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[Scope]:
        pool, caller = self.services.web, self.caller
        if not isinstance(caller, PresentedKey):
            async with open_company_scope(pool, caller.session_secret, self.company, self.origin) as scope:
                yield scope
            return
        if self.services.key_uses.is_due(caller.identity):
            await note_key_use(pool, caller.text, self.origin)
        async with open_key_scope(pool, caller.text, self.company or None, self.origin) as scope:
            yield scope

    async def _count_company(self, scope: Scope) -> None:
        """Count the request for the company, once, and only now: outsiders must not use up its budget."""
        counted = rules.only(self.rule, _OF_COMPANY)
        if counted is None or getattr(self.request.state, "company_counted", False):
            return
        self.request.state.company_counted = True
        decision = await self.services.limiter.admit(counted, Subjects(company=str(scope.company)))
        present = getattr(self.request.state, "limit", None)
        if decision is not None and (present is None or decision.remaining < present.remaining):
            self.request.state.limit = decision


class ForVisitors:
    """Declares a route that anybody may call. A rule that counts by identity is counted by `entry.admit`."""

    def __init__(self, rule: Rule) -> None:
        self.declaration = Declaration(Audience.VISITOR, rule)

    async def __call__(self, request: Request) -> VisitorEntry:
        """Let the request in."""
        services = services_of(request)
        origin = origin_of(request)
        rule = self.declaration.rule
        if rules.Dimension.IDENTITY not in rule.limits:
            await _count(request, services, rule, Subjects(address=origin.address))
        try:
            claims = await _claims(request, services, origin)
        except NotSignedIn:
            claims = None
        return VisitorEntry(request, services, origin, claims, rule)


class ForPeople:
    """Declares a route for everybody who is signed in, outside any company."""

    def __init__(self, rule: Rule) -> None:
        self.declaration = Declaration(Audience.PERSON, rule)

    @upholds("3.3.3")
    async def __call__(self, request: Request) -> PersonEntry:
        """Let the request in, or raise NotSignedIn (also for a key, which is no person) or TooManyRequests."""
        if request.headers.get("authorization") is not None and request.url.path.startswith("/api/"):
            raise NotSignedIn("This is for people in a session of their own. No API key does it.")
        services = services_of(request)
        origin = origin_of(request)
        claims = await _claims(request, services, origin)
        await _count_person(request, services, self.declaration.rule, claims)
        return PersonEntry(request, services, origin, claims)


class InCompany:
    """Declares a route for members of a company whose role holds `permission`, and for their keys that have it.

    `people_only`: no key, though its scopes could hold the permission.
    """

    def __init__(self, permission: Permission, rule: Rule, *, people_only: bool = False) -> None:
        takes_keys = permission in KEY_SCOPES and not people_only
        self.declaration = Declaration(Audience.COMPANY, rule, permission, takes_keys=takes_keys)
        self._permission = permission

    @upholds("2.4.1", "2.5.3", "3.3.3")
    async def __call__(self, request: Request, company: CompanyName) -> CompanyEntry:
        """Let the request in, or raise NotSignedIn, NotAllowed (a key, on a route for people) or TooManyRequests."""
        services = services_of(request)
        origin = origin_of(request)
        caller = await self._caller(request, services, origin)
        entry = CompanyEntry(request, services, origin, caller, company, self._permission, self.declaration.rule)
        await _count_caller(entry)
        if isinstance(caller, PresentedKey) and not self.declaration.takes_keys:
            raise NotAllowed("This is for people in a session of their own. No API key does it.")
        return entry

    async def _caller(self, request: Request, services: Services, origin: Origin) -> AccessClaims | PresentedKey:
        """Return who asks: with an `Authorization` header on the API its key alone, never a cookie besides."""
        header = request.headers.get("authorization")
        if header is None or not request.url.path.startswith("/api/"):
            return await _claims(request, services, origin)
        return await _presented(request, services, origin, self.declaration.rule)


class InCompanyOfKey:
    """Declares a route for programs alone: their key says in which company, and needs `permission`."""

    def __init__(self, permission: Permission, rule: Rule) -> None:
        self.declaration = Declaration(Audience.KEY, rule, permission, takes_keys=True)
        self._permission = permission

    @upholds("1.3.1", "2.4.1")
    async def __call__(self, request: Request) -> CompanyEntry:
        """Let the request in, or raise KeyRefused or TooManyRequests."""
        services, origin, rule = services_of(request), origin_of(request), self.declaration.rule
        caller = await _presented(request, services, origin, rule)
        entry = CompanyEntry(request, services, origin, caller, "", self._permission, rule)
        await _count_caller(entry)
        return entry


async def _presented(request: Request, services: Services, origin: Origin, rule: Rule) -> PresentedKey:
    """Return the key of the request. Raise KeyRefused for none of the right form; that is counted for the address."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.casefold() != "bearer" or not is_key_text(text):
        refused = rules.only(rule, _OF_ADDRESS)
        if refused is not None:
            await _count(request, services, refused, Subjects(address=origin.address))
        raise KeyRefused
    return PresentedKey(text)


def origin_of(request: Request) -> Origin:
    """Return the request's id and client address, both set by the security middleware."""
    request_id: RequestId = request.state.request_id
    address: str = request.state.client_address
    return Origin(request_id, address)


def remember_session(request: Request, new: SessionCookies) -> None:
    """Have the security middleware set these cookies on the answer, whatever the answer is."""
    request.state.session_cookies = new


async def _claims(request: Request, services: Services, origin: Origin) -> AccessClaims:
    kept: AccessClaims | None = getattr(request.state, "claims", None)
    if kept is not None:
        return kept
    presented = request.cookies.get(cookies.ACCESS)
    if presented is not None:
        try:
            claims = services.tokens.verify_access(presented)
        except InvalidToken:
            pass
        else:
            request.state.claims = claims
            return claims
    if request.url.path.startswith("/api/"):
        raise NotSignedIn
    claims = await _renew(request, services, origin)
    request.state.claims = claims
    return claims


async def _renew(request: Request, services: Services, origin: Origin) -> AccessClaims:
    """Renew an expired access cookie on a page (the API answers 401, and its client refreshes)."""
    refresh, device = request.cookies.get(cookies.REFRESH), request.cookies.get(cookies.DEVICE)
    if refresh is None or device is None:
        raise NotSignedIn
    await services.limiter.admit(rules.REFRESH, Subjects(identity=f"refresh:{refresh[:32]}", address=origin.address))
    try:
        renewed = await services.sessions.refresh(refresh, device)
    except NotSignedIn:
        remember_session(request, SessionCookies())
        raise
    remember_session(request, SessionCookies(renewed.access_token, renewed.refresh_token, renewed.device_secret))
    return services.tokens.verify_access(renewed.access_token)


async def _count_person(request: Request, services: Services, rule: Rule, claims: AccessClaims) -> None:
    subjects = Subjects(person_identity(claims.person_id), request.state.client_address)
    await _count(request, services, rule, subjects)


async def _count_caller(entry: CompanyEntry) -> None:
    """Count the request in every dimension but the company's, which is counted once its scope has opened."""
    own = rules.only(entry.rule, frozenset(rules.Dimension) - _OF_COMPANY)
    if own is not None:
        subjects = Subjects(entry.identity, entry.request.state.client_address)
        await _count(entry.request, entry.services, own, subjects)


@upholds("3.1.1")
async def _count(request: Request, services: Services, rule: Rule, subjects: Subjects) -> None:
    request.state.limit = await services.limiter.admit(rule, subjects)


def require_operator(scope: Scope) -> None:
    """Raise NotAllowed for everybody but the operator of the deployment."""
    if not scope.actor.is_operator:
        raise NotAllowed("Only the operator of this deployment may see this.")
