"""The SQL of a company's day. The tables stand behind functions: a day counts private runs without showing them."""

from psycopg.types.json import Jsonb

from operalta.agents.definitions.rules import Limits
from operalta.db.scope import Row, Scope


async def day(scope: Scope) -> Row | None:
    """Return the limits of the scope's company, who changed them and when, and what has been used today."""
    return await scope.one(
        "SELECT today.limits, today.changed_at, today.steps, today.tool_calls, today.tokens, today.cost_micros,"
        " today.worked_ms, person.name AS changed_by_name"
        " FROM agents.day_here() AS today LEFT JOIN identity.people AS person ON person.id = today.changed_by"
    )


async def change_limits(scope: Scope, limits: Limits) -> str:
    """Write what the company allows in a day; return what the database says to it."""
    row = await scope.one("SELECT agents.change_day_limits(%(wanted)s) AS verdict", {"wanted": Jsonb(dict(limits))})
    return row["verdict"] if row else "refused"
