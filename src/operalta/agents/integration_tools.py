"""The tools by which agents use integrations: what they are to the policy, and what they do.

Reading passes where the person's own words name integration, path and query, or where they typed the command; whatever
could change something elsewhere is asked about each time, typed or not, and no grant for a conversation covers it. A
credential is never here: `operalta.vault.integrations.calls` has it put in at the door.
"""

import json
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, StringConstraints, model_validator

from operalta.agents.registry import Reference, SinkType, ToolClass, ToolDeclaration, ToolResult
from operalta.agents.tool_arguments import Arguments
from operalta.agents.tool_work import ToolWork
from operalta.db.scope import Scope
from operalta.kernel.errors import InvalidInput
from operalta.sandbox.exchange import EgressLine
from operalta.vault.integrations.calls import Errand, IntegrationCalls, usable
from operalta.vault.integrations.rules import (
    KINDS,
    LONGEST_PATH,
    LONGEST_QUERY,
    LONGEST_SLUG,
    READING,
    Integration,
    Lends,
    address_of,
)

LONGEST_SENT = 20_000
NOT_WIRED = "Integrations are not available on this server. Tell its operator."
_EXCERPT = 400

Name = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_SLUG)]


class IntegrationRequest(Arguments):
    """A request below an integration's own address. Only what writes takes a body."""

    integration: Annotated[Name, Field(description="The integration's short name")]
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_PATH)] = "/"
    query: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_QUERY)] | None = None
    body: Annotated[str, StringConstraints(max_length=LONGEST_SENT)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.body is not None and self.method in READING:
            raise ValueError("only a request that writes has a body")
        return self


class IntegrationTool(Arguments):
    """A tool of an MCP server, with its arguments as the text of a JSON object."""

    integration: Annotated[Name, Field(description="The integration's short name")]
    tool: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    arguments: Annotated[str, StringConstraints(max_length=LONGEST_SENT)] = "{}"


DECLARATIONS: tuple[ToolDeclaration, ...] = (
    ToolDeclaration(
        name="integration_request",
        title="Ask a service",
        purpose="Send one request to a service that the company has switched on as an integration, below its own "
        "address. What comes back was written outside of the company.",
        tool_class=ToolClass.EGRESS,
        # Reading is for whoever sees integrations, so an API key needs that scope. Writing acts elsewhere in the
        # company's name: the database asks for integrations:connect at the call, which no API key can have.
        permission="integrations:read",
        arguments=IntegrationRequest,
        sinks={
            "integration": SinkType.RECORD,
            "method": SinkType.CHOICE,
            "path": SinkType.PATH,
            # Not as a search for words, of which a grant for a conversation would cover any.
            "query": SinkType.PATH,
            "body": SinkType.BODY,
        },
        verbs=frozenset({"ask", "get", "read", "fetch", "list", "show", "query", "look"}),
        asks_unless={"method": frozenset(READING)},
    ),
    ToolDeclaration(
        name="integration_tool",
        title="Use a tool of an MCP server",
        purpose="Call a tool of an MCP server that the company has switched on as an integration, with its arguments "
        "as JSON. What comes back was written outside of the company.",
        tool_class=ToolClass.EGRESS,
        permission="integrations:read",
        arguments=IntegrationTool,
        sinks={"integration": SinkType.RECORD, "tool": SinkType.RECORD, "arguments": SinkType.BODY},
        asks_unless={"tool": frozenset()},
    ),
)


class IntegrationTools:
    """What the tools do."""

    def __init__(self, calls: IntegrationCalls) -> None:
        self._calls = calls

    async def request(self, work: ToolWork, arguments: IntegrationRequest) -> ToolResult:
        """Ask a service."""
        asked = arguments
        found = await self._calls.request(
            _errand(work), asked.integration, asked.method, asked.path, asked.query, asked.body
        )
        return ToolResult(
            summary=f"{asked.integration} answered {found.status}.",
            content=found.text,
            references=(Reference("web", found.url, found.url, found.text[:_EXCERPT]),),
            from_outside=True,
            failed=found.failed,
        )

    async def call_tool(self, work: ToolWork, arguments: IntegrationTool) -> ToolResult:
        """Call a tool of an MCP server."""
        found = await self._calls.call_tool(
            _errand(work), arguments.integration, arguments.tool, _object_in(arguments.arguments)
        )
        said = "reports a failure" if found.failed else "answered"
        return ToolResult(
            summary=f"The tool {arguments.tool} of {arguments.integration} {said}.",
            content=found.text,
            from_outside=True,
            failed=found.failed,
        )


async def shown_before(scope: Scope, arguments: IntegrationRequest | IntegrationTool) -> tuple[str, str]:
    """Return what a card shows: the integration as it is defined now, and what would be sent.

    An approval holds for this definition alone. Raise whatever keeps the integration from being used: it is not asked
    about what would be refused.
    """
    if isinstance(arguments, IntegrationTool):
        found = await usable(scope, arguments.integration, "tool", is_used=False)
        described = {each.name: each.description for each in found.tools}
        _object_in(arguments.arguments)
        before = f"{_described(found)}\nIt says of {arguments.tool}: {described.get(arguments.tool, 'nothing')}"
        return before, f"{arguments.tool} with {arguments.arguments}"
    wanted = "read" if arguments.method in READING else "write"
    found = await usable(scope, arguments.integration, wanted, is_used=False)
    address = address_of(found.base_url, arguments.path, arguments.query)
    return _described(found), f"{arguments.method} {address}\n\n{arguments.body or ''}".rstrip()


_LENT = {
    Lends.NONE: "no credential",
    Lends.KEY: "the company's credential",
    Lends.CONNECTION: "the account of whoever asks",
}


def _described(found: Integration) -> str:
    tools = f", tools {found.tools_sha256[:12]}" if found.tools_sha256 else ""
    return (
        f"{found.name}: {KINDS[found.kind][0].lower()} at {found.base_url}, with {_LENT[found.lends]} "
        f"(definition {found.revision}{tools})"
    )


def _errand(work: ToolWork) -> Errand:
    async def keep(line: EgressLine) -> None:
        work.egress.append(line)

    if work.run_id is None:
        raise RuntimeError("this tool runs for nobody")
    return Errand(work.open_scope, keep, work.run_id)


def _object_in(text: str) -> dict[str, Any]:
    try:
        found: object = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise InvalidInput("The arguments are not the text of a JSON object.", field="arguments") from error
    if not isinstance(found, dict):
        raise InvalidInput("The arguments are not the text of a JSON object.", field="arguments")
    return cast("dict[str, Any]", found)
