"""What people do with schedules: make, change, pause, resume and remove them, and run one at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from operalta.access.rules import Permission, permissions_of
from operalta.agents.schedules import store
from operalta.agents.schedules.errors import NoSuchSchedule, NothingBegun, ScheduledByPeopleOnly, TooManySchedules
from operalta.agents.schedules.rules import Draft, Times, following, next_times
from operalta.db.permission import require
from operalta.db.scope import Row, Scope
from operalta.kernel import clock
from operalta.kernel.actor import ActorKind
from operalta.kernel.errors import NotFound
from operalta.kernel.ids import AgentId, ConversationId, PersonId, RunId, ScheduleId, new_id
from operalta.terms.registry import upholds
from operalta.workspace.conversations.service import start_conversation

SHOWN_TIMES = 3
_PAUSED: Mapping[str, str] = MappingProxyType(
    {
        "asked": "Paused. It begins nothing until it is resumed.",
        "role": "Paused: its owner may no longer run agents here. Its owner can resume it once they may again.",
        "session": "Paused: the session that it was made in was ended, or its owner's password was changed. Its owner"
        " looks at it and resumes it, if it is really theirs.",
        "agent": "Paused: its agent was retired. Choose another one, and resume it.",
        "time": "Paused: its time zone is not known here. Choose another one, and resume it.",
    }
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as people see it. `next_times` are in its own time zone, none while it is paused or has ended.

    `is_own`: the reader made it, and may change, resume and run it. `is_in_hand`: they may pause and remove it.
    """

    id: ScheduleId
    title: str
    prompt: str
    agent_id: AgentId
    agent_name: str | None
    owner_id: PersonId
    owner_name: str | None
    conversation_id: ConversationId
    is_private: bool
    times: Times
    state: str
    says: str
    next_times: tuple[datetime, ...]
    last_at: datetime | None
    last_run_id: RunId | None
    last_status: str | None
    problem: str | None
    is_own: bool
    is_in_hand: bool

    @property
    def is_paused(self) -> bool:
        """Whether it waits to be resumed."""
        return self.state == "paused"


@upholds("2.5.3")
async def list_schedules(scope: Scope) -> tuple[Schedule, ...]:
    """Return one's own schedules and those that the company sees, the next one due first."""
    require(scope, Permission.AGENTS_RUN)
    return tuple(_schedule(scope, row) for row in await store.schedules(scope))


async def get_schedule(scope: Scope, schedule_id: UUID) -> Schedule:
    """Return one schedule. Raise NoSuchSchedule, also for a colleague's private one."""
    require(scope, Permission.AGENTS_RUN)
    found = await store.schedules(scope, only=schedule_id)
    if not found:
        raise NoSuchSchedule
    return _schedule(scope, found[0])


@upholds("5.0.1", "5.5.1")
async def make_schedule(scope: Scope, agent_id: UUID, draft: Draft, *, private: bool = True) -> ScheduleId:
    """Make a schedule with a conversation of its own, in which its runs will speak; return it.

    Raise ScheduledByPeopleOnly, NotFound for an agent that is not there, TooManySchedules.
    """
    _require_person(scope)
    schedule = ScheduleId(new_id())
    conversation = await start_conversation(scope, draft.title, private=private)
    await _keep(scope, schedule, agent_id, conversation.id, draft)
    return schedule


async def change_schedule(scope: Scope, schedule_id: UUID, agent_id: UUID, draft: Draft) -> None:
    """Change one's own schedule, and thereby confirm it; one that is paused stays so.

    Raise ScheduledByPeopleOnly, NoSuchSchedule, NotFound.
    """
    _require_person(scope)
    present = await get_schedule(scope, schedule_id)
    if not present.is_own or present.state == "ended":
        raise NoSuchSchedule
    await _keep(scope, schedule_id, agent_id, present.conversation_id, draft)


async def pause_schedule(scope: Scope, schedule_id: UUID) -> None:
    """Pause one's own schedule, or as somebody who manages agents one that the company sees. Raise NoSuchSchedule."""
    _require_person(scope)
    if not await store.switch(scope, schedule_id, None):
        raise NoSuchSchedule


@upholds("5.0.1")
async def resume_schedule(scope: Scope, schedule_id: UUID) -> None:
    """Confirm one's own schedule and let it go on: it belongs to this session from now on. Raise NoSuchSchedule."""
    _require_person(scope)
    present = await get_schedule(scope, schedule_id)
    if not await store.switch(scope, schedule_id, following(present.times, clock.now())):
        raise NoSuchSchedule


async def remove_schedule(scope: Scope, schedule_id: UUID) -> None:
    """Remove a schedule that one may pause; its conversation stays. Raise NoSuchSchedule."""
    _require_person(scope)
    if not await store.remove(scope, schedule_id):
        raise NoSuchSchedule


async def run_schedule_now(scope: Scope, schedule_id: UUID) -> RunId:
    """Begin one's own schedule at once, besides its times; what is typed there vouches for nothing now either.

    Raise NoSuchSchedule, or NothingBegun where its run before is not over or it has to be confirmed.
    """
    _require_person(scope)
    present = await get_schedule(scope, schedule_id)
    if not present.is_own or present.state == "ended":
        raise NoSuchSchedule
    run = await store.run_now(scope, schedule_id)
    if run is None:
        raise NothingBegun
    return RunId(run)


@upholds("5.5.1")
def _require_person(scope: Scope) -> None:
    require(scope, Permission.AGENTS_RUN)
    if scope.actor.kind is not ActorKind.PERSON:
        raise ScheduledByPeopleOnly


async def _keep(scope: Scope, schedule: UUID, agent: UUID, conversation: UUID, draft: Draft) -> None:
    when = following(draft.times, clock.now())
    match await store.keep(scope, schedule, agent, conversation, draft, when):
        case "made" | "changed":
            return
        case "full":
            raise TooManySchedules
        case "none":
            raise NotFound("There is no such agent in this company.")
        case _:
            raise ScheduledByPeopleOnly


def _schedule(scope: Scope, row: Row) -> Schedule:
    actor, times = scope.actor, store.times_of(row)
    state = "ended" if row["ended_at"] else "paused" if row["paused_at"] else "on"
    is_own = actor.kind is ActorKind.PERSON and row["owner_id"] == actor.person_id
    manages = Permission.AGENTS_MANAGE in permissions_of(actor.company_kind, actor.role)
    return Schedule(
        id=ScheduleId(row["id"]),
        title=row["title"],
        prompt=row["prompt"],
        agent_id=AgentId(row["agent_id"]),
        agent_name=row["agent_name"],
        owner_id=PersonId(row["owner_id"]),
        owner_name=row["owner_name"],
        conversation_id=ConversationId(row["conversation_id"]),
        is_private=row["is_private"],
        times=times,
        state=state,
        says=_says(row, times),
        next_times=_next_times(row, times),
        last_at=row["last_at"],
        last_run_id=row["last_run_id"],
        last_status=row["last_status"],
        problem=_problem(row),
        is_own=is_own,
        is_in_hand=is_own or (actor.kind is ActorKind.PERSON and manages and not row["is_private"]),
    )


def _next_times(row: Row, times: Times) -> tuple[datetime, ...]:
    if row["next_at"] is None:
        return ()
    try:
        return next_times(times, clock.now(), SHOWN_TIMES)
    except ValueError:
        return ()


def _says(row: Row, times: Times) -> str:
    if row["ended_at"]:
        return "Ended: its owner has left the company."
    return _PAUSED[row["paused_because"]] if row["paused_at"] else f"{times.says()}."


def _problem(row: Row) -> str | None:
    """Return what went wrong last, if anything did."""
    if row["skipped_at"]:
        return "Left out last time, because the run before was not over. It may wait for an approval."
    return row["last_failure"] if row["last_status"] == "failed" else None
