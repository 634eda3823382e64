"""What a session began ends with it where it was ended for safety's sake; signing out ends nothing."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import time
from typing import LiteralString
from uuid import UUID

import pytest

from operalta.agents.definitions import service as definitions
from operalta.agents.dispatch import unless_stopped
from operalta.agents.errors import CannotGoOn
from operalta.agents.going_on import continue_run
from operalta.agents.registry import ToolResult
from operalta.agents.rules import RunLimits
from operalta.agents.schedules import service
from operalta.agents.schedules.beginning import Beginner
from operalta.agents.schedules.rules import Rhythm, Times, draft
from operalta.db.errors import ClaimLost
from operalta.db.scope import open_run_scope
from tests.agents.conftest import Desk, Office
from tests.conftest import Member, World

pytestmark = pytest.mark.proves("5.0.1", "2.5.4")
END: LiteralString = (
    "UPDATE identity.sessions SET ended_at = now(), ended_reason = %s WHERE person_id = %s AND ended_at IS NULL"
)
PASSWORD: LiteralString = (
    "INSERT INTO identity.passwords (person_id, scheme, pepper_version, hash, changed_at)"
    " VALUES (%s, 'test', 1, 'before', now() - interval '1 day') ON CONFLICT DO NOTHING"
)


def _as_definer(desk: Desk, member: Member, query: LiteralString, *values: object) -> None:
    desk.rows(PASSWORD, member.person_id)
    with desk.servers.as_owner() as owner, owner.transaction():
        owner.execute("SET LOCAL ROLE operalta_definer")
        owner.execute(query, values)


def reset_password(desk: Desk, member: Member) -> None:
    """Set another password as the mailed link does."""
    _as_definer(desk, member, "SELECT identity.finish_reset(%s, 'test', 1, 'after')", member.person_id)


def _signed_out_by_the_operator(desk: Desk, member: Member) -> None:
    _as_definer(desk, member, "SELECT elevated.sign_out_person(%s, 'stolen')", member.person_id)


def _used_twice(desk: Desk, member: Member) -> None:
    desk.rows(END, "its refresh token was used twice", member.person_id)


def _ended_by_its_owner(desk: Desk, member: Member) -> None:
    desk.rows(END, "ended by its owner", member.person_id)


async def _scheduled(desk: Desk, member: Member) -> UUID:
    async with desk.scope(member) as scope:
        (agent, *_) = await definitions.list_agents(scope)
        times = Times(Rhythm.WEEKLY, (0,), None, time(8), "UTC")
        return await service.make_schedule(scope, agent.id, draft("Every Monday", "/help", times))


def _in_another_session(world: World, member: Member) -> Member:
    return replace(member, session_secret=world.session(member.person_id))


def _paused(desk: Desk, schedule: UUID) -> str | None:
    return desk.rows("SELECT paused_because FROM agents.schedules WHERE id = %s", schedule)[0]["paused_because"]


@pytest.mark.parametrize("end", [reset_password, _signed_out_by_the_operator, _used_twice, _ended_by_its_owner])
async def test_work_ends_and_schedules_pause_where_a_session_is_revoked(
    desk: Desk, office: Office, end: Callable[[Desk, Member], None]
) -> None:
    run, other = await desk.waiting(office.colleague), await desk.waiting(office.founder)
    schedule = await _scheduled(desk, office.colleague)
    end(desk, office.colleague)
    assert (desk.status(run), desk.status(other)) == ("failed", "waiting_for_approval")
    assert desk.rows("SELECT expires_at <= now() AS over FROM agents.approvals WHERE run_id = %s", run) == [
        {"over": True}
    ]
    assert _paused(desk, schedule) == "session"
    assert {"run.failed", "schedule.paused"} <= set(desk.audited(office.founder))
    await desk.work(run)
    assert desk.file_versions(office.founder) == []


async def test_signing_out_ends_nothing_but_a_reset_after_it_does(desk: Desk, office: Office, world: World) -> None:
    run, schedule = await desk.waiting(office.colleague), await _scheduled(desk, office.colleague)
    desk.rows(END, "signed out", office.colleague.person_id)
    assert (desk.status(run), _paused(desk, schedule)) == ("waiting_for_approval", None)
    reset_password(desk, office.colleague)
    assert (desk.status(run), _paused(desk, schedule)) == ("failed", "session")
    async with desk.scope(_in_another_session(world, office.colleague)) as scope:
        await service.resume_schedule(scope, schedule)
    desk.rows("UPDATE agents.schedules SET next_at = now() - interval '1 second' WHERE id = %s", schedule)
    assert await Beginner(desk.pools.job).begin_one()
    (begun,) = desk.rows("SELECT id FROM agents.runs WHERE schedule_id = %s", schedule)
    await desk.work(begun["id"])
    assert desk.status(begun["id"]) == "finished"


async def test_the_session_in_which_a_password_is_changed_keeps_its_work(
    desk: Desk, office: Office, world: World
) -> None:
    member = office.colleague
    run = await desk.waiting(member)
    (kept,) = desk.rows("SELECT id FROM identity.sessions WHERE person_id = %s", member.person_id)
    theirs = await desk.waiting(_in_another_session(world, member))
    change: LiteralString = "SELECT identity.replace_password(%s, 'test', 1, 'after', %s)"
    _as_definer(desk, member, change, member.person_id, kept["id"])
    assert (desk.status(run), desk.status(theirs)) == ("waiting_for_approval", "failed")
    await desk.decide(member, run, "once")
    assert desk.status(run) == "finished"


async def test_no_scope_is_opened_for_what_a_revoked_session_began(desk: Desk, office: Office) -> None:
    """Also where nobody was told: here the session was signed out of, and its end is called another name afterwards."""
    posted = await desk.write(office.colleague, "/help")
    desk.rows(END, "signed out", office.colleague.person_id)
    async with desk.dispatcher.claimed(posted.run_id) as claim:
        assert claim is not None
        async with open_run_scope(desk.pools.worker, posted.run_id, claim.secret) as scope:
            assert scope.actor.person_id == office.colleague.person_id
        desk.rows(
            "UPDATE identity.sessions SET ended_reason = 'the password changed' WHERE person_id = %s",
            office.colleague.person_id,
        )
        with pytest.raises(ClaimLost):
            async with open_run_scope(desk.pools.worker, posted.run_id, claim.secret):
                pass


async def test_a_tool_that_is_under_way_ends_with_the_session(desk: Desk, office: Office) -> None:
    """The worker's own claim tells it, at its next heartbeat, half a second later at most."""
    posted = await desk.write(office.colleague, "/help")
    began = asyncio.Event()

    async def hang() -> ToolResult:
        began.set()
        await asyncio.Event().wait()
        return ToolResult("never")

    async with desk.dispatcher.claimed(posted.run_id) as claim:
        assert claim is not None
        using = asyncio.create_task(unless_stopped(claim, hang()))
        await began.wait()
        reset_password(desk, office.colleague)
        with pytest.raises(ClaimLost):
            await using
    assert desk.status(posted.run_id) == "failed"


async def test_what_a_revoked_session_began_does_not_go_on_after_a_limit(
    desk: Desk, office: Office, world: World
) -> None:
    desk.limits = RunLimits(steps=0)
    posted = await desk.say(office.colleague, "/help")
    assert desk.rows("SELECT limit_reached FROM agents.runs WHERE id = %s", posted.run_id) == [
        {"limit_reached": "steps"}
    ]
    reset_password(desk, office.colleague)
    async with desk.scope(_in_another_session(world, office.colleague)) as scope:
        with pytest.raises(CannotGoOn):
            await continue_run(scope, posted.run_id)
