"""Schedules: begun once for each time that is due, with the rights of their owner, vouching for nothing."""

import asyncio
from datetime import UTC, datetime, time
from uuid import UUID

import pytest

from operalta.agents import service as agents
from operalta.agents.definitions import service as definitions
from operalta.agents.going_on import retry_run
from operalta.agents.schedules import service
from operalta.agents.schedules.beginning import Beginner
from operalta.agents.schedules.errors import (
    NoSuchSchedule,
    NothingBegun,
    ScheduledByPeopleOnly,
    TooManySchedules,
)
from operalta.agents.schedules.rules import Rhythm, Times, draft, following
from operalta.db.elevated import Purpose, open_elevated
from operalta.db.scope import Origin, open_key_scope
from operalta.kernel.errors import InvalidInput, NotFound
from operalta.kernel.ids import PersonId, ScheduleId, new_id
from operalta.tenancy.service import remove_member
from operalta.vault.api_keys import service as api_keys
from operalta.vault.api_keys.rules import KeyKind
from tests.agents.conftest import Desk, Office
from tests.conftest import Member

pytestmark = pytest.mark.proves("5.0.1")
EVERY_DAY = tuple(range(7))
DAILY = Times(Rhythm.WEEKLY, EVERY_DAY, None, time(8), "Europe/Zurich")
STATE = (
    "SELECT paused_because, ended_at IS NOT NULL AS ended, next_at > now() AS coming"
    " FROM agents.schedules WHERE id = %s"
)


async def _make(desk: Desk, member: Member, prompt: str = "/help", *, private: bool = True) -> ScheduleId:
    async with desk.scope(member) as scope:
        (agent, *_) = await definitions.list_agents(scope)
        return await service.make_schedule(scope, agent.id, draft("Every day", prompt, DAILY), private=private)


def _due(desk: Desk, schedule: UUID) -> None:
    desk.rows(
        "UPDATE agents.schedules SET next_at = date_trunc('second', now()) - interval '9 days' WHERE id = %s", schedule
    )


def _runs(desk: Desk, schedule: UUID) -> list[UUID]:
    found = desk.rows("SELECT id FROM agents.runs WHERE schedule_id = %s ORDER BY created_at", schedule)
    return [row["id"] for row in found]


async def _begin(desk: Desk, schedule: UUID) -> list[UUID]:
    _due(desk, schedule)
    assert await Beginner(desk.pools.job).begin_one()
    return _runs(desk, schedule)


def _state(desk: Desk, schedule: UUID) -> tuple[str | None, bool, bool | None]:
    (row,) = desk.rows(STATE, schedule)
    return row["paused_because"], row["ended"], row["coming"]


@pytest.mark.parametrize(
    ("times", "now", "expected"),
    [
        pytest.param(DAILY, "2026-11-29T06:59:59", "2026-11-29T07:00:00", id="today"),
        pytest.param(DAILY, "2026-11-29T07:00:00", "2026-11-30T07:00:00", id="not-the-same-moment-again"),
        pytest.param(DAILY, "2026-03-28T08:00:00", "2026-03-29T06:00:00", id="eight-stays-eight-in-summer"),
        # On 29 March 2026 Zurich has no 02:30: the clock from before the change takes it, once.
        pytest.param(
            Times(Rhythm.WEEKLY, EVERY_DAY, None, time(2, 30), "Europe/Zurich"),
            "2026-03-28T12:00:00",
            "2026-03-29T01:30:00",
            id="a-skipped-hour",
        ),
        pytest.param(
            Times(Rhythm.WEEKLY, EVERY_DAY, None, time(2, 30), "Europe/Zurich"),
            "2026-03-29T01:30:00",
            "2026-03-30T00:30:00",
            id="a-skipped-hour-once",
        ),
        # On 25 October it has two.
        pytest.param(
            Times(Rhythm.WEEKLY, EVERY_DAY, None, time(2, 30), "Europe/Zurich"),
            "2026-10-24T12:00:00",
            "2026-10-25T00:30:00",
            id="a-doubled-hour",
        ),
        pytest.param(
            Times(Rhythm.WEEKLY, EVERY_DAY, None, time(2, 30), "Europe/Zurich"),
            "2026-10-25T00:30:00",
            "2026-10-26T01:30:00",
            id="a-doubled-hour-once",
        ),
        # In Asuncion midnight itself was skipped: yesterday's time comes today.
        pytest.param(
            Times(Rhythm.WEEKLY, (6,), None, time(0, 15), "America/Asuncion"),
            "2023-10-01T03:30:00",
            "2023-10-01T04:15:00",
            id="a-skipped-midnight",
        ),
        pytest.param(
            Times(Rhythm.WEEKLY, (0, 4), None, time(8), "UTC"),
            "2026-11-28T09:00:00",
            "2026-11-30T08:00:00",
            id="monday",
        ),
        pytest.param(
            Times(Rhythm.MONTHLY, (), 31, time(8), "UTC"), "2027-02-01T00:00:00", "2027-02-28T08:00:00", id="last-day"
        ),
        pytest.param(
            Times(Rhythm.MONTHLY, (), 31, time(8), "UTC"), "2027-03-31T08:00:00", "2027-04-30T08:00:00", id="next-month"
        ),
    ],
)
def test_a_time_comes_once_by_the_clock_of_its_place(times: Times, now: str, expected: str) -> None:
    found = following(times, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("times", "field"),
    [
        (Times(Rhythm.WEEKLY, (), None, time(8), "UTC"), "weekdays"),
        (Times(Rhythm.WEEKLY, (7,), None, time(8), "UTC"), "weekdays"),
        (Times(Rhythm.MONTHLY, (), 32, time(8), "UTC"), "month_day"),
        (Times(Rhythm.WEEKLY, (0,), None, time(8), "../../etc/passwd"), "zone"),
    ],
)
def test_what_is_never_due_is_refused(times: Times, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        draft("Title", "/help", times)
    assert refused.value.field == field


async def test_a_time_that_is_due_makes_one_run_and_what_was_missed_no_more(desk: Desk, office: Office) -> None:
    schedule = await _make(desk, office.founder)
    _due(desk, schedule)
    beginners = [Beginner(desk.pools.job) for _ in range(4)]
    begun = await asyncio.gather(*(each.begin_one() for each in beginners * 3))
    assert (sum(begun), len(_runs(desk, schedule))) == (1, 1)
    assert _state(desk, schedule) == (None, False, True)
    (run,) = _runs(desk, schedule)
    await desk.work(run)
    assert desk.status(run) == "finished"
    assert desk.rows("SELECT origin FROM agents.runs WHERE id = %s", run) == [{"origin": "schedule"}]
    assert "schedule.began" in desk.audited(office.founder)
    async with desk.scope(office.founder) as scope:
        shown = await service.get_schedule(scope, schedule)
    assert (shown.last_run_id, shown.last_status, len(shown.next_times)) == (run, "finished", 3)


async def test_a_time_is_begun_for_exactly_what_was_due(desk: Desk, office: Office) -> None:
    """The job role cannot begin a schedule before its time, or once more for a time that is gone."""
    schedule = await _make(desk, office.founder)
    begin = "SELECT elevated.begin_schedule(%s, %s, %s, now() + interval '1 day') AS begun"
    (row,) = desk.rows("SELECT company_id, next_at FROM agents.schedules WHERE id = %s", schedule)
    for due in (row["next_at"], datetime.now(UTC)):
        async with open_elevated(desk.pools.job, Purpose.BEGIN_SCHEDULES) as elevated:
            cursor = await elevated.connection.execute(begin, (row["company_id"], schedule, due))
            assert await cursor.fetchone() == {"begun": False}
    assert _runs(desk, schedule) == []


@pytest.mark.proves("5.5.1")
async def test_a_schedules_words_vouch_for_nothing_also_when_tried_again(desk: Desk, office: Office) -> None:
    typed = await desk.say(office.founder, "/decide We sell by the year")
    assert (desk.status(typed.run_id), len(desk.records(office.founder))) == ("finished", 1)
    schedule = await _make(desk, office.founder, "/decide We sell by the month")
    (run,) = await _begin(desk, schedule)
    await desk.work(run)
    assert (desk.status(run), len(desk.records(office.founder))) == ("waiting_for_approval", 1)
    assert desk.question(run)["reasons"] == ["not_typed_in_a_session"]
    async with desk.scope(office.founder) as scope:
        await agents.stop_run(scope, run)
    await desk.work(run)
    async with desk.scope(office.founder) as scope:
        again = await retry_run(scope, run)
    await desk.work(again)
    assert (desk.status(again), len(desk.records(office.founder))) == ("waiting_for_approval", 1)


@pytest.mark.proves("5.5.1")
async def test_a_grant_for_the_conversation_is_not_for_its_schedule(desk: Desk, office: Office) -> None:
    text = "write the file plan.md with We sell by the year."
    schedule = await _make(desk, office.founder, text)
    async with desk.scope(office.founder) as scope:
        conversation = (await service.get_schedule(scope, schedule)).conversation_id
    asked = await desk.say(office.founder, text, conversation=conversation)
    await desk.decide(office.founder, asked.run_id, "conversation")
    assert desk.rows("SELECT count(*) AS live FROM agents.grants WHERE conversation_id = %s", conversation) == [
        {"live": 1}
    ]
    (run,) = await _begin(desk, schedule)
    await desk.work(run)
    assert desk.status(run) == "waiting_for_approval"


async def test_no_second_run_is_begun_while_one_waits_and_the_schedule_says_so(desk: Desk, office: Office) -> None:
    schedule = await _make(desk, office.founder, "/decide We sell by the month")
    (run,) = await _begin(desk, schedule)
    await desk.work(run)
    assert await _begin(desk, schedule) == [run]
    async with desk.scope(office.founder) as scope:
        shown = await service.get_schedule(scope, schedule)
        with pytest.raises(NothingBegun):
            await service.run_schedule_now(scope, schedule)
    assert shown.problem is not None
    assert (shown.state, "schedule.skipped" in desk.audited(office.founder)) == ("on", True)


@pytest.mark.proves("2.5.4")
async def test_a_schedule_ends_with_its_owners_membership_and_its_run_with_it(desk: Desk, office: Office) -> None:
    schedule = await _make(desk, office.colleague, "/decide We sell by the month", private=False)
    (run,) = await _begin(desk, schedule)
    await desk.work(run)
    async with desk.scope(office.founder) as scope:
        await remove_member(scope, PersonId(office.colleague.person_id))
    assert (desk.status(run), _state(desk, schedule)) == ("failed", (None, True, None))
    async with desk.scope(office.founder) as scope:
        assert (await service.get_schedule(scope, schedule)).state == "ended"
    assert not await Beginner(desk.pools.job).begin_one()


@pytest.mark.proves("2.5.4")
async def test_a_role_that_may_not_run_agents_pauses_it_until_its_owner_confirms(desk: Desk, office: Office) -> None:
    schedule = await _make(desk, office.colleague)
    desk.change_role(office.colleague, "observer")
    assert _state(desk, schedule) == ("role", False, None)
    desk.change_role(office.colleague, "founder")
    assert _state(desk, schedule) == ("role", False, None)
    async with desk.scope(office.colleague) as scope:
        await service.resume_schedule(scope, schedule)
    assert _state(desk, schedule) == (None, False, True)


async def test_what_became_invalid_unseen_is_found_at_the_time_that_is_due(desk: Desk, office: Office) -> None:
    schedule = await _make(desk, office.colleague)
    desk.rows("UPDATE identity.people SET disabled_at = now() WHERE id = %s", office.colleague.person_id)
    assert await _begin(desk, schedule) == []
    assert _state(desk, schedule) == ("role", False, None)


async def test_a_schedule_of_a_retired_agent_pauses_until_it_has_another(desk: Desk, office: Office) -> None:
    schedule = await _make(desk, office.founder)
    retire = (
        "UPDATE agents.agents SET retired_at = now() WHERE id = (SELECT agent_id FROM agents.schedules WHERE id = %s)"
    )
    desk.rows(retire, schedule)
    assert await _begin(desk, schedule) == []
    assert _state(desk, schedule) == ("agent", False, None)


async def test_a_zone_that_is_not_known_here_pauses_it(desk: Desk, office: Office) -> None:
    schedule = await _make(desk, office.founder)
    desk.rows("UPDATE agents.schedules SET zone = 'Mars/Olympus' WHERE id = %s", schedule)
    assert await _begin(desk, schedule) == []
    assert _state(desk, schedule) == ("time", False, None)


@pytest.mark.proves("2.5.3")
async def test_others_see_shared_ones_and_those_who_manage_agents_pause_and_remove_them(
    desk: Desk, office: Office
) -> None:
    shared, private = await _make(desk, office.advisor, private=False), await _make(desk, office.advisor)
    async with desk.scope(office.investor) as scope:
        with pytest.raises(NoSuchSchedule):
            await service.pause_schedule(scope, shared)
    async with desk.scope(office.founder) as scope:
        assert [each.id for each in await service.list_schedules(scope)] == [shared]
        for refused in (service.resume_schedule, service.run_schedule_now):
            with pytest.raises(NoSuchSchedule):
                await refused(scope, shared)
        for act in (service.pause_schedule, service.remove_schedule):
            with pytest.raises(NoSuchSchedule):
                await act(scope, private)
            await act(scope, shared)
    async with desk.scope(office.stranger) as scope:
        assert await service.list_schedules(scope) == ()
        with pytest.raises(NoSuchSchedule):
            await service.remove_schedule(scope, private)
    async with desk.scope(office.advisor) as scope:
        assert [each.id for each in await service.list_schedules(scope)] == [private]


@pytest.mark.proves("5.5.1")
async def test_no_key_makes_one_and_nobody_has_twenty_one(desk: Desk, office: Office) -> None:
    async with desk.scope(office.founder) as scope:
        key = await api_keys.make_key(scope, KeyKind.PERSONAL, "Nightly", ["agents:run"])
    async with open_key_scope(desk.pools.web, key.text, None, Origin(address="127.0.0.1")) as scope:
        with pytest.raises(ScheduledByPeopleOnly):
            await service.make_schedule(scope, new_id(), draft("Every day", "/help", DAILY))
        row = await scope.one(
            "SELECT agents.keep_schedule(%(id)s, %(id)s, %(id)s, 'x', 'x', 'weekly', '{0}', NULL, '08:00', 'UTC',"
            " now() + interval '1 day') AS came",
            {"id": new_id()},
        )
        assert row == {"came": "refused"}
    async with desk.scope(office.founder) as scope:
        with pytest.raises(NotFound):
            await service.make_schedule(scope, new_id(), draft("Every day", "/help", DAILY))
    for _ in range(20):
        await _make(desk, office.founder)
    with pytest.raises(TooManySchedules):
        await _make(desk, office.founder)


async def test_a_schedule_runs_at_once_when_its_owner_says_so(desk: Desk, office: Office) -> None:
    schedule = await _make(desk, office.founder)
    async with desk.scope(office.founder) as scope:
        run = await service.run_schedule_now(scope, schedule)
    await desk.work(run)
    assert (desk.status(run), _state(desk, schedule)) == ("finished", (None, False, True))
    async with desk.scope(office.founder) as scope:
        await service.remove_schedule(scope, schedule)
    assert desk.rows("SELECT origin, schedule_id FROM agents.runs WHERE id = %s", run) == [
        {"origin": "schedule", "schedule_id": None}
    ]
