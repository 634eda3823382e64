"""Gathering the context of a run: found by the words of the message and by what is recent, within the run's rights.

Each source is asked through the service function that the agent's own tool calls, and only where the agent has that
tool and its person may use it: what an agent may not search for, it is not told either.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from operalta.access.rules import Permission
from operalta.agents import quoting
from operalta.agents.context.rules import Piece, Trust, around, choose
from operalta.agents.registry import Reference, ToolDeclaration, ToolRegistry, UnknownTool
from operalta.agents.tool_work import declared_for
from operalta.db.permission import holds
from operalta.db.scope import Scope
from operalta.kernel.ids import ConversationId
from operalta.sandbox.errors import NotDeclared
from operalta.terms.registry import upholds
from operalta.workspace.artifacts import service as artifacts
from operalta.workspace.conversations import service as conversations
from operalta.workspace.conversations.rules import Author
from operalta.workspace.files import service as files
from operalta.workspace.files.file_store import FileStore
from operalta.workspace.memory import service as memory
from operalta.workspace.memory.rules import Record, Status
from operalta.workspace.metrics import service as metrics

MOST_OF_A_SOURCE = 6
MOST_RECENT = 4
MOST_METRICS = 12
MOST_ARTIFACTS = 3


@upholds("5.1.1")
async def gather(
    scope: Scope,
    prompt: str,
    conversation: ConversationId,
    *,
    registry: ToolRegistry,
    granted: frozenset[str],
    store: FileStore,
) -> tuple[Piece, ...]:
    """Return what a run is told beside `prompt`. `granted` are the tools of its agent, `store` the company's files."""
    words = quoting.keywords(prompt)
    ways: Sequence[tuple[str, Callable[[], Awaitable[list[Piece]]]]] = (
        ("memory_search", partial(_memory, scope, words)),
        ("files_search", partial(_files, scope, store, words)),
        ("artifact_search", partial(_artifacts, scope, words)),
        ("conversation_search", partial(_talk, scope, words, conversation)),
        ("metrics_read", partial(_metrics, scope)),
        ("memory_search", partial(_recent, scope)),
    )
    return choose([await way() for tool, way in ways if tool in granted and _may(scope, registry.resolve(tool))])


def _may(scope: Scope, tool: ToolDeclaration | UnknownTool) -> bool:
    """Tell whether the run's person could use a tool at this moment."""
    return isinstance(tool, ToolDeclaration) and tool.available and holds(scope, Permission(tool.permission))


async def _memory(scope: Scope, words: str) -> list[Piece]:
    if not words:
        return []
    return [_entry(one, "matches the message") for one in await memory.search(scope, words, limit=MOST_OF_A_SOURCE)]


async def _recent(scope: Scope) -> list[Piece]:
    latest = await memory.list_records(scope, limit=MOST_RECENT)
    return [_entry(one, "is recent") for one in latest.items if one.status is not Status.SUPERSEDED]


def _entry(record: Record, why: str) -> Piece:
    source = Reference("memory", str(record.id), record.title)
    text = f"{record.kind}, {record.status}, {record.created_at:%Y-%m-%d}\n{record.title}\n{record.body}".rstrip()
    # What an agent wrote under an approval is what a person has seen.
    by_agent = record.run_id is not None and record.approval_id is None
    return Piece(source, text, Trust.AGENT if by_agent else Trust.MEMBER, why)


async def _files(scope: Scope, store: FileStore, words: str) -> list[Piece]:
    try:
        reached = await declared_for(store, scope)
    except NotDeclared:
        return []
    found = await files.search_passages(scope, reached, words, MOST_OF_A_SOURCE)
    return [
        Piece(
            Reference("file", f"{one.path}#{one.position}", one.heading or one.path),
            one.body,
            Trust.OUTSIDE,
            "matches the message",
        )
        for one in found
    ]


async def _artifacts(scope: Scope, words: str) -> list[Piece]:
    found = await artifacts.search(scope, words, MOST_ARTIFACTS)
    whole = [await artifacts.get(scope, one.id) for one in found]
    return [
        Piece(
            Reference("artifact", str(one.artifact.id), one.artifact.title),
            around(one.shown.content, words),
            # An agent may have its words from anywhere, and who mends them leaves most of them as they are.
            Trust.MEMBER if one.artifact.by_people_alone else Trust.OUTSIDE,
            "matches the message",
        )
        for one in whole
    ]


async def _talk(scope: Scope, words: str, here: ConversationId) -> list[Piece]:
    found = await conversations.search_messages(scope, words, MOST_OF_A_SOURCE)
    return [
        Piece(
            Reference("conversation", str(one.message.conversation_id), one.title),
            f"{one.message.created_at:%Y-%m-%d}\n{one.message.body}",
            Trust.MEMBER if one.message.author is Author.PERSON else Trust.AGENT,
            "matches the message",
        )
        for one in found
        # What was said here before goes along as it is.
        if one.message.conversation_id != here
    ]


async def _metrics(scope: Scope) -> list[Piece]:
    measured = [
        (one.latest_on, one, one.latest_value)
        for one in await metrics.list_metrics(scope)
        if one.latest_on is not None and one.latest_value is not None
    ]
    return [
        Piece(
            Reference("metric", one.slug, one.name),
            f"{one.name} ({one.slug}): {value.normalize():f} {one.unit} on {day}",
            Trust.MEMBER,
            "is the latest value",
        )
        for day, one, value in sorted(measured, key=lambda each: each[0], reverse=True)[:MOST_METRICS]
    ]
