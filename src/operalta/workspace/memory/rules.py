"""The four kinds of entry, the life of each as a table, and what an entry of the ledger is. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from operalta.kernel.errors import InvalidInput
from operalta.kernel.ids import ApprovalId, PersonId, RecordId, RunId
from operalta.workspace.errors import AlreadySuperseded, StatusNotReachable

LONGEST_TITLE = 200
LONGEST_BODY = 20_000
LONGEST_EVIDENCE = 4_000
LONGEST_NOTE = 2_000


class RecordKind(StrEnum):
    """What sort of thing is remembered."""

    DECISION = "decision"
    HYPOTHESIS = "hypothesis"
    EXPERIMENT = "experiment"
    BLOCKER = "blocker"


class Status(StrEnum):
    """Where an entry stands. `SUPERSEDED` is reached by superseding alone, from any other."""

    PROPOSED = "proposed"
    DECIDED = "decided"
    WITHDRAWN = "withdrawn"
    OPEN = "open"
    SUPPORTED = "supported"
    REFUTED = "refuted"
    ABANDONED = "abandoned"
    PLANNED = "planned"
    RUNNING = "running"
    CONCLUDED = "concluded"
    STOPPED = "stopped"
    RESOLVED = "resolved"
    ACCEPTED = "accepted"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The life of one kind: with which statuses an entry may be recorded (the first unless said), and the moves."""

    initial: tuple[Status, ...]
    moves: Mapping[Status, frozenset[Status]]


def _moves(**following: tuple[Status, ...]) -> Mapping[Status, frozenset[Status]]:
    return MappingProxyType({Status(name): frozenset(statuses) for name, statuses in following.items()})


LIFECYCLES: Mapping[RecordKind, Lifecycle] = MappingProxyType(
    {
        RecordKind.DECISION: Lifecycle(
            (Status.PROPOSED, Status.DECIDED),
            _moves(
                proposed=(Status.DECIDED, Status.WITHDRAWN),
                decided=(Status.WITHDRAWN,),
                withdrawn=(),
            ),
        ),
        RecordKind.HYPOTHESIS: Lifecycle(
            (Status.OPEN, Status.SUPPORTED, Status.REFUTED),
            _moves(
                open=(Status.SUPPORTED, Status.REFUTED, Status.ABANDONED),
                supported=(),
                refuted=(),
                abandoned=(),
            ),
        ),
        RecordKind.EXPERIMENT: Lifecycle(
            (Status.PLANNED, Status.RUNNING, Status.CONCLUDED),
            _moves(
                planned=(Status.RUNNING, Status.STOPPED),
                running=(Status.CONCLUDED, Status.STOPPED),
                concluded=(),
                stopped=(),
            ),
        ),
        RecordKind.BLOCKER: Lifecycle(
            (Status.OPEN,),
            _moves(
                open=(Status.RESOLVED, Status.ACCEPTED),
                accepted=(Status.RESOLVED,),
                resolved=(),
            ),
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be recorded, checked."""

    kind: RecordKind
    title: str
    body: str
    status: Status
    evidence: str
    owner_id: PersonId
    approval_id: ApprovalId | None


@dataclass(frozen=True, slots=True)
class NamedEntry:
    """An entry whose title stands in a text. `is_by_people`: a person recorded it, or approved exactly that.

    One that does not hold any more was superseded after the text was written: it may be what was meant.
    """

    id: RecordId
    title: str
    is_by_people: bool
    holds: bool


@dataclass(frozen=True, slots=True)
class Record:
    """An entry of the ledger.

    Who recorded it stands in `recorded_by`; `run_id` names the agent's run that did so for them, and
    `approval_id` the approval under which it did. Names are None for people who are no longer known here.
    """

    id: RecordId
    kind: RecordKind
    title: str
    body: str
    status: Status
    evidence: str
    owner_id: PersonId
    owner_name: str | None
    recorded_by: PersonId
    recorded_by_name: str | None
    run_id: RunId | None
    approval_id: ApprovalId | None
    supersedes_id: RecordId | None
    superseded_by_id: RecordId | None
    created_at: datetime
    updated_at: datetime


class Relation(StrEnum):
    """How one entry is tied to another: it supports it, speaks against it, and so on."""

    SUPPORTS = "supports"
    CONTRADICTS = "contradicts"
    TESTS = "tests"
    BLOCKS = "blocks"
    RELATES_TO = "relates to"


class Change(StrEnum):
    """What a line of an entry's history tells."""

    RECORDED = "recorded"
    STATUS_CHANGED = "status changed"
    SUPERSEDED = "superseded"
    LINKED = "linked"
    UNLINKED = "unlinked"


@dataclass(frozen=True, slots=True)
class Link:
    """An entry's tie to another one of the company, which `linked_by` made. `is_from_here`: it points away from it."""

    relation: Relation
    id: RecordId
    kind: RecordKind
    title: str
    status: Status
    is_from_here: bool
    linked_by_name: str | None
    run_id: RunId | None


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One change of an entry: by whom, in which run, from which status to which."""

    at: datetime
    person_id: PersonId
    person_name: str | None
    run_id: RunId | None
    change: Change
    before: str | None
    after: str | None
    note: str


@dataclass(frozen=True, slots=True)
class RecordWithHistory:
    """An entry with all that happened to it, oldest first, what it is tied to, and the statuses it can get next."""

    record: Record
    history: tuple[HistoryLine, ...]
    links: tuple[Link, ...]
    next_statuses: tuple[Status, ...]


def kind_called(name: str) -> RecordKind:
    """Return the kind called `name`. Raise InvalidInput where there is none."""
    try:
        return RecordKind(name)
    except ValueError:
        raise InvalidInput(f"The kind is one of {_listed(tuple(RecordKind))}.", field="kind") from None


def relation_called(name: str) -> Relation:
    """Return the relation called `name`. Raise InvalidInput where there is none."""
    try:
        return Relation(name)
    except ValueError:
        raise InvalidInput(f"The relation is one of {_listed(tuple(Relation))}.", field="relation") from None


def first_status(kind: RecordKind, wanted: str | None) -> Status:
    """Return the status with which an entry is recorded: `wanted`, or the first of its life."""
    initial = LIFECYCLES[kind].initial
    if wanted is None:
        return initial[0]
    if wanted not in initial:
        raise InvalidInput(f"A {kind} is recorded as {_listed(initial)}.", field="status")
    return Status(wanted)


def next_statuses(kind: RecordKind, status: Status) -> tuple[Status, ...]:
    """Return where an entry of `kind` can go from `status`, in alphabetical order."""
    return tuple(sorted(LIFECYCLES[kind].moves.get(status, frozenset())))


def check_move(kind: RecordKind, before: Status, wanted: str) -> Status:
    """Return the status `wanted`. Raise AlreadySuperseded or StatusNotReachable where it cannot be reached."""
    if before is Status.SUPERSEDED:
        raise AlreadySuperseded
    possible = next_statuses(kind, before)
    if wanted not in possible:
        ways = f"It can become {_listed(possible)}, or be superseded." if possible else "It can only be superseded."
        raise StatusNotReachable(f"This {kind} is {before}. {ways}")
    return Status(wanted)


def _listed(words: tuple[str, ...]) -> str:
    return " or ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)
