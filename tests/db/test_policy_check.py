"""The policy check finds nothing on the database as migrated, and says no more than is so."""

import json
from typing import LiteralString

import psycopg
import pytest
from typer.testing import CliRunner

from operalta.access import rules
from operalta.cli import application
from operalta.db import policy_check
from operalta.db.declared_grants import DECLARED, DEFINER_RIGHTS, SCHEMAS
from operalta.db.migrate import head, migrate
from operalta.db.policy_check import check_policies
from operalta.db.policy_exceptions import EXCEPTIONS, ReviewedException
from operalta.operations.secrets import database_passwords
from operalta.settings import DatabaseRole
from tests.conftest import Servers

HARMLESS: tuple[LiteralString, ...] = (
    (
        "ALTER POLICY scoped_read ON workspace.files"
        " USING (company_id = (SELECT scope.company_permitting('files:read')) AND deleted_at IS NULL)"
    ),
    (
        "CREATE POLICY narrowing ON workspace.records AS RESTRICTIVE FOR SELECT TO operalta_web"
        " USING (status <> 'withdrawn' OR recorded_by = (SELECT scope.scope_person()))"
    ),
    "CREATE VIEW workspace.own WITH (security_invoker = true) AS SELECT * FROM workspace.records",
    "CREATE INDEX files_changed ON workspace.files (company_id, changed_at)",
    "ALTER TABLE workspace.metrics ADD COLUMN mark text; ALTER TABLE workspace.metrics ADD UNIQUE (company_id, mark)",
    (
        "CREATE TABLE workspace.notes (company_id uuid NOT NULL REFERENCES tenancy.companies ON DELETE CASCADE,"
        " id uuid, PRIMARY KEY (company_id, id)); CALL scope.guard_table('workspace.notes')"
    ),
    (
        "CREATE FUNCTION workspace.words(text) RETURNS integer LANGUAGE plpgsql SET search_path = ''"
        " AS $$ BEGIN RETURN length('EXECUTE ' || $1); END $$; -- no EXECUTE"
    ),
    "CREATE FUNCTION workspace.twice(integer) RETURNS integer LANGUAGE sql RETURN 2 * $1",
    "CREATE PROCEDURE scope.tool() LANGUAGE plpgsql SET search_path = '' AS 'BEGIN EXECUTE ''SELECT 1''; END'",
)


@pytest.mark.proves("2.4.1", "2.5.2", "7.2.3")
def test_the_migrated_database_has_no_gap(servers: Servers) -> None:
    with psycopg.connect(servers.settings.database_dsn(DatabaseRole.VERIFIER)) as connection:
        assert check_policies(connection) == []


@pytest.mark.parametrize("change", HARMLESS)
def test_what_opens_nothing_is_no_gap(servers: Servers, change: LiteralString) -> None:
    with psycopg.connect(servers.settings.database_dsn(DatabaseRole.OWNER)) as connection:
        connection.execute(change)
        found = check_policies(connection)
        connection.rollback()
    assert found == []


def test_looking_leaves_the_connection_as_it_was(servers: Servers) -> None:
    for autocommit in (False, True):
        dsn = servers.settings.database_dsn(DatabaseRole.VERIFIER)
        with psycopg.connect(dsn, autocommit=autocommit, options="-c search_path=workspace,scope") as connection:
            assert check_policies(connection) == []
            assert connection.execute("SHOW search_path").fetchone() == ("workspace,scope",)


@pytest.mark.proves("2.4.5")
def test_an_exception_is_for_one_fault_and_ends_with_it(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    without = tuple(each for each in EXCEPTIONS if each.place != "assurance.evidence")
    idle = ReviewedException("workspace.records", "nothing of the kind", "None.", "db")
    with psycopg.connect(servers.settings.database_dsn(DatabaseRole.VERIFIER)) as connection:
        monkeypatch.setattr(policy_check, "EXCEPTIONS", without)
        assert {gap.place for gap in check_policies(connection)} == {"assurance.evidence"}
        monkeypatch.setattr(policy_check, "EXCEPTIONS", (*EXCEPTIONS, idle))
        (gap,) = check_policies(connection)
    assert (gap.place, "covers nothing any more" in gap.fault) == (idle.place, True)


@pytest.mark.proves("2.4.5")
def test_every_exception_has_a_reason_and_a_reviewer_and_is_there_once() -> None:
    assert all(len(each.reason) > 10 and each.reviewer for each in EXCEPTIONS)
    assert len({(each.place, each.fault) for each in EXCEPTIONS}) == len(EXCEPTIONS)


@pytest.mark.proves("7.2.3")
def test_the_declared_grants_are_sorted_and_no_schema_is_opened_for_nothing() -> None:
    for role, rights in (*DECLARED.items(), ("operalta_definer", DEFINER_RIGHTS)):
        names = [rights.schemas.split(), list(rights.tables), rights.sequences.split(), list(rights.functions)]
        names += [functions.split() for functions in rights.functions.values()]
        assert all(each == sorted(set(each)) for each in names), role
        used = {name.partition(".")[0] for name in (*rights.tables, *rights.sequences.split())} | set(rights.functions)
        assert used <= set(rights.schemas.split()) <= set(SCHEMAS), role
        if role != "operalta_definer":
            assert used == set(rights.schemas.split()), role
    assert set(DECLARED) == {role.value for role in DatabaseRole} - {DatabaseRole.OWNER.value}


@pytest.mark.proves("2.5.1")
def test_the_database_holds_the_role_templates_of_the_code(servers: Servers) -> None:
    with servers.as_owner() as owner:
        rows = owner.execute("SELECT company_kind, role, permission FROM access.role_permissions").fetchall()
    assert sorted((row["company_kind"], row["role"], row["permission"]) for row in rows) == rules.table()


def test_migrating_again_changes_nothing_and_finds_no_gap(servers: Servers) -> None:
    settings = servers.settings
    passwords = database_passwords(settings)
    assert migrate(settings.database_dsn(DatabaseRole.OWNER), passwords) == head()


def test_the_command_ends_with_codes_to_rely_on(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(application, ["policy-check", *arguments])
        return result.exit_code, result.stdout

    monkeypatch.setenv("OPERALTA_VAR_DIR", str(servers.settings.var_dir))
    assert run() == (0, "Nothing was found: no table, function, grant or route is open.\n")
    assert run("--json") == (0, "[]\n")
    with servers.as_owner() as owner:
        owner.execute("CREATE VIEW workspace.everything AS SELECT * FROM workspace.records")
        try:
            code, told = run()
            assert (code, "workspace.everything" in told, told.endswith("1 finding.\n")) == (3, True, True)
            code, told = run("--json")
            (gap,) = json.loads(told)
            assert (code, set(gap)) == (3, {"place", "fault", "mend"})
        finally:
            owner.execute("DROP VIEW workspace.everything")
    monkeypatch.setenv("OPERALTA_VAR_DIR", str(servers.settings.var_dir / "nothing"))
    assert run()[0] == 4


def test_the_command_finds_a_route_that_declares_nothing(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    gap = policy_check.Gap("GET /c/{company}/forgotten", "nothing is declared", "declare it")
    monkeypatch.setenv("OPERALTA_VAR_DIR", str(servers.settings.var_dir))
    monkeypatch.setattr("operalta.web.declarations.check_routes", lambda: [gap])
    result = CliRunner().invoke(application, ["policy-check", "--json"])
    assert (result.exit_code, [each["place"] for each in json.loads(result.stdout)]) == (3, [gap.place])
