"""The SQL of the memory ledger."""

from datetime import datetime
from typing import Any

from operalta.db.scope import Row, Scope
from operalta.kernel.ids import PersonId, RecordId
from operalta.workspace.memory.rules import (
    Change,
    Entry,
    HistoryLine,
    Link,
    NamedEntry,
    Record,
    RecordKind,
    Relation,
    Status,
)
from operalta.workspace.rules import Position


async def is_member(scope: Scope, person: PersonId) -> bool:
    """Tell whether `person` is a member of the scope's company now."""
    row = await scope.one(
        """
        SELECT membership.person_id FROM tenancy.memberships AS membership
        WHERE membership.company_id = %(company)s AND membership.person_id = %(person)s AND membership.ended_at IS NULL
        """,
        {"company": scope.company, "person": person},
    )
    return row is not None


async def insert_record(scope: Scope, record: RecordId, entry: Entry, supersedes: RecordId | None) -> None:
    """Add an entry; who records it, and in which run, are the scope's own."""
    await scope.execute(
        """
        INSERT INTO workspace.records (company_id, id, kind, title, body, status, evidence, owner_id, recorded_by,
            run_id, approval_id, supersedes_id)
        VALUES (%(company)s, %(id)s, %(kind)s, %(title)s, %(body)s, %(status)s, %(evidence)s, %(owner)s, %(person)s,
            %(run)s, %(approval)s, %(supersedes)s)
        """,
        {
            "company": scope.company,
            "id": record,
            "kind": entry.kind.value,
            "title": entry.title,
            "body": entry.body,
            "status": entry.status.value,
            "evidence": entry.evidence,
            "owner": entry.owner_id,
            "person": scope.actor.person_id,
            "run": scope.actor.run_id,
            "approval": entry.approval_id,
            "supersedes": supersedes,
        },
    )


async def insert_history(
    scope: Scope, record: RecordId, change: Change, *, before: Status | None, after: Status, note: str
) -> None:
    """Add a line to an entry's history; who changed it, and in which run, are the scope's own."""
    await scope.execute(
        """
        INSERT INTO workspace.record_history (company_id, record_id, person_id, run_id, change, before, after, note)
        VALUES (%(company)s, %(record)s, %(person)s, %(run)s, %(change)s, %(before)s, %(after)s, %(note)s)
        """,
        {
            "company": scope.company,
            "record": record,
            "person": scope.actor.person_id,
            "run": scope.actor.run_id,
            "change": change.value,
            "before": before and before.value,
            "after": after.value,
            "note": note,
        },
    )


async def lock_record(scope: Scope, record: RecordId) -> tuple[RecordKind, Status] | None:
    """Hold an entry until the transaction ends, and return its kind and status."""
    row = await scope.one(
        """
        SELECT record.kind, record.status FROM workspace.records AS record
        WHERE record.company_id = %(company)s AND record.id = %(id)s FOR UPDATE
        """,
        {"company": scope.company, "id": record},
    )
    return None if row is None else (RecordKind(row["kind"]), Status(row["status"]))


async def set_status(scope: Scope, record: RecordId, status: Status, superseded_by: RecordId | None = None) -> None:
    """Write an entry's status, and the entry that takes its place where there is one."""
    await scope.execute(
        """
        UPDATE workspace.records SET status = %(status)s, updated_at = now(),
            superseded_by_id = coalesce(%(superseded_by)s::uuid, superseded_by_id)
        WHERE company_id = %(company)s AND id = %(id)s
        """,
        {"company": scope.company, "id": record, "status": status.value, "superseded_by": superseded_by},
    )


async def find_record(scope: Scope, record: RecordId) -> Record | None:
    """Return one entry."""
    row = await scope.one(
        """
        SELECT record.id, record.kind, record.title, record.body, record.status, record.evidence, record.owner_id,
            owner.name AS owner_name, record.recorded_by, author.name AS recorded_by_name, record.run_id,
            record.approval_id, record.supersedes_id, record.superseded_by_id, record.created_at, record.updated_at
        FROM workspace.records AS record
        LEFT JOIN identity.people AS owner ON owner.id = record.owner_id
        LEFT JOIN identity.people AS author ON author.id = record.recorded_by
        WHERE record.company_id = %(company)s AND record.id = %(id)s
        """,
        {"company": scope.company, "id": record},
    )
    return None if row is None else _record(row)


async def history_of(scope: Scope, record: RecordId) -> list[HistoryLine]:
    """Return what happened to an entry, oldest first."""
    rows = await scope.all(
        """
        SELECT line.at, line.person_id, person.name AS person_name, line.run_id, line.change, line.before, line.after,
            line.note
        FROM workspace.record_history AS line LEFT JOIN identity.people AS person ON person.id = line.person_id
        WHERE line.company_id = %(company)s AND line.record_id = %(record)s
        ORDER BY line.at, line.id LIMIT 1000
        """,
        {"company": scope.company, "record": record},
    )
    return [_line(row) for row in rows]


async def insert_link(scope: Scope, record: RecordId, relation: Relation, linked: RecordId) -> bool:
    """Tie an entry to another one; false where it is already. Who does so, and in which run, are the scope's own."""
    touched = await scope.execute(
        """
        INSERT INTO workspace.record_links (company_id, record_id, relation, linked_id, linked_by, run_id)
        VALUES (%(company)s, %(record)s, %(relation)s, %(linked)s, %(person)s, %(run)s) ON CONFLICT DO NOTHING
        """,
        {
            "company": scope.company,
            "record": record,
            "relation": relation.value,
            "linked": linked,
            "person": scope.actor.person_id,
            "run": scope.actor.run_id,
        },
    )
    return touched == 1


async def delete_link(scope: Scope, record: RecordId, relation: Relation, linked: RecordId) -> bool:
    """Untie two entries; false where they are not tied so."""
    touched = await scope.execute(
        """
        DELETE FROM workspace.record_links WHERE company_id = %(company)s AND record_id = %(record)s
          AND relation = %(relation)s AND linked_id = %(linked)s
        """,
        {"company": scope.company, "record": record, "relation": relation.value, "linked": linked},
    )
    return touched == 1


async def links_of(scope: Scope, record: RecordId) -> list[Link]:
    """Return what an entry is tied to, from it and to it, at most 200."""
    rows = await scope.all(
        """
        SELECT tie.relation, other.id, other.kind, other.title, other.status, tie.record_id = %(record)s AS is_from_here,
            person.name AS linked_by_name, tie.run_id
        FROM workspace.record_links AS tie
        JOIN workspace.records AS other ON other.company_id = tie.company_id
            AND other.id = CASE WHEN tie.record_id = %(record)s THEN tie.linked_id ELSE tie.record_id END
        LEFT JOIN identity.people AS person ON person.id = tie.linked_by
        WHERE tie.company_id = %(company)s AND (tie.record_id = %(record)s OR tie.linked_id = %(record)s)
        ORDER BY tie.at, other.id LIMIT 200
        """,
        {"company": scope.company, "record": record},
    )
    return [_link(row) for row in rows]


async def page_of_records(
    scope: Scope, kind: RecordKind | None, query: str | None, after: Position | None, most: int
) -> list[Record]:
    """Return up to `most` entries, newest first, after a place in the list; with `query`, of the 200 best matches."""
    rows = await scope.all(
        """
        SELECT record.id, record.kind, record.title, record.body, record.status, record.evidence, record.owner_id,
            owner.name AS owner_name, record.recorded_by, author.name AS recorded_by_name, record.run_id,
            record.approval_id, record.supersedes_id, record.superseded_by_id, record.created_at, record.updated_at
        FROM workspace.records AS record
        LEFT JOIN identity.people AS owner ON owner.id = record.owner_id
        LEFT JOIN identity.people AS author ON author.id = record.recorded_by
        WHERE record.company_id = %(company)s AND (%(kind)s::text IS NULL OR record.kind = %(kind)s::text)
          AND (%(query)s::text IS NULL OR record.id IN (SELECT found.record_id
              FROM workspace.search_records(%(query)s::text, %(kind)s::text, 200) AS found))
          AND (%(at)s::timestamptz IS NULL OR (record.created_at, record.id) < (%(at)s::timestamptz, %(id)s::uuid))
        ORDER BY record.created_at DESC, record.id DESC LIMIT %(most)s
        """,
        {
            "company": scope.company,
            "kind": kind and kind.value,
            "query": query,
            "at": after and after.at,
            "id": after and after.id,
            "most": most,
        },
    )
    return [_record(row) for row in rows]


async def matching_records(scope: Scope, query: str, kinds: tuple[RecordKind, ...], most: int) -> list[Record]:
    """Return up to `most` entries of `kinds` whose words match, best first."""
    rows = await scope.all(
        """
        SELECT record.id, record.kind, record.title, record.body, record.status, record.evidence, record.owner_id,
            owner.name AS owner_name, record.recorded_by, author.name AS recorded_by_name, record.run_id,
            record.approval_id, record.supersedes_id, record.superseded_by_id, record.created_at, record.updated_at
        FROM unnest(%(kinds)s::text[]) AS wanted (kind)
        CROSS JOIN LATERAL workspace.search_records(%(query)s::text, wanted.kind, %(most)s) AS found
        JOIN workspace.records AS record ON record.company_id = %(company)s AND record.id = found.record_id
        LEFT JOIN identity.people AS owner ON owner.id = record.owner_id
        LEFT JOIN identity.people AS author ON author.id = record.recorded_by
        ORDER BY found.rank DESC, record.created_at DESC, record.id DESC LIMIT %(most)s
        """,
        {"company": scope.company, "kinds": [kind.value for kind in kinds], "query": query, "most": most},
    )
    return [_record(row) for row in rows]


async def entries_named(scope: Scope, text: str, before: datetime, most: int) -> list[NamedEntry]:
    """Return up to `most` entries that held `before`, and whose titles stand in `text`, in either case."""
    rows = await scope.all(
        """
        SELECT record.id, record.title, record.run_id IS NULL OR record.approval_id IS NOT NULL AS is_by_people,
            record.status <> 'superseded' AS holds
        FROM workspace.records AS record
        WHERE record.company_id = %(company)s AND record.created_at < %(before)s
          AND strpos(%(text)s::text, lower(record.title)) > 0
          AND (record.status <> 'superseded' OR EXISTS (SELECT FROM workspace.records AS newer
            WHERE newer.company_id = record.company_id AND newer.id = record.superseded_by_id
              AND newer.created_at >= %(before)s))
        LIMIT %(most)s
        """,
        {"company": scope.company, "before": before, "text": text.lower(), "most": most},
    )
    return [NamedEntry(**row) for row in rows]


def _record(row: Row) -> Record:
    values: dict[str, Any] = {**row, "kind": RecordKind(row["kind"]), "status": Status(row["status"])}
    return Record(**values)


def _link(row: Row) -> Link:
    values: dict[str, Any] = {
        **row,
        "relation": Relation(row["relation"]),
        "kind": RecordKind(row["kind"]),
        "status": Status(row["status"]),
    }
    return Link(**values)


def _line(row: Row) -> HistoryLine:
    values: dict[str, Any] = {**row, "change": Change(row["change"])}
    return HistoryLine(**values)
