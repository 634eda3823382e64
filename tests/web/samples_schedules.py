"""Schedules, as they look in use."""

from datetime import time
from uuid import UUID

from operalta.agents.schedules.rules import Rhythm, Times, next_times, zones
from operalta.agents.schedules.service import Schedule
from operalta.kernel.ids import AgentId, ConversationId, PersonId, RunId, ScheduleId, new_id
from operalta.web.pages.schedules import shown
from tests.web.samples_ground import NOW, Context, Sample, before, page

_ANALYST = "0192f3c4-0000-7000-8000-000000000001"


def _schedule(title: str, state: str, *, own: bool = True, problem: str | None = None) -> Context:
    times = Times(Rhythm.WEEKLY, (0,), None, time(8), "Europe/Zurich")
    says = f"{times.says()}." if state == "on" else "Paused: the session that it was made in was ended."
    return shown(
        Schedule(
            id=ScheduleId(new_id()),
            title=title,
            prompt="Draft the investor update from last week's metrics and decisions.",
            agent_id=AgentId(UUID(_ANALYST)),
            agent_name="Analyst",
            owner_id=PersonId(UUID(int=1)),
            owner_name="Ada Okafor" if own else None,
            conversation_id=ConversationId(new_id()),
            is_private=own,
            times=times,
            state=state,
            says=says,
            next_times=next_times(times, NOW, 3) if state == "on" else (),
            last_at=before(days=3),
            last_run_id=RunId(new_id()),
            last_status="waiting_for_approval",
            problem=problem,
            is_own=own,
            is_in_hand=own,
        )
    )


def _one(schedule: Context | None, **more: object) -> Context:
    return {
        "page": page("agents"),
        "schedule": schedule,
        "form": {"title": "Investor update", "agent_id": _ANALYST, "weekdays": ["monday"], "zone": "Europe/Zurich"},
        "agents": [(_ANALYST, "Analyst")],
        "rhythms": [("daily", "Every day"), ("weekly", "Every week, on these days")],
        "days": [("monday", "Monday"), ("tuesday", "Tuesday")],
        "zones": [(zone, zone) for zone in zones()],
        **more,
    }


def schedule_pages() -> list[Sample]:
    """Return the pages of schedules."""
    left_out = "Left out last time, because the run before was not over. It may wait for an approval."
    listed = [
        _schedule("Investor update", "on"),
        _schedule(
            "Churn, every morning, with everything that has changed since the day before", "on", problem=left_out
        ),
        _schedule("Payroll reminder", "paused"),
        _schedule("Old report", "ended", own=False),
    ]
    return [
        Sample("schedules", "schedules.html", {"page": page("agents"), "schedules": listed}),
        Sample("schedules-empty", "schedules.html", {"page": page("agents"), "schedules": []}),
        Sample("schedule", "schedule.html", _one(listed[1])),
        Sample("schedule-paused", "schedule.html", _one(listed[2])),
        Sample("schedule-of-others", "schedule.html", _one(listed[3])),
        Sample("schedule-new", "schedule.html", _one(None)),
    ]


def schedule_errors() -> list[Sample]:
    """Return the form as it comes back."""
    wrong = [{"field": "weekdays", "text": "Choose at least one day of the week."}]
    typed: Context = {"title": "Investor update", "rhythm": "weekly", "weekdays": [], "at": "08:00"}
    return [Sample("schedule-errors", "schedule.html", _one(None, page=page("agents", errors=wrong), form=typed))]
