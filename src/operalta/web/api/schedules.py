"""Schedules: what an agent is asked at set times. People make them, in a session of their own, and never a key."""

from datetime import datetime, time
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field

from operalta.access.rules import Permission
from operalta.agents import service as agents
from operalta.agents.schedules import rules as schedule_rules
from operalta.agents.schedules import service
from operalta.agents.schedules.rules import (
    LONGEST_PROMPT,
    LONGEST_TITLE,
    LONGEST_ZONE,
    WEEKDAYS,
    Draft,
    Rhythm,
    Times,
)
from operalta.agents.schedules.service import Schedule as Kept
from operalta.guard import rules
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown, whole
from operalta.web.api.runs import Run
from operalta.web.entry import CompanyEntry, InCompany

router = APIRouter(prefix="/companies/{company}/schedules", tags=["agents"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.READ))]
Writing = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.WRITE, people_only=True))]
Beginning = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.CHAT, people_only=True))]

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class ScheduleChangeBody(Body):
    """What an agent is asked, and when. `month_day` 29 to 31: the last day of a shorter month.

    A time that the clock skips when it is changed comes later by what was skipped; one that comes twice counts once.
    """

    title: Annotated[str, Field(min_length=1, max_length=LONGEST_TITLE)]
    prompt: Annotated[str, Field(min_length=1, max_length=LONGEST_PROMPT)]
    agent_id: UUID
    rhythm: Literal["daily", "weekly", "monthly"]
    weekdays: Annotated[tuple[Weekday, ...], Field(max_length=7, description="For `weekly`")] = ()
    month_day: Annotated[int | None, Field(ge=1, le=31, description="For `monthly`")] = None
    at: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", max_length=5, description="HH:MM, local")]
    zone: Annotated[str, Field(min_length=1, max_length=LONGEST_ZONE, description="Such as `Europe/Zurich`")]


class ScheduleBody(ScheduleChangeBody):
    """A new schedule. Its runs speak in a conversation of its own, which is private unless said otherwise."""

    private: bool = True


class Schedule(Shown):
    """A schedule. `says` is its state in words, `problem` what went wrong last. `next_times` carry its own offset.

    `is_own`: you made it, and may change, resume and run it. `is_in_hand`: you may pause and remove it.
    """

    id: UUID
    title: str
    prompt: str
    agent_id: UUID
    agent_name: str | None
    owner_id: UUID
    owner_name: str | None
    conversation_id: UUID
    is_private: bool
    rhythm: Literal["daily", "weekly", "monthly"]
    weekdays: tuple[Weekday, ...]
    month_day: int | None
    at: str
    zone: str
    state: Literal["on", "paused", "ended"]
    says: str
    next_times: tuple[datetime, ...]
    last_at: datetime | None
    last_run_id: UUID | None
    last_status: str | None
    problem: str | None
    is_own: bool
    is_in_hand: bool


@router.get("")
async def list_schedules(entry: Reading, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE) -> Listing[Schedule]:
    """List your schedules and those that the company sees, the next one due first."""
    async with entry.scope() as scope:
        found = await service.list_schedules(scope)
    shown, following = whole(found, limit, cursor)
    return Listing[Schedule](items=tuple(map(_shown, shown)), next_cursor=following)


@router.post("", status_code=HTTPStatus.CREATED)
async def make_schedule(entry: Writing, body: ScheduleBody) -> Schedule:
    """Make a schedule. It works with your rights at each time, vouches for nothing, and ends when you leave."""
    async with entry.scope() as scope:
        made = await service.make_schedule(scope, body.agent_id, _draft(body), private=body.private)
        return _shown(await service.get_schedule(scope, made))


@router.get("/{schedule_id}")
async def get_schedule(entry: Reading, schedule_id: UUID) -> Schedule:
    """Return one schedule."""
    async with entry.scope() as scope:
        return _shown(await service.get_schedule(scope, schedule_id))


@router.put("/{schedule_id}")
async def change_schedule(entry: Writing, schedule_id: UUID, body: ScheduleChangeBody) -> Schedule:
    """Change a schedule of your own. Who sees it stays as it was chosen; one that is paused stays paused."""
    async with entry.scope() as scope:
        await service.change_schedule(scope, schedule_id, body.agent_id, _draft(body))
        return _shown(await service.get_schedule(scope, schedule_id))


@router.post("/{schedule_id}/pause", status_code=HTTPStatus.NO_CONTENT)
async def pause_schedule(entry: Writing, schedule_id: UUID) -> None:
    """Pause a schedule of your own, or one that the company sees if you manage its agents."""
    async with entry.scope() as scope:
        await service.pause_schedule(scope, schedule_id)


@router.post("/{schedule_id}/resume", status_code=HTTPStatus.NO_CONTENT)
async def resume_schedule(entry: Writing, schedule_id: UUID) -> None:
    """Confirm a schedule of your own and let it go on."""
    async with entry.scope() as scope:
        await service.resume_schedule(scope, schedule_id)


@router.post("/{schedule_id}/run", status_code=HTTPStatus.ACCEPTED)
async def run_schedule(entry: Beginning, schedule_id: UUID) -> Run:
    """Begin a schedule of your own at once, besides its times."""
    async with entry.scope() as scope:
        run = await service.run_schedule_now(scope, schedule_id)
        return Run.model_validate(await agents.get_run(scope, run))


@router.delete("/{schedule_id}", status_code=HTTPStatus.NO_CONTENT)
async def remove_schedule(entry: Writing, schedule_id: UUID) -> None:
    """Remove a schedule that you may pause. What its runs have said stays."""
    async with entry.scope() as scope:
        await service.remove_schedule(scope, schedule_id)


def _draft(body: ScheduleChangeBody) -> Draft:
    weekdays = tuple(map(WEEKDAYS.index, WEEKDAYS if body.rhythm == "daily" else body.weekdays))
    rhythm = Rhythm.MONTHLY if body.rhythm == "monthly" else Rhythm.WEEKLY
    times = Times(rhythm, weekdays, body.month_day, time.fromisoformat(body.at), body.zone)
    return schedule_rules.draft(body.title, body.prompt, times)


def _shown(kept: Kept) -> Schedule:
    times = kept.times
    fields = {name: getattr(kept, name) for name in Schedule.model_fields if hasattr(kept, name)}
    return Schedule.model_validate(
        fields
        | {
            "rhythm": "daily" if len(times.weekdays) == len(WEEKDAYS) else times.rhythm.value,
            "weekdays": tuple(WEEKDAYS[each] for each in times.weekdays),
            "month_day": times.month_day,
            "at": f"{times.at:%H:%M}",
            "zone": times.zone,
        }
    )
