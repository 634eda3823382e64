"""The company's audit log, and checking it."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, Field

from operalta.access.rules import Permission
from operalta.audit import service
from operalta.audit.findings import LogVerdict
from operalta.audit.keys import verifier
from operalta.audit.queries import EventCursor, EventFilters, parse_query
from operalta.audit.rules import Outcome
from operalta.guard import rules
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown
from operalta.web.entry import CompanyEntry, InCompany

router = APIRouter(prefix="/companies/{company}/audit", tags=["audit"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.AUDIT_READ, rules.READ))]
Checking = Annotated[CompanyEntry, Depends(InCompany(Permission.AUDIT_READ, rules.SENSITIVE_WRITE))]


class Event(Shown):
    """Something that happened. `company_number` is null until it is sealed."""

    id: UUID
    company_number: int | None
    occurred_at: datetime
    actor_kind: str
    actor_person_id: UUID | None
    actor_name: str | None
    actor_run_id: UUID | None
    action: str
    target_kind: str
    target_id: str | None
    outcome: str
    request_id: UUID | None
    origin: str | None
    detail: dict[str, Any]


class VerifyBody(Body):
    """What one knows from an earlier check: how many sealed events there were."""

    known: Annotated[int, Field(ge=0, le=service.MOST_EVENTS_CHECKED)] = 0


class Finding(Shown):
    """Something that is not as it should be, or could not be compared."""

    kind: str
    where: str
    text: str


class Counts(Shown):
    """How much was gone through."""

    leaves: int
    proved: int
    erased: int
    unsealed: int


class Report(Shown):
    """What a check concludes. "could not check" is no sign of tampering."""

    verdict: LogVerdict
    counts: Counts
    findings: Annotated[tuple[Finding, ...], Field(max_length=2_000)]


@router.get("")
async def list_events(
    entry: Reading,
    q: Annotated[str, Query(max_length=400, description="Such as `actor:ada action:file. created:>=2026-01-31`")] = "",
    actor: Annotated[str, Query(max_length=120)] = "",
    action: Annotated[str, Query(max_length=80, description="The beginning of an action's name")] = "",
    outcome: Outcome | None = None,
    since: Annotated[AwareDatetime | None, Query(description="Included")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Not included")] = None,
    cursor: Cursor = None,
    limit: PageSize = USUAL_PAGE_SIZE,
) -> Listing[Event]:
    """List the company's events, newest first."""
    written = parse_query(q)
    filters = EventFilters(
        action=action or written.action,
        actor=actor or written.actor,
        words=written.words,
        outcome=outcome or written.outcome,
        since=max((each for each in (since, written.since) if each), default=None),
        until=min((each for each in (until, written.until) if each), default=None),
    )
    place = EventCursor.from_text(cursor) if cursor is not None else None
    async with entry.scope() as scope:
        found = await service.list_events(scope, filters, place, limit)
    return Listing[Event](
        items=tuple(Event.model_validate(each) for each in found.events),
        next_cursor=found.next_cursor.to_text() if found.next_cursor else None,
    )


@router.post("/verify")
async def verify(entry: Checking, body: VerifyBody) -> Report:
    """Check that each sealed event fits its commitment, carries the next number and stands in the signed tree."""
    async with entry.scope() as scope:
        report = await service.verify_company(scope, verifier(entry.services.audit_keys.find), known=body.known)
    return Report.model_validate(report)
