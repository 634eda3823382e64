"""The SQL of the probes of credentials: looking as the owner, and trying as the serving roles."""

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

import psycopg

from operalta.assurance.probes.store import Probed, only, open_scope, search_all_tables

REFUSED = "OP006"
_SEALED: tuple[LiteralString, ...] = (
    "SELECT sealed FROM credentials.secrets LIMIT 1",
    "SELECT digest FROM credentials.api_keys LIMIT 1",
    "SELECT previous_digest FROM credentials.api_keys LIMIT 1",
)
_TABLES_OF_KEYS = ("scope.key",)
"""Known, remade at each start, and in no backup: the key by which the database signs scopes."""


async def credential_tables(connection: Probed) -> list[str]:
    """Return the tables that hold credentials, by name."""
    cursor = await connection.execute(
        "SELECT class.relname FROM pg_catalog.pg_class AS class"
        " WHERE class.relnamespace = 'credentials'::regnamespace AND class.relkind = 'r' ORDER BY 1"
    )
    return [row["relname"] for row in await cursor.fetchall()]


async def writes_refused(connection: Probed, table: str) -> bool:
    """Tell whether the role of the connection may neither add, change nor delete rows of a table of credentials."""
    cursor = await connection.execute(
        "SELECT has_table_privilege(class.oid, 'INSERT') OR has_table_privilege(class.oid, 'DELETE')"
        " OR has_any_column_privilege(class.oid, 'INSERT') OR has_any_column_privilege(class.oid, 'UPDATE') AS open"
        " FROM pg_catalog.pg_class AS class WHERE class.relnamespace = 'credentials'::regnamespace"
        " AND class.relname = %s",
        (table,),
    )
    return not (await only(cursor))["open"]


async def rows_holding(connection: Probed, texts: Sequence[str]) -> tuple[int, int]:
    """Return how many rows all tables have, and how many hold one of these texts, plain or as the bytes' hex."""
    hexes = [text.encode().hex() for text in texts]
    return await search_all_tables(connection, [*(text.replace("+", r"\+") for text in texts), *hexes])


async def secrets_kept(connection: Probed, slug: str, kind: str) -> list[bytes]:
    """Return the sealed bytes of a company's secrets of a kind."""
    cursor = await connection.execute(
        "SELECT kept.sealed FROM credentials.secrets AS kept JOIN tenancy.companies AS host ON host.id = kept.company_id"
        " WHERE host.slug = %s AND kept.kind = %s",
        (slug, kind),
    )
    return [bytes(row["sealed"]) for row in await cursor.fetchall()]


async def events_of(connection: Probed, slug: str, action: str) -> int:
    """Return how many events of this name a company's log has."""
    cursor = await connection.execute(
        "SELECT count(*) AS events FROM audit.events AS event JOIN tenancy.companies AS host ON host.id = event.company_id"
        " WHERE host.slug = %s AND event.action = %s",
        (slug, action),
    )
    return (await only(cursor))["events"]


async def sealed_is_closed(connection: Probed) -> bool:
    """Tell whether the role of the connection is refused the sealed bytes and the digests of keys."""
    for query in _SEALED:
        try:
            await connection.execute(query)
        except psycopg.errors.InsufficientPrivilege:
            continue
        return False
    return True


async def tables_that_could_hold_keys(connection: Probed) -> list[str]:
    """Return tables, the signing key of scopes aside, with a column that is called a key's secret or its wrapping."""
    cursor = await connection.execute(
        "SELECT DISTINCT space.nspname || '.' || class.relname AS place FROM pg_catalog.pg_class AS class"
        " JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace"
        " JOIN pg_catalog.pg_attribute AS part ON part.attrelid = class.oid AND part.attnum > 0"
        " WHERE class.relkind = 'r' AND space.nspname NOT IN ('pg_catalog', 'information_schema')"
        " AND part.attname ~ 'wrapped|private_key|root_key|company_key|_pad$' ORDER BY 1"
    )
    return [row["place"] for row in await cursor.fetchall() if row["place"] not in _TABLES_OF_KEYS]


async def secret_of(connection: Probed, belongs_to: str) -> UUID:
    """Return the secret that belongs to something."""
    cursor = await connection.execute("SELECT id FROM credentials.secrets WHERE belongs_to = %s", (belongs_to,))
    return UUID(str((await only(cursor))["id"]))


async def opened_as_member(web: Probed, session: str, slug: str, secret: UUID, caller: str) -> int:
    """Ask for a secret as a member of the company does, undone afterwards.

    Return how many events that left, in the moment in which the bytes were given; -1 where the database refused.
    """
    try:
        async with web.transaction(force_rollback=True):
            await open_scope(web, session, slug)
            await web.execute(
                "SELECT FROM credentials.open_secret(%s, %s, 'observed by verify', NULL, NULL)", (secret, caller)
            )
            cursor = await web.execute(
                "SELECT count(*) AS events FROM audit.events WHERE action = 'secret.opened' AND target_id = %s"
                " AND detail ->> 'caller' = %s AND detail ->> 'purpose' = 'observed by verify'",
                (str(secret), caller),
            )
            return int((await only(cursor))["events"])
    except psycopg.Error as error:
        if error.sqlstate != REFUSED:
            raise
        return -1


async def openers_by_kind(connection: Probed) -> dict[str, set[str]]:
    """Return the kinds of secrets that the database keeps, with the callers that it lets open each."""
    cursor = await connection.execute(
        "SELECT pg_get_constraintdef(oid) AS rule FROM pg_catalog.pg_constraint"
        " WHERE conrelid = 'credentials.secrets'::regclass AND contype = 'c' AND conname = 'secrets_kind_check'"
    )
    rule = str((await only(cursor))["rule"])
    found: dict[str, set[str]] = {}
    async with connection.transaction():
        await connection.execute("SET LOCAL ROLE operalta_definer")
        for kind in rule.split("'")[1::2]:
            answer = await connection.execute("SELECT credentials.kind_opened_by(%s) AS callers", (kind,))
            found[kind] = set((await only(answer))["callers"] or ())
    return found


async def keeps_unknown_kind(connection: Probed, slug: str) -> bool:
    """Tell whether the database takes a secret of a kind that it does not know; undone."""
    try:
        async with connection.transaction(force_rollback=True):
            await connection.execute(
                "INSERT INTO credentials.secrets (company_id, id, kind, belongs_to, sealed)"
                " SELECT id, gen_random_uuid(), 'something_else', gen_random_uuid(),"
                " '\\x0100000001' || decode(repeat('00', 60), 'hex') FROM tenancy.companies WHERE slug = %s",
                (slug,),
            )
    except psycopg.errors.CheckViolation:
        return False
    return True


async def age_secret(connection: Probed, secret: UUID, days: int) -> None:
    """Let a secret have been kept so many days ago."""
    await connection.execute(
        "UPDATE credentials.secrets SET created_at = now() - make_interval(days => %s), replaced_at = NULL WHERE id = %s",
        (days, secret),
    )


async def end_overlap(connection: Probed, key: UUID) -> None:
    """Let the time be over in which the secret before opens."""
    await connection.execute("UPDATE credentials.api_keys SET previous_expires_at = now() WHERE id = %s", (key,))
