"""API keys at the operator's hands: looked up and ended, with a reason that stays in the company's log."""

import json
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner

from operalta.cli import application
from operalta.db.errors import KeyRefused
from operalta.db.scope import Origin, open_company_scope, open_key_scope
from operalta.operations.api_keys import find_keys, revoke_key
from operalta.operations.support import CannotHelp
from operalta.vault.api_keys.rules import KeyKind, ShownOnce
from operalta.vault.api_keys.service import make_key
from tests.conftest import Member, Pools, Servers, World


@pytest.fixture
def member(world: World) -> Member:
    return world.member(world.company())


async def made(pools: Pools, member: Member) -> ShownOnce:
    async with open_company_scope(pools.web, member.session_secret, member.company_slug, Origin()) as scope:
        return await make_key(scope, KeyKind.COMPANY, "Import", ["memory:read"])


@pytest.mark.proves("1.3.4", "2.4.4")
async def test_a_loose_key_is_found_and_ended_and_the_company_sees_why(
    servers: Servers, pools: Pools, member: Member
) -> None:
    key = await made(pools, member)
    (found,) = await find_keys(servers.settings, member.company_slug, "leaked")
    assert (found.id, found.holder, found.scopes) == (key.id, member.email, ["memory:read"])
    assert key.text not in str(found)
    await revoke_key(servers.settings, key.id, "found in a repository")
    with pytest.raises(KeyRefused):
        async with open_key_scope(pools.web, key.text, member.company_slug, Origin()):
            pass
    with pytest.raises(CannotHelp, match="No live API key"):
        await revoke_key(servers.settings, key.id, "again")
    with servers.as_owner() as owner:
        events = owner.execute(
            "SELECT action, detail ->> 'reason' AS reason FROM audit.events WHERE company_id = %s"
            " AND actor_kind = 'system' ORDER BY occurred_at",
            (member.company_id,),
        ).fetchall()
    assert [tuple(event.values()) for event in events] == [
        ("elevated.used", "leaked"),
        ("credential.revoked", "found in a repository"),
    ]


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
async def test_without_a_reason_nothing_is_told_or_done(
    servers: Servers, pools: Pools, member: Member, reason: str
) -> None:
    key = await made(pools, member)
    with pytest.raises(CannotHelp, match="reason"):
        await find_keys(servers.settings, member.company_slug, reason)
    with pytest.raises(CannotHelp, match="reason"):
        await revoke_key(servers.settings, key.id, reason)


def test_the_commands_say_what_they_did(servers: Servers, member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPERALTA_VAR_DIR", str(servers.settings.var))
    with servers.as_owner() as owner:
        row = owner.execute(
            "INSERT INTO credentials.api_keys (company_id, kind, name, scopes, holder_id, shown, created_by,"
            " expires_at) VALUES (%s, 'personal', 'Notebook', '{memory:read}', %s, 'op_abcdefghijkl', %s,"
            " now() + interval '1 day')"
            " RETURNING id",
            (member.company_id, member.person_id, member.person_id),
        ).fetchone()
    assert row is not None
    key: UUID = row["id"]
    run = CliRunner()
    listed = run.invoke(application, ["api-keys", "list", member.company_slug, "--reason", "a look", "--json"])
    assert [each["id"] for each in json.loads(listed.stdout)] == [str(key)]
    told = run.invoke(application, ["api-keys", "list", member.company_slug, "--reason", "a look"])
    assert "op_abcdefghijkl…" in told.stdout
    assert run.invoke(application, ["api-keys", "list", "nowhere", "--reason", "a look"]).exit_code == 1
    assert run.invoke(application, ["api-keys", "revoke", str(key), "--reason", "loose"]).exit_code == 0
    assert isinstance(
        run.invoke(application, ["api-keys", "revoke", str(uuid4()), "--reason", "loose"]).exception, CannotHelp
    )
