"""Runs of one conversation go one after the other, and whatever becomes of one, the next has its turn."""

import pytest

from operalta.agents import service
from operalta.kernel.ids import PersonId
from operalta.tenancy.service import remove_member
from tests.agents.conftest import Desk, Office

pytestmark = pytest.mark.proves("5.0.1")
JOBS = "SELECT count(*) AS jobs FROM jobs.procrastinate_jobs WHERE args ->> 'subject' = %s"


async def test_a_second_message_waits_for_the_first_and_reads_its_answer(desk: Desk, office: Office) -> None:
    first = await desk.write(office.founder, "/help")
    second = await desk.write(office.founder, "/find plan", conversation=first.conversation_id)
    elsewhere = await desk.write(office.founder, "/help")
    await desk.work(second.run_id)
    await desk.work(elsewhere.run_id)
    assert (desk.status(second.run_id), desk.status(elsewhere.run_id)) == ("queued", "finished")
    async with desk.scope(office.founder) as scope:
        assert (await service.get_run(scope, second.run_id)).waits_for == first.run_id
    # Long ago, so that the rescue looks at both: it finds the one whose turn it is.
    aged = "UPDATE agents.runs SET queued_at = queued_at - interval '1 minute' WHERE conversation_id = %s"
    desk.rows(aged, first.conversation_id)
    desk.rows("DELETE FROM jobs.procrastinate_jobs")
    rescued = await desk.dispatcher.rescue()
    assert (first.run_id in rescued, second.run_id in rescued) == (True, False)
    await desk.work(first.run_id)
    assert desk.rows(JOBS, str(second.run_id)) == [{"jobs": 1}]
    await desk.work(second.run_id)
    assert desk.status(second.run_id) == "finished"
    (gathered,) = (event["body"] for event in desk.events(second.run_id) if event["kind"] == "context_gathered")
    assert gathered["earlier_messages"] == 2


async def test_a_question_holds_the_next_run_up_until_it_is_answered_or_the_run_stopped(
    desk: Desk, office: Office
) -> None:
    first = await desk.say(office.founder, "write the file plan.md with We sell by the year.", private=False)
    second = await desk.write(office.colleague, "/help", conversation=first.conversation_id)
    third = await desk.write(office.founder, "/help", conversation=first.conversation_id)
    await desk.work(second.run_id)
    assert (desk.status(first.run_id), desk.status(second.run_id)) == ("waiting_for_approval", "queued")
    async with desk.scope(office.founder) as scope:
        await service.stop_run(scope, first.run_id)
    await desk.work(first.run_id)
    assert desk.rows(JOBS, str(second.run_id)) == [{"jobs": 1}]
    await desk.work(third.run_id)
    assert desk.status(third.run_id) == "queued"
    # The second one is never worked on: its person leaves, which ends it, and the third has its turn.
    async with desk.scope(office.founder) as scope:
        await remove_member(scope, PersonId(office.colleague.person_id))
    await desk.work(third.run_id)
    assert [desk.status(each.run_id) for each in (first, second, third)] == ["stopped", "failed", "finished"]


async def test_a_run_that_waits_for_its_turn_stops_at_once(desk: Desk, office: Office) -> None:
    first = await desk.waiting(office.founder)
    (place,) = desk.rows("SELECT conversation_id FROM agents.runs WHERE id = %s", first)
    second = await desk.write(office.founder, "/help", conversation=place["conversation_id"])
    desk.rows("DELETE FROM jobs.procrastinate_jobs WHERE args ->> 'subject' = %s", str(second.run_id))
    async with desk.scope(office.founder) as scope:
        await service.stop_run(scope, second.run_id)
    assert desk.rows(JOBS, str(second.run_id)) == [{"jobs": 1}]
    await desk.work(second.run_id)
    assert (desk.status(first), desk.status(second.run_id)) == ("waiting_for_approval", "stopped")


async def test_a_turn_that_nobody_was_told_of_is_found(desk: Desk, office: Office) -> None:
    first = await desk.write(office.founder, "/help")
    second = await desk.write(office.founder, "/help", conversation=first.conversation_id)
    await desk.work(first.run_id)
    desk.rows("DELETE FROM jobs.procrastinate_jobs WHERE args ->> 'subject' = %s", str(second.run_id))
    desk.rows("UPDATE agents.runs SET queued_at = now() - interval '6 seconds' WHERE id = %s", second.run_id)
    assert second.run_id in await desk.dispatcher.rescue()


async def test_a_child_does_not_wait_for_its_parent_nor_anybody_for_a_child(desk: Desk, office: Office) -> None:
    parent = await desk.write(office.founder, "/help")
    child = await desk.write(office.founder, "/help", conversation=parent.conversation_id)
    after = await desk.write(office.founder, "/help", conversation=parent.conversation_id)
    desk.rows("UPDATE agents.runs SET parent_run_id = %s WHERE id = %s", parent.run_id, child.run_id)
    async with desk.dispatcher.claimed(parent.run_id) as claim:
        assert claim is not None
        async with desk.dispatcher.claimed(child.run_id) as of_child:
            assert of_child is not None
        await desk.work(after.run_id)
        assert desk.status(after.run_id) == "queued"
    desk.rows("UPDATE agents.runs SET status = 'finished' WHERE id = %s", parent.run_id)
    await desk.work(after.run_id)
    assert desk.status(after.run_id) == "finished"
