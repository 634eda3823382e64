"""An MCP server behind the one door: which tools it offers, and calling one of them (streamable HTTP).

What a server says about its tools is shown to people and pinned by a hash; it never reaches a model's instructions.
The library is given a client that knows no other way out than the door, and its own log is silenced, since it repeats
what servers write.
"""

import hashlib
import json
import logging
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.to_thread

from operalta.kernel.errors import Refusal
from operalta.sandbox.transport import EgressTransport
from operalta.terms.registry import upholds
from operalta.vault.integrations.errors import ServiceUnusable
from operalta.vault.integrations.redaction import Redactor
from operalta.vault.integrations.rules import ToolSeen

if TYPE_CHECKING:  # the library takes most of a second to import, which few processes ever need
    from mcp import Client
    from mcp.types import CallToolResult, Tool

MOST_TOOLS = 200
MOST_PAGES = 20
LONGEST_DESCRIPTION = 400
LONGEST_DEFINITIONS = 1_000_000
NAME = re.compile(r"[A-Za-z0-9_./:-]{1,128}")

_library_log = logging.getLogger("mcp")
_library_log.addHandler(logging.NullHandler())
_library_log.propagate = False


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools of a server, and the hash over all that decides what a call of one of them means."""

    tools: tuple[ToolSeen, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a tool gave back, as text; `failed` is the server's own word."""

    text: str
    failed: bool


class RemoteTools:
    """A session with one server."""

    def __init__(self, client: "Client", redactor: Redactor) -> None:
        self._client = client
        self._redactor = redactor

    @upholds("5.5.2")
    async def offer(self) -> Offer:
        """Return the tools as they stand now. Raise ServiceUnusable for more, or others, than can be looked at."""
        from mcp.types import PaginatedRequestParams

        found: list[Tool] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._client.session.list_tools(params=PaginatedRequestParams(cursor=cursor))
            found += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
        if cursor is not None or len(found) > MOST_TOOLS or len({tool.name for tool in found}) != len(found):
            raise ServiceUnusable("This server offers more tools than can be looked at, or two of one name.")
        if not all(NAME.fullmatch(tool.name) for tool in found):
            raise ServiceUnusable("This server has tools with names that cannot be shown. Ask whoever runs it.")
        definitions = [
            tool.model_dump(mode="json", by_alias=True, exclude_none=True)
            for tool in sorted(found, key=lambda tool: tool.name)
        ]
        text = json.dumps(definitions, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if len(text) > LONGEST_DEFINITIONS:
            raise ServiceUnusable("This server says more about its tools than can be looked at.")
        seen = tuple(
            ToolSeen(tool.name, self._redactor.beginning(_plain(tool.description or ""), LONGEST_DESCRIPTION))
            for tool in sorted(found, key=lambda tool: tool.name)
        )
        return Offer(seen, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())

    async def call(self, tool: str, arguments: Mapping[str, Any], longest: int) -> ToolAnswer:
        """Call a tool by its name. What it gives back that is no text is named, not shown."""
        result = await self._client.session.call_tool(tool, dict(arguments))
        # A server that means harm can make this some tenths of a second: not here, where everybody else waits.
        text = await anyio.to_thread.run_sync(self._redactor.beginning, _text_of(result), longest)
        return ToolAnswer(text, bool(result.is_error))


def _text_of(result: "CallToolResult") -> str:
    parts = [
        part.text if part.type == "text" else f"[a part of the kind {part.type}, which is not shown]"
        for part in result.content
    ]
    if not parts and result.structured_content is not None:
        parts.append(json.dumps(result.structured_content, ensure_ascii=False))
    return "\n".join(parts)


def _plain(text: str) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in text[: LONGEST_DESCRIPTION * 4]).split())


@asynccontextmanager
async def opened(
    url: str, transport: EgressTransport, redactor: Redactor, seconds: float
) -> AsyncGenerator[RemoteTools]:
    """Open a session with the server at `url`. Raise ServiceUnusable, or what the door refuses with."""
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    try:
        with anyio.fail_after(seconds):
            async with (
                transport.client() as http,
                Client(
                    streamable_http_client(url, http_client=http), read_timeout_seconds=seconds, cache=None
                ) as client,
            ):
                yield RemoteTools(client, redactor)
    except Exception as error:  # noqa: BLE001 - what the library throws becomes one of ours, without its text
        raise _as_ours(error) from None


def _as_ours(error: Exception) -> Refusal:
    """Return a refusal of ours for whatever the library throws, which may repeat what the server wrote."""
    if isinstance(error, ExceptionGroup):
        group = cast("ExceptionGroup[Exception]", error)
        causes = [_as_ours(each) for each in group.exceptions]
        return next((each for each in causes if not isinstance(each, ServiceUnusable)), causes[0])
    if isinstance(error, Refusal):
        return error
    return ServiceUnusable()
