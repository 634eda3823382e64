"""Nothing in the product but the door speaks HTTP to others, and whoever uses the door says under which policy."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "operalta"
CLIENTS = (
    "aiohttp", "dns", "http.client", "httpcore", "httpcore2", "httpx", "httpx2", "pycurl", "requests", "urllib.request",
    "urllib3", "websockets", "xmlrpc",
)  # fmt: skip
DOOR = {
    "sandbox/connection.py", "sandbox/dialling.py", "sandbox/egress.py", "sandbox/exchange.py", "sandbox/naming.py",
    "sandbox/transport.py",
}  # fmt: skip
OUTSIDE = {"assurance/client.py"}
"""It looks at a deployment from outside, as a browser would."""

CONNECTING = {"create_connection", "create_datagram_endpoint", "getaddrinfo", "open_connection", "start_tls"}
TO_ONES_OWN = {
    "assurance/deployment.py", "assurance/probes/transport.py", "operations/health.py", "operations/supervisor.py",
}  # fmt: skip
"""They ask whether a part of the deployment itself listens."""

LOCKED_IN = {"sandbox/shell/attempts/connecting.py"}
"""It runs in a sandbox alone, and tries whether there is a way out."""


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text("utf-8"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(tree: ast.AST) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def is_client(module: str) -> bool:
    return any(module == client or module.startswith(f"{client}.") for client in CLIENTS)


@pytest.mark.proves("5.4.1", "5.4.2", "5.4.3")
def test_only_the_door_knows_an_http_client() -> None:
    users = {name for name, tree in trees() if any(map(is_client, imported(tree)))}
    assert users == DOOR | OUTSIDE


@pytest.mark.proves("5.4.2")
def test_only_the_door_looks_up_names_and_connects_to_others() -> None:
    users = {name for name, tree in trees() if CONNECTING & {name_of(call) for call in called(tree)}}
    assert users == TO_ONES_OWN | LOCKED_IN | {"sandbox/dialling.py"}


@pytest.mark.proves("5.4.3")
def test_every_surface_declares_its_policy() -> None:
    surfaces: list[str] = []
    for name, tree in trees():
        for call in called(tree):
            given = {keyword.arg for keyword in call.keywords}
            if name_of(call) == "fetch" and "purpose" in given:
                assert "surface" in given, name
                surfaces.append(name)
            if name_of(call) == "EgressTransport":
                assert len(call.args) > 1 or "surface" in given, name
                surfaces.append(name)
    assert {
        "agents/tool_functions.py", "delivery/sms/channel.py", "vault/integrations/calls.py", "vault/oauth/client.py",
    } <= set(surfaces)  # fmt: skip


@pytest.mark.proves("5.4.3")
def test_the_client_of_mcp_servers_is_given_the_doors_own_client() -> None:
    users = {name: tree for name, tree in trees() if any(each.split(".")[0] == "mcp" for each in imported(tree))}
    server = users.pop("web/mcp_server.py")
    of_server = {each for each in imported(server) if each.split(".")[0] == "mcp"}
    assert {".".join(each.split(".")[:2]) for each in of_server} == {"mcp.server", "mcp.types"}, (
        "it answers, and asks nobody"
    )
    assert set(users) == {"vault/integrations/remote_tools.py"}
    made = [call for tree in users.values() for call in called(tree) if name_of(call) == "streamable_http_client"]
    assert [{keyword.arg for keyword in call.keywords} for call in made] == [{"http_client"}]


@pytest.mark.parametrize(
    ("code", "found"),
    [("import http.client", True), ("from http import client", True), ("from urllib import request", True),
     ("import urllib.parse", False), ("from http import HTTPStatus", False), ("import httpx2 as x", True)],
)  # fmt: skip
def test_a_client_is_noticed_however_it_is_imported(code: str, *, found: bool) -> None:
    assert any(map(is_client, imported(ast.parse(code)))) == found
