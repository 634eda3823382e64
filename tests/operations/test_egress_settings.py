"""The resolver and the NAT64 prefixes that the settings name: read exactly, or refused."""

from ipaddress import IPv6Network

import pytest
from pydantic import ValidationError

from operalta.settings import Settings


@pytest.mark.parametrize(
    ("written", "server"),
    [("192.0.2.53:53", ("192.0.2.53", 53)), ("[2001:db8::53]:5353", ("2001:db8::53", 5353)), (None, None)],
)
def test_a_resolver_is_an_address_and_a_port(written: str | None, server: tuple[str, int] | None) -> None:
    assert Settings(dns_resolver=written).dns_server == server


@pytest.mark.parametrize(
    "written",
    ["192.0.2.53", "dns.example:53", "2001:db8::53:53", "[192.0.2.53]:53", "192.0.2.53:0", "192.0.2.53:65536", "",
     "192.0.2.53:", "[2001:db8::53]", "192.0.2.53:\u0665\u0663"],
)  # fmt: skip
def test_anything_else_is_no_resolver(written: str) -> None:
    with pytest.raises(ValidationError, match="OPERALTA_DNS_RESOLVER"):
        Settings(dns_resolver=written)


@pytest.mark.parametrize(
    "prefix", ["64:ff9b::/96", "64:ff9b:1:fffe::/96", "64:ff9b:1::/48", "2001:db8::/32", "2a00:1::/40", "fd00:64::/56"]
)
def test_a_prefix_of_a_network_is_taken(prefix: str) -> None:
    assert Settings(nat64_prefixes=(IPv6Network(prefix),)).nat64_prefixes == (IPv6Network(prefix),)


@pytest.mark.parametrize(
    "prefix", ["2001:db8::/33", "2001:db8:0:0:100::/96", "::ffff:0:0/96", "::/96", "::/32", "64:ff9b::/32", "fe80::/64",
               "ff00::/32"],
)  # fmt: skip
def test_no_other_prefix_is_taken(prefix: str) -> None:
    with pytest.raises(ValidationError, match="OPERALTA_NAT64_PREFIXES"):
        Settings(nat64_prefixes=(IPv6Network(prefix),))


def test_the_environment_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPERALTA_DNS_RESOLVER", "192.0.2.53:53")
    monkeypatch.setenv("OPERALTA_NAT64_PREFIXES", '["2001:db8:64::/96"]')
    settings = Settings()
    assert settings.dns_server == ("192.0.2.53", 53)
    assert settings.nat64_prefixes == (IPv6Network("2001:db8:64::/96"),)
