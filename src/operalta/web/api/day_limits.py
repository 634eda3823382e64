"""What the company's agents may use in a day, all together, and what they have used today."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from operalta.access.rules import Permission
from operalta.agents.day_limits import service
from operalta.agents.day_limits.rules import DAY_LIMITS, Day
from operalta.guard import rules
from operalta.web.api.models import REFUSALS, Body, Shown
from operalta.web.entry import CompanyEntry, InCompany

router = APIRouter(prefix="/companies/{company}/day-limits", tags=["agents"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_READ, rules.READ))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_MANAGE, rules.SENSITIVE_WRITE))]


class DayLimitsBody(Body):
    """The most that all runs of the company may use in a day of UTC; what is left out is as usual."""

    steps: Annotated[int, Field(ge=1, le=DAY_LIMITS["steps"][2])] | None = None
    tool_calls: Annotated[int, Field(ge=1, le=DAY_LIMITS["tool_calls"][2])] | None = None
    tokens: Annotated[int, Field(ge=1, le=DAY_LIMITS["tokens"][2])] | None = None
    cost_micros: Annotated[int, Field(ge=0, le=DAY_LIMITS["cost_micros"][2])] | None = None
    active_seconds: Annotated[int, Field(ge=1, le=DAY_LIMITS["active_seconds"][2])] | None = None


class Amounts(Shown):
    """Amounts of a day. Cost is in millionths of the deployment's currency."""

    steps: int
    tool_calls: int
    tokens: int
    cost_micros: int
    active_seconds: float


class DayLimits(Shown):
    """`limits`: what the company has chosen; `held`: what holds, usual amounts too; `used`: since midnight UTC."""

    limits: dict[str, int]
    held: Amounts
    used: Amounts
    reached: str | None
    changed_by_name: str | None
    changed_at: datetime | None


@router.get("")
async def get_day(entry: Reading) -> DayLimits:
    """Return the limits of the company's day, and what its agents have used today."""
    async with entry.scope() as scope:
        return _shown(await service.get_day(scope))


@router.put("")
async def change_limits(entry: Managing, body: DayLimitsBody) -> DayLimits:
    """Say how much the company's agents may use in a day. Each run looks before its next step."""
    async with entry.scope() as scope:
        await service.change_limits(scope, body.model_dump(exclude_none=True))
        return _shown(await service.get_day(scope))


def _shown(day: Day) -> DayLimits:
    return DayLimits(
        limits=dict(day.limits),
        held=Amounts.model_validate(asdict(day.held)),
        used=Amounts.model_validate(asdict(day.used)),
        reached=day.reached and day.reached.name,
        changed_by_name=day.changed_by_name,
        changed_at=day.changed_at,
    )
