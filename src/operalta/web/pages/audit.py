"""The page of the audit log: what happened, who did it, and whether the log is whole."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import HTMLResponse, Response

from operalta.access.rules import Permission
from operalta.audit import service
from operalta.audit.findings import LogVerdict
from operalta.audit.keys import verifier
from operalta.audit.queries import EventCursor, EventFilters, parse_query
from operalta.audit.rules import Action, Outcome
from operalta.audit.service import ChainState, ListedEvent
from operalta.db.scope import Scope
from operalta.guard import rules
from operalta.kernel.errors import InvalidInput, Refusal
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.pages.links import address_of
from operalta.web.presentation import Errors, go_to, page
from operalta.web.transfers import attachment
from operalta.workspace.csv_export import write_csv

router = APIRouter()

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.AUDIT_READ, rules.READ))]
Checking = Annotated[CompanyEntry, Depends(InCompany(Permission.AUDIT_READ, rules.SENSITIVE_WRITE))]

MOST_EXPORTED = 10_000
_OUTCOMES = {Outcome.SUCCEEDED.value: "allowed", Outcome.REFUSED.value: "denied", Outcome.FAILED.value: "failed"}
_CHAIN = {LogVerdict.WHOLE.value: "intact", LogVerdict.TAMPERED.value: "tampered"}
_HEADER = (
    "number", "at", "actor kind", "actor", "actor id", "run", "action", "target kind", "target", "outcome",
    "request", "origin", "detail",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the log, as it stands in the address."""

    q: str
    actor: str
    action: str
    since: str
    until: str

    def filters(self) -> EventFilters:
        """Return the filters. Raise InvalidInput for what cannot be understood."""
        written = parse_query(self.q)
        since, until = _day(self.since, "since"), _day(self.until, "until")
        return replace(
            written,
            actor=self.actor.strip().replace("\0", "") or written.actor,
            action=self.action.replace("\0", "") or written.action,
            since=max((each for each in (since, written.since) if each), default=None),
            until=min((each for each in (until and until + timedelta(days=1), written.until) if each), default=None),
        )

    def to_query(self) -> dict[str, str | None]:
        """Return it as parts of an address."""
        return {"q": self.q, "actor": self.actor, "action": self.action, "since": self.since, "until": self.until}


async def asked(
    q: Annotated[str, Query(max_length=2_000)] = "",
    actor: Annotated[str, Query(max_length=120)] = "",
    action: Annotated[str, Query(max_length=80)] = "",
    since: Annotated[str, Query(max_length=40)] = "",
    until: Annotated[str, Query(max_length=40)] = "",
) -> Asked:
    """Return what stands in the address."""
    return Asked(q, actor, action, since, until)


AskedFor = Annotated[Asked, Depends(asked)]


@router.get("/c/{company}/audit")
async def log(
    entry: Reading, wanted: AskedFor, cursor: Annotated[str | None, Query(max_length=400)] = None
) -> HTMLResponse:
    """Show the events that pass the filters, newest first."""
    place = EventCursor.from_text(cursor) if cursor else None
    try:
        filters = wanted.filters()
    except InvalidInput as refusal:
        return await _audit_page(entry, wanted, None, None, (), refusal)
    return await _audit_page(entry, wanted, filters, place, (), None)


@router.get("/c/{company}/audit/export")
async def export(entry: Checking, wanted: AskedFor, format: Literal["csv", "json"] = "csv") -> Response:  # noqa: A002 - the address's own word
    """Hand over what is filtered, at most 10,000 events; that it was taken is an event itself."""
    filters = wanted.filters()
    async with entry.scope() as scope:
        events = await _all_events(scope, filters)
        await service.record(
            scope, Action.AUDIT_EXPORTED, "audit_log", scope.company, events=len(events), format=format
        )
        slug = scope.actor.company_slug
    if format == "json":
        content = json.dumps([_as_json(each) for each in events], ensure_ascii=False, indent=1).encode()
        return attachment(f"audit-{slug}.json", content, "application/json")
    return attachment(f"audit-{slug}.csv", write_csv(_HEADER, map(_as_row, events)), "text/csv; charset=utf-8")


@router.post("/c/{company}/audit/verify")
async def verify(entry: Checking) -> Response:
    """Check that every sealed event of the company is whole and in its place."""
    async with entry.scope() as scope:
        seen = await _last_check(scope)
        report = await service.verify_company(scope, verifier(entry.services.audit_keys.find), known=_events_then(seen))
    if report.verdict is LogVerdict.WHOLE:
        return go_to(f"/c/{entry.company}/audit", "log-whole")
    errors = [{"field": "", "text": f"{found.where.capitalize()}: {found.text}"} for found in report.findings[:20]]
    return await _audit_page(entry, Asked("", "", "", "", ""), EventFilters(), None, errors, None)


def _day(text: str, field: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        raise InvalidInput("Write the day as 2026-01-31.", field=field) from None


async def _audit_page(
    entry: CompanyEntry,
    wanted: Asked,
    filters: EventFilters | None,
    place: EventCursor | None,
    errors: Errors,
    refusal: Refusal | None,
) -> HTMLResponse:
    base = f"/c/{entry.company}/audit"
    asked_for = wanted.to_query()
    async with entry.scope() as scope:
        found = await service.list_events(scope, filters, place) if filters else service.EventPage((), None)
        further = found.next_cursor.to_text() if found.next_cursor else None
        context: dict[str, object] = {
            "filters": asked_for,
            "actions": sorted(each.value for each in Action),
            "events": [_listed(each) for each in found.events],
            "previous_url": address_of(base, asked_for) if place else None,
            "next_url": address_of(base, {**asked_for, "cursor": further}) if further else None,
            "export_url": address_of(f"{base}/export", asked_for),
            "chain": _chain(await service.chain_state(scope), await _last_check(scope)),
        }
        return await page(
            entry.request, scope, "pages/audit.html", context, nav="audit", refusal=refusal, errors=errors
        )


async def _last_check(scope: Scope) -> ListedEvent | None:
    checks = await service.list_events(scope, EventFilters(action=Action.AUDIT_VERIFIED.value), limit=1)
    return next(iter(checks.events), None)


def _events_then(check: ListedEvent | None) -> int:
    events = check.detail.get("events") if check else None
    return events if isinstance(events, int) else 0


async def _all_events(scope: Scope, filters: EventFilters) -> list[ListedEvent]:
    events: list[ListedEvent] = []
    place: EventCursor | None = None
    while True:
        found = await service.list_events(scope, filters, place, service.LARGEST_PAGE)
        events += found.events
        place = found.next_cursor
        if len(events) > MOST_EXPORTED or (place and len(events) == MOST_EXPORTED):
            raise InvalidInput(
                f"More than {MOST_EXPORTED:,} events pass these filters. Export fewer days at a time.", field="since"
            )
        if place is None:
            return events


def _listed(event: ListedEvent) -> dict[str, object]:
    name = event.target_id or ""
    return {
        "number": "…" if event.company_number is None else event.company_number,
        "at": event.occurred_at,
        "actor": _actor(event),
        "action": event.action,
        "subject": {"kind": event.target_kind, "name": name, "is_identifier": _is_identifier(name)}
        if event.target_kind
        else None,
        "outcome": _OUTCOMES.get(event.outcome, event.outcome),
        "details": _as_json(event),
    }


def _is_identifier(name: str) -> bool:
    try:
        UUID(name)
    except ValueError:
        return False
    return True


def _actor(event: ListedEvent) -> str:
    who = event.actor_name or ("somebody who is no longer here" if event.actor_person_id else event.actor_kind)
    return f"an agent for {who}" if event.actor_run_id else who


def _chain(state: ChainState, check: ListedEvent | None) -> dict[str, object]:
    verdict = str(check.detail.get("verdict")) if check else ""
    return {
        "state": _CHAIN.get(verdict, "unknown"),
        "sealed": state.sealed,
        "unsealed": state.unsealed,
        "head": state.head.root.hex() if state.head else None,
        "verified_at": check.occurred_at if check else None,
    }


def _as_json(event: ListedEvent) -> dict[str, object]:
    return {
        "id": str(event.id),
        "number": event.company_number,
        "at": event.occurred_at.isoformat(),
        "actor_kind": event.actor_kind,
        "actor": event.actor_name,
        "actor_id": _text(event.actor_person_id),
        "run_id": _text(event.actor_run_id),
        "action": event.action,
        "target_kind": event.target_kind,
        "target_id": event.target_id,
        "outcome": event.outcome,
        "request_id": _text(event.request_id),
        "origin": event.origin,
        "detail": dict(event.detail),
    }


def _as_row(event: ListedEvent) -> Sequence[str | int | None]:
    return (
        event.company_number,
        event.occurred_at.isoformat(),
        event.actor_kind,
        event.actor_name,
        _text(event.actor_person_id),
        _text(event.actor_run_id),
        event.action,
        event.target_kind,
        event.target_id,
        event.outcome,
        _text(event.request_id),
        event.origin,
        json.dumps(dict(event.detail), ensure_ascii=False, sort_keys=True),
    )


def _text(identifier: object | None) -> str | None:
    return None if identifier is None else str(identifier)
