"""Recording in the memory, changing what stands there, and finding it again.

The tools of agents are these same functions. Nothing is overwritten: a status changes along the life of its
kind, with a line of history; anything else about an entry changes by superseding it with a new one.
"""

from datetime import datetime

from operalta.access.rules import Permission
from operalta.audit.rules import Action
from operalta.audit.service import record as record_event
from operalta.db.permission import require
from operalta.db.scope import Scope
from operalta.kernel.errors import InvalidInput
from operalta.kernel.ids import ApprovalId, PersonId, RecordId, new_id
from operalta.kernel.texts import checked_line, checked_text
from operalta.terms.registry import upholds
from operalta.workspace.errors import AlreadySuperseded, NoSuchLink, NoSuchRecord, NotAMember
from operalta.workspace.memory import store
from operalta.workspace.memory.rules import (
    LONGEST_BODY,
    LONGEST_EVIDENCE,
    LONGEST_NOTE,
    LONGEST_TITLE,
    Change,
    Entry,
    NamedEntry,
    Record,
    RecordKind,
    RecordWithHistory,
    Relation,
    Status,
    check_move,
    first_status,
    kind_called,
    next_statuses,
    relation_called,
)
from operalta.workspace.rules import (
    USUAL_PAGE,
    Page,
    Position,
    any_of,
    checked_limit,
    checked_query,
    page_of,
    position_cursor,
    position_in,
)

LONGEST_NAMING, MOST_NAMED = 4_000, 100


@upholds("2.5.0", "2.5.3", "5.1.3")
async def record(
    scope: Scope,
    kind: str,
    title: str,
    body: str = "",
    *,
    status: str | None = None,
    evidence: str = "",
    owner_id: PersonId | None = None,
    approval_id: ApprovalId | None = None,
) -> Record:
    """Add an entry and return it. Its owner is the person of the scope unless another member is named.

    Without `status` it starts at the first of its kind's life. `approval_id` names what a person approved, for an
    agent's run alone. Raise NotAllowed, InvalidInput, NotAMember.
    """
    require(scope, Permission.MEMORY_WRITE)
    entry = await _checked(
        scope,
        kind_called(kind),
        title,
        body,
        status=status,
        evidence=evidence,
        owner_id=owner_id,
        approval_id=approval_id,
    )
    added = await _add(scope, entry, None, "")
    await record_event(scope, Action.MEMORY_RECORDED, "record", added.id, kind=entry.kind, status=entry.status)
    return added


@upholds("2.5.3", "5.1.3")
async def change_status(scope: Scope, record_id: RecordId, status: str, note: str = "") -> Record:
    """Move an entry along the life of its kind, with a line of history.

    Raise NoSuchRecord, StatusNotReachable, AlreadySuperseded; of two people who move it at once, the second is
    judged by what the first left.
    """
    require(scope, Permission.MEMORY_WRITE)
    note = checked_text(note, "note", LONGEST_NOTE)
    kind, before = await _held(scope, record_id)
    after = check_move(kind, before, status)
    await store.set_status(scope, record_id, after)
    await store.insert_history(scope, record_id, Change.STATUS_CHANGED, before=before, after=after, note=note)
    await record_event(scope, Action.MEMORY_STATUS_CHANGED, "record", record_id, kind=kind, before=before, after=after)
    return await _found(scope, record_id)


@upholds("2.5.3", "5.1.3")
async def supersede(
    scope: Scope,
    record_id: RecordId,
    title: str,
    body: str = "",
    *,
    status: str | None = None,
    evidence: str = "",
    owner_id: PersonId | None = None,
    note: str = "",
    approval_id: ApprovalId | None = None,
) -> Record:
    """Put a new entry of the same kind in the place of an old one, and return the new one.

    The old one keeps its words and its history, and points to the new one. Raise NoSuchRecord, AlreadySuperseded.
    """
    require(scope, Permission.MEMORY_WRITE)
    note = checked_text(note, "note", LONGEST_NOTE)
    kind, before = await _held(scope, record_id)
    if before is Status.SUPERSEDED:
        raise AlreadySuperseded
    entry = await _checked(
        scope, kind, title, body, status=status, evidence=evidence, owner_id=owner_id, approval_id=approval_id
    )
    added = await _add(scope, entry, record_id, note)
    await store.set_status(scope, record_id, Status.SUPERSEDED, added.id)
    await store.insert_history(scope, record_id, Change.SUPERSEDED, before=before, after=Status.SUPERSEDED, note=note)
    await record_event(
        scope, Action.MEMORY_SUPERSEDED, "record", record_id, kind=kind, before=before, superseded_by=added.id
    )
    return added


@upholds("2.5.3", "5.1.3")
async def link(scope: Scope, record_id: RecordId, relation: str, linked_id: RecordId, note: str = "") -> None:
    """Tie an entry to another one, with a line of history at the first. Tying them so again changes nothing.

    Raise NoSuchRecord, or InvalidInput for an entry and itself.
    """
    require(scope, Permission.MEMORY_WRITE)
    wanted = relation_called(relation)
    note = checked_text(note, "note", LONGEST_NOTE)
    if record_id == linked_id:
        raise InvalidInput("An entry is not tied to itself. Name another one.", field="linked_id")
    _, status = await _held(scope, record_id)
    other = await _found(scope, linked_id)
    if await store.insert_link(scope, record_id, wanted, linked_id):
        told = _told(wanted, other, note)
        await store.insert_history(scope, record_id, Change.LINKED, before=status, after=status, note=told)
        await record_event(scope, Action.MEMORY_LINKED, "record", record_id, relation=wanted, linked=linked_id)


@upholds("2.5.3")
async def unlink(scope: Scope, record_id: RecordId, relation: str, linked_id: RecordId) -> None:
    """Untie two entries, with a line of history at the first. Raise NoSuchRecord, NoSuchLink."""
    require(scope, Permission.MEMORY_WRITE)
    wanted = relation_called(relation)
    _, status = await _held(scope, record_id)
    other = await _found(scope, linked_id)
    if not await store.delete_link(scope, record_id, wanted, linked_id):
        raise NoSuchLink
    told = _told(wanted, other, "")
    await store.insert_history(scope, record_id, Change.UNLINKED, before=status, after=status, note=told)
    await record_event(scope, Action.MEMORY_UNLINKED, "record", record_id, relation=wanted, linked=linked_id)


def _told(relation: Relation, other: Record, note: str) -> str:
    return f"{relation.value} “{other.title}”. {note}".strip()[:LONGEST_NOTE]


async def get(scope: Scope, record_id: RecordId) -> RecordWithHistory:
    """Return an entry with its history and provenance. Raise NoSuchRecord."""
    require(scope, Permission.MEMORY_READ)
    found = await _found(scope, record_id)
    history = await store.history_of(scope, record_id)
    links = await store.links_of(scope, record_id)
    return RecordWithHistory(found, tuple(history), tuple(links), next_statuses(found.kind, found.status))


async def list_records(
    scope: Scope,
    kind: str | None = None,
    query: str | None = None,
    cursor: str | None = None,
    limit: int = USUAL_PAGE,
) -> Page[Record]:
    """Return entries, newest first, superseded ones among them; with `query`, the newest of the 200 best matches."""
    require(scope, Permission.MEMORY_READ)
    wanted = None if kind is None else kind_called(kind)
    after = position_in(cursor)
    most = checked_limit(limit)
    found = await store.page_of_records(scope, wanted, checked_query(query), after, most + 1)
    return page_of(found, most, lambda last: position_cursor(Position(last.created_at, last.id)))


@upholds("5.1.1")
async def search(scope: Scope, query: str, kinds: tuple[str, ...] = (), limit: int = 20) -> tuple[Record, ...]:
    """Return the entries of this company whose words match best, of `kinds` or of all.

    Quotes, `or` and a minus work as in a web search. Where no entry holds all the words, those with any of them.
    """
    require(scope, Permission.MEMORY_READ)
    wanted = tuple(dict.fromkeys(kind_called(kind) for kind in kinds)) or tuple(RecordKind)
    most = checked_limit(limit)
    asked = checked_query(query)
    if asked is None:
        return ()
    found = await store.matching_records(scope, asked, wanted, most)
    if not found and (looser := any_of(asked)) is not None:
        found = await store.matching_records(scope, looser, wanted, most)
    return tuple(found)


async def entries_named(scope: Scope, text: str, before: datetime) -> tuple[NamedEntry, ...]:
    """Return the entries that held `before` and whose whole titles stand in `text`.

    None for a text that is longer than people type, or that names more than anybody means: nothing is known of it then.
    """
    require(scope, Permission.MEMORY_READ)
    if len(text) > LONGEST_NAMING:
        return ()
    found = await store.entries_named(scope, text, before, MOST_NAMED + 1)
    return tuple(found) if len(found) <= MOST_NAMED else ()


async def _checked(
    scope: Scope,
    kind: RecordKind,
    title: str,
    body: str,
    *,
    status: str | None,
    evidence: str,
    owner_id: PersonId | None,
    approval_id: ApprovalId | None,
) -> Entry:
    if approval_id is not None and scope.actor.run_id is None:
        raise InvalidInput("Only an agent's run acts under an approval. Leave it out.", field="approval_id")
    owner = scope.actor.person_id if owner_id is None else owner_id
    entry = Entry(
        kind,
        checked_line(title, "title", LONGEST_TITLE, 1),
        checked_text(body, "body", LONGEST_BODY),
        first_status(kind, status),
        checked_text(evidence, "evidence", LONGEST_EVIDENCE),
        owner,
        approval_id,
    )
    if owner_id is not None and not await store.is_member(scope, owner_id):
        raise NotAMember(field="owner_id")
    return entry


async def _add(scope: Scope, entry: Entry, supersedes: RecordId | None, note: str) -> Record:
    added = RecordId(new_id())
    await store.insert_record(scope, added, entry, supersedes)
    await store.insert_history(scope, added, Change.RECORDED, before=None, after=entry.status, note=note)
    return await _found(scope, added)


async def _held(scope: Scope, record_id: RecordId) -> tuple[RecordKind, Status]:
    held = await store.lock_record(scope, record_id)
    if held is None:
        raise NoSuchRecord
    return held


async def _found(scope: Scope, record_id: RecordId) -> Record:
    found = await store.find_record(scope, record_id)
    if found is None:
        raise NoSuchRecord
    return found
