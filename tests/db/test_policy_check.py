"""The policy check finds every weakening of row security, and nothing on the database as migrated."""

from typing import LiteralString

import psycopg
import pytest

from operalta.access import rules
from operalta.db.migrate import head, migrate
from operalta.db.policy_check import check_policies
from operalta.operations.secrets import database_passwords
from operalta.settings import DatabaseRole
from tests.conftest import Servers

WEAKENINGS: tuple[LiteralString, ...] = (
    "ALTER TABLE workspace.records DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE workspace.records NO FORCE ROW LEVEL SECURITY",
    "DROP POLICY scoped_read ON workspace.files",
    "DROP POLICY scoped_insert ON workspace.messages",
    "DROP POLICY person_decide ON agents.approvals",
    "ALTER POLICY scoped_read ON workspace.records USING (true)",
    "ALTER POLICY scoped_read ON workspace.metrics USING (company_id = scope.scope_company())",
    "ALTER POLICY scoped_insert ON workspace.metrics WITH CHECK (true)",
    "ALTER POLICY scoped_update ON workspace.files WITH CHECK (true)",
    "ALTER POLICY scoped_update ON tenancy.memberships USING (company_id = (SELECT scope.scope_company()))",
    (
        "ALTER POLICY scoped_read ON workspace.files USING (company_id = (SELECT scope.scope_company())"
        " AND EXISTS (SELECT FROM tenancy.memberships))"
    ),
    "ALTER POLICY scoped_read ON workspace.files TO PUBLIC",
    "GRANT DELETE ON workspace.records TO operalta_web",
    "GRANT SELECT ON identity.passwords TO operalta_web",
    "GRANT SELECT ON workspace.records TO PUBLIC",
    "GRANT USAGE ON SCHEMA identity TO PUBLIC",
    "SET LOCAL ROLE operalta_definer; GRANT EXECUTE ON FUNCTION scope.bind TO PUBLIC; RESET ROLE",
    "CREATE TABLE workspace.forgotten (company_id uuid NOT NULL, id uuid)",
    "CREATE VIEW workspace.everything AS SELECT * FROM workspace.records",
    "ALTER TABLE workspace.metrics ADD UNIQUE (id, slug)",
    "CREATE UNIQUE INDEX leak ON workspace.files (id, path)",
    (
        "ALTER TABLE workspace.file_versions DROP CONSTRAINT file_versions_pkey CASCADE;"
        " ALTER TABLE workspace.file_versions ALTER COLUMN company_id DROP NOT NULL"
    ),
    (
        "CREATE FUNCTION workspace.peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER"
        " AS 'SELECT count(*) FROM workspace.records'"
    ),
    "ALTER ROLE operalta_web CREATEROLE",
)


@pytest.mark.proves("2.4.1", "2.5.2")
def test_the_migrated_database_has_no_gap(servers: Servers) -> None:
    with psycopg.connect(servers.settings.database_dsn(DatabaseRole.VERIFIER)) as connection:
        assert check_policies(connection) == []


@pytest.mark.proves("2.4.5")
@pytest.mark.parametrize("weakening", WEAKENINGS)
def test_a_weakening_is_found(servers: Servers, weakening: LiteralString) -> None:
    with psycopg.connect(servers.settings.database_dsn(DatabaseRole.OWNER)) as connection:
        connection.execute(weakening)
        found = check_policies(connection)
        connection.rollback()
    assert found, weakening


@pytest.mark.proves("2.5.1")
def test_the_database_holds_the_role_templates_of_the_code(servers: Servers) -> None:
    with servers.as_owner() as owner:
        rows = owner.execute("SELECT company_kind, role, permission FROM access.role_permissions").fetchall()
    assert sorted((row["company_kind"], row["role"], row["permission"]) for row in rows) == rules.table()


def test_migrating_again_changes_nothing_and_finds_no_gap(servers: Servers) -> None:
    settings = servers.settings
    passwords = database_passwords(settings)
    assert migrate(settings.database_dsn(DatabaseRole.OWNER), passwords) == head()
