"""Model routes: what the operator has approved, what the company allows of it, and what was asked where."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field

from operalta.access.rules import Permission
from operalta.agents.model_routes import company_list
from operalta.agents.model_routes.company_list import LONGEST_REGION, MOST_REGIONS, MOST_ROUTES, RouteList, RouteView
from operalta.agents.model_routes.use import list_requests
from operalta.guard import rules
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown
from operalta.web.entry import CompanyEntry, InCompany

router = APIRouter(prefix="/companies/{company}/model-routes", tags=["model routes"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_READ, rules.READ))]
Deciding = Annotated[CompanyEntry, Depends(InCompany(Permission.COMPANY_MANAGE, rules.SENSITIVE_WRITE))]
Auditing = Annotated[CompanyEntry, Depends(InCompany(Permission.AUDIT_READ, rules.READ))]
Region = Annotated[str, Field(min_length=1, max_length=LONGEST_REGION)]


class SeenRoute(Body):
    """A route to allow, with the digest under which it was looked at: what the operator changes is allowed anew."""

    slug: Annotated[str, Field(min_length=1, max_length=80)]
    record_sha256: Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]{64}$")]


class AllowedBody(Body):
    """The whole list: what is not in it is withdrawn. A route needs its region here too."""

    routes: Annotated[tuple[SeenRoute, ...], Field(max_length=MOST_ROUTES)]
    regions: Annotated[tuple[Region, ...], Field(max_length=MOST_REGIONS)]


class ApprovalShown(Shown):
    """What the operator has put on file about a route."""

    terms_reference: str
    region: str
    retention: str
    training_opt_out: bool
    logging: str
    approved_by: str
    approved_on: date


class RouteShown(Shown):
    """A route. `usable` at this moment, or `why_not`. Without a host, nothing leaves the deployment."""

    slug: str
    title: str
    provider: str | None
    host: str | None
    model: str
    input_price: Decimal
    output_price: Decimal
    fall_back: str | None
    approval: ApprovalShown | None
    record_sha256: str
    allowed: bool
    allowed_by: str | None
    allowed_at: datetime | None
    usable: bool
    why_not: str | None


class RegionShown(Shown):
    """A region that approved routes are in, or that the company allows."""

    region: str
    allowed: bool


class RouteListShown(Shown):
    """All routes and regions. `gone` are allowed routes that the operator no longer has."""

    routes: Annotated[tuple[RouteShown, ...], Field(max_length=5_000)]
    regions: Annotated[tuple[RegionShown, ...], Field(max_length=5_000)]
    gone: Annotated[tuple[str, ...], Field(max_length=MOST_ROUTES)]


class RequestShown(Shown):
    """What was asked where; never what was said. `cost_micros` is in millionths of the currency of the prices."""

    id: UUID
    run_id: UUID
    agent_id: UUID
    agent_name: str | None
    route: str
    provider: str | None
    host: str | None
    region: str | None
    model: str | None
    asked_at: datetime
    ended_at: datetime | None
    outcome: str
    reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_micros: int | None


@router.get("")
async def list_routes(entry: Reading) -> RouteListShown:
    """List the operator's routes with their approval records, and what the company allows of them."""
    async with entry.scope() as scope:
        found = await company_list.list_routes(scope, entry.services.model_routes)
    return _shown(found)


@router.put("")
async def allow_routes(entry: Deciding, body: AllowedBody) -> RouteListShown:
    """Replace what the company allows. What widens it asks for a recent proof; withdrawing does not."""
    known = entry.services.model_routes
    async with entry.scope() as scope:
        wanted = {each.slug: each.record_sha256 for each in body.routes}
        await company_list.allow_routes(scope, known, wanted, body.regions)
        found = await company_list.list_routes(scope, known)
    return _shown(found)


@router.get("/requests")
async def requests(entry: Auditing, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE) -> Listing[RequestShown]:
    """List the requests to models, newest first."""
    async with entry.scope() as scope:
        found = await list_requests(scope, cursor, limit)
    items = tuple(RequestShown.model_validate(each) for each in found.items)
    return Listing[RequestShown](items=items, next_cursor=found.next_cursor)


def _shown(found: RouteList) -> RouteListShown:
    return RouteListShown(
        routes=tuple(map(_route, found.routes)),
        regions=tuple(RegionShown(region=each.region, allowed=each.allowance is not None) for each in found.regions),
        gone=found.gone,
    )


def _route(view: RouteView) -> RouteShown:
    route = view.route
    return RouteShown(
        slug=route.slug,
        title=route.title,
        provider=route.provider,
        host=route.host,
        model=route.model,
        input_price=route.input_price,
        output_price=route.output_price,
        fall_back=route.fall_back,
        approval=ApprovalShown.model_validate(route.approval) if route.approval else None,
        record_sha256=route.record_sha256,
        allowed=view.allowance is not None or view.is_builtin,
        allowed_by=view.allowance.by if view.allowance else None,
        allowed_at=view.allowance.at if view.allowance else None,
        usable=view.refusal is None,
        why_not=view.refusal.public_text if view.refusal else None,
    )
