"""The SQL of rotations: the elevated functions for keys, and counts for whoever runs the deployment, as the owner."""

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from operalta.db.elevated import Elevated
from operalta.db.pools import Connection
from operalta.db.scope import Row


async def secrets_to_reseal(
    elevated: Elevated, company: UUID, newest: int, beyond: UUID | None, most: int
) -> list[Row]:
    """Return id, sealed bytes and revision of secrets under a version before `newest`, in the order of their ids."""
    cursor = await elevated.connection.execute(
        "SELECT id, sealed, revision FROM elevated.secrets_to_reseal(%(company)s, %(newest)s, %(beyond)s, %(most)s)",
        {"company": company, "newest": newest, "beyond": str(beyond or ""), "most": most},
    )
    return await cursor.fetchall()


async def reseal_secrets(
    elevated: Elevated, company: UUID, secrets: Sequence[UUID], known: Sequence[bytes], fresh: Sequence[bytes]
) -> int:
    """Put fresh bytes in the place of those that are still known, and return of how many."""
    return await _number(
        elevated.connection,
        "SELECT elevated.reseal_secrets(%(company)s, %(ids)s::uuid[], %(known)s::bytea[], %(fresh)s::bytea[]) AS number",
        {"company": company, "ids": list(secrets), "known": list(known), "fresh": list(fresh)},
    )


async def secret_writers_at_work(elevated: Elevated, company: UUID) -> bool:
    """Tell whether somebody is keeping a secret of the company in a transaction that is not over."""
    cursor = await elevated.connection.execute(
        "SELECT elevated.secret_writers_at_work(%(company)s) AS at_work", {"company": company}
    )
    row = await cursor.fetchone()
    return row is not None and row["at_work"]


async def authenticators_to_rewrap(elevated: Elevated, root: str, beyond: UUID | None, most: int) -> list[Row]:
    """Return id and sealed bytes of authenticator apps that another root key wraps, in the order of their ids."""
    cursor = await elevated.connection.execute(
        "SELECT id, sealed FROM elevated.authenticators_to_rewrap(%(root)s, %(beyond)s, %(most)s)",
        {"root": root, "beyond": str(beyond or ""), "most": most},
    )
    return await cursor.fetchall()


async def rewrap_authenticators(
    elevated: Elevated, apps: Sequence[UUID], known: Sequence[bytes], fresh: Sequence[bytes]
) -> int:
    """Put fresh bytes in the place of those that are still known, and return of how many."""
    return await _number(
        elevated.connection,
        "SELECT elevated.rewrap_authenticators(%(ids)s::uuid[], %(known)s::bytea[], %(fresh)s::bytea[]) AS number",
        {"ids": list(apps), "known": list(known), "fresh": list(fresh)},
    )


async def note_rotation(elevated: Elevated, company: UUID | None, what: str, which: str) -> None:
    """Leave the event that a key was rotated: in the company's log, or the deployment's where there is none."""
    await elevated.connection.execute(
        "SELECT elevated.note_key_rotation(%(company)s, %(what)s, %(which)s)",
        {"company": company, "what": what, "which": which},
    )


# ── As the owner, for `keys status` ───────────────────────────────────────────────────────────────────
async def secrets_by_version(connection: Connection) -> list[Row]:
    """Return how many secrets each company has under each version of its key."""
    cursor = await connection.execute(
        """
        SELECT company_id, key_version, count(*) AS number FROM credentials.secrets GROUP BY 1, 2 ORDER BY 1, 2
        """
    )
    return await cursor.fetchall()


async def authenticators_by_root(connection: Connection) -> list[Row]:
    """Return how many authenticator apps each root key wraps, by its id."""
    cursor = await connection.execute(
        """
        SELECT encode(substr(sealed, 1, 16), 'escape') AS root, count(*) AS number FROM identity.authenticators GROUP BY 1
        """
    )
    return await cursor.fetchall()


async def _number(connection: Connection, query: LiteralString, parameters: dict[str, object]) -> int:
    row = await (await connection.execute(query, parameters)).fetchone()
    return 0 if row is None else row["number"]
