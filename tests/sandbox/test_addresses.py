from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.sandbox.addresses import embedded_ipv4, is_metadata, is_public

CLOSED_IPV4 = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.2.0/24",
    "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
    "240.0.0.0/4",
)  # fmt: skip
CLOSED_IPV6 = (
    "100::/64", "100:0:0:1::/64", "64:ff9b:1::/48", "2001:2::/48", "2001:10::/28", "2001:db8::/32", "3fff::/20",
    "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
)  # fmt: skip
OPEN_ADDRESSES = (
    "1.1.1.1", "8.8.8.8", "9.9.9.9", "93.184.215.14", "100.63.255.255", "100.128.0.0", "126.255.255.255",
    "128.0.0.0", "172.15.255.255", "172.32.0.0", "192.0.0.9", "192.0.0.10", "192.0.1.0", "192.31.196.1",
    "192.52.193.1", "192.175.48.1", "198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.15",
    "168.63.129.17",
    "2000::", "2001:1::1", "2001:1::2", "2001:1::3", "2001:3::1", "2001:4:112::1", "2001:20::1", "2001:30::1",
    "2001:200::", "2001:4860:4860::8888", "2606:4700:4700::1111", "2620:4f:8000::1", "2a00:1450:4001::1",
    "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::",
    "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b::192.0.1.1", "64:ff9b:1::8.8.8.8", "2002:808:808::1",
    "2001:0:808:808:0:0:f7f7:f7f7", "2a00:1450::200:5efe:808:808", "::8.8.8.8",
)  # fmt: skip
CLOSED_ADDRESSES = (
    "::", "::1", "192.0.0.0", "192.0.0.1", "192.0.0.8", "192.0.0.11", "192.0.0.170", "192.0.0.192",
    "192.0.0.255", "255.255.255.255", "168.63.129.16", "100.100.100.200", "169.254.169.254", "169.254.170.2",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::10.1.2.3", "::2",
    "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254",
    "64:ff9b::168.63.129.16", "64:ff9b:1:0:1::8.8.8.8", "64:ff9b::1:8.8.8.8", "2002:7f00:1::", "2002:a00:1::1",
    "2002:a9fe:a9fe::1", "2002:c0a8:101::", "2001:0:7f00:1::f7f7:f7f7", "2001:0:808:808:0:0:80ff:fffe",
    "2001:0:808:808::5601:5601", "2a00:1450::5efe:10.0.0.1", "2a00:1450::200:5efe:127.0.0.1",
    "2a00:1450::5efe:169.254.169.254", "fe80::5efe:8.8.8.8", "fd00:ec2::254", "fd20:ce::254", "2001::",
    "2001:1::", "2001:1::4", "2001:5::1", "2001:4:111:ffff::", "2001:4:113::", "2001:40::", "2001:1ff:ffff::1",
    "1fff:ffff::", "4000::1", "8000::1", "2001:db8::1", "fe80::1%eth0", "2a00:1450::1%eth0", "ff02::1",
)  # fmt: skip


@pytest.mark.proves("5.4.1")
@pytest.mark.parametrize("block", CLOSED_IPV4)
def test_each_ipv4_block_is_closed_to_its_borders_and_not_beyond(block: str) -> None:
    network = IPv4Network(block)
    assert not is_public(network[0])
    assert not is_public(network[-1])
    closed = [IPv4Network(other) for other in CLOSED_IPV4]
    for outside in (int(network[0]) - 1, int(network[-1]) + 1):
        if 0 <= outside < 2**32 and not any(ip_address(outside) in other for other in closed):
            assert is_public(ip_address(outside))


@pytest.mark.proves("5.4.1")
@pytest.mark.parametrize("block", CLOSED_IPV6)
def test_each_ipv6_block_is_closed_to_its_borders(block: str) -> None:
    network = IPv6Network(block)
    assert not is_public(network[0])
    assert not is_public(network[1])
    assert not is_public(network[-1])


@pytest.mark.proves("5.4.1")
@pytest.mark.parametrize("address", OPEN_ADDRESSES)
def test_no_public_address_is_blocked(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.proves("5.4.1")
@pytest.mark.parametrize("address", CLOSED_ADDRESSES)
def test_no_special_address_is_let_through(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.proves("5.4.1")
@given(st.ip_addresses(v=4))
def test_what_is_wrapped_in_ipv6_is_as_public_as_the_address_within(address: object) -> None:
    inner = ip_address(str(address))
    number = int(inner)
    wrapped = (
        (0xFFFF << 32) + number,
        (0x0064_FF9B << 96) + number,
        (0x2002 << 112) + (number << 80) + 1,
        (0x2001_0000 << 96) + (0x0808_0808 << 64) + (~number & 0xFFFF_FFFF),
        (0x2A00_1450 << 96) + (0x0200_5EFE << 32) + number,
    )
    for value in wrapped:
        assert is_public(IPv6Address(value)) == is_public(inner), IPv6Address(value)
        assert inner in embedded_ipv4(IPv6Address(value))


@pytest.mark.proves("5.4.1")
@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254%eth0"],
)
def test_metadata_services_are_known_in_every_wrapping(address: str) -> None:
    assert is_metadata(ip_address(address))
