"""What the modules of the policy check share: how a gap is told, and the part of a database that is ours.

The catalogue is read with `search_path` set to `pg_catalog`, so that the server writes out every other name in full:
a rule is compared letter by letter, and a name that could mean two things would be worth nothing.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from operalta.db.errors import NotMigrated
from operalta.db.roles import DEFINER, SERVING_ROLES

Row = dict[str, Any]
SERVING = tuple(role.value for role in SERVING_ROLES)

_OWNER = """
    SELECT owner.rolname AS owner FROM pg_catalog.pg_namespace AS space
    JOIN pg_catalog.pg_roles AS owner ON owner.oid = space.nspowner WHERE space.nspname = 'scope'
"""
# Ours is what belongs to one of our roles, and what one of them, or everybody, has been given anything in. What a
# managed server keeps in schemas of its own, out of our roles' reach, is its operator's affair. Nothing of ours is in
# `public`, where extensions often are; that is checked by itself.
_SCHEMAS = """
    SELECT space.nspname AS schema FROM pg_catalog.pg_namespace AS space
    JOIN pg_catalog.pg_roles AS owner ON owner.oid = space.nspowner
    WHERE space.nspname NOT IN ('information_schema', 'public') AND NOT starts_with(space.nspname, 'pg_')
      AND (owner.rolname = ANY (%(ours)s)
        OR EXISTS (SELECT FROM aclexplode(space.nspacl) AS granted LEFT JOIN pg_catalog.pg_roles AS grantee
            ON grantee.oid = granted.grantee WHERE granted.grantee = 0 OR grantee.rolname = ANY (%(ours)s)))
    ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Gap:
    """A gap: where it is, what is wrong, and what to do."""

    place: str
    fault: str
    mend: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The catalogue of one database as one transaction sees it, with the names that every query needs."""

    connection: psycopg.Connection[Any]
    names: dict[str, Any]

    def rows(self, query: LiteralString) -> list[Row]:
        """Run `query` and return its rows.

        It may use %(owner)s, %(definer)s, %(serving)s, %(ours)s (all roles) and %(schemas)s; so `%%` means a percent.
        """
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, self.names).fetchall()

    @property
    def owner(self) -> str:
        """The role that owns the schemas and tables."""
        owner: str = self.names["owner"]
        return owner

    @property
    def schemas(self) -> tuple[str, ...]:
        """The schemas that are ours, declared or not; `public` is none of them."""
        return tuple(self.names["schemas"])


Check = Callable[[Catalogue], Iterator[Gap]]
"""Reads one subject and yields what is open in it."""


@contextmanager
def reading(connection: psycopg.Connection[Any]) -> Generator[Catalogue]:
    """Give the catalogue to read, in one transaction. Raise NotMigrated where nothing of ours is there."""
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        before = cursor.execute("SELECT current_setting('search_path') AS path").fetchone()
        cursor.execute("SELECT set_config('search_path', 'pg_catalog', true)")
        found = cursor.execute(_OWNER).fetchone()
        if found is None or before is None:
            raise NotMigrated("This database has not been migrated. Run: operalta migrate")
        names: dict[str, Any] = {"owner": found["owner"], "definer": DEFINER, "serving": list(SERVING)}
        names["ours"] = [names["owner"], DEFINER, *SERVING]
        names["schemas"] = [row["schema"] for row in cursor.execute(_SCHEMAS, names).fetchall()]
        yield Catalogue(connection, names)
        # The transaction around may go on: a migration's does.
        cursor.execute("SELECT set_config('search_path', %s, true)", (before["path"],))
