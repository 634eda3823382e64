"""Support from the command line: found, signed out, factors taken away; always with a reason, always in the log."""

import secrets
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from typer.testing import CliRunner

from operalta.cli import application
from operalta.db.errors import SessionEnded
from operalta.db.scope import Origin, open_person_scope
from operalta.operations.people import find_people, reset_factors, sign_out
from operalta.operations.support import CannotHelp
from tests.conftest import Member, Pools, Servers, World


@pytest.fixture
def member(world: World) -> Member:
    return world.member(world.company())


def enrol(owner: psycopg.Connection[dict[str, Any]], person: UUID) -> None:
    owner.execute("INSERT INTO identity.phones (person_id, number) VALUES (%s, '+41446681800')", (person,))
    owner.execute(
        "INSERT INTO identity.passkeys (person_id, name, credential_id, public_key) VALUES (%s, 'Laptop', %s, '')",
        (person, secrets.token_bytes(16)),
    )
    owner.execute(
        "INSERT INTO identity.recovery_codes (person_id, digest) VALUES (%s, %s)", (person, secrets.token_bytes(32))
    )


def events(owner: psycopg.Connection[dict[str, Any]], person: UUID) -> list[dict[str, Any]]:
    return owner.execute(
        "SELECT action, detail FROM audit.events WHERE target_id = %s ORDER BY occurred_at", (str(person),)
    ).fetchall()


async def test_people_are_found_by_a_part_of_their_address_or_their_id(servers: Servers, member: Member) -> None:
    with servers.as_owner() as owner:
        enrol(owner, member.person_id)
    for wanted in (member.email[:9].upper(), str(member.person_id)):
        (found,) = await find_people(servers.settings, wanted)
        assert (found.id, found.live_sessions, found.phones, found.passkeys) == (member.person_id, 1, 1, 1)
        assert (found.authenticators, found.recovery_codes) == (0, 1)
    with pytest.raises(CannotHelp):
        await find_people(servers.settings, " a ")
    assert await find_people(servers.settings, "%%%") == ()


async def test_signing_out_ends_every_session_at_once_and_keeps_the_reason(
    servers: Servers, pools: Pools, world: World, member: Member
) -> None:
    second = world.session(member.person_id)
    assert await sign_out(servers.settings, member.person_id, " laptop\n stolen ") == 2
    for secret in (member.session_secret, second):
        with pytest.raises(SessionEnded):
            async with open_person_scope(pools.web, secret, Origin()):
                pass
    with servers.as_owner() as owner:
        last = events(owner, member.person_id)[-1]
    assert (last["action"], last["detail"]["reason"], last["detail"]["by"]) == (
        "session.ended", "laptop stolen", "operator",
    )  # fmt: skip


async def test_resetting_takes_every_factor_away_and_tells_their_owner(servers: Servers, member: Member) -> None:
    with servers.as_owner() as owner:
        enrol(owner, member.person_id)
        assert await reset_factors(servers.settings, member.person_id, "phone lost") == 2
        (found,) = await find_people(servers.settings, str(member.person_id))
        assert (found.phones, found.passkeys, found.recovery_codes, found.live_sessions) == (0, 0, 0, 0)
        kinds = owner.execute("SELECT kind FROM delivery.messages WHERE person_id = %s", (member.person_id,)).fetchall()
        assert [row["kind"] for row in kinds] == ["factor_changed"]
        assert [event["action"] for event in events(owner, member.person_id)] == ["session.ended", "factor.removed"]


async def test_without_a_reason_or_a_person_nothing_happens(servers: Servers, member: Member) -> None:
    for reason in ("", "  ", "x" * 501):
        with pytest.raises(CannotHelp):
            await sign_out(servers.settings, member.person_id, reason)
        with pytest.raises(CannotHelp):
            await reset_factors(servers.settings, member.person_id, reason)
    with pytest.raises(CannotHelp):
        await reset_factors(servers.settings, uuid4(), "lost")
    (found,) = await find_people(servers.settings, str(member.person_id))
    assert found.live_sessions == 1


def test_the_commands_say_what_they_did_and_ask_before_they_take_factors_away(
    servers: Servers, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPERALTA_VAR_DIR", str(servers.settings.var_dir))
    with servers.as_owner() as owner:
        enrol(owner, member.person_id)
    run = CliRunner().invoke
    shown = run(application, ["people", "find", member.email])
    assert (shown.exit_code, str(member.person_id) in shown.output, "1 phones" in shown.output) == (0, True, True)
    assert run(application, ["people", "find", "nobody-has-this"]).exit_code == 1
    refused = run(application, ["people", "reset-factors", str(member.person_id), "--reason", "lost"], input="n\n")
    assert refused.exit_code == 1
    done = run(application, ["people", "reset-factors", str(member.person_id), "--reason", "lost", "--yes"])
    assert (done.exit_code, done.output) == (0, "2 second factors were taken away.\n")
    assert run(application, ["people", "sign-out", "nonsense", "--reason", "x"]).exit_code == 2
