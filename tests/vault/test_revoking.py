"""Ending connections: here at once, at the provider as soon as it answers, and for days where it does not."""

from uuid import UUID

import pytest

from operalta.kernel import clock
from operalta.kernel.ids import CompanyId
from operalta.vault.oauth import registrations
from operalta.vault.oauth.errors import NoSuchConnection
from operalta.vault.oauth.providers import providers
from operalta.vault.oauth.registrations import list_clients
from operalta.vault.oauth.revoking import MOST_ATTEMPTS
from operalta.vault.oauth.rules import Health, health_of
from operalta.vault.oauth.service import get_connection, revoke
from tests.conftest import World
from tests.vault.desk import Desk


async def end(desk: Desk, connection: UUID) -> None:
    async with desk.open() as scope:
        await revoke(scope, connection)


def kept(desk: Desk, connection: UUID) -> int:
    return len(desk.box.rows("SELECT 1 FROM credentials.secrets WHERE belongs_to = %s", connection))


def actions(desk: Desk, connection: UUID) -> list[str]:
    rows = desk.box.rows(
        "SELECT action FROM audit.events WHERE target_id = %s ORDER BY occurred_at, id", str(connection)
    )
    return [row["action"] for row in rows]


@pytest.mark.proves("1.3.4")
async def test_a_revoked_connection_is_dead_here_at_once_and_then_at_the_provider(desk: Desk) -> None:
    connection = await desk.connect()
    token = await desk.token(connection)
    await end(desk, connection)
    with pytest.raises(NoSuchConnection):
        await desk.token(connection)
    assert desk.server.is_alive(token)
    assert await desk.revoker.tell_one()
    assert not desk.server.is_alive(token)
    assert kept(desk, connection) == 0
    assert actions(desk, connection) == ["connection.made", "connection.revoked", "connection.ended_at_provider"]
    assert not await desk.revoker.tell_one()
    with pytest.raises(NoSuchConnection):
        await end(desk, connection)


@pytest.mark.proves("1.3.4")
async def test_a_provider_that_does_not_answer_is_told_later_and_given_up_in_the_end(desk: Desk) -> None:
    connection = await desk.connect()
    await end(desk, connection)
    desk.server.revocation_status = 503
    for attempt in range(1, MOST_ATTEMPTS + 1):
        assert await desk.revoker.tell_one()
        if attempt < MOST_ATTEMPTS:
            assert kept(desk, connection) == 2
            assert not await desk.revoker.tell_one()  # not before its time
            desk.box.change("UPDATE credentials.oauth_revocations SET next_at = now()")
    assert kept(desk, connection) == 0
    assert desk.row(connection)["at_provider"] == "given up"
    async with desk.open() as scope:
        word, text = health_of(await get_connection(scope, connection), clock.now())
    assert (word, "own settings" in text) == (Health.REVOKED, True)


@pytest.mark.proves("1.3.4")
async def test_a_provider_that_comes_back_hears_of_it(desk: Desk) -> None:
    connection = await desk.connect()
    await end(desk, connection)
    desk.server.revocation_status = 500
    await desk.revoker.tell_one()
    desk.server.revocation_status = None
    desk.box.change("UPDATE credentials.oauth_revocations SET next_at = now()")
    await desk.revoker.tell_one()
    assert desk.server.grants[0].is_dead
    assert desk.row(connection)["at_provider"] == "revoked"


@pytest.mark.proves("1.3.4")
@pytest.mark.parametrize("name", providers())
async def test_each_provider_is_told_in_its_own_way(desk: Desk, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.server.dialect = name
    here = desk.server.provider(name)
    monkeypatch.setattr(registrations, "providers", lambda: {name: here})
    client = await desk.register(name)
    connection = await desk.come_back(desk.consent(await desk.begin(client)))
    token = await desk.token(connection)
    await end(desk, connection)
    assert await desk.revoker.tell_one()
    assert not desk.server.is_alive(token)
    assert desk.row(connection)["at_provider"] == "revoked"
    lines = desk.box.rows("SELECT destination FROM sandbox.egress_log WHERE company_id = %s", desk.member.company_id)
    (grant,) = desk.server.grants
    assert all(grant.refresh not in line["destination"] and token not in line["destination"] for line in lines)


async def test_a_provider_without_a_way_to_be_told_is_said_to_have_none(desk: Desk) -> None:
    desk.server.metadata_changes = {"revocation_endpoint": None}
    connection = await desk.connect()
    await end(desk, connection)
    await desk.revoker.tell_one()
    assert (desk.row(connection)["at_provider"], kept(desk, connection)) == ("not offered", 0)


@pytest.mark.proves("1.3.4")
async def test_the_secret_of_a_removed_registration_goes_once_everybody_is_told(desk: Desk) -> None:
    connection = await desk.connect()
    async with desk.open() as scope:
        (client,) = await list_clients(scope)
        await desk.registrations.remove(scope, client.id)
    assert kept(desk, client.id) == 1
    assert await desk.revoker.tell_one()
    assert desk.server.grants[0].is_dead
    assert (kept(desk, client.id), kept(desk, connection)) == (0, 0)


async def test_what_cannot_be_opened_any_more_is_given_up(desk: Desk) -> None:
    connection = await desk.connect()
    await end(desk, connection)
    desk.box.keys.drop(CompanyId(desk.member.company_id))
    assert await desk.revoker.tell_one()
    desk.box.change("UPDATE credentials.oauth_revocations SET next_at = now()")
    assert await desk.revoker.tell_one()
    assert (desk.row(connection)["at_provider"], kept(desk, connection)) == ("given up", 0)


@pytest.mark.proves("1.3.1", "1.3.4")
async def test_who_manages_integrations_ends_everybodys_and_nobody_else_does(desk: Desk, world: World) -> None:
    connection = await desk.connect()
    company = (desk.member.company_id, desk.member.company_slug)
    advisor, colleague = world.member(company, "advisor"), world.member(company)
    with pytest.raises(NoSuchConnection):
        await end(desk.as_member(advisor), connection)
    with pytest.raises(NoSuchConnection):
        await end(desk.as_member(world.member(world.company())), connection)
    assert await desk.token(connection)
    await end(desk.as_member(colleague), connection)
    assert desk.row(connection)["status"] == "revoked"


@pytest.mark.proves("1.3.1")
async def test_consents_that_were_never_given_are_forgotten(desk: Desk) -> None:
    client = await desk.register()
    for _ in range(8):
        await desk.begin(client)
    states = "SELECT 1 FROM credentials.oauth_states WHERE oauth_client_id = %s"
    assert len(desk.box.rows(states, client)) == 5
    desk.box.change("UPDATE credentials.oauth_states SET expires_at = now() - interval '2 days'")
    from operalta.db.elevated import Purpose, open_elevated
    from operalta.vault.oauth import store

    async with open_elevated(desk.pools.job, Purpose.FORGET_EXPIRED) as elevated:
        await store.forget_states(elevated.connection)
    assert desk.box.rows(states, client) == []
