from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest

from operalta.sandbox.egress import OPEN, EgressDoor
from operalta.sandbox.errors import DestinationRefused, FetchFailed
from tests.sandbox.address_corpus import (
    METADATA_IPV4,
    METADATA_IPV6,
    METADATA_NAMES,
    closed_addresses,
    closed_ipv4,
    notations,
    open_addresses,
    open_ipv4,
    wrappings,
)
from tests.sandbox.staging import Address, Log, Names, StagedNetwork

NETWORKS_OWN = "2001:db8:64::/96"


async def fate(host: str, *, answers: Address | None = None, translators: tuple[str, ...] = ()) -> str:
    """Return the address that a door dials for `host`, on a network without anybody, or the rule that refused it."""
    network, log = StagedNetwork(), Log()
    names = Names({host: [str(answers)]} if answers else {})
    door = EgressDoor(
        OPEN, [], log, translators=map(IPv6Network, translators), resolve=names, network=network
    )  # fmt: skip
    try:
        await door.fetch(f"http://{host}/", surface=OPEN, purpose="test")
    except DestinationRefused as refusal:
        assert network.dialled == []
        return refusal.rule
    except FetchFailed:
        assert network.dialled[0][1] == 80
        return network.dialled[0][0]
    raise AssertionError("nobody answers there")


def written(address: Address) -> str:
    return f"[{address}]" if isinstance(address, IPv6Address) else str(address)


@pytest.mark.proves("5.4.1")
async def test_no_closed_address_is_dialled() -> None:
    closed = closed_addresses()
    assert len(closed) > 300
    for address in closed:
        for found in (await fate(written(address)), await fate("a.example", answers=address)):
            assert found in {"address", "metadata"}, address


@pytest.mark.proves("5.4.1")
async def test_every_open_address_is_dialled() -> None:
    opened = open_addresses()
    assert len(opened) > 100
    for address in opened:
        assert await fate(written(address)) == str(address)
        assert await fate("a.example", answers=address) == str(address)


@pytest.mark.proves("5.4.1")
async def test_no_notation_of_a_closed_address_is_dialled() -> None:
    for address in closed_ipv4():
        for host in notations(address):
            assert await fate(host) in {"address", "metadata"}, host


@pytest.mark.proves("5.4.1")
async def test_every_notation_of_an_open_address_leads_to_it() -> None:
    for address in open_ipv4():
        ends = {str(address), *map(str, wrappings(address))}
        for host in notations(address):
            assert await fate(host) in ends, host


@pytest.mark.proves("5.4.1")
async def test_metadata_services_are_reached_in_no_form() -> None:
    for address in METADATA_IPV4:
        for host in notations(IPv4Address(address)):
            assert await fate(host) == "metadata", host
    for address in METADATA_IPV6:
        assert await fate(f"[{address}]") == "metadata"
        assert await fate(f"[{IPv6Address(address).exploded}]") == "metadata"
    for name in METADATA_NAMES:
        for host in (name, f"{name}.", name.upper(), name.replace("m", "%6d")):
            assert await fate(host) == "metadata", host


@pytest.mark.proves("5.4.1")
@pytest.mark.parametrize("address", ["fe80::1%eth0", "2a00:1450::1%eth0", "fe80::1%1", "::ffff:8.8.8.8%lo"])
async def test_an_address_with_a_zone_is_not_dialled(address: str) -> None:
    assert await fate("a.example", answers=ip_address(address)) == "address"
    for mark in ("%25", "%"):
        assert await fate(f"[{address.replace('%', mark)}]") == "url"


# ── Behind NAT64 ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("5.4.1")
@pytest.mark.parametrize(
    ("prefix", "public", "private"),
    [
        # The example of RFC 6052 section 2.4, with 192.0.2.33 replaced by 8.8.2.33 and 10.0.2.33.
        ("2001:db8::/32", "2001:db8:808:221::", "2001:db8:a00:221::"),
        ("2001:db8:100::/40", "2001:db8:108:802:21::", "2001:db8:10a:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:808:2:2100::", "2001:db8:122:a00:2:2100::"),
        ("2001:db8:122:300::/56", "2001:db8:122:308:8:221::", "2001:db8:122:30a:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:8:802:2100::", "2001:db8:122:344:a:2:2100::"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::808:221", "2001:db8:122:344::a00:221"),
        ("fd00:64::/96", "fd00:64::808:221", "fd00:64::a00:221"),
        ("64:ff9b:1:fffe::/96", "64:ff9b:1:fffe::808:221", "64:ff9b:1:fffe::a00:221"),
        ("64:ff9b:1::/48", "64:ff9b:1:808:2:2100::", "64:ff9b:1:a00:2:2100::"),
    ],
)
async def test_a_prefix_of_the_network_is_as_public_as_what_it_leads_to(prefix: str, public: str, private: str) -> None:
    for host in (f"[{public}]", "a.example"):
        answers = ip_address(public) if host == "a.example" else None
        assert await fate(host, answers=answers, translators=(prefix,)) == str(ip_address(public))
    for host in (f"[{private}]", "a.example"):
        answers = ip_address(private) if host == "a.example" else None
        assert await fate(host, answers=answers, translators=(prefix,)) == "address"
    assert await fate(f"[{public}]", translators=("2a00:64::/96",)) == "address", "not named, not reached"


@pytest.mark.proves("5.4.1")
@pytest.mark.parametrize(
    ("address", "prefixes", "rule"),
    [
        ("2001:db8:64::a9fe:a9fe", (NETWORKS_OWN,), "metadata"),
        ("2001:db8:64::a83f:8110", (NETWORKS_OWN,), "metadata"),
        ("2001:db8:64::7f00:1", (NETWORKS_OWN,), "address"),
        ("2001:db8:64:0:100::808:808", (NETWORKS_OWN,), "address"),
        ("2001:db8:122:808:102:2100::", ("2001:db8:122::/48",), "address"),  # the reserved octet is not zero
        # A network's own prefix within a public block: the private address behind it is known once it is named.
        ("2a00:1450:64::a00:1", ("2a00:1450:64::/96",), "address"),
        # The longest prefix says how an address is read, and a named one speaks before the built-in ones.
        ("2001:db8:64::a00:1", ("2001:db8::/32", NETWORKS_OWN), "address"),
        ("64:ff9b:1::808:808", ("64:ff9b:1::/48",), "address"),
        ("64:ff9b::a00:1", (NETWORKS_OWN,), "address"),
    ],
)
async def test_a_prefix_of_the_network_opens_nothing_else(address: str, prefixes: tuple[str, ...], rule: str) -> None:
    assert await fate(f"[{address}]", translators=prefixes) == rule


@pytest.mark.proves("5.4.1")
async def test_the_well_known_prefix_goes_on_beside_a_named_one() -> None:
    for address in ("64:ff9b::808:808", "64:ff9b:1::808:808"):
        assert await fate(f"[{address}]", translators=(NETWORKS_OWN,)) == address
