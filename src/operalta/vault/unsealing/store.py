"""The queries that hand out sealed bytes, and only together with an event that says for whom and for what."""

from uuid import UUID

from operalta.db.pools import Connection
from operalta.db.scope import Origin, Row, Scope


async def sealed_bytes(scope: Scope, secret: UUID, caller: str, purpose: str) -> Row | None:
    """Return kind, sealed bytes, revision and time of writing; None where the scope's company has no such secret."""
    return await scope.one(
        """
        SELECT kind, sealed, revision, written_at
        FROM credentials.open_secret(%(secret)s, %(caller)s, %(purpose)s, %(request)s, %(origin)s)
        """,
        {
            "secret": secret,
            "caller": caller,
            "purpose": purpose,
            "request": scope.origin.request_id,
            "origin": scope.origin.address,
        },
    )


async def sealed_bytes_of_hook(connection: Connection, token: str, origin: Origin) -> list[Row]:
    """Return company, scheme and the sealed secrets of the hook with this address; none where it is off or unknown."""
    cursor = await connection.execute(
        """
        SELECT company, scheme, secret, sealed, revision, written_at
        FROM credentials.open_inbound_hook(%(token)s, %(request)s, %(origin)s)
        """,
        {"token": token, "request": origin.request_id, "origin": origin.address},
    )
    return await cursor.fetchall()
