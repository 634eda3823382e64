"""What the agents of a company may use in a day, and what they have used today."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse, Response

from operalta.access.rules import Permission
from operalta.agents.day_limits import service
from operalta.agents.day_limits.rules import DAY_LIMITS, Day
from operalta.guard import rules
from operalta.kernel.errors import InvalidInput
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.limit_fields import limits_of, typed_limits
from operalta.web.presentation import go_to, page

router = APIRouter()

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_READ, rules.READ))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_MANAGE, rules.SENSITIVE_WRITE))]
TITLES = {name: title for name, (title, _, _) in DAY_LIMITS.items()}
TEMPLATE = "pages/day_limits.html"


@router.get("/c/{company}/day-limits")
async def day_limits(entry: Reading) -> HTMLResponse:
    """Show today's use beside what the company allows."""
    async with entry.scope() as scope:
        shown = _shown(await service.get_day(scope), {})
        return await page(entry.request, scope, TEMPLATE, shown, nav="agents")


@router.post("/c/{company}/day-limits")
async def change(entry: Managing) -> Response:
    """Say how much the company's agents may use in a day: empty for as much as is usual."""
    typed = typed_limits(await entry.request.form(max_fields=20, max_files=0), TITLES)
    try:
        wanted = limits_of(typed, TITLES)
        async with entry.scope() as scope:
            await service.change_limits(scope, wanted)
    except InvalidInput as refusal:
        async with entry.scope() as scope:
            shown = _shown(await service.get_day(scope), typed)
            return await page(entry.request, scope, TEMPLATE, shown, nav="agents", refusal=refusal)
    return go_to(f"/c/{entry.company}/day-limits", "saved")


def _shown(day: Day, typed: dict[str, str]) -> dict[str, Any]:
    held = day.held
    reached = day.reached
    return {
        "amounts": [
            {
                "name": name,
                "title": title,
                "used": f"{getattr(day.used, name):,.0f}",
                "held": f"{getattr(held, name):,.0f}",
                "usual": f"{usual:,}",
                "largest": f"{largest:,}",
                "own": day.limits.get(name, ""),
                "is_reached": reached is not None and reached.name == f"day_{name}",
            }
            for name, (title, usual, largest) in DAY_LIMITS.items()
        ],
        "reached": reached and reached.public_text,
        "changed_by_name": day.changed_by_name,
        "changed_at": day.changed_at,
        "form": typed,
    }
