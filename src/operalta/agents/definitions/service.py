"""What people do with the definitions of agents: make, change, retire, look back, and bring back.

Every change leaves a version: the database writes it, whatever changed the row.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

from operalta.access.rules import Permission
from operalta.agents.definitions import store
from operalta.agents.definitions.rules import MOST_AGENTS, Agent, AgentUse, AgentVersion, Definition, Limits, slug_of
from operalta.agents.errors import LastAgent, NoSuchAgent, TooManyAgents
from operalta.audit.rules import Action
from operalta.audit.service import record
from operalta.db.permission import require
from operalta.db.scope import Row, Scope
from operalta.identity.step_up import SensitiveOperation, require_recent_proof
from operalta.kernel.errors import Conflict, NotAllowed, NotFound
from operalta.kernel.ids import AgentId, new_id

MOST_VERSIONS = 50


async def list_agents(scope: Scope, *, retired: bool = False) -> tuple[Agent, ...]:
    """Return the company's agents, those that were retired too where asked."""
    require(scope, Permission.AGENTS_READ)
    return tuple(_agent(row) for row in await store.agents(scope, retired=retired))


async def use_of_agents(scope: Scope) -> dict[UUID, AgentUse]:
    """Return how much each agent of the company has run lately."""
    require(scope, Permission.AGENTS_READ)
    return {row["id"]: AgentUse(row["runs"], row["last_at"]) for row in await store.use_of_agents(scope)}


async def get_agent(scope: Scope, agent_id: UUID) -> tuple[Agent, list[Row]]:
    """Return an agent and its last runs. Raise NotFound."""
    require(scope, Permission.AGENTS_READ)
    return await _found(scope, agent_id), await store.recent_runs(scope, agent_id)


async def find_called(scope: Scope, name: str) -> AgentId:
    """Return the working agent of the company that `name` is the slug of, or the id. Raise NoSuchAgent."""
    require(scope, Permission.AGENTS_READ)
    row = await store.agent_called(scope, name)
    if row is None:
        raise NoSuchAgent
    return AgentId(row["id"])


async def make_agent(scope: Scope, definition: Definition) -> Agent:
    """Add an agent on the built-in route and return it.

    Raise InvalidInput, TooManyAgents, or NotProved where it is granted tools.
    """
    require(scope, Permission.AGENTS_MANAGE)
    wanted = definition.checked()
    known = await store.agents(scope, retired=True)
    if len(known) >= MOST_AGENTS:
        raise TooManyAgents
    if wanted.widens(None):
        await require_recent_proof(scope, SensitiveOperation.CHANGE_AGENT_TOOLS)
    agent_id = AgentId(new_id())
    slug = slug_of(wanted.name, frozenset(row["slug"] for row in known))
    if not await store.insert_agent(scope, agent_id, slug, asdict(wanted)):
        raise Conflict
    await record(scope, Action.AGENT_MADE, "agent", agent_id, slug=slug, tools=wanted.tools)
    return await _found(scope, agent_id)


async def change_agent(
    scope: Scope,
    agent_id: UUID,
    *,
    name: str | None = None,
    purpose: str | None = None,
    instructions: str | None = None,
    tools: Mapping[str, str] | None = None,
    directories: tuple[str, ...] | None = None,
    limits: Limits | None = None,
) -> None:
    """Change what is given of an agent; takes hold at its next step.

    Raise NotFound, InvalidInput, or NotProved where the tools or the folders change.
    """
    require(scope, Permission.AGENTS_MANAGE)
    present = await _held(scope, agent_id)
    given: dict[str, object] = {
        "name": name,
        "purpose": purpose,
        "instructions": instructions,
        "tools": tools,
        "directories": directories,
        "limits": limits,
    }
    changed = {field: value for field, value in given.items() if value is not None}
    await _change(scope, present, replace(present.definition, **changed))


async def restore_version(scope: Scope, agent_id: UUID, version: int) -> None:
    """Define an agent as it was in an earlier version; its model route stays, which has a list of its own.

    It becomes the latest version. Raise NotFound, or NotProved where the tools or the folders change.
    """
    require(scope, Permission.AGENTS_MANAGE)
    present = await _held(scope, agent_id)
    found = await store.versions(scope, agent_id, version + 1, 1)
    if not found or found[0]["version"] != version:
        raise NotFound("There is no such version of this agent.")
    await _change(scope, present, _version(found[0]).definition)


async def list_versions(scope: Scope, agent_id: UUID, before: int | None = None) -> tuple[AgentVersion, ...]:
    """Return the versions of an agent below `before`, the latest first. Raise NotFound.

    One more than MOST_VERSIONS where there are others: it is not for a page, but tells that, and what the last changed.
    """
    require(scope, Permission.AGENTS_READ)
    await _found(scope, agent_id)
    return tuple(_version(row) for row in await store.versions(scope, agent_id, before, MOST_VERSIONS + 1))


async def retire_agent(scope: Scope, agent_id: UUID) -> None:
    """Take an agent out of use: its runs are asked to stop, it takes no more work, what it did stays.

    Raise NotFound, or LastAgent where no other would be left.
    """
    await _retire(scope, agent_id, away=True)


async def bring_back_agent(scope: Scope, agent_id: UUID) -> None:
    """Let a retired agent take work again. Raise NotFound."""
    await _retire(scope, agent_id, away=False)


async def _retire(scope: Scope, agent_id: UUID, *, away: bool) -> None:
    require(scope, Permission.AGENTS_MANAGE)
    outcome = await store.retire_agent(scope, agent_id, away=away)
    if outcome == "none":
        raise NotFound
    if outcome == "last":
        raise LastAgent
    if outcome == "refused":
        raise NotAllowed


async def _change(scope: Scope, present: Agent, wanted: Definition) -> None:
    wanted = wanted.checked()
    if wanted.widens(present.definition):
        await require_recent_proof(scope, SensitiveOperation.CHANGE_AGENT_TOOLS)
    await store.change_agent(scope, present.id, asdict(wanted))
    await record(
        scope,
        Action.AGENT_CHANGED,
        "agent",
        present.id,
        tools=wanted.tools,
        directories=wanted.directories,
        limits=wanted.limits,
    )


async def _held(scope: Scope, agent_id: UUID) -> Agent:
    """Return an agent, held: of two who change it at once, the second starts from what the first left."""
    if not await store.hold_agent(scope, agent_id):
        raise NotFound
    return await _found(scope, agent_id)


async def _found(scope: Scope, agent_id: UUID) -> Agent:
    row = await store.agent(scope, agent_id)
    if row is None:
        raise NotFound
    return _agent(row)


def _agent(row: Row) -> Agent:
    values: dict[str, Any] = {**row, "id": AgentId(row["id"]), "directories": tuple(row["directories"])}
    return Agent(**values)


def _version(row: Row) -> AgentVersion:
    values: dict[str, Any] = {**row, "directories": tuple(row["directories"])}
    return AgentVersion(**values)
