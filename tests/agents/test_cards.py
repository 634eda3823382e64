"""What one turn proposes is one card: decided with one press or one by one, and never more than was shown."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest

from operalta.agents.approvals import service as approvals
from operalta.agents.approvals.service import Approval
from operalta.agents.errors import ApprovalNotValid
from operalta.kernel.errors import InvalidInput, NotFound
from operalta.kernel.ids import new_id
from tests.agents.conftest import Desk, Office, calling
from tests.conftest import Member

pytestmark = pytest.mark.proves("5.5.1")


def write(path: str, content: str = "We sell by the year.") -> tuple[str, dict[str, object]]:
    return ("files_write", {"path": path, "content": content})


async def proposed(desk: Desk, member: Member, *paths: str, private: bool = False) -> UUID:
    desk.model = calling(("memory_search", {"query": "plan"}), *(write(path) for path in paths))
    posted = await desk.say(member, "Put our plans in order.", private=private)
    assert desk.status(posted.run_id) == "waiting_for_approval"
    return posted.run_id


async def card(desk: Desk, member: Member, run: UUID) -> tuple[Approval, ...]:
    async with desk.scope(member) as scope:
        return await approvals.card_of(scope, desk.question(run)["id"])


def seen(calls: tuple[Approval, ...]) -> dict[UUID, str]:
    return {each.id: each.arguments_sha256 for each in calls}


async def decide(desk: Desk, member: Member, shown: Mapping[Any, str], decision: str) -> None:
    async with desk.scope(member) as scope:
        await approvals.decide_together(scope, shown, decision)


def paths(desk: Desk, member: Member) -> list[str]:
    query = "SELECT path FROM workspace.files WHERE company_id = %s ORDER BY path"
    return [row["path"] for row in desk.rows(query, member.company_id)]


def decisions(desk: Desk, run: UUID) -> set[str | None]:
    return {row["decision"] for row in desk.rows("SELECT decision FROM agents.approvals WHERE run_id = %s", run)}


async def test_calls_proposed_together_are_one_card_and_one_press_approves_them(desk: Desk, office: Office) -> None:
    run = await proposed(desk, office.founder, "a.md", "b.md", "c.md")
    calls = await card(desk, office.founder, run)
    assert [each.arguments["path"] for each in calls] == ["a.md", "b.md", "c.md"]
    assert {each.card_id for each in calls} == {calls[0].id}
    assert {event["body"]["card_id"] for event in desk.events(run) if event["kind"] == "approval_asked"} == {
        str(calls[0].id)
    }
    await decide(desk, office.founder, seen(calls), "once")
    await desk.work(run)
    assert desk.status(run) == "finished"
    assert paths(desk, office.founder) == ["a.md", "b.md", "c.md"]
    assert desk.audited(office.founder).count("approval.granted") == 3


async def test_a_card_is_decided_one_by_one_too(desk: Desk, office: Office) -> None:
    run = await proposed(desk, office.founder, "a.md", "b.md")
    first, second = await card(desk, office.founder, run)
    await decide(desk, office.founder, {first.id: first.arguments_sha256}, "once")
    await desk.work(run)
    assert desk.status(run) == "waiting_for_approval"
    await decide(desk, office.founder, {second.id: second.arguments_sha256}, "denied")
    await desk.work(run)
    assert paths(desk, office.founder) == ["a.md"]
    assert sorted(outcome for outcome, _ in desk.outcomes(run)) == ["denied", "success", "success"]


async def test_the_next_turn_is_another_card(desk: Desk, office: Office) -> None:
    first = await proposed(desk, office.founder, "a.md")
    second = await proposed(desk, office.founder, "a.md")
    (one,), (other,) = await card(desk, office.founder, first), await card(desk, office.founder, second)
    assert one.card_id != other.card_id


async def test_questions_come_before_the_calls_that_need_none(desk: Desk, office: Office) -> None:
    """A call that takes its time stands between two questions: it waits until both are put."""
    desk.model = calling(write("a.md"), ("memory_search", {"query": "plan"}), write("b.md"))
    posted = await desk.say(office.founder, "Put our plans in order.", private=False)
    order = [event["kind"] for event in desk.events(posted.run_id)]
    assert order.index("tool_result") > len(order) - 1 - order[::-1].index("approval_asked")
    assert len(await card(desk, office.founder, posted.run_id)) == 2


async def test_a_yes_is_for_exactly_what_was_shown(desk: Desk, office: Office) -> None:
    run = await proposed(desk, office.founder, "a.md", "b.md", "c.md")
    first, second, third = await card(desk, office.founder, run)
    for shown, refusal in [
        ({first.id: second.arguments_sha256, second.id: first.arguments_sha256}, ApprovalNotValid),
        ({first.id: first.arguments_sha256, second.id: "0" * 64}, ApprovalNotValid),
        ({first.id: first.arguments_sha256.upper()}, ApprovalNotValid),
        ({first.id: first.arguments_sha256, new_id(): second.arguments_sha256}, NotFound),
        ({}, InvalidInput),
    ]:
        with pytest.raises(refusal):
            await decide(desk, office.founder, shown, "once")
    assert decisions(desk, run) == {None}
    # One that joined after the page was rendered is not decided with the others.
    await decide(desk, office.founder, seen((first, second)), "once")
    await desk.work(run)
    assert desk.status(run) == "waiting_for_approval"
    assert paths(desk, office.founder) == ["a.md", "b.md"]
    with pytest.raises(ApprovalNotValid):
        await decide(desk, office.founder, seen((first, second, third)), "once")
    assert (await card(desk, office.founder, run))[2].decision is None


async def test_of_two_people_who_press_at_once_one_decides(desk: Desk, office: Office) -> None:
    run = await proposed(desk, office.founder, "a.md", "b.md", "c.md")
    shown = seen(await card(desk, office.founder, run))
    backwards = dict(reversed(shown.items()))
    answers = await asyncio.gather(
        *(
            decide(desk, member, calls, decision)
            for member, calls, decision in [
                (office.founder, shown, "once"),
                (office.colleague, backwards, "denied"),
                (office.advisor, shown, "once"),
                (office.founder, backwards, "denied"),
            ]
        ),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in answers) == ["ApprovalNotValid"] * 3 + ["NoneType"]
    assert (
        len({row["decision"] for row in desk.rows("SELECT decision FROM agents.approvals WHERE run_id = %s", run)}) == 1
    )


async def test_deny_all_denies_what_was_shown_each_with_its_own_event(desk: Desk, office: Office) -> None:
    first = await proposed(desk, office.founder, "a.md", "b.md")
    second = await proposed(desk, office.colleague, "c.md")
    hidden = await proposed(desk, office.colleague, "d.md", private=True)
    async with desk.scope(office.founder) as scope:
        shown = {each.id: each.arguments_sha256 for each in await approvals.list_approvals(scope, waiting=True)}
    assert len(shown) == 3
    later = await proposed(desk, office.founder, "e.md")
    taken = await card(desk, office.founder, second)
    await decide(desk, office.colleague, seen(taken), "once")
    await decide(desk, office.founder, shown, "denied")
    for run in (first, second):
        await desk.work(run)
    assert paths(desk, office.founder) == ["c.md"]
    assert desk.audited(office.founder).count("approval.denied") == 2
    assert {desk.status(run) for run in (hidden, later)} == {"waiting_for_approval"}
    with pytest.raises(ApprovalNotValid):
        await decide(desk, office.founder, shown, "denied")


async def test_a_run_that_is_over_asks_nothing_any_more(desk: Desk, office: Office) -> None:
    run = await proposed(desk, office.founder, "a.md")
    shown = seen(await card(desk, office.founder, run))
    desk.rows("UPDATE agents.runs SET status = 'stopped', finished_at = now() WHERE id = %s", run)
    async with desk.scope(office.founder) as scope:
        assert await approvals.count_waiting_approvals(scope) == 0
        with pytest.raises(ApprovalNotValid):
            await approvals.decide_together(scope, shown, "once")
