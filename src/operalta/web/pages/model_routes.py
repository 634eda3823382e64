"""Model routes as the company sees them, with the operator's records; and the ledger of what was asked where."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import HTMLResponse, Response

from operalta.access.rules import Permission
from operalta.agents.errors import RouteChanged
from operalta.agents.model_routes import company_list
from operalta.agents.model_routes.company_list import MOST_REGIONS, MOST_ROUTES, RouteView
from operalta.agents.model_routes.use import ModelRequest, list_requests
from operalta.agents.route_rules import ApprovalRecord
from operalta.guard import rules
from operalta.identity.errors import NotProved
from operalta.kernel.errors import InvalidInput, NotAllowed, Refusal
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.pages.links import address_of
from operalta.web.presentation import go_to, page

router = APIRouter()

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_READ, rules.READ))]
Deciding = Annotated[CompanyEntry, Depends(InCompany(Permission.COMPANY_MANAGE, rules.SENSITIVE_WRITE))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_MANAGE, rules.SENSITIVE_WRITE))]
Auditing = Annotated[CompanyEntry, Depends(InCompany(Permission.AUDIT_READ, rules.READ))]

_MICROS = 1_000_000


@router.get("/c/{company}/model-routes")
async def model_routes(entry: Reading) -> HTMLResponse:
    """Show each route with its record, and whether agents of the company may take it."""
    return await _routes_page(entry, None)


@router.post("/c/{company}/model-routes")
async def allow(entry: Deciding) -> Response:
    """Replace what the company allows."""
    form = await entry.request.form(max_fields=MOST_ROUTES + MOST_REGIONS, max_files=0)
    wanted: dict[str, str] = {}
    for each in form.getlist("route"):
        slug, _, seen = str(each).partition(" ")
        wanted[slug] = seen
    regions = [str(each) for each in form.getlist("region")]
    try:
        async with entry.scope() as scope:
            await company_list.allow_routes(scope, entry.services.model_routes, wanted, regions)
    except NotProved:
        raise
    except (InvalidInput, NotAllowed) as refusal:
        return await _routes_page(entry, refusal)
    return go_to(f"/c/{entry.company}/model-routes", "saved")


@router.post("/c/{company}/agents/{agent_id}/route")
async def choose(entry: Managing, agent_id: UUID, route: Annotated[str, Form(max_length=200)] = "") -> Response:
    """Give an agent another route."""
    async with entry.scope() as scope:
        await company_list.choose_route(scope, entry.services.model_routes, agent_id, route)
    return go_to(f"/c/{entry.company}/agents/{agent_id}", "saved")


@router.get("/c/{company}/model-use")
async def model_use(entry: Auditing, cursor: Annotated[str | None, Query(max_length=400)] = None) -> HTMLResponse:
    """Show what was asked where, newest first."""
    base = f"/c/{entry.company}/model-use"
    async with entry.scope() as scope:
        found = await list_requests(scope, cursor)
        context = {
            "requests": [_request(each) for each in found.items],
            "previous_url": base if cursor else None,
            "next_url": address_of(base, {"cursor": found.next_cursor}) if found.next_cursor else None,
        }
        return await page(entry.request, scope, "pages/model_use.html", context, nav="company")


async def _routes_page(entry: CompanyEntry, refusal: Refusal | None) -> HTMLResponse:
    async with entry.scope() as scope:
        found = await company_list.list_routes(scope, entry.services.model_routes)
        context = {
            "routes": [_route(each) for each in found.routes],
            "regions": [
                {"name": each.region, "is_allowed": each.allowance is not None, **_allowance(each.allowance)}
                for each in found.regions
            ],
            "gone": found.gone,
        }
        return await page(entry.request, scope, "pages/model_routes.html", context, nav="company", refusal=refusal)


def _route(view: RouteView) -> dict[str, object]:
    route = view.route
    return {
        "slug": route.slug,
        "title": route.title,
        "provider": route.provider,
        "host": route.host,
        "model": route.model,
        "record": _record(route.approval) if route.approval else [],
        "approved_by": route.approval.approved_by if route.approval else None,
        "approved_on": route.approval.approved_on if route.approval else None,
        "price": None if view.is_builtin else f"{route.input_price:f} in, {route.output_price:f} out",
        "fall_back": route.fall_back,
        "seen": f"{route.slug} {route.record_sha256}",
        "is_builtin": view.is_builtin,
        "may_be_allowed": route.is_approved and not view.is_builtin,
        # What has changed since counts as not allowed: whoever ticks it has looked at it again.
        "is_ticked": view.allowance is not None and not isinstance(view.refusal, RouteChanged),
        "is_usable": view.refusal is None,
        "why_not": view.refusal.public_text if view.refusal else None,
        **_allowance(view.allowance),
    }


def _record(record: ApprovalRecord) -> list[tuple[str, str]]:
    return [
        ("Region", record.region or "Not stated"),
        ("Terms", record.terms_reference or "Not stated"),
        ("Retention", record.retention or "Not stated"),
        ("Training", "Ruled out" if record.training_opt_out else "Not ruled out"),
        ("Logging", record.logging or "Not stated"),
    ]


def _allowance(allowance: company_list.Allowance | None) -> dict[str, object]:
    return {
        "allowed_by": allowance.by if allowance else None,
        "allowed_at": allowance.at if allowance else None,
    }


def _request(line: ModelRequest) -> dict[str, object]:
    return {
        "asked_at": line.asked_at,
        "agent": line.agent_name,
        "route": line.route,
        "model": line.model,
        "provider": line.provider,
        "host": line.host,
        "region": line.region,
        "input_tokens": line.input_tokens,
        "output_tokens": line.output_tokens,
        "cost": None if line.cost_micros is None else f"{line.cost_micros / _MICROS:.4f}",
        "outcome": "no answer yet" if line.outcome == "asked" else line.outcome,
        "reason": line.reason,
    }
