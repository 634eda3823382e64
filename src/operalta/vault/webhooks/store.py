"""The SQL of webhooks that go out: reads under row security, and every write by a function that looks at the scope."""

from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from operalta.db.pools import Connection
from operalta.db.scope import Row, Scope

Lines = list[dict[str, Any]]


async def endpoints(scope: Scope, *, only: UUID | None = None) -> list[Row]:
    """Return the company's endpoints, or one of them, each with how many deliveries wait and how many were given up."""
    return await scope.all(
        """
        SELECT one.id, one.name, one.destination, one.events, one.is_on, one.off_because, one.holder_id,
            colleague.name AS holder_name, one.created_at, one.changed_at, one.rotated_at, one.previous_until,
            one.seen_by IS NULL AS needs_secret, one.dropped, one.dropped_at,
            one.switched_at, one.failing_since, one.last_attempt_at, one.last_success_at, one.last_status, one.last_failure,
            (SELECT count(*) FROM credentials.webhook_deliveries AS sent WHERE sent.company_id = %(company)s
                AND sent.endpoint_id = one.id AND sent.status = 'waiting') AS waiting,
            (SELECT count(*) FROM credentials.webhook_deliveries AS sent WHERE sent.company_id = %(company)s
                AND sent.endpoint_id = one.id AND sent.status = 'dead') AS dead
        FROM credentials.webhook_endpoints AS one
        LEFT JOIN identity.people AS colleague ON colleague.id = one.holder_id
        WHERE one.company_id = %(company)s AND (%(only)s::uuid IS NULL OR one.id = %(only)s)
        ORDER BY one.created_at, one.id
        """,
        {"company": scope.company, "only": only},
    )


async def deliveries(scope: Scope, endpoint: UUID, status: str | None, most: int) -> list[Row]:
    """Return an endpoint's deliveries, the newest first."""
    return await scope.all(
        """
        SELECT id, event, subject_kind, subject_id, occurred_at, status, attempts, next_at, attempted_at, last_status,
            failure, finished_at, replayed_at
        FROM credentials.webhook_deliveries
        WHERE company_id = %(company)s AND endpoint_id = %(endpoint)s
          AND (%(status)s::text IS NULL OR status = %(status)s)
        ORDER BY created_at DESC, id DESC LIMIT %(most)s
        """,
        {"company": scope.company, "endpoint": endpoint, "status": status, "most": most},
    )


async def make(scope: Scope, endpoint: UUID, fields: dict[str, Any]) -> str:
    """Keep an endpoint; return the verdict."""
    return _verdict(
        await scope.one(
            """
            SELECT credentials.make_webhook(%(endpoint)s, %(name)s, %(url)s, %(destination)s, %(events)s::text[],
                %(secret)s) AS verdict
            """,
            {**fields, "endpoint": endpoint},
        )
    )


async def change(scope: Scope, endpoint: UUID, fields: dict[str, Any]) -> str:
    """Change name, kinds and, where one is given, address; return the verdict."""
    return _verdict(
        await scope.one(
            """
            SELECT credentials.change_webhook(%(endpoint)s, %(name)s, %(url)s, %(destination)s, %(events)s::text[])
                AS verdict
            """,
            {**fields, "endpoint": endpoint},
        )
    )


async def rotate(scope: Scope, endpoint: UUID, secret: UUID, overlap_hours: int) -> str:
    """Put another secret in the place of the one before; return the verdict."""
    return _verdict(
        await scope.one(
            "SELECT credentials.rotate_webhook(%(endpoint)s, %(secret)s, make_interval(hours => %(hours)s)) AS verdict",
            {"endpoint": endpoint, "secret": secret, "hours": overlap_hours},
        )
    )


async def switch(scope: Scope, endpoint: UUID, *, on: bool) -> str:
    """Switch it on or off; return the verdict."""
    query = "SELECT credentials.switch_webhook(%(endpoint)s, %(on)s) AS verdict"
    return _verdict(await scope.one(query, {"endpoint": endpoint, "on": on}))


async def remove(scope: Scope, endpoint: UUID) -> str:
    """Remove it with its secrets and deliveries; return the verdict."""
    query = "SELECT credentials.remove_webhook(%(endpoint)s) AS verdict"
    return _verdict(await scope.one(query, {"endpoint": endpoint}))


async def replay(scope: Scope, endpoint: UUID, delivery: UUID | None) -> tuple[str, int]:
    """Have what was given up sent again; return the verdict and how many."""
    row = await scope.one(
        "SELECT verdict, number FROM credentials.replay_webhook(%(endpoint)s, %(delivery)s)",
        {"endpoint": endpoint, "delivery": delivery},
    )
    return (row["verdict"], row["number"]) if row is not None else ("refused", 0)


# ── The job role ───────────────────────────────────────────────────────────────────────────────────────


async def take(connection: Connection) -> Row | None:
    """Take a delivery that is due, with its sealed secrets."""
    return await (await connection.execute("SELECT * FROM elevated.take_webhook()")).fetchone()


async def finish(connection: Connection, taken: Row, fields: dict[str, Any], lines: Lines) -> bool:
    """Note how an attempt ended. False: somebody else has the delivery by now, or it is gone; the lines are kept."""
    cursor = await connection.execute(
        """
        SELECT elevated.finish_webhook(%(company)s, %(delivery)s, %(claim)s, %(ended)s, %(status)s, %(why)s,
            %(pause)s::double precision, %(lines)s, %(receipt)s) AS done
        """,
        {
            "company": taken["company"],
            "delivery": taken["delivery"],
            "claim": taken["claim"],
            "receipt": taken["receipt"],
            **fields,
            "lines": Jsonb(lines),
        },
    )
    row = await cursor.fetchone()
    return row is not None and row["done"]


def _verdict(row: Row | None) -> str:
    return row["verdict"] if row is not None else "refused"
