"""Whoever leaves a company leaves no agent at work there: what runs, what waits and what was granted ends at once."""

import asyncio

import pytest

from operalta.agents.dispatch import Claim, unless_stopped
from operalta.agents.registry import ToolResult
from operalta.db.errors import ClaimLost
from operalta.kernel.ids import PersonId
from operalta.tenancy.service import leave, remove_member
from tests.agents.conftest import Desk, Office

pytestmark = pytest.mark.proves("5.0.1", "2.5.4")


async def test_a_run_that_waits_ends_with_its_persons_membership_and_cannot_be_approved(
    desk: Desk, office: Office
) -> None:
    run = await desk.waiting(office.colleague, private=False)
    async with desk.scope(office.founder) as scope:
        await remove_member(scope, PersonId(office.colleague.person_id))
    assert desk.status(run) == "failed"
    assert desk.rows("SELECT expires_at <= now() AS over FROM agents.approvals WHERE run_id = %s", run) == [
        {"over": True}
    ]
    assert "run.failed" in desk.audited(office.founder, run)
    await desk.work(run)
    assert desk.file_versions(office.founder) == []


async def test_grants_given_or_asked_for_by_a_former_member_end_with_the_membership(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.colleague, private=False)
    await desk.decide(office.colleague, run, "conversation")
    live = "SELECT count(*) AS live FROM agents.grants WHERE company_id = %s AND revoked_at IS NULL"
    assert desk.rows(live, office.founder.company_id) == [{"live": 1}]
    async with desk.scope(office.colleague) as scope:
        await leave(scope)
    assert desk.rows(live, office.founder.company_id) == [{"live": 0}]


async def test_what_others_run_goes_on(desk: Desk, office: Office) -> None:
    theirs, own = await desk.waiting(office.colleague), await desk.waiting(office.founder)
    async with desk.scope(office.founder) as scope:
        await remove_member(scope, PersonId(office.colleague.person_id))
    assert (desk.status(theirs), desk.status(own)) == ("failed", "waiting_for_approval")


async def test_a_lower_role_ends_runs_only_where_it_may_not_run_agents(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.colleague)
    desk.change_role(office.colleague, "advisor")
    assert desk.status(run) == "waiting_for_approval"
    desk.change_role(office.colleague, "observer")
    assert desk.status(run) == "failed"


async def test_a_tool_that_is_under_way_ends_with_the_membership(desk: Desk, office: Office) -> None:
    """The worker's own claim tells it; nothing but the membership is touched."""
    posted = await desk.write(office.colleague, "/help")
    began, ended = asyncio.Event(), asyncio.Event()

    async def hang() -> ToolResult:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ToolResult("never")

    async def use(claim: Claim) -> None:
        with pytest.raises(ClaimLost):
            await unless_stopped(claim, hang())

    async with desk.dispatcher.claimed(posted.run_id) as claim:
        assert claim is not None
        using = asyncio.create_task(use(claim))
        await began.wait()
        desk.remove(office.colleague)
        await using
    assert ended.is_set()
    assert desk.status(posted.run_id) == "failed"
