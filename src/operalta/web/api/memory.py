"""The memory: decisions, hypotheses, experiments and blockers."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from operalta.access.rules import Permission
from operalta.guard import rules
from operalta.kernel.ids import PersonId, RecordId
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown
from operalta.web.entry import CompanyEntry, InCompany
from operalta.workspace.memory import service
from operalta.workspace.memory.rules import (
    LONGEST_BODY,
    LONGEST_EVIDENCE,
    LONGEST_NOTE,
    LONGEST_TITLE,
    RecordKind,
    RecordWithHistory,
    Relation,
    Status,
)
from operalta.workspace.rules import LONGEST_QUERY

router = APIRouter(prefix="/companies/{company}/memory", tags=["memory"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.MEMORY_READ, rules.READ))]
Writing = Annotated[CompanyEntry, Depends(InCompany(Permission.MEMORY_WRITE, rules.WRITE))]

Title = Annotated[str, Field(min_length=1, max_length=LONGEST_TITLE)]
Details = Annotated[str, Field(max_length=LONGEST_BODY, description="Markdown")]
Evidence = Annotated[str, Field(max_length=LONGEST_EVIDENCE, description="What it rests on; Markdown")]
Note = Annotated[str, Field(max_length=LONGEST_NOTE)]


class RecordBody(Body):
    """A new entry. Without a status it starts at the first of its kind; without an owner it is one's own."""

    kind: RecordKind
    title: Title
    body: Details = ""
    status: Status | None = None
    evidence: Evidence = ""
    owner_id: UUID | None = None


class StatusBody(Body):
    """Where an entry goes from where it stands."""

    status: Status
    note: Note = ""


class SupersedeBody(Body):
    """The entry that takes the place of another, of the same kind, and why."""

    title: Title
    body: Details = ""
    status: Status | None = None
    evidence: Evidence = ""
    owner_id: UUID | None = None
    note: Note = ""


class Record(Shown):
    """An entry. `run_id` names the agent's run that wrote it for `recorded_by`."""

    id: UUID
    kind: RecordKind
    title: str
    body: str
    status: Status
    evidence: str
    owner_id: UUID
    owner_name: str | None
    recorded_by: UUID
    recorded_by_name: str | None
    run_id: UUID | None
    approval_id: UUID | None
    supersedes_id: UUID | None
    superseded_by_id: UUID | None
    created_at: datetime
    updated_at: datetime


class HistoryLine(Shown):
    """One change of an entry."""

    at: datetime
    person_id: UUID
    person_name: str | None
    run_id: UUID | None
    change: str
    before: str | None
    after: str | None
    note: str


class LinkBody(Body):
    """How this entry is tied to another one of the company."""

    relation: Relation
    linked_id: UUID
    note: Note = ""


class Link(Shown):
    """Another entry that one is tied to. `is_from_here`: this one supports that, not the other way round."""

    relation: Relation
    id: UUID
    kind: RecordKind
    title: str
    status: Status
    is_from_here: bool
    linked_by_name: str | None
    run_id: UUID | None


class WholeRecord(Record):
    """An entry with its history, oldest first, what it is tied to, and the statuses that it can get next."""

    history: tuple[HistoryLine, ...]
    links: tuple[Link, ...]
    next_statuses: tuple[Status, ...]

    @classmethod
    def of(cls, found: RecordWithHistory) -> Self:
        """Return an entry as it is shown alone."""
        return cls(
            **Record.model_validate(found.record).model_dump(),
            history=tuple(HistoryLine.model_validate(line) for line in found.history),
            links=tuple(Link.model_validate(each) for each in found.links),
            next_statuses=found.next_statuses,
        )


@router.get("")
async def list_records(
    entry: Reading,
    kind: RecordKind | None = None,
    q: Annotated[str, Query(max_length=LONGEST_QUERY, description="Words to search for")] = "",
    cursor: Cursor = None,
    limit: PageSize = USUAL_PAGE_SIZE,
) -> Listing[Record]:
    """List entries, newest first; with `q`, the newest of the 200 best matches."""
    async with entry.scope() as scope:
        found = await service.list_records(scope, kind, q, cursor, limit)
    return Listing[Record](
        items=tuple(Record.model_validate(each) for each in found.items), next_cursor=found.next_cursor
    )


@router.post("", status_code=HTTPStatus.CREATED)
async def record(entry: Writing, body: RecordBody) -> Record:
    """Write an entry down."""
    async with entry.scope() as scope:
        added = await service.record(
            scope,
            body.kind,
            body.title,
            body.body,
            status=body.status,
            evidence=body.evidence,
            owner_id=PersonId(body.owner_id) if body.owner_id else None,
        )
        return Record.model_validate(added)


@router.get("/{record_id}")
async def get_record(entry: Reading, record_id: UUID) -> WholeRecord:
    """Return one entry with its history."""
    async with entry.scope() as scope:
        return WholeRecord.of(await service.get(scope, RecordId(record_id)))


@router.post("/{record_id}/status")
async def change_status(entry: Writing, record_id: UUID, body: StatusBody) -> Record:
    """Move an entry along the life of its kind. 409 where the status cannot be reached from the present one."""
    async with entry.scope() as scope:
        return Record.model_validate(await service.change_status(scope, RecordId(record_id), body.status, body.note))


@router.post("/{record_id}/supersede", status_code=HTTPStatus.CREATED)
async def supersede(entry: Writing, record_id: UUID, body: SupersedeBody) -> Record:
    """Put a new entry in the place of this one, and return the new one."""
    async with entry.scope() as scope:
        added = await service.supersede(
            scope,
            RecordId(record_id),
            body.title,
            body.body,
            status=body.status,
            evidence=body.evidence,
            owner_id=PersonId(body.owner_id) if body.owner_id else None,
            note=body.note,
        )
        return Record.model_validate(added)


@router.post("/{record_id}/links", status_code=HTTPStatus.CREATED)
async def link(entry: Writing, record_id: UUID, body: LinkBody) -> WholeRecord:
    """Tie an entry to another one, and return it. Tying them so again changes nothing."""
    async with entry.scope() as scope:
        await service.link(scope, RecordId(record_id), body.relation, RecordId(body.linked_id), body.note)
        return WholeRecord.of(await service.get(scope, RecordId(record_id)))


@router.delete("/{record_id}/links/{relation}/{linked_id}")
async def unlink(entry: Writing, record_id: UUID, relation: Relation, linked_id: UUID) -> WholeRecord:
    """Untie two entries, and return the first."""
    async with entry.scope() as scope:
        await service.unlink(scope, RecordId(record_id), relation, RecordId(linked_id))
        return WholeRecord.of(await service.get(scope, RecordId(record_id)))
