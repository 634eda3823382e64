"""A connection in which somebody else speaks TLS: where it leads is checked, what it carries is counted, not seen."""

import anyio
import httpcore2

from operalta.sandbox.destinations import Destination
from operalta.sandbox.dialling import Address, PinnedNetwork
from operalta.sandbox.errors import FetchTooLarge
from operalta.sandbox.exchange import Record, Trace, raise_as_ours
from operalta.sandbox.metering import Tally
from operalta.sandbox.policies import EgressPolicy
from operalta.terms.registry import upholds

_PIECE = 32_768
_CONNECTED = 200


class Connection:
    """Bytes to a destination that was checked, and bytes from it. Close it; its log line is left then."""

    def __init__(
        self,
        stream: httpcore2.AsyncNetworkStream,
        trace: Trace,
        record: Record,
        *,
        surface: EgressPolicy,
        tally: Tally,
    ) -> None:
        """Take a stream that was dialled at an address that was checked."""
        self._stream = stream
        self._trace = trace
        self._record = record
        self._surface = surface
        self._tally = tally

    @upholds("5.4.3")
    async def send(self, piece: bytes) -> None:
        """Send bytes. Raise FetchTooLarge beyond the cap, FetchFailed, or what the meter raises."""
        self._trace.bytes_sent += len(piece)
        if self._trace.bytes_sent > self._surface.request_bytes:
            raise FetchTooLarge
        await self._tally.reach(self._trace.bytes_sent + self._trace.bytes_received)
        try:
            await self._stream.write(piece)
        except Exception as error:  # noqa: BLE001 - what the library throws at us becomes one of ours
            raise_as_ours(error)

    @upholds("5.4.3")
    async def receive(self) -> bytes:
        """Return the next bytes; none at the end. Raise as `send` does."""
        try:
            piece = await self._stream.read(_PIECE)
        except Exception as error:  # noqa: BLE001 - as above
            raise_as_ours(error)
        self._trace.bytes_received += len(piece)
        if self._trace.bytes_received > self._surface.response_bytes:
            raise FetchTooLarge
        await self._tally.reach(self._trace.bytes_sent + self._trace.bytes_received)
        return piece

    async def aclose(self, error: BaseException | None = None) -> None:
        """Hang up and leave the line, with what went wrong."""
        try:
            with anyio.move_on_after(1, shield=True):
                await self._stream.aclose()
        finally:
            await self._trace.leave(self._record, error)


async def dialled_connection(
    destination: Destination,
    addresses: tuple[Address, ...],
    trace: Trace,
    record: Record,
    *,
    network: httpcore2.AsyncNetworkBackend,
    surface: EgressPolicy,
    tally: Tally,
) -> Connection:
    """Dial one of the addresses. Raise FetchFailed or FetchTimedOut."""
    pinned = PinnedNetwork(addresses, network)
    try:
        stream = await pinned.connect_tcp(destination.host, destination.port)
    except Exception as error:  # noqa: BLE001 - what the library throws at us becomes one of ours
        raise_as_ours(error)
    finally:
        trace.address = pinned.dialled
    trace.status = _CONNECTED
    return Connection(stream, trace, record, surface=surface, tally=tally)
