"""Visits of the operator's staff to companies: opened and ended by staff, seen and ended by the company."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field

from operalta.access.rules import CompanyKind, Permission, StaffRole
from operalta.guard import rules
from operalta.kernel.errors import InvalidInput
from operalta.tenancy import staff
from operalta.tenancy.rules import LONGEST_REASON
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown
from operalta.web.entry import CompanyEntry, ForPeople, InCompany, PersonEntry
from operalta.workspace.rules import decode_cursor, encode_cursor

router = APIRouter(tags=["staff"], responses=REFUSALS)

Reading = Annotated[PersonEntry, Depends(ForPeople(rules.READ))]
Visiting = Annotated[PersonEntry, Depends(ForPeople(rules.SENSITIVE_WRITE))]
SeeingVisits = Annotated[CompanyEntry, Depends(InCompany(Permission.MEMBERS_READ, rules.READ))]
EndingVisits = Annotated[CompanyEntry, Depends(InCompany(Permission.MEMBERS_MANAGE, rules.SENSITIVE_WRITE))]


class VisitBody(Body):
    """Where to, as what, why and for how long."""

    company: Annotated[str, Field(min_length=1, max_length=48, description="The company's id or slug")]
    role: StaffRole
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON * 4)]
    minutes: Annotated[int, Field(ge=staff.SHORTEST_VISIT_MINUTES, le=staff.LONGEST_VISIT_MINUTES)] = 60


class CompanyToVisit(Shown):
    """A company that staff may visit."""

    slug: str
    name: str
    kind: CompanyKind


class OpenedVisit(Shown):
    """A visit that has begun."""

    id: UUID
    company_slug: str
    expires_at: datetime


class Visit(Shown):
    """A visit."""

    id: UUID
    company_slug: str
    company_name: str
    person_name: str
    role: StaffRole
    reason: str
    opened_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    is_open: bool


@router.get("/staff/companies")
async def list_companies(
    entry: Reading, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE
) -> Listing[CompanyToVisit]:
    """List companies by slug, for staff. The last page may be empty."""
    after = _slug(cursor)
    async with entry.scope() as scope:
        found = await staff.companies_to_visit(scope, after=after, limit=limit)
    following = encode_cursor(found[-1].slug) if len(found) == limit else None
    return Listing[CompanyToVisit](
        items=tuple(CompanyToVisit.model_validate(each) for each in found), next_cursor=following
    )


@router.get("/staff/visits")
async def list_own_visits(entry: Reading) -> Listing[Visit]:
    """List one's own last visits as staff, the newest first."""
    async with entry.scope() as scope:
        found = await staff.own_visits(scope)
    return Listing[Visit](items=tuple(Visit.model_validate(each) for each in found), next_cursor=None)


@router.post("/staff/visits", status_code=HTTPStatus.CREATED)
async def visit(entry: Visiting, body: VisitBody) -> OpenedVisit:
    """Open a company to oneself as staff. Its founders get the reason by mail."""
    async with entry.scope() as scope:
        opened = await staff.visit_company(scope, body.company, body.role, body.reason, body.minutes)
        return OpenedVisit.model_validate(opened)


@router.delete("/staff/visits/{visit_id}", status_code=HTTPStatus.NO_CONTENT)
async def end_own_visit(entry: Visiting, visit_id: UUID) -> None:
    """End a visit of one's own."""
    async with entry.scope() as scope:
        await staff.end_visit(scope, visit_id)


@router.get("/companies/{company}/staff-visits")
async def list_visits(entry: SeeingVisits, limit: PageSize = USUAL_PAGE_SIZE) -> Listing[Visit]:
    """List the last visits of the operator's staff to a company, the newest first."""
    async with entry.scope() as scope:
        found = await staff.visits_to_company(scope, limit=limit)
    return Listing[Visit](items=tuple(Visit.model_validate(each) for each in found), next_cursor=None)


@router.delete("/companies/{company}/staff-visits/{visit_id}", status_code=HTTPStatus.NO_CONTENT)
async def end_visit(entry: EndingVisits, visit_id: UUID) -> None:
    """End a visit of the operator's staff at once."""
    async with entry.scope() as scope:
        await staff.end_visit(scope, visit_id)


def _slug(cursor: str | None) -> str | None:
    if cursor is None:
        return None
    try:
        return decode_cursor(cursor, 1)[0]
    except ValueError:
        raise InvalidInput("This cursor is not one of ours. Start again from the first page.", field="cursor") from None
