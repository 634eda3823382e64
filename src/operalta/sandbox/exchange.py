"""One request and its answer, at an address that has been checked: its HTTP, its caps, and its log line."""

import ssl
import time
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NoReturn

import anyio
import httpcore2

from operalta.kernel import clock
from operalta.kernel.errors import Refusal
from operalta.sandbox.destinations import Destination
from operalta.sandbox.dialling import Address, PinnedNetwork
from operalta.sandbox.errors import ContentRefused, DestinationRefused, FetchFailed, FetchTimedOut, FetchTooLarge
from operalta.sandbox.metering import Errand, Tally
from operalta.sandbox.policies import EgressPolicy

_LOGGED_PATH_CHARACTERS = 1_024
_RECORDING_SECONDS = 5.0

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent: the method in upper case, header fields with names in lower case, and a body if any."""

    method: str
    headers: Headers
    body: bytes | None


@dataclass(frozen=True, slots=True)
class EgressLine:
    """One line of the egress log: a request that was sent or refused. A redirect makes a line of its own.

    `path` has no query. `address` is the one dialled; None where nothing was. `refusal` is the rule or the
    code of the failure; None where the answer came whole. Bytes are of bodies, as they travelled.
    """

    time: datetime
    errand: Errand
    policy: str
    method: str
    scheme: str
    host: str
    port: int
    path: str
    address: str | None
    status: int | None
    refusal: str | None
    bytes_sent: int
    bytes_received: int
    milliseconds: int


Record = Callable[[EgressLine], Awaitable[None]]


@dataclass(slots=True)
class Trace:
    """What is known so far about a request; becomes its line, once."""

    errand: Errand
    policy: str
    method: str
    destination: Destination | None = None
    address: Address | None = None
    status: int | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    _time: datetime = field(default_factory=clock.now)
    _started: float = field(default_factory=time.monotonic)
    _recorded: bool = False

    async def leave(self, record: Record, error: BaseException | None = None) -> None:
        """Hand the line to `record`, whatever becomes of the caller. Raise FetchFailed where that fails.

        A second call does nothing.
        """
        if self._recorded:
            return
        self._recorded = True
        try:
            with anyio.fail_after(_RECORDING_SECONDS, shield=True):
                await record(self._line(_code(error)))
        except Exception as failure:
            raise FetchFailed("The request could not be recorded, so it was given up.") from failure

    def _line(self, refusal: str | None) -> EgressLine:
        to = self.destination
        return EgressLine(
            time=self._time,
            errand=self.errand,
            policy=self.policy,
            method=self.method,
            scheme=to.scheme if to else "",
            host=to.host if to else "",
            port=to.port if to else 0,
            path=to.path[:_LOGGED_PATH_CHARACTERS] if to else "",
            address=str(self.address) if self.address else None,
            status=self.status,
            refusal=refusal,
            bytes_sent=self.bytes_sent,
            bytes_received=self.bytes_received,
            milliseconds=round((time.monotonic() - self._started) * 1000),
        )


class Answer:
    """The head of an answer, with its body still to come. Close it; its log line is left then.

    `status` and `headers` (names in lower case) are there from the start.
    """

    def __init__(
        self,
        response: httpcore2.Response,
        connection: httpcore2.AsyncHTTPConnection,
        trace: Trace,
        record: Record,
        *,
        surface: EgressPolicy,
        deadline: float,
        tally: Tally,
    ) -> None:
        self.status = response.status
        self.headers: Headers = tuple((name.lower(), value) for name, value in response.headers)
        self._response = response
        self._connection = connection
        self._trace = trace
        self._record = record
        self._surface = surface
        self._deadline = deadline
        self._tally = tally

    def header(self, name: str) -> str:
        """Return the value of the first field `name`, given in lower case; empty where there is none."""
        wanted = name.encode("ascii")
        return next((value.decode("latin-1") for found, value in self.headers if found == wanted), "")

    @property
    def media_type(self) -> str:
        """The media type of the body, in lower case, without parameters; empty where none is named."""
        return self.header("content-type").partition(";")[0].strip().lower()

    async def read(self) -> bytes:
        """Return the whole body, unpacked. Raise as `unpacked_chunks` does."""
        unpack = self._unpacking()
        parts: list[bytes] = []
        stream = self._checked_stream()
        try:
            # One scope for the whole body: one for each part would cost more than the part.
            with anyio.fail_after(max(0.0, self._deadline - anyio.current_time())):
                async for chunk in stream:
                    await self._take(chunk)
                    parts.append(unpack.feed(chunk) if unpack else chunk)
        except Exception as error:  # noqa: BLE001 - what the library throws at us becomes one of ours
            raise_as_ours(error)
        if unpack:
            unpack.finish()
        return b"".join(parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it travelled.

        Raise ContentRefused where there is one, of a kind not taken; FetchTooLarge, FetchTimedOut, FetchFailed; or what
        the meter raises.
        """
        iterator = aiter(self._checked_stream())
        while True:
            try:
                with anyio.fail_after(max(0.0, self._deadline - anyio.current_time())):
                    chunk = await anext(iterator)
            except StopAsyncIteration:
                return
            except Exception as error:  # noqa: BLE001 - what the library throws at us becomes one of ours
                raise_as_ours(error)
            await self._take(chunk)
            yield chunk

    async def unpacked_chunks(self) -> AsyncIterator[bytes]:
        """Yield the body, unpacked. Raise as `chunks` does; the cap holds for the unpacked body too."""
        unpack = self._unpacking()
        async for chunk in self.chunks():
            yield unpack.feed(chunk) if unpack else chunk
        if unpack:
            unpack.finish()

    def _checked_stream(self) -> AsyncIterable[bytes]:
        """Return the body to come. Raise FetchTooLarge for one that is announced as larger than is taken."""
        length = self.header("content-length")
        if length.isdecimal() and int(length) > self._surface.response_bytes and self._trace.method != "HEAD":
            raise FetchTooLarge
        if not isinstance(self._response.stream, AsyncIterable):
            raise FetchFailed
        return self._response.stream

    async def _take(self, chunk: bytes) -> None:
        """Count a part of the body, and raise where it is not taken."""
        if chunk and not self._surface.accepts_content(self.media_type):
            raise ContentRefused
        self._trace.bytes_received += len(chunk)
        if self._trace.bytes_received > self._surface.response_bytes:
            raise FetchTooLarge
        await self._tally.reach(self._trace.bytes_sent + self._trace.bytes_received)

    def _unpacking(self) -> "_Unpacking | None":
        """Return what unpacks the body; None where it is not packed. Raise FetchFailed for a way not asked for."""
        encoding = self.header("content-encoding").strip().lower()
        if encoding not in {"", "identity", "gzip", "x-gzip"}:
            raise FetchFailed("The answer is packed in a way that was not asked for.")
        return _Unpacking(self._surface.response_bytes) if encoding.endswith("gzip") else None

    async def aclose(self, error: BaseException | None = None) -> None:
        """Hang up and leave the line, with what went wrong."""
        try:
            with anyio.move_on_after(1, shield=True):
                await self._connection.aclose()
        finally:
            await self._trace.leave(self._record, error)


async def open_exchange(
    destination: Destination,
    addresses: tuple[Address, ...],
    outgoing: Outgoing,
    trace: Trace,
    record: Record,
    *,
    network: httpcore2.AsyncNetworkBackend,
    tls: ssl.SSLContext,
    surface: EgressPolicy,
    deadline: float,
    tally: Tally,
) -> Answer:
    """Send one request on a connection of its own and return the answer's head.

    `surface` caps the body; `deadline` is by the event loop's clock; `tally` counts what travels. Raise FetchFailed or
    FetchTimedOut, or what the meter raises.
    """
    await tally.reach(len(outgoing.body or b""))
    pinned = PinnedNetwork(addresses, network)
    url = httpcore2.URL(
        scheme=destination.scheme.encode("ascii"),
        host=destination.host.encode("ascii"),
        port=destination.port,
        target=destination.target.encode("ascii"),
    )
    request = httpcore2.Request(
        outgoing.method.encode("ascii"),
        url,
        headers=list(outgoing.headers),
        content=outgoing.body or b"",
        # A host written with the root's dot has a certificate without it.
        extensions={"sni_hostname": destination.host.rstrip(".")},
    )
    connection = httpcore2.AsyncHTTPConnection(url.origin, ssl_context=tls, network_backend=pinned)
    try:
        with anyio.fail_after(max(0.0, deadline - anyio.current_time())):
            response = await connection.handle_async_request(request)
    except BaseException as error:
        with anyio.move_on_after(1, shield=True):
            await connection.aclose()
        if isinstance(error, Exception):
            raise_as_ours(error)
        raise
    finally:
        trace.address = pinned.dialled
    trace.bytes_sent = len(outgoing.body or b"")
    trace.status = response.status
    return Answer(response, connection, trace, record, surface=surface, deadline=deadline, tally=tally)


class _Unpacking:
    """Gzip, undone step by step, so that a small body cannot become a large one."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._fed = False
        self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def feed(self, packed: bytes) -> bytes:
        parts: list[bytes] = []
        self._fed = True
        while packed:
            if self._member.eof:
                self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)
            try:
                part = self._member.decompress(packed, self._left + 1)
            except zlib.error:
                raise FetchFailed("The answer is damaged.") from None
            self._left -= len(part)
            if self._left < 0:
                raise FetchTooLarge
            parts.append(part)
            packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return b"".join(parts)

    def finish(self) -> None:
        if self._fed and not self._member.eof:
            raise FetchFailed("The answer is damaged.")


def raise_as_ours(error: Exception) -> NoReturn:
    """Raise a refusal of ours for what the HTTP library, the network or TLS threw."""
    if isinstance(error, Refusal):
        raise error
    if isinstance(error, TimeoutError | httpcore2.TimeoutException):
        raise FetchTimedOut from error
    if isinstance(error, OSError | httpcore2.NetworkError | httpcore2.ProtocolError):
        raise FetchFailed from error
    raise error


def _code(error: BaseException | None) -> str | None:
    if isinstance(error, DestinationRefused):
        return error.rule
    if isinstance(error, Refusal):
        return error.code
    if isinstance(error, anyio.get_cancelled_exc_class()):
        return "cancelled"
    return None if error is None else "error"
