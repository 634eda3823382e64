"""The way to a provider and back: who may walk it, what of it is believed, and what of it can be seen."""

import json
from dataclasses import replace
from typing import Any

import pytest
import structlog

from operalta.db.errors import NoSuchCompany
from operalta.identity.errors import NotProved
from operalta.kernel.errors import InvalidInput, NotAllowed, Refusal
from operalta.vault.oauth import registrations
from operalta.vault.oauth.client import OAuthClient
from operalta.vault.oauth.errors import (
    AnswerUnusable,
    ClientExists,
    ConnectingFailed,
    ConsentRefused,
    NoSuchClient,
    NoSuchConnection,
    ProviderAway,
    ProviderRefused,
    ProviderUnusable,
    WrongIssuer,
)
from operalta.vault.oauth.providers import providers
from operalta.vault.oauth.registrations import list_clients
from operalta.vault.oauth.service import get_connection, list_connections
from operalta.vault.oauth.wire import Tokens
from tests.conftest import World
from tests.vault.authorization_server import CLIENT_ID, CLIENT_SECRET, Fault
from tests.vault.desk import Desk


@pytest.mark.proves("1.3.1", "7.2.2")
async def test_a_connection_is_made_with_pkce_state_and_the_exact_address(desk: Desk) -> None:
    client = await desk.register()
    url = await desk.begin(client, "read", "write")
    for piece in ("code_challenge_method=S256", "state=", "response_type=code", "scope=read+write"):
        assert piece in url
    connection = await desk.come_back(desk.consent(url))
    async with desk.open() as scope:
        found = await get_connection(scope, connection)
    assert (found.asked_scopes, found.granted_scopes) == (("read", "write"), ("read", "write"))
    assert (found.is_own, found.status, found.missing_scopes) == (True, "active", ())
    token = await desk.token(connection)
    assert desk.server.is_alive(token)


@pytest.mark.proves("1.3.2")
async def test_no_table_log_or_representation_holds_a_token_or_a_secret(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with structlog.testing.capture_logs() as logged:
        connection = await desk.connect()
        token = await desk.token(connection)
    async with desk.open() as scope:
        shown = repr((await list_connections(scope), await list_clients(scope)))
    rows = "".join(
        json.dumps(desk.box.rows(query), default=str)
        for query in (
            "SELECT * FROM credentials.connections",
            "SELECT * FROM credentials.oauth_clients",
            "SELECT * FROM credentials.oauth_states",
            "SELECT * FROM sandbox.egress_log",
            "SELECT * FROM audit.events",
        )
    )
    everything = shown + rows + repr(logged) + "".join(capsys.readouterr())
    (grant,) = desk.server.grants
    for secret in (token, grant.refresh, CLIENT_SECRET):
        assert secret not in everything
    sealed = desk.box.rows("SELECT sealed FROM credentials.secrets")
    assert all(secret.encode() not in bytes(row["sealed"]) for row in sealed for secret in (token, CLIENT_SECRET))
    lines = desk.box.rows(
        "SELECT destination, purpose FROM sandbox.egress_log WHERE company_id = %s", desk.member.company_id
    )
    assert {line["purpose"] for line in lines} == {"read a provider's metadata", "exchange a code for tokens"}
    assert {line["destination"] for line in lines} == {desk.server.issuer}


@pytest.mark.proves("1.3.1")
async def test_a_callback_in_another_session_or_of_another_person_changes_nothing(desk: Desk, world: World) -> None:
    client = await desk.register()
    callback = desk.consent(await desk.begin(client))
    colleague = world.member((desk.member.company_id, desk.member.company_slug))
    elsewhere = replace(desk.member, session_secret=world.session(desk.member.person_id))
    stranger = world.member(world.company())
    for other in (colleague, elsewhere, stranger):
        with pytest.raises(ConnectingFailed):
            await desk.come_back(callback, other)
    assert desk.box.rows("SELECT used_at FROM credentials.oauth_states WHERE oauth_client_id = %s", client) == [
        {"used_at": None}
    ]
    # Nothing was spent on them.
    assert await desk.come_back(callback)


@pytest.mark.proves("1.3.1")
async def test_a_state_is_used_once_and_holds_ten_minutes(desk: Desk) -> None:
    client = await desk.register()
    callback = desk.consent(await desk.begin(client))
    await desk.come_back(callback)
    with pytest.raises(ConnectingFailed):
        await desk.come_back(callback)
    # Used is used, even where nothing came of it.
    spent = desk.consent(await desk.begin(client))
    desk.server.fault = Fault.BROKEN
    with pytest.raises(ProviderAway):
        await desk.come_back(spent)
    desk.server.fault = None
    with pytest.raises(ConnectingFailed):
        await desk.come_back(spent)
    late = desk.consent(await desk.begin(client))
    desk.box.change(
        "UPDATE credentials.oauth_states SET expires_at = now() - interval '1 second' WHERE used_at IS NULL"
    )
    with pytest.raises(ConnectingFailed):
        await desk.come_back(late)
    for state in (None, "", "made up", "ä" * 20, "x" * 5000):
        with pytest.raises(ConnectingFailed):
            await desk.come_back(replace(callback, state=state))


@pytest.mark.proves("1.3.1", "7.2.2")
@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"issuer": "https://other.example"}, WrongIssuer),
        ({"issuer": None}, WrongIssuer),
        ({"error": "access_denied", "code": None}, ConsentRefused),
        ({"code": None}, ConsentRefused),
        ({"code": "x" * 5000}, ConsentRefused),
        ({"code": "made up"}, ProviderRefused),
    ],
)
async def test_what_a_callback_says_is_not_simply_believed(
    desk: Desk, change: dict[str, str | None], refusal: type[Refusal]
) -> None:
    client = await desk.register()
    callback = replace(desk.consent(await desk.begin(client)), **change)
    with pytest.raises(refusal):
        await desk.come_back(callback)
    assert desk.box.rows("SELECT 1 FROM credentials.connections WHERE oauth_client_id = %s", client) == []


@pytest.mark.proves("7.2.2")
async def test_a_code_of_another_consent_does_not_go_with_this_verifier(desk: Desk) -> None:
    client = await desk.register()
    first, second = desk.consent(await desk.begin(client)), desk.consent(await desk.begin(client))
    with pytest.raises(ProviderRefused):
        await desk.come_back(replace(first, code=second.code))


UNUSABLE: dict[Fault, type[Refusal]] = {
    Fault.NO_TYPE: AnswerUnusable,
    Fault.OTHER_TYPE: AnswerUnusable,
    Fault.HUGE: AnswerUnusable,
    Fault.REDIRECT: AnswerUnusable,
    Fault.HTML: AnswerUnusable,
    Fault.WRONG_TYPE: AnswerUnusable,
    Fault.NOT_JSON: AnswerUnusable,
    Fault.A_LIST: AnswerUnusable,
    Fault.DEEP: AnswerUnusable,
    Fault.CONTROL: AnswerUnusable,
    Fault.NO_TOKEN: AnswerUnusable,
    Fault.LEAKING: ProviderRefused,
    Fault.BROKEN: ProviderAway,
    Fault.BUSY: ProviderAway,
    Fault.HANG_UP: ProviderAway,
    Fault.LOST: ProviderAway,
    Fault.SLOW: ProviderAway,
}


@pytest.mark.proves("7.2.2", "1.3.2")
@pytest.mark.parametrize("fault", UNUSABLE)
async def test_an_answer_that_no_client_should_use_makes_no_connection(
    desk: Desk, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    from operalta.vault.oauth import client as asking

    monkeypatch.setattr(asking, "PROVIDERS", replace(asking.PROVIDERS, seconds=2.0))
    client = await desk.register()
    callback = desk.consent(await desk.begin(client))
    desk.server.fault = fault
    with pytest.raises(UNUSABLE[fault]) as refused:
        await desk.come_back(callback)
    assert CLIENT_SECRET not in repr(refused.value) + refused.value.public_text
    assert not any(path == "/elsewhere" for _, path, _ in desk.server.asked)
    rows = desk.box.rows("SELECT 1 FROM credentials.secrets WHERE company_id = %s", desk.member.company_id)
    assert len(rows) == 1  # the client's own


@pytest.mark.parametrize(
    ("fault", "least", "most"),
    [
        (Fault.NEGATIVE, 200, 301),
        (Fault.NONSENSE, 200, 301),
        (Fault.TEXT, 3000, 3601),
        (Fault.ENDLESS, 399 * 86400, 400 * 86400 + 1),
    ],
)
async def test_a_lifetime_that_says_nothing_costs_no_token(desk: Desk, fault: Fault, least: int, most: int) -> None:
    desk.server.fault = fault
    connection = await desk.connect()
    (row,) = desk.box.rows(
        "SELECT extract(epoch FROM expires_at - now())::bigint AS left FROM credentials.connections WHERE id = %s",
        connection,
    )
    assert least <= row["left"] <= most


@pytest.mark.parametrize(
    ("fault", "missing", "further"), [(Fault.FEWER, ("write",), ()), (Fault.MORE, (), ("admin", "everything"))]
)
async def test_what_was_granted_is_told_apart_from_what_was_asked(
    desk: Desk, fault: Fault, missing: tuple[str, ...], further: tuple[str, ...]
) -> None:
    desk.server.fault = fault
    connection = await desk.connect()
    async with desk.open() as scope:
        found = await get_connection(scope, connection)
    assert (found.missing_scopes, found.further_scopes) == (missing, further)


@pytest.mark.proves("7.2.2")
@pytest.mark.parametrize("name", providers())
async def test_each_provider_is_spoken_to_in_its_own_way(
    desk: Desk, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.server.dialect = name
    here = desk.server.provider(name)
    monkeypatch.setattr(registrations, "providers", lambda: {name: here})
    client = await desk.register(name)
    wanted = tuple(here.scopes)[:2]
    connection = await desk.come_back(desk.consent(await desk.begin(client, *wanted)))
    async with desk.open() as scope:
        found = await get_connection(scope, connection)
    assert found.granted_scopes == wanted
    assert desk.server.is_alive(await desk.token(connection))
    if here.account:
        assert found.account
    if desk.row(connection)["expires_at"] is not None:
        desk.let_expire(connection)
        assert desk.server.is_alive(await desk.token(connection))
        assert desk.server.refreshes == 1
        # A refresh token that is dead is known as such, however the provider says it.
        desk.server.grants[0].is_dead = True
        desk.let_expire(connection)
        with pytest.raises(Refusal):
            await desk.token(connection)
        assert desk.row(connection)["status"] == "broken"


@pytest.mark.proves("1.3.1", "5.5.3")
async def test_registering_asks_for_the_permission_and_a_recent_proof(desk: Desk, world: World) -> None:
    advisor = world.member((desk.member.company_id, desk.member.company_slug), "advisor")
    desk.prove(advisor)
    with pytest.raises(NotAllowed):
        await desk.as_member(advisor).register()
    desk.prove(minutes_ago=11)
    with pytest.raises(NotProved):
        await desk.register()
    assert desk.server.asked == []
    desk.prove()
    client = await desk.register()
    with pytest.raises(ClientExists):
        await desk.register()
    desk.prove(minutes_ago=11)
    async with desk.open() as scope:
        with pytest.raises(NotProved):
            await desk.registrations.remove(scope, client)
    with pytest.raises(NotProved):
        await desk.begin(client)


@pytest.mark.proves("1.3.1", "5.5.3")
async def test_nothing_is_there_to_connect_before_the_company_registers_and_everything_ends_with_it(desk: Desk) -> None:
    async with desk.open() as scope:
        assert await list_clients(scope) == ()
    connection = await desk.connect()
    async with desk.open() as scope:
        (client,) = await list_clients(scope)
        await desk.registrations.remove(scope, client.id)
    with pytest.raises(NoSuchConnection):
        await desk.token(connection)
    with pytest.raises(NoSuchClient):
        await desk.begin(client.id)


@pytest.mark.proves("1.3.1")
async def test_an_account_belongs_to_a_person_and_to_one_company(desk: Desk, world: World) -> None:
    connection = await desk.connect()
    colleague = world.member((desk.member.company_id, desk.member.company_slug))
    stranger = world.member(world.company())
    for other in (colleague, stranger):
        with pytest.raises(NoSuchConnection):
            await desk.as_member(other).token(connection)
    async with desk.as_member(stranger).open() as scope:
        assert await list_connections(scope) == ()
    async with desk.as_member(colleague).open() as scope:
        (seen,) = await list_connections(scope)
        assert not seen.is_own
    observer = world.member((desk.member.company_id, desk.member.company_slug), "observer")
    async with desk.as_member(observer).open() as scope:
        with pytest.raises(NotAllowed):
            await list_connections(scope)


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://elsewhere.example"},
        {"code_challenge_methods_supported": ["plain"]},
        {"code_challenge_methods_supported": None},
        {"response_types_supported": ["token"]},
        {"token_endpoint": "https://elsewhere.example/token"},
        {"token_endpoint": "http://127.0.0.1:1/token"},
        {"token_endpoint": "javascript:alert(1)"},
        {"token_endpoint_auth_methods_supported": ["private_key_jwt"]},
        {"scopes_supported": ["a b"]},
    ],
)
async def test_an_issuer_is_believed_about_itself_alone(desk: Desk, changes: dict[str, object]) -> None:
    desk.server.metadata_changes = changes
    with pytest.raises(ProviderUnusable):
        await desk.register()


@pytest.mark.parametrize(
    "issuer",
    [
        "http://127.0.0.1:1", "https://localhost", "https://10.0.0.1", "https://169.254.169.254", "file:///etc/passwd",
        "https://a:b@issuer.example", "https://issuer.example/?a=b", "not an address", "",
    ],
)  # fmt: skip
async def test_an_issuer_is_a_destination_like_every_other(desk: Desk, issuer: str) -> None:
    with pytest.raises((ProviderUnusable, ProviderAway)):
        await desk.registrations.register(desk.open, "generic", CLIENT_ID, CLIENT_SECRET, issuer)
    assert desk.server.asked == []


@pytest.mark.parametrize(
    "told",
    [("nobody", CLIENT_ID, CLIENT_SECRET), ("github", "", "x"), ("github", "a b", "x"), ("github", "a", "x\n\ny")],
)
async def test_a_registration_that_cannot_be_is_refused_without_repeating_it(
    desk: Desk, told: tuple[str, str, str]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await desk.registrations.register(desk.open, *told)
    assert told[2] not in refused.value.public_text or len(told[2]) == 1


async def test_a_secret_is_replaced_and_connections_go_on(desk: Desk) -> None:
    connection = await desk.connect()
    async with desk.open() as scope:
        (client,) = await list_clients(scope)
        await desk.registrations.change(scope, client.id, CLIENT_ID, "another-secret")
    desk.let_expire(connection)
    with pytest.raises(ProviderAway):  # the provider refuses the registration, which is not the connection's fault
        await desk.token(connection)
    assert desk.row(connection)["status"] == "active"
    assert "registration" in str(desk.row(connection)["failure"])


async def test_connecting_anew_takes_the_place_of_what_was_there(desk: Desk) -> None:
    client = await desk.register()
    connection = await desk.connect(client)
    before = await desk.token(connection)
    again = await desk.come_back(desk.consent(await desk.begin(client, "read", again=connection)))
    assert again == connection
    assert await desk.token(connection) != before
    kept = desk.box.rows("SELECT 1 FROM credentials.secrets WHERE belongs_to = %s", connection)
    assert len(kept) == 2


async def test_scopes_are_chosen_among_those_that_are_known(desk: Desk) -> None:
    client = await desk.register()
    with pytest.raises(InvalidInput):
        await desk.begin(client, "everything")


async def test_a_member_who_left_cannot_come_back_with_a_callback(desk: Desk) -> None:
    client = await desk.register()
    callback = desk.consent(await desk.begin(client))
    desk.box.change("UPDATE tenancy.memberships SET ended_at = now() WHERE person_id = %s", desk.member.person_id)
    with pytest.raises((ConnectingFailed, NoSuchCompany)):
        await desk.come_back(callback)


@pytest.mark.proves("1.3.4")
async def test_tokens_that_come_too_late_to_be_kept_are_ended_and_what_was_asked_stays_in_the_log(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = desk.consent(await desk.begin(await desk.register(), "read"))
    exchange, came = OAuthClient.exchange, list[Tokens]()

    async def slow_exchange(self: OAuthClient, *arguments: Any, **named: Any) -> Tokens:  # noqa: ANN401 - handed on
        came.append(await exchange(self, *arguments, **named))
        desk.box.change("DELETE FROM credentials.oauth_states WHERE person_id = %s", desk.member.person_id)
        return came[0]

    monkeypatch.setattr(OAuthClient, "exchange", slow_exchange)
    with pytest.raises(ConnectingFailed):
        await desk.come_back(callback)
    assert not desk.server.is_alive(came[0].access_token)
    kept = desk.box.rows("SELECT purpose FROM sandbox.egress_log WHERE company_id = %s", desk.member.company_id)
    assert {"exchange a code for tokens", "revoke a connection"} <= {row["purpose"] for row in kept}
    assert desk.box.rows("SELECT id FROM credentials.connections WHERE person_id = %s", desk.member.person_id) == []
