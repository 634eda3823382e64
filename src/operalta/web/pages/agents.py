"""The agents of a company: what each may use, its instructions, its limits, its versions, its last runs."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from operalta.access.rules import Permission
from operalta.agents.company_tools import COMPANY_TOOLS
from operalta.agents.definitions import service
from operalta.agents.definitions.rules import LIMITS, Agent, AgentVersion, Definition, run_limits
from operalta.agents.errors import RouteUnknown
from operalta.agents.model_routes.company_list import RouteView, list_routes
from operalta.agents.rules import RunLimits
from operalta.agents.tool_functions import tools_here
from operalta.db.scope import Row
from operalta.guard import rules
from operalta.identity.errors import NotProved
from operalta.kernel.errors import Conflict, InvalidInput, Refusal
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.limit_fields import limits_of, typed_limits
from operalta.web.presentation import go_to, page

router = APIRouter()

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_READ, rules.READ))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_MANAGE, rules.SENSITIVE_WRITE))]
Text = Annotated[str, Form(max_length=10_000)]


@router.get("/c/{company}/agents")
async def agents(entry: Reading) -> HTMLResponse:
    """List the agents."""
    return await _agents_page(entry, {}, None)


@router.post("/c/{company}/agents")
async def make(
    entry: Managing,
    name: Text = "",
    purpose: Text = "",
    instructions: Text = "",
    like: UUID | Literal[""] = "",
) -> Response:
    """Make an agent, with the tools, folders and limits of another one, or with none."""
    typed = {"name": name, "purpose": purpose, "instructions": instructions, "like": str(like)}
    try:
        async with entry.scope() as scope:
            model = (await service.get_agent(scope, like))[0] if isinstance(like, UUID) else None
            wanted = Definition(
                name,
                purpose,
                instructions,
                model.tools if model else {},
                model.directories if model else (),
                model.limits if model else {},
            )
            made = await service.make_agent(scope, wanted)
    except NotProved:
        raise
    except (InvalidInput, Conflict) as refusal:
        return await _agents_page(entry, typed, refusal)
    return go_to(f"/c/{entry.company}/agents/{made.id}", "saved")


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


@router.post("/c/{company}/agents/{agent_id}/limits")
async def change_limits(entry: Managing, agent_id: UUID) -> Response:
    """Say how much one run of the agent may use: empty for as much as the deployment allows."""
    form = await entry.request.form(max_fields=20, max_files=0)
    typed = typed_limits(form, LIMITS)
    try:
        wanted = limits_of(typed, {name: title for name, (title, _) in LIMITS.items()})
        async with entry.scope() as scope:
            await service.change_agent(scope, agent_id, limits=wanted)
    except InvalidInput as refusal:
        return await _agent_page(entry, agent_id, typed, refusal)
    return go_to(f"/c/{entry.company}/agents/{agent_id}", "saved")


@router.post("/c/{company}/agents/{agent_id}/retirement")
async def retire(entry: Managing, agent_id: UUID, back: Literal["", "yes"] = "") -> Response:
    """Take an agent out of use, or let it work again."""
    try:
        async with entry.scope() as scope:
            if back:
                await service.bring_back_agent(scope, agent_id)
            else:
                await service.retire_agent(scope, agent_id)
    except Conflict as refusal:
        return await _agent_page(entry, agent_id, {}, refusal)
    return go_to(f"/c/{entry.company}/agents/{agent_id}", "saved")


@router.get("/c/{company}/agents/{agent_id}/versions")
async def versions(
    entry: Reading, agent_id: UUID, before: Annotated[int | None, Query(ge=1, le=2_147_483_647)] = None
) -> HTMLResponse:
    """Show every version of an agent, each with what it changed."""
    base = f"/c/{entry.company}/agents/{agent_id}/versions"
    async with entry.scope() as scope:
        found, _ = await service.get_agent(scope, agent_id)
        listed = await service.list_versions(scope, agent_id, before)
        shown = listed[: service.MOST_VERSIONS]
        context = {
            "agent": {"id": found.id, "name": found.name, "version": found.version},
            "versions": [
                _version(each, listed[at + 1] if at + 1 < len(listed) else None) for at, each in enumerate(shown)
            ],
            "previous_url": base if before else None,
            "next_url": f"{base}?before={shown[-1].version}" if len(listed) > len(shown) else None,
        }
        return await page(entry.request, scope, "pages/agent_versions.html", context, nav="agents")


@router.post("/c/{company}/agents/{agent_id}/versions")
async def restore(entry: Managing, agent_id: UUID, version: Annotated[int, Form(ge=1, le=2_147_483_647)]) -> Response:
    """Define an agent as it was before."""
    async with entry.scope() as scope:
        await service.restore_version(scope, agent_id, version)
    return go_to(f"/c/{entry.company}/agents/{agent_id}", "saved")


async def _agents_page(entry: CompanyEntry, form: dict[str, str], refusal: Refusal | None) -> HTMLResponse:
    async with entry.scope() as scope:
        listed = await service.list_agents(scope, retired=True)
        # Read after the list, so that whoever makes an agent meanwhile leaves none without its use.
        use = await service.use_of_agents(scope)
        shown: list[dict[str, object]] = [
            {
                "id": agent.id,
                "name": agent.name,
                "purpose": agent.purpose,
                "is_retired": agent.retired_at is not None,
                "tools_count": sum(outcome != "deny" for outcome in agent.tools.values()),
                "last_run_at": use[agent.id].last_at,
                "runs_count": use[agent.id].runs,
            }
            for agent in listed
        ]
        models = [(str(each["id"]), f"As {each['name']}") for each in shown if not each["is_retired"]]
        context = {"agents": shown, "models": models, "form": form}
        return await page(entry.request, scope, "pages/agents.html", context, nav="agents", refusal=refusal)


async def _agent_page(
    entry: CompanyEntry, agent_id: UUID, form: dict[str, str], refusal: Refusal | None
) -> HTMLResponse:
    async with entry.scope() as scope:
        found, runs = await service.get_agent(scope, agent_id)
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
                "version": found.version,
                "retired_at": found.retired_at,
            },
            "tools": _tools(entry, found),
            "limits": _limits(found),
            "limits_held": _limits_held(found),
            "runs": [_run(entry, run) for run in runs],
            "grants": [],
            "form": form,
        }
        return await page(entry.request, scope, "pages/agent.html", context, nav="agents", refusal=refusal)


def _tools(entry: CompanyEntry, agent: Agent) -> list[dict[str, object]]:
    return [
        {
            "name": tool.name,
            "description": tool.absent_because or tool.purpose,
            "tool_class": tool.tool_class.value.replace("_", " "),
            "decision": agent.tools.get(tool.name, "deny"),
            "is_fixed": tool.always_asks,
        }
        for tool in tools_here(entry.services.shell_state())
    ]


def _limits(agent: Agent) -> list[dict[str, object]]:
    return [
        {"name": name, "title": title, "largest": f"{largest:,}", "own": agent.limits.get(name, "")}
        for name, (title, largest) in LIMITS.items()
    ]


def _limits_held(agent: Agent) -> list[tuple[str, str]]:
    """Return what holds of the agent's runs, whoever said so."""
    held = run_limits(agent.limits, RunLimits())
    return [(title, f"{getattr(held, name):,.0f}") for name, (title, _) in LIMITS.items()]


def _run(entry: CompanyEntry, run: Row) -> dict[str, object]:
    return {
        "id": run["id"],
        "title": "Run",
        "person": run["person_name"] or "somebody",
        "state": run["status"],
        "started_at": run["created_at"],
        "duration": None,
        "href": f"/c/{entry.company}/chat/{run['conversation_id']}",
    }


def _version(version: AgentVersion, before: AgentVersion | None) -> dict[str, object]:
    return {
        "version": version.version,
        "changed_by": version.changed_by_name,
        "changed_at": version.changed_at,
        "before": before.as_text if before else "",
        "after": version.as_text,
    }


def _route_of(agent: Agent, listed: tuple[RouteView, ...]) -> dict[str, object]:
    view = next((each for each in listed if each.route.slug == agent.route), None)
    if view is None:
        return {"title": "No longer there", "why_not": RouteUnknown().public_text}
    return {"title": view.route.title, "why_not": view.refusal.public_text if view.refusal else None}
