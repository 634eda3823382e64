"""From a host name to a connection: resolved once, checked, and dialled at the address that was checked."""

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from itertools import zip_longest

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpcore2

from operalta.sandbox.destinations import Destination, check_addresses
from operalta.sandbox.errors import FetchTimedOut
from operalta.terms.registry import upholds

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]

_RESOLUTION_SECONDS = 5.0
_CONNECT_SECONDS = 5.0
_MOST_ATTEMPTS = 4  # a name may have many addresses; the first few decide
_MOST_RESOLUTIONS = 32  # at once: a thread that waits for a dead name server can only be left behind

_limiters: dict[object, anyio.CapacityLimiter] = {}


async def resolve_with_system(host: str, port: int) -> tuple[Address, ...]:
    """Return every address of `host` that the system's resolver knows; none where it fails or takes 5 s."""

    def look_up() -> tuple[Address, ...]:
        try:
            # Bytes, so that the interpreter does not put a host-name codec of its own in between.
            answers = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return ()
        return tuple(dict.fromkeys(ipaddress.ip_address(answer[4][0]) for answer in answers))

    with anyio.move_on_after(_RESOLUTION_SECONDS):
        return await anyio.to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=_limiter())
    return ()


@upholds("5.4.1", "5.4.2")
async def checked_addresses(
    destination: Destination,
    resolve: Resolve,
    *,
    exempt: bool,
    deadline: float,
    translators: Sequence[IPv6Network] = (),
) -> tuple[Address, ...]:
    """Resolve `destination` once and return its addresses, all of which have been found fit to be dialled.

    `translators` are the network's own NAT64 prefixes. Raise DestinationRefused where an address is not fit, or where
    there is none; FetchTimedOut at the `deadline` by the event loop's clock.
    """
    if destination.address is not None:
        addresses: tuple[Address, ...] = (destination.address,)
    else:
        try:
            with anyio.fail_after(max(0.0, deadline - anyio.current_time())):
                addresses = tuple(await resolve(destination.host, destination.port))
        except TimeoutError:
            raise FetchTimedOut from None
    check_addresses(addresses, exempt=exempt, translators=translators)
    return in_turns(addresses)


def in_turns(addresses: Sequence[Address]) -> tuple[Address, ...]:
    """Return the addresses with the families in turns, the first one's first (RFC 8305 section 4).

    So a name with many addresses of a family that leads nowhere from here is still reached by the other.
    """
    first = [address for address in addresses if address.version == addresses[0].version]
    second = [address for address in addresses if address.version != addresses[0].version]
    pairs = zip_longest(first, second)
    return tuple(address for pair in pairs for address in pair if address is not None)


@upholds("5.4.2")
class PinnedNetwork(httpcore2.AsyncNetworkBackend):
    """A network on which there is nothing but `addresses`: whatever is asked for, one of them is dialled.

    The HTTP library above goes on to use the name for the Host field and for checking the certificate.
    `dialled` is the address that was tried last.
    """

    def __init__(self, addresses: Sequence[Address], network: httpcore2.AsyncNetworkBackend) -> None:
        self._addresses = addresses
        self._network = network
        self.dialled: Address | None = None

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the name; what it stands for has been decided already
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first of the addresses that answers. Raise ConnectError or ConnectTimeout."""
        limit = _CONNECT_SECONDS if timeout is None else min(timeout, _CONNECT_SECONDS)
        failure: Exception = httpcore2.ConnectError("no address")
        for address in self._addresses[:_MOST_ATTEMPTS]:
            self.dialled = address
            try:
                return await self._network.connect_tcp(str(address), port, limit, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002 - the library's signature
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - the library's signature
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002 - as above
    ) -> httpcore2.AsyncNetworkStream:
        """Refuse: there are no sockets of this machine on this network."""
        raise httpcore2.ConnectError("no local sockets")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)


def _limiter() -> anyio.CapacityLimiter:
    # One for each event loop, as the library wants it; a process has one loop (tests have several).
    token = anyio.lowlevel.current_token()
    if token not in _limiters:
        _limiters.clear()
        _limiters[token] = anyio.CapacityLimiter(_MOST_RESOLUTIONS)
    return _limiters[token]
