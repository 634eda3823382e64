"""A guarded fetch over loopback: how much longer it takes than the same request by the plain HTTP client.

    ./operalta bench guarded_fetch            (or: .venv/bin/python -m bench.guarded_fetch)

Both open a connection of their own for each request and read the same answer. The guarded one goes through the whole
door: parsing, policy, resolution, the check of every address (with loopback let through), the pinned connection, caps,
meter and log line. Prints medians of paired rounds and their ratios, and never judges.
"""

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Network

import httpcore2
import httpx2
import uvloop

from operalta.kernel.ids import CompanyId, RunId, new_id
from operalta.sandbox import destinations
from operalta.sandbox.addresses import is_public
from operalta.sandbox.dialling import Address
from operalta.sandbox.egress import OPEN, EgressDoor, EgressLine
from operalta.sandbox.metering import Errand

ROUNDS = 15
REQUESTS = 120
SIZES = (1_000, 100_000, 2_000_000)
FIELDS = {"User-Agent": "Operalta", "Accept": "*/*", "Accept-Encoding": "gzip", "Connection": "close"}
LOOPBACK = IPv4Address("127.0.0.1")

Fetch = Callable[[], Awaitable[int]]


class Allowance:
    """A meter that lets everything pass."""

    async def admit_request(self, errand: Errand) -> None:
        """Count nothing."""

    async def admit_volume(self, errand: Errand) -> None:
        """Count nothing."""


async def resolve(host: str, port: int) -> tuple[Address, ...]:
    """Lead every name here."""
    del host, port
    return (LOOPBACK,)


def allow(address: Address, translators: Sequence[IPv6Network] = ()) -> bool:
    """Let every address pass: nothing on loopback does, after the check at its usual cost."""
    return is_public(address, translators) or True


async def keep(line: EgressLine) -> None:
    """Let a line go."""
    del line


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request with as many bytes as its path says."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(head.split(b" ", 2)[1].strip(b"/"))
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size
    )
    writer.write(b"x" * size)
    await writer.drain()
    writer.close()


async def a_round(fetch: Fetch, size: int) -> float:
    """Return how many microseconds a request takes, over many one after the other."""
    gc.collect()
    requests = max(10, REQUESTS * SIZES[0] // max(SIZES[0], size // 20))
    started = time.perf_counter()
    for _ in range(requests):
        assert await fetch() == size
    return (time.perf_counter() - started) / requests * 1_000_000


async def compare(port: int, size: int) -> None:
    """Print the medians of both, and the median of the ratios of rounds that lie side by side."""
    url = f"http://a.example:{port}/{size}"
    door = EgressDoor(OPEN, [], keep, meter=Allowance(), resolve=resolve)
    surface = replace(OPEN, ports=frozenset({port}))
    company, run = CompanyId(new_id()), RunId(new_id())

    async def guarded() -> int:
        page = await door.fetch(url, surface=surface, purpose="bench", company_id=company, run_id=run)
        return len(page.body)

    async def by_core() -> int:
        async with httpcore2.AsyncHTTPConnection(
            httpcore2.Origin(b"http", b"127.0.0.1", port), ssl_context=None
        ) as line:
            answer = await line.request("GET", f"http://127.0.0.1:{port}/{size}", headers=list(FIELDS.items()))
            return len(answer.content)

    context = httpx2.create_ssl_context(trust_env=False)

    async def by_client() -> int:
        async with httpx2.AsyncClient(trust_env=False, verify=context) as client:
            answer = await client.get(f"http://127.0.0.1:{port}/{size}", headers=list(FIELDS.items()))
            return len(answer.content)

    kept = httpx2.AsyncClient(trust_env=False, verify=context, headers=FIELDS)

    async def by_kept_client() -> int:
        return len((await kept.get(f"http://127.0.0.1:{port}/{size}")).content)

    ways = {"httpcore2": by_core, "httpx2, one client": by_kept_client, "httpx2, a client each": by_client}
    for way in (guarded, *ways.values()):
        await a_round(way, size)
    times: dict[str, list[float]] = {name: [] for name in ("guarded", *ways)}
    for _ in range(ROUNDS):
        times["guarded"].append(await a_round(guarded, size))
        for name, way in ways.items():
            times[name].append(await a_round(way, size))
    await kept.aclose()
    print(f"{size:>9} bytes: guarded {statistics.median(times['guarded']):7.0f} µs")
    for name in ways:
        ratio = statistics.median(one / other for one, other in zip(times["guarded"], times[name], strict=True))
        print(f"{'':>16} {name:<22} {statistics.median(times[name]):7.0f} µs, ratio {ratio:.2f}")


async def main() -> None:
    """Serve on loopback and compare for each size."""
    destinations.is_public = allow
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port: int = server.sockets[0].getsockname()[1]
        for size in SIZES:
            await compare(port, size)


if __name__ == "__main__":
    uvloop.run(main())
