"""What a company allows of the operator's routes: looking at it, changing it, and giving an agent a route of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from operalta.access.rules import Permission
from operalta.agents.errors import RouteChanged, RouteNotAllowed, RouteNotApproved, RouteUnknown
from operalta.agents.model_routes import store
from operalta.agents.route_rules import BUILTIN, CompanyRoutes, ListedRoute
from operalta.db.permission import require
from operalta.db.scope import Row, Scope
from operalta.identity.errors import NotProved
from operalta.identity.step_up import SensitiveOperation, require_recent_proof
from operalta.kernel.errors import InvalidInput, NotAllowed, NotFound, Refusal
from operalta.terms.registry import upholds

LONGEST_REGION = 400
MOST_REGIONS = 50
MOST_ROUTES = 200


@dataclass(frozen=True, slots=True)
class Allowance:
    """Who allowed a route or a region, and when."""

    by: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class RouteView:
    """A route as the company sees it. `refusal` is why it may not be used now; None where it may."""

    route: ListedRoute
    allowance: Allowance | None
    refusal: Refusal | None

    @property
    def is_builtin(self) -> bool:
        """Whether it is the route that nothing leaves over, which nobody needs to allow."""
        return self.route is BUILTIN


@dataclass(frozen=True, slots=True)
class RegionView:
    """A region that an approved route is in, or that the company allows."""

    region: str
    allowance: Allowance | None


@dataclass(frozen=True, slots=True)
class RouteList:
    """All routes of the operator, with the regions; `gone` are allowed ones that the operator no longer has."""

    routes: tuple[RouteView, ...]
    regions: tuple[RegionView, ...]
    gone: tuple[str, ...]


async def company_routes(scope: Scope) -> CompanyRoutes:
    """Return what the company of the scope allows at this moment."""
    return _as_rules(await store.allowed_routes(scope), await store.allowed_regions(scope))


async def list_routes(scope: Scope, known: Sequence[ListedRoute]) -> RouteList:
    """Return every route of the operator, and what the company makes of it."""
    require(scope, Permission.AGENTS_READ)
    route_rows, region_rows = await store.allowed_routes(scope), await store.allowed_regions(scope)
    allowed = _as_rules(route_rows, region_rows)
    routes = {row["slug"]: _allowance(row) for row in route_rows}
    regions = {row["region"]: _allowance(row) for row in region_rows}
    named = {each.region for each in known if each.region and each.is_approved and each is not BUILTIN} | set(regions)
    return RouteList(
        tuple(RouteView(each, routes.get(each.slug), allowed.refusal_of(each)) for each in known),
        tuple(RegionView(each, regions.get(each)) for each in sorted(named)),
        tuple(sorted(set(routes) - {each.slug for each in known})),
    )


def _as_rules(routes: Sequence[Row], regions: Sequence[Row]) -> CompanyRoutes:
    return CompanyRoutes(
        {row["slug"]: row["record_sha256"] for row in routes}, frozenset(row["region"] for row in regions)
    )


def _allowance(row: Row) -> Allowance:
    return Allowance(row["allowed_by"], row["allowed_at"])


@upholds("5.6.1")
async def allow_routes(
    scope: Scope, known: Sequence[ListedRoute], wanted: Mapping[str, str], regions: Sequence[str]
) -> None:
    """Replace the company's list. `wanted` maps slugs to the digest of the route as the person has seen it.

    What widens the list asks for a recent proof. Raise NotProved, RouteUnknown, RouteNotApproved, InvalidInput, or
    RouteChanged where the operator has changed a route since it was looked at.
    """
    require(scope, Permission.COMPANY_MANAGE)
    by_slug = {each.slug: each for each in known if each is not BUILTIN}
    for slug, seen in wanted.items():
        route = by_slug.get(slug)
        if route is None:
            raise RouteUnknown
        if not route.is_approved:
            raise RouteNotApproved
        if route.record_sha256 != seen:
            raise RouteChanged
    clean = _regions(regions)
    before = await company_routes(scope)
    if set(wanted.items()) - set(before.records.items()) or set(clean) - before.regions:
        await require_recent_proof(scope, SensitiveOperation.ALLOW_MODEL_ROUTES)
    verdict = await store.allow_routes(scope, dict(wanted), clean)
    if verdict == "unproved":
        raise NotProved
    if verdict == "refused":
        raise NotAllowed


@upholds("5.6.1")
async def choose_route(scope: Scope, known: Sequence[ListedRoute], agent_id: UUID, slug: str) -> None:
    """Give an agent a route; its next run takes it. Raise NotFound, or as RouteRegistry.usable does."""
    require(scope, Permission.AGENTS_MANAGE)
    route = next((each for each in known if each.slug == slug), None)
    if route is None:
        raise RouteUnknown
    refusal = (await company_routes(scope)).refusal_of(route)
    if refusal is not None:
        raise refusal
    match await store.choose_route(scope, agent_id, slug):
        case "chosen":
            return
        case "none":
            raise NotFound
        case "not allowed":
            raise RouteNotAllowed
        case _:
            raise NotAllowed


def _regions(regions: Sequence[str]) -> tuple[str, ...]:
    clean = tuple(dict.fromkeys(each.replace("\x00", "").strip() for each in regions))
    if len(clean) > MOST_REGIONS or not all(0 < len(each) <= LONGEST_REGION for each in clean):
        raise InvalidInput(f"At most {MOST_REGIONS} regions, in the words of the approval records.", field="regions")
    return clean
