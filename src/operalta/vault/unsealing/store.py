"""The one query that hands out sealed bytes, and only together with an event that says for whom and for what."""

from uuid import UUID

from operalta.db.scope import Row, Scope


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
