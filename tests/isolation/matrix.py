"""One cell of the matrix of tables: a verb on a table as an actor, and what came of it, rolled back."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, LiteralString, cast

import psycopg
from psycopg import Rollback, sql
from psycopg.rows import tuple_row

from tests.isolation.estate import Company, Owner

DENIED = "denied"
"""The database has not granted it."""
REFUSED = "refused by a policy"

Connection = psycopg.Connection[tuple[Any, ...]]
Rows = Counter[tuple[str | None, ...]]
Facts = Mapping[str, Any] | Sequence[Any] | None


@dataclass(frozen=True, eq=False)
class Table:
    """A table of ours, with its columns and their types, and those that each database role was granted."""

    name: str
    columns: dict[str, str]
    made: set[str]
    """Those whose values the database makes, and lets nobody set."""
    granted: dict[tuple[str, str], tuple[str, ...]]

    @property
    def a_column(self) -> str:
        """Return some column that can be set."""
        return next(column for column in self.columns if column not in self.made)

    @property
    def identifier(self) -> sql.Composed:
        """Return the name as SQL."""
        return sql.SQL(".").join(map(sql.Identifier, self.name.split(".")))


_TABLES: LiteralString = """
SELECT class.oid::regclass::text AS name, attribute.attname AS column,
    format_type(attribute.atttypid, attribute.atttypmod) AS type,
    attribute.attidentity = 'a' OR attribute.attgenerated <> '' AS made,
    array(SELECT role.rolname || ' ' || verb.name FROM pg_roles AS role
        CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE')) AS verb (name)
        WHERE role.rolname = ANY (%(roles)s) AND has_schema_privilege(role.oid, class.relnamespace, 'USAGE')
          AND has_column_privilege(role.oid, class.oid, attribute.attnum, verb.name)
        UNION ALL SELECT role.rolname || ' DELETE' FROM pg_roles AS role WHERE role.rolname = ANY (%(roles)s)
          AND has_schema_privilege(role.oid, class.relnamespace, 'USAGE')
          AND has_table_privilege(role.oid, class.oid, 'DELETE')) AS granted
FROM pg_class AS class JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid AND attribute.attnum > 0
    AND NOT attribute.attisdropped
WHERE class.relkind IN ('r', 'p') AND class.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
ORDER BY class.oid, attribute.attnum
"""


def tables(owner: Owner, roles: list[str]) -> dict[str, Table]:
    """Return every table of the database that is not PostgreSQL's own."""
    found: dict[str, Table] = {}
    for row in owner.execute(_TABLES, {"roles": roles}).fetchall():
        name = row["name"] if "." in row["name"] else f"public.{row['name']}"
        table = found.setdefault(name, Table(name, {}, set(), {}))
        table.columns[row["column"]] = row["type"]
        if row["made"]:
            table.made.add(row["column"])
        for granted in row["granted"]:
            role, verb = granted.split()
            table.granted[role, verb] = (*table.granted.get((role, verb), ()), row["column"])
    return found


def as_texts(columns: tuple[str, ...]) -> sql.Composable:
    """Return a select list of these columns as text."""
    return sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in columns)


class Ground:
    """The database as its owner sees it: what is there, and what an open transaction has touched."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.rows = cache(self._rows)

    def _rows(self, table: Table, columns: tuple[str, ...], where: LiteralString, *facts: tuple[str, object]) -> Rows:
        query = sql.SQL("SELECT {} FROM {} AS ours WHERE {}").format(
            as_texts(columns), table.identifier, sql.SQL(where)
        )
        with self._owner.cursor(row_factory=tuple_row) as cursor:
            return Counter(cursor.execute(query, dict(facts)).fetchall())

    def count_of(self, table: Table, company: Company) -> int:
        """Return how many rows bear a company's mark."""
        return sum(company.mark in str(row) for row in self.rows(table, tuple(table.columns), "true").elements())

    def touched(self, table: Table, company: Company) -> int:
        """Return how many rows of a company another transaction has changed or deleted and not committed."""
        query = sql.SQL("SELECT 1 FROM {} AS ours WHERE strpos(ours::text, %s) > 0 FOR UPDATE SKIP LOCKED").format(
            table.identifier
        )
        return self.count_of(table, company) - len(self._owner.execute(query, (company.mark,)).fetchall())

    def copied(
        self,
        table: Table,
        columns: tuple[str, ...],
        where: LiteralString,
        values: dict[str, LiteralString],
        facts: Facts,
    ) -> tuple[str | None, ...] | None:
        """Return a row's columns as text, with SQL expressions in place of some; None where there is no such row."""
        items = sql.SQL(", ").join(
            sql.SQL("({})::text").format(sql.SQL(values[column]) if column in values else sql.Identifier(column))
            for column in columns
        )
        query = sql.SQL("SELECT {} FROM {} AS ours WHERE {} LIMIT 1").format(items, table.identifier, sql.SQL(where))
        with self._owner.cursor(row_factory=tuple_row) as cursor:
            return cast("tuple[str | None, ...] | None", cursor.execute(query, facts).fetchone())


@dataclass(frozen=True)
class Seat:
    """A connection of an actor's, in a transaction whose scope is open."""

    connection: Connection
    ground: Ground

    def select(self, table: Table, columns: tuple[str, ...]) -> Rows | str:
        """Return every row there is to read."""
        query = sql.SQL("SELECT {} FROM {}").format(as_texts(columns), table.identifier)
        try:
            with self.connection.transaction():
                return Counter(self.connection.execute(query).fetchall())
        except psycopg.errors.InsufficientPrivilege as error:
            return _refusal(error)

    def update(self, table: Table, assignments: sql.Composable, facts: Facts, foreign: list[Company]) -> int | str:
        """Return how many rows `UPDATE … SET …` changes, without a condition."""
        query = sql.SQL("UPDATE {} SET {}").format(table.identifier, assignments)
        return self._change(table, query, facts, foreign)

    def delete(self, table: Table, foreign: list[Company]) -> int | str:
        """Return how many rows `DELETE` takes away, without a condition."""
        return self._change(table, sql.SQL("DELETE FROM {}").format(table.identifier), None, foreign)

    def insert(self, table: Table, columns: tuple[str, ...], values: tuple[str | None, ...]) -> int | str:
        """Return 1 where the row was taken."""
        query = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(
            table.identifier,
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(sql.SQL("%s::" + table.columns[column]) for column in columns),  # pyright: ignore[reportArgumentType] - the catalogue's own name of a type
        )
        return self._change(table, query, values, [])

    def _change(self, table: Table, query: sql.Composed, facts: Facts, foreign: list[Company]) -> int | str:
        changed = 0
        try:
            with self.connection.transaction() as savepoint:
                changed = self.connection.execute(query, facts).rowcount
                if changed:
                    touched = {company.kind.value: self.ground.touched(table, company) for company in foreign}
                    assert not any(touched.values()), (table.name, "rows of others were touched", touched)
                raise Rollback(savepoint)
        except psycopg.errors.InsufficientPrivilege as error:
            return _refusal(error)
        except psycopg.errors.IntegrityError as error:
            return f"stopped by a key: {error.diag.constraint_name}"
        return changed


def _refusal(error: psycopg.Error) -> str:
    return REFUSED if "row-level security" in str(error) else DENIED


def same(table: Table, columns: tuple[str, ...]) -> sql.Composed:
    """Return the assignment of each column to itself."""
    return sql.SQL(", ").join(
        sql.SQL("{0} = {0}").format(sql.Identifier(column)) for column in columns if column not in table.made
    )


def fixed(values: dict[str, LiteralString]) -> sql.Composed:
    """Return assignments of values that read no column, so that policies for reading have no say."""
    return sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(column), sql.SQL(value)) for column, value in values.items()
    )
