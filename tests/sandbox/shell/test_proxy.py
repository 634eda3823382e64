"""The way out of a command: to hosts on a list, through the door, counted and logged; nowhere else."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest

from operalta.sandbox.dialling import Address
from operalta.sandbox.egress import EgressDoor
from operalta.sandbox.metering import Errand
from operalta.sandbox.policies import OPEN, TUNNELLED
from operalta.sandbox.shell.proxy import CommandProxy
from operalta.sandbox.shell.rules import Job, Report
from operalta.sandbox.shell.runner import CommandRunner
from tests.sandbox.staging import Log

ASKING = """
import socket, sys
asked = socket.create_connection(("127.0.0.1", 3128), 5)
asked.sendall(sys.argv[1].encode().decode("unicode_escape").encode())
while piece := asked.recv(65536):
    sys.stdout.buffer.write(piece)
    if b"200 Connection" in piece:
        asked.sendall(b"hello " + b"x" * int(sys.argv[2]) + b"\\n")
        asked.shutdown(socket.SHUT_WR) if sys.argv[2] == "-1" else None
"""


@dataclass
class Echo:
    """A server that gives back a line, and counts who came."""

    port: int = 0
    came: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        line = b""
        while not line.endswith(b"\n") and (piece := await reader.read(1 << 16)):
            line += piece
        if line.endswith(b"\n"):
            writer.write(b"you said " + line)
        writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    staged = Echo()
    server = await asyncio.start_server(staged.serve, "127.0.0.1", 0)
    staged.port = server.sockets[0].getsockname()[1]
    yield staged
    server.close()


async def loopback(_host: str, _port: int) -> Sequence[Address]:
    return (ipaddress.ip_address("127.0.0.1"),)


def proxy(log: Log, *hosts: str, exempt: Sequence[str] = ()) -> CommandProxy:
    door = EgressDoor(OPEN, exempt, log, resolve=loopback)
    return CommandProxy(door, TUNNELLED.for_hosts(*hosts), Errand("agent command"))


async def ask(runner: CommandRunner, way: CommandProxy | None, request: str, length: int = 0) -> Report:
    return await runner.run(Job(("python3", "-c", ASKING, request, str(length))), tunnels=way)


@pytest.mark.proves("5.4.3")
async def test_a_host_on_the_list_is_reached(runner: CommandRunner, echo: Echo, log: Log) -> None:
    host = f"echo.example:{echo.port}"
    way = proxy(log, host, exempt=[host])
    report = await ask(runner, way, f"CONNECT {host} HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n")
    assert report.output.endswith(b"you said hello \n")
    [line] = log.lines
    assert (line.method, line.host, line.port, line.refusal, line.address) == (
        "CONNECT", "echo.example", echo.port, None, "127.0.0.1",
    )  # fmt: skip
    assert line.bytes_sent == 7
    assert line.bytes_received > line.bytes_sent


@pytest.mark.proves("5.4.1", "5.4.3")
@pytest.mark.parametrize(
    ("authority", "rule"),
    [
        ("other.example:443", "host"),
        ("echo.example:25", "host"),
        ("127.0.0.1:{port}", "host"),
        ("local.example:443", "address"),
        ("echo.example:443/path", "url"),
        ("echo.example", "url"),
        ("user@local.example:443", "credentials"),
    ],
)
async def test_nothing_else_is_reached(runner: CommandRunner, echo: Echo, log: Log, authority: str, rule: str) -> None:
    way = proxy(log, f"echo.example:{echo.port}", "local.example", exempt=[f"echo.example:{echo.port}"])
    report = await ask(runner, way, f"CONNECT {authority.format(port=echo.port)} HTTP/1.1\\r\\n\\r\\n")
    assert report.output.startswith(b"HTTP/1.1 403")
    assert [line.refusal for line in log.lines] == [rule]
    assert echo.came == 0


@pytest.mark.parametrize("request_line", ["GET https://echo.example/ HTTP/1.1", "CONNECT a b c", "hello"])
async def test_only_connect_is_served(runner: CommandRunner, log: Log, request_line: str) -> None:
    report = await ask(runner, proxy(log, "echo.example"), f"{request_line}\\r\\n\\r\\n")
    assert report.output.startswith(b"HTTP/1.1 405")
    assert log.lines == []


@pytest.mark.proves("5.4.3")
async def test_what_a_connection_carries_is_capped(runner: CommandRunner, echo: Echo, log: Log) -> None:
    host = f"echo.example:{echo.port}"
    way = proxy(log, host, exempt=[host])
    report = await ask(runner, way, f"CONNECT {host} HTTP/1.1\\r\\n\\r\\n", TUNNELLED.request_bytes + 1)
    assert b"you said" not in report.output
    assert [line.refusal for line in log.lines] == ["fetch_too_large"]


async def test_a_connection_that_stalls_holds_nothing_else_up(
    runner: CommandRunner, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operalta.sandbox.shell.proxy.STALLED_SECONDS", 0.5)
    held = asyncio.Event()

    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await held.wait()
        writer.close()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1024)
    host = f"deaf.example:{server.sockets[0].getsockname()[1]}"
    text = f"python3 -c \"$0\" 'CONNECT {host} HTTP/1.1\\r\\n\\r\\n' 9000000 > /dev/null 2>&1 & sleep 1.5; echo ended"
    report = await runner.run(Job(("/bin/sh", "-c", text, ASKING)), tunnels=proxy(log, host, exempt=[host]))
    held.set()
    server.close()
    assert (report.exit_code, report.output) == (0, b"ended\n")


@pytest.mark.proves("5.3.1")
async def test_without_a_way_out_there_is_none(runner: CommandRunner) -> None:
    report = await ask(runner, None, "CONNECT echo.example:443 HTTP/1.1\\r\\n\\r\\n")
    assert b"ConnectionRefusedError" in report.output


@pytest.mark.proves("5.3.2")
async def test_an_end_closes_what_is_open(runner: CommandRunner, echo: Echo, log: Log) -> None:
    host = f"echo.example:{echo.port}"
    way = proxy(log, host, exempt=[host])
    text = (
        "import socket, time\nasked = socket.create_connection(('127.0.0.1', 3128), 5)\n"
        f"asked.sendall(b'CONNECT {host} HTTP/1.1\\r\\n\\r\\n')\nprint(asked.recv(100), flush=True)\ntime.sleep(600)"
    )
    running = asyncio.create_task(runner.run(Job(("python3", "-c", text)), tunnels=way))
    for _ in range(600):
        if echo.came:
            break
        await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [line.refusal for line in log.lines] in (["cancelled"], [None])
