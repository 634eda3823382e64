"""The SQL of integrations: reads under row security, writes through functions that look at the scope themselves."""

from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from operalta.db.scope import Row, Scope


async def integrations(scope: Scope, *, only: UUID | None = None) -> list[Row]:
    """Return the company's integrations by name, or one of them."""
    return await scope.all(
        """
        SELECT one.*, holder.name AS held_by_name, switcher.name AS switched_by_name, maker.name AS made_by_name
        FROM credentials.integrations AS one
        LEFT JOIN identity.people AS holder ON holder.id = one.held_by
        LEFT JOIN identity.people AS switcher ON switcher.id = one.switched_by
        LEFT JOIN identity.people AS maker ON maker.id = one.made_by
        WHERE one.company_id = %(company)s AND (%(only)s::uuid IS NULL OR one.id = %(only)s)
        ORDER BY lower(one.name), one.id
        """,
        {"company": scope.company, "only": only},
    )


async def slugs_switched_on(scope: Scope) -> list[str]:
    """Return the short names of what is on."""
    rows = await scope.all(
        """
        SELECT one.slug FROM credentials.integrations AS one WHERE one.company_id = %(company)s AND one.is_on
        ORDER BY one.slug LIMIT 50
        """,
        {"company": scope.company},
    )
    return [row["slug"] for row in rows]


async def make(scope: Scope, integration: UUID, fields: dict[str, Any]) -> str:
    """Make one, switched off. Return the database's verdict."""
    row = await scope.one(
        """
        SELECT credentials.make_integration(%(integration)s, %(slug)s, %(name)s, %(kind)s, %(base_url)s, %(lends)s, %(form)s,
            %(header)s, %(user)s, %(client)s, %(secret)s, %(writes)s) AS verdict
        """,
        {"integration": integration, **fields},
    )
    return _verdict(row)


async def change(scope: Scope, integration: UUID, fields: dict[str, Any]) -> str:
    """Change one; with a secret, that takes the place of the one before. Return the database's verdict."""
    row = await scope.one(
        """
        SELECT credentials.change_integration(%(integration)s, %(name)s, %(base_url)s, %(form)s, %(header)s, %(user)s,
            %(secret)s, %(writes)s) AS verdict
        """,
        {"integration": integration, **fields},
    )
    return _verdict(row)


async def switch(
    scope: Scope, integration: UUID, *, on: bool, revision: int, tools_sha256: str | None, tools: list[dict[str, str]]
) -> str:
    """Switch one on or off. Return the database's verdict."""
    row = await scope.one(
        """
        SELECT credentials.switch_integration(%(integration)s, %(on)s, %(revision)s, %(sha256)s, %(tools)s) AS verdict
        """,
        {"integration": integration, "on": on, "revision": revision, "sha256": tools_sha256, "tools": Jsonb(tools)},
    )
    return _verdict(row)


async def remove(scope: Scope, integration: UUID) -> str:
    """Remove one with its credential. Return the database's verdict."""
    row = await scope.one(
        "SELECT credentials.remove_integration(%(integration)s) AS verdict", {"integration": integration}
    )
    return _verdict(row)


async def use(scope: Scope, slug: str, wanted: str, *, is_used: bool) -> Row | None:
    """Ask whether the scope may use an integration now, and note that it does. None where there is none."""
    return await scope.one(
        "SELECT verdict, integration, connection FROM credentials.use_integration(%(slug)s, %(wanted)s, %(used)s)",
        {"slug": slug, "wanted": wanted, "used": is_used},
    )


async def note(scope: Scope, integration: UUID, revision: int, failure: str | None, *, checked: bool) -> None:
    """Note how a request ended; None: the service answered."""
    await scope.execute(
        "SELECT credentials.note_integration(%(integration)s, %(revision)s, %(failure)s, %(checked)s)",
        {"integration": integration, "revision": revision, "failure": failure, "checked": checked},
    )


async def note_drift(scope: Scope, integration: UUID, revision: int) -> None:
    """Note that a server's tools are others than a person saw; that switches it off."""
    await scope.execute(
        "SELECT credentials.note_drift(%(integration)s, %(revision)s)",
        {"integration": integration, "revision": revision},
    )


def _verdict(row: Row | None) -> str:
    return row["verdict"] if row is not None else "refused"
