"""Where a command's connections to its local proxy lead: through the door for requests, to hosts on a list.

The command asks with CONNECT (RFC 9110 section 9.3.6), which names host and port and nothing else. What it says in a
connection is between it and the host; where the connection leads, and how much it carries, is decided here.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from operalta.kernel.errors import Refusal
from operalta.sandbox.connection import Connection
from operalta.sandbox.egress import EgressDoor
from operalta.sandbox.metering import Errand
from operalta.sandbox.policies import EgressPolicy
from operalta.sandbox.shell.wire import Malformed
from operalta.terms.registry import upholds

LONGEST_HEAD = 8 * 1024
HEAD_SECONDS = 10.0
MOST_CONNECTIONS = 100
"""Of one command, one after the other or at once."""

_CONNECT = re.compile(rb"CONNECT ([\x21-\x7e]{1,300}) HTTP/1\.[01]\r\n")
_PIECES_WAITING = 8
_NO_MORE = b""
STALLED_SECONDS = 10.0
MOST_AT_ONCE = 32
"""Twice of what the inner program opens: it may have said that some are closed, and that has not been read."""

Send: TypeAlias = Callable[[bytes], Awaitable[None]]
End: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Way:
    """One connection of the command: what it sent and was not taken yet, and the task that serves it."""

    pieces: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue[bytes](_PIECES_WAITING))
    task: asyncio.Task[None] | None = None


class CommandProxy:
    """The way out of one command. Made for it, and ended with it."""

    def __init__(self, door: EgressDoor, surface: EgressPolicy, errand: Errand) -> None:
        """Take the door to dial through, the policy with its list of hosts, and on whose behalf."""
        self._door = door
        self._surface = surface
        self._errand = errand
        self._ways: dict[int, _Way] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._opened = 0

    def opened(self, number: int, send: Send, end: End) -> None:
        """Take a new connection. Raise Malformed for one that the inner program would not open."""
        if number in self._ways or len(self._ways) >= MOST_AT_ONCE:
            raise Malformed
        self._opened += 1
        way = self._ways[number] = _Way()
        way.task = asyncio.create_task(self._serve(way, send, end))

    async def sent(self, number: int, piece: bytes) -> None:
        """Take what the command sent; waits while the destination does not read."""
        way = self._ways.get(number)
        if way is None or way.task is None:
            return
        putting = asyncio.ensure_future(way.pieces.put(piece))
        done, _ = await asyncio.wait({putting, way.task}, timeout=STALLED_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        putting.cancel()
        if not done:
            way.task.cancel()  # everything else that the command says waits behind it

    def closed(self, number: int) -> None:
        """Know that the command has closed it."""
        way = self._ways.pop(number, None)
        if way is None or way.task is None:
            return
        self._closing.add(way.task)
        way.task.add_done_callback(self._closing.discard)
        try:
            way.pieces.put_nowait(_NO_MORE)
        except asyncio.QueueFull:
            way.task.cancel()

    async def end(self) -> None:
        """Close all of them, and leave their lines."""
        tasks = [*self._closing, *(way.task for way in self._ways.values() if way.task is not None)]
        self._ways.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, way: _Way, send: Send, end: End) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                authority, early = await _asked(way)
            if authority is None or self._opened > MOST_CONNECTIONS:
                await send(_answer("405 Method Not Allowed", "Only CONNECT is served here, to a few connections."))
                return
            deadline = asyncio.get_running_loop().time() + self._surface.seconds
            connection = await self._door.connect(authority, self._surface, self._errand, deadline=deadline)
        except Refusal as refusal:
            await send(_answer("403 Forbidden", refusal.public_text))
        except TimeoutError:
            await send(_answer("408 Request Timeout", "Nothing was asked for in time."))
        else:
            await send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _carry(connection, way, early, send)
        finally:
            with contextlib.suppress(ConnectionError):
                await end()


@upholds("5.4.1", "5.4.3")
async def _carry(connection: Connection, way: _Way, early: bytes, send: Send) -> None:
    """Carry bytes both ways until one side ends it or a cap is reached, and leave the line."""

    async def out() -> None:
        piece = early
        while True:
            if piece:
                await connection.send(piece)
            piece = await way.pieces.get()
            if piece == _NO_MORE:
                return

    async def back() -> None:
        while piece := await connection.receive():
            await send(piece)

    tasks = [asyncio.ensure_future(out()), asyncio.ensure_future(back())]
    error: BaseException | None = None
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        error = next((task.exception() for task in done), None)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await connection.aclose(error)


async def _asked(way: _Way) -> tuple[str | None, bytes]:
    """Return where the command wants to go, and what it sent behind that; None for anything but CONNECT."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = await way.pieces.get()
        head += piece
        if piece == _NO_MORE or len(head) > LONGEST_HEAD:
            return None, b""
    line = _CONNECT.match(head)
    return (line[1].decode("ascii") if line else None), head.partition(b"\r\n\r\n")[2]


def _answer(status: str, text: str) -> bytes:
    body = f"{text}\n".encode()
    fields = f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    return f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + body
