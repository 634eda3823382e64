"""Runs that an API key began: they hold no more than the key, vouch for nothing, and end with it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from operalta.agents import service
from operalta.agents.going_on import retry_run
from operalta.db.scope import Origin, Scope, open_key_scope
from operalta.kernel.errors import NotFound
from operalta.vault.api_keys import service as api_keys
from operalta.vault.api_keys.rules import KeyKind, ShownOnce
from tests.agents.conftest import Desk, Office, calling
from tests.conftest import Member

WORKING = ("agents:run", "memory:read", "memory:write", "files:read", "files:write")


async def make(desk: Desk, member: Member, *scopes: str, kind: KeyKind = KeyKind.PERSONAL) -> ShownOnce:
    async with desk.scope(member) as scope:
        return await api_keys.make_key(scope, kind, "Script", scopes or WORKING)


@asynccontextmanager
async def opened(desk: Desk, member: Member, key: ShownOnce) -> AsyncGenerator[Scope]:
    async with open_key_scope(desk.pools.web, key.text, member.company_slug, Origin(address="127.0.0.1")) as scope:
        yield scope


async def say(desk: Desk, member: Member, key: ShownOnce, text: str) -> UUID:
    async with opened(desk, member, key) as scope:
        posted = await service.post_message(scope, text, private=scope.actor.sees_private)
    await desk.work(posted.run_id)
    return posted.run_id


@pytest.mark.proves("5.1.3", "5.3.3", "1.3.1")
@pytest.mark.parametrize("kind", KeyKind)
async def test_what_a_key_says_vouches_for_nothing(desk: Desk, office: Office, kind: KeyKind) -> None:
    key = await make(desk, office.founder, kind=kind)
    run = await say(desk, office.founder, key, "/decide Yearly billing | Fewer invoices.")
    assert desk.status(run) == "waiting_for_approval"
    assert desk.records(office.founder) == []
    own = await desk.say(office.founder, "/decide Yearly billing | Fewer invoices.")
    assert desk.status(own.run_id) == "finished"


@pytest.mark.proves("5.1.3")
async def test_what_a_key_said_vouches_for_nothing_when_its_holder_tries_it_again_either(
    desk: Desk, office: Office
) -> None:
    key = await make(desk, office.founder)
    run = await say(desk, office.founder, key, "/decide Yearly billing | Fewer invoices.")
    async with desk.scope(office.founder) as scope:
        await service.stop_run(scope, run)
    await desk.work(run)
    async with desk.scope(office.founder) as scope:
        again = await retry_run(scope, run)
    await desk.work(again)
    assert (desk.status(again), desk.records(office.founder)) == ("waiting_for_approval", [])
    other = await desk.waiting(office.founder)
    async with desk.scope(office.founder) as scope:
        await service.stop_run(scope, other)
    await desk.work(other)
    async with opened(desk, office.founder, key) as scope:
        with pytest.raises(NotFound):
            await retry_run(scope, other)


@pytest.mark.proves("5.1.3")
async def test_a_person_decides_in_their_own_session_and_the_key_cannot(desk: Desk, office: Office) -> None:
    key = await make(desk, office.founder)
    run = await say(desk, office.founder, key, "/decide Yearly billing")
    await desk.decide(office.founder, run, "once")
    assert desk.status(run) == "finished", [(e["kind"], str(e["body"])[:150]) for e in desk.events(run)][-6:]
    (record,) = desk.records(office.founder)
    assert record["title"] == "Yearly billing"


@pytest.mark.proves("1.3.4", "5.0.1")
async def test_a_run_holds_no_more_than_the_key(desk: Desk, office: Office) -> None:
    key = await make(desk, office.founder, "agents:run", "memory:read")
    desk.model = calling(("memory_record", {"kind": "decision", "title": "x"}))
    run = await say(desk, office.founder, key, "Do it.")
    assert [outcome for outcome, _ in desk.outcomes(run)] == ["denied"]
    assert desk.records(office.founder) == []


@pytest.mark.proves("1.3.4", "5.0.1")
async def test_a_run_ends_with_the_key_that_began_it(desk: Desk, office: Office) -> None:
    key = await make(desk, office.founder)
    run = await say(desk, office.founder, key, "/decide Yearly billing")
    async with desk.scope(office.founder) as scope:
        await api_keys.revoke_key(scope, key.id)
    await desk.decide(office.founder, run, "once")
    await desk.work(run)
    assert desk.records(office.founder) == []
    assert desk.status(run) == "failed"


@pytest.mark.proves("5.1.3")
async def test_a_grant_for_a_conversation_is_for_its_person_and_not_for_their_key(desk: Desk, office: Office) -> None:
    key = await make(desk, office.founder)
    first = await desk.say(office.founder, "Please think about it.")
    desk.model = calling(("files_write", {"path": "notes.md", "content": "One."}))
    asked = await desk.say(office.founder, "Go on.", conversation=first.conversation_id)
    assert desk.status(asked.run_id) == "waiting_for_approval", desk.events(asked.run_id)
    await desk.decide(office.founder, asked.run_id, "conversation")
    async with opened(desk, office.founder, key) as scope:
        posted = await service.post_message(scope, "Go on.", conversation_id=first.conversation_id)
    await desk.work(posted.run_id)
    assert desk.status(posted.run_id) == "waiting_for_approval"
