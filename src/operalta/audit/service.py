"""Recording what happens, and reading it: the use-cases of the audit log within one company."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from operalta.access.rules import Permission
from operalta.audit import store
from operalta.audit.details import recordable
from operalta.audit.findings import Finding, FindingKind, LogCounts, LogReport, LogVerdict
from operalta.audit.heads import SignedHead, UnreadableHead, VerifySignature
from operalta.audit.queries import EventCursor, EventFilters
from operalta.audit.reports import with_findings
from operalta.audit.rules import Action, Outcome, StoredLeaf
from operalta.audit.tree import HASH_BYTES, inclusion_proof
from operalta.audit.verification import CompanyEntry, StoredContent, verify_company_log
from operalta.db.permission import require
from operalta.db.scope import Row, Scope
from operalta.kernel.errors import TooLarge
from operalta.terms.registry import upholds

LONGEST_TARGET = 400
LARGEST_PAGE = 100
MOST_EVENTS_CHECKED = 200_000
"""A company's own check holds its events in memory; beyond this the operator's check, which streams, must do it."""

_ABSENT = bytes(HASH_BYTES)


@upholds("2.5.5")
async def record(
    scope: Scope,
    action: Action,
    target_kind: str,
    target_id: object | None,
    outcome: Outcome = Outcome.SUCCEEDED,
    **detail: object,
) -> UUID:
    """Leave one event in the scope's own transaction and return its id.

    Actor and company are the scope's and cannot be given. `target_kind` is a noun of the product (at most 40
    characters), `target_id` what identifies it, as anything that reads well as text. `detail` holds what JSON can
    hold, never a secret; a detail beyond 12 kB is kept as its digest. Where the transaction is rolled back, nothing
    happened and no event remains.
    """
    target = None if target_id is None else str(target_id).replace("\0", "")[:LONGEST_TARGET]
    return await store.append(
        scope, action.value, target_kind, target, outcome=outcome.value, detail=recordable(detail)
    )


@dataclass(frozen=True, slots=True)
class ListedEvent:
    """One event as readers see it. `company_number` is None until it is sealed; `actor_name` where they are gone."""

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
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of events, newest first, and where the next one begins; None on the last page."""

    events: tuple[ListedEvent, ...]
    next_cursor: EventCursor | None


async def list_events(
    scope: Scope, filters: EventFilters | None = None, cursor: EventCursor | None = None, limit: int = 50
) -> EventPage:
    """Return the company's events that pass the filters, at most `limit` (up to 100). Needs `audit:read`."""
    require(scope, Permission.AUDIT_READ)
    limit = max(1, min(limit, LARGEST_PAGE))
    rows = await store.events(scope, filters or EventFilters(), cursor, limit + 1)
    listed = tuple(_listed(row) for row in rows[:limit])
    further = EventCursor(listed[-1].occurred_at, listed[-1].id) if len(rows) > limit else None
    return EventPage(listed, further)


@dataclass(frozen=True, slots=True)
class ChainState:
    """How far the deployment's log is sealed, the last head, and how many of the company's events still wait."""

    sealed: int
    unsealed: int
    company_unsealed: int
    head: SignedHead | None


async def chain_state(scope: Scope) -> ChainState:
    """Return the state of the chain. Needs `audit:read`. The head is None too where the stored one is unreadable."""
    require(scope, Permission.AUDIT_READ)
    state = await store.chain_state(scope)
    counts = await store.company_counts(scope)
    try:
        head = None if state["head"] is None else store.head_of(state["head"])
    except UnreadableHead:
        head = None
    return ChainState(state["sealed"], state["unsealed"], counts["unsealed"], head)


@upholds("2.5.5")
async def verify_company(scope: Scope, verify: VerifySignature, *, known: int = 0) -> LogReport:
    """Check the company's own events against the last signed head, and record that it was done. Needs `audit:read`.

    Each event must fit its commitment, carry the next number, and be proved to stand in the tree. `known` is how many
    sealed events the company saw when it last checked. The whole tree against the heads outside is the operator's
    check. Raise TooLarge beyond 200,000 events.
    """
    require(scope, Permission.AUDIT_READ)
    logged = await store.company_log(scope, MOST_EVENTS_CHECKED + 1)
    if len(logged) > MOST_EVENTS_CHECKED:
        raise TooLarge("This log is too long to be checked here. Ask the operator to run `operalta audit verify`.")
    state = await store.chain_state(scope)
    counts = await store.company_counts(scope)
    report = await _check(scope, logged, state["head"], verify, known)
    lost = (Finding(FindingKind.MISSING_LEAF, "event", "An event was sealed, but no leaf stands for it any more."),)
    report = with_findings(report, lost * counts["lost"])
    report = replace(report, counts=replace(report.counts, unsealed=counts["unsealed"]))
    outcome = Outcome.SUCCEEDED if report.verdict is LogVerdict.WHOLE else Outcome.FAILED
    await record(
        scope, Action.AUDIT_VERIFIED, "audit_log", scope.company, outcome, verdict=report.verdict, events=len(logged)
    )
    return report


async def _check(
    scope: Scope,
    logged: list[tuple[StoredLeaf, StoredContent | None]],
    document: object,
    verify: VerifySignature,
    known: int,
) -> LogReport:
    nothing = LogReport((), {}, LogCounts(leaves=len(logged)))
    if document is None:
        if not logged and not known:
            return nothing
        return with_findings(nothing, [Finding(FindingKind.NO_HEADS, "heads", "There is no signed head yet.")])
    try:
        head = store.head_of(document)
    except UnreadableHead as error:
        return with_findings(nothing, [Finding(FindingKind.UNREADABLE_HEAD, "last head", str(error))])
    wanted = await asyncio.to_thread(_places, [leaf.index for leaf, _ in logged], head.size)
    nodes = await store.nodes(scope, wanted)

    def checked() -> LogReport:
        entries = [CompanyEntry(leaf, content, _proof(leaf.index, head.size, nodes)) for leaf, content in logged]
        return verify_company_log(scope.company, entries, head, verify, known=known)

    return await asyncio.to_thread(checked)


def _places(indexes: list[int], size: int) -> set[tuple[int, int]]:
    """Return the (level, index) of every node that the proofs of these leaves need."""
    places: set[tuple[int, int]] = set()

    def note(level: int, index: int) -> bytes:
        places.add((level, index))
        return _ABSENT

    for index in indexes:
        if index < size:
            inclusion_proof(index, size, note)
    return places


def _proof(index: int, size: int, nodes: Mapping[tuple[int, int], bytes]) -> tuple[bytes, ...]:
    """Return the leaf's proof. Where a node is gone it leads nowhere, and the check finds that."""
    if index >= size:
        return ()
    return inclusion_proof(index, size, lambda level, place: nodes.get((level, place), _ABSENT))


def _listed(row: Row) -> ListedEvent:
    return ListedEvent(
        id=row["id"],
        company_number=row["company_number"],
        occurred_at=row["occurred_at"],
        actor_kind=row["actor_kind"],
        actor_person_id=row["actor_person_id"],
        actor_name=row["actor_name"],
        actor_run_id=row["actor_run_id"],
        action=row["action"],
        target_kind=row["target_kind"],
        target_id=row["target_id"],
        outcome=row["outcome"],
        request_id=row["request_id"],
        origin=row["origin"],
        detail=row["detail"],
    )
