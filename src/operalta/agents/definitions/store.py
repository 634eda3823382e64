"""The SQL of agents and their versions."""

from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from operalta.db.scope import Row, Scope


async def agents(scope: Scope, *, retired: bool, most: int | None = None) -> list[Row]:
    """Return the company's agents in the order in which they were made, up to `most`; the retired ones where asked."""
    return await scope.all(
        "SELECT known.id, known.slug, known.name, known.purpose, known.instructions, known.route, known.tools, known.limits,"
        " known.directories, known.retired_at, (SELECT max(kept.version) FROM agents.agent_versions AS kept"
        " WHERE kept.company_id = known.company_id AND kept.agent_id = known.id) AS version"
        " FROM agents.agents AS known WHERE known.company_id = %(company)s AND (%(retired)s OR known.retired_at IS NULL)"
        " ORDER BY known.created_at, known.name LIMIT %(most)s",
        {"company": scope.company, "retired": retired, "most": most},
    )


async def agent(scope: Scope, agent_id: UUID) -> Row | None:
    """Return one agent, retired or not."""
    return await scope.one(
        "SELECT known.id, known.slug, known.name, known.purpose, known.instructions, known.route, known.tools, known.limits,"
        " known.directories, known.retired_at, (SELECT max(kept.version) FROM agents.agent_versions AS kept"
        " WHERE kept.company_id = known.company_id AND kept.agent_id = known.id) AS version"
        " FROM agents.agents AS known WHERE known.company_id = %(company)s AND known.id = %(id)s",
        {"company": scope.company, "id": agent_id},
    )


async def agent_called(scope: Scope, name: str) -> Row | None:
    """Return the id and the name of a working agent of the company by its exact slug, or its id written out."""
    return await scope.one(
        "SELECT known.id, known.name FROM agents.agents AS known WHERE known.company_id = %(company)s"
        " AND (known.slug = %(name)s OR known.id::text = %(name)s) AND known.retired_at IS NULL",
        {"company": scope.company, "name": name},
    )


async def hold_agent(scope: Scope, agent_id: UUID) -> bool:
    """Let nobody else change an agent before this transaction ends."""
    row = await scope.one(
        "SELECT known.id FROM agents.agents AS known WHERE known.company_id = %(company)s AND known.id = %(id)s"
        " FOR NO KEY UPDATE",
        {"company": scope.company, "id": agent_id},
    )
    return row is not None


async def insert_agent(scope: Scope, agent_id: UUID, slug: str, definition: dict[str, Any]) -> bool:
    """Add an agent. False: the short name is taken."""
    return bool(
        await scope.execute(
            "INSERT INTO agents.agents (company_id, id, slug, name, purpose, instructions, tools, limits, directories)"
            " VALUES (%(company)s, %(id)s, %(slug)s, %(name)s, %(purpose)s, %(instructions)s, %(tools)s, %(limits)s,"
            " %(directories)s) ON CONFLICT (company_id, slug) DO NOTHING",
            _columns(definition) | {"company": scope.company, "id": agent_id, "slug": slug},
        )
    )


async def change_agent(scope: Scope, agent_id: UUID, definition: dict[str, Any]) -> int:
    """Change what an agent is told, granted and held to."""
    return await scope.execute(
        "UPDATE agents.agents SET name = %(name)s, purpose = %(purpose)s, instructions = %(instructions)s,"
        " tools = %(tools)s, limits = %(limits)s, directories = %(directories)s, updated_at = now()"
        " WHERE company_id = %(company)s AND id = %(id)s",
        _columns(definition) | {"company": scope.company, "id": agent_id},
    )


async def retire_agent(scope: Scope, agent_id: UUID, *, away: bool) -> str:
    """Retire an agent or bring it back; return what came of it, as the function in the database says."""
    row = await scope.one(
        "SELECT agents.retire_agent(%(agent)s, %(away)s) AS outcome", {"agent": agent_id, "away": away}
    )
    return str(row["outcome"]) if row else "refused"


async def versions(scope: Scope, agent_id: UUID, before: int | None, most: int) -> list[Row]:
    """Return up to `most` versions of an agent below `before`, the latest first."""
    return await scope.all(
        "SELECT kept.version, kept.name, kept.purpose, kept.instructions, kept.route, kept.tools, kept.limits,"
        " kept.directories, kept.changed_at, person.name AS changed_by_name FROM agents.agent_versions AS kept"
        " LEFT JOIN identity.people AS person ON person.id = kept.changed_by"
        " WHERE kept.company_id = %(company)s AND kept.agent_id = %(agent)s"
        " AND (%(before)s::integer IS NULL OR kept.version < %(before)s::integer)"
        " ORDER BY kept.version DESC LIMIT %(most)s",
        {"company": scope.company, "agent": agent_id, "before": before, "most": most},
    )


async def use_of_agents(scope: Scope) -> list[Row]:
    """Return how much each agent has run lately, counted up to 20, and when last."""
    return await scope.all(
        "SELECT known.id, count(latest.created_at) AS runs, max(latest.created_at) AS last_at FROM agents.agents AS known"
        " LEFT JOIN LATERAL (SELECT run.created_at FROM agents.runs AS run WHERE run.company_id = known.company_id"
        "   AND run.agent_id = known.id ORDER BY run.created_at DESC LIMIT 20) AS latest ON true"
        " WHERE known.company_id = %(company)s GROUP BY known.id",
        {"company": scope.company},
    )


async def recent_runs(scope: Scope, agent_id: UUID) -> list[Row]:
    """Return an agent's last runs."""
    return await scope.all(
        "SELECT run.id, run.conversation_id, run.status, run.created_at, run.finished_at, person.name AS person_name"
        " FROM agents.runs AS run LEFT JOIN identity.people AS person ON person.id = run.person_id"
        " WHERE run.company_id = %(company)s AND run.agent_id = %(agent)s ORDER BY run.created_at DESC LIMIT 20",
        {"company": scope.company, "agent": agent_id},
    )


def _columns(definition: dict[str, Any]) -> dict[str, Any]:
    return definition | {
        "tools": Jsonb(definition["tools"]),
        "limits": Jsonb(definition["limits"]),
        "directories": list(definition["directories"]),
    }
