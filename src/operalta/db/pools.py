"""Connection pools, one for each database role, whose connections go back clean."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from operalta.db.errors import DatabaseOutOfReach
from operalta.settings import DatabaseRole
from operalta.terms.registry import upholds

Connection = AsyncConnection[DictRow]

# Given at connection start, these win over anything stored with ALTER ROLE … SET, and RESET ALL returns to them.
_PINNED = (
    "-c search_path=pg_catalog -c client_min_messages=warning -c statement_timeout=15000 -c lock_timeout=5000 "
    "-c idle_in_transaction_session_timeout=60000 -c default_transaction_isolation=read\\ committed "
    "-c row_security=on -c TimeZone=UTC -c standard_conforming_strings=on"
)


class Pool:
    """Connections of one database role.

    `acquire` gives a connection without an open transaction and takes it back clean: whatever settings, prepared
    statements, listens, cursors and locks a request left are gone before the next one gets it. Raises
    DatabaseOutOfReach where no connection can be had in five seconds, and where a loan outlasts
    `longest_loan_seconds`.
    """

    def __init__(
        self,
        role: DatabaseRole,
        dsn: str,
        size: int,
        *,
        search_path: str | None = None,
        longest_loan_seconds: float | None = None,
    ) -> None:
        self.role = role
        self._longest = longest_loan_seconds
        options = _PINNED if search_path is None else _PINNED.replace("pg_catalog", search_path, 1)
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            connection_class=AsyncConnection[DictRow],
            kwargs={
                "row_factory": dict_row,
                "options": options,
                "application_name": role.value,
                # Prepared statements are forgotten with DISCARD ALL below, so none are made.
                "prepare_threshold": None,
                "connect_timeout": 5,
            },
            min_size=1,
            max_size=size,
            timeout=5.0,
            reconnect_timeout=30.0,
            reset=_clean,
            open=False,
        )

    async def open(self) -> None:
        """Start to connect. Returns at once; a database that is down shows at the first `acquire`."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close(timeout=2)

    @asynccontextmanager
    async def acquire(self) -> AsyncGenerator[Connection]:
        """Lend a connection."""
        try:
            connection = await self._pool.getconn()
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise DatabaseOutOfReach from error
        # A server that is frozen answers nothing and closes nothing: waiting must end by our own clock.
        clock = asyncio.timeout(self._longest)
        try:
            async with clock:
                yield connection
        except TimeoutError as error:
            if clock.expired():
                raise DatabaseOutOfReach from error
            raise
        except psycopg.OperationalError as error:
            raise DatabaseOutOfReach from error
        finally:
            await self._pool.putconn(connection)


@upholds("2.4.0")
async def _clean(connection: AsyncConnection[Any]) -> None:
    await connection.set_autocommit(True)
    await connection.execute("DISCARD ALL")
    await connection.set_autocommit(False)
