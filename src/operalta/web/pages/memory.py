"""The pages of the memory: the ledger by kind, and one entry with its history."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import HTMLResponse, Response

from operalta.access.rules import Permission, permissions_of
from operalta.db.scope import Scope
from operalta.guard import rules
from operalta.kernel.errors import Conflict, InvalidInput, NotAllowed, Refusal
from operalta.kernel.ids import PersonId, RecordId
from operalta.tenancy.service import list_members
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.pages.links import address_of
from operalta.web.presentation import go_to, page, typed_lines
from operalta.workspace.memory import service
from operalta.workspace.memory.rules import (
    LIFECYCLES,
    HistoryLine,
    Link,
    Record,
    RecordKind,
    RecordWithHistory,
    Relation,
    Status,
    kind_called,
)
from operalta.workspace.rules import LARGEST_PAGE, USUAL_PAGE, Page, Position, page_of, position_cursor

router = APIRouter()

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.MEMORY_READ, rules.READ))]
Writing = Annotated[CompanyEntry, Depends(InCompany(Permission.MEMORY_WRITE, rules.WRITE))]
# Form fields are bounded generously here; the services refuse with a text that helps.
Text = Annotated[str, Form(max_length=50_000)]
Word = Annotated[str, Query(max_length=40)]
Search = Annotated[str, Query(max_length=2_000)]
Cursor = Annotated[str | None, Query(max_length=4_000)]

_EXCERPT_CHARACTERS = 200
_MOST_LOOKED_THROUGH = 2_000
"""How many entries are looked through for those of one status before the list goes on with the next page."""


@router.get("/c/{company}/memory")
async def ledger(
    entry: Reading, kind: Word = RecordKind.DECISION.value, q: Search = "", status: Word = "", cursor: Cursor = None
) -> HTMLResponse:
    """Show the entries of one kind."""
    return await _ledger_page(entry, kind_called(kind), q, status, cursor, form={}, refusal=None)


@router.post("/c/{company}/memory")
async def record(
    entry: Writing,
    kind: Text = "",
    title: Text = "",
    body: Text = "",
    status: Text = "",
    evidence: Text = "",
    owner_id: Text = "",
) -> Response:
    """Write an entry down."""
    wanted = kind_called(kind)
    try:
        async with entry.scope() as scope:
            added = await service.record(
                scope,
                wanted,
                title,
                typed_lines(body),
                status=status or None,
                evidence=typed_lines(evidence),
                owner_id=_owner(owner_id),
            )
    except (InvalidInput, Conflict, NotAllowed) as refusal:
        form = {"title": title, "body": body, "status": status, "evidence": evidence, "owner_id": owner_id}
        return await _ledger_page(entry, wanted, "", "", None, form=form, refusal=refusal)
    return go_to(f"/c/{entry.company}/memory/{added.id}", "recorded")


@router.get("/c/{company}/memory/{record_id}")
async def one(entry: Reading, record_id: UUID) -> HTMLResponse:
    """Show one entry with its history."""
    return await _record_page(entry, RecordId(record_id), {}, None)


@router.post("/c/{company}/memory/{record_id}/status")
async def change_status(
    entry: Writing, record_id: UUID, status: Text = "", version: Annotated[int, Form(ge=0, le=10_000)] = 0
) -> Response:
    """Move an entry along the life of its kind."""
    try:
        async with entry.scope() as scope:
            await _require_version(scope, RecordId(record_id), version)
            await service.change_status(scope, RecordId(record_id), status)
    except (InvalidInput, Conflict, NotAllowed) as refusal:
        return await _record_page(entry, RecordId(record_id), {}, refusal)
    return go_to(f"/c/{entry.company}/memory/{record_id}", "saved")


@router.post("/c/{company}/memory/{record_id}/supersede")
async def supersede(
    entry: Writing,
    record_id: UUID,
    title: Text = "",
    body: Text = "",
    status: Text = "",
    evidence: Text = "",
    reason: Text = "",
    version: Annotated[int, Form(ge=0, le=10_000)] = 0,
) -> Response:
    """Put a new entry in the place of this one."""
    try:
        async with entry.scope() as scope:
            await _require_version(scope, RecordId(record_id), version)
            added = await service.supersede(
                scope,
                RecordId(record_id),
                title,
                typed_lines(body),
                status=status or None,
                evidence=typed_lines(evidence),
                note=typed_lines(reason),
            )
    except (InvalidInput, Conflict, NotAllowed) as refusal:
        form = {"title": title, "body": body, "status": status, "evidence": evidence, "reason": reason}
        return await _record_page(entry, RecordId(record_id), form, refusal)
    return go_to(f"/c/{entry.company}/memory/{added.id}", "recorded")


@router.post("/c/{company}/memory/{record_id}/links")
async def link(entry: Writing, record_id: UUID, relation: Text = "", linked_id: UUID | Literal[""] = "") -> Response:
    """Tie this entry to another one."""
    try:
        async with entry.scope() as scope:
            await service.link(scope, RecordId(record_id), relation, _chosen(linked_id))
    except (InvalidInput, Conflict, NotAllowed) as refusal:
        return await _record_page(entry, RecordId(record_id), {"relation": relation}, refusal)
    return go_to(f"/c/{entry.company}/memory/{record_id}", "saved")


@router.post("/c/{company}/memory/{record_id}/links/remove")
async def unlink(entry: Writing, record_id: UUID, linked_id: Annotated[UUID, Form()], relation: Text = "") -> Response:
    """Untie this entry from another one."""
    async with entry.scope() as scope:
        await service.unlink(scope, RecordId(record_id), relation, RecordId(linked_id))
    return go_to(f"/c/{entry.company}/memory/{record_id}", "saved")


def _chosen(linked_id: UUID | Literal[""]) -> RecordId:
    if linked_id == "":
        raise InvalidInput("Choose the other entry.", field="linked_id")
    return RecordId(linked_id)


def _owner(text: str) -> PersonId | None:
    if not text:
        return None
    try:
        return PersonId(UUID(text))
    except ValueError:
        raise InvalidInput("Choose one of the members.", field="owner_id") from None


async def _require_version(scope: Scope, record_id: RecordId, version: int) -> None:
    """Refuse a change by somebody who has not seen the latest one. An entry's version counts its history."""
    if version and version != len((await service.get(scope, record_id)).history):
        raise Conflict


async def _ledger_page(
    entry: CompanyEntry,
    kind: RecordKind,
    search: str,
    status: str,
    cursor: str | None,
    *,
    form: dict[str, str],
    refusal: Refusal | None,
) -> HTMLResponse:
    base = f"/c/{entry.company}/memory"
    asked: dict[str, str | None] = {"kind": kind.value, "q": search, "status": status}
    async with entry.scope() as scope:
        held = permissions_of(scope.actor.company_kind, scope.actor.role)
        members = await list_members(scope) if {Permission.MEMORY_WRITE, Permission.MEMBERS_READ} <= held else ()
        found = await _entries(scope, kind, search, status, cursor or None)
        context: dict[str, object] = {
            "kind": kind.value,
            "counts": dict.fromkeys((each.value for each in RecordKind), None),
            "search": search,
            "status_filter": status,
            "statuses": [each.value for each in (*LIFECYCLES[kind].moves, Status.SUPERSEDED)],
            "initial_statuses": [each.value for each in LIFECYCLES[kind].initial],
            "records": [_listed(each) for each in found.items],
            "previous_url": address_of(base, asked) if cursor else None,
            "next_url": address_of(base, {**asked, "cursor": found.next_cursor}) if found.next_cursor else None,
            "form": form,
            "people": [(str(member.person_id), member.name) for member in members],
        }
        return await _shown(entry, scope, "pages/memory.html", context, refusal)


async def _entries(scope: Scope, kind: RecordKind, search: str, status: str, cursor: str | None) -> Page[Record]:
    """Return a page of the ledger; with a status, those entries of it among the next 2,000."""
    if not status:
        return await service.list_records(scope, kind, search, cursor, USUAL_PAGE)
    found: list[Record] = []
    for _ in range(_MOST_LOOKED_THROUGH // LARGEST_PAGE):
        read = await service.list_records(scope, kind, search, cursor, LARGEST_PAGE)
        found += [each for each in read.items if each.status == status]
        cursor = read.next_cursor
        if cursor is None or len(found) > USUAL_PAGE:
            break
    if len(found) > USUAL_PAGE:
        return page_of(found, USUAL_PAGE, lambda last: position_cursor(Position(last.created_at, last.id)))
    return Page(tuple(found), cursor)


def _listed(each: Record) -> dict[str, object]:
    excerpt = " ".join(each.body.split())
    return {
        "id": each.id,
        "title": each.title,
        "status": each.status.value,
        "owner": each.owner_name,
        "updated_at": each.updated_at,
        "excerpt": excerpt[:_EXCERPT_CHARACTERS] + ("…" if len(excerpt) > _EXCERPT_CHARACTERS else ""),
        "by_agent": "an agent" if each.run_id else None,
    }


async def _record_page(
    entry: CompanyEntry, record_id: RecordId, form: dict[str, str], refusal: Refusal | None
) -> HTMLResponse:
    async with entry.scope() as scope:
        found = await service.get(scope, record_id)
        record_ = found.record
        lifecycle = LIFECYCLES[record_.kind]
        context: dict[str, object] = {
            "record": {
                "id": record_.id,
                "kind": record_.kind.value,
                "title": record_.title,
                "body": record_.body,
                "status": record_.status.value,
                "owner": record_.owner_name,
                "evidence": record_.evidence,
                "created_at": record_.created_at,
                "provenance": _provenance(found),
                "version": len(found.history),
                "superseded_by": await _reference(scope, record_.superseded_by_id),
                "supersedes": await _reference(scope, record_.supersedes_id),
            },
            "links": [_link(each) for each in found.links],
            "relations": [each.value for each in Relation],
            "others": await _others(scope, record_.id),
            "history": [_happened(line) for line in reversed(found.history)],
            "initial_statuses": [each.value for each in lifecycle.initial],
            "next_statuses": [each.value for each in found.next_statuses],
            "form": form or {"status": lifecycle.initial[0].value},
        }
        return await _shown(entry, scope, "pages/memory_record.html", context, refusal)


def _link(each: Link) -> dict[str, object]:
    return {
        "relation": each.relation.value,
        "id": each.id,
        "title": each.title,
        "is_from_here": each.is_from_here,
        "is_over": each.status is Status.SUPERSEDED,
    }


async def _others(scope: Scope, record_id: RecordId) -> list[tuple[str, str]]:
    """Return the latest entries, to choose from: what is older is tied from its own page."""
    if Permission.MEMORY_WRITE not in permissions_of(scope.actor.company_kind, scope.actor.role):
        return []
    found = await service.list_records(scope, limit=LARGEST_PAGE)
    return [
        (str(each.id), f"{each.kind.value.capitalize()}: {each.title}") for each in found.items if each.id != record_id
    ]


async def _reference(scope: Scope, record_id: RecordId | None) -> dict[str, object] | None:
    if record_id is None:
        return None
    found = (await service.get(scope, record_id)).record
    return {"id": found.id, "title": found.title}


def _provenance(found: RecordWithHistory) -> str:
    author = found.record.recorded_by_name or "somebody who is no longer here"
    if found.record.run_id is None:
        return f"written by {author}"
    approved = ", under an approval" if found.record.approval_id else ""
    return f"written by an agent for {author}{approved}"


def _happened(line: HistoryLine) -> dict[str, object]:
    who = line.person_name or "Somebody who is no longer here"
    detail = f"an agent for {who}" if line.run_id else who
    title = line.change.value.capitalize()
    if line.before and line.after and line.before != line.after:
        title = f"{title}: {line.before} to {line.after}"
    return {"at": line.at, "title": title, "detail": f"{detail} · {line.note}" if line.note else detail, "href": None}


async def _shown(
    entry: CompanyEntry, scope: Scope, template: str, context: dict[str, object], refusal: Refusal | None
) -> HTMLResponse:
    return await page(
        entry.request,
        scope,
        template,
        context,
        nav="memory",
        refusal=refusal,
    )
