"""Agents: what each is for, how it is instructed, and which tools it may use."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field

from operalta.access.rules import Permission
from operalta.agents import service
from operalta.agents.company_tools import COMPANY_TOOLS
from operalta.agents.model_routes import company_list
from operalta.guard import rules
from operalta.kernel.errors import InvalidInput
from operalta.web.api.models import REFUSALS, Body, Listing, Shown
from operalta.web.entry import CompanyEntry, InCompany

router = APIRouter(prefix="/companies/{company}/agents", tags=["agents"], responses=REFUSALS)

Choosing = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.READ))]
Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_READ, rules.READ))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_MANAGE, rules.SENSITIVE_WRITE))]
Folder = Annotated[str, Field(min_length=1, max_length=service.LONGEST_FOLDER)]
Slug = Annotated[str, Field(min_length=1, max_length=80)]
ToolDecision = Literal["allow", "ask", "deny"]


class ToolSetting(Body):
    """What an agent is to do with one tool. `allow` leaves the decision to the policy, which may still ask."""

    tool: Annotated[str, Field(min_length=1, max_length=64)]
    decision: ToolDecision


class AgentBody(Body):
    """What is to hold of an agent from its next step on; what is left out stays. Tools not named are denied."""

    name: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    purpose: Annotated[str, Field(min_length=1, max_length=400)] | None = None
    instructions: Annotated[str, Field(max_length=8_000)] | None = None
    tools: Annotated[tuple[ToolSetting, ...], Field(max_length=100)] | None = None
    directories: Annotated[tuple[Folder, ...], Field(max_length=service.MOST_FOLDERS)] | None = None


class RouteBody(Body):
    """Which model route an agent is to take: one that the company allows, or `built-in`."""

    route: Slug


class Agent(Shown):
    """An agent. `tools` maps a tool's name to what the agent is set to do with it.

    `directories` are the folders whose files it reaches; all of the company's where there are none.
    """

    id: UUID
    slug: str
    name: str
    purpose: str
    instructions: str
    route: str
    tools: dict[str, ToolDecision]
    directories: tuple[str, ...]


@router.get("")
async def list_agents(entry: Choosing) -> Listing[Agent]:
    """List the company's agents."""
    async with entry.scope() as scope:
        found = await service.list_agents(scope)
    return Listing[Agent](items=tuple(Agent.model_validate(each) for each in found))


@router.get("/{agent_id}")
async def get_agent(entry: Reading, agent_id: UUID) -> Agent:
    """Return one agent."""
    async with entry.scope() as scope:
        found, _ = await service.get_agent(scope, agent_id)
    return Agent.model_validate(found)


@router.patch("/{agent_id}")
async def change_agent(entry: Managing, agent_id: UUID, body: AgentBody) -> Agent:
    """Change an agent; a run that is under way follows at its next step."""
    async with entry.scope() as scope:
        await service.change_agent(
            scope,
            agent_id,
            name=body.name,
            purpose=body.purpose,
            instructions=body.instructions,
            tools=None if body.tools is None else _decisions(body.tools),
            directories=body.directories,
        )
        found, _ = await service.get_agent(scope, agent_id)
    return Agent.model_validate(found)


@router.put("/{agent_id}/route")
async def choose_route(entry: Managing, agent_id: UUID, body: RouteBody) -> Agent:
    """Give an agent another model route, from its next run on."""
    async with entry.scope() as scope:
        await company_list.choose_route(scope, entry.services.model_routes, agent_id, body.route)
        found, _ = await service.get_agent(scope, agent_id)
    return Agent.model_validate(found)


def _decisions(tools: tuple[ToolSetting, ...]) -> dict[str, str]:
    known = {tool.name for tool in COMPANY_TOOLS}
    unknown = sorted({each.tool for each in tools} - known)
    if unknown:
        raise InvalidInput(f"There is no tool called {unknown[0]}. See the list of tools.", field="tools")
    return {each.tool: each.decision for each in tools}
