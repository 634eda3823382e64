"""The pages of schedules: the list, and the form in which one is made, looked at and changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Form
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from operalta.access.rules import Permission
from operalta.agents import service as agents
from operalta.agents.definitions import service as definitions
from operalta.agents.schedules import rules as schedule_rules
from operalta.agents.schedules import service
from operalta.agents.schedules.errors import NothingBegun
from operalta.agents.schedules.rules import WEEKDAYS, Draft, Rhythm, Times, zones
from operalta.agents.schedules.service import Schedule
from operalta.db.scope import Scope
from operalta.guard import rules
from operalta.kernel.errors import InvalidInput, NotFound, Refusal, TooLarge
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.presentation import go_to, page

router = APIRouter(prefix="/c/{company}/schedules")

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.READ))]
Writing = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.WRITE, people_only=True))]
Beginning = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.CHAT, people_only=True))]
Text = Annotated[str, Form(max_length=40_000)]
Short = Annotated[str, Form(max_length=200)]
Days = Annotated[list[Annotated[str, Form(max_length=20)]], Form(max_length=10)]

_RHYTHMS = [("daily", "Every day"), ("weekly", "Every week, on these days"), ("monthly", "Every month, on this day")]
_DAYS = [(name, name.capitalize()) for name in WEEKDAYS]


@dataclass(frozen=True, slots=True)
class Typed:
    """The form as it was sent."""

    title: Short = ""
    prompt: Text = ""
    agent_id: Short = ""
    rhythm: Short = "weekly"
    weekdays: Days = ()  # pyright: ignore[reportAssignmentType] - FastAPI fills in a list
    month_day: Short = ""
    at: Short = ""
    zone: Short = "UTC"
    private: Short = ""

    def draft(self) -> Draft:
        """Return what is meant. Raise InvalidInput with the field at fault."""
        try:
            at = time.fromisoformat(self.at)
        except ValueError:
            raise InvalidInput("Write the time as 08:00.", field="at") from None
        if not set(self.weekdays) <= set(WEEKDAYS):
            raise InvalidInput("Choose from the days of the week.", field="weekdays")
        days = tuple(map(WEEKDAYS.index, WEEKDAYS if self.rhythm == "daily" else self.weekdays))
        rhythm = Rhythm.MONTHLY if self.rhythm == "monthly" else Rhythm.WEEKLY
        number = int(self.month_day) if self.month_day.isdecimal() else None
        return schedule_rules.draft(self.title, self.prompt, Times(rhythm, days, number, at, self.zone))

    def agent(self) -> UUID:
        """Return the agent that was chosen. Raise InvalidInput for none."""
        try:
            return UUID(self.agent_id)
        except ValueError:
            raise InvalidInput("Choose an agent.", field="agent_id") from None


Sent = Annotated[Typed, Depends()]


@router.get("")
async def schedules(entry: Reading) -> HTMLResponse:
    """Show one's own schedules and those that the company sees."""
    async with entry.scope() as scope:
        found = [shown(each) for each in await service.list_schedules(scope)]
        return await page(entry.request, scope, "pages/schedules.html", {"schedules": found}, nav="agents")


@router.get("/new")
async def new(entry: Reading) -> HTMLResponse:
    """Show the form for a new one."""
    async with entry.scope() as scope:
        return await _form(entry, scope, None, {}, None)


@router.post("")
async def make(entry: Writing, typed: Sent) -> Response:
    """Make a schedule."""
    try:
        async with entry.scope() as scope:
            made = await service.make_schedule(scope, typed.agent(), typed.draft(), private=typed.private == "yes")
    except (InvalidInput, TooLarge, NotFound) as refusal:
        async with entry.scope() as scope:
            return await _form(entry, scope, None, _as_typed(typed), refusal)
    return go_to(f"/c/{entry.company}/schedules/{made}", "saved")


@router.get("/{schedule_id}")
async def schedule(entry: Reading, schedule_id: UUID) -> HTMLResponse:
    """Show one schedule, and to its owner the form to change it."""
    async with entry.scope() as scope:
        return await _form(entry, scope, await service.get_schedule(scope, schedule_id), {}, None)


@router.post("/{schedule_id}")
async def change(entry: Writing, schedule_id: UUID, typed: Sent) -> Response:
    """Change a schedule of one's own."""
    try:
        async with entry.scope() as scope:
            await service.change_schedule(scope, schedule_id, typed.agent(), typed.draft())
    except InvalidInput as refusal:
        async with entry.scope() as scope:
            present = await service.get_schedule(scope, schedule_id)
            return await _form(entry, scope, present, _as_typed(typed), refusal)
    return go_to(f"/c/{entry.company}/schedules/{schedule_id}", "saved")


@router.post("/{schedule_id}/pause")
async def pause(entry: Writing, schedule_id: UUID) -> RedirectResponse:
    """Pause it."""
    async with entry.scope() as scope:
        await service.pause_schedule(scope, schedule_id)
    return go_to(f"/c/{entry.company}/schedules/{schedule_id}", "paused")


@router.post("/{schedule_id}/resume")
async def resume(entry: Writing, schedule_id: UUID) -> RedirectResponse:
    """Confirm it, and let it go on."""
    async with entry.scope() as scope:
        await service.resume_schedule(scope, schedule_id)
    return go_to(f"/c/{entry.company}/schedules/{schedule_id}", "resumed")


@router.post("/{schedule_id}/run")
async def run(entry: Beginning, schedule_id: UUID) -> Response:
    """Begin it at once, and go to its conversation."""
    try:
        async with entry.scope() as scope:
            made = await agents.get_run(scope, await service.run_schedule_now(scope, schedule_id))
    except NothingBegun as refusal:
        async with entry.scope() as scope:
            return await _form(entry, scope, await service.get_schedule(scope, schedule_id), {}, refusal)
    return go_to(f"/c/{entry.company}/chat/{made.conversation_id}")


@router.post("/{schedule_id}/remove")
async def remove(entry: Writing, schedule_id: UUID) -> RedirectResponse:
    """Remove it."""
    async with entry.scope() as scope:
        await service.remove_schedule(scope, schedule_id)
    return go_to(f"/c/{entry.company}/schedules", "deleted")


def shown(kept: Schedule) -> dict[str, Any]:
    """Return what the pages show of a schedule: its times by its own clock."""
    return {
        "id": kept.id,
        "title": kept.title,
        "agent": kept.agent_name,
        "owner": kept.owner_name,
        "conversation_id": kept.conversation_id,
        "is_private": kept.is_private,
        "is_own": kept.is_own,
        "is_in_hand": kept.is_in_hand,
        "state": kept.state,
        "says": kept.says,
        "prompt": kept.prompt,
        "next_times": [f"{moment:%A, %-d %B %Y, %H:%M}" for moment in kept.next_times],
        "zone": kept.times.zone,
        "last_at": kept.last_at,
        "last_status": (kept.last_status or "").replace("waiting_for_approval", "waiting"),
        "problem": kept.problem,
    }


async def _form(
    entry: CompanyEntry, scope: Scope, kept: Schedule | None, typed: Mapping[str, Any], refusal: Refusal | None
) -> HTMLResponse:
    known = await definitions.list_agents(scope)
    own = [each for each in await service.list_schedules(scope) if each.is_own]
    context: dict[str, Any] = {
        "schedule": shown(kept) if kept else None,
        "form": typed or (_as_kept(kept) if kept else {"zone": own[0].times.zone if own else "UTC"}),
        "agents": [(str(agent.id), agent.name) for agent in known],
        "rhythms": _RHYTHMS,
        "days": _DAYS,
        "zones": [(zone, zone) for zone in zones()],
    }
    return await page(
        entry.request,
        scope,
        "pages/schedule.html",
        context,
        nav="agents",
        refusal=refusal,
    )


def _as_typed(typed: Typed) -> dict[str, Any]:
    return {name: getattr(typed, name) for name in Typed.__slots__}


def _as_kept(kept: Schedule) -> dict[str, Any]:
    times = kept.times
    every_day = len(times.weekdays) == len(WEEKDAYS)
    return {
        "title": kept.title,
        "prompt": kept.prompt,
        "agent_id": str(kept.agent_id),
        "rhythm": "daily" if every_day else times.rhythm.value,
        "weekdays": [] if every_day else [WEEKDAYS[each] for each in times.weekdays],
        "month_day": times.month_day or "",
        "at": f"{times.at:%H:%M}",
        "zone": times.zone,
    }
