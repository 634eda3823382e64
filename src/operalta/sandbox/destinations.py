"""Where a URL leads, and whether it may be followed: `ada_url` (WHATWG) is the only parser. Pure."""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import ada_url

from operalta.sandbox.addresses import is_metadata, is_public
from operalta.sandbox.errors import DestinationRefused
from operalta.sandbox.policies import EgressPolicy, Reach
from operalta.terms.registry import upholds

MAXIMUM_URL_CHARACTERS = 8_192
_PORTS = {"http": 80, "https": 443}
_METADATA_NAMES = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.azure.internal",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.packet.net",
        "metadata.platformequinix.com",
        "metadata.tencentyun.com",
    }
)


class Rule(StrEnum):
    """The rules that can refuse a destination, by the name that the egress log shows."""

    URL = "url"
    CREDENTIALS = "credentials"
    POLICY = "policy"
    SCHEME = "scheme"
    METHOD = "method"
    PORT = "port"
    HOST = "host"
    METADATA = "metadata"
    ADDRESS = "address"
    DOWNGRADE = "downgrade"
    REDIRECTED_BODY = "redirected-body"


_TEXTS = {
    Rule.URL: "This is not a web address that can be used. Write it in full, beginning with https://.",
    Rule.CREDENTIALS: "Web addresses with a user name or password in them are refused. Leave both out.",
    Rule.POLICY: "Nothing is fetched from the network here.",
    Rule.SCHEME: "This kind of address is refused here. Use https://.",
    Rule.METHOD: "This method is refused here.",
    Rule.PORT: "This port is refused. Use an address on the usual web port.",
    Rule.HOST: "This host is not on the list of those that may be reached from here.",
    Rule.METADATA: "Services that hand out a machine's credentials are never reached.",
    # One text for a name that leads nowhere and a name that leads inside, so that it cannot be used to ask
    # which.
    Rule.ADDRESS: "This host does not lead to the public internet. Check its name.",
    Rule.DOWNGRADE: "The address leads from a secure page to an insecure one, so it was not followed.",
    Rule.REDIRECTED_BODY: "The destination wants what was sent passed on to another host, which is refused.",
}


@dataclass(frozen=True, slots=True)
class Destination:
    """Where one request goes, as WHATWG reads the URL.

    `host` is in ASCII, lower case, IPv6 without brackets; `address` is set where the host is an address;
    `port` is never left out; `target` is path and query; `href` has no fragment.
    """

    scheme: str
    host: str
    address: IPv4Address | IPv6Address | None
    port: int
    path: str
    query: str
    href: str

    @property
    def target(self) -> str:
        """What stands in the request line."""
        return self.path + self.query

    @property
    def bracketed_host(self) -> str:
        """The host as a URL holds it."""
        return f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host

    @property
    def authority(self) -> str:
        """The value of the Host field (RFC 9110 section 7.2)."""
        usual = self.port == _PORTS[self.scheme]
        return self.bracketed_host if usual else f"{self.bracketed_host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: what must be equal for credentials to travel on."""
        return self.scheme, self.host, self.port


@dataclass(frozen=True, slots=True)
class Exemptions:
    """The destinations that the operator's settings name, exactly; they may be local. Made by `of`."""

    endpoints: frozenset[tuple[str, int]]

    @classmethod
    def of(cls, entries: Iterable[str]) -> "Exemptions":
        """Read `host:port` strings. Raise ValueError for one that is not exactly that."""
        return cls(frozenset(_endpoint(entry) for entry in entries))

    def cover(self, destination: Destination) -> bool:
        """Tell whether `destination` is one of those named, host and port."""
        return (destination.host, destination.port) in self.endpoints


def refuse(rule: Rule) -> DestinationRefused:
    """Return the refusal by `rule`, with its public text."""
    return DestinationRefused(_TEXTS[rule], rule=rule.value)


def parse_destination(url: str, base: str | None = None) -> Destination:
    """Return where `url` leads, seen from the page `base`. Raise DestinationRefused."""
    if len(url) > MAXIMUM_URL_CHARACTERS:
        raise refuse(Rule.URL)
    try:
        parsed = ada_url.URL(url, base)
    except ValueError:
        raise refuse(Rule.URL) from None
    scheme = parsed.protocol.removesuffix(":")
    if scheme not in _PORTS:
        raise refuse(Rule.SCHEME)
    if parsed.username or parsed.password:
        raise refuse(Rule.CREDENTIALS)
    parsed.hash = ""
    host = parsed.hostname.removeprefix("[").removesuffix("]")
    address: IPv4Address | IPv6Address | None = None
    if parsed.host_type is not ada_url.HostType.DEFAULT:
        address = ip_address(host)
    port = int(parsed.port) if parsed.port else _PORTS[scheme]
    if port == 0:  # nobody listens there, and the HTTP library would take it for "no port given"
        raise refuse(Rule.PORT)
    if len(parsed.href) > 3 * MAXIMUM_URL_CHARACTERS:  # percent-encoding trebles at most
        raise refuse(Rule.URL)
    return Destination(scheme, host, address, port, parsed.pathname, parsed.search, parsed.href)


def parse_authority(authority: str) -> Destination:
    """Return where a connection to `authority` (`host:port`) leads. Raise DestinationRefused for anything else."""
    destination = parse_destination(f"https://{authority}/")
    if (destination.path, destination.query) != ("/", "") or not authority.rpartition(":")[2].isdecimal():
        raise refuse(Rule.URL)
    return destination


@upholds("5.4.3")
def check_reach(destination: Destination, policy: EgressPolicy) -> None:
    """Raise DestinationRefused where `policy` opens no network at all, or a list without this host."""
    if policy.reach is Reach.NONE:
        raise refuse(Rule.POLICY)
    if policy.reach is Reach.OPEN:
        return
    name = destination.bracketed_host.rstrip(".")
    if policy.hosts.isdisjoint({name, f"{name}:{destination.port}"}):
        raise refuse(Rule.HOST)


@upholds("5.4.1", "5.4.3")
def check_destination(destination: Destination, method: str, policy: EgressPolicy, *, exempt: bool) -> None:
    """Raise DestinationRefused where `policy` does not let this request through, before any name is resolved.

    An exempt destination may have any port, plain http and a local name; all else holds for it too.
    """
    check_reach(destination, policy)
    if method not in policy.methods:
        raise refuse(Rule.METHOD)
    name = destination.host.rstrip(".")
    if name in _METADATA_NAMES:
        raise refuse(Rule.METADATA)
    if exempt:
        return
    if destination.scheme not in policy.schemes:
        raise refuse(Rule.SCHEME)
    if destination.port not in policy.ports:
        raise refuse(Rule.PORT)
    if name == "localhost" or name.endswith(".localhost"):
        raise refuse(Rule.ADDRESS)


@upholds("5.4.1")
def check_addresses(
    addresses: Iterable[IPv4Address | IPv6Address], *, exempt: bool, translators: Sequence[IPv6Network] = ()
) -> None:
    """Raise DestinationRefused unless there are addresses and all of them may be dialled.

    `translators` are the NAT64 prefixes of this deployment's own network.
    """
    listed = tuple(addresses)
    if any(is_metadata(address, translators) for address in listed):
        raise refuse(Rule.METADATA)
    if not listed or not (exempt or all(is_public(address, translators) for address in listed)):
        raise refuse(Rule.ADDRESS)


def check_redirect(source: Destination, target: Destination, *, has_body: bool) -> None:
    """Raise DestinationRefused for a step from https to http, or one that takes a body to another origin."""
    if source.scheme == "https" and target.scheme != "https":
        raise refuse(Rule.DOWNGRADE)
    if has_body and source.origin != target.origin:
        raise refuse(Rule.REDIRECTED_BODY)


def _endpoint(entry: str) -> tuple[str, int]:
    port = entry.rpartition(":")[2]
    with contextlib.suppress(DestinationRefused):
        destination = parse_destination(f"http://{entry}/")
        if (
            port.isascii()
            and port.isdecimal()
            and "*" not in entry
            and destination.path == "/"
            and not destination.query
        ):
            return destination.host, destination.port
    raise ValueError(f"{entry!r} is not an exemption: write host and port, such as 127.0.0.1:9000")
