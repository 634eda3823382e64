"""Names looked up at the resolver that the settings name, instead of the system's: one question a family, no cache."""

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Final, cast

import anyio
import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from operalta.sandbox.dialling import Address, Resolve, resolve_with_system
from operalta.terms.registry import upholds

_TRIES = 2
_TRY_SECONDS = 2.0
_LARGEST_DATAGRAM = 1_232  # bytes: passes everywhere without being split (DNS Flag Day 2020)
_FAMILIES: Final = (dns.rdatatype.AAAA, dns.rdatatype.A)
_THIS_MACHINE: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


def resolver_at(server: tuple[str, int] | None) -> Resolve:
    """Return what looks names up at `server` (address and port), or at the system's resolver where that is None."""
    return resolve_with_system if server is None else ResolverAt(*server)


class ResolverAt:
    """Asks one recursive resolver (RFC 1035) over UDP, and over TCP where the answer is cut off.

    A name is asked for as it stands, without search domains and without the system's file of hosts; `localhost` is
    never asked for (RFC 6761 section 6.3).
    """

    def __init__(self, address: str, port: int) -> None:
        self._address = address
        self._port = port

    @upholds("5.4.2")
    async def __call__(self, host: str, port: int) -> tuple[Address, ...]:
        """Return every address of `host`; none where there is none, or where the resolver gives no usable answer.

        A chain of aliases counts as far as the answer itself holds it together: addresses of other names in it are not
        the host's.
        """
        del port
        if host.rstrip(".") == "localhost":
            return _THIS_MACHINE
        try:
            name = dns.name.from_text(host)
        except (dns.exception.DNSException, UnicodeError):
            return ()
        found: dict[dns.rdatatype.RdataType, tuple[Address, ...]] = {}

        async def ask(family: dns.rdatatype.RdataType) -> None:
            found[family] = await self._ask(name, family)

        async with anyio.create_task_group() as group:
            for family in _FAMILIES:
                group.start_soon(ask, family)
        return tuple(dict.fromkeys(address for family in _FAMILIES for address in found[family]))

    async def _ask(self, name: dns.name.Name, family: dns.rdatatype.RdataType) -> tuple[Address, ...]:
        for _ in range(_TRIES):
            query = dns.message.make_query(name, family, use_edns=0, payload=_LARGEST_DATAGRAM)
            try:
                answer, _ = await dns.asyncquery.udp_with_fallback(
                    query,
                    self._address,
                    _TRY_SECONDS,
                    self._port,
                    # What others throw in between is waited out, not believed.
                    ignore_unexpected=True,
                    ignore_errors=True,
                )
                return _addresses(answer)
            except (dns.exception.DNSException, OSError, EOFError):
                continue
        return ()


def _addresses(answer: dns.message.Message) -> tuple[Address, ...]:
    """Return what the question of `answer` leads to, aliases followed. Raise DNSException where it makes no sense."""
    if not isinstance(answer, dns.message.QueryMessage) or answer.rcode() != dns.rcode.NOERROR:
        return ()
    records = cast("Iterable[object]", answer.resolve_chaining().answer or ())
    return tuple(ipaddress.ip_address(record.address) for record in records if isinstance(record, A | AAAA))
