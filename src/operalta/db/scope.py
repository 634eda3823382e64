"""Scopes: one transaction each, bound by the database itself to a person, a company and a role.

The opening function checks that the session lives and the membership holds, and signs what it found together
with the backend and the transaction. Everything after it in the transaction runs under row security. Stores take
a `Scope` and nothing else, so data cannot be reached without one.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, LiteralString
from uuid import UUID

import psycopg

from operalta.db.errors import ClaimLost, DatabaseOutOfReach, KeyRefused, NoSuchCompany, SessionEnded
from operalta.db.pools import Connection, Pool
from operalta.kernel.actor import Actor, ActorKind
from operalta.kernel.ids import ApiKeyId, CompanyId, PersonId, RequestId, RunId, SessionId
from operalta.terms.registry import upholds

Parameters = Mapping[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from: its id and the network address (or `worker`), for the audit log."""

    request_id: RequestId | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """An open transaction that is bound to `actor`. Valid inside the `async with` that made it, nowhere else."""

    actor: Actor
    connection: Connection
    origin: Origin = field(default_factory=Origin)

    @property
    def company(self) -> CompanyId:
        """The company of this scope. Raise NoSuchCompany in a scope without one."""
        if self.actor.company_id is None:
            raise NoSuchCompany
        return self.actor.company_id

    async def all(self, query: LiteralString, parameters: Parameters | None = None) -> list[Row]:
        """Run `query` and return every row."""
        try:
            cursor = await self.connection.execute(query, parameters)
            return await cursor.fetchall()
        except psycopg.OperationalError as error:
            raise DatabaseOutOfReach from error

    async def one(self, query: LiteralString, parameters: Parameters | None = None) -> Row | None:
        """Run `query` and return its first row, or None."""
        try:
            cursor = await self.connection.execute(query, parameters)
            return await cursor.fetchone()
        except psycopg.OperationalError as error:
            raise DatabaseOutOfReach from error

    async def execute(self, query: LiteralString, parameters: Parameters | None = None) -> int:
        """Run `query` and return how many rows it touched."""
        try:
            return (await self.connection.execute(query, parameters)).rowcount
        except psycopg.OperationalError as error:
            raise DatabaseOutOfReach from error


@asynccontextmanager
@upholds("2.3.4", "2.4.0")
async def open_person_scope(pool: Pool, secret: str, origin: Origin) -> AsyncGenerator[Scope]:
    """Open the scope of a person outside any company. Raise SessionEnded where the session is dead."""
    async with pool.acquire() as connection, connection.transaction():
        row = await _first(connection, "SELECT * FROM scope.open_person_scope(%(secret)s)", {"secret": secret})
        if row is None:
            raise SessionEnded
        actor = Actor(
            kind=ActorKind.PERSON,
            person_id=PersonId(row["person_id"]),
            session_id=SessionId(row["session_id"]),
            is_operator=row["is_operator"],
        )
        yield Scope(actor, connection, origin)


@asynccontextmanager
@upholds("2.3.4", "2.4.0", "2.4.2", "2.5.0")
async def open_company_scope(pool: Pool, secret: str, company: str, origin: Origin) -> AsyncGenerator[Scope]:
    """Open the scope of a person in a company, named by its id or slug: as a member, or as staff whose visit is open.

    Raise SessionEnded where the session is dead; NoSuchCompany where there is neither, which looks the same as no
    such company.
    """
    async with pool.acquire() as connection, connection.transaction():
        row = await _first(
            connection,
            "SELECT * FROM scope.open_scope(%(secret)s, %(company)s)",
            {"secret": secret, "company": company},
        )
        if row is None:
            raise SessionEnded
        if row["company_id"] is None:
            yield Scope(await _visiting(connection, secret, company), connection, origin)
            return
        actor = replace(_in_company(row, ActorKind.PERSON), is_operator=row["is_operator"])
        yield Scope(actor, connection, origin)


@upholds("7.2.3")
async def _visiting(connection: Connection, secret: str, company: str) -> Actor:
    """Bind the transaction to staff whose visit to the company is open. Raise NoSuchCompany for everybody else."""
    row = await _first(
        connection,
        "SELECT * FROM scope.open_staff_scope(%(secret)s, %(company)s)",
        {"secret": secret, "company": company},
    )
    if row is None:
        raise NoSuchCompany
    return replace(_in_company(row, ActorKind.STAFF), staff_until=row["until"])


@asynccontextmanager
@upholds("1.3.4", "2.4.0", "2.5.0")
async def open_key_scope(pool: Pool, secret: str, company: str | None, origin: Origin) -> AsyncGenerator[Scope]:
    """Open the scope of an API key in its company: its scopes, narrowed by its holder's role.

    The company is named by id or slug; None where the key alone says which it is. Raise KeyRefused for a key that opens
    nothing now, NoSuchCompany for any company but the key's own.
    """
    async with pool.acquire() as connection, connection.transaction():
        row = await _first(
            connection,
            "SELECT * FROM scope.open_key_scope(%(secret)s, %(company)s, %(address)s::inet)",
            {"secret": secret, "company": company, "address": origin.address},
        )
        if row is None:
            raise KeyRefused
        if row["company_id"] is None:
            raise NoSuchCompany
        yield Scope(_in_company(row, ActorKind.KEY), connection, origin)


async def note_key_use(pool: Pool, secret: str, origin: Origin) -> None:
    """Note on a key that is known when it was used, or refused, in a transaction of its own."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "SELECT credentials.note_key_use(%(secret)s, %(address)s::inet)",
            {"secret": secret, "address": origin.address},
        )


@asynccontextmanager
@upholds("5.0.1")
async def open_run_scope(pool: Pool, run: UUID, claim: str) -> AsyncGenerator[Scope]:
    """Open the scope of an agent's run: the rights of its person, while claim and membership hold.

    Raise ClaimLost otherwise.
    """
    async with pool.acquire() as connection, connection.transaction():
        row = await _first(
            connection,
            "SELECT * FROM scope.open_run_scope(%(run)s, %(claim)s)",
            {"run": run, "claim": claim},
        )
        if row is None:
            raise ClaimLost
        actor = replace(_in_company(row, ActorKind.RUN), run_id=RunId(run))
        yield Scope(actor, connection, Origin(address="worker"))


def _in_company(row: Row, kind: ActorKind) -> Actor:
    """Return who acts in a company, as the opening function has found."""
    session, key = row.get("session_id"), row.get("key_id")
    return Actor(
        kind=kind,
        person_id=PersonId(row["person_id"]),
        session_id=None if session is None else SessionId(session),
        company_id=CompanyId(row["company_id"]),
        company_slug=row["company_slug"],
        company_kind=row["company_kind"],
        role=row["role"],
        key_id=None if key is None else ApiKeyId(key),
        key_scopes=None if key is None else frozenset(row["scopes"]),
        sees_private=row.get("sees_private", True),
    )


async def _first(connection: Connection, query: LiteralString, parameters: Parameters) -> Row | None:
    # Text with a NUL cannot be sent to PostgreSQL; no secret and no company's name holds one.
    if any("\x00" in value for value in parameters.values() if isinstance(value, str)):
        return None
    return await (await connection.execute(query, parameters)).fetchone()
