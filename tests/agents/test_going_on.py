"""What ended without an answer is tried again, or goes on after a limit, and nothing is done twice unseen."""

import json
from collections.abc import AsyncIterator, Mapping

import pytest
from pydantic_ai.messages import ModelMessage, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from operalta.agents import service
from operalta.agents.errors import CannotGoOn, TriedAgainAlready, WentOnOften
from operalta.agents.going_on import continue_run, retry_run
from operalta.agents.rules import RunLimits
from operalta.kernel.errors import NotFound
from tests.agents.conftest import Desk, Office, Turn, scripted

pytestmark = pytest.mark.proves("5.0.1")
DECIDE = ("memory_record", {"kind": "decision", "title": "We sell by the year"})
READ: tuple[str, Mapping[str, object]] = ("memory_search", {"query": "yearly"})
TYPED = "/decide We sell by the year"


async def _again(desk: Desk, office: Office, run: service.RunId) -> service.RunId:
    async with desk.scope(office.founder) as scope:
        made = await retry_run(scope, run)
    await desk.work(made)
    return made


async def test_what_an_earlier_try_did_is_told_to_the_next_and_not_done_again_unasked(
    desk: Desk, office: Office
) -> None:
    """The model does the same in every try; the first breaks after it."""
    broken: list[bool] = []
    told: list[int] = []

    async def stream(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        told.append(sum(isinstance(part, ToolReturnPart) for one in messages for part in one.parts))
        if isinstance(messages[-1].parts[-1], UserPromptPart):
            yield {0: DeltaToolCall(DECIDE[0], json.dumps(DECIDE[1]), tool_call_id=f"call-{len(told)}")}
        elif not broken:
            broken.append(True)
            raise ValueError("the provider broke")
        else:
            yield "Done."

    desk.model = FunctionModel(stream_function=stream)
    first = await desk.say(office.founder, TYPED)
    assert (desk.status(first.run_id), len(desk.records(office.founder))) == ("failed", 1)
    second = await _again(desk, office, first.run_id)
    assert (desk.status(second), len(desk.records(office.founder))) == ("waiting_for_approval", 1)
    assert desk.question(second)["reasons"] == ["done_in_an_earlier_try"]
    async with desk.scope(office.founder) as scope:
        with pytest.raises(TriedAgainAlready):
            await retry_run(scope, first.run_id)
        with pytest.raises(NotFound):
            await retry_run(scope, second)
    await desk.decide(office.founder, second, "denied")
    assert (desk.status(second), len(desk.records(office.founder))) == ("finished", 1)
    assert told == [0, 1, 1, 2]
    assert "run.retried" in desk.audited(office.founder)


async def test_another_persons_run_is_not_tried_again(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.founder, private=False)
    async with desk.scope(office.founder) as scope:
        await service.stop_run(scope, run)
    await desk.work(run)
    async with desk.scope(office.colleague) as scope:
        with pytest.raises(NotFound):
            await retry_run(scope, run)
        with pytest.raises(CannotGoOn):
            await continue_run(scope, run)


async def test_a_run_that_a_limit_ended_goes_on_from_there_three_times(desk: Desk, office: Office) -> None:
    async def script(number: int) -> Turn:
        return [DECIDE] if number == 0 else [READ]

    desk.model, desk.limits = scripted(script), RunLimits(tool_calls=2)
    run = (await desk.say(office.founder, TYPED)).run_id
    for times in range(4):
        async with desk.scope(office.founder) as scope:
            view = await service.get_run(scope, run)
            assert (view.status, view.limit_reached, view.continued) == ("failed", "tool_calls", times)
        before = len(desk.outcomes(run))
        async with desk.scope(office.founder) as scope:
            if times == 3:
                with pytest.raises(WentOnOften):
                    await continue_run(scope, run)
                break
            await continue_run(scope, run)
        await desk.work(run)
        assert len(desk.outcomes(run)) == before + 2
    assert len(desk.records(office.founder)) == 1
    assert desk.kinds(run).count("run_continued") == 3
    numbers = [event["sequence"] for event in desk.events(run)]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_a_worker_that_dies_as_a_run_goes_on_leaves_one_more_allowance_and_not_two(
    desk: Desk, office: Office
) -> None:
    async def script(_number: int) -> Turn:
        return [READ]

    desk.model, desk.limits = scripted(script), RunLimits(tool_calls=2)
    run = (await desk.say(office.founder, TYPED)).run_id
    async with desk.scope(office.founder) as scope:
        await continue_run(scope, run)
    with pytest.raises(RuntimeError):
        async with desk.dispatcher.claimed(run):
            raise RuntimeError("the worker dies")
    desk.lapse(run)
    await desk.work(run)
    assert (desk.status(run), len(desk.outcomes(run))) == ("failed", 4)


async def test_what_ended_otherwise_does_not_go_on(desk: Desk, office: Office) -> None:
    posted = await desk.say(office.founder, "/help")
    async with desk.scope(office.founder) as scope:
        with pytest.raises(CannotGoOn):
            await continue_run(scope, posted.run_id)
