"""Tools on what the company knows, beyond finding and recording: supersede, tie, measure, compare, look up talk.

What they are to the policy, what a card shows of them, and what they do: each calls the service function that the
pages and the API call.
"""

from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from pydantic import StringConstraints

from operalta.agents.records import Bindings
from operalta.agents.registry import Reference, SinkType, ToolClass, ToolDeclaration, ToolRegistry, ToolResult
from operalta.agents.tool_arguments import Arguments, Body, Query, Slug, Title
from operalta.agents.tool_work import ToolWork
from operalta.db.scope import Scope
from operalta.kernel.errors import InvalidInput
from operalta.kernel.ids import RecordId
from operalta.workspace.conversations import service as conversations
from operalta.workspace.memory import service as memory
from operalta.workspace.memory.rules import RecordKind, Relation, Status
from operalta.workspace.metrics import service as metrics
from operalta.workspace.metrics.rules import MetricPoint, MetricWithPoints, parse_value

MOST_FOUND = 12
MOST_COMPARED = 8
LONGEST_SLUGS = 400

Identifier = Annotated[str, StringConstraints(min_length=36, max_length=36)]
Note = Annotated[str, StringConstraints(max_length=400)]
Day = Annotated[str, StringConstraints(min_length=10, max_length=10)]


class MemorySupersede(Arguments):
    """The entry that no longer holds, by its identifier; what holds now; and why."""

    record: Identifier
    title: Title
    body: Body = ""
    reason: Note = ""


class MemoryLink(Arguments):
    """Two entries, by their identifiers, and how the first is tied to the second; without a relation, they relate."""

    record: Identifier
    relation: Literal["supports", "contradicts", "tests", "blocks", "relates to"] | None = None
    other: Identifier

    @property
    def tie(self) -> Relation:
        """How the first is tied to the second."""
        return Relation(self.relation or Relation.RELATES_TO)


class MetricsRecord(Arguments):
    """A metric, a day as 2026-01-31, and the value of that day in digits."""

    slug: Slug
    on_date: Day
    value: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    note: Note | None = None


class MetricsCompare(Arguments):
    """Metrics by their short names, with commas between them, and the days that bound what is compared."""

    slugs: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_SLUGS)]
    since: Day | None = None
    until: Day | None = None


class ConversationSearch(Arguments):
    """Words to look for in what was said."""

    query: Query


DECLARATIONS: tuple[ToolDeclaration, ...] = (
    ToolDeclaration(
        name="memory_supersede",
        title="Supersede an entry of the memory",
        purpose="Put a new entry of the ledger in the place of one that no longer holds. The old one stays readable.",
        tool_class=ToolClass.WRITE_SHARED,
        permission="memory:write",
        arguments=MemorySupersede,
        sinks={
            "record": SinkType.RECORD,
            "title": SinkType.BODY,
            "body": SinkType.BODY,
            "reason": SinkType.BODY,
        },
        verbs=frozenset({"supersede", "replace", "revise", "update"}),
        bindings=Bindings(takes={"record": "memory"}),
    ),
    ToolDeclaration(
        name="memory_link",
        title="Tie two entries of the memory",
        purpose="Say that an entry of the ledger supports, contradicts, tests, blocks or relates to another one. Leave "
        "the relation out where the person only asks to tie them.",
        tool_class=ToolClass.WRITE_SHARED,
        permission="memory:write",
        arguments=MemoryLink,
        # What the ledger says of two entries is a claim, so its word must have been said.
        sinks={"record": SinkType.RECORD, "relation": SinkType.QUERY, "other": SinkType.RECORD},
        verbs=frozenset({"link", "tie", "connect", "relate"}),
        reversible=True,
        bindings=Bindings(
            takes={"record": "memory", "other": "memory"}, leaves=frozenset({"record", "other"}), as_request=True
        ),
    ),
    ToolDeclaration(
        name="metrics_record",
        title="Record a value of a metric",
        purpose="Record the value of a metric on one day, in place of what was recorded for that day.",
        tool_class=ToolClass.WRITE_SHARED,
        permission="metrics:write",
        arguments=MetricsRecord,
        sinks={
            "slug": SinkType.RECORD,
            "on_date": SinkType.RECORD,
            "value": SinkType.AMOUNT,
            "note": SinkType.BODY,
        },
        verbs=frozenset({"record", "note", "log", "enter", "set"}),
        bindings=Bindings(takes={"slug": "metrics"}, leaves=frozenset({"slug"}), as_request=True),
    ),
    ToolDeclaration(
        name="metrics_compare",
        title="Compare metrics",
        purpose="Put up to eight metrics beside each other: first and latest value, growth, lowest, highest.",
        tool_class=ToolClass.READ,
        permission="metrics:read",
        arguments=MetricsCompare,
        sinks={"slugs": SinkType.QUERY, "since": SinkType.QUERY, "until": SinkType.QUERY},
        reversible=True,
    ),
    ToolDeclaration(
        name="conversation_search",
        title="Search the conversations",
        purpose="Find what was said in conversations that the person can see, by words.",
        tool_class=ToolClass.READ,
        permission="agents:run",
        arguments=ConversationSearch,
        sinks={"query": SinkType.QUERY},
        reversible=True,
    ),
)


def bind_knowledge_tools(registry: ToolRegistry) -> None:
    """Give the declared tools the functions that do their work."""
    registry.bind("memory_supersede", _supersede)
    registry.bind("memory_link", _link)
    registry.bind("metrics_record", _record_point)
    registry.bind("metrics_compare", _compare)
    registry.bind("conversation_search", _search_conversations)


async def shown_before(scope: Scope, arguments: object) -> tuple[str | None, str | None]:
    """Return what a card shows of a change: what is there, and what would be. None: nothing of these tools.

    Raise whatever the change itself would be refused with.
    """
    match arguments:
        case MemorySupersede():
            old = (await memory.get(scope, _record_id(arguments.record))).record
            after = f"In its place: {arguments.title}\n\n{arguments.body}".rstrip()
            return f"{old.title}\n\n{old.body}".rstrip(), f"{after}\n\nBecause: {arguments.reason or 'no reason given'}"
        case MemoryLink():
            first = await memory.get(scope, _record_id(arguments.record))
            second = (await memory.get(scope, _record_id(arguments.other))).record
            tied = any((tie.relation, tie.id) == (arguments.tie, second.id) for tie in first.links if tie.is_from_here)
            after = f"“{first.record.title}” {arguments.tie.value} “{second.title}”"
            return after if tied else "", after
        case MetricsRecord():
            found = await metrics.get(scope, arguments.slug)
            day = _day(arguments.on_date, "on_date")
            there = next((point for point in found.points if point.on_date == day), None)
            return _told(found, there), _told_new(found, arguments)
        case _:
            return None, None


async def _supersede(work: ToolWork, arguments: MemorySupersede) -> ToolResult:
    record_id = _record_id(arguments.record)
    kind = (await memory.get(work.opened, record_id)).record.kind
    decided = work.by_person and kind is RecordKind.DECISION
    made = await memory.supersede(
        work.opened,
        record_id,
        arguments.title,
        arguments.body,
        status=Status.DECIDED if decided else None,
        note=arguments.reason,
        approval_id=work.approval_id,
    )
    return ToolResult(
        summary=f"“{made.title}” stands in its place.", references=(Reference("memory", str(made.id), made.title),)
    )


async def _link(work: ToolWork, arguments: MemoryLink) -> ToolResult:
    record_id, other = _record_id(arguments.record), _record_id(arguments.other)
    await memory.link(work.opened, record_id, arguments.tie.value, other)
    found = (await memory.get(work.opened, record_id)).record
    tied = (await memory.get(work.opened, other)).record
    return ToolResult(
        summary=f"“{found.title}” {arguments.tie.value} “{tied.title}”.",
        references=tuple(Reference("memory", str(one.id), one.title) for one in (found, tied)),
    )


async def _record_point(work: ToolWork, arguments: MetricsRecord) -> ToolResult:
    made = await metrics.record_point(
        work.opened,
        arguments.slug,
        _day(arguments.on_date, "on_date"),
        parse_value(arguments.value),
        arguments.note or "",
    )
    found = (await metrics.get(work.opened, arguments.slug)).metric
    return ToolResult(
        summary=f"{found.name} on {made.on_date}: {made.value.normalize():f} {found.unit}".rstrip() + ".",
        references=(Reference("metric", found.slug, found.name, found.definition),),
    )


async def _compare(work: ToolWork, arguments: MetricsCompare) -> ToolResult:
    slugs = list(dict.fromkeys(each.strip() for each in arguments.slugs.split(",") if each.strip()))
    if not 1 <= len(slugs) <= MOST_COMPARED:
        raise InvalidInput(f"Name one to {MOST_COMPARED} metrics, with commas between them.", field="slugs")
    since = _day(arguments.since, "since") if arguments.since else date.min
    until = _day(arguments.until, "until") if arguments.until else date.max
    compared = [await metrics.get(work.opened, slug) for slug in slugs]
    lines = ["metric | from | to | difference | growth | lowest | highest | points"]
    lines += [_compared(each, since, until) for each in compared]
    return ToolResult(
        summary=f"{len(compared)} metrics compared.",
        content="\n".join(lines),
        references=tuple(
            Reference("metric", each.metric.slug, each.metric.name, each.metric.definition) for each in compared
        ),
    )


def _compared(found: MetricWithPoints, since: date, until: date) -> str:
    points = [point for point in found.points if since <= point.on_date <= until]
    name = f"{found.metric.name} ({found.metric.slug})"
    if not points:
        return f"{name} | no value in this time"
    first, last = points[0], points[-1]
    difference = last.value - first.value
    growth = f"{difference / first.value:+.1%}" if first.value > 0 else "no base"
    values = [point.value for point in points]
    return " | ".join(
        (
            name,
            f"{first.value.normalize():f} {found.metric.unit} on {first.on_date}",
            f"{last.value.normalize():f} {found.metric.unit} on {last.on_date}",
            f"{difference.normalize():+f}",
            growth,
            f"{min(values).normalize():f}",
            f"{max(values).normalize():f}",
            str(len(points)),
        )
    )


async def _search_conversations(work: ToolWork, arguments: ConversationSearch) -> ToolResult:
    found = await conversations.search_messages(work.opened, arguments.query, MOST_FOUND)
    return ToolResult(
        summary=f"{len(found)} messages match.",
        content="\n\n".join(
            f"{one.message.created_at:%Y-%m-%d}, {one.message.author} in “{one.title}”:\n{one.message.body}"
            for one in found
        ),
        references=tuple(
            Reference("conversation", str(one.message.conversation_id), one.title, one.message.body) for one in found
        ),
        # Agents' answers quote pages and files, so what is found may be others' words.
        from_outside=True,
    )


def _told(found: MetricWithPoints, point: MetricPoint | None) -> str:
    if point is None:
        return ""
    return f"{point.on_date}: {point.value.normalize():f} {found.metric.unit}\n{point.note}".rstrip()


def _told_new(found: MetricWithPoints, arguments: MetricsRecord) -> str:
    value = parse_value(arguments.value)
    return f"{arguments.on_date}: {value.normalize():f} {found.metric.unit}\n{arguments.note or ''}".rstrip()


def _record_id(text: str) -> RecordId:
    try:
        return RecordId(UUID(text))
    except ValueError:
        raise InvalidInput(
            "Name an entry by its identifier, as a search of the memory shows it.", field="record"
        ) from None


def _day(text: str, field: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput("Write a day as 2026-01-31.", field=field) from None
