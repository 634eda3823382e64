"""The staff page: opening a company to oneself for a reason and a while, and one's own visits."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from operalta.access.rules import StaffRole
from operalta.guard import rules
from operalta.kernel.errors import InvalidInput, Refusal
from operalta.tenancy import staff
from operalta.tenancy.errors import CannotVisit
from operalta.web.entry import ForPeople, PersonEntry
from operalta.web.presentation import go_to, page

router = APIRouter()

Reading = Annotated[PersonEntry, Depends(ForPeople(rules.READ))]
Visiting = Annotated[PersonEntry, Depends(ForPeople(rules.SENSITIVE_WRITE))]
Text = Annotated[str, Form(max_length=2_000)]
DURATIONS = {"30": "30 minutes", "60": "1 hour", "240": "4 hours", "480": "8 hours"}


@router.get("/staff")
async def staff_page(entry: Reading) -> HTMLResponse:
    """Show the form to visit a company, and one's own visits."""
    return await _page(entry, {}, None)


@router.post("/staff/visits")
async def visit(
    entry: Visiting, company: Text = "", role: Text = "", reason: Text = "", minutes: Text = ""
) -> Response:
    """Open a company to oneself and go there."""
    try:
        async with entry.scope() as scope:
            opened = await staff.visit_company(scope, company, _role(role), reason, _minutes(minutes))
    except (InvalidInput, CannotVisit) as refusal:
        form = {"company": company, "role": role, "reason": reason, "minutes": minutes}
        return await _page(entry, form, refusal)
    return go_to(f"/c/{opened.company_slug}/members")


@router.post("/staff/visits/{visit_id}/end")
async def end(entry: Visiting, visit_id: UUID) -> RedirectResponse:
    """End a visit of one's own."""
    async with entry.scope() as scope:
        await staff.end_visit(scope, visit_id)
    return go_to("/staff", "visit-ended")


async def _page(entry: PersonEntry, form: dict[str, str], refusal: Refusal | None) -> HTMLResponse:
    async with entry.scope() as scope:
        context = {
            "roles": [role.value for role in await staff.own_staff_roles(scope)],
            "companies": [(each.slug, f"{each.name} ({each.slug})") for each in await staff.companies_to_visit(scope)],
            "durations": list(DURATIONS.items()),
            "visits": await staff.own_visits(scope),
            "form": form,
        }
        return await page(
            entry.request,
            scope,
            "pages/staff.html",
            context,
            nav="staff",
            refusal=refusal,
        )


def _role(name: str) -> StaffRole:
    try:
        return StaffRole(name)
    except ValueError:
        raise InvalidInput("Choose one of the roles.", field="role") from None


def _minutes(text: str) -> int:
    if text not in DURATIONS:
        raise InvalidInput("Choose one of the times.", field="minutes")
    return int(text)
