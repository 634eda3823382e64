"""The SQL of webhooks that come in: reads under row security, and writes by functions that look at scope or address."""

from uuid import UUID

from operalta.db.pools import Connection
from operalta.db.scope import Origin, Row, Scope


async def hooks(scope: Scope, *, only: UUID | None = None) -> list[Row]:
    """Return the company's hooks, or one of them, each with how many messages are kept."""
    return await scope.all(
        """
        SELECT one.id, one.name, one.scheme, one.shown, one.kept_id IS NOT NULL AS has_secret, one.is_on, one.off_because,
            one.holder_id, colleague.name AS holder_name, one.created_at, one.rotated_at, one.previous_until,
            one.seen_by IS NULL AND one.kept_id IS NOT NULL AS needs_secret,
            one.switched_at, one.received_at, one.refused_at,
            (SELECT count(*) FROM credentials.inbound_messages AS message WHERE message.company_id = %(company)s
                AND message.hook_id = one.id) AS messages
        FROM credentials.inbound_hooks AS one
        LEFT JOIN identity.people AS colleague ON colleague.id = one.holder_id
        WHERE one.company_id = %(company)s AND (%(only)s::uuid IS NULL OR one.id = %(only)s)
        ORDER BY one.created_at, one.id
        """,
        {"company": scope.company, "only": only},
    )


async def messages(scope: Scope, hook: UUID, start: int, most: int) -> list[Row]:
    """Return what came to a hook, the newest first."""
    return await scope.all(
        """
        SELECT id, source, received_at, size, body, is_trusted
        FROM credentials.inbound_messages WHERE company_id = %(company)s AND hook_id = %(hook)s
        ORDER BY received_at DESC, id DESC OFFSET %(start)s LIMIT %(most)s
        """,
        {"company": scope.company, "hook": hook, "start": start, "most": most},
    )


async def make(scope: Scope, hook: UUID, name: str, scheme: str, token: str, secret: UUID | None) -> str:
    """Keep a hook; return the verdict."""
    return _verdict(
        await scope.one(
            """
            SELECT credentials.make_inbound_hook(%(hook)s, %(name)s, %(scheme)s, %(token)s, %(secret)s) AS verdict
            """,
            {"hook": hook, "name": name, "scheme": scheme, "token": token, "secret": secret},
        )
    )


async def rotate(scope: Scope, hook: UUID, secret: UUID, overlap_hours: int) -> str:
    """Put another secret in the place of the one before; return the verdict."""
    return _verdict(
        await scope.one(
            "SELECT credentials.rotate_inbound_hook(%(hook)s, %(secret)s, make_interval(hours => %(hours)s)) AS verdict",
            {"hook": hook, "secret": secret, "hours": overlap_hours},
        )
    )


async def switch(scope: Scope, hook: UUID, *, on: bool) -> str:
    """Switch it on or off; return the verdict."""
    query = "SELECT credentials.switch_inbound_hook(%(hook)s, %(on)s) AS verdict"
    return _verdict(await scope.one(query, {"hook": hook, "on": on}))


async def remove(scope: Scope, hook: UUID) -> str:
    """Remove it with its secrets and messages; return the verdict."""
    query = "SELECT credentials.remove_inbound_hook(%(hook)s) AS verdict"
    return _verdict(await scope.one(query, {"hook": hook}))


# ── Without a scope: the address is what lets in ───────────────────────────────────────────────────────


async def keep_message(connection: Connection, token: str, seen: bytes, body: bytes, origin: Origin) -> str:
    """Keep a message whose signature was checked; return what became of it."""
    cursor = await connection.execute(
        """
        SELECT credentials.keep_inbound_message(%(token)s, %(seen)s, %(body)s::jsonb, %(size)s, %(request)s, %(origin)s)
            AS verdict
        """,
        {
            "token": token,
            "seen": seen,
            "body": body.decode("utf-8"),
            "size": len(body),
            "request": origin.request_id,
            "origin": origin.address,
        },
    )
    row = await cursor.fetchone()
    return row["verdict"] if row is not None else "none"


async def refuse_message(connection: Connection, token: str, origin: Origin) -> None:
    """Note that something came whose signature was not right."""
    await connection.execute(
        "SELECT credentials.refuse_inbound_message(%(token)s, %(request)s, %(origin)s)",
        {"token": token, "request": origin.request_id, "origin": origin.address},
    )


def _verdict(row: Row | None) -> str:
    return row["verdict"] if row is not None else "refused"
