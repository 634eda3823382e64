"""The SQL of schedules: reads under row security, and every write by a function that looks at the scope."""

from datetime import datetime
from typing import Any
from uuid import UUID

from operalta.agents.schedules.rules import Draft, Rhythm, Times
from operalta.db.pools import Connection
from operalta.db.scope import Row, Scope


async def schedules(scope: Scope, *, only: UUID | None = None) -> list[Row]:
    """Return the schedules that the person can see, or one of them, each with how its last run stands."""
    return await scope.all(
        """
        SELECT one.id, one.title, one.prompt, one.agent_id, agent.name AS agent_name, one.owner_id, owner.name AS owner_name,
            one.conversation_id, one.private_to IS NOT NULL AS is_private, one.rhythm, one.weekdays, one.month_day,
            one.at_time, one.zone, one.next_at, one.paused_at, one.paused_because, one.ended_at, one.last_at,
            one.last_run_id, one.skipped_at, one.made_at, last.status AS last_status, last.failure AS last_failure
        FROM agents.schedules AS one
        LEFT JOIN agents.agents AS agent ON agent.company_id = one.company_id AND agent.id = one.agent_id
        LEFT JOIN identity.people AS owner ON owner.id = one.owner_id
        LEFT JOIN agents.runs AS last ON last.company_id = one.company_id AND last.id = one.last_run_id
        WHERE one.company_id = %(company)s AND (%(only)s::uuid IS NULL OR one.id = %(only)s)
        ORDER BY one.ended_at IS NOT NULL, one.next_at NULLS LAST, one.made_at, one.id LIMIT 1000
        """,
        {"company": scope.company, "only": only},
    )


async def keep(scope: Scope, schedule: UUID, agent: UUID, conversation: UUID, draft: Draft, following: datetime) -> str:
    """Make a schedule, or change one's own; return what came of it."""
    values: dict[str, Any] = {
        "schedule": schedule,
        "agent": agent,
        "conversation": conversation,
        "title": draft.title,
        "prompt": draft.prompt,
        "rhythm": draft.times.rhythm.value,
        "weekdays": list(draft.times.weekdays),
        "month_day": draft.times.month_day,
        "at": draft.times.at,
        "zone": draft.times.zone,
        "following": following,
    }
    row = await scope.one(
        """
        SELECT agents.keep_schedule(%(schedule)s, %(agent)s, %(conversation)s, %(title)s, %(prompt)s, %(rhythm)s,
            %(weekdays)s::smallint[], %(month_day)s::smallint, %(at)s, %(zone)s, %(following)s) AS came
        """,
        values,
    )
    return row["came"] if row else "refused"


async def switch(scope: Scope, schedule: UUID, following: datetime | None) -> bool:
    """Pause a schedule (None), or let one's own go on."""
    row = await scope.one(
        "SELECT agents.switch_schedule(%(schedule)s, %(following)s) AS came",
        {"schedule": schedule, "following": following},
    )
    return row is not None and row["came"] == "switched"


async def remove(scope: Scope, schedule: UUID) -> bool:
    """Remove a schedule."""
    row = await scope.one("SELECT agents.remove_schedule(%(schedule)s) AS came", {"schedule": schedule})
    return row is not None and row["came"] == "removed"


async def run_now(scope: Scope, schedule: UUID) -> UUID | None:
    """Make a run of one's own schedule at once."""
    row = await scope.one("SELECT agents.run_schedule_now(%(schedule)s) AS run", {"schedule": schedule})
    return row["run"] if row else None


def times_of(row: Row) -> Times:
    """Return when the schedule of a row is due."""
    return Times(Rhythm(row["rhythm"]), tuple(row["weekdays"]), row["month_day"], row["at_time"], row["zone"])


# ── For the job role ───────────────────────────────────────────────────────────────────────────────────


async def due(connection: Connection) -> Row | None:
    """Return the schedule that is due longest and hold it until the transaction ends; None where none is due."""
    cursor = await connection.execute("SELECT * FROM elevated.due_schedule()")
    return await cursor.fetchone()


async def begin(connection: Connection, row: Row, following: datetime | None) -> None:
    """Begin what `due` gave, and keep when it is due next; None: nobody knows."""
    await connection.execute(
        "SELECT elevated.begin_schedule(%(company)s, %(schedule)s, %(due)s, %(following)s)",
        {"company": row["company"], "schedule": row["schedule"], "due": row["due"], "following": following},
    )
