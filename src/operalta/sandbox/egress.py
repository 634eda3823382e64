"""The one door for every outgoing request: of agents, integrations, webhooks, OAuth and model routes.

Each request, and each redirect again, is parsed once (WHATWG), judged by the policy of the surface that asks,
resolved once, checked at every address, dialled at an address that was checked, capped, and logged. Proxies
and certificates that the environment names are not heeded.
"""

import codecs
import functools
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv6Network
from typing import cast

import anyio
import httpcore2
import httpx2

from operalta.kernel.ids import CompanyId, RunId
from operalta.sandbox.connection import Connection, dialled_connection
from operalta.sandbox.credential import Credential
from operalta.sandbox.destinations import (
    Destination,
    Exemptions,
    check_destination,
    check_reach,
    check_redirect,
    parse_authority,
    parse_destination,
)
from operalta.sandbox.dialling import Resolve, checked_addresses, resolve_with_system
from operalta.sandbox.errors import FetchTooLarge, InvalidRequest, TooManyRedirects
from operalta.sandbox.exchange import (
    Answer,
    EgressLine,
    Headers,
    Outgoing,
    Record,
    Trace,
    open_exchange,
)
from operalta.sandbox.metering import Errand, Meter, NoMeter, Tally
from operalta.sandbox.policies import ALLOW_LISTED, NONE, OPEN, EgressPolicy, Reach
from operalta.terms.registry import upholds

__all__ = [
    "ALLOW_LISTED", "NONE", "OPEN", "EgressDoor", "EgressLine", "EgressPolicy", "Errand", "FetchedPage", "Hop",
    "Meter", "Reach", "Record", "charset_of",
]  # fmt: skip

_USER_AGENT = b"Operalta"
_REDIRECTS = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")  # RFC 9110 section 5.6.2
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")
# Fields that belong to the connection: they are ours to write.
_OWN_FIELDS = frozenset({
    "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
_HARMLESS_FIELDS = frozenset({b"accept", b"accept-language", b"user-agent"})
_CHARSETS = frozenset({
    "ascii", "big5",
    "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258",
    "euc_jp", "euc_kr", "gb18030", "gb2312", "gbk",
    "iso8859-1", "iso8859-15", "iso8859-2", "iso8859-5", "koi8-r",
    "koi8-u", "shift_jis", "utf-16", "utf-16-be", "utf-16-le", "utf-8",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hop:
    """One step on the way to a page: the URL without its fragment, and the status that it answered."""

    url: str
    status: int


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """An answer. `url` is where it came from in the end, `content_type` a media type in lower case, or empty.

    `headers` are in order, with names in lower case and without cookies; `hops` holds every step, the last
    one being the answer itself.
    """

    url: str
    status: int
    content_type: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    hops: tuple[Hop, ...]

    def header(self, name: str) -> str:
        """Return the value of the first field `name`; empty where there is none."""
        return next((value for found, value in self.headers if found == name.lower()), "")

    @property
    def text(self) -> str:
        """The body as text, by the charset that the answer names (UTF-8 otherwise); never fails."""
        return self.body.decode(charset_of(self.header("content-type")), errors="replace")


@upholds("5.4.1", "5.4.2", "5.4.3")
class EgressDoor:
    """The way out. `policy` is the most that this deployment opens: its reach binds every surface.

    `exemptions` are the `host:port` strings of the operator's settings; those destinations may be local, on
    any port and over plain http, but only where a caller names them or another of them leads there, never by
    a redirect from elsewhere. `record` receives a line for every request before its answer is handed out.
    `meter` counts the requests of companies and runs; without one there are none. `translators` are the network's own
    NAT64 prefixes. `resolve`, `network` and `tls` are the system's unless given.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        exemptions: Iterable[str],
        record: Record,
        *,
        meter: Meter | None = None,
        translators: Iterable[IPv6Network] = (),
        resolve: Resolve = resolve_with_system,
        network: httpcore2.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._exemptions = Exemptions.of(exemptions)
        self._record = record
        self._meter = meter or NoMeter()
        self._translators = tuple(translators)
        self._resolve = resolve
        self._network = network or cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())
        self._tls = tls or _public_authorities()

    async def fetch(
        self,
        url: str,
        *,
        surface: EgressPolicy,
        purpose: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        company_id: CompanyId | None = None,
        run_id: RunId | None = None,
        credential: Credential | None = None,
    ) -> FetchedPage:
        """Ask for `url` and return the answer, redirects followed, whatever its status.

        Across origins only harmless header fields travel on: no cookies, nothing of the caller's own; with a
        `credential`, no redirect to another origin is followed at all. Raise DestinationRefused, ContentRefused,
        FetchTooLarge, TooManyRedirects, FetchTimedOut or FetchFailed; FetchLimitReached or FetchNotCounted where the
        meter says so; InvalidRequest where the headers cannot be sent.
        """
        errand = Errand(purpose, company_id, run_id)
        request = Outgoing(method.upper(), sendable_fields((headers or {}).items()), body)
        deadline = anyio.current_time() + surface.seconds
        source: Destination | None = None
        hops: list[Hop] = []
        for _ in range(surface.redirects + 1):
            answer, here = await self.open(
                url, request, surface, errand, source=source, deadline=deadline, credential=credential
            )
            if _crosses(source, here):
                request = _harmless(request)
            try:
                hops.append(Hop(here.href, answer.status))
                location = location_of(answer)
                page = None if location else await _page(answer, hops)
            except BaseException as error:
                await answer.aclose(error)
                raise
            await answer.aclose()
            if page is not None:
                return page
            url, source = location, here
            request = _redirected(request, answer.status)
        raise TooManyRedirects

    async def open(
        self,
        url: str,
        request: Outgoing,
        surface: EgressPolicy,
        errand: Errand,
        *,
        source: Destination | None = None,
        deadline: float,
        credential: Credential | None = None,
    ) -> tuple[Answer, Destination]:
        """Send one request, unless it is refused, and return its answer (to be closed) and where it went.

        `source` is the page that redirected here. A `credential` is added at the very last, to what goes to its own
        origin; anything else is refused. No redirect is followed. Raise as `fetch` does.
        """
        trace = Trace(errand, surface.name, request.method)
        try:
            here = trace.destination = parse_destination(url, source.href if source else None)
            exempt = self._exemptions.cover(here) and (source is None or self._exemptions.cover(source))
            check_reach(here, self._policy)
            check_destination(here, request.method, surface, exempt=exempt)
            if credential is not None:
                credential.require_own(here)
            if source is not None:
                check_redirect(source, here, has_body=request.body is not None)
            require_sendable(request.body, surface)
            tally = Tally(self._meter, errand)
            await tally.begin()
            addresses = await checked_addresses(
                here, self._resolve, exempt=exempt, deadline=deadline, translators=self._translators
            )
            outgoing = _complete(request, here, source)
            answer = await open_exchange(
                here, addresses, credential.put_into(outgoing) if credential else outgoing, trace, self._record,
                network=self._network, tls=self._tls, surface=surface, deadline=deadline, tally=tally,
            )  # fmt: skip
        except BaseException as error:
            await trace.leave(self._record, error)
            raise
        return answer, here

    async def check(self, url: str, *, surface: EgressPolicy, method: str) -> str:
        """Return `url` as it is dialled, without sending anything there. Raise DestinationRefused as `open` would.

        What it leads to may be another place by the time that something is sent; then it is looked at again.
        """
        here = parse_destination(url)
        exempt = self._exemptions.cover(here)
        check_reach(here, self._policy)
        check_destination(here, method, surface, exempt=exempt)
        deadline = anyio.current_time() + surface.seconds
        await checked_addresses(here, self._resolve, exempt=exempt, deadline=deadline, translators=self._translators)
        return here.href

    async def connect(self, authority: str, surface: EgressPolicy, errand: Errand, *, deadline: float) -> Connection:
        """Open a connection to `authority` (`host:port`), unless it is refused, and return it (to be closed).

        Raise DestinationRefused, FetchTimedOut or FetchFailed; FetchLimitReached or FetchNotCounted where the meter
        says so.
        """
        trace = Trace(errand, surface.name, "CONNECT")
        try:
            here = trace.destination = parse_authority(authority)
            exempt = self._exemptions.cover(here)
            check_reach(here, self._policy)
            check_destination(here, trace.method, surface, exempt=exempt)
            tally = Tally(self._meter, errand)
            await tally.begin()
            addresses = await checked_addresses(
                here, self._resolve, exempt=exempt, deadline=deadline, translators=self._translators
            )
            return await dialled_connection(
                here, addresses, trace, self._record, network=self._network, surface=surface, tally=tally
            )
        except BaseException as error:
            await trace.leave(self._record, error)
            raise


def sendable_fields(items: Iterable[tuple[str, str]]) -> Headers:
    """Return header fields as they are sent. Raise InvalidRequest for one malformed, or ours to write."""
    fields: list[tuple[bytes, bytes]] = []
    for name, value in items:
        if not _TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
            raise InvalidRequest("A header field has characters in it that cannot be sent.", field="headers")
        if name.lower() in _OWN_FIELDS:
            raise InvalidRequest(f"The header field {name} cannot be set.", field="headers")
        fields.append((name.lower().encode("ascii"), value.strip().encode("latin-1")))
    return tuple(fields)


def require_sendable(body: bytes | bytearray | None, surface: EgressPolicy) -> None:
    """Raise FetchTooLarge for a body that is larger than `surface` may send."""
    if len(body or b"") > surface.request_bytes:
        raise FetchTooLarge("What was to be sent is larger than what may be sent from here.")


def location_of(answer: Answer) -> str:
    """Return where a redirect leads, as it was written; empty where the answer is none."""
    if answer.status not in _REDIRECTS:
        return ""
    return answer.header("location").encode("latin-1").decode("utf-8", errors="replace")


def charset_of(content_type: str) -> str:
    """Return the charset that a Content-Type field names where it is a common one, else `utf-8`."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            try:
                charset = codecs.lookup(value.strip().strip("\"'")[:40]).name
            except (LookupError, ValueError):
                break
            return charset if charset in _CHARSETS else "utf-8"
    return "utf-8"


async def _page(answer: Answer, hops: list[Hop]) -> FetchedPage:
    body = await answer.read()
    headers = tuple(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in answer.headers
        if name not in {b"set-cookie", b"set-cookie2"}
    )
    return FetchedPage(hops[-1].url, answer.status, answer.media_type, headers, body, tuple(hops))


def _redirected(request: Outgoing, status: int) -> Outgoing:
    """Return the request that follows a redirect (RFC 9110 section 15.4): POST turns GET but for 307, 308."""
    becomes_get = (status == HTTPStatus.SEE_OTHER and request.method != "HEAD") or (
        status in {HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND} and request.method == "POST"
    )
    if not becomes_get:
        return request
    kept = tuple(item for item in request.headers if not item[0].startswith(b"content-"))
    return Outgoing("GET", kept, None)


@functools.cache
def _public_authorities() -> ssl.SSLContext:
    """Return the one context for all doors (it takes long to load): the public authorities, never the environment's."""
    return httpx2.create_ssl_context(trust_env=False)


def _crosses(source: Destination | None, destination: Destination) -> bool:
    return source is not None and source.origin != destination.origin


def _harmless(request: Outgoing) -> Outgoing:
    """Return `request` with only those fields that may go to an origin that the caller has not named."""
    kept = tuple(item for item in request.headers if item[0] in _HARMLESS_FIELDS)
    return Outgoing(request.method, kept, request.body)


def _complete(request: Outgoing, destination: Destination, source: Destination | None) -> Outgoing:
    """Return `request` with the fields that are ours to write, and without those that may not travel."""
    kept = (_harmless(request) if _crosses(source, destination) else request).headers
    names = {name for name, _ in kept}
    fields = [(b"host", destination.authority.encode("ascii")), *kept]
    if b"user-agent" not in names:
        fields.append((b"user-agent", _USER_AGENT))
    if b"accept" not in names:
        fields.append((b"accept", b"*/*"))
    fields += [(b"accept-encoding", b"gzip"), (b"connection", b"close")]
    if request.body is not None:
        fields.append((b"content-length", str(len(request.body)).encode("ascii")))
    return Outgoing(request.method, tuple(fields), request.body)
