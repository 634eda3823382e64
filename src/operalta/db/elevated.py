"""The elevated connection: the role of scheduled jobs, which may call the functions of schema `elevated` alone.

Each of those has one purpose, validates the ids it is given and leaves an audit event (the sealing of the audit
log itself apart, which is its own trace). An import contract lists the modules that may import this one.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from operalta.db.pools import Connection, Pool
from operalta.settings import DatabaseRole
from operalta.terms.registry import upholds


@dataclass(frozen=True, slots=True)
class Elevated:
    """An open transaction of the job role, with the purpose that it was opened for."""

    purpose: str
    connection: Connection


@asynccontextmanager
@upholds("2.4.3", "2.4.4")
async def open_elevated(pool: Pool, purpose: str) -> AsyncGenerator[Elevated]:
    """Open a transaction of the job role for `purpose`. Raise ValueError for a pool of another role."""
    if pool.role is not DatabaseRole.JOB:
        raise ValueError("an elevated transaction needs the job role's pool")
    async with pool.acquire() as connection, connection.transaction():
        yield Elevated(purpose, connection)
