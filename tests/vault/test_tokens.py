"""Using a connection: one refresh for everybody, no rotated token lost, and an end with the owner's membership."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from operalta.db.errors import DatabaseOutOfReach, NoSuchCompany
from operalta.db.pools import Connection, Pool
from operalta.kernel import clock
from operalta.kernel.errors import Refusal
from operalta.settings import DatabaseRole
from operalta.vault.oauth import client as asking
from operalta.vault.oauth import tokens as using
from operalta.vault.oauth.errors import ConnectionBroken, HostNotOfProvider, NoSuchConnection, ProviderAway
from operalta.vault.oauth.providers import providers
from operalta.vault.oauth.rules import Health, health_of
from operalta.vault.oauth.service import get_connection, require_own_host, revoke
from operalta.vault.oauth.wire import Unreadable
from tests.conftest import Servers, World
from tests.vault.authorization_server import Fault
from tests.vault.desk import Desk, make_tokens

CALLERS = 200
PROCESSES = 3


async def health(desk: Desk, connection: UUID) -> tuple[Health, str]:
    async with desk.open() as scope:
        return health_of(await get_connection(scope, connection), clock.now())


@pytest.mark.proves("1.3.4")
async def test_a_token_is_refreshed_within_a_minute_of_its_end_and_not_before(desk: Desk) -> None:
    connection = await desk.connect()
    first = await desk.token(connection)
    desk.let_expire(connection, 90)
    assert await desk.token(connection) == first
    desk.let_expire(connection, 30)
    second = await desk.token(connection)
    assert second != first
    assert (desk.server.refreshes, await desk.token(connection)) == (1, second)
    assert (await health(desk, connection))[0] is Health.HEALTHY
    row = desk.row(connection)
    assert row["refreshed_at"] is not None
    assert row["last_used_at"] is not None


@pytest.mark.proves("1.3.4")
async def test_two_hundred_callers_of_one_process_cause_one_refresh(desk: Desk) -> None:
    connection = await desk.connect()
    desk.let_expire(connection)
    got = await asyncio.gather(*(desk.token(connection) for _ in range(CALLERS)))
    assert len(set(got)) == 1
    assert desk.server.refreshes == 1


@pytest.mark.proves("1.3.4")
async def test_two_hundred_callers_of_several_processes_cause_one_refresh(
    desk: Desk, servers: Servers, tmp_path: Path
) -> None:
    connection = await desk.connect()
    desk.let_expire(connection)
    desk.server.hold()  # the answer waits until all have asked
    orders = {
        "keys": str(tmp_path / "company-keys"),
        "root": desk.box.root_text,
        "port": str(desk.server.port),
        "dsn": servers.settings.database_dsn(DatabaseRole.WEB),
        "session": desk.member.session_secret,
        "company": desk.member.company_slug,
        "connection": str(connection),
        "callers": str(CALLERS // PROCESSES + 1),
    }
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.vault.another_process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(PROCESSES)
    ]
    answers = [asyncio.create_task(each.communicate(json.dumps(orders).encode())) for each in started]
    await asyncio.to_thread(desk.server.reached.wait, 60)
    await asyncio.sleep(1.0)
    desk.server.held.set()
    got = [token for out, _ in await asyncio.gather(*answers) for token in json.loads(out.splitlines()[-1])]
    assert len(got) >= CALLERS
    assert len(set(got)) == 1, set(got)
    assert desk.server.is_alive(got[0])
    assert desk.server.refreshes == 1


@pytest.mark.proves("1.3.4")
async def test_a_caller_that_is_cancelled_or_whose_session_ends_loses_no_rotated_token(desk: Desk) -> None:
    connection = await desk.connect()
    desk.let_expire(connection)
    desk.server.hold()
    caller = asyncio.create_task(desk.token(connection))
    await asyncio.to_thread(desk.server.reached.wait, 30)
    caller.cancel()
    desk.box.change("UPDATE identity.sessions SET ended_at = now() WHERE person_id = %s", desk.member.person_id)
    desk.server.held.set()
    await desk.tokens.close()
    desk.box.change("UPDATE identity.sessions SET ended_at = NULL WHERE person_id = %s", desk.member.person_id)
    assert desk.server.is_alive(await desk.token(connection))
    assert desk.server.refreshes == 1
    desk.let_expire(connection)
    assert desk.server.is_alive(await desk.token(connection))  # with the refresh token that was rotated


class _Died(BaseException):
    """What the end of a process looks like from within."""


class _Flaky(Pool):
    """A pool whose database is away a few times."""

    def __init__(self, real: Pool, times: int) -> None:
        self.role = real.role
        self._real = real
        self._times = times

    @asynccontextmanager
    async def acquire(self) -> AsyncGenerator[Connection]:
        if self._times:
            self._times -= 1
            raise DatabaseOutOfReach
        async with self._real.acquire() as connection:
            yield connection


@pytest.mark.proves("1.3.4")
async def test_a_database_that_is_away_when_the_answer_comes_loses_no_rotated_token(desk: Desk) -> None:
    connection = await desk.connect()
    desk.let_expire(connection)
    tokens = make_tokens(desk.box, _Flaky(desk.pools.web, 3), desk.server)
    assert desk.server.is_alive(await tokens.token_for(desk.open, connection, "send a report"))
    assert desk.server.refreshes == 1


@pytest.mark.proves("1.3.4")
async def test_a_process_that_dies_in_between_leaves_a_connection_that_says_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await desk.connect()
    desk.let_expire(connection)

    async def die(*_: object, **__: object) -> bool:
        raise _Died  # nothing is stored, nothing given back

    with monkeypatch.context() as patched:
        patched.setattr(using.ConnectionTokens, "_end", die)
        with pytest.raises(_Died):
            await desk.token(connection)
    assert desk.server.refreshes == 1
    desk.box.change("UPDATE credentials.connections SET refresh_until = now() WHERE id = %s", connection)
    # Reuse: the provider rotates, so what was there before is dead.
    with pytest.raises(ConnectionBroken):
        await desk.token(connection)
    assert await health(desk, connection) == (Health.RECONNECT, using.INTERRUPTED)


async def test_a_provider_with_a_grace_forgives_a_process_that_died(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.server.rotates = False
    connection = await desk.connect()
    desk.let_expire(connection)

    async def die(*_: object, **__: object) -> bool:
        raise _Died

    with monkeypatch.context() as patched:
        patched.setattr(using.ConnectionTokens, "_end", die)
        with pytest.raises(_Died):
            await desk.token(connection)
    desk.box.change("UPDATE credentials.connections SET refresh_until = now() WHERE id = %s", connection)
    assert desk.server.is_alive(await desk.token(connection))


@pytest.mark.proves("1.3.4")
async def test_a_refusal_breaks_the_connection_and_what_passes_does_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PROVIDERS", replace(asking.PROVIDERS, seconds=1.5))
    connection = await desk.connect()
    for fault in (Fault.SLOW, Fault.BROKEN, Fault.HANG_UP, Fault.HTML, Fault.REDIRECT):
        desk.let_expire(connection)
        desk.server.fault = fault
        with pytest.raises(ProviderAway):
            await desk.token(connection)
        assert (await health(desk, connection))[0] is Health.FAILING
        asked = len(desk.server.asked)
        with pytest.raises(ProviderAway):  # not asked again at once
            await desk.token(connection)
        assert len(desk.server.asked) == asked
        desk.box.change("UPDATE credentials.connections SET not_before = now() WHERE id = %s", connection)
    desk.server.fault = None
    assert desk.server.is_alive(await desk.token(connection))
    assert (await health(desk, connection))[0] is Health.HEALTHY
    desk.server.grants[0].is_dead = True
    desk.let_expire(connection)
    with pytest.raises(ConnectionBroken):
        await desk.token(connection)
    assert (await health(desk, connection))[0] is Health.RECONNECT
    refreshes = desk.server.refreshes
    with pytest.raises(ConnectionBroken):
        await desk.token(connection)
    assert desk.server.refreshes == refreshes


@pytest.mark.proves("1.3.4")
@pytest.mark.parametrize("fault", [Fault.OTHER_TYPE, Fault.CONTROL])
async def test_a_refresh_token_in_an_answer_of_no_use_is_kept_all_the_same(desk: Desk, fault: Fault) -> None:
    connection = await desk.connect()
    desk.let_expire(connection)
    desk.server.fault = fault
    with pytest.raises(ProviderAway):
        await desk.token(connection)
    desk.server.fault = None
    desk.box.change("UPDATE credentials.connections SET not_before = now() WHERE id = %s", connection)
    assert desk.server.is_alive(await desk.token(connection))


async def test_a_token_that_cannot_be_refreshed_is_used_to_its_end_and_announces_it(desk: Desk) -> None:
    connection = await desk.connect()
    desk.box.change("UPDATE credentials.connections SET kept_refresh_id = NULL WHERE id = %s", connection)
    desk.let_expire(connection, 5)
    assert await desk.token(connection)
    assert (await health(desk, connection))[0] is Health.ENDING
    desk.let_expire(connection, -1)
    with pytest.raises(ConnectionBroken):
        await desk.token(connection)
    assert (await health(desk, connection))[0] is Health.RECONNECT


@pytest.mark.proves("1.3.4", "5.5.3")
@pytest.mark.parametrize("end", ["ended_at = now()", "role = 'observer'"])
async def test_nothing_works_once_its_owner_may_no_longer_work_here(desk: Desk, end: str, world: World) -> None:
    world.member((desk.member.company_id, desk.member.company_slug))
    connection = await desk.connect()
    await desk.token(connection)
    with desk.box.servers.as_owner() as owner:
        query = f"UPDATE tenancy.memberships SET {end} WHERE person_id = %s"  # noqa: S608 - one of the two above
        owner.execute(query.encode(), (desk.member.person_id,))
    with pytest.raises((NoSuchCompany, NoSuchConnection)):
        await desk.token(connection)
    row = desk.row(connection)
    assert (row["status"], row["kept_access_id"], row["kept_refresh_id"]) == ("revoked", None, None)
    while await desk.revoker.tell_one():
        pass
    assert desk.server.grants[0].is_dead
    assert desk.box.rows("SELECT 1 FROM credentials.secrets WHERE belongs_to = %s", connection) == []
    # Coming back brings nothing back.
    desk.box.change(
        "UPDATE tenancy.memberships SET ended_at = NULL, role = 'founder' WHERE person_id = %s", desk.member.person_id
    )
    with pytest.raises(NoSuchConnection):
        await desk.token(connection)


@pytest.mark.proves("1.3.4")
async def test_a_refresh_that_comes_back_after_the_revocation_brings_nothing_back(desk: Desk) -> None:
    connection = await desk.connect()
    desk.let_expire(connection)
    desk.server.hold()
    caller = asyncio.create_task(desk.token(connection))
    await asyncio.to_thread(desk.server.reached.wait, 30)
    async with desk.open() as scope:
        await revoke(scope, connection)
    desk.server.held.set()
    with pytest.raises(NoSuchConnection):
        await caller
    assert desk.row(connection)["status"] == "revoked"
    assert desk.server.grants[0].is_dead  # the fresh tokens were ended where they were made
    assert asked_after_connecting(desk) == ["refresh a connection", "revoke a connection"]


@pytest.mark.proves("7.2.2")
@pytest.mark.parametrize("fault", [None, Fault.HTML])
async def test_what_was_asked_for_a_refresh_is_in_the_log_also_when_its_person_has_left(
    desk: Desk, world: World, fault: Fault | None
) -> None:
    world.member((desk.member.company_id, desk.member.company_slug))
    connection = await desk.connect()
    desk.let_expire(connection)
    desk.server.fault = fault
    desk.server.hold()
    caller = asyncio.create_task(desk.token(connection))
    await asyncio.to_thread(desk.server.reached.wait, 30)
    desk.box.change("UPDATE tenancy.memberships SET ended_at = now() WHERE person_id = %s", desk.member.person_id)
    desk.server.held.set()
    with pytest.raises((NoSuchCompany, NoSuchConnection)):
        await caller
    assert asked_after_connecting(desk) == ["refresh a connection", "revoke a connection"][: 1 if fault else 2]
    assert desk.server.grants[0].is_dead == (fault is None)


def asked_after_connecting(desk: Desk) -> list[str]:
    """What the log of the person's company says was asked, for that person, since they connected."""
    query = "SELECT purpose FROM sandbox.egress_log WHERE company_id = %s AND person_id = %s ORDER BY at, purpose"
    found = [row["purpose"] for row in desk.box.rows(query, desk.member.company_id, desk.member.person_id)]
    return [each for each in found if each in ("refresh a connection", "revoke a connection")]


@pytest.mark.proves("1.3.1")
@pytest.mark.parametrize("role", [DatabaseRole.WEB, DatabaseRole.WORKER])
async def test_a_refresh_is_stored_for_the_holder_of_its_claim_alone(
    desk: Desk, servers: Servers, role: DatabaseRole
) -> None:
    connection = await desk.connect()
    desk.let_expire(connection)
    lines = [{"method": "POST", "destination": "x", "outcome": "200", "purpose": "refresh a connection"}]
    with psycopg.connect(servers.settings.database_dsn(role)) as anybody:
        for claim in ("", "made up", f"made up.{desk.member.person_id}.{'0' * 64}", None):
            row = anybody.execute(
                "SELECT credentials.end_refresh(%s, %s, %s, 'x', 1, NULL, 1, NULL, NULL, 'why', true, NULL, %s)",
                (desk.member.company_id, connection, claim, Jsonb(lines)),
            ).fetchone()
            assert row == (False,)
            query = "SELECT credentials.note_refresh(%s, %s, %s, %s)"
            row = anybody.execute(query, (desk.member.company_id, connection, claim, Jsonb(lines))).fetchone()
            assert row == (False,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            anybody.execute("SELECT refresh_digest FROM credentials.connections")
    assert desk.row(connection)["status"] == "active"
    assert asked_after_connecting(desk) == []


@pytest.mark.proves("7.2.2")
def test_a_token_goes_to_its_providers_own_addresses_alone() -> None:
    github = providers()["github"]
    require_own_host(github, "https://api.github.com/user")
    for url in (
        "https://github.com.evil.example/",
        "http://api.github.com/user",
        "https://api.github.com:8443/",
        "https://api.github.com@evil.example/",
        "https://evil.example/?api.github.com",
    ):
        with pytest.raises(HostNotOfProvider):
            require_own_host(github, url)


def test_an_answer_of_no_use_is_a_refusal() -> None:
    assert isinstance(Unreadable("token"), Refusal)
    assert "token" not in Unreadable("token-1").public_text.split()
