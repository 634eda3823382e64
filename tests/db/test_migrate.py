"""A migration that leaves something open is undone as a whole: its revision, its tables, its grants, its passwords."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from operalta.access import rules
from operalta.db import migrate as migration
from operalta.db.errors import DatabaseOutOfReach, NotMigrated, PolicyGaps, SchemaFromTheFuture
from operalta.db.migrate import head, migrate
from operalta.db.policy_check import check_policies
from operalta.operations.secrets import database_passwords
from operalta.settings import DatabaseRole
from tests.conftest import Servers

CATALOGUE = """
    SELECT 'revision' AS kind, version_num AS name, '' AS state FROM public.alembic_version
    UNION ALL SELECT 'relation', class.oid::regclass::text, concat_ws(' ', relkind, relowner, relacl, relrowsecurity,
        relforcerowsecurity, reloptions) FROM pg_class AS class
    UNION ALL SELECT 'column', attrelid::regclass || '.' || attname, concat_ws(' ', atttypid, attnotnull, attacl)
        FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped
    UNION ALL SELECT 'function', oid::regprocedure::text, concat_ws(' ', proowner, proacl, proconfig, md5(prosrc))
        FROM pg_proc
    UNION ALL SELECT 'policy', polrelid::regclass || '.' || polname, concat_ws(' ', polroles, polqual, polwithcheck)
        FROM pg_policy
    UNION ALL SELECT 'schema', nspname, concat_ws(' ', nspowner, nspacl) FROM pg_namespace
    UNION ALL SELECT 'role', rolname, concat_ws(' ', rolsuper, rolcanlogin, rolcreaterole, rolbypassrls) FROM pg_roles
    UNION ALL SELECT 'membership', member::regrole::text, concat_ws(' ', roleid, inherit_option, set_option)
        FROM pg_auth_members
    UNION ALL SELECT 'permission', permission, company_kind || ' ' || role FROM access.role_permissions
    ORDER BY 1, 2, 3
"""
ADDED = '''"""A migration that nobody reviewed."""

from operalta.db.migrations.script import run_text

revision = "9999"
down_revision = "{before}"


def upgrade() -> None:
    run_text("""{sql}""")
'''
UNCOVERED = {
    "a table": ("CREATE TABLE workspace.novelty (company_id uuid NOT NULL, id uuid)", "workspace.novelty"),
    "a table in a schema of its own": ("CREATE SCHEMA novelty CREATE TABLE secrets (id uuid PRIMARY KEY)", "novelty"),
    "a view": ("CREATE VIEW workspace.novelty AS SELECT * FROM workspace.records", "workspace.novelty"),
    "a definer function that is given to a role": (
        (
            "CREATE FUNCTION workspace.novelty() RETURNS bigint LANGUAGE sql SECURITY DEFINER"
            " AS 'SELECT count(*) FROM workspace.records'; GRANT EXECUTE ON FUNCTION workspace.novelty TO operalta_web"
        ),
        "workspace.novelty",
    ),
    "an elevated function": (
        "CREATE FUNCTION elevated.novelty() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT'",
        "elevated.novelty",
    ),
    "a wider grant": ("GRANT UPDATE (owner_id) ON workspace.records TO operalta_web", "workspace.records"),
    "a right of the definer's for a serving role": ("GRANT operalta_definer TO operalta_web", "operalta_definer"),
    "a policy that is dropped": ("DROP POLICY scoped_read ON workspace.files", "workspace.files"),
}


def catalogue(servers: Servers) -> list[dict[str, Any]]:
    with servers.as_owner() as owner:
        return owner.execute(CATALOGUE).fetchall()


@pytest.fixture
def migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations, which `migrate` uses."""
    folder = tmp_path / "migrations"
    shutil.copytree(
        Path(migration.__file__).parent / "migrations", folder, ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(migration, "_MIGRATIONS", folder)
    return folder


def add(migrations: Path, sql: str) -> None:
    (migrations / "versions" / "9999_novelty.py").write_text(ADDED.format(before=head(), sql=sql))


@pytest.mark.proves("2.4.5")
@pytest.mark.parametrize("novelty", UNCOVERED)
def test_a_migration_with_a_gap_changes_nothing(servers: Servers, migrations: Path, novelty: str) -> None:
    sql, place = UNCOVERED[novelty]
    add(migrations, sql)
    before = catalogue(servers)
    passwords = database_passwords(servers.settings) | {DatabaseRole.WEB: "another password, thirty-two long"}
    with pytest.raises(PolicyGaps, match=place) as refused:
        migrate(servers.settings.database_dsn(DatabaseRole.OWNER), passwords)
    assert "nothing was changed" in str(refused.value)
    assert "Mend: " in str(refused.value)
    assert catalogue(servers) == before
    with psycopg.connect(servers.settings.database_dsn(DatabaseRole.WEB)):
        pass


def test_a_migration_that_breaks_off_changes_nothing(servers: Servers, migrations: Path) -> None:
    add(migrations, "CREATE TABLE workspace.novelty (id uuid); SELECT 1 / 0")
    before = catalogue(servers)
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(servers.settings.database_dsn(DatabaseRole.OWNER), database_passwords(servers.settings))
    assert catalogue(servers) == before


def test_the_copy_of_the_role_templates_is_undone_as_well(
    servers: Servers, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(migrations, "GRANT TRUNCATE ON workspace.records TO operalta_web")
    before = catalogue(servers)
    monkeypatch.setattr(rules, "table", lambda: [("startup", "observer", "memory:write")])
    with pytest.raises(PolicyGaps):
        migrate(servers.settings.database_dsn(DatabaseRole.OWNER), database_passwords(servers.settings))
    assert catalogue(servers) == before


def test_a_database_of_a_newer_release_is_refused_and_left_alone(servers: Servers) -> None:
    with servers.as_owner() as owner:
        owner.execute("UPDATE public.alembic_version SET version_num = '9999'")
        try:
            before = catalogue(servers)
            with pytest.raises(SchemaFromTheFuture, match="9999"):
                migrate(servers.settings.database_dsn(DatabaseRole.OWNER), database_passwords(servers.settings))
            assert catalogue(servers) == before
        finally:
            owner.execute("UPDATE public.alembic_version SET version_num = %s", (head(),))


def test_two_at_once_stand_in_line(servers: Servers) -> None:
    dsn, passwords = servers.settings.database_dsn(DatabaseRole.OWNER), database_passwords(servers.settings)
    before = catalogue(servers)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(migrate, dsn, passwords) for _ in range(2)]
        assert [each.result() for each in both] == [head(), head()]
    assert catalogue(servers) == before


def test_what_is_stored_for_the_owner_does_not_lead_migrations_astray(servers: Servers) -> None:
    dsn = servers.settings.database_dsn(DatabaseRole.OWNER)
    with servers.as_owner() as owner:
        owner.execute("ALTER ROLE operalta_owner SET search_path = workspace")
        try:
            with pytest.raises(PolicyGaps, match="a setting is stored"):
                migrate(dsn, database_passwords(servers.settings))
        finally:
            owner.execute("ALTER ROLE operalta_owner RESET ALL")


def test_an_empty_database_cannot_be_checked_and_a_server_that_is_away_is_told(servers: Servers) -> None:
    password = servers.settings.secret("database-postgres").decode()
    empty = make_conninfo(host=str(servers.settings.socket_path), user="postgres", password=password, dbname="postgres")
    with psycopg.connect(empty) as connection, pytest.raises(NotMigrated, match="operalta migrate"):
        check_policies(connection)
    with pytest.raises(DatabaseOutOfReach):
        migrate("postgresql://nobody@/nothing?host=/nowhere", database_passwords(servers.settings))
