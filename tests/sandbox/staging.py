"""Loopback servers, networks that lead public addresses to them, and logs, for the tests of the way out."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import cast

import httpcore2

from operalta.sandbox.egress import ALLOW_LISTED, OPEN, EgressDoor, EgressLine, EgressPolicy, FetchedPage
from operalta.sandbox.errors import FetchLimitReached
from operalta.sandbox.metering import Errand
from operalta.sandbox.transport import EgressTransport

Address = IPv4Address | IPv6Address
PUBLIC = "93.184.215.14"
OTHER = "93.184.215.15"


def answer(status: int = 200, body: bytes = b"hello", *fields: str, content_type: str = "text/plain") -> bytes:
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", f"Content-Type: {content_type}", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def narrowed(policy: EgressPolicy, **changes: object) -> EgressPolicy:
    fields = {name: getattr(policy, name) for name in EgressPolicy.__slots__}
    return EgressPolicy(**{**fields, **changes})  # pyright: ignore[reportArgumentType]


@dataclass
class LoopbackServer:
    """Answers each path with given bytes and keeps what it was sent."""

    answers: dict[str, bytes] = field(default_factory=lambda: {"/": answer()})
    requests: list[bytes] = field(default_factory=list[bytes])
    connections: int = 0
    server_names: list[str] = field(default_factory=list[str])
    port: int = 0
    endless: bytes | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line), 0
            )
            self.requests.append(head + (await reader.readexactly(length) if length else b""))
            path = head.split(b" ")[1].decode().partition("?")[0]
            if path == "/silent":
                await asyncio.sleep(3600)
            writer.write(self.answers.get(path, answer(404, b"nothing")))
            while self.endless is not None and path == "/endless":
                writer.write(self.endless)
                await writer.drain()
                await asyncio.sleep(0)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def field_of(self, index: int, name: str) -> str | None:
        for line in self.requests[index].split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]:
            found, _, value = line.partition(": ")
            if found.lower() == name:
                return value
        return None


StartServer = Callable[..., Awaitable[LoopbackServer]]


@dataclass
class StagedNetwork(httpcore2.AsyncNetworkBackend):
    """A network in which public addresses stand for loopback servers; all that is dialled is kept.

    An address that is not staged and is loopback is dialled for real, so that an escape would be seen.
    """

    stage: dict[str, int] = field(default_factory=dict[str, int])
    dialled: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.dialled.append((host, port))
        real = ip_address(host).is_loopback
        if host not in self.stage and not real:
            raise httpcore2.ConnectError("nobody there")
        network = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())
        return await network.connect_tcp(
            "127.0.0.1", port if real else self.stage[host], timeout, local_address, socket_options
        )

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class Names:
    """A resolver with a fixed book of names, which counts what it was asked."""

    book: dict[str, Sequence[str]]
    asked: list[str] = field(default_factory=list[str])

    async def __call__(self, host: str, port: int) -> tuple[Address, ...]:
        del port
        self.asked.append(host)
        return tuple(map(ip_address, self.book.get(host, ())))


@dataclass
class Log:
    """An egress log in memory."""

    lines: list[EgressLine] = field(default_factory=list[EgressLine])

    async def __call__(self, line: EgressLine) -> None:
        self.lines.append(line)


@dataclass
class Counted:
    """A meter that keeps what it counted and, once `most_requests` or `most_units` are used, refuses."""

    most_requests: int = 1_000_000
    most_units: int = 1_000_000
    requests: list[Errand] = field(default_factory=list[Errand])
    units: list[Errand] = field(default_factory=list[Errand])

    async def admit_request(self, errand: Errand) -> None:
        if len(self.requests) >= self.most_requests:
            raise FetchLimitReached
        self.requests.append(errand)

    async def admit_volume(self, errand: Errand) -> None:
        if len(self.units) >= self.most_units:
            raise FetchLimitReached
        self.units.append(errand)


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test's own: a context that trusts it, and one that serves a name."""

    client: ssl.SSLContext
    serving: Callable[[str], ssl.SSLContext]


def staged(log: Log, *servers: LoopbackServer, exemptions: tuple[str, ...] = ()) -> EgressDoor:
    """A door to `a.example` and `b.example`, whose public addresses lead to the servers given."""
    network = StagedNetwork({address: server.port for address, server in zip((PUBLIC, OTHER), servers, strict=False)})
    names = Names({"a.example": [PUBLIC], "b.example": [OTHER], "inside.example": ["127.0.0.1"]})
    return EgressDoor(OPEN, exemptions, log, resolve=names, network=network)


async def get(door: EgressDoor, url: str, surface: EgressPolicy = OPEN) -> FetchedPage:
    return await door.fetch(url, surface=surface, purpose="test")


def transport_to(log: Log, *servers: LoopbackServer, seconds: float = 20) -> tuple[EgressTransport, str]:
    host = f"127.0.0.1:{servers[0].port}"
    surface = narrowed(ALLOW_LISTED.for_hosts(host, "inside.example"), seconds=seconds, response_bytes=10_000)
    return EgressTransport(EgressDoor(OPEN, [host], log), surface, purpose="model"), f"http://{host}"
