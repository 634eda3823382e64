"""The tools by which agents work on artifacts: what they are to the policy, and what they do.

A new one in a conversation that is private is the person's own space; in one that is open to the company it is for
others. A revision is always for others: it takes the place of what stood there, whoever wrote that. What is read
counts as written outside of the company unless people alone wrote every version: an agent may have its words from
anywhere, and a person who mends them leaves most of them as they are.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from operalta.agents import store as agent_rows
from operalta.agents.registry import Reference, SinkType, ToolClass, ToolDeclaration, ToolRegistry, ToolResult
from operalta.agents.tool_arguments import Arguments
from operalta.agents.tool_work import ToolWork
from operalta.db.scope import Row, Scope
from operalta.kernel.errors import InvalidInput, NotFound
from operalta.kernel.ids import ConversationId
from operalta.workspace.artifacts import service
from operalta.workspace.artifacts.rules import (
    LONGEST_CONTENT,
    LONGEST_NOTE,
    LONGEST_TITLE,
    MOST_VERSIONS,
    Artifact,
    checked_content,
    difference,
)
from operalta.workspace.errors import ArtifactArchived
from operalta.workspace.rules import LONGEST_QUERY

MOST_FOUND = 8

Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_TITLE),
    Field(description="The artifact's id, or its whole title"),
]
Content = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_CONTENT)]
Version = Annotated[int, Field(ge=1, le=MOST_VERSIONS)]


class ArtifactSearch(Arguments):
    """Words to look for in artifacts."""

    query: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_QUERY)]


class ArtifactRead(Arguments):
    """The artifact to read; an old version of it where one is named."""

    artifact: Name
    version: Version | None = None


class ArtifactCreate(Arguments):
    """A new artifact: a document in Markdown, a table in CSV, or plain text."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TITLE)]
    content: Content
    kind: Literal["document", "table", "text"] = "document"


class ArtifactRevise(Arguments):
    """The artifact, all of its new content, the version that this began from (the latest unless given), and why."""

    artifact: Name
    content: Content
    version: Version | None = None
    note: Annotated[str, StringConstraints(max_length=LONGEST_NOTE)] = ""


DECLARATIONS: tuple[ToolDeclaration, ...] = (
    ToolDeclaration(
        name="artifact_search",
        title="Search artifacts",
        purpose="Find artifacts of this company (documents, tables, texts that people and agents keep) by their words.",
        tool_class=ToolClass.READ,
        permission="files:read",
        arguments=ArtifactSearch,
        sinks={"query": SinkType.QUERY},
        reversible=True,
    ),
    ToolDeclaration(
        name="artifact_read",
        title="Read an artifact",
        purpose="Read one artifact, or an old version of it.",
        tool_class=ToolClass.READ,
        permission="files:read",
        arguments=ArtifactRead,
        sinks={"artifact": SinkType.RECORD, "version": SinkType.CHOICE},
        reversible=True,
    ),
    # What is new is its person's own space where the conversation is private, which the policy learns from the facts.
    ToolDeclaration(
        name="artifact_create",
        title="Make an artifact",
        purpose="Keep a new document (Markdown), table (CSV) or text on which people and agents go on working. "
        "It is private where this conversation is.",
        tool_class=ToolClass.WRITE_OWN,
        permission="files:write",
        arguments=ArtifactCreate,
        sinks={"title": SinkType.BODY, "content": SinkType.BODY, "kind": SinkType.CHOICE},
        verbs=frozenset({"create", "make", "write", "draft", "prepare", "keep", "artifact"}),
        reversible=True,
    ),
    ToolDeclaration(
        name="artifact_revise",
        title="Revise an artifact",
        purpose="Write a new version of an artifact: all of its new content. Earlier versions are kept. Read it first, "
        "and name the version that you read.",
        tool_class=ToolClass.WRITE_SHARED,
        permission="files:write",
        arguments=ArtifactRevise,
        sinks={
            "artifact": SinkType.RECORD,
            "content": SinkType.BODY,
            "version": SinkType.CHOICE,
            "note": SinkType.BODY,
        },
        verbs=frozenset({"revise", "change", "update", "edit", "rewrite", "correct"}),
        reversible=True,
    ),
)


def bind_artifact_tools(registry: ToolRegistry) -> None:
    """Give the declared tools the functions that do their work."""
    registry.bind("artifact_search", search)
    registry.bind("artifact_read", read)
    registry.bind("artifact_create", create)
    registry.bind("artifact_revise", revise)


async def search(work: ToolWork, arguments: ArtifactSearch) -> ToolResult:
    """Find artifacts by their words."""
    found = await service.search(work.opened, arguments.query, MOST_FOUND)
    return ToolResult(
        summary=f"{len(found)} artifacts match.",
        content="\n\n".join(f"{_described(one)}, id {one.id}\n{one.excerpt}" for one in found),
        references=tuple(map(_reference, found)),
        from_outside=not all(one.by_people_alone for one in found),
    )


async def read(work: ToolWork, arguments: ArtifactRead) -> ToolResult:
    """Read one artifact."""
    named = await service.find_named(work.opened, arguments.artifact)
    found = await service.get(work.opened, named.id, arguments.version)
    old = "" if found.shown.version == named.version else f"; this is version {found.shown.version}"
    return ToolResult(
        summary=f"{_described(named)}{old}.",
        content=found.shown.content,
        references=(_reference(named),),
        from_outside=not named.by_people_alone,
    )


async def create(work: ToolWork, arguments: ArtifactCreate) -> ToolResult:
    """Make an artifact, private where the run's conversation is."""
    run = await _run(work.opened)
    made = await service.create(
        work.opened,
        arguments.title,
        arguments.kind,
        arguments.content,
        private=run["private_to"] is not None,
        conversation_id=ConversationId(run["conversation_id"]),
        approval_id=work.approval_id,
    )
    whose = "open to the company" if made.private_to is None else "private"
    return ToolResult(summary=f"Made “{made.title}”, {whose}.", references=(_reference(made),))


async def revise(work: ToolWork, arguments: ArtifactRevise) -> ToolResult:
    """Write a new version of an artifact, and tell what has changed."""
    named = await service.find_named(work.opened, arguments.artifact)
    before = await service.get(work.opened, named.id)
    made = await service.revise(
        work.opened,
        named.id,
        arguments.content,
        arguments.version or named.version,
        arguments.note,
        approval_id=work.approval_id,
    )
    if made.version == named.version:
        return ToolResult(summary=f"“{made.title}” says this already.", references=(_reference(made),))
    return ToolResult(
        summary=f"“{made.title}” is version {made.version} now.",
        content=difference(before.shown.content, arguments.content),
        references=(_reference(made),),
    )


async def shown_before(scope: Scope, arguments: ArtifactCreate | ArtifactRevise) -> tuple[str, str]:
    """Return what a card compares: what an artifact says now, nothing where it is new, and what it is to say.

    Raise whatever keeps the change from being made: it is not asked about what would be refused.
    """
    if isinstance(arguments, ArtifactCreate):
        return "", f"{arguments.title}\n\n{arguments.content}"
    named = await service.find_named(scope, arguments.artifact)
    if named.archived_at is not None:
        raise NotFound(ArtifactArchived().public_text)
    if arguments.version not in {None, named.version}:
        raise InvalidInput(f"Version {named.version} is newer. Read that one and begin from it.", field="version")
    checked_content(named.kind, arguments.content)
    return (await service.get(scope, named.id)).shown.content, arguments.content


def stays_private(arguments: object, run: Row) -> bool:
    """Tell whether what a call makes is for its person alone."""
    return isinstance(arguments, ArtifactCreate) and run["private_to"] is not None


async def _run(scope: Scope) -> Row:
    run = await agent_rows.run(scope, scope.actor.run_id) if scope.actor.run_id is not None else None
    if run is None:
        raise NotFound
    return run


def _described(found: Artifact) -> str:
    return f"“{found.title}”, {found.kind}, version {found.version}"


def _reference(found: Artifact) -> Reference:
    return Reference("artifact", str(found.id), found.title, found.excerpt)
