"""Who may begin, finish and refresh a connection, and how many there are: also what the database refuses by itself."""

from dataclasses import replace
from typing import LiteralString
from uuid import UUID, uuid4

import pytest

from operalta.db.scope import Origin, Row, open_person_scope
from operalta.identity.errors import NotProved
from operalta.vault.oauth import store
from operalta.vault.oauth import tokens as using
from operalta.vault.oauth.connecting import Begun, Callback
from operalta.vault.oauth.errors import ConnectingFailed, NoSuchConnection, ProviderAway, TooManyConnections
from tests.conftest import World
from tests.vault.desk import Desk

MANY: LiteralString = """
INSERT INTO credentials.connections (company_id, id, oauth_client_id, person_id)
SELECT company_id, gen_random_uuid(), id, %s FROM credentials.oauth_clients, generate_series(1, %s) WHERE id = %s
"""


async def taken(desk: Desk, callback: Callback) -> Begun:
    """Take the consent of a callback in its own person's scope."""
    async with open_person_scope(desk.pools.web, desk.member.session_secret, Origin(address="test")) as scope:
        return await desk.connecting.take(scope, callback)


async def claim(desk: Desk, connection: UUID, generation: int) -> Row | None:
    async with desk.open() as scope:
        return await store.claim_refresh(scope, connection, generation)


@pytest.mark.proves("1.3.1")
async def test_a_connection_is_begun_with_a_recent_proof_and_anew_by_its_owner_alone(desk: Desk, world: World) -> None:
    client = await desk.register()
    connection = await desk.connect(client)
    colleague = desk.as_member(world.member((desk.member.company_id, desk.member.company_slug)))
    colleague.prove()
    for again in (connection, uuid4()):
        with pytest.raises(NoSuchConnection):
            await colleague.begin(client, again=again)
    desk.prove(minutes_ago=11)
    for again in (None, connection):
        with pytest.raises(NotProved):
            await desk.begin(client, again=again)


async def test_somebody_has_fifty_connections_at_most(desk: Desk) -> None:
    client = await desk.register()
    connection = await desk.connect(client)
    desk.box.change(MANY, desk.member.person_id, 48, client)
    await desk.begin(client)
    desk.box.change(MANY, desk.member.person_id, 1, client)
    with pytest.raises(TooManyConnections):
        await desk.begin(client)
    assert await desk.begin(client, again=connection)


async def test_the_last_five_consents_that_were_begun_hold(desk: Desk) -> None:
    client = await desk.register()
    callbacks = [desk.consent(await desk.begin(client)) for _ in range(6)]
    with pytest.raises(ConnectingFailed):
        await desk.come_back(callbacks[0])
    for callback in callbacks[1:]:
        assert await desk.come_back(callback)


@pytest.mark.proves("1.3.1")
async def test_a_consent_that_was_taken_is_finished_in_its_own_session_and_company_and_soon(
    desk: Desk, world: World
) -> None:
    client = await desk.register()
    callback = desk.consent(await desk.begin(client))
    begun = await taken(desk, callback)
    elsewhere = replace(desk.member, session_secret=world.session(desk.member.person_id))
    colleague = world.member((desk.member.company_id, desk.member.company_slug))
    stranger = world.member(world.company())
    for other in (elsewhere, colleague, stranger):
        with pytest.raises(ConnectingFailed):
            await desk.connecting.finish(desk.as_member(other).open, begun, callback)
    used = "UPDATE credentials.oauth_states SET used_at = now() - make_interval(mins => %s) WHERE oauth_client_id = %s"
    desk.box.change(used, 6, client)
    with pytest.raises(ConnectingFailed):
        await desk.connecting.finish(desk.open, begun, callback)
    assert not any(grant.access for grant in desk.server.grants)  # the provider was not even asked
    desk.box.change(used, 4, client)
    assert await desk.connecting.finish(desk.open, begun, callback)


@pytest.mark.proves("1.3.1", "1.3.4")
async def test_a_refresh_is_claimed_by_its_owner_for_what_is_there_and_by_one_alone(desk: Desk, world: World) -> None:
    connection = await desk.connect()
    made = desk.row(connection)["generation"]
    assert isinstance(made, int)
    colleague = desk.as_member(world.member((desk.member.company_id, desk.member.company_slug)))
    assert await claim(colleague, connection, made) is None
    assert await claim(desk, connection, made - 1) is None
    first = await claim(desk, connection, made)
    assert first is not None
    assert not first["interrupted"]
    assert await claim(desk, connection, made) is None
    desk.box.change("UPDATE credentials.connections SET refresh_until = now() WHERE id = %s", connection)
    second = await claim(desk, connection, made)
    assert second is not None
    assert second["interrupted"]
    assert second["claim"] != first["claim"]


@pytest.mark.proves("1.3.4")
async def test_a_claim_that_could_lapse_meanwhile_is_given_back_before_the_provider_is_asked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await desk.connect()
    desk.let_expire(connection)
    with monkeypatch.context() as patched:
        patched.setattr(using, "LONGEST_START_SECONDS", -1.0)
        with pytest.raises(ProviderAway):
            await desk.token(connection)
    assert desk.server.refreshes == 0
    row = desk.row(connection)
    assert (row["status"], row["refresh_until"]) == ("active", None)
    desk.box.change("UPDATE credentials.connections SET not_before = now() WHERE id = %s", connection)
    assert desk.server.is_alive(await desk.token(connection))
