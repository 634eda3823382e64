"""Agents: what each is for, how it is instructed, and which tools it may use."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field

from operalta.access.rules import Permission
from operalta.agents.company_tools import COMPANY_TOOLS
from operalta.agents.definitions import service
from operalta.agents.definitions.rules import (
    LIMITS,
    LONGEST_FOLDER,
    LONGEST_INSTRUCTIONS,
    LONGEST_NAME,
    LONGEST_PURPOSE,
    MOST_FOLDERS,
    Definition,
)
from operalta.agents.model_routes import company_list
from operalta.guard import rules
from operalta.kernel.errors import InvalidInput
from operalta.web.api.models import REFUSALS, Body, Listing, Shown
from operalta.web.entry import CompanyEntry, InCompany

router = APIRouter(prefix="/companies/{company}/agents", tags=["agents"], responses=REFUSALS)

Choosing = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.READ))]
Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_READ, rules.READ))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_MANAGE, rules.SENSITIVE_WRITE))]
Folder = Annotated[str, Field(min_length=1, max_length=LONGEST_FOLDER)]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Purpose = Annotated[str, Field(min_length=1, max_length=LONGEST_PURPOSE)]
Instructions = Annotated[str, Field(max_length=LONGEST_INSTRUCTIONS)]
Folders = Annotated[tuple[Folder, ...], Field(max_length=MOST_FOLDERS)]
Version = Annotated[int, Path(ge=1, le=2_147_483_647)]
Slug = Annotated[str, Field(min_length=1, max_length=80)]
ToolDecision = Literal["allow", "ask", "deny"]


class ToolSetting(Body):
    """What an agent is to do with one tool. `allow` leaves the decision to the policy, which may still ask."""

    tool: Annotated[str, Field(min_length=1, max_length=64)]
    decision: ToolDecision


class LimitsBody(Body):
    """The most that one run of the agent may use; what is left out is as the deployment says."""

    steps: Annotated[int, Field(ge=1, le=LIMITS["steps"][1])] | None = None
    tool_calls: Annotated[int, Field(ge=1, le=LIMITS["tool_calls"][1])] | None = None
    tokens: Annotated[int, Field(ge=1, le=LIMITS["tokens"][1])] | None = None
    cost_micros: Annotated[int, Field(ge=0, le=LIMITS["cost_micros"][1])] | None = None
    active_seconds: Annotated[int, Field(ge=1, le=LIMITS["active_seconds"][1])] | None = None


class NewAgentBody(Body):
    """An agent to be made. It begins on the built-in route; tools not named are denied."""

    name: Name
    purpose: Purpose
    instructions: Instructions = ""
    tools: Annotated[tuple[ToolSetting, ...], Field(max_length=100)] = ()
    directories: Folders = ()
    limits: LimitsBody = LimitsBody()


class AgentBody(Body):
    """What is to hold of an agent from its next step on; what is left out stays. Tools not named are denied."""

    name: Name | None = None
    purpose: Purpose | None = None
    instructions: Instructions | None = None
    tools: Annotated[tuple[ToolSetting, ...], Field(max_length=100)] | None = None
    directories: Folders | None = None
    limits: LimitsBody | None = None


class RouteBody(Body):
    """Which model route an agent is to take: one that the company allows, or `built-in`."""

    route: Slug


class Agent(Shown):
    """An agent. `tools` maps a tool's name to what the agent is set to do with it.

    `directories` are the folders whose files it reaches; all of the company's where there are none. `limits` are those
    of a run that the agent narrows. `retired_at`: since when it takes no more work.
    """

    id: UUID
    slug: str
    name: str
    purpose: str
    instructions: str
    route: str
    tools: dict[str, ToolDecision]
    directories: tuple[str, ...]
    limits: dict[str, int]
    version: int
    retired_at: datetime | None


class AgentVersion(Shown):
    """An agent as it was from `changed_at` on. Nobody is named where it came with the company."""

    version: int
    name: str
    purpose: str
    instructions: str
    route: str
    tools: dict[str, ToolDecision]
    directories: tuple[str, ...]
    limits: dict[str, int]
    changed_at: datetime
    changed_by_name: str | None


@router.get("")
async def list_agents(entry: Choosing, *, retired: bool = False) -> Listing[Agent]:
    """List the company's agents; with `retired`, those too that take no more work."""
    async with entry.scope() as scope:
        found = await service.list_agents(scope, retired=retired)
    return Listing[Agent](items=tuple(Agent.model_validate(each) for each in found))


@router.post("", status_code=HTTPStatus.CREATED)
async def make_agent(entry: Managing, body: NewAgentBody) -> Agent:
    """Make an agent."""
    wanted = Definition(
        body.name,
        body.purpose,
        body.instructions,
        _decisions(body.tools),
        body.directories,
        body.limits.model_dump(exclude_none=True),
    )
    async with entry.scope() as scope:
        return Agent.model_validate(await service.make_agent(scope, wanted))


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
            limits=None if body.limits is None else body.limits.model_dump(exclude_none=True),
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


@router.post("/{agent_id}/retirement")
async def retire_agent(entry: Managing, agent_id: UUID) -> Agent:
    """Take an agent out of use and stop its runs. What it did stays."""
    async with entry.scope() as scope:
        await service.retire_agent(scope, agent_id)
        found, _ = await service.get_agent(scope, agent_id)
    return Agent.model_validate(found)


@router.delete("/{agent_id}/retirement")
async def bring_back_agent(entry: Managing, agent_id: UUID) -> Agent:
    """Let a retired agent take work again."""
    async with entry.scope() as scope:
        await service.bring_back_agent(scope, agent_id)
        found, _ = await service.get_agent(scope, agent_id)
    return Agent.model_validate(found)


@router.get("/{agent_id}/versions")
async def list_versions(
    entry: Reading, agent_id: UUID, before: Annotated[int | None, Query(ge=1, le=2_147_483_647)] = None
) -> Listing[AgentVersion]:
    """List the versions of an agent, the latest first; `next_cursor` is the number to give as `before`."""
    async with entry.scope() as scope:
        found = await service.list_versions(scope, agent_id, before)
    shown = found[: service.MOST_VERSIONS]
    return Listing[AgentVersion](
        items=tuple(AgentVersion.model_validate(each) for each in shown),
        next_cursor=str(shown[-1].version) if len(found) > len(shown) else None,
    )


@router.post("/{agent_id}/versions/{version}/restoration")
async def restore_version(entry: Managing, agent_id: UUID, version: Version) -> Agent:
    """Define an agent as it was in an earlier version, model route aside. That makes a new version."""
    async with entry.scope() as scope:
        await service.restore_version(scope, agent_id, version)
        found, _ = await service.get_agent(scope, agent_id)
    return Agent.model_validate(found)


def _decisions(tools: tuple[ToolSetting, ...]) -> dict[str, str]:
    known = {tool.name for tool in COMPANY_TOOLS}
    unknown = sorted({each.tool for each in tools} - known)
    if unknown:
        raise InvalidInput(f"There is no tool called {unknown[0]}. See the list of tools.", field="tools")
    return {each.tool: each.decision for each in tools}
