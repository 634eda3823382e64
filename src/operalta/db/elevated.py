"""The elevated connection: the role of scheduled jobs, which may call the functions of schema `elevated` alone.

`elevated_flows.py` lists them all: each has one purpose, validates the ids that it is given or takes them from an
earlier resolution, and leaves its trail in the audit log. An import contract lists the modules that may import this
one.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from operalta.db.elevated_flows import Purpose
from operalta.db.pools import Connection, Pool
from operalta.settings import DatabaseRole
from operalta.terms.registry import upholds

__all__ = ["Elevated", "Purpose", "open_elevated"]


@dataclass(frozen=True, slots=True)
class Elevated:
    """An open transaction of the job role, with the purpose that it was opened for."""

    purpose: Purpose
    connection: Connection


@asynccontextmanager
@upholds("2.4.3", "2.4.4")
async def open_elevated(pool: Pool, purpose: Purpose) -> AsyncGenerator[Elevated]:
    """Open a transaction of the job role for `purpose`.

    Raise ValueError for a pool of another role, and for support, which is for people with the owner's password.
    """
    if pool.role is not DatabaseRole.JOB:
        raise ValueError("an elevated transaction needs the job role's pool")
    if Purpose(purpose) is Purpose.SUPPORT:
        raise ValueError("support is given from the command line, never by a job")
    async with pool.acquire() as connection, connection.transaction():
        yield Elevated(purpose, connection)
