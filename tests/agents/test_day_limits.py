"""What a company's agents may use in a day, all together, and the time that a worker spends on a run."""

from collections.abc import AsyncIterator

import psycopg
import pytest
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, FunctionModel

from operalta.agents.day_limits.rules import DAY_LIMITS
from operalta.agents.day_limits.service import change_limits, get_day
from operalta.agents.errors import DaySpent
from operalta.agents.going_on import continue_run
from operalta.agents.routes import ModelRoute, RouteRegistry
from operalta.agents.rules import RunLimits
from operalta.agents.runner import Runner
from operalta.agents.service import get_run
from operalta.kernel.errors import InvalidInput, NotAllowed
from tests.agents.conftest import Desk, Office, calling
from tests.agents.conftest import allow as allow_routes
from tests.agents.test_routes import RECORD
from tests.conftest import Member

LOOK = ("memory_search", {"query": "orchard"})


async def allow(desk: Desk, member: Member, **limits: int) -> None:
    async with desk.scope(member) as scope:
        await change_limits(scope, limits)


async def test_a_day_counts_what_all_runs_of_the_company_use(desk: Desk, office: Office) -> None:
    desk.model = calling(LOOK, LOOK)
    await desk.say(office.founder, "look")
    await desk.say(office.colleague, "look", private=True)
    await desk.say(office.stranger, "look")
    async with desk.scope(office.founder) as scope:
        day = await get_day(scope)
    assert (day.used.steps, day.used.tool_calls, day.limits) == (4, 4, {})
    assert day.held.steps == DAY_LIMITS["steps"][1]
    (worked,) = desk.rows(
        "SELECT sum(worked_ms) AS ms FROM agents.run_events WHERE company_id = %s", office.founder.company_id
    )
    assert day.used.active_seconds == worked["ms"] / 1000 > 0


@pytest.mark.parametrize(("name", "most"), [("steps", 2), ("tool_calls", 1), ("active_seconds", 1)])
async def test_a_run_stops_before_the_step_that_the_day_has_no_room_for(
    desk: Desk, office: Office, name: str, most: int
) -> None:
    desk.model = calling(LOOK)
    await allow(desk, office.founder, **{name: most})
    first = await desk.say(office.colleague, "look", private=True)
    assert desk.status(first.run_id) == ("failed" if name == "tool_calls" else "finished")
    if name == "active_seconds":
        desk.rows("UPDATE agents.day_use SET worked_ms = 1000 WHERE company_id = %s", office.founder.company_id)
    posted = await desk.say(office.founder, "look")
    async with desk.scope(office.founder) as scope:
        run = await get_run(scope, posted.run_id)
        assert (run.status, run.limit_reached) == ("failed", f"day_{name}")
        assert "midnight UTC" in (run.failure or "")
        with pytest.raises(DaySpent):
            await continue_run(scope, posted.run_id)
    elsewhere = await desk.say(office.stranger, "look")
    assert desk.status(elsewhere.run_id) == "finished"
    # The next day it goes on from where it stood, with none of its three times lost.
    desk.rows("UPDATE agents.day_use SET day = day - 1 WHERE company_id = %s", office.founder.company_id)
    await allow(desk, office.founder)
    async with desk.scope(office.founder) as scope:
        await continue_run(scope, posted.run_id)
    await desk.work(posted.run_id)
    assert desk.status(posted.run_id) == "finished"


async def test_a_run_that_was_worked_on_for_too_long_ends_at_its_limit(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.founder)
    desk.limits = RunLimits(active_seconds=60)
    # Time in the events counts, whichever worker wrote them; the wait for a person does not.
    desk.rows("UPDATE agents.run_events SET at = at - interval '1 hour', worked_ms = 0 WHERE run_id = %s", run)
    desk.rows("UPDATE agents.run_events SET worked_ms = 60000 WHERE run_id = %s AND kind = 'model_answered'", run)
    await desk.decide(office.founder, run, "once")
    async with desk.scope(office.founder) as scope:
        view = await get_run(scope, run)
    assert (view.status, view.limit_reached) == ("failed", "active_seconds")
    assert len(desk.file_versions(office.founder)) == 1, "what was approved is done before the limit is looked at"


async def test_waiting_for_a_person_is_no_work(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.founder)
    desk.limits = RunLimits(active_seconds=60)
    desk.rows("UPDATE agents.run_events SET at = at - interval '1 hour' WHERE run_id = %s", run)
    await desk.decide(office.founder, run, "once")
    assert desk.status(run) == "finished"


async def test_a_request_that_came_to_nothing_counts_too(desk: Desk, office: Office) -> None:
    """Whoever stops late, or tries again and again, would get round the limits otherwise."""

    async def stream(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
        yield "A beginning, and then "
        raise RuntimeError("the provider breaks off")

    route = ModelRoute(
        slug="far",
        title="Far",
        provider="openai",
        host="far.example",
        model="m",
        approval=RECORD,
        build=lambda _call: FunctionModel(stream_function=stream),
    )
    routes = RouteRegistry([route])
    allow_routes(desk, office.founder, routes, "far")
    for _ in range(2):
        posted = await desk.write(office.founder, "look")
        desk.rows("UPDATE agents.runs SET route = 'far' WHERE id = %s", posted.run_id)
        await Runner(desk.pools.worker, desk.dispatcher, desk.registry, routes, desk.files).run(posted.run_id)
        assert desk.status(posted.run_id) == "failed"
    async with desk.scope(office.founder) as scope:
        used = (await get_day(scope)).used
    assert used.steps == 2
    assert used.tokens > 20


@pytest.mark.parametrize("amount", ["1e30", "-5", '"many"', "null"])
async def test_an_amount_that_is_none_loses_no_event(desk: Desk, office: Office, amount: str) -> None:
    run = (await desk.say(office.founder, "/help")).run_id
    desk.rows(
        "INSERT INTO agents.run_events (company_id, run_id, sequence, private_to, kind, body, worked_ms)"
        " SELECT company_id, run_id, 900, private_to, 'model_answered', jsonb_build_object('tokens', %s::jsonb), 1"
        " FROM agents.run_events WHERE run_id = %s AND sequence = 1",
        amount,
        run,
    )
    async with desk.scope(office.founder) as scope:
        assert 0 <= (await get_day(scope)).used.tokens <= 10**12 + 10**6


@pytest.mark.parametrize("wanted", ['{"steps": -1}', '{"steps": 1.5}', '{"steps": 1e9}', '{"luck": 1}', "[]", "null"])
async def test_the_database_keeps_the_bounds_by_itself(desk: Desk, office: Office, wanted: str) -> None:
    async with desk.scope(office.founder) as scope:
        said = await scope.one("SELECT agents.change_day_limits(%(wanted)s::jsonb) AS verdict", {"wanted": wanted})
        assert said == {"verdict": "refused"}
        assert (await get_day(scope)).limits == {}


async def test_the_database_and_the_service_have_the_same_bounds(desk: Desk, office: Office) -> None:
    query = "SELECT agents.change_day_limits(jsonb_build_object(%(name)s::text, %(most)s::bigint)) AS verdict"
    async with desk.scope(office.founder) as scope:
        for name, (_, _, largest) in DAY_LIMITS.items():
            assert await scope.one(query, {"name": name, "most": largest}) == {"verdict": "changed"}, name
            assert await scope.one(query, {"name": name, "most": largest + 1}) == {"verdict": "refused"}, name


@pytest.mark.parametrize("limits", [{"luck": 1}, {"steps": 0}, {"tokens": 10**11}, {"cost_micros": -1}])
async def test_impossible_limits_are_refused(desk: Desk, office: Office, limits: dict[str, int]) -> None:
    async with desk.scope(office.founder) as scope:
        with pytest.raises(InvalidInput):
            await change_limits(scope, limits)
        assert (await get_day(scope)).limits == {}


async def test_only_who_manages_agents_changes_them_and_the_log_says_from_what_to_what(
    desk: Desk, office: Office
) -> None:
    async with desk.scope(office.investor) as scope:
        with pytest.raises(NotAllowed):
            await change_limits(scope, {"steps": 5})
        refused = await scope.one("SELECT agents.change_day_limits('{\"steps\": 5}') AS verdict", {})
        assert refused == {"verdict": "refused"}
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await scope.execute("UPDATE agents.day_use SET steps = 0", {})
    await allow(desk, office.founder, steps=5)
    await allow(desk, office.founder, steps=5)
    await allow(desk, office.founder, cost_micros=0)
    told = desk.rows(
        "SELECT detail FROM audit.events WHERE company_id = %s AND action = 'day_limits.changed' ORDER BY occurred_at",
        office.founder.company_id,
    )
    assert [row["detail"] for row in told] == [
        {"limits": {"steps": 5}, "before": {}},
        {"limits": {"cost_micros": 0}, "before": {"steps": 5}},
    ]
