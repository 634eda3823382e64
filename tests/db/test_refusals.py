"""What no role that serves can do, whatever SQL is typed under it: make, change or take anything for itself."""

from collections import Counter
from collections.abc import Generator
from typing import Any, Final, LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import tuple_row

from operalta.settings import DatabaseRole
from tests.conftest import Servers
from tests.isolation.estate import Owner

SERVING: Final = tuple(role for role in DatabaseRole if role is not DatabaseRole.OWNER)
SPACES: Final = (
    *("pg_temp", "public", "scope", "access", "signin", "elevated", "identity", "tenancy", "audit", "jobs", "delivery"),
    *("workspace", "agents", "sandbox", "assurance", "pg_catalog", "information_schema"),
)
# With each of these a caller could put an object of theirs in the way of one that we name.
MAKING: Final[tuple[LiteralString, ...]] = (
    "CREATE TABLE {}.mine (x int)",
    "CREATE VIEW {}.mine AS SELECT 1 AS x",
    "CREATE MATERIALIZED VIEW {}.mine AS SELECT 1 AS x",
    "CREATE SEQUENCE {}.mine",
    "CREATE FUNCTION {}.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz'",
    "CREATE PROCEDURE {}.mine() LANGUAGE sql AS 'SELECT 1'",
    "CREATE AGGREGATE {}.mine (int) (sfunc = int4pl, stype = int)",
    "CREATE OPERATOR {}.= (leftarg = uuid, rightarg = uuid, function = pg_catalog.uuid_ne)",
    "CREATE TYPE {}.mine AS (x int)",
    "CREATE DOMAIN {}.mine AS uuid",
    'CREATE COLLATION {}.mine FROM pg_catalog."C"',
    "CREATE TEXT SEARCH CONFIGURATION {}.mine (COPY = pg_catalog.english)",
    "CREATE CONVERSION {}.mine FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
)
REFUSED: Final[tuple[LiteralString, ...]] = (
    "CREATE TEMPORARY TABLE mine (x int)",
    "CREATE SCHEMA mine",
    "CREATE CAST (text AS uuid) WITH INOUT AS IMPLICIT",
    "CREATE EXTENSION pg_prewarm SCHEMA workspace",
    "CREATE EXTENSION cube SCHEMA workspace",
    "CREATE LANGUAGE mine HANDLER plpgsql_call_handler",
    "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION agents.announce_event()",
    "CREATE PUBLICATION mine FOR ALL TABLES",
    "CREATE SUBSCRIPTION mine CONNECTION 'host=localhost' PUBLICATION mine WITH (connect = false)",
    "CREATE FOREIGN DATA WRAPPER mine",
    "CREATE ROLE mine",
    "CREATE DATABASE mine",
    "CREATE TABLESPACE mine LOCATION '/tmp'",
    "CREATE ACCESS METHOD mine TYPE INDEX HANDLER bthandler",
    "CREATE TRIGGER mine AFTER INSERT ON workspace.records EXECUTE FUNCTION agents.announce_event()",
    "CREATE RULE mine AS ON SELECT TO workspace.records DO INSTEAD SELECT 1",
    "CREATE POLICY mine ON workspace.records USING (true)",
    "CREATE INDEX mine ON workspace.records (title)",
    "ALTER TABLE workspace.records DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE workspace.records NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE workspace.records OWNER TO CURRENT_USER",
    "ALTER FUNCTION scope.part(integer) OWNER TO CURRENT_USER",
    "ALTER FUNCTION scope.part(integer) RESET search_path",
    "ALTER SCHEMA scope OWNER TO CURRENT_USER",
    "ALTER POLICY scoped_read ON workspace.records USING (true)",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "ALTER ROLE CURRENT_USER CREATEROLE",
    "ALTER ROLE operalta_definer LOGIN PASSWORD 'mine'",
    "ALTER ROLE operalta_owner PASSWORD 'mine'",
    "ALTER ROLE ALL SET search_path = mine",
    "ALTER SYSTEM SET log_statement = 'all'",
    "DROP POLICY scoped_read ON workspace.records",
    "DROP FUNCTION scope.part(integer)",
    "DROP SCHEMA scope CASCADE",
    "TRUNCATE tenancy.companies CASCADE",
    "GRANT operalta_definer TO CURRENT_USER",
    "GRANT operalta_owner TO CURRENT_USER",
    "GRANT pg_read_all_data TO CURRENT_USER",
    "GRANT SELECT ON identity.passwords TO PUBLIC",
    "GRANT EXECUTE ON FUNCTION scope.bind TO PUBLIC",
    "SET SESSION AUTHORIZATION operalta_owner",
    "SET session_replication_role = replica",
    "SET log_statement = 'none'",
    "SET allow_system_table_mods = on",
    "SET session_preload_libraries = 'x'",
    "LOAD 'plpgsql'",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY (SELECT 1) TO '/tmp/mine'",
    "COPY pg_catalog.pg_authid TO STDOUT",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('global/pg_filenode.map')",
    "SELECT pg_ls_dir('.')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(1, '/tmp/mine')",
    "SELECT * FROM pg_catalog.pg_authid",
    "SELECT * FROM pg_catalog.pg_shadow",
    "SELECT * FROM pg_catalog.pg_statistic",
    "SELECT * FROM pg_catalog.pg_largeobject",
    "SELECT * FROM pg_catalog.pg_hba_file_rules",
    "SELECT * FROM scope.key",
    "SELECT scope.signature('x')",
    "SELECT scope.bind('person', NULL, NULL, NULL, NULL, NULL, NULL, true)",
    "SELECT scope.live_session('x')",
    "SELECT audit.append_as(NULL, 'system', NULL, NULL, 'x', 'x', 'x', 'succeeded', NULL, NULL, '{}')",
    "SELECT delivery.enqueue('verify_address', 'x@x.example', '', NULL, NULL, NULL, NULL, '{}')",
    "SELECT identity.make_person('x@x.example', 'x@x.example', 'x', 'x', 1, 'x', true, true)",
    "SELECT elevated.reset_factors(gen_random_uuid(), 'a reason')",
    "CALL scope.guard_table('tenancy.companies')",
    "SELECT pg_reload_conf()",
    "SELECT pg_rotate_logfile()",
    "SELECT pg_stat_reset()",
    "SELECT pg_switch_wal()",
    "SELECT pg_create_restore_point('mine')",
    "SELECT pg_create_physical_replication_slot('mine')",
    "SELECT pg_log_backend_memory_contexts(pg_backend_pid())",
    "SELECT pg_promote()",
    "CHECKPOINT",
)
SQLSTATES: Final = frozenset({"42501"})
"""Not permitted."""


@pytest.fixture(params=SERVING)
def role(request: pytest.FixtureRequest) -> DatabaseRole:
    return request.param


@pytest.fixture
def connection(servers: Servers, role: DatabaseRole) -> Generator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(servers.settings.database_dsn(role), autocommit=True, row_factory=tuple_row) as opened:
        yield opened


def catalogue(owner: Owner) -> Counter[str]:
    """Return everything that the database is made of, with owners and grants."""
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {} || (to_jsonb(each) - %(counts)s::text[])::text AS what FROM pg_catalog.{} AS each").format(
            sql.Literal(kind), sql.Identifier(kind)
        )
        for kind in _KINDS
    )
    return Counter(row["what"] for row in owner.execute(query, {"counts": _COUNTS}).fetchall())


_KINDS: Final = (
    *(
        "pg_class",
        "pg_proc",
        "pg_namespace",
        "pg_type",
        "pg_operator",
        "pg_cast",
        "pg_policy",
        "pg_trigger",
        "pg_rewrite",
    ),
    *("pg_roles", "pg_auth_members", "pg_db_role_setting", "pg_database", "pg_extension", "pg_default_acl"),
)
# What PostgreSQL itself changes in passing.
_COUNTS: Final = "{relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid,datfrozenxid,datminmxid}"


@pytest.mark.proves("2.4.2", "7.2.3")
def test_the_database_refuses_every_role(
    connection: psycopg.Connection[tuple[Any, ...]], role: DatabaseRole, owner: Owner
) -> None:
    before = catalogue(owner)
    taken = [
        sql.SQL("SET ROLE {}").format(sql.Identifier(other))
        for other in ("operalta_owner", "operalta_definer", "postgres", *SERVING)
        if other != role
    ]
    made = [sql.SQL(each).format(sql.Identifier(space)) for each in MAKING for space in SPACES]
    told = {
        attempt.as_string(): _answer(connection, attempt)
        for attempt in (*(sql.Composed([sql.SQL(each)]) for each in REFUSED), *taken, *made)
    }
    assert {attempt: answer for attempt, answer in told.items() if answer not in SQLSTATES} == {}
    assert catalogue(owner) == before


def _answer(connection: psycopg.Connection[tuple[Any, ...]], attempt: sql.Composed) -> str:
    try:
        connection.execute(attempt)
    except psycopg.Error as error:
        return error.sqlstate or ""
    return "done"


@pytest.mark.proves("2.4.2", "7.2.3")
def test_no_role_can_leave_a_large_object(connection: psycopg.Connection[tuple[Any, ...]], owner: Owner) -> None:
    for attempt in ("SELECT lo_create(0)", "SELECT lo_from_bytea(0, 'left')", "SELECT lo_creat(-1)"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction(force_rollback=True):
            connection.execute(attempt.encode())
    assert owner.execute("SELECT count(*) AS count FROM pg_largeobject_metadata").fetchone() == {"count": 0}
