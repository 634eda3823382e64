"""Addresses that are on the public internet and addresses that are not, in every form that hides one in another.

The blocks are those of the IANA IPv4 and IPv6 Special-Purpose Address Registries, by what stands in their column
"Globally Reachable", with multicast, and the addresses at which clouds hand out credentials. Where that column does not
say (6to4, Teredo), the address within decides.
"""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

IPV4_NOT_REACHABLE = (
    "0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/29", "192.0.0.8/32", "192.0.0.170/31", "192.0.2.0/24", "192.88.99.0/24", "192.88.99.2/32",
    "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    "255.255.255.255/32",
)  # fmt: skip
IPV4_REACHABLE = ("192.0.0.9/32", "192.0.0.10/32", "192.31.196.0/24", "192.52.193.0/24", "192.175.48.0/24")
IPV6_NOT_REACHABLE = (
    "::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001:2::/48", "2001:10::/28",
    "2001:db8::/32", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
)  # fmt: skip
IPV6_REACHABLE = (
    "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:3::/32", "2001:4:112::/48", "2001:20::/28", "2001:30::/28",
    "2620:4f:8000::/48",
)  # fmt: skip
ORDINARY_IPV4 = (
    "1.0.0.0", "1.1.1.1", "4.4.4.4", "8.8.4.4", "8.8.8.8", "9.9.9.9", "9.255.255.255", "11.0.0.0", "93.184.215.14",
    "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "140.82.121.3",
    "168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
    "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0",
    "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0",
    "223.255.255.255",
)  # fmt: skip
ORDINARY_IPV6 = (
    "2000::", "2000::1", "2001:200::", "2001:500:88:200::8", "2001:4860:4860::8888", "2001:4860:4860::8844",
    "2001:67c:4e8:f004::9", "2003::1", "2400:cb00:2049:1::a29f:1804", "2600::", "2606:4700:4700::1111",
    "2620:fe::fe", "2620:0:ccc::2", "2800:3f0::1", "2a00:1450:4001::1", "2a02:26f0::1", "2c0f:fb50:4002::1",
    "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::", "2001:db7:ffff::1", "2001:db9::1",
)  # fmt: skip
METADATA_IPV4 = (
    "100.100.100.200", "168.63.129.16", "169.254.0.23", "169.254.169.254", "169.254.170.2", "169.254.170.23",
    "192.0.0.192",
)  # fmt: skip
METADATA_IPV6 = ("fd00:42::42", "fd00:c1::a9fe:a9fe", "fd00:ec2::23", "fd00:ec2::254", "fd20:ce::254")
METADATA_NAMES = (
    "instance-data", "instance-data.ec2.internal", "metadata", "metadata.azure.internal", "metadata.goog",
    "metadata.google.internal", "metadata.packet.net", "metadata.platformequinix.com", "metadata.tencentyun.com",
)  # fmt: skip

_ONES = 0xFFFF_FFFF


def wrappings(address: IPv4Address) -> Iterator[IPv6Address]:
    """Yield the IPv6 addresses whose traffic ends at `address`: whatever wraps it is as public as that."""
    number = int(address)
    yield IPv6Address((0xFFFF << 32) + number)  # mapped
    if number > 1:
        yield IPv6Address(number)  # compatible
    yield IPv6Address((0x0064_FF9B << 96) + number)  # NAT64, well known
    yield IPv6Address((0x0064_FF9B_0001 << 80) + number)  # NAT64, local use
    yield IPv6Address((0x2002 << 112) + (number << 80) + 1)  # 6to4
    yield IPv6Address((0x2001_0000 << 96) + (0x0808_0808 << 64) + (number ^ _ONES))  # Teredo, the client
    yield IPv6Address((0x2001_0000 << 96) + (number << 64) + (0x0808_0808 ^ _ONES))  # Teredo, the server
    yield IPv6Address((0x2A00_1450 << 96) + (0x0000_5EFE << 32) + number)  # ISATAP
    yield IPv6Address((0x2A00_1450 << 96) + (0x0200_5EFE << 32) + number)  # ISATAP, universal bit set


def notations(address: IPv4Address) -> Iterator[str]:
    """Yield the ways to write `address` as the host of a URL."""
    first, second, third, fourth = address.packed
    number = int(address)
    plain = str(address)
    yield plain
    yield plain + "."
    yield str(number)
    yield hex(number)
    yield f"0X{number:x}"
    yield f"0{number:o}"
    yield f"0{number:o}."
    yield f"{first:#x}.{second:#x}.{third:#x}.{fourth:#x}"
    yield f"0{first:o}.0{second:o}.0{third:o}.0{fourth:o}"
    yield f"000{first:o}.{second}.{third:#x}.{fourth}"
    yield f"{first}.{number & 0xFF_FFFF}"
    yield f"{first}.{second}.{number & 0xFFFF}"
    yield f"{first:#x}.0{number & 0xFF_FFFF:o}"
    yield plain.translate({sign: sign + 0xFEE0 for sign in range(ord("0"), ord("9") + 1)})  # full-width digits
    yield plain.replace(".", "\u3002")
    yield plain.replace(".", "\uff0e")
    yield plain.replace(".", "%2e")
    yield "".join(f"%{ord(sign):02x}" for sign in plain)
    yield f"{plain[:1]}\u00ad{plain[1:]}"  # a soft hyphen
    yield f"{plain[:1]}\n{plain[1:]}"
    yield from (f"[{wrapped}]" for wrapped in wrappings(address))
    yield f"[::ffff:{plain}]"
    yield f"[0:0:0:0:0:FFFF:{first:02x}{second:02x}:{third:02x}{fourth:02x}]"


def _samples(network: IPv4Network | IPv6Network) -> set[IPv4Address | IPv6Address]:
    """Return the first, the second, one in the middle, and the last address of a block."""
    return {network[0], network[min(1, network.num_addresses - 1)], network[network.num_addresses // 2], network[-1]}


def _of(blocks: tuple[str, ...], block: Callable[[str], IPv4Network | IPv6Network]) -> list[IPv4Address | IPv6Address]:
    return sorted({address for each in blocks for address in _samples(block(each))}, key=int)


def closed_ipv4() -> list[IPv4Address]:
    found = {IPv4Address(int(each)) for each in _of(IPV4_NOT_REACHABLE, IPv4Network)}
    return sorted(found | set(map(IPv4Address, METADATA_IPV4)))


def open_ipv4() -> list[IPv4Address]:
    return sorted(
        set(map(IPv4Address, ORDINARY_IPV4)) | {IPv4Address(int(each)) for each in _of(IPV4_REACHABLE, IPv4Network)}
    )


def closed_addresses() -> list[IPv4Address | IPv6Address]:
    """Return every address that is never dialled, plain and wrapped."""
    ipv4 = closed_ipv4()
    ipv6 = {IPv6Address(int(each)) for each in _of(IPV6_NOT_REACHABLE, IPv6Network)}
    wrapped = {each for address in ipv4 for each in wrappings(address)}
    return [*ipv4, *sorted(ipv6 | wrapped | set(map(IPv6Address, METADATA_IPV6)))]


def open_addresses() -> list[IPv4Address | IPv6Address]:
    """Return every address that is dialled, plain and wrapped."""
    ipv4 = open_ipv4()
    ipv6 = {IPv6Address(int(each)) for each in _of(IPV6_REACHABLE, IPv6Network)} | set(map(IPv6Address, ORDINARY_IPV6))
    return [*ipv4, *sorted(ipv6 | {each for address in ipv4 for each in wrappings(address)})]
