"""The SQL that running the deployment needs: as the database's owner; support takes the definer's role."""

from typing import Any
from uuid import UUID

import psycopg

from operalta.db.pools import Connection
from operalta.db.scope import Row


def has_operator(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether somebody is the operator already."""
    row = connection.execute("SELECT EXISTS (SELECT FROM identity.people WHERE is_operator)").fetchone()
    return bool(row and row[0])


def keep_operator_link(connection: psycopg.Connection[Any], digest: bytes) -> None:
    """Keep the digest of a fresh operator link: one use, 30 minutes; earlier ones end."""
    connection.execute("UPDATE identity.links SET used_at = now() WHERE purpose = 'operator' AND used_at IS NULL")
    connection.execute(
        "INSERT INTO identity.links (purpose, digest, expires_at) VALUES ('operator', %s, now() + interval '30 minutes')",
        (digest,),
    )


def revision(connection: psycopg.Connection[Any]) -> str | None:
    """Return the number of the last migration, None in a database that holds nothing of ours."""
    present = connection.execute("SELECT to_regclass('public.alembic_version') IS NOT NULL").fetchone()
    if present is None or not present[0]:
        return None
    row = connection.execute("SELECT version_num FROM public.alembic_version").fetchone()
    return None if row is None else row[0]


async def take_definer_role(connection: Connection) -> None:
    """Act as the definer's role until the transaction ends; the owner alone may."""
    await connection.execute("SET LOCAL ROLE operalta_definer")


async def find_people(connection: Connection, wanted: str) -> list[Row]:
    """Return people by id, or by a part of their address or name."""
    cursor = await connection.execute("SELECT * FROM elevated.find_people(%(wanted)s)", {"wanted": wanted})
    return await cursor.fetchall()


async def sign_out_person(connection: Connection, person: UUID, reason: str) -> int | None:
    """End every session of a person and return how many there were. None: nobody has this id."""
    return await _number(
        await connection.execute(
            "SELECT elevated.sign_out_person(%(person)s, %(reason)s) AS number", {"person": person, "reason": reason}
        )
    )


async def reset_factors(connection: Connection, person: UUID, reason: str) -> int | None:
    """Remove every second factor of a person and return how many there were. None: nobody has this id."""
    return await _number(
        await connection.execute(
            "SELECT elevated.reset_factors(%(person)s, %(reason)s) AS number", {"person": person, "reason": reason}
        )
    )


async def appoint_staff(connection: Connection, person: UUID, role: str, reason: str) -> bool:
    """Appoint a person as staff in a role. False: nobody with a verified address has this id."""
    cursor = await connection.execute(
        "SELECT elevated.appoint_staff(%(person)s, %(role)s, %(reason)s) AS done",
        {"person": person, "role": role, "reason": reason},
    )
    return await _done(cursor)


async def dismiss_staff(connection: Connection, person: UUID, reason: str) -> bool:
    """End a person's appointment as staff. False: they have none."""
    cursor = await connection.execute(
        "SELECT elevated.dismiss_staff(%(person)s, %(reason)s) AS done", {"person": person, "reason": reason}
    )
    return await _done(cursor)


async def _done(cursor: psycopg.AsyncCursor[Row]) -> bool:
    row = await cursor.fetchone()
    return row is not None and row["done"]


async def find_api_keys(connection: Connection, company: str, reason: str) -> list[Row]:
    """Return the keys of a company, by its slug."""
    cursor = await connection.execute(
        "SELECT * FROM elevated.find_api_keys(%(company)s, %(reason)s)", {"company": company, "reason": reason}
    )
    return await cursor.fetchall()


async def revoke_api_key(connection: Connection, key: UUID, reason: str) -> bool:
    """End a key. False: no live one has this id."""
    cursor = await connection.execute(
        "SELECT elevated.revoke_api_key(%(key)s, %(reason)s) AS done", {"key": key, "reason": reason}
    )
    row = await cursor.fetchone()
    return row is not None and row["done"]


async def _number(cursor: psycopg.AsyncCursor[Row]) -> int | None:
    row = await cursor.fetchone()
    return None if row is None else row["number"]
