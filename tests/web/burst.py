"""Very many HTTP requests at the same instant, each from a source address of its choice on the loopback."""

import asyncio
import resource
from collections.abc import Sequence
from dataclasses import dataclass

from tests.web.crowd import Request

_DESCRIPTORS = 8_192
_LONGEST_WAIT_SECONDS = 120


@dataclass(frozen=True)
class Shot:
    """A request, the port that it goes to, and the address that it comes from."""

    request: Request
    port: int
    source: str


@dataclass(frozen=True)
class Reply:
    """What came back. Header names are in lower case; of several headers of one name, the last."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def limit(self) -> str:
        """The name of the limit that decided, as the `RateLimit` header says; "" where nothing was counted."""
        return self.headers.get("ratelimit", "").partition('"')[2].partition('"')[0]


async def fire(shots: Sequence[Shot]) -> list[Reply]:
    """Open a connection for every shot, then send all requests at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _DESCRIPTORS)), hard))
    ready, begin = asyncio.Semaphore(0), asyncio.Event()
    tasks = [asyncio.create_task(_fire(shot, ready, begin)) for shot in shots]
    for _ in shots:
        await ready.acquire()
    begin.set()
    async with asyncio.timeout(_LONGEST_WAIT_SECONDS):
        return await asyncio.gather(*tasks)


async def _fire(shot: Shot, ready: asyncio.Semaphore, begin: asyncio.Event) -> Reply:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", shot.port, local_addr=(shot.source, 0))
    finally:
        ready.release()
    await begin.wait()
    try:
        writer.write(_written(shot.request))
        return _read(await reader.read())
    finally:
        writer.close()


def _written(request: Request) -> bytes:
    headers = {**request.headers, "Content-Length": str(len(request.body)), "Connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{request.method} {request.path} HTTP/1.1\r\n{head}\r\n".encode() + request.body


def _read(answer: bytes) -> Reply:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines)
    return Reply(int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in fields}, body)


def sources(count: int) -> list[str]:
    """So many different addresses of this machine."""
    return [f"127.{10 + place // 62_500}.{place // 250 % 250 + 1}.{place % 250 + 1}" for place in range(count)]
