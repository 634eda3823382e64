"""Which addresses are on the public internet: IANA's special-purpose registries, embedded IPv4 decoded. Pure.

Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and RFC 8190, with the entries
added since), RFC 4291 sections 2.4, 2.5.5 and 2.7 (compatible, mapped, multicast), RFC 6052 and RFC 8215 (NAT64),
RFC 3056 (6to4), RFC 4380 (Teredo), RFC 5214 section 6.1 (ISATAP).
"""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from operalta.terms.registry import upholds

# An entry that is globally reachable stands in the second table and wins over the wider block around it.
_IPV4_NOT_PUBLIC = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private use
            "100.64.0.0/10",  # shared address space of providers
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link local
            "172.16.0.0/12",  # private use
            "192.0.0.0/24",  # IETF protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relay anycast, withdrawn
            "192.168.0.0/16",  # private use
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast: no place for a TCP connection
            "240.0.0.0/4",  # reserved, with limited broadcast
        ),
    )
)
_IPV4_PUBLIC_WITHIN = tuple(
    map(
        IPv4Network,
        (
            "192.0.0.9/32",  # Port Control Protocol anycast
            "192.0.0.10/32",  # TURN anycast
        ),
    )
)
_IPV6_GLOBAL_UNICAST = IPv6Network("2000::/3")
_IPV6_NOT_PUBLIC = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # IETF protocol assignments
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
        ),
    )
)
_IPV6_PUBLIC_WITHIN = tuple(
    map(
        IPv6Network,
        (
            "2001::/32",  # Teredo: what it embeds decides
            "2001:1::1/128",  # Port Control Protocol anycast
            "2001:1::2/128",  # TURN anycast
            "2001:1::3/128",  # DNS-SD service registration anycast
            "2001:3::/32",  # automatic multicast tunnelling
            "2001:4:112::/48",  # AS112
            "2001:20::/28",  # ORCHIDv2
            "2001:30::/28",  # drone remote identification
        ),
    )
)

_MAPPED = IPv6Network("::ffff:0:0/96")
_COMPATIBLE = IPv6Network("::/96")
_NAT64 = IPv6Network("64:ff9b::/96")
# Of the local-use block (RFC 8215), read like the well-known one. Whatever length a network has given its own prefix
# in there, nothing in this part leads inside: by the shorter readings it all lies in 0.0.0.0/24, which no translator
# sends to. The rest of the block can be read in several ways, so a network that uses it names its prefix.
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_ISATAP_INTERFACE = 0x5EFE  # the third quarter of the address; the universal/local bit may be set
_UNIVERSAL_BIT = 0x0200_0000
_LOW_32_BITS = 0xFFFF_FFFF
_RESERVED_OCTET = 8  # bits 64 to 71 of a translated address are zero (RFC 6052 section 2.2)

# Where clouds answer with credentials. Most lie in a block above; the list also holds those that do not, and
# stands even where an operator's exemption would let a local address through.
_METADATA: frozenset[IPv4Address | IPv6Address] = frozenset(
    {
        IPv4Address("100.100.100.200"),
        IPv4Address("168.63.129.16"),
        IPv4Address("169.254.0.23"),
        IPv4Address("169.254.169.254"),
        IPv4Address("169.254.170.2"),
        IPv4Address("169.254.170.23"),
        IPv4Address("192.0.0.192"),
        IPv6Address("fd00:42::42"),
        IPv6Address("fd00:c1::a9fe:a9fe"),
        IPv6Address("fd00:ec2::23"),
        IPv6Address("fd00:ec2::254"),
        IPv6Address("fd20:ce::254"),
    }
)


@upholds("5.4.1")
def is_public(address: IPv4Address | IPv6Address, translators: Sequence[IPv6Network] = ()) -> bool:
    """Tell whether `address`, and every IPv4 address within it, is on the public internet.

    An IPv6 address that only carries an IPv4 one (mapped, compatible, NAT64) is as public as that; one that
    also has a prefix of its own must be public in both. An address with a zone (`%eth0`) never is. `translators`
    are the network's own NAT64 prefixes, of a length that RFC 6052 section 2.2 names.
    """
    if is_metadata(address, translators):
        return False
    if isinstance(address, IPv4Address):
        return _outside(address, _IPV4_NOT_PUBLIC, _IPV4_PUBLIC_WITHIN)
    if address.scope_id is not None or not all(map(is_public, embedded_ipv4(address, translators))):
        return False
    if _translator(address, translators) is not None:
        return address.packed[_RESERVED_OCTET] == 0
    if address in _MAPPED or _is_compatible(address):
        return True
    return address in _IPV6_GLOBAL_UNICAST and _outside(address, _IPV6_NOT_PUBLIC, _IPV6_PUBLIC_WITHIN)


@upholds("5.4.1")
def is_metadata(address: IPv4Address | IPv6Address, translators: Sequence[IPv6Network] = ()) -> bool:
    """Tell whether a cloud's metadata service answers at `address`, or at an IPv4 address within it."""
    if isinstance(address, IPv4Address):
        return address in _METADATA
    return IPv6Address(int(address)) in _METADATA or any(map(is_metadata, embedded_ipv4(address, translators)))


def embedded_ipv4(address: IPv6Address, translators: Sequence[IPv6Network] = ()) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses to which traffic for `address` may be carried in the end."""
    return tuple(_embedded(int(address), address, _translator(address, translators)))


def _translator(address: IPv6Address, named: Sequence[IPv6Network]) -> IPv6Network | None:
    """Return the NAT64 prefix that `address` lies in, the longest where there are several: so routers choose, too."""
    if not named:
        return _NAT64 if address in _NAT64 else _NAT64_LOCAL if address in _NAT64_LOCAL else None
    # A named prefix that holds another says how that one is read as well, whatever the built-in ones would say.
    found = [prefix for prefix in named if address in prefix]
    return max(found, key=lambda prefix: prefix.prefixlen) if found else _translator(address, ())


def _translated(address: IPv6Address, prefix: IPv6Network) -> IPv4Address:
    """Return the IPv4 address behind a translated one: the four octets after the prefix, without the reserved one."""
    octets = address.packed
    after = [place for place in range(prefix.prefixlen // 8, 16) if place != _RESERVED_OCTET]
    return IPv4Address(bytes(octets[place] for place in after[:4]))


def _embedded(number: int, address: IPv6Address, translator: IPv6Network | None) -> Iterator[IPv4Address]:
    low = IPv4Address(number & _LOW_32_BITS)
    if translator is not None:
        yield _translated(address, translator)
    elif address in _MAPPED or _is_compatible(address):
        yield low
    elif address in _SIX_TO_FOUR:
        yield IPv4Address(number >> 80 & _LOW_32_BITS)
    elif address in _TEREDO:
        yield IPv4Address(number >> 64 & _LOW_32_BITS)  # the server
        yield IPv4Address(~number & _LOW_32_BITS)  # the client, with every bit turned
    if (number >> 32 & _LOW_32_BITS) | _UNIVERSAL_BIT == _ISATAP_INTERFACE | _UNIVERSAL_BIT:
        yield low


def _is_compatible(address: IPv6Address) -> bool:
    return address in _COMPATIBLE and int(address) > 1  # "::" and "::1" are the unspecified and the loopback one


def _outside(
    address: IPv4Address | IPv6Address,
    closed: tuple[IPv4Network, ...] | tuple[IPv6Network, ...],
    open_within: tuple[IPv4Network, ...] | tuple[IPv6Network, ...],
) -> bool:
    if any(address in network for network in open_within):
        return True
    return not any(address in network for network in closed)
