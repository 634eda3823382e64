"""How a request comes in: each route declares its audience, its permission and its limit as one dependency.

    Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.MEMORY_READ, rules.READ))]

The dependency checks the token's signature and counts the request. The transaction is opened by the route, with
`async with entry.scope() as scope`, where the database checks session and membership and the permission is decided.
A test walks all routes and fails where a declaration is missing.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from fastapi import Path, Request

from operalta.access.rules import Permission
from operalta.db.permission import require
from operalta.db.scope import Origin, Scope, open_company_scope, open_person_scope
from operalta.guard import rules
from operalta.guard.rules import Rule, Subjects
from operalta.guard.subjects import person_identity
from operalta.identity.factors.rules import Bearer, Purpose
from operalta.identity.tokens import AccessClaims, InvalidToken
from operalta.kernel.errors import NotAllowed, NotSignedIn
from operalta.kernel.ids import RequestId
from operalta.tenancy.staff import note_use
from operalta.terms.registry import upholds
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


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a route declares."""

    audience: Audience
    rule: Rule
    permission: Permission | None = None


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
    """A request of somebody with a valid access token, for a company; `permission` is what the route declares."""

    request: Request
    services: Services
    origin: Origin
    claims: AccessClaims
    company: str
    permission: Permission
    rule: Rule

    @asynccontextmanager
    async def scope(self) -> AsyncGenerator[Scope]:
        """Open the scope in the company and decide the declared permission. Raise NotFound for outsiders."""
        async with open_company_scope(
            self.services.web, self.claims.session_secret, self.company, self.origin
        ) as scope:
            require(scope, self.permission)
            await self._count_company(scope)
            await note_use(scope, self.request.method, self.request.url.path)
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
        """Let the request in, or raise NotSignedIn or TooManyRequests."""
        services = services_of(request)
        origin = origin_of(request)
        claims = await _claims(request, services, origin)
        await _count_person(request, services, self.declaration.rule, claims)
        return PersonEntry(request, services, origin, claims)


class InCompany:
    """Declares a route for members of a company whose role holds `permission`."""

    def __init__(self, permission: Permission, rule: Rule) -> None:
        self.declaration = Declaration(Audience.COMPANY, rule, permission)
        self._permission = permission

    @upholds("2.4.1", "2.5.3", "3.3.3")
    async def __call__(self, request: Request, company: CompanyName) -> CompanyEntry:
        """Let the request in, or raise NotSignedIn or TooManyRequests."""
        services = services_of(request)
        origin = origin_of(request)
        claims = await _claims(request, services, origin)
        own = rules.only(self.declaration.rule, frozenset(rules.Dimension) - _OF_COMPANY)
        if own is not None:
            await _count_person(request, services, own, claims)
        return CompanyEntry(request, services, origin, claims, company, self._permission, self.declaration.rule)


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


@upholds("3.1.1")
async def _count(request: Request, services: Services, rule: Rule, subjects: Subjects) -> None:
    request.state.limit = await services.limiter.admit(rule, subjects)


def require_operator(scope: Scope) -> None:
    """Raise NotAllowed for everybody but the operator of the deployment."""
    if not scope.actor.is_operator:
        raise NotAllowed("Only the operator of this deployment may see this.")
