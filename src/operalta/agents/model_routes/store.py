"""The SQL of model routes: what a company allows, the route of an agent, and the ledger of requests."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from operalta.db.scope import Row, Scope

# ── What a company allows ──────────────────────────────────────────────────────────────────────────────


async def allowed_routes(scope: Scope) -> list[Row]:
    """Return the routes that the company allows, with who allowed them."""
    return await scope.all(
        "SELECT known.slug, known.record_sha256, known.allowed_at, person.name AS allowed_by"
        " FROM agents.allowed_routes AS known LEFT JOIN identity.people AS person ON person.id = known.allowed_by"
        " WHERE known.company_id = %(company)s ORDER BY known.slug",
        {"company": scope.company},
    )


async def allowed_regions(scope: Scope) -> list[Row]:
    """Return the regions that the company allows, with who allowed them."""
    return await scope.all(
        "SELECT known.region, known.allowed_at, person.name AS allowed_by"
        " FROM agents.allowed_regions AS known LEFT JOIN identity.people AS person ON person.id = known.allowed_by"
        " WHERE known.company_id = %(company)s ORDER BY known.region",
        {"company": scope.company},
    )


async def allow_routes(scope: Scope, records: dict[str, str], regions: Sequence[str]) -> str:
    """Replace the company's list; return what the database says to it."""
    row = await scope.one(
        "SELECT agents.allow_routes(%(slugs)s::text[], %(records)s::text[], %(regions)s::text[]) AS verdict",
        {"slugs": list(records), "records": list(records.values()), "regions": list(regions)},
    )
    return row["verdict"] if row else "refused"


async def choose_route(scope: Scope, agent_id: UUID, slug: str) -> str:
    """Give an agent another route; return what the database says to it."""
    row = await scope.one(
        "SELECT agents.choose_route(%(agent)s, %(slug)s) AS verdict", {"agent": agent_id, "slug": slug}
    )
    return row["verdict"] if row else "refused"


# ── The ledger ─────────────────────────────────────────────────────────────────────────────────────────


async def add_request(scope: Scope, line: dict[str, Any]) -> None:
    """Write down that a model is asked for the scope's run now, or that asking was refused."""
    await scope.execute(
        "INSERT INTO agents.model_requests (company_id, id, run_id, agent_id, route, provider, host, region, model, outcome,"
        " reason, ended_at) VALUES (%(company)s, %(id)s, %(run)s, %(agent)s, %(route)s, %(provider)s, %(host)s, %(region)s,"
        " %(model)s, %(outcome)s, %(reason)s, CASE WHEN %(outcome)s <> 'asked' THEN clock_timestamp() END)",
        line | {"company": scope.company},
    )


async def end_requests(scope: Scope, run_id: UUID, end: dict[str, Any]) -> None:
    """Write down how the request of a run that is under way has ended; a run has one at a time."""
    await scope.execute(
        "UPDATE agents.model_requests SET outcome = %(outcome)s, reason = %(reason)s, ended_at = clock_timestamp(),"
        " input_tokens = %(input_tokens)s, output_tokens = %(output_tokens)s, cost_micros = %(cost_micros)s,"
        " estimated_tokens = %(estimated_tokens)s"
        " WHERE company_id = %(company)s AND run_id = %(run)s AND outcome = 'asked'",
        end | {"company": scope.company, "run": run_id},
    )


async def requests(scope: Scope, limit: int, before: tuple[datetime, UUID] | None) -> list[Row]:
    """Return lines of the ledger, newest first; those before a place where one is given."""
    return await scope.all(
        "SELECT line.id, line.run_id, line.agent_id, agent.name AS agent_name, line.route, line.provider, line.host,"
        " line.region, line.model, line.asked_at, line.ended_at, line.outcome, line.reason, line.input_tokens,"
        " line.output_tokens, line.cost_micros FROM agents.model_requests AS line"
        " LEFT JOIN agents.agents AS agent ON agent.company_id = line.company_id AND agent.id = line.agent_id"
        " WHERE line.company_id = %(company)s AND (%(at)s::timestamptz IS NULL OR (line.asked_at, line.id) < (%(at)s, %(id)s))"
        " ORDER BY line.asked_at DESC, line.id DESC LIMIT %(limit)s",
        {
            "company": scope.company,
            "at": before[0] if before else None,
            "id": before[1] if before else None,
            "limit": limit,
        },
    )
