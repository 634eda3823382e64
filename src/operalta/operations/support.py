"""What support from the command line shares: the owner's way in, and the reason that stays in the audit log."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import psycopg
from psycopg.rows import DictRow, dict_row

from operalta.db.errors import DatabaseOutOfReach
from operalta.db.pools import Connection
from operalta.operations import store
from operalta.settings import DatabaseRole, Settings

LONGEST_REASON = 500


class CannotHelp(Exception):  # noqa: N818 - read by the operator as a sentence
    """What was asked cannot be done; the message says why. Nothing was changed."""


def checked_reason(reason: str) -> str:
    """Return a reason in one line. Raise CannotHelp for none, and beyond 500 characters."""
    clean = " ".join(reason.split())
    if not 1 <= len(clean) <= LONGEST_REASON:
        raise CannotHelp(f"Give a reason of 1 to {LONGEST_REASON} characters; it stays in the audit log.")
    return clean


@asynccontextmanager
async def support(settings: Settings) -> AsyncGenerator[Connection]:
    """Open a transaction of the owner's with the definer's role: nobody else may call these functions."""
    try:
        connection = await psycopg.AsyncConnection[DictRow].connect(
            settings.database_dsn(DatabaseRole.OWNER), row_factory=dict_row, connect_timeout=10
        )
    except psycopg.OperationalError as error:
        raise DatabaseOutOfReach from error
    async with connection, connection.transaction():
        await store.take_definer_role(connection)
        yield connection
