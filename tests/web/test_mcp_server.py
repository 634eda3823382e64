"""The company's MCP server, used by the library's own client as it comes."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent

from operalta.access.rules import KEY_SCOPES
from operalta.web.mcp_server import ASK, SHARED
from tests.agents.conftest import Desk
from tests.web.conftest import House
from tests.web.programs import key, working
from tests.web.site import Site

READING = ("company:read", "memory:read", "metrics:read", "files:read")
JSON_RPC = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


@asynccontextmanager
async def connected(site: Site, api_key: str) -> AsyncGenerator[Client]:
    headers = {"Authorization": f"Bearer {api_key}"}
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False, timeout=60) as http,
        Client(streamable_http_client(f"{site.address}/api/v1/mcp", http_client=http)) as client,
    ):
        yield client


async def names(client: Client) -> set[str]:
    return {tool.name for tool in (await client.session.list_tools()).tools}


def text_of(result: CallToolResult) -> str:
    (part,) = result.content
    assert isinstance(part, TextContent)
    return part.text


async def told(client: Client, tool: str, **arguments: object) -> str:
    result = await client.session.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    return text_of(result)


async def refused(client: Client, tool: str, **arguments: object) -> str:
    result = await client.session.call_tool(tool, arguments)
    assert result.is_error, text_of(result)
    return text_of(result)


@pytest.mark.proves("1.3.1", "2.5.3")
async def test_a_key_is_offered_what_its_scopes_reach_and_no_more(site: Site, house: House) -> None:
    async with connected(site, key(house, *READING)) as client:
        assert await names(client) == set(SHARED) - {"memory_record"}
        assert "scope" in await refused(client, "memory_record", kind="decision", title="Sell by the year")
        assert "scope" in await refused(client, ASK, message="/help")
    async with connected(site, key(house, *sorted(KEY_SCOPES))) as client:
        assert await names(client) == {*SHARED, ASK}
    async with connected(site, key(house, "company:read")) as client:
        assert await names(client) == set()


async def test_memory_metrics_and_files_are_read_and_the_memory_is_written(
    site: Site, house: House, desk: Desk
) -> None:
    api = f"/companies/{house.slug}"
    founder = house.founder
    assert founder.api("POST", f"{api}/metrics", {"slug": "churn", "name": "Churn", "unit": "%"}).status == 201
    assert founder.api("POST", f"{api}/metrics/churn/points", {"on_date": "2026-01-31", "value": "2.2"}).status < 300
    assert founder.upload(f"/api/v1{api}/files", b"plan.md", b"We sell lamps by the year.").status == 201
    async with connected(site, key(house, *READING, "memory:write")) as client:
        assert "Recorded" in await told(client, "memory_record", kind="decision", title="Sell by the year")
        assert "Sell by the year" in await told(client, "memory_search", query="year")
        assert "2.2" in await told(client, "metrics_read", slug="churn")
        assert "plan.md" in await told(client, "files_list", folder="")
        assert "lamps" in await told(client, "files_read", path="plan.md")
        assert "lamps" in await told(client, "files_search", query="lamps")
    recorded = desk.rows(
        "SELECT run_id, recorded_by FROM workspace.records WHERE company_id = %s",
        house.members["founder"].company_id,
    )
    assert [dict(one) for one in recorded] == [{"run_id": None, "recorded_by": house.members["founder"].person_id}]


@pytest.mark.proves("5.5.1")
async def test_an_agent_answers_and_what_needs_a_person_waits(site: Site, house: House, desk: Desk) -> None:
    async with connected(site, key(house, "company:read", "agents:run", "files:write")) as client, working(desk, house):
        answer = await told(client, ASK, message="/help")
        assert "/decide" in answer
        conversation = answer.rpartition("[conversation: ")[2].rstrip("]")
        waiting = await told(
            client, ASK, message="write the file plan.md with Lamps.", conversation=conversation, agent="chief-of-staff"
        )
        assert "waits for a person" in waiting
        assert conversation in waiting
        assert "chief-of-staff" in await refused(client, ASK, message="/help", agent="nobody")
    assert desk.rows("SELECT 1 FROM workspace.files WHERE company_id = %s", house.members["founder"].company_id) == []


@pytest.mark.proves("3.4.1", "7.3.1")
async def test_what_cannot_be_used_is_said_and_not_repeated(site: Site, house: House) -> None:
    async with connected(site, key(house, *READING)) as client:
        for arguments in ({}, {"query": "x" * 100_000}, {"query": "x", "company": "<other>"}, {"query": 7}):
            assert "cannot be used" in (answer := await refused(client, "memory_search", **arguments))
            assert "<other>" not in answer
            assert len(answer) < 500
        for unknown in ("shell_run", "web_fetch", "files_write", "Memory_search", "memory_search\u200b"):
            assert "no such tool" in await refused(client, unknown)
        assert "root:" not in await refused(client, "files_read", path="../../etc/passwd")


@pytest.mark.proves("1.3.1", "2.4.1")
def test_nobody_else_gets_in(site: Site, house: House) -> None:
    asked = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
    strangers = {
        "nobody": site.visitor(),
        "a session": house.founder,
        "no key": site.program("op_nothing"),
        "a key of nobody": site.program(key(house)[:-1] + "x"),
    }
    for name, client in strangers.items():
        answer = client.request("POST", "/api/v1/mcp", asked, JSON_RPC)
        assert (name, answer.status) == (name, 401)
    good = site.program(key(house, *READING))
    assert good.request("POST", "/api/v1/mcp", asked, JSON_RPC).status == 200
    assert good.request("GET", "/api/v1/mcp").status == 405


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"jsonrpc": "2.0"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "nothing/there"}',
        b"[" * 9000,
    ],
    ids=["empty", "half", "list", "number", "no method", "unknown method", "deep"],
)
def test_nonsense_is_answered_without_a_fault(site: Site, house: House, body: bytes) -> None:
    answer = site.program(key(house, *READING)).request("POST", "/api/v1/mcp", body, JSON_RPC)
    assert answer.status < 500, answer.text
    assert b"Traceback" not in answer.body


async def test_a_key_that_loses_its_scope_loses_the_tool_within_the_same_connection(
    site: Site, house: House, desk: Desk
) -> None:
    async with connected(site, key(house, *READING)) as client:
        await told(client, "memory_search", query="x")
        desk.rows(
            "UPDATE credentials.api_keys SET scopes = '{company:read}' WHERE company_id = %s",
            house.members["founder"].company_id,
        )
        assert "scope" in await refused(client, "memory_search", query="x")
        assert await names(client) == set()
