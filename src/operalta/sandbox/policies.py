"""How far a request may go: the named egress policies, one of which every surface declares. Pure."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

import ada_url

from operalta.terms.registry import upholds

_MEBIBYTE = 1024 * 1024

DOCUMENT_TYPES = frozenset(
    {
        "application/atom+xml",
        "application/json",
        "application/ld+json",
        "application/pdf",
        "application/problem+json",
        "application/rss+xml",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/xhtml+xml",
        "application/xml",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/*",
    }
)
EXCHANGE_TYPES = frozenset(
    {
        "application/*+json",
        "application/json",
        "application/jwk-set+json",
        "application/x-amz-json-1.1",
        "application/x-ndjson",
        "application/x-www-form-urlencoded",
        "text/*",
    }
)


class Reach(StrEnum):
    """Which hosts a policy lets through."""

    OPEN = "open"
    ALLOW_LISTED = "allow-listed"
    NONE = "none"


@upholds("5.4.3")
@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What one surface may ask of the network.

    `hosts` (for an allow-listed reach) are exact host names or `host:port`; nothing else is reached, not even
    by a redirect. `request_bytes` and `response_bytes` cap bodies, the latter also after decompression;
    `seconds` caps everything from the first resolution to the last byte, redirects included. `content_types`
    are exact, or end in `/*`, or have the form `application/*+json`.
    """

    name: str
    reach: Reach
    schemes: frozenset[str]
    ports: frozenset[int]
    methods: frozenset[str]
    content_types: frozenset[str]
    request_bytes: int
    response_bytes: int
    seconds: float
    redirects: int
    hosts: frozenset[str] = frozenset()

    def for_hosts(self, *hosts: str) -> Self:
        """Return the same policy with `hosts` (names, or `host:port`) as its allow-list.

        Raise ValueError for one that is neither.
        """
        return replace(self, hosts=frozenset(map(_canonical_host, hosts)))

    def accepts_content(self, media_type: str) -> bool:
        """Tell whether an answer of `media_type` (lower case, without parameters) is taken."""
        kind, _, subtype = media_type.partition("/")
        suffix = subtype.rpartition("+")[2] if "+" in subtype else ""
        forms = {media_type, f"{kind}/*", f"{kind}/*+{suffix}"}
        return bool(subtype) and not forms.isdisjoint(self.content_types)


def _canonical_host(entry: str) -> str:
    parsed = ada_url.URL(f"https://{entry}/")
    if "*" in entry or parsed.href != f"{parsed.origin}/":
        raise ValueError(f"{entry!r} is not a host")
    return parsed.host.rstrip(".")


# Reading the web for an agent: any public host, but nothing is sent along and only documents come back.
OPEN = EgressPolicy(
    name="open",
    reach=Reach.OPEN,
    schemes=frozenset({"http", "https"}),
    ports=frozenset({80, 443}),
    methods=frozenset({"GET", "HEAD"}),
    content_types=DOCUMENT_TYPES,
    request_bytes=0,
    response_bytes=5 * _MEBIBYTE,
    seconds=20,
    redirects=5,
)

# Integrations, webhooks, sign-in at a provider, model routes: bodies may be sent, but to hosts on a list
# only.
ALLOW_LISTED = EgressPolicy(
    name="allow-listed",
    reach=Reach.ALLOW_LISTED,
    schemes=frozenset({"https"}),
    ports=frozenset({443}),
    methods=frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}),
    content_types=EXCHANGE_TYPES,
    request_bytes=10 * _MEBIBYTE,
    response_bytes=10 * _MEBIBYTE,
    seconds=120,
    redirects=2,
)

# A command with network: connections to hosts on a list, in which it speaks TLS itself, so nobody sees what they carry.
TUNNELLED = replace(
    ALLOW_LISTED,
    name="tunnelled",
    methods=frozenset({"CONNECT"}),
    content_types=frozenset(),
    request_bytes=10 * _MEBIBYTE,
    response_bytes=50 * _MEBIBYTE,
    seconds=600,
    redirects=0,
)

# Taking in documents, and whatever declares nothing else: no network at all.
NONE = EgressPolicy(
    name="none",
    reach=Reach.NONE,
    schemes=frozenset(),
    ports=frozenset(),
    methods=frozenset(),
    content_types=frozenset(),
    request_bytes=0,
    response_bytes=0,
    seconds=0,
    redirects=0,
)
