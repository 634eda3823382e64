"""The SQL of these probes: layers taken away, gates tried, staff appointed, time moved. Names come from the catalogue."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import psycopg
from psycopg import sql

from operalta.assurance.probes.store import Probed, only

# ── Staff, and layers taken away in turn ──────────────────────────────────────────────────────────────


async def appoint(connection: Probed, email: str, role: str) -> None:
    """Make somebody staff of the operator, as `operalta people appoint` does."""
    await connection.execute(
        "INSERT INTO identity.staff (person_id, role) SELECT id, %s FROM identity.people WHERE email = %s",
        (role, email),
    )


async def let_visits_pass(connection: Probed, company: str, minutes: int) -> None:
    """Make every visit to a company so much older."""
    await connection.execute(
        "UPDATE tenancy.staff_access SET opened_at = opened_at - make_interval(mins => %(minutes)s),"
        " expires_at = expires_at - make_interval(mins => %(minutes)s) WHERE company_id = %(company)s",
        {"company": company, "minutes": minutes},
    )


async def read_record(connection: Probed, company: str, record: str) -> int:
    """Return how many entries of the memory the connection sees, by company and by id."""
    cursor = await connection.execute(
        "SELECT count(*) AS seen FROM workspace.records WHERE company_id = %(company)s OR id = %(record)s",
        {"company": company, "record": record},
    )
    return (await only(cursor))["seen"]


@asynccontextmanager
async def without_row_security(connection: Probed) -> AsyncGenerator[int]:
    """Switch row security off on every table that has it, as their owner; yield how many those are."""
    cursor = await connection.execute(
        "SELECT space.nspname, class.relname FROM pg_catalog.pg_class AS class"
        " JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace"
        " WHERE class.relkind IN ('r', 'p') AND class.relrowsecurity AND class.relforcerowsecurity"
    )
    tables = [sql.Identifier(row["nspname"], row["relname"]) for row in await cursor.fetchall()]
    try:
        for table in tables:
            await connection.execute(sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(table))
        yield len(tables)
    finally:
        for table in tables:
            await connection.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table))


@asynccontextmanager
async def without_membership_check(connection: Probed) -> AsyncGenerator[None]:
    """Have scopes opened in whatever company is asked for; whoever holds no role there has none in it either."""
    function = "scope.open_scope(text, text)"
    await connection.execute("SET ROLE operalta_definer")
    cursor = await connection.execute("SELECT pg_get_functiondef(%s::regprocedure) AS text", (function,))
    text: str = (await only(cursor))["text"]
    lax = text.replace(
        "JOIN tenancy.memberships AS membership ON membership.company_id = host.id",
        "LEFT JOIN tenancy.memberships AS membership ON membership.company_id = host.id"
        " AND membership.person_id = found.person_id",
    )
    lax = re.sub(r"WHERE membership\.person_id = found\.person_id AND membership\.ended_at IS NULL\s+AND", "WHERE", lax)
    if "membership.ended_at" in lax:
        raise RuntimeError("scope.open_scope reads otherwise than this probe expects")
    try:
        await connection.execute(lax.encode())
        yield
    finally:
        await connection.execute(text.encode())
        await connection.execute("RESET ROLE")


# ── The gates to work with higher rights ──────────────────────────────────────────────────────────────


async def elevated_functions(connection: Probed, role: str | None) -> list[str]:
    """Return the names of the functions of schema `elevated`: all, or those that a role may execute."""
    cursor = await connection.execute(
        "SELECT function.proname FROM pg_catalog.pg_proc AS function"
        " JOIN pg_catalog.pg_namespace AS space ON space.oid = function.pronamespace AND space.nspname = 'elevated'"
        " WHERE %(role)s::text IS NULL OR (has_function_privilege(%(role)s::text, function.oid, 'EXECUTE')"
        " AND has_schema_privilege(%(role)s::text, space.oid, 'USAGE')) ORDER BY 1",
        {"role": role},
    )
    return [row["proname"] for row in await cursor.fetchall()]


async def tables_of(connection: Probed, role: str) -> list[str]:
    """Return the tables of ours that a role may read or change in any way."""
    cursor = await connection.execute(
        "SELECT space.nspname || '.' || class.relname AS place FROM pg_catalog.pg_class AS class"
        " JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace"
        " WHERE class.relkind IN ('r', 'p', 'v', 'm') AND space.nspname NOT IN ('pg_catalog', 'information_schema')"
        " AND has_schema_privilege(%(role)s, space.oid, 'USAGE') AND (has_table_privilege(%(role)s, class.oid, 'DELETE')"
        " OR has_any_column_privilege(%(role)s, class.oid, 'SELECT, INSERT, UPDATE')) ORDER BY 1",
        {"role": role},
    )
    return [row["place"] for row in await cursor.fetchall()]


async def rows_of_all(connection: Probed) -> int:
    """Return how many rows the tables hold that elevated flows could change."""
    cursor = await connection.execute(
        "SELECT (SELECT count(*) FROM identity.links) + (SELECT count(*) FROM delivery.outbox)"
        " + (SELECT count(*) FROM identity.codes WHERE digest IS NOT NULL) AS rows"
    )
    return (await only(cursor))["rows"]


async def call_elevated(job: Probed, owner: Probed, functions: Sequence[str], made_up: str) -> dict[str, int]:
    """Call functions that take an id with a made-up one, each undone; return how many rows came of each."""
    cursor = await owner.execute(
        "SELECT function.proname AS name, function.proargtypes::regtype[]::text[] AS types"
        " FROM pg_catalog.pg_proc AS function WHERE function.pronamespace = 'elevated'::regnamespace"
        " AND function.proname = ANY (%s) AND 'uuid'::regtype = ANY (function.proargtypes)",
        (list(functions),),
    )
    values = {"uuid": made_up, "bytea": b"0" * 32, "text": "sent", "bigint": 0, "integer": 0, "jsonb": "{}"}
    values |= {"uuid[]": [made_up], "bytea[]": [b"0" * 32], "timestamp with time zone": "now", "interval": "1 day"}
    values |= {"boolean": False, "inet": "192.0.2.1", "text[]": ["sent"]}
    said: dict[str, int] = {}
    for row in await cursor.fetchall():
        given = [values.get(each) for each in row["types"]]
        call = sql.SQL(
            "SELECT count(answer) FILTER (WHERE answer::text NOT IN ('f', 'false', '0')) AS answers FROM {}({}) AS answer"
        ).format(sql.Identifier("elevated", row["name"]), sql.SQL(", ").join(sql.Placeholder() * len(given)))
        try:
            async with job.transaction(force_rollback=True):
                said[row["name"]] = (await only(await job.execute(call, given)))["answers"]
        except psycopg.DatabaseError:
            said[row["name"]] = 0
    return said


async def traces_of_delivery(connection: Probed, recipient: str) -> int:
    """Return how many events tell of the delivery of the messages to a recipient."""
    cursor = await connection.execute(
        "SELECT count(*) AS traces FROM audit.events AS event JOIN delivery.messages AS message"
        " ON event.target_id = message.id::text WHERE message.recipient = %s AND event.action = 'elevated.used'",
        (recipient,),
    )
    return (await only(cursor))["traces"]
