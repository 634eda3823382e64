"""Tasks handed to other agents: within the company, with no more rights, one run each, ended with the run above."""

from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from pydantic_ai.messages import ModelMessage, ToolReturnPart, UserPromptPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from operalta.agents import service
from operalta.agents.day_limits.service import get_day
from operalta.agents.journal import run_scope
from operalta.agents.rules import RunLimits
from operalta.db.scope import Scope
from tests.agents.conftest import Desk, Office
from tests.conftest import Member

Said = str | dict[int, DeltaToolCall]


def helper(desk: Desk, member: Member, tools: str = '{"memory_search": "allow", "memory_record": "allow"}') -> UUID:
    return desk.rows(
        "INSERT INTO agents.agents (company_id, slug, name, purpose, instructions, tools)"
        " VALUES (%s, 'scribe', 'Scribe', 'Writes.', 'Help.', %s::jsonb) RETURNING id",
        member.company_id,
        tools,
    )[0]["id"]


def asks_then(task: str, calls: dict[str, str] | None = None) -> Model:
    """A model that delegates `task`, and, as the helper, makes `calls` first; each tells what it got."""

    async def stream(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[Said]:
        prompt = next(
            str(part.content)
            for message in reversed(messages)
            for part in reversed(message.parts)
            if isinstance(part, UserPromptPart)
        )
        last = messages[-1].parts[-1]
        got = cast("dict[str, str] | None", last.content if isinstance(last, ToolReturnPart) else None)
        if prompt == task and calls and got is None:
            for at, (tool, arguments) in enumerate(calls.items()):
                yield {at: DeltaToolCall(tool, arguments, tool_call_id=f"below-{at}")}
        elif prompt == task:
            yield f"Helped: {got['summary']}" if got else "Helped."
        elif got is None:
            yield {0: DeltaToolCall("delegate", f'{{"agent": "scribe", "task": "{task}"}}', tool_call_id="above")}
        else:
            yield f"Told: {got['content'] or got['summary']}"

    return FunctionModel(stream_function=stream)


def child(desk: Desk, run: UUID) -> Any:  # noqa: ANN401 - a row
    found = desk.rows("SELECT * FROM agents.runs WHERE parent_run_id = %s", run)
    return found[0] if found else None


def jobs(desk: Desk, run: UUID) -> int:
    query = "SELECT id FROM jobs.procrastinate_jobs WHERE args ->> 'subject' = %s AND status = 'todo'"
    return len(desk.rows(query, str(run)))


@pytest.mark.proves("5.1.2")
async def test_a_task_is_done_by_another_agent_in_a_run_of_its_own(desk: Desk, office: Office) -> None:
    helper(desk, office.founder)
    desk.model = asks_then("look up prices", {"memory_search": '{"query": "prices"}'})
    posted = await desk.say(office.founder, "Have somebody look it up.")
    below = child(desk, posted.run_id)
    assert (desk.status(posted.run_id), below["origin"]) == ("waiting_for_approval", "agent")
    assert jobs(desk, below["id"]) == 1
    await desk.work(below["id"])
    assert jobs(desk, posted.run_id) == 1, "the end of the run below queues the one above"
    await desk.work(posted.run_id)
    assert desk.answers(posted.run_id) == ["Told: Helped: 0 entries of the memory match."]
    assert desk.answers(below["id"]) == [], "only the run that a person began speaks in the conversation"
    used = next(event["body"] for event in desk.events(posted.run_id) if event["kind"] == "child_ended")
    assert (used["steps"], used["tool_calls"]) == (2, 1)
    result = next(event["body"] for event in desk.events(posted.run_id) if event["kind"] == "tool_result")
    assert result["content"]["from_outside"] is True


async def test_what_a_helper_works_counts_for_the_run_above_and_once_for_the_day(desk: Desk, office: Office) -> None:
    helper(desk, office.founder)
    desk.model = asks_then("look up prices", {"memory_search": '{"query": "prices"}'})
    posted = await desk.say(office.founder, "Have somebody look it up.")
    below = child(desk, posted.run_id)["id"]
    await desk.work(below)
    desk.rows("UPDATE agents.run_events SET worked_ms = 60000 WHERE run_id = %s AND kind = 'tool_asked'", below)
    desk.limits = RunLimits(active_seconds=60)
    await desk.work(posted.run_id)
    async with desk.scope(office.founder) as scope:
        assert (await service.get_run(scope, posted.run_id)).limit_reached == "active_seconds"
        assert (await get_day(scope)).used.steps == 3


@pytest.mark.proves("5.1.2")
@pytest.mark.parametrize("name", ["foreign", "id", "Scribe", "\u0455cribe", "scribe ", "retired"])
async def test_an_agent_that_is_not_here_by_this_very_name_is_not_found(desk: Desk, office: Office, name: str) -> None:
    foreign = helper(desk, office.stranger)
    desk.rows("UPDATE agents.agents SET slug = 'foreign' WHERE id = %s", foreign)
    here = helper(desk, office.founder)
    wanted = {"id": str(foreign), "retired": "scribe"}.get(name, name)
    if name == "retired":
        desk.rows("UPDATE agents.agents SET retired_at = now() WHERE id = %s", here)
    desk.model = asks_then("anything")

    async def stream(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[Said]:
        if isinstance(messages[-1].parts[-1], ToolReturnPart):
            yield "Done."
            return
        yield {0: DeltaToolCall("delegate", f'{{"agent": "{wanted}", "task": "x"}}', tool_call_id="above")}

    desk.model = FunctionModel(stream_function=stream)
    posted = await desk.say(office.founder, "Have somebody look it up.")
    assert desk.outcomes(posted.run_id) == [
        (
            "failed",
            "There is no such agent in this company. Name one by its short name, as the list of agents shows it.",
        )
    ]
    assert child(desk, posted.run_id) is None


@pytest.mark.proves("5.1.2", "5.5.1")
async def test_a_helper_has_no_tool_that_the_agent_above_lacks_and_asks_before_it_writes(
    desk: Desk, office: Office
) -> None:
    helper(desk, office.founder, '{"memory_record": "allow", "shell_run": "allow", "files_search": "allow"}')
    desk.rows(
        "UPDATE agents.agents SET tools = %s::jsonb WHERE company_id = %s AND slug <> 'scribe'",
        '{"delegate": "allow", "memory_record": "allow", "files_search": "deny"}',
        office.founder.company_id,
    )
    task = "record the decision Raise prices"
    desk.model = asks_then(
        task,
        {
            "shell_run": '{"command": "id"}',
            "files_search": '{"query": "x"}',
            "memory_record": '{"kind": "decision", "title": "Raise prices"}',
        },
    )
    posted = await desk.say(office.founder, f"Please {task}: have the scribe do it.")
    below = child(desk, posted.run_id)["id"]
    await desk.work(below)
    decided = {
        event["body"]["tool"]: (event["body"]["decision"], event["body"]["reasons"])
        for event in desk.events(below)
        if event["kind"] == "tool_decided"
    }
    assert decided["memory_record"] == ("ask", ["not_typed_in_a_session"])
    assert decided["files_search"][0] == decided["shell_run"][0] == "deny"
    assert desk.records(office.founder) == []
    await desk.decide(office.founder, below, "denied")
    await desk.work(posted.run_id)
    assert desk.status(posted.run_id) == "finished"


async def test_stopping_a_run_stops_what_it_began(desk: Desk, office: Office) -> None:
    helper(desk, office.founder)
    desk.model = asks_then("record it", {"memory_record": '{"kind": "decision", "title": "x"}'})
    posted = await desk.say(office.founder, "Have somebody record it.")
    below = child(desk, posted.run_id)["id"]
    await desk.work(below)
    async with desk.scope(office.founder) as scope:
        await service.stop_run(scope, posted.run_id)
    for run in (below, posted.run_id):
        await desk.work(run)
        assert desk.status(run) == "stopped"


async def test_a_wake_that_is_lost_is_made_good(desk: Desk, office: Office) -> None:
    helper(desk, office.founder)
    desk.model = asks_then("look it up")
    posted = await desk.say(office.founder, "Have somebody look it up.")
    await desk.work(child(desk, posted.run_id)["id"])
    desk.rows("DELETE FROM jobs.procrastinate_jobs")
    await desk.dispatcher.rescue()
    assert jobs(desk, posted.run_id) == 1
    await desk.work(posted.run_id)
    assert desk.answers(posted.run_id) == ["Told: Helped."]


async def test_helpers_of_helpers_and_their_number_are_bounded(desk: Desk, office: Office) -> None:
    here = helper(desk, office.founder)
    started: list[str] = []

    async def begin(scope: Scope, child_run: UUID, call: str) -> str:
        row = await scope.one(
            "SELECT agents.start_child_run(%(child)s, %(agent)s, 'task', %(call)s) AS came",
            {"child": child_run, "agent": here, "call": call},
        )
        assert row is not None
        return row["came"]

    posted = await desk.write(office.founder, "Hello")
    above = posted.run_id
    for depth in range(3):
        below = uuid4()
        async with desk.dispatcher.claimed(above) as claim:
            assert claim is not None
            async with run_scope(desk.pools.worker, claim) as scope:
                started.append(await begin(scope, below, f"call-{depth}"))
                if depth == 0:
                    started.extend([await begin(scope, uuid4(), f"more-{at}") for at in range(8)])
        above = below
    assert started == ["made", *["made"] * 7, "many", "made", "deep"]
    async with desk.scope(office.founder) as scope:
        with pytest.raises(Exception, match="permission denied"):
            await begin(scope, uuid4(), "call")
