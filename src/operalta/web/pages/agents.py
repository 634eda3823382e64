"""The agents of a company: what each may use, its instructions, its last runs."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from operalta.access.rules import Permission
from operalta.agents import service
from operalta.agents.company_tools import COMPANY_TOOLS
from operalta.agents.errors import RouteUnknown
from operalta.agents.model_routes.company_list import RouteView, list_routes
from operalta.agents.rules import RunLimits
from operalta.agents.tool_functions import tools_here
from operalta.guard import rules
from operalta.kernel.errors import InvalidInput, Refusal
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.presentation import form_errors, go_to, page
from operalta.web.problems import status_of

router = APIRouter()

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_READ, rules.READ))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_MANAGE, rules.SENSITIVE_WRITE))]
Text = Annotated[str, Form(max_length=10_000)]


@router.get("/c/{company}/agents")
async def agents(entry: Reading) -> HTMLResponse:
    """List the agents."""
    async with entry.scope() as scope:
        shown: list[dict[str, object]] = []
        for agent in await service.list_agents(scope):
            _, runs = await service.get_agent(scope, agent.id)
            shown.append(
                {
                    "id": agent.id,
                    "name": agent.name,
                    "purpose": agent.purpose,
                    "tools_count": sum(outcome != "deny" for outcome in agent.tools.values()),
                    "last_run_at": runs[0]["created_at"] if runs else None,
                    "runs_count": len(runs),
                }
            )
        return await page(entry.request, scope, "pages/agents.html", {"agents": shown}, nav="agents")


@router.get("/c/{company}/agents/{agent_id}")
async def agent(entry: Reading, agent_id: UUID) -> HTMLResponse:
    """Show one agent."""
    return await _agent_page(entry, agent_id, {}, None)


@router.post("/c/{company}/agents/{agent_id}")
async def change(
    entry: Managing, agent_id: UUID, name: Text = "", purpose: Text = "", instructions: Text = ""
) -> Response:
    """Change name, purpose and instructions."""
    try:
        async with entry.scope() as scope:
            await service.change_agent(scope, agent_id, name=name, purpose=purpose, instructions=instructions)
    except InvalidInput as refusal:
        typed = {"name": name, "purpose": purpose, "instructions": instructions}
        return await _agent_page(entry, agent_id, typed, refusal)
    return go_to(f"/c/{entry.company}/agents/{agent_id}", "saved")


@router.post("/c/{company}/agents/{agent_id}/tools")
async def change_tools(entry: Managing, agent_id: UUID, request: Request) -> RedirectResponse:
    """Decide for each tool: allow, ask or deny."""
    form = await request.form(max_fields=100, max_files=0)
    decisions = {
        tool.name: str(form[f"tool.{tool.name}"])[:10] for tool in COMPANY_TOOLS if f"tool.{tool.name}" in form
    }
    async with entry.scope() as scope:
        await service.change_agent(scope, agent_id, tools=decisions)
    return go_to(f"/c/{entry.company}/agents/{agent_id}", "saved")


@router.post("/c/{company}/agents/{agent_id}/folders")
async def change_folders(entry: Managing, agent_id: UUID, directories: Text = "") -> Response:
    """Say below which folders the agent reaches files: one a line, none for all."""
    named = tuple(line for line in directories.splitlines() if line.strip())
    try:
        async with entry.scope() as scope:
            await service.change_agent(scope, agent_id, directories=named)
    except InvalidInput as refusal:
        return await _agent_page(entry, agent_id, {"directories": directories}, refusal)
    return go_to(f"/c/{entry.company}/agents/{agent_id}", "saved")


async def _agent_page(
    entry: CompanyEntry, agent_id: UUID, form: dict[str, str], refusal: Refusal | None
) -> HTMLResponse:
    async with entry.scope() as scope:
        found, runs = await service.get_agent(scope, agent_id)
        limits = RunLimits()
        listed = (await list_routes(scope, entry.services.model_routes)).routes
        context = {
            "route": _route_of(found, listed),
            "routes": [(each.route.slug, each.route.title) for each in listed if each.refusal is None],
            "agent": {
                "id": found.id,
                "name": found.name,
                "purpose": found.purpose,
                "instructions": found.instructions,
                "folders": found.directories,
                "model_route": found.route,
            },
            "tools": [
                {
                    "name": tool.name,
                    "description": tool.absent_because or tool.purpose,
                    "tool_class": tool.tool_class.value.replace("_", " "),
                    "decision": found.tools.get(tool.name, "deny"),
                    "is_fixed": tool.always_asks,
                }
                for tool in tools_here(entry.services.shell_state())
            ],
            "limits": [
                ("Steps", limits.steps),
                ("Tool calls", limits.tool_calls),
                ("Tokens", f"{limits.tokens:,}"),
                ("Seconds at work", f"{limits.active_seconds:,.0f}"),
            ],
            "runs": [
                {
                    "id": run["id"],
                    "title": "Run",
                    "person": run["person_name"] or "somebody",
                    "state": run["status"],
                    "started_at": run["created_at"],
                    "duration": None,
                    "href": f"/c/{entry.company}/chat/{run['conversation_id']}",
                }
                for run in runs
            ],
            "grants": [],
            "form": form,
        }
        errors = form_errors(refusal) if refusal else []
        status = status_of(refusal) if refusal else HTTPStatus.OK
        return await page(entry.request, scope, "pages/agent.html", context, nav="agents", errors=errors, status=status)


def _route_of(agent: service.Agent, listed: tuple[RouteView, ...]) -> dict[str, object]:
    view = next((each for each in listed if each.route.slug == agent.route), None)
    if view is None:
        return {"title": "No longer there", "why_not": RouteUnknown().public_text}
    return {"title": view.route.title, "why_not": view.refusal.public_text if view.refusal else None}
