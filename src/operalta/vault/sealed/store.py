"""The SQL of sealed secrets: every write is a function of the database, which looks at the scope and leaves an event."""

from uuid import UUID

from operalta.db.scope import Row, Scope


async def hold_company_key(scope: Scope) -> None:
    """Keep a rotation from forgetting the company's key under which something is sealed in this transaction."""
    await scope.execute("SELECT credentials.hold_company_key()")


async def keep(scope: Scope, secret: UUID, kind: str, belongs_to: UUID, sealed: bytes) -> bool:
    """Keep a sealed secret. False where the scope's role may not."""
    row = await scope.one(
        """
        SELECT credentials.keep_secret(%(secret)s, %(kind)s, %(belongs_to)s, %(sealed)s, %(request)s, %(origin)s) AS done
        """,
        {
            "secret": secret,
            "kind": kind,
            "belongs_to": belongs_to,
            "sealed": sealed,
            "request": scope.origin.request_id,
            "origin": scope.origin.address,
        },
    )
    return _done(row)


async def described(scope: Scope, secret: UUID) -> Row | None:
    """Return the kind and the revision of a secret, None where there is none to see."""
    return await scope.one(
        """
        SELECT kept.kind, kept.revision FROM credentials.secrets AS kept
        WHERE kept.company_id = %(company)s AND kept.id = %(secret)s
        """,
        {"company": scope.company, "secret": secret},
    )


async def replace(scope: Scope, secret: UUID, known_revision: int, sealed: bytes) -> bool:
    """Put the next revision in the place of `known_revision`. False where that is not the present one any more."""
    row = await scope.one(
        """
        SELECT credentials.replace_secret(%(secret)s, %(known)s, %(sealed)s, %(request)s, %(origin)s) AS done
        """,
        {
            "secret": secret,
            "known": known_revision,
            "sealed": sealed,
            "request": scope.origin.request_id,
            "origin": scope.origin.address,
        },
    )
    return _done(row)


async def remove(scope: Scope, secret: UUID) -> bool:
    """Remove a secret. False where there is none, or the scope's role may not."""
    row = await scope.one(
        "SELECT credentials.remove_secret(%(secret)s, %(request)s, %(origin)s) AS done",
        {"secret": secret, "request": scope.origin.request_id, "origin": scope.origin.address},
    )
    return _done(row)


def _done(row: Row | None) -> bool:
    return row is not None and row["done"]
