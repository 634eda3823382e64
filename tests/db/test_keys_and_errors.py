"""What keys, casts and error messages could give away: whether a row exists that one may not see, and what is in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, LiteralString

import psycopg
import pytest
from psycopg import Rollback, sql
from psycopg.rows import tuple_row

from operalta.access.rules import CompanyKind, Role
from operalta.settings import DatabaseRole
from tests.conftest import Servers
from tests.db.executable import ids_of
from tests.isolation.actors import AS_PERSON, Actor, bare, member, run
from tests.isolation.estate import Estate, Owner
from tests.isolation.expectations import COMPANYS, INSERT, LAWS, UPDATE
from tests.isolation.matrix import Ground, Table, tables

Connection = psycopg.Connection[tuple[Any, ...]]
NOBODY: Final = "00000000-0000-4000-8000-000000000000"
WRITERS: Final = (member(CompanyKind.STARTUP, Role.FOUNDER), run(CompanyKind.STARTUP, Role.FOUNDER))


@dataclass(frozen=True)
class Attempt:
    """A statement into which one id is put."""

    table: str
    column: str
    query: sql.Composed
    values: tuple[str | None, ...]
    place: int

    def outcome(self, connection: Connection, put: str) -> object:
        """Return what the caller is told: that it worked, or the error, without the id in it."""
        values = (*self.values[: self.place], put, *self.values[self.place + 1 :])
        try:
            with connection.transaction() as savepoint:
                connection.execute(self.query, values)
                raise Rollback(savepoint)
        except psycopg.Error as error:
            detail = (error.diag.message_detail or "").replace(put, "-")
            return (error.sqlstate, error.diag.constraint_name, error.diag.message_primary, detail)
        return "done"


def attempts(actor: Actor, table: Table, ground: Ground, facts: dict[str, Any]) -> Iterator[Attempt]:
    """Yield each statement by which an actor can put an id into a column."""
    for law in LAWS[table.name]:
        if not law.covers(actor.database_role, law.verb) or law.verb not in {INSERT, UPDATE}:
            continue
        columns = law.columns_of(table.columns)
        ids = [place for place, name in enumerate(columns) if table.columns[name] == "uuid" and name != "company_id"]
        if law.verb == UPDATE:
            for place in ids:
                change = sql.SQL("UPDATE {} SET {} = %s::uuid").format(table.identifier, sql.Identifier(columns[place]))
                yield Attempt(table.name, columns[place], change, (NOBODY,), 0)
            continue
        # Where the law lets no copy through, any row of the company shows whether the refusals differ.
        row = ground.copied(table, columns, law.rows, law.values, facts) or ground.copied(
            table, columns, COMPANYS, law.values, facts
        )
        assert row is not None, table.name
        values = sql.SQL(", ").join(sql.SQL("%s::" + table.columns[name]) for name in columns)  # pyright: ignore[reportArgumentType] - names of types from the catalogue
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        query = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(table.identifier, names, values)
        yield from (Attempt(table.name, columns[place], query, row, place) for place in ids)


@pytest.mark.proves("2.4.2")
@pytest.mark.parametrize("actor", WRITERS, ids=lambda actor: actor.database_role)
def test_no_key_tells_whether_a_row_of_another_company_exists(
    servers: Servers, estate: Estate, owner: Owner, actor: Actor
) -> None:
    """An id of anything of theirs, put anywhere, does what an id of nothing at all does."""
    told = _telling(servers, estate, owner, actor)
    assert len(told) > 20
    assert {place: what for place, what in told.items() if what} == {}


def _telling(servers: Servers, estate: Estate, owner: Owner, actor: Actor) -> dict[tuple[str, str], list[object]]:
    """Return, for each column into which ids can be put, which foreign ids behave unlike one of nobody's."""
    ground, facts = Ground(owner), actor.facts(estate)
    foreign = ids_of(owner, estate.investor, of_each=2)
    # Private rows of somebody else in the same company must not be told from nothing where rows refer to each other.
    private = [str(id_) for name, id_ in estate.startup.ids.items() if name.startswith("advisor ")]
    told: dict[tuple[str, str], list[object]] = {}
    with psycopg.connect(servers.settings.database_dsn(actor.database_role), row_factory=tuple_row) as connection:
        connection.execute(actor.opens, facts)
        for table in tables(owner, [actor.database_role]).values():
            for each in attempts(actor, table, ground, facts):
                nobodys = each.outcome(connection, NOBODY)
                tried = foreign if each.column == "id" else [*foreign, *private]
                differing = [(id_, seen) for id_ in tried if (seen := each.outcome(connection, id_)) != nobodys]
                told.setdefault((each.table, each.column), []).extend(differing[:2])
        connection.rollback()
    return told


@pytest.mark.proves("2.4.2")
def test_a_conflict_with_a_row_of_another_company_is_refused_like_any_other(servers: Servers, estate: Estate) -> None:
    """ON CONFLICT looks for the row first: it must not do so before the policy has refused."""
    actor, theirs = WRITERS[0], estate.investor
    facts = actor.facts(estate) | {"theirs": theirs.id}
    insert = (
        "INSERT INTO workspace.records (company_id, id, kind, title, status, owner_id, recorded_by)"
        " VALUES (%(theirs)s, %(id)s, 'decision', 'x', 'decided', %(person)s, %(person)s) ON CONFLICT "
    )
    updates = "(company_id, id) DO UPDATE SET status = excluded.status"
    for ending in ("DO NOTHING", updates, f"{updates} RETURNING title"):
        refusals: set[str] = set()
        for id_ in (theirs.ids["record"], NOBODY):
            with psycopg.connect(servers.settings.database_dsn(actor.database_role)) as connection:
                connection.execute(actor.opens, facts)
                with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
                    connection.execute((insert + ending).encode(), facts | {"id": id_})
                refusals.add(str(refused.value))
        assert len(refusals) == 1, ending


UNSEEING: Final = (
    bare(DatabaseRole.WEB),
    bare(DatabaseRole.WORKER),
    Actor("newcomer", DatabaseRole.WEB, AS_PERSON, "newcomer"),
)
# Each fails on any row that it is evaluated for, and shows its text where it can.
TELLTALES: Final[tuple[LiteralString, ...]] = (
    "1 / (length({0}::text) - length({0}::text)) = 1",
    "({0}::text || ' is not a number')::numeric = 1",
    "('{{' || {0}::text || '}}')::json IS NULL",
    "substring({0}::text FROM '(') IS NULL",
    "set_config('stolen.text', {0}::text, false) IS NULL",
)
PLANS: Final[tuple[LiteralString, ...]] = (
    "SELECT set_config('enable_seqscan', 'on', true)",
    "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)",
)


@pytest.mark.proves("2.4.2")
@pytest.mark.parametrize("actor", UNSEEING, ids=lambda actor: actor.name)
def test_no_condition_is_evaluated_for_a_row_that_may_not_be_seen(
    servers: Servers, estate: Estate, owner: Owner, actor: Actor
) -> None:
    """Else its error, or what it leaves, would tell of the row before the policy hides it."""
    looked_at = 0
    with psycopg.connect(servers.settings.database_dsn(actor.database_role), row_factory=tuple_row) as connection:
        if actor.opens:
            connection.execute(actor.opens, actor.facts(estate))
        for table in tables(owner, [actor.database_role]).values():
            for column in table.granted.get((actor.database_role.value, "SELECT"), ()):
                name = sql.Identifier(column)
                if connection.execute(sql.SQL("SELECT {} FROM {}").format(name, table.identifier)).fetchall():
                    assert table.name in PUBLIC or actor.opens, (table.name, "shows rows to anybody")
                    continue
                for telltale in TELLTALES:
                    for plan in PLANS:
                        looked_at += 1
                        connection.execute(plan)
                        condition = sql.SQL(telltale).format(name)
                        query = sql.SQL("SELECT FROM {} WHERE {}").format(table.identifier, condition)
                        assert connection.execute(query).fetchall() == [], (table.name, column, telltale)
        left = connection.execute("SELECT nullif(current_setting('stolen.text', true), '')").fetchone()
        assert left == (None,)
    assert looked_at > 500


PUBLIC: Final = ("audit.nodes", "audit.heads", "assurance.evidence")
"""What everybody may read: hashes, signed heads, and the evidence of the trust page."""


@pytest.mark.parametrize("telltale", TELLTALES)
def test_the_same_conditions_do_tell_of_rows_that_may_be_seen(
    servers: Servers, estate: Estate, telltale: LiteralString
) -> None:
    """Else the test above would prove nothing."""
    actor = WRITERS[0]
    query = sql.SQL("SELECT FROM workspace.records WHERE {}").format(sql.SQL(telltale).format(sql.Identifier("title")))
    with psycopg.connect(servers.settings.database_dsn(actor.database_role)) as connection:
        connection.execute(actor.opens, actor.facts(estate))
        try:
            connection.execute(query)
            row = connection.execute("SELECT current_setting('stolen.text', true)").fetchone()
            told = str(row)
        except psycopg.Error as error:
            told = f"{error} division by zero" if "1 /" in telltale else str(error)
    assert estate.startup.canary in told or "division by zero" in told or "regular expression" in told
