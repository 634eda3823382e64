"""Ways around a table: plans, statistics, the catalogue, other sessions, dumps, settings, notices. None shows a row.

What is promised is rows: what the planner estimates of a table stays visible.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, LiteralString

import psycopg
import pytest
from psycopg import Rollback, sql
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from operalta.access.rules import CompanyKind, Role
from operalta.db.scope import Origin, open_company_scope
from operalta.settings import DatabaseRole
from operalta.workspace.memory import service as memory
from operalta.workspace.memory.rules import RecordKind
from tests.conftest import Pools, Servers
from tests.isolation.actors import Actor, bare, member, run
from tests.isolation.estate import Estate, Owner
from tests.isolation.matrix import Table, tables

Connection = psycopg.Connection[tuple[Any, ...]]
FOUNDER: Final = member(CompanyKind.STARTUP, Role.FOUNDER)
AGENT: Final = run(CompanyKind.STARTUP, Role.FOUNDER)
ROLES: Final = tuple(bare(role) for role in DatabaseRole if role is not DatabaseRole.OWNER)
SCOPED: Final = [FOUNDER, AGENT]
EVERYBODY: Final = [*SCOPED, *ROLES]


@contextmanager
def seated(servers: Servers, actor: Actor, estate: Estate) -> Generator[Connection]:
    """Open the actor's scope, where they have one."""
    with psycopg.connect(servers.settings.database_dsn(actor.database_role), row_factory=tuple_row) as connection:
        if actor.opens:
            connection.execute(actor.opens, actor.facts(estate))
        yield connection
        connection.rollback()


def readable(owner: Owner, actor: Actor) -> list[tuple[Table, sql.Composed]]:
    """Return the tables that an actor's role may read, with the columns."""
    role = actor.database_role
    return [
        (table, sql.SQL(", ").join(map(sql.Identifier, table.granted[role, "SELECT"])))
        for table in tables(owner, [role]).values()
        if (role, "SELECT") in table.granted
    ]


def assert_hidden(estate: Estate, told: str, *place: object) -> None:
    """Assert that a text tells nothing of the company that is foreign to all of them, however it is written."""
    theirs = estate.investor
    for secret in (theirs.canary, theirs.canary.encode().hex(), theirs.mark):
        assert secret not in told, (*place, told[:300])


_CATALOGUE: LiteralString = """
SELECT class.relnamespace::regnamespace::text AS space, class.relname AS name FROM pg_class AS class
WHERE class.relkind IN ('r', 'v') AND class.relnamespace::regnamespace::text IN ('pg_catalog', 'information_schema')
    AND (%(all)s OR (class.relname ~ '^pg_(stat|cursors|prepared|locks|settings|roles|user|shadow|replication)'))
ORDER BY class.oid
"""


@pytest.mark.proves("2.4.2", "7.2.3")
@pytest.mark.parametrize("actor", EVERYBODY, ids=lambda actor: actor.name)
def test_neither_catalogue_nor_statistics_hold_anything_of_a_company(
    servers: Servers, estate: Estate, owner: Owner, actor: Actor
) -> None:
    """Column statistics hold real values (most common ones, histograms); PostgreSQL hides those of guarded tables."""
    owner.execute("ANALYZE workspace.records, workspace.messages, identity.people, tenancy.companies")
    looked_at = 0
    with seated(servers, actor, estate) as connection:
        # Most of the catalogue is the same for every role; what it shows of activity and statistics is not.
        for place in owner.execute(_CATALOGUE, {"all": actor is FOUNDER}).fetchall():
            query = sql.SQL("SELECT count(*) FROM {} AS shown WHERE shown::text ~ %s").format(
                sql.Identifier(place["space"], place["name"])
            )
            try:
                with connection.transaction():
                    found = connection.execute(query, (f"{estate.investor.canary}|{estate.investor.mark}",)).fetchone()
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported):
                continue
            looked_at += 1
            assert found == (0,), place
    assert looked_at > (150 if actor is FOUNDER else 30)


def test_the_statistics_do_hold_them_for_those_who_may_read_all(estate: Estate, owner: Owner) -> None:
    """Else the test above would prove nothing."""
    found: dict[str, Any] | None = None
    with owner.transaction() as never:
        owner.execute("ALTER TABLE workspace.records NO FORCE ROW LEVEL SECURITY")
        # All values, however many other tests have left there.
        owner.execute("ALTER TABLE workspace.records ALTER COLUMN title SET STATISTICS 10000")
        owner.execute("ANALYZE workspace.records")
        found = owner.execute(
            "SELECT concat(most_common_vals::text, histogram_bounds::text) AS kept FROM pg_stats"
            " WHERE schemaname = 'workspace' AND tablename = 'records' AND attname = 'title'"
        ).fetchone()
        raise Rollback(never)
    assert found is not None
    assert estate.investor.canary in found["kept"]


@pytest.mark.proves("2.4.2")
@pytest.mark.parametrize("actor", SCOPED, ids=lambda actor: actor.database_role)
def test_plans_show_no_value_of_a_row(servers: Servers, estate: Estate, owner: Owner, actor: Actor) -> None:
    with seated(servers, actor, estate) as connection:
        for table, columns in readable(owner, actor):
            for options in ("ANALYZE, VERBOSE, BUFFERS, SETTINGS, WAL, MEMORY", "GENERIC_PLAN, VERBOSE"):
                query = sql.SQL("EXPLAIN ({}, FORMAT JSON) SELECT {} FROM {} AS seen ORDER BY 1").format(
                    sql.SQL(options), columns, table.identifier
                )
                assert_hidden(estate, str(connection.execute(query).fetchall()), table.name)


@pytest.mark.proves("2.4.2")
@pytest.mark.parametrize("actor", SCOPED, ids=lambda actor: actor.database_role)
def test_what_reads_whole_tables_reads_no_more(servers: Servers, estate: Estate, owner: Owner, actor: Actor) -> None:
    """COPY, anonymous blocks, functions that run a query of their own, rows locked for writing."""
    read = 0
    with seated(servers, actor, estate) as connection:
        for table, columns in readable(owner, actor):
            ways = (
                sql.SQL("COPY (SELECT {columns} FROM {table}) TO STDOUT"),
                sql.SQL("COPY {table} ({columns}) TO STDOUT"),
                sql.SQL("COPY (TABLE {table}) TO STDOUT"),
                sql.SQL("COPY (SELECT array_agg(t::text) FROM (SELECT {columns} FROM {table}) AS t) TO STDOUT"),
                sql.SQL("COPY (SELECT json_agg(t) FROM (SELECT {columns} FROM {table}) AS t) TO STDOUT"),
                sql.SQL("COPY (SELECT {columns} FROM {table} FOR SHARE) TO STDOUT"),
                sql.SQL("COPY (SELECT {columns} FROM {table} TABLESAMPLE SYSTEM (100)) TO STDOUT"),
                sql.SQL(
                    "COPY (SELECT a.* FROM {table} AS a RIGHT JOIN {table} AS b ON a IS DISTINCT FROM b) TO STDOUT"
                ),
            )
            for way in ways:
                try:
                    with (
                        connection.transaction(),
                        connection.cursor().copy(way.format(columns=columns, table=table.identifier)) as copied,
                    ):
                        told = b"".join(map(bytes, copied)).decode()
                except psycopg.Error as error:
                    told = str(error)
                read += estate.startup.canary in told
                assert_hidden(estate, told, table.name, way)
        assert read > 50, "one's own rows are there to be read in all these ways"
        words = connection.execute("SELECT word FROM ts_stat('SELECT words FROM workspace.records')").fetchall()
        assert words
        assert_hidden(estate, str(words))


@pytest.mark.proves("2.4.2")
def test_a_block_that_swallows_errors_finds_nothing(servers: Servers, estate: Estate, owner: Owner) -> None:
    """It looks for every row of the other company by its ids, and would raise what it finds."""
    theirs = estate.investor
    for actor in (FOUNDER, AGENT):
        with seated(servers, actor, estate) as connection:
            for table, _ in readable(owner, actor):
                connection.execute("SELECT set_config('stolen.mark', %s, true)", (theirs.mark,))
                connection.execute(
                    sql.SQL(
                        "DO $$ DECLARE found text; BEGIN BEGIN SELECT seen::text INTO found FROM {} AS seen"
                        " WHERE strpos(seen::text, current_setting('stolen.mark')) > 0; EXCEPTION WHEN OTHERS THEN"
                        " found := NULL; END; IF found IS NOT NULL THEN RAISE EXCEPTION '%', found; END IF; END $$"
                    ).format(table.identifier)
                )


_CHANGEABLE: LiteralString = """
SELECT name, CASE vartype WHEN 'bool' THEN ARRAY['on', 'off'] ELSE enumvals END AS choices FROM pg_settings
WHERE context = 'user' AND vartype IN ('bool', 'enum') AND name <> 'exit_on_error' ORDER BY name
"""
_FOREIGN: LiteralString = """
SELECT (SELECT count(*) FROM workspace.records AS seen WHERE company_id <> %(own)s)
    + (SELECT count(*) FROM workspace.messages AS seen WHERE company_id <> %(own)s)
    + (SELECT count(*) FROM tenancy.companies AS seen WHERE id <> %(own)s)
    + (SELECT count(*) FROM agents.runs AS seen WHERE company_id <> %(own)s),
    (SELECT count(*) FROM workspace.records) > 0
"""


@pytest.mark.proves("2.4.2")
@pytest.mark.parametrize("actor", SCOPED, ids=lambda actor: actor.database_role)
def test_no_setting_that_anybody_may_change_opens_anything(servers: Servers, estate: Estate, actor: Actor) -> None:
    """Each of PostgreSQL's switches in each of its positions, and search paths through every schema of ours."""
    own = {"own": estate.startup.id}
    with seated(servers, actor, estate) as connection:
        found = connection.execute(_CHANGEABLE).fetchall()
        changes = [(name, choice) for name, choices in found for choice in choices]
        assert len(changes) > 150
        spaces = ("scope", "jobs", "identity", "workspace", "pg_temp, pg_catalog", "information_schema, pg_catalog")
        for name, choice in (*changes, *(("search_path", space) for space in spaces)):
            try:
                with connection.transaction() as savepoint:
                    connection.execute("SELECT set_config(%s, %s, true)", (name, choice))
                    assert connection.execute(_FOREIGN, own).fetchone() == (0, True), (name, choice)
                    raise Rollback(savepoint)
            except psycopg.errors.InsufficientPrivilege as error:
                assert name == "row_security", (name, error)  # noqa: PT017 - off is refused, which is right
            except (psycopg.errors.ActiveSqlTransaction, psycopg.errors.InvalidParameterValue):
                continue


@pytest.mark.proves("2.4.2")
async def test_other_sessions_show_their_statements_but_no_values(
    pools: Pools, servers: Servers, estate: Estate
) -> None:
    """Sessions of one role see each other's statements. Ours send values apart from them."""
    theirs = estate.investor
    secret = theirs.people[Role.FOUNDER].session_secret
    async with open_company_scope(pools.web, secret, theirs.slug, Origin()) as scope:
        await memory.record(scope, RecordKind.DECISION, f"{theirs.canary} title", f"{theirs.canary} body")
        with seated(servers, FOUNDER, estate) as connection:
            seen = connection.execute(
                "SELECT query, activity.* FROM pg_stat_activity AS activity WHERE pid <> pg_backend_pid()"
                " AND usename = current_user AND state = 'idle in transaction'"
            ).fetchall()
        assert any("workspace" in row[0] or "audit" in row[0] for row in seen), "the other session was looked at"
        assert_hidden(estate, str(seen))


@pytest.mark.proves("2.4.2")
def test_notices_carry_ids_alone(servers: Servers, estate: Estate) -> None:
    """Every role may listen to every channel."""
    theirs = run(CompanyKind.INVESTOR, Role.FOUNDER)
    with psycopg.connect(servers.settings.database_dsn(DatabaseRole.WEB), autocommit=True) as listening:
        for channel in ("operalta_run_events", "procrastinate_any_queue", "procrastinate_queue_v1#runs"):
            listening.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        with psycopg.connect(servers.settings.database_dsn(theirs.database_role)) as writing:
            writing.execute(theirs.opens, theirs.facts(estate))
            run_id = theirs.facts(estate)["run"]
            writing.execute(
                "INSERT INTO agents.run_events (company_id, run_id, sequence, private_to, kind, body)"
                " SELECT company_id, id, 77, private_to, 'answered', %s FROM agents.runs WHERE id = %s",
                (Jsonb({"text": estate.investor.canary}), run_id),
            )
        heard = [notice.payload for notice in listening.notifies(timeout=10, stop_after=1)]
    assert heard == [str(run_id)]


SEQUENCES: LiteralString = "SELECT class.oid::regclass::text AS name FROM pg_class AS class WHERE class.relkind = 'S'"


@pytest.mark.proves("2.4.2", "7.2.3")
def test_counters_are_out_of_reach_but_for_the_queues_own_role(servers: Servers, estate: Estate, owner: Owner) -> None:
    sequences = [row["name"] for row in owner.execute(SEQUENCES).fetchall()]
    assert sequences
    for actor in EVERYBODY:
        if actor.database_role is DatabaseRole.DISPATCH:
            continue
        with seated(servers, actor, estate) as connection:
            for name in sequences:
                for query in ("SELECT nextval(%s)", "SELECT setval(%s, 1)", "SELECT currval(%s)"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                        connection.execute(query.encode(), (name,))
