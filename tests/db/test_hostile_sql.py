"""What arbitrary SQL as a serving role cannot do: read or change rows outside its scope, keep or leave anything."""

from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg import AsyncConnection

from operalta.db.pools import Pool
from operalta.db.scope import Origin, Scope, open_company_scope
from operalta.settings import DatabaseRole
from tests.conftest import Pools, Servers, World

REFUSED: tuple[LiteralString, ...] = (
    "CREATE TEMPORARY TABLE mine (x int)",
    "CREATE TABLE workspace.mine (x int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION workspace.leak(text) RETURNS bool LANGUAGE sql AS 'SELECT true'",
    "SET ROLE operalta_owner",
    "SET ROLE operalta_definer",
    "SET ROLE operalta_worker",
    "SET SESSION AUTHORIZATION operalta_owner",
    "GRANT SELECT ON identity.passwords TO PUBLIC",
    "ALTER TABLE workspace.records DISABLE ROW LEVEL SECURITY",
    "ALTER ROLE operalta_web SUPERUSER",
    "ALTER ROLE operalta_web BYPASSRLS",
    "COPY workspace.records TO PROGRAM 'cat'",
    "COPY workspace.records FROM '/etc/passwd'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT * FROM pg_catalog.pg_authid",
    "SELECT * FROM jobs.procrastinate_jobs",
    "SELECT jobs.defer_task('run_agent', gen_random_uuid())",
    "SELECT audit.append_as(NULL, 'system', NULL, NULL, 'x', 'x', 'x', 'succeeded', NULL, NULL, '{}')",
    "SELECT delivery.enqueue('verify_address', 'x@x.example', '', NULL, NULL, NULL, NULL, '{}')",
    "SELECT elevated.unsealed_events(10)",
    "SELECT agents.claim_run(gen_random_uuid())",
    "SELECT scope.open_run_scope(gen_random_uuid(), 'x')",
    "DELETE FROM audit.events",
    "UPDATE audit.leaves SET leaf_index = 0",
    "DELETE FROM agents.run_events",
    "INSERT INTO tenancy.memberships (company_id, person_id, role) SELECT id, id, 'founder' FROM tenancy.companies",
    "UPDATE agents.approvals SET arguments = '{}'",
    "UPDATE identity.sessions SET ended_at = NULL",
    "UPDATE identity.people SET is_operator = true",
    "SET session_replication_role = replica",
    "SET row_security_active = off",
)


@pytest.mark.proves("2.4.2", "7.2.3")
@pytest.mark.parametrize("attempt", REFUSED)
async def test_the_database_refuses(pools: Pools, world: World, attempt: LiteralString) -> None:
    company = world.company()
    member = world.member(company)
    with pytest.raises(psycopg.Error) as refused:
        async with open_company_scope(pools.web, member.session_secret, company[1], Origin()) as scope:
            await scope.execute(attempt)
    assert refused.value.sqlstate in {"42501", "42704", "0A000"}, refused.value


FOREIGN: tuple[LiteralString, ...] = (
    "SELECT delivery.send_invitation(%(foreign)s) AS done",
    "SELECT agents.start_run(gen_random_uuid(), %(foreign)s, %(foreign)s, 'built-in') AS done",
    "SELECT agents.resume_run(%(foreign)s) AS done",
    "SELECT identity.end_sessions(%(foreign)s) > 0 AS done",
    "SELECT scope.is_company_member_with_role(%(company)s, ARRAY['founder', 'observer']) AS done",
    "SELECT EXISTS (SELECT FROM workspace.search_records('secret', NULL, 100)) AS done",
    "SELECT EXISTS (SELECT FROM workspace.search_passages('secret', 100)) AS done",
    "SELECT EXISTS (SELECT FROM workspace.search_artifacts('secret', 100)) AS done",
    "SELECT workspace.open_artifact(%(foreign)s) AS done",
    "SELECT EXISTS (SELECT FROM tenancy.my_companies() WHERE id = %(company)s) AS done",
)


@pytest.mark.proves("2.4.2")
@pytest.mark.parametrize("call", FOREIGN)
async def test_functions_do_nothing_for_another_companys_ids(
    pools: Pools, world: World, servers: Servers, call: LiteralString
) -> None:
    own, other = world.company(), world.company()
    member, stranger = world.member(own), world.member(other)
    record = uuid4()
    with servers.as_owner() as owner:
        owner.execute(
            "INSERT INTO workspace.records (company_id, id, kind, title, status, owner_id, recorded_by)"
            " VALUES (%s, %s, 'decision', 'secret plan', 'decided', %s, %s)",
            (other[0], record, stranger.person_id, stranger.person_id),
        )
        session = owner.execute(
            "SELECT id FROM identity.sessions WHERE person_id = %s", (stranger.person_id,)
        ).fetchone()
        invitation = owner.execute(
            "INSERT INTO tenancy.invitations (company_id, email, email_key, role, invited_by)"
            " VALUES (%s, 'x@x.example', 'x@x.example', 'observer', %s) RETURNING id",
            (other[0], stranger.person_id),
        ).fetchone()
    assert session is not None
    assert invitation is not None
    foreign = session["id"] if "sessions" in call else invitation["id"] if "invitation" in call else record
    async with open_company_scope(pools.web, member.session_secret, own[1], Origin()) as scope:
        row = await scope.one(call, {"foreign": foreign, "company": other[0]})
        assert row is not None
        assert row["done"] is False


async def test_debug_settings_do_not_print_the_key(pools: Pools, world: World, servers: Servers) -> None:
    company = world.company()
    member = world.member(company)
    printed: list[str] = []
    with servers.as_owner() as owner:
        key = owner.execute(
            "SELECT encode(inner_pad, 'hex') AS inner, encode(outer_pad, 'hex') AS outer FROM scope.key"
        ).fetchone()
    assert key is not None
    async with open_company_scope(pools.web, member.session_secret, company[1], Origin()) as scope:
        scope.connection.add_notice_handler(
            lambda notice: printed.append(str(notice.message_primary) + str(notice.message_detail))
        )
        for setting in ("debug_print_plan", "debug_print_parse", "debug_print_rewritten"):
            await scope.execute("SELECT set_config(%(name)s, 'on', true)", {"name": setting})
        await scope.execute("SELECT set_config('client_min_messages', 'log', true)")
        await scope.all("SELECT scope.scope_company(), scope.may('memory:read')")
    text = "\n".join(printed)
    assert text, "the settings were in force for the caller's own statement"
    assert key["inner"][:32] not in text
    assert key["outer"][:32] not in text
    assert "inner_pad" not in text


async def test_a_connection_goes_back_clean(servers: Servers) -> None:
    pool = Pool(DatabaseRole.WEB, servers.settings.database_dsn(DatabaseRole.WEB), 1)
    await pool.open()
    try:
        async with pool.acquire() as connection:
            backend = connection.info.backend_pid
            await connection.execute("PREPARE left_behind AS SELECT * FROM workspace.records")
            await connection.execute("SET statement_timeout = 0")
            await connection.execute("SET search_path = workspace")
            await connection.execute("LISTEN operalta_run_events")
            await connection.execute("SELECT pg_advisory_lock(42)")
            await connection.execute("SELECT set_config('operalta.scope', 'x', false)")
            await connection.commit()
        async with pool.acquire() as connection:
            assert connection.info.backend_pid == backend
            left = await _left(connection)
    finally:
        await pool.close()
    assert left == {"prepared": 0, "locks": 0, "channels": 0, "path": "pg_catalog", "timeout": "15s", "scope": ""}


async def test_settings_stored_for_the_role_do_not_reach_a_connection(servers: Servers) -> None:
    dsn = servers.settings.database_dsn(DatabaseRole.WEB)
    with psycopg.connect(dsn, autocommit=True) as attacker:
        attacker.execute("ALTER ROLE operalta_web SET search_path = workspace")
        attacker.execute("ALTER ROLE operalta_web SET statement_timeout = 1")
    try:
        pool = Pool(DatabaseRole.WEB, dsn, 1)
        await pool.open()
        async with pool.acquire() as connection:
            left = await _left(connection)
        await pool.close()
    finally:
        with psycopg.connect(dsn, autocommit=True) as attacker:
            attacker.execute("ALTER ROLE operalta_web RESET ALL")
    assert left["path"] == "pg_catalog"
    assert left["timeout"] == "15s"


async def test_a_person_cannot_raise_their_own_role_by_sql(pools: Pools, world: World, servers: Servers) -> None:
    company = world.company()
    for role in ("observer", "advisor", "investor", "founder"):
        member = world.member(company, role)
        async with open_company_scope(pools.web, member.session_secret, company[1], Origin()) as scope:
            changed = await _raise_own_role(scope)
        assert changed == 0
    with servers.as_owner() as owner:
        rows = owner.execute(
            "SELECT role FROM tenancy.memberships WHERE company_id = %s AND person_id = %s",
            (company[0], member.person_id),
        ).fetchall()
    assert [row["role"] for row in rows] == ["founder"]


async def _raise_own_role(scope: Scope) -> int:
    return await scope.execute(
        "UPDATE tenancy.memberships SET role = 'founder' WHERE company_id = %(company)s AND person_id = %(person)s",
        {"company": scope.company, "person": scope.actor.person_id},
    )


async def _left(connection: AsyncConnection[dict[str, object]]) -> dict[str, object]:
    cursor = await connection.execute(
        "SELECT (SELECT count(*)::int FROM pg_prepared_statements) AS prepared,"
        " (SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,"
        " (SELECT count(*)::int FROM pg_listening_channels()) AS channels, current_setting('search_path') AS path,"
        " current_setting('statement_timeout') AS timeout,"
        " coalesce(current_setting('operalta.scope', true), '') AS scope"
    )
    row = await cursor.fetchone()
    assert row is not None
    return row
